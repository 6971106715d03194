"""The suite's scenarios for authorization servers, the login driven by this script: it plays the browser and
the owner, who types the passphrase that the program has just made."""

import html
import json
import re
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request

LOGIN_SECONDS_MAX = 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Stay(urllib.request.HTTPRedirectHandler):
    """A browser that says where it is sent before it goes."""

    def redirect_request(self, *_):
        return None


def ask(url, form=None, **headers):
    """One request to loopback; its status, headers and text, also of an error or a redirect."""
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(url, data=data, headers=headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)
    try:
        answer = opener.open(request, timeout=LOGIN_SECONDS_MAX)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        return answer.status, answer.headers, answer.read().decode()


def make_passphrase(binary, environment):
    """The owner's passphrase, as the program prints it."""
    ended = subprocess.run(
        [str(binary), "auth", "passphrase"], env=environment, text=True, check=True, stdout=subprocess.PIPE)
    return re.search(r"\n  (\S+)\n", ended.stdout).group(1)


def register(issuer, redirect_uri):
    """The id of a new public client."""
    body = json.dumps({"redirect_uris": [redirect_uri], "token_endpoint_auth_method": "none", "client_name": "suite"})
    request = urllib.request.Request(
        f"{issuer}/register", data=body.encode(), headers={"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=LOGIN_SECONDS_MAX) as answer:
        return json.loads(answer.read())["client_id"]


def log_in(url, issuer, passphrase):
    """Opens the page, allows the client, and goes where the answer says."""
    status, _, page = ask(url, Accept="text/html")
    transaction = re.search(r'name="transaction" value="([^"]+)"', page)
    if status != 200 or not transaction:
        raise RuntimeError(f"no consent page: {status} {page[:300]}")
    form = {"transaction": html.unescape(transaction.group(1)), "decision": "allow", "proof": passphrase}
    status, headers, page = ask(f"{issuer}/authorize", form, Origin=issuer)
    if status != 303:
        raise RuntimeError(f"not allowed: {status} {page[:300]}")
    ask(headers["Location"])


def run_suite(program, issuer, passphrase, options, folder, environment, seconds_max):
    """Runs the scenarios against an issuer and logs in when the suite asks for it; returns what it said."""
    port = free_port()
    client_id = register(issuer, f"http://127.0.0.1:{port}/callback")
    argv = [*program, "authorization", "--url", issuer, "--client-id", client_id, "--port", port, *options]
    child = subprocess.Popen(
        [str(word) for word in argv], cwd=folder, env=environment, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = []
    try:
        for line in child.stdout:
            said.append(line)
            found = re.search(re.escape(issuer) + r"/authorize\?\S+", line)
            if found:
                log_in(found.group(0), issuer, passphrase)
        child.wait(seconds_max)
    finally:
        child.kill()
        child.wait()
    return "".join(said)

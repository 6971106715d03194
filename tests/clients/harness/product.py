"""The server under test on loopback, with a state folder of its own."""

import fcntl
import itertools
import json
import os
import re
import ssl
import urllib.error
import urllib.request

from .children import Late, bare_environment, wait_until

START_SECONDS_MAX = 15
COMMAND_SECONDS_MAX = 10
LOG_SECONDS_MAX = 5
# What the log says of every handshake, whichever transport it came over.
HANDSHAKE = re.compile(r": (.*) speaks (\d{4}-\d\d-\d\d)\b")


class Product:
    """One instance of the binary. Its port is the system's choice at the first start, and stays.
    `upstream` is its only model server; in its place `config`, a configuration file's text, names some."""

    def __init__(self, children, tools, folder, scheme, upstream=None, config="", **environment):
        self.scheme = scheme
        self.state = folder
        self.child = None
        self._children, self._binary = children, tools.binary
        self.environment = bare_environment(
            folder, HOST="127.0.0.1", MCP_TRANSPORT=scheme, MCP_STATE_DIR=folder, **environment)
        if upstream:
            self.environment["LM_STUDIO_URL"] = upstream.url
        self.port = 0
        self._marks = itertools.count(1)
        folder.mkdir(parents=True, exist_ok=True)
        if config:
            (folder / "local-llm-mcp.toml").write_text(config)

    @property
    def url(self):
        return self.url_of("/sse")

    def url_of(self, path):
        return f"{self.scheme}://localhost:{self.port}{path}"

    @property
    def ca_file(self):
        return self.state / "ca.pem"

    def start(self):
        """Starts the binary and waits until it answers; the first https start makes its certificate."""
        self.environment["PORT"] = str(self.port)
        self.child = self._children.start("local-llm-mcp", [self._binary], self.environment, self.state)
        listening = re.compile(rf"\b{self.scheme}://\S*:(\d+)/sse")

        def port_in(line):
            found = listening.search(line)
            return found and int(found.group(1))

        self.port = self.child.errors.wait_for(port_in, START_SECONDS_MAX, "the banner with the address")
        wait_until(self._answers, START_SECONDS_MAX, "an answer from /health")
        return self

    def stop(self):
        """SIGTERM; a server that needs longer than the stop deadline, or fails, is a finding."""
        code = self.child.terminate()
        if code != 0:
            raise Late(f"the server ended with code {code} on SIGTERM")

    def restart(self):
        """Ends the process and starts it again on the same port and with the same state."""
        self.stop()
        self.start()

    def handshakes(self, since=0):
        """The handshakes that this process has seen, as `handshakes_in` has them, but for the first
        `since`. A request of our own, whose log line comes after theirs, tells that the log is complete."""
        mark = f"/mark-{next(self._marks)}"
        try:
            self._opener().open(self.url_of(mark), timeout=5).close()
        except urllib.error.HTTPError as refusal:
            refusal.close()
        self.child.errors.wait_for(lambda line: line if mark in line else None, LOG_SECONDS_MAX, "our line in the log")
        return handshakes_in(self.child.errors.all())[since:]

    def command(self, *words):
        """Runs one of the binary's commands with this server's settings and returns what it printed."""
        environment = self.environment | {"PORT": str(self.port)}
        child = self._children.start("command", [self._binary, *words], environment, self.state)
        if child.wait(COMMAND_SECONDS_MAX) != 0:
            raise Late(f"{' '.join(words)} failed: {child.tail()}")
        return "\n".join(child.output.finished())

    def ask_for_logins(self, **settings):
        """Begins to let clients in over OAuth, by the name that they use here, and returns the passphrase."""
        printed = self.command("auth", "passphrase")
        self.environment.update(MCP_OAUTH="passphrase", MCP_PUBLIC_URL=self.url_of(""), **settings)
        self.restart()
        return re.search(r"^  (\S+)$", printed, re.MULTILINE).group(1)

    def end_access_tokens(self):
        """Lets the time of all access tokens be over; the server knows within a second."""
        store = self.state / "tokens.json"
        folder = os.open(self.state, os.O_RDONLY)
        try:
            # As every writer of it does: one at a time, and the file is replaced as a whole.
            fcntl.flock(folder, fcntl.LOCK_EX)
            kept = json.loads(store.read_text())
            kept["generation"] += 1
            for token in itertools.chain.from_iterable(grant["access"] for grant in kept["grants"]):
                token["until_s"] = 0
            fresh = store.with_name("tokens.json.of-the-run")
            fresh.touch(0o600)
            fresh.write_text(json.dumps(kept))
            fresh.rename(store)
        finally:
            os.close(folder)

    def log(self):
        """The log of this process so far, with all that was answered before this call."""
        self.handshakes()
        return self.child.errors.all()

    def wait_until_closed(self):
        """Waits until a caller without a token is no longer told how the server is."""
        wait_until(lambda: "uptime_s" not in self.health(), COMMAND_SECONDS_MAX, "the end of the open house")

    def health(self):
        """What /health says to a caller from this machine."""
        return self.ask("/health")

    def ask(self, path, body=None):
        """The JSON that a path answers with; a body is posted to it, as JSON too."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url_of(path), data, {"Content-Type": "application/json"} if data else {})
        with self._opener().open(request, timeout=5) as answer:
            return json.load(answer)

    def _answers(self):
        if not self.child.is_running:
            raise Late(f"the server ended at its start: {self.child.errors.all()[-3:]}")
        try:
            return self.health().get("status")
        except OSError:
            return None

    def _opener(self):
        handlers = [urllib.request.ProxyHandler({})]
        if self.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=self.ca_file)))
        return urllib.request.build_opener(*handlers)


def upstream_table(name, server, **settings):
    """A model server's table in a configuration file."""
    keys = {"name": name, "url": server.url, **settings}
    return "[[upstream]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items())


def handshakes_in(lines):
    """The handshakes that a log tells of, as `(client, revision)` in their order."""
    return [found.groups() for found in map(HANDSHAKE.search, lines) if found]

"""A headless Chromium that reaches nothing but this machine, driven over WebDriver.

Knows nothing of OAuth. It trusts the one authority that it is given, as a browser does in which
somebody has installed it.
"""

import base64
import json
import re
import urllib.error
import urllib.request

from .children import bare_environment, wait_until
from .report import Failed, expect

START_SECONDS_MAX = 30
COMMAND_SECONDS_MAX = 30
PAGE_SECONDS_MAX = 15
# WebDriver, section 11: the key under which elements travel.
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# WebDriver, section 17.4.2.
TAB, ENTER = "\ue004", "\ue007"
# Root needs the first; the others keep it from calling home. The rules answer every name but those of
# this machine with "not found", so that nothing leaves it whatever else a version may try.
SWITCHES = (
    "--no-sandbox",
    "--headless=new",
    "--disable-gpu",
    "--no-first-run",
    "--no-pings",
    "--disable-background-networking",
    "--disable-client-side-phishing-detection",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1",
)


class Browser:
    """One Chromium with one window, in a home of its own."""

    def __init__(self, children, tools, folder, authority):
        folder.mkdir(parents=True)
        self._trust(children, tools, folder, authority)
        child = children.start("chromedriver", [tools.chromedriver, "--port=0"], bare_environment(folder), folder)

        def port_in(line):
            found = re.search(r"started successfully on port (\d+)", line)
            return found and int(found.group(1))

        port = child.output.wait_for(port_in, START_SECONDS_MAX, "chromedriver's port")
        self._url = f"http://127.0.0.1:{port}/session"
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": tools.chromium, "args": list(SWITCHES)},
            "goog:loggingPrefs": {"performance": "ALL"},
        }
        session = self._ask("POST", "", {"capabilities": {"alwaysMatch": wanted}})
        self._url += f"/{session['sessionId']}"

    def open(self, url):
        """Goes there and waits until the page is loaded."""
        self._ask("POST", "/url", {"url": url})

    def address(self):
        return self._ask("GET", "/url")

    def wait_for_address(self, start):
        """The address, once it begins with this; a page that moves on by itself may need a moment."""

        def moved():
            address = self.address()
            return address if address.startswith(start) else None

        return wait_until(moved, PAGE_SECONDS_MAX, f"the way to {start}")

    def wait_for(self, selector):
        """Waits until the page has such an element."""
        wait_until(lambda: self.has(selector), PAGE_SECONDS_MAX, f"{selector} on the page")

    def has(self, selector):
        return bool(self._ask("POST", "/elements", {"using": "css selector", "value": selector}))

    def text(self, selector="body"):
        return self._ask("GET", f"/element/{self._find(selector)}/text")

    def type(self, selector, text):
        """Goes into a field and types."""
        self._ask("POST", f"/element/{self._find(selector)}/value", {"text": text})

    def click(self, selector):
        self._ask("POST", f"/element/{self._find(selector)}/click", {})

    def press(self, *keys):
        """Presses keys, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def script(self, text, *arguments):
        """What a function body returns that runs beside the page; the page's own policy does not stop it."""
        return self._ask("POST", "/execute/sync", {"script": text, "args": list(arguments)})

    def resize(self, width, height):
        """Gives the page a screen of this size, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._ask("POST", "/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})

    def requests(self):
        """The addresses that were asked for since the last look."""
        entries = [json.loads(entry["message"])["message"] for entry in self._ask("POST", "/se/log", {"type": "performance"})]
        return [entry["params"]["request"]["url"] for entry in entries if entry["method"] == "Network.requestWillBeSent"]

    def picture(self):
        """The window as PNG."""
        return base64.b64decode(self._ask("GET", "/screenshot"))

    def _find(self, selector):
        return self._ask("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=COMMAND_SECONDS_MAX) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as refusal:
            with refusal:
                problem = json.load(refusal)["value"]
            raise Failed(f"the browser: {problem['error']}: {problem['message'].splitlines()[0]}") from None

    @staticmethod
    def _trust(children, tools, folder, authority):
        """Makes the list of authorities that Chromium reads in this home."""
        database = folder / ".pki" / "nssdb"
        database.mkdir(parents=True)
        for words in (["-N", "--empty-password"], ["-A", "-n", "house", "-t", "C,,", "-i", authority]):
            child = children.start("certutil", [tools.certutil, *words, "-d", f"sql:{database}"], bare_environment(folder))
            expect(child.wait(COMMAND_SECONDS_MAX) == 0, child.tail())

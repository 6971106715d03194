"""The page on which the owner decides, as Chromium shows it: what it says, how it looks, and what keys do."""

import re
from urllib.parse import parse_qs, urlencode, urlsplit

from harness.browser import ENTER, TAB
from harness.report import expect

from .login import place

# WCAG 2.2: 1.4.3 for text; 1.4.11 for edges, and for the frame around what has the focus.
TEXT_CONTRAST_MIN, EDGE_CONTRAST_MIN = 4.5, 3
# 1.4.10 has nobody scroll sideways at 320 pixels; phones begin at 360.
NARROW, WIDE = ((320, 640), (360, 740)), (1280, 800)
# What the keyboard of a phone leaves.
LOW = (360, 400)
# In a minute, by programs of the machine itself; other addresses have as many in 15 minutes.
WRONG_PROOFS_MAX = 5
LONG_NAME = "W" * 64
LONG_HOST = ".".join(letter * 58 for letter in "abc") + ".example"

CONTRASTS = """
const channel = (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parts = (color) => color.match(/[\\d.]+/g).map(Number);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = parts(getComputedStyle(at).backgroundColor);
    if (color.length === 3) return color;
  }
  return [255, 255, 255];
};
const ratio = (color, under) => {
  const [dark, light] = [luminance(parts(color)), luminance(under)].sort((a, b) => a - b);
  return Math.round((light + 0.05) / (dark + 0.05) * 100) / 100;
};
const named = (element) => element.id || element.tagName.toLowerCase();
const own = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
const texts = [...document.body.querySelectorAll('*')].filter((element) => element.tagName === 'INPUT' || own(element));
const edges = [...document.querySelectorAll('input:not([type=hidden]), button')];
return {
  texts: texts.filter((element) => element.type !== 'hidden').map(
    (element) => [named(element), ratio(getComputedStyle(element).color, ground(element))]),
  edges: edges.map((element) => [named(element), ratio(getComputedStyle(element).borderColor, ground(element.parentElement))]),
};
"""
FOCUS = """
const element = document.activeElement;
const style = getComputedStyle(element);
return {id: element.id, frame: style.outlineStyle === 'solid' ? parseFloat(style.outlineWidth) : 0, color: style.outlineColor};
"""
BEYOND = """
const width = document.documentElement.clientWidth;
const wide = [...document.body.querySelectorAll('*')].filter((element) => element.getBoundingClientRect().right > width);
return [document.documentElement.scrollWidth - width, ...wide.map((element) => element.id || element.tagName)];
"""
HIDDEN = """
return ['error', 'proof'].filter((id) => {
  const place = document.getElementById(id).getBoundingClientRect();
  return place.top < 0 || place.bottom > innerHeight;
});
"""
FOREIGN = "return document.querySelectorAll('script, [src], [href], iframe, object, embed').length;"


class Visit:
    """A server and a browser, with a client of our own that only asks."""

    def __init__(self, scene, house):
        here = place(scene, house)
        self.product, self.browser, self.passphrase = here.product, here.browser, here.passphrase
        self._pictures = scene.pictures
        # The server's own page serves as the client's: it is only looked at where the browser ends.
        self.back = self.product.url_of("/health")
        self.url = self.asks("A client of the runs", self.back)
        self.warned = self.asks("MCP CLI Proxy", "http://localhost:3334/oauth/callback")

    def asks(self, name, redirect):
        """The address by which a new client asks for access."""
        registered = self.product.ask("/register", {"client_name": name, "redirect_uris": [redirect]})
        return self.product.url_of("/authorize?") + urlencode({
            "response_type": "code",
            "client_id": registered["client_id"],
            "redirect_uri": redirect,
            "code_challenge": "c" * 43,
            "code_challenge_method": "S256",
            "state": "as it came",
            "resource": self.product.url_of("/mcp"),
        })

    def answer(self):
        """What the client is sent."""
        answer = parse_qs(urlsplit(self.browser.wait_for_address(self.back)).query)
        expect(answer["state"] == ["as it came"] and answer["iss"] == [self.product.url_of("")], f"sent: {answer}")
        return answer

    def is_allowed(self):
        answer = self.answer()
        expect("code" in answer and "error" not in answer, f"sent: {answer}")

    def stays(self, what):
        """Nothing was sent: neither a form nor the browser itself."""
        sent = self.browser.requests()
        expect(not sent and self.browser.address().startswith(self.url), f"{what} sent {sent}")

    def show(self, name):
        """Keeps pictures of the page in all sizes and returns to the wide one."""
        for size in (*NARROW, WIDE):
            self.browser.resize(*size)
            self.keep(f"{name}-{size[0]}")

    def keep(self, name):
        """Keeps a picture of the page as it is, if somebody wants to look at it."""
        if self._pictures:
            self._pictures.mkdir(parents=True, exist_ok=True)
            (self._pictures / f"{name}.png").write_bytes(self.browser.picture())


class Checks:
    """What has to hold, each from a page that is opened anew."""

    def __init__(self, visit):
        self._visit, self._browser = visit, visit.browser

    def steps(self):
        return [
            ("says who asks, for what, and where the answer goes", self.says_who_asks),
            ("loads nothing and runs nothing", self.loads_nothing),
            ("has contrast", self.has_contrast),
            ("fits a narrow screen, whatever names are long", self.fits),
            ("is left alone by keys that were meant for elsewhere", self.waits_for_a_look),
            ("is filled in and allowed by keyboard alone", self.is_used_by_keyboard),
            ("denies without the passphrase", self.denies),
            ("says that a passphrase is wrong, and goes on", self.goes_on_after_a_wrong_one),
            ("refuses a client that is not known, and sends it nowhere", self.refuses),
            ("says how long to wait after too many wrong ones", self.has_enough),
            ("takes the code that the server says on its console", self.takes_a_code),
        ]

    def says_who_asks(self):
        self._browser.resize(*WIDE)
        self._browser.open(self._visit.asks("Claude", "https://claude.ai/api/mcp/auth_callback"))
        shown = [self._browser.text(f"#{name}") for name in ("redirect-host", "client-name", "resource")]
        expect(shown == ["claude.ai", "Claude", self._visit.product.url_of("/mcp")], f"it says {shown}")
        expect(not self._browser.has("#loopback"), "it warns of this computer")
        self._visit.show("connector")
        self._browser.open(self._visit.warned)
        expect(self._browser.has("#loopback"), "it does not warn of this computer")
        labelled = "label[for=proof] ~ input#proof[type=password][autocomplete=current-password][required]"
        expect(self._browser.has(labelled), "the field has no label or is not what password managers look for")
        self._visit.show("loopback")

    def loads_nothing(self):
        self._browser.requests()
        self._browser.open(self._visit.url)
        loaded = self._browser.requests()
        expect(loaded == [self._visit.url], f"it asked for {loaded}")
        expect(self._browser.script(FOREIGN) == 0, "there is something in it that could load or run")

    def has_contrast(self):
        """Of the page with all that it can have on it: a warning and an error."""
        self._browser.open(self._visit.warned)
        self._wrong()
        self._visit.show("wrong")
        found = self._browser.script(CONTRASTS)
        expect({"error", "loopback", "hint", "allow"} <= {name for name, _ in found["texts"]}, f"found {found}")
        lowest = {}
        for kind, least in (("texts", TEXT_CONTRAST_MIN), ("edges", EDGE_CONTRAST_MIN)):
            low = {name: value for name, value in found[kind] if value < least}
            expect(not low, f"{kind}: {low}")
            lowest[kind] = min(value for _, value in found[kind])
        return f"text at least {lowest['texts']}:1, edges {lowest['edges']}:1"

    def fits(self):
        long = self._visit.asks(LONG_NAME, f"https://{LONG_HOST}/cb")
        for name, url in (("long", long), ("loopback", self._visit.warned), ("refused", self._visit.product.url_of("/authorize"))):
            for size in NARROW:
                self._browser.resize(*size)
                self._browser.open(url)
                beyond = self._browser.script(BEYOND)
                expect(beyond == [0], f"{name} is too wide for {size[0]} pixels: {beyond}")
                # What says who gets access must not begin out of sight.
                expect(self._browser.script("return scrollY;") == 0, f"{name} does not begin at its top")
            self._visit.show(name)

    def waits_for_a_look(self):
        """An Enter that is held while the page comes up, even with a passphrase that the browser knows."""
        for fragment in ("", "#allow", "#proof"):
            self._browser.open("about:blank")
            self._browser.open(self._visit.url + fragment)
            self._browser.script("document.getElementById('proof').value = arguments[0];", self._visit.passphrase)
            self._browser.requests()
            self._browser.press(ENTER, ENTER, " ")
            self._visit.stays(f"Enter at {fragment or 'the page'}")

    def is_used_by_keyboard(self):
        self._browser.open(self._visit.url)
        for name in ("proof", "allow", "deny"):
            self._browser.press(TAB)
            focus = self._browser.script(FOCUS)
            expect(focus["id"] == name and focus["frame"] >= 2, f"not {name}, or without a frame: {focus}")
        self._browser.open(self._visit.url)
        self._browser.requests()
        self._browser.press(TAB, ENTER)
        self._visit.stays("Enter without a passphrase")
        self._browser.press(*self._visit.passphrase, ENTER)
        self._visit.is_allowed()
        self._browser.open(self._visit.url)
        self._browser.press(TAB, *self._visit.passphrase, TAB, ENTER)
        self._visit.is_allowed()

    def denies(self):
        self._browser.open(self._visit.url)
        self._browser.press(TAB, TAB, TAB, ENTER)
        answer = self._visit.answer()
        expect(answer["error"] == ["access_denied"] and "code" not in answer, f"sent: {answer}")

    def goes_on_after_a_wrong_one(self):
        self._browser.resize(*LOW)
        self._browser.open(self._visit.url)
        self._wrong()
        focus = self._browser.script(FOCUS)["id"]
        expect(focus == "proof", f"the focus is at {focus!r}")
        hidden = self._browser.script(HIDDEN)
        expect(not hidden, f"out of sight: {hidden}")
        self._visit.keep("wrong-on-a-phone")
        self._browser.resize(*WIDE)
        self._browser.press(*self._visit.passphrase, ENTER)
        self._visit.is_allowed()

    def refuses(self):
        self._browser.open(self._visit.url.replace("client_id=dc1.", "client_id=dc1.x"))
        expect(self._browser.text("#error-code") == "invalid_client", f"it says {self._browser.text()}")
        expect(self._browser.address().startswith(self._visit.product.url_of("/authorize")), "it sent the browser on")

    def has_enough(self):
        self._browser.open(self._visit.url)
        for _ in range(WRONG_PROOFS_MAX + 1):
            self._browser.type("#proof", "not the passphrase")
            self._browser.click("#allow")
            self._browser.wait_for("#error")
            if self._browser.has("#error-code"):
                break
        said = self._browser.text("#error")
        expect("wait 1 min" in said, f"it says {said}")
        self._visit.show("too-often")

    def takes_a_code(self):
        self._visit.product.environment["MCP_OAUTH"] = "console"
        self._visit.product.restart()
        self._browser.open(self._visit.url)
        said = "\n".join(self._visit.product.log())
        expect(self._browser.has("label[for=proof] ~ input#proof[autocomplete=one-time-code]"), "there is no field for it")
        self._visit.show("console")
        self._browser.type("#proof", re.search(r"the code is (\d{4} \d{4})", said).group(1))
        self._browser.click("#allow")
        self._visit.is_allowed()

    def _wrong(self):
        self._browser.type("#proof", "not the passphrase")
        self._browser.click("#allow")
        self._browser.wait_for("#error")
        said = self._browser.text("#error")
        expect(said == "This is not the passphrase.", f"it says {said}")


def run(report, house):
    with house.scenario(NAME) as scene:
        report.steps(NAME, Checks(Visit(scene, house)).steps(), scene.children.tails)


NAME = "the page of consent"
ROWS = [(NAME, run)]

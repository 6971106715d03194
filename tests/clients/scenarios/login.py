"""Real clients log in over OAuth: the owner reads the page in Chromium, types the passphrase and decides.

The last of the 25 statements that the authorization server is held to; `tests/it/oauth` has the others.
"""

import itertools
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qs, urlsplit

from harness import clients
from harness.browser import Browser
from harness.children import Late, wait_until
from harness.product import Product
from harness.report import Failed, expect

from .pasted import entry_in
from .walk import RECONNECT_SECONDS_MAX, TRY_EVERY_SECONDS, TRY_SECONDS, expect_revision

STATEMENT = "statement 25"
# From the client's start until it opens the browser.
OPEN_SECONDS_MAX = 20
# The server looks once a second whether others have changed what it keeps; a token of its own has to end first.
NOTICE_SECONDS_MAX = 10
SHORT_LIFE_SECONDS = 30
# What the server's log says before the name of a new grant.
GIVEN = "tokens were given: grant="


@dataclass
class Place:
    """What the clients of one scenario share: a server that asks for logins, and the owner's browser."""

    scene: object
    tools: object
    product: Product
    upstream: object
    browser: Browser
    passphrase: str
    numbers: itertools.count = field(default_factory=itertools.count)

    def login(self, kind):
        return Login(self, kind, self.scene.folder / f"client-{next(self.numbers)}")


def place(scene, house, **settings):
    upstream = scene.stand_in()
    product = Product(scene.children, house.tools, scene.folder / "server", "https", upstream).start()
    passphrase = product.ask_for_logins(**settings)
    browser = Browser(scene.children, house.tools, scene.folder / "browser", product.ca_file)
    return Place(scene, house.tools, product, upstream, browser, passphrase)


class Login:
    """One client, from its first start on."""

    def __init__(self, place, kind, folder):
        self._place, self._kind, self._folder = place, kind, folder
        self._product, self._browser = place.product, place.browser
        self._client = None

    def arrival(self):
        return [
            ("logs in on the page", self.logs_in),
            ("lists the tools and calls one", self.serves),
        ]

    def refresh(self):
        return [("gets a new access token by itself", self.refreshes)]

    def stay(self):
        return [
            *([("works on after a restart of the server", self.works_on)] if self._kind.reconnects else []),
            ("needs no login when it is started again", self.starts_again),
        ]

    def logs_in(self):
        before = len(self._product.handshakes())
        url = self.ask()
        host = urlsplit(parse_qs(urlsplit(url).query)["redirect_uri"][0]).hostname
        shown = {name: self._browser.text(f"#{name}") for name in ("redirect-host", "client-name", "resource", "loopback")}
        expect(shown["redirect-host"].startswith(host), f"not to {host}: {shown}")
        expect(shown["resource"] == self._product.url_of(self._kind.path), f"for another resource: {shown}")
        expect(all(shown.values()), f"something is not said: {shown}")
        self._browser.type("#proof", self._place.passphrase)
        answer = self.decide("allow")
        expect("code" in answer, f"the client was sent {answer}")
        self._client.end_initialize(self._handshake)
        expect_revision(self._kind, self._product.handshakes(before))
        given = next(line for line in reversed(self._product.log()) if GIVEN in line)
        self._refreshed = f"tokens were refreshed: grant={given.rpartition(GIVEN)[2]}"

    def ask(self):
        """Starts the client and brings its login before the owner; returns where it sent the browser."""
        self._connect()
        self._handshake = self._client.begin_initialize()
        url = wait_until(self._last_opened, OPEN_SECONDS_MAX, "an address for the browser")
        self._browser.open(url)
        return url

    def decide(self, decision):
        """Presses a button of the page and returns what the client is sent."""
        redirect = parse_qs(urlsplit(self._last_opened()).query)["redirect_uri"][0]
        self._browser.click(f"#{decision}")
        answer = parse_qs(urlsplit(self._browser.wait_for_address(redirect)).query)
        expect(answer["iss"] == [self._product.url_of("")], f"the answer is from {answer['iss']}")
        return answer

    def serves(self):
        names = self._client.tool_names()
        expect({"list_models", "chat"} <= set(names), f"the tools are {names}")
        self._list_models(clients.ANSWER_SECONDS_MAX)

    def refreshes(self):
        expect(self._client, "it has not logged in")
        before, since = self._count(self._refreshed), len(self._product.log())
        ahead = self._kind in AHEAD
        if not ahead:
            self._product.end_access_tokens()

        def has_refreshed():
            # Every call on the way has to be answered, whichever token it found.
            self._list_models(clients.ANSWER_SECONDS_MAX)
            return self._count(self._refreshed) > before

        seconds = NOTICE_SECONDS_MAX + (SHORT_LIFE_SECONDS if ahead else 0)
        wait_until(has_refreshed, seconds, "a refresh in the server's log", TRY_EVERY_SECONDS)
        refused = [line for line in self._product.log()[since:] if "status=401" in line]
        expect(ahead != bool(refused), f"the refusals are {refused}")
        self._was_asked_once()
        return "ahead of its end" if ahead else "after a 401"

    def renews(self):
        """Uses the client once, if it has logged in, so that its token is one that the server takes."""
        if self._client:
            wait_until(self._lists_again, RECONNECT_SECONDS_MAX, "models listed", TRY_EVERY_SECONDS)

    def works_on(self):
        expect(self._client, "it has not logged in")
        wait_until(self._lists_again, RECONNECT_SECONDS_MAX, "models listed by the same client", TRY_EVERY_SECONDS)
        expect(not self._registrations(), "it registered again")
        self._was_asked_once()

    def starts_again(self):
        expect(self._client, "it has not logged in")
        self._client.leave()
        before = self._registrations()
        self._connect()
        self._client.initialize()
        self._list_models(clients.ANSWER_SECONDS_MAX)
        expect(self._registrations() == before, "it registered again")
        self._was_asked_once()

    def hears_denial(self):
        try:
            return self._hears_denial()
        finally:
            # Some try again by themselves.
            self._client.child.kill()

    def _hears_denial(self):
        self.ask()
        answer = self.decide("deny")
        expect((answer.get("error"), "code" in answer) == (["access_denied"], False), f"the client was sent {answer}")
        if self._kind.package == clients.BEFORE_THE_MOVE.package:
            # It does not read errors: its own page says that there is no code, and it waits on.
            said = self._browser.text()
            expect("No authorization code received" in said, f"its page says {said!r}")
            return "its page says so"
        wait_until(lambda: "access_denied" in self._client.child.tail(), NOTICE_SECONDS_MAX, "access_denied from the client")
        return None

    def brings(self, token):
        before = self._registrations()
        self._connect(("--header", "Authorization:${AUTH_HEADER}"), {"AUTH_HEADER": token})
        self._client.initialize()
        self._list_models(clients.ANSWER_SECONDS_MAX)
        expect(self._registrations() == before and not self._opened(), "it looked for a login")

    def _connect(self, options=(), environment=None):
        (self._folder / "mcp-auth").mkdir(parents=True, exist_ok=True)
        self._opened_file = self._folder / "opened"
        self._client = clients.connect(
            self._place.scene.children, self._place.tools, self._kind, self._product, clients.TRUSTED, self._folder, options,
            {
                **(environment or {}),
                "BROWSER": str(self._place.tools.program("browser.sh")),
                "OPENED": str(self._opened_file),
                "LOGIN_FOLDER": str(self._folder),
            })

    def _opened(self):
        """The addresses that the client opened, all of its starts together."""
        return self._opened_file.read_text().splitlines() if self._opened_file.is_file() else []

    def _last_opened(self):
        return next(reversed(self._opened()), None)

    def _was_asked_once(self):
        expect(len(self._opened()) == 1, f"the browser was opened for {self._opened()}")

    def _registrations(self):
        return self._count("POST /register ")

    def _count(self, words):
        return sum(words in line for line in self._product.log())

    def _list_models(self, seconds):
        text = self._client.call("list_models", {}, seconds)
        expect(self._place.upstream.model_name() in text, f"no {self._place.upstream.model_name()} in: {text[:300]}")
        return True

    def _lists_again(self):
        try:
            return self._list_models(TRY_SECONDS)
        except (Late, Failed):
            return False


def logins(report, house, group):
    """Several clients at one server, which they log in to one after another and share from then on."""
    with house.scenario(group.name) as scene:
        here = place(scene, house, **group.settings)
        guests = [(f"{STATEMENT}: {kind.name}", here.login(kind)) for kind in group.kinds]

        def all_take(steps):
            for title, guest in guests:
                report.steps(title, steps(guest), scene.children.tails)

        token = entry_in(here.product.command("token", "add", "laptop"), "local-llm")["env"]["AUTH_HEADER"]
        all_take(Login.arrival)
        # Others are turned away while tokens get older.
        if group.denied:
            denials(report, here, group.denied)
        all_take(Login.refresh)
        # One refresh at a time: mcp-remote 0.15.1 has two streams that reconnect, and where both find an
        # old token, both save the new one under one name in between, which fails and brings a login.
        for _, guest in guests:
            guest.renews()
        here.product.restart()
        all_take(Login.stay)
        for kind in group.kinds:
            if kind.package:
                guest = here.login(kind)
                report.check(f"{STATEMENT}: {kind.name}: a token in its header is enough", lambda: guest.brings(token))


def denials(report, here, kinds):
    before = here.product.command("grants", "list")
    for kind in kinds:
        report.check(f"{STATEMENT}: {kind.name} hears that the owner has said no", here.login(kind).hears_denial)

    def nothing_granted():
        after = here.product.command("grants", "list")
        expect(after == before, f"before: {before}, after: {after}")

    report.check(f"{STATEMENT}: nothing was granted to them", nothing_granted)


@dataclass(frozen=True)
class Group:
    """Clients that log in to the same server, and those that the owner turns away there."""

    name: str
    kinds: tuple
    denied: tuple = ()
    settings: dict = field(default_factory=dict)


PYTHON_LEGACY = replace(clients.PYTHON_SDK, name="Python SDK legacy on /sse", options=("legacy",))
PYTHON_MODERN = clients.on_mcp(clients.modern(clients.PYTHON_SDK, " auto"))
# Those that look at the clock and refresh before the server could refuse.
NEWEST_AHEAD = replace(clients.NEWEST, name=f"{clients.NEWEST.name} with short tokens")
AHEAD = (PYTHON_LEGACY, PYTHON_MODERN, NEWEST_AHEAD)


def transports(kind):
    """mcp-remote in the three ways that its users have it."""
    return (
        replace(kind, name=f"{kind.name} default on /sse"),
        replace(kind, name=f"{kind.name} sse-only", options=("--transport", "sse-only")),
        clients.on_mcp(kind),
    )


GROUPS = [
    Group("mcp-remote 0.15.1 logs in", (
        *transports(clients.NEWEST),
        clients.on_mcp(clients.modern(clients.NEWEST, " --protocol auto", ("--protocol", "auto"))),
    )),
    Group("mcp-remote 0.1.38 logs in", transports(clients.BEFORE_THE_MOVE)),
    Group("the TypeScript SDKs log in", (
        replace(clients.TYPESCRIPT_SDK, name="TypeScript SDK on /sse"),
        clients.on_mcp(clients.TYPESCRIPT_SDK),
        clients.on_mcp(clients.TYPESCRIPT_CLIENT),
        clients.on_mcp(clients.NEGOTIATING[0]),
    )),
    Group(
        f"tokens that live for {SHORT_LIFE_SECONDS} s", AHEAD,
        (clients.NEWEST, clients.BEFORE_THE_MOVE, clients.TYPESCRIPT_SDK, clients.on_mcp(clients.TYPESCRIPT_CLIENT), PYTHON_MODERN),
        {"MCP_OAUTH_ACCESS_S": str(SHORT_LIFE_SECONDS)}),
]

ROWS = [
    (f"{STATEMENT}: {group.name}", lambda report, house, group=group: logins(report, house, group)) for group in GROUPS]

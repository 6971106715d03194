"""The rows of the guide for mcp-remote, each run once with its newest version."""

from harness import clients
from harness.children import bare_environment, wait_until
from harness.product import Product
from harness.report import Failed, expect

from .walk import CANCEL_SECONDS_MAX

PROXY_SECONDS_MAX = 10
# How long mcp-remote may take to give up on a server that it must not or may not talk to.
GIVE_UP_SECONDS_MAX = 20
TOKEN = "a-token-of-the-client-runs-0123456789"


class Row:
    """One row: its scene, one server over https, and a way to connect to it."""

    def __init__(self, scene, house, **environment):
        self._scene, self._tools = scene, house.tools
        self.upstream = scene.stand_in()
        self.product = Product(
            scene.children, house.tools, scene.folder / "server", "https", self.upstream, **environment).start()
        self.client_folder = scene.folder / "client"

    def connect(self, *options, way=clients.TRUSTED, product=None, environment=None, url=None):
        return clients.connect(
            self._scene.children, self._tools, clients.NEWEST, product or self.product, way,
            self.client_folder, options, environment, url)

    def serves(self, client):
        """Shakes hands and lists the models."""
        client.initialize()
        text = client.call("list_models", {})
        expect(self.upstream.model_name() in text, f"no {self.upstream.model_name()} in: {text[:300]}")

    def is_turned_away(self, client, reason):
        """mcp-remote ends with an error that has `reason` in its words, and answers nothing."""
        client.begin("list_models", {})
        code = client.child.wait(GIVE_UP_SECONDS_MAX)
        said = "\n".join(client.child.errors.all())
        expect(code != 0 and reason in said, f"exit code {code}, no {reason!r} in what it said")
        expect(not client.child.output.all(), "it answered")


def two_servers(report, house):
    """As in a configuration with two entries: one mcp-remote each, one folder for both."""
    with house.scenario("two servers") as scene:
        row = Row(scene, house)
        other_upstream = scene.stand_in()
        other_product = Product(
            scene.children, house.tools, scene.folder / "other-server", "https", other_upstream).start()
        first, second = row.connect(), row.connect(product=other_product)
        upstreams = (row.upstream, other_upstream)

        def both_serve():
            for client in (first, second):
                row.serves(client)

        def each_to_its_own():
            before = [upstream.snapshot() for upstream in upstreams]
            numbers = [client.begin("chat", upstream.endless_chat)
                       for client, upstream in zip((first, second), upstreams)]
            for upstream, then in zip(upstreams, before):
                wait_until(lambda u=upstream, t=then: u.runs_since(t), clients.ANSWER_SECONDS_MAX, "a chat on each server")
            first.cancel(numbers[0])
            wait_until(lambda: upstreams[0].broken_off_since(before[0]), CANCEL_SECONDS_MAX, "the end of the first chat")
            expect(not upstreams[1].broken_off_since(before[1]), "the cancel ended the other server's chat")
            second.cancel(numbers[1])
            wait_until(lambda: upstreams[1].broken_off_since(before[1]), CANCEL_SECONDS_MAX, "the end of the second chat")

        report.steps("two servers in one configuration", [
            ("both serve", both_serve),
            ("a cancel reaches only the server that it is for", each_to_its_own),
        ], scene.children.tails)


def ignored_tool(report, house):
    with house.scenario("--ignore-tool") as scene:
        row = Row(scene, house)
        client = row.connect("--ignore-tool", "chat")

        def chat_is_hidden():
            names = client.tool_names()
            expect("list_models" in names and "chat" not in names, f"the tools are {names}")

        def chat_is_refused():
            before = row.upstream.snapshot()
            try:
                client.call("chat", row.upstream.short_chat)
            except clients.Refused:
                expect(row.upstream.snapshot() == before, "the call went through")
            else:
                raise Failed("chat was answered")

        report.steps("--ignore-tool chat", [
            ("the other tools serve", lambda: row.serves(client)),
            ("chat is not listed", chat_is_hidden),
            ("chat is refused before it is sent", chat_is_refused),
        ], scene.children.tails)


def through_a_proxy(report, house):
    with house.scenario("--enable-proxy") as scene:
        row = Row(scene, house)
        proxy = scene.children.start(
            "connect_proxy.mjs", [house.tools.node, house.tools.program("connect_proxy.mjs")], bare_environment(scene.folder))
        address = proxy.output.wait_for(
            lambda line: line.removeprefix("listening ") if line.startswith("listening ") else None,
            PROXY_SECONDS_MAX, "the proxy's address")
        client = row.connect("--enable-proxy", environment={"HTTP_PROXY": address, "HTTPS_PROXY": address})

        def went_through():
            tunnels = [line for line in proxy.output.all() if line == f"CONNECT localhost:{row.product.port}"]
            expect(tunnels, f"the proxy saw {proxy.output.all()}")
            return f"{len(tunnels)} tunnels"

        def cancels():
            before = row.upstream.snapshot()
            number = client.begin("chat", row.upstream.endless_chat)
            wait_until(lambda: row.upstream.runs_since(before), clients.ANSWER_SECONDS_MAX, "a running generation")
            client.cancel(number)
            wait_until(lambda: row.upstream.broken_off_since(before), CANCEL_SECONDS_MAX, "the end of the generation")

        report.steps("--enable-proxy", [
            ("the server is reached", lambda: row.serves(client)),
            ("its connections went through the proxy", went_through),
            ("cancels a running chat", cancels),
        ], scene.children.tails)


def debugging(report, house):
    with house.scenario("--debug") as scene:
        row = Row(scene, house)
        client = row.connect("--debug", environment={"DEBUG": "*"})

        def wrote_a_log():
            logs = list((row.client_folder / "mcp-auth").rglob("*debug.log"))
            expect(logs and logs[0].stat().st_size > 0, f"the logs are {logs}")

        def output_is_clean():
            expect(not client.stray_output(), f"on standard output: {client.stray_output()[:3]}")

        report.steps("--debug with DEBUG=*", [
            ("the server is reached", lambda: row.serves(client)),
            ("mcp-remote wrote its log", wrote_a_log),
            ("standard output carries nothing but the protocol", output_is_clean),
        ], scene.children.tails)


def bearer_header(report, house):
    with house.scenario("--header") as scene:
        row = Row(scene, house, MCP_TOKEN=TOKEN)

        def header(token):
            # With a variable, as the guide has it: some hosts break arguments at spaces.
            return {"options": ("--header", "Authorization:${AUTH_HEADER}"), "environment": {"AUTH_HEADER": f"Bearer {token}"}}

        def serves_with(token):
            settings = header(token)
            row.serves(row.connect(*settings["options"], environment=settings["environment"]))

        def turned_away(*options, environment=None):
            # mcp-remote ends with what the server says where it would register for OAuth.
            row.is_turned_away(row.connect(*options, environment=environment), "--header")

        wrong = header("not-the-token-of-the-client-runs")
        report.steps('--header "Authorization: Bearer …"', [
            ("the token opens the server", lambda: serves_with(TOKEN)),
            ("a wrong token does not", lambda: turned_away(*wrong["options"], environment=wrong["environment"])),
            ("neither does none", turned_away),
            ("the server still serves", lambda: serves_with(TOKEN)),
        ], scene.children.tails)


def unknown_authority(report, house):
    with house.scenario("unknown authority") as scene:
        row = Row(scene, house)
        report.steps("a certificate that the laptop does not know", [
            ("mcp-remote refuses it and says so", lambda: row.is_turned_away(
                row.connect(way=clients.PLAIN), "certificate")),
            ("the server still serves", lambda: row.serves(row.connect())),
        ], scene.children.tails)


def newer_protocol(report, house):
    with house.scenario("--protocol auto") as scene:
        row = Row(scene, house)
        report.steps("--protocol auto", [
            ("finds no newer protocol on /sse and serves", lambda: row.serves(row.connect("--protocol", "auto"))),
        ], scene.children.tails)


ROWS = [
    ("two servers in one configuration", two_servers),
    ("--ignore-tool", ignored_tool),
    ("--enable-proxy", through_a_proxy),
    ("--debug with DEBUG=*", debugging),
    ("--header with a token", bearer_header),
    ("a certificate of an unknown authority", unknown_authority),
    ("--protocol auto", newer_protocol),
]

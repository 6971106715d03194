"""MCP Inspector's CLI on /mcp, in both of its eras.

One invocation is one connection with one request, so there is nothing that a restart could interrupt, and
nobody who could cancel; it does not show progress either. What it can do, it does: connect, list the tools, the
resources and the prompts, read a resource, and call a tool with an argument.
"""

import json

from harness import clients
from harness.children import bare_environment
from harness.product import Product
from harness.report import expect

VERSION = "2.12.0"
INVOCATION_SECONDS_MAX = 20


class Inspector:
    """The CLI against one server, in one era."""

    def __init__(self, scene, house, product, way, era):
        self._scene, self._tools, self._product = scene, house.tools, product
        self._era = era
        self._environment = bare_environment(scene.folder)
        if way == clients.TRUSTED:
            self._environment["NODE_EXTRA_CA_CERTS"] = str(product.ca_file)

    def ask(self, method, *options):
        """Runs it once and returns the result, after a look at whether it shook hands."""
        before = len(self._product.handshakes())
        argv = [self._tools.inspector_node, self._tools.inspector, "--cli", self._product.url_of("/mcp"),
                "--protocol-era", self._era, "--format", "json", "--method", method, *options]
        child = self._scene.children.start("Inspector", argv, self._environment, self._scene.folder)
        child.close_input()
        code = child.wait(INVOCATION_SECONDS_MAX)
        said = "\n".join(child.output.finished())
        expect(code == 0, f"exit code {code}: {child.errors.finished()[-3:]}")
        seen = [revision for _, revision in self._product.handshakes(before)]
        wanted = {"legacy": ["2025-11-25"], "modern": []}[self._era]
        expect(seen == wanted, f"the handshakes were {seen}, not {wanted}")
        answer = json.loads(said)
        # Only asked for with --strict.
        expect("schemaFindings" not in answer, f"unportable schemas: {answer.get('schemaFindings')}")
        return answer["result"]


def run(report, house, scheme, way, era):
    name = title(scheme, era)
    with house.scenario(name) as scene:
        upstream = scene.stand_in()
        product = Product(scene.children, house.tools, scene.folder / "server", scheme, upstream).start()
        inspector = Inspector(scene, house, product, way, era)

        def lists(method, field, key, wanted, *options):
            found = {entry[key] for entry in inspector.ask(method, *options)[field]}
            expect(wanted <= found, f"no {wanted - found} among {found}")

        def reads_a_resource():
            contents = inspector.ask("resources/read", "--uri", "local://models")["contents"]
            expect(upstream.model_name() in json.dumps(contents), f"no {upstream.model_name()} in {contents}")

        def calls_a_tool():
            message = f"message={upstream.short_chat['message']}"
            text = clients.text_of(inspector.ask("tools/call", "--tool-name", "chat", "--tool-arg", message))
            expect(upstream.answer in text, f"the answer is: {text[:300]!r}")

        report.steps(name, [
            ("lists the tools, with portable schemas",
             lambda: lists("tools/list", "tools", "name", {"list_models", "chat"}, "--strict")),
            ("lists the resources", lambda: lists("resources/list", "resources", "uri", {"local://models"})),
            ("lists the prompts", lambda: lists("prompts/list", "prompts", "name", {"document-analysis", "email-draft"})),
            ("reads a resource", reads_a_resource),
            ("calls a tool with an argument", calls_a_tool),
        ], scene.children.tails)


def title(scheme, era):
    return f"Inspector {VERSION} CLI {era} on /mcp over {scheme}"


ROWS = [
    (title(scheme, era), lambda report, house, scheme=scheme, way=way, era=era: run(report, house, scheme, way, era))
    for scheme, way, era in (("http", clients.PLAIN, "legacy"), ("https", clients.TRUSTED, "modern"))
]

"""The real clients, all driven in one way: JSON-RPC lines in, JSON-RPC lines out.

mcp-remote speaks that by itself. The SDKs and curl get it from a small program in `programs/`,
which leaves all talking to the server to the client that it is about.
"""

import itertools
import json
from dataclasses import dataclass, field, replace

from .children import Late, bare_environment
from .report import Failed, expect

ANSWER_SECONDS_MAX = 20
# After its input has ended a client has this long to leave by itself.
LEAVE_SECONDS_MAX = 5

# Ways of trusting the server's certificate.
PLAIN, TRUSTED, UNVERIFIED = "http", "https, CA trusted", "https, not verified"
WAYS = {"http": [PLAIN], "https": [TRUSTED, UNVERIFIED]}


@dataclass(frozen=True)
class Kind:
    """A client program and how it takes the end of its stream."""

    name: str
    needs: str
    # Carries on by itself when the server is back; the others end and are started again.
    reconnects: bool
    # What it offers at initialize; mcp-remote passes on what its host says.
    protocol_version: str
    # Passes on the host's own progress tokens; the SDKs keep progress to themselves.
    passes_progress: bool = False
    package: str = ""
    # The program in `programs/` that drives it, for those that do not speak lines themselves.
    program: str = ""
    options: tuple = field(default=())
    path: str = "/sse"
    # A client that leaves stops its call; a session on /mcp goes on without its client.
    leaving_stops: bool = True
    # Since 2026-07-28 closing the stream of a call stops it; who only sends a notification does not.
    cancels: bool = True


NEWEST = Kind("mcp-remote 0.15.1", "node", True, "2025-11-25", True, "mcp-remote")
BEFORE_THE_MOVE = Kind("mcp-remote 0.1.38", "node", True, "2025-06-18", True, "mcp-remote-before-the-move")
MCP_REMOTES = [
    replace(kind, name=f"{kind.name} {name}", options=options)
    for kind in (NEWEST, BEFORE_THE_MOVE)
    for name, options in (("default", ()), ("sse-only", ("--transport", "sse-only")))
]
TYPESCRIPT_SDK = Kind("TypeScript SDK", "node", True, "2025-11-25", program="typescript_sdk.mjs")
PYTHON_SDK = Kind("Python SDK", "python", False, "2025-11-25", program="python_sdk.py")
CURL = Kind("curl", "curl", False, "2024-11-05", True, program="curl.sh")


def on_mcp(kind, suffix="", options=()):
    """The same client over Streamable HTTP, whose sessions outlive a restart of the server."""
    name = f"{kind.name}{suffix} on /mcp"
    return replace(kind, name=name, path="/mcp", options=options, reconnects=True, leaving_stops=False)


def on_stdio(kind):
    """The same client, which starts the server itself; they end together."""
    return replace(kind, name=f"{kind.name} on stdio", path="stdio", reconnects=True)


ON_STDIO = [on_stdio(TYPESCRIPT_SDK), on_stdio(PYTHON_SDK)]
ON_MCP = [
    on_mcp(NEWEST),
    replace(on_mcp(NEWEST, " --protocol auto", ("--protocol", "auto")), cancels=False),
    on_mcp(BEFORE_THE_MOVE),
    on_mcp(TYPESCRIPT_SDK),
    on_mcp(PYTHON_SDK),
]


def connect(children, tools, kind, product, way, folder, options=(), environment=None, url=None):
    """Starts a client of this kind against the product; it has not said anything yet."""
    settings = bare_environment(folder, MCP_REMOTE_CONFIG_DIR=folder / "mcp-auth")
    if kind.needs == "node":
        if way == TRUSTED:
            settings["NODE_EXTRA_CA_CERTS"] = str(product.ca_file)
        if way == UNVERIFIED:
            settings["NODE_TLS_REJECT_UNAUTHORIZED"] = "0"
    else:
        settings["TRUST"] = {PLAIN: "", TRUSTED: str(product.ca_file), UNVERIFIED: "anything"}[way]
    if kind.path == "stdio":
        settings.update(product.environment, MCP_TRANSPORT="stdio", SERVER=str(tools.binary))
        url = "stdio"
    settings.update(environment or {})
    folder.mkdir(parents=True, exist_ok=True)
    argv = command(tools, kind, url or product.url_of(kind.path), options)
    return Client(kind, children.start(kind.name, argv, settings, folder))


def command(tools, kind, url, options):
    if kind.package:
        return [tools.node, tools.mcp_remote(kind.package), url, *kind.options, *options]
    program = tools.program(kind.program)
    if kind.needs == "node":
        return [tools.node, program, tools.node_folder, url]
    return [tools.python if kind.needs == "python" else "bash", program, url]


class Refused(Failed):
    """The server, or the client in its name, answered with a JSON-RPC error."""


class Client:
    """One running client, seen from the program that hosts it."""

    def __init__(self, kind, child):
        self.kind = kind
        self.child = child
        self._numbers = itertools.count(1)
        self._promised = set()
        self._tokens = {}

    def initialize(self):
        """Shakes hands and returns the server's own description of itself."""
        result = self.request("initialize", {
            "protocolVersion": self.kind.protocol_version,
            "capabilities": {},
            "clientInfo": {"name": "client-run", "version": "1"},
        })
        self.notify("notifications/initialized", {})
        return result

    def tool_names(self):
        """Lists the tools, and remembers which of them promise structured content."""
        tools = self.request("tools/list", {})["tools"]
        self._promised = {tool["name"] for tool in tools if "outputSchema" in tool}
        return [tool["name"] for tool in tools]

    def call(self, tool, arguments, seconds=ANSWER_SECONDS_MAX):
        """Calls a tool and returns its text. A result with `isError` is a failure here, and so is one
        without the structured content that the tool's listing promised: SDK hosts refuse it."""
        result = self.answer(self.begin(tool, arguments), seconds)
        text = text_of(result)
        expect(tool not in self._promised or "structuredContent" in result, "no structured content in the result")
        return text

    def begin(self, tool, arguments):
        """Sends a call, which asks for progress, and returns its number without waiting."""
        token = f"progress-of-{next(self._numbers)}"
        number = self._send("tools/call", {"name": tool, "arguments": arguments, "_meta": {"progressToken": token}})
        self._tokens[number] = token
        return number

    def hear_progress(self, number, seconds=ANSWER_SECONDS_MAX):
        """Waits for the first progress of a call."""

        def its_progress(line):
            message = message_in(line) or {}
            params = message.get("params", {})
            about_it = message.get("method") == "notifications/progress" and params["progressToken"] == self._tokens[number]
            return params if about_it else None

        return self.child.output.wait_for(its_progress, seconds, f"progress of request {number}")

    def cancel(self, number):
        self.notify("notifications/cancelled", {"requestId": number, "reason": "the user pressed stop"})

    def request(self, method, params, seconds=ANSWER_SECONDS_MAX):
        return self.answer(self._send(method, params), seconds)

    def answer(self, number, seconds=ANSWER_SECONDS_MAX):
        """The result of an earlier request; raises `Refused` when it is an error."""

        def mine(line):
            message = message_in(line)
            return message if message and message.get("id") == number and "method" not in message else None

        message = self.child.output.wait_for(mine, seconds, f"an answer to request {number}")
        if "error" in message:
            raise Refused(json.dumps(message["error"]))
        return message["result"]

    def has_answered(self, number):
        return any((message_in(line) or {}).get("id") == number for line in self.child.output.all())

    def notify(self, method, params):
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def leave(self):
        """Closes the client's input, as a host does that quits; kills a client that stays."""
        self.child.close_input()
        try:
            self.child.wait(LEAVE_SECONDS_MAX)
        except Late:
            self.child.kill()

    def stray_output(self):
        """Lines on standard output that are not JSON-RPC: a host would choke on them."""
        return [line for line in self.child.output.all() if message_in(line) is None]

    def _send(self, method, params):
        number = next(self._numbers)
        self._write({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        return number

    def _write(self, message):
        self.child.write_line(json.dumps(message))


def message_in(line):
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) and message.get("jsonrpc") == "2.0" else None


def text_of(result):
    text = "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
    expect(not result.get("isError"), f"the tool failed: {text}")
    return text

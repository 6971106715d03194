"""The real clients, all driven in one way: JSON-RPC lines in, JSON-RPC lines out.

mcp-remote speaks that by itself. The SDKs, rmcp and curl get it from a small program in `programs/`,
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

# The revision without sessions and without a handshake.
MODERN = "2026-07-28"


@dataclass(frozen=True)
class Kind:
    """A client program, what it speaks, and how it takes the end of its stream."""

    name: str
    needs: str
    # Carries on by itself when the server is back; the others end and are started again.
    reconnects: bool
    # What its host offers at initialize; mcp-remote passes it on.
    protocol_version: str
    # What it speaks to the server when that is another one.
    speaks: str = ""
    # Passes its host's lines on as they are; a program of ours answers a cancelled call itself.
    relays: bool = False
    package: str = ""
    # The program in `programs/` that drives it, for those that do not speak lines themselves.
    program: str = ""
    options: tuple = field(default=())
    path: str = "/sse"
    # A client that leaves stops its call; a session on /mcp goes on without its client.
    leaving_stops: bool = True
    # Since 2026-07-28 closing the stream of a call stops it; who only sends a notification does not.
    cancels: bool = True
    # How it may trust a server of https.
    https_ways: tuple = (TRUSTED, UNVERIFIED)

    @property
    def revision(self):
        """The revision that the server has to see."""
        return self.speaks or self.protocol_version

    def ways(self):
        """The ways of trusting the server by its scheme; stdio has neither."""
        return {"http": [PLAIN]} if self.path == "stdio" else {"http": [PLAIN], "https": list(self.https_ways)}


NEWEST = Kind("mcp-remote 0.15.1", "node", True, "2025-11-25", relays=True, package="mcp-remote")
BEFORE_THE_MOVE = Kind(
    "mcp-remote 0.1.38", "node", True, "2025-06-18", relays=True, package="mcp-remote-before-the-move")
MCP_REMOTES = [
    replace(kind, name=f"{kind.name} {name}", options=options)
    for kind in (NEWEST, BEFORE_THE_MOVE)
    for name, options in (("default", ()), ("sse-only", ("--transport", "sse-only")))
]
TYPESCRIPT_SDK = Kind("TypeScript SDK", "node", True, "2025-11-25", program="typescript_sdk.mjs")
PYTHON_SDK = Kind("Python SDK", "python", False, "2025-11-25", program="python_sdk.py")
CURL = Kind("curl", "curl", False, "2024-11-05", relays=True, program="curl.sh")
# The client package of the TypeScript SDK since its 2.0, which shakes hands unless it is told to negotiate.
TYPESCRIPT_CLIENT = Kind("TypeScript client 2.4.0", "node", True, "2025-11-25", program="typescript_client.mjs",
                         options=("legacy",), https_ways=(TRUSTED,))
RMCP = Kind("rmcp 3.11.0", "rmcp", True, "2025-11-25", program="rmcp", options=("initialize",), https_ways=(TRUSTED,))


def modern(kind, suffix="", options=()):
    """The same client without a handshake: every request stands alone, and ends with its connection."""
    return replace(kind, name=kind.name + suffix, speaks=MODERN, options=options)


def on_mcp(kind):
    """The same client over Streamable HTTP, whose sessions outlive a restart of the server."""
    return replace(
        kind, name=f"{kind.name} on /mcp", path="/mcp", reconnects=True, leaving_stops=kind.revision == MODERN)


def on_stdio(kind):
    """The same client, which starts the server itself; they end together."""
    return replace(kind, name=f"{kind.name} on stdio", path="stdio", reconnects=True)


# Each speaks to /mcp and stdio in every way that it knows of finding a revision.
HANDSHAKING = [
    TYPESCRIPT_SDK,
    TYPESCRIPT_CLIENT,
    replace(PYTHON_SDK, name="Python SDK legacy", options=("legacy",), https_ways=(TRUSTED,)),
    RMCP,
]
NEGOTIATING = [
    modern(TYPESCRIPT_CLIENT, " auto", ("auto",)),
    modern(PYTHON_SDK),
    modern(RMCP, " discover", ("discover",)),
]
ON_STDIO = [on_stdio(kind) for kind in (*HANDSHAKING, *NEGOTIATING)]
ON_MCP = [on_mcp(kind) for kind in (
    NEWEST,
    replace(modern(NEWEST, " --protocol auto", ("--protocol", "auto")), cancels=False),
    BEFORE_THE_MOVE,
    *HANDSHAKING,
    *NEGOTIATING,
)]


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
    if kind.needs == "rmcp":
        return [tools.rmcp, url, *kind.options]
    program = tools.program(kind.program)
    if kind.needs == "node":
        return [tools.node, program, tools.node_folder, url, *kind.options]
    return [tools.python if kind.needs == "python" else "bash", program, url, *kind.options]


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
        self._called = {}

    def initialize(self):
        """Shakes hands and returns the server's own description of itself."""
        return self.end_initialize(self.begin_initialize())

    def begin_initialize(self):
        """Asks for the handshake, which may need a login first, and returns the request's number."""
        return self._send("initialize", {
            "protocolVersion": self.kind.protocol_version,
            "capabilities": {},
            "clientInfo": {"name": "client-run", "version": "1"},
        })

    def end_initialize(self, number):
        """The server's own description of itself."""
        result = self.answer(number)
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
        return self.text(self.begin(tool, arguments), seconds)

    def text(self, number, seconds=ANSWER_SECONDS_MAX):
        """The text of a call that was begun, under the same conditions."""
        result = self.answer(number, seconds)
        text = text_of(result)
        promised = self._called[number] in self._promised
        expect(not promised or "structuredContent" in result, "no structured content in the result")
        return text

    def begin(self, tool, arguments):
        """Sends a call, which asks for progress, and returns its number without waiting."""
        token = f"progress-of-{next(self._numbers)}"
        number = self._send("tools/call", {"name": tool, "arguments": arguments, "_meta": {"progressToken": token}})
        self._tokens[number], self._called[number] = token, tool
        return number

    def hear_progress(self, number, words="", seconds=ANSWER_SECONDS_MAX):
        """Waits for the first progress of a call, or for the first that begins with these words."""

        def its_progress(line):
            progress = self._progress_in(line, number)
            return progress if progress and progress.get("message", "").startswith(words) else None

        return self.child.output.wait_for(its_progress, seconds, f"progress {words!r} of request {number}")

    def progress_before_answer(self, number):
        """The progress of an answered call, without what came after the answer."""
        heard = []
        for line in self.child.output.all():
            if answers(line, number):
                return heard
            heard += filter(None, [self._progress_in(line, number)])
        raise Failed(f"request {number} is not answered")

    def _progress_in(self, line, number):
        message = message_in(line) or {}
        params = message.get("params", {})
        about_it = message.get("method") == "notifications/progress" and params["progressToken"] == self._tokens[number]
        return params if about_it else None

    def cancel(self, number):
        self.notify("notifications/cancelled", {"requestId": number, "reason": "the user pressed stop"})

    def request(self, method, params, seconds=ANSWER_SECONDS_MAX):
        return self.answer(self._send(method, params), seconds)

    def answer(self, number, seconds=ANSWER_SECONDS_MAX):
        """The result of an earlier request; raises `Refused` when it is an error."""

        message = self.child.output.wait_for(
            lambda line: answers(line, number), seconds, f"an answer to request {number}")
        if "error" in message:
            raise Refused(json.dumps(message["error"]))
        return message["result"]

    def has_answered(self, number):
        return any(answers(line, number) for line in self.child.output.all())

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


def answers(line, number):
    """The answer to request `number`, when the line is that."""
    message = message_in(line) or {}
    return message if message.get("id") == number and "method" not in message else None


def failure_of(result):
    """The sentence and the error of a result that says that the tool failed."""
    expect(result.get("isError"), f"the tool did not fail: {result}")
    sentence, data = (block["text"] for block in result["content"][:2])
    return sentence, json.loads(data)["error"]


def text_of(result):
    text = "\n".join(block["text"] for block in result["content"] if block["type"] == "text")
    expect(not result.get("isError"), f"the tool failed: {text}")
    return text

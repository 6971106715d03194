"""The walk that every client takes: connect, list, call, cancel, live through a restart, leave."""

import time

from harness import clients
from harness.children import Late, wait_until
from harness.product import Product, handshakes_in
from harness.report import Failed, expect

# From the stop button to a free GPU.
CANCEL_SECONDS_MAX = 1.5
# mcp-remote and the TypeScript SDK try again every three seconds.
RECONNECT_SECONDS_MAX = 20
# mcp-remote 0.1.38 never answers what it sent into a dead session, so one try must not wait long.
TRY_SECONDS = 3
TRY_EVERY_SECONDS = 0.2
# Before its host has said anything mcp-remote tries /mcp with a session of its own, in its own revision.
MCP_REMOTE_TRY = "mcp-remote-fallback-test"


class Walk:
    """One client, one server, one upstream, and the steps in their order."""

    def __init__(self, children, tools, kind, way, product, upstream, folder):
        self._children, self._tools = children, tools
        self._kind, self._way, self._folder = kind, way, folder
        self._product, self._upstream = product, upstream
        self._client = None

    def steps(self):
        steps = [
            ("connects", self.connects),
            ("lists the tools", self.lists_the_tools),
            ("lists the models", self.lists_the_models),
            ("chats, with progress before the answer", self.chats),
            *([("cancels a running chat", self.cancels)] if self._kind.cancels else []),
            *([("survives a restart of the server", self.survives_a_restart)] if self._kind.path != "stdio" else []),
        ]
        return steps + ([("ends its chat by leaving", self.ends_its_chat_by_leaving)] if self._kind.leaving_stops else [])

    def connects(self):
        before = len(self._product.handshakes())
        self._client = clients.connect(
            self._children, self._tools, self._kind, self._product, self._way, self._folder)
        described = self._client.initialize()
        name = described["serverInfo"]["name"]
        expect(name == "local-llm-mcp", f"the server calls itself {name}")
        # Who relays agrees with its host on what the host offered, whatever it speaks itself. The TypeScript
        # SDK of 1.x does not tell.
        agreed = self._kind.protocol_version if self._kind.relays else self._kind.revision
        told = described.get("protocolVersion", agreed)
        expect(told == agreed, f"the client says that it speaks {told}")
        self._speaks_its_revision(before)

    def _speaks_its_revision(self, before):
        """The server's log tells of every handshake; 2026-07-28 has none, so that falling back shows."""
        if self._kind.path != "stdio":
            seen = self._product.handshakes(before)
        else:
            log = self._client.child.errors
            if self._kind.revision != clients.MODERN:
                log.wait_for(lambda line: handshakes_in([line]) or None, clients.ANSWER_SECONDS_MAX, "a handshake in the log")
            seen = handshakes_in(log.all())
        expect_revision(self._kind, seen)

    def lists_the_tools(self):
        names = self._client.tool_names()
        expect({"list_models", "chat"} <= set(names), f"the tools are {names}")

    def lists_the_models(self):
        text = self._client.call("list_models", {})
        expect(self._upstream.model_name() in text, f"no {self._upstream.model_name()} in: {text[:300]}")

    def chats(self):
        number = self._client.begin("chat", self._upstream.short_chat)
        text = self._client.text(number)
        expect(self._upstream.answer in text, f"the answer is: {text[:300]!r}")
        heard = [progress["progress"] for progress in self._client.progress_before_answer(number)]
        expect(heard, "no progress came before the answer")
        expect(heard == sorted(set(heard)), f"progress does not rise: {heard}")

    def cancels(self):
        number, before = self._begin_endless_chat()
        self._client.hear_progress(number)
        self._client.cancel(number)
        cancelled = time.monotonic()
        self._wait_broken_off(before)
        took = time.monotonic() - cancelled
        self.lists_the_models()
        if self._kind.relays:
            expect(not self._client.has_answered(number), "the cancelled call was answered")
        return f"generation ended after {took * 1000:.0f} ms"

    def survives_a_restart(self):
        self._product.restart()
        back = time.monotonic()
        if self._kind.reconnects:
            wait_until(
                self._lists_again, RECONNECT_SECONDS_MAX, "models listed by the same client", TRY_EVERY_SECONDS)
            took = time.monotonic() - back
            if self._kind.path != "/sse":
                anew = self._product.handshakes()
                expect(not anew, f"the session did not go on: handshakes after the restart: {anew}")
            return f"served again after {took:.1f} s"
        self._notices_the_end()
        self.connects()
        self.lists_the_models()
        return "ended, and started again"

    def ends_its_chat_by_leaving(self):
        _, before = self._begin_endless_chat()
        self._client.leave()
        left = time.monotonic()
        self._wait_broken_off(before)
        return f"generation ended {(time.monotonic() - left) * 1000:.0f} ms after the client had gone"

    def _begin_endless_chat(self):
        before = self._upstream.snapshot()
        number = self._client.begin("chat", self._upstream.endless_chat)
        wait_until(lambda: self._upstream.runs_since(before), clients.ANSWER_SECONDS_MAX, "a running generation")
        return number, before

    def _wait_broken_off(self, before):
        wait_until(lambda: self._upstream.broken_off_since(before), CANCEL_SECONDS_MAX, "the end of the generation")

    def _lists_again(self):
        try:
            return self._upstream.model_name() in self._client.call("list_models", {}, TRY_SECONDS)
        except (Late, Failed):
            return False

    def _notices_the_end(self):
        """A client that can't reconnect has to end or to fail its next call; it must not hang."""
        try:
            self._client.tool_names()
        except (Failed, OSError):
            pass
        except Late:
            if self._client.child.is_running:
                raise
        else:
            raise Failed("a call was answered in a session that had ended")
        self._client.leave()


def expect_revision(kind, handshakes):
    """What was seen of a client's arrival is a handshake in its revision, or none in 2026-07-28."""
    wanted = {kind.revision} - {clients.MODERN}
    spoken = {revision for client, revision in handshakes if MCP_REMOTE_TRY not in client}
    expect(spoken == wanted, f"the handshakes were {handshakes}, not {wanted or 'none'}")


def run(report, house, kind, scheme, ways):
    """Walks once for each way of trusting a server of this scheme; they share the server."""
    with house.scenario(f"{kind.name} over {scheme}") as scene:
        walk_all(report, house, scene, kind, scheme, ways, scene.stand_in(), "")


def run_with_model_server(report, house, kind):
    """The same walk with llama.cpp's server, whose slots show what a cancel did."""
    with house.scenario(f"{kind.name} with a real model server") as scene:
        walk_all(report, house, scene, kind, "https", [clients.TRUSTED], scene.model_server(), ", real model server")


def walk_all(report, house, scene, kind, scheme, ways, upstream, suffix):
    product = Product(scene.children, house.tools, scene.folder / "server", scheme, upstream).start()
    for number, way in enumerate(ways):
        walk = Walk(scene.children, house.tools, kind, way, product, upstream, scene.folder / f"client-{number}")
        report.steps(f"{kind.name}, {way}{suffix}", walk.steps(), scene.children.tails)

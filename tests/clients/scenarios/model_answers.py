"""A chat with llama.cpp's server in every way that it can end, on both paths.

The server's own slots tell when it writes; what the model says is known, since it was made by hand.
"""

import json
import time

from harness import clients
from harness.children import wait_until
from harness.report import expect
from harness.upstreams import ask

from . import bridge
from .walk import CANCEL_SECONDS_MAX

# Written in a second or more, so that it is heard of more than once.
LONG_ANSWER_TOKENS = 6000
DEADLINE_SECONDS = 1
# A deadline has to hold also while the machine is busy.
DEADLINE_SECONDS_MAX = 3
# Every letter that the model has no word for is a token. The first is refused by the model server, since an
# estimate does not find it; the second by ours, after the model server has counted it.
WINDOW_TOKENS = 32768
LETTERS_TOO_MANY, LETTERS_FAR_TOO_MANY = 40000, 80000
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "sure": {"type": "boolean"}, "names": {"type": "array", "items": {"type": "string"}}},
    "required": ["city", "sure", "names"],
}


class Answers:
    """The steps of one path."""

    def __init__(self, served, upstream, kind):
        self._served, self._upstream, self._kind = served, upstream, kind
        self._client = None

    def steps(self):
        return [
            ("lists the model with its window", self.lists_the_model),
            ("answers a call that asks for no progress", self.answers_quietly),
            *([("answers in one piece of JSON", self.answers_in_one_piece)] if self._kind.path == "/mcp" else []),
            ("tells progress while the model writes", self.tells_progress),
            ("a cancel empties the slot", self.cancels),
            ("a deadline gives what has come", self.gives_what_has_come),
            ("a prompt that overflows is refused by the model server", self.overflows),
            ("one that overflows by far is not even sent", self.overflows_by_far),
            ("answers by a JSON Schema", self.answers_by_a_schema),
        ]

    def lists_the_model(self):
        self._client = self._served.connect(self._kind)
        listed = bridge.data_of(self._client, "list_models", {})
        seen = [(model["id"], model["state"], model["contextWindow"]) for model in listed["models"]]
        wanted = [(self._upstream.model_name(), "loaded", WINDOW_TOKENS)]
        expect(seen == wanted, f"the models are {listed['models']}, wanted {wanted}")

    def answers_quietly(self):
        params = {"name": "chat", "arguments": self._upstream.short_chat}
        self._is_the_answer(self._client.request("tools/call", params))

    def answers_in_one_piece(self):
        call = {"name": "chat", "arguments": self._upstream.short_chat, "_meta": {
            "io.modelcontextprotocol/protocolVersion": clients.MODERN, "io.modelcontextprotocol/clientCapabilities": {}}}
        headers = {"Accept": "application/json", "MCP-Protocol-Version": clients.MODERN,
                   "Mcp-Method": "tools/call", "Mcp-Name": "chat"}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        self._is_the_answer(ask(self._served.product.url_of("/mcp"), body, headers)["result"])

    def tells_progress(self):
        number = self._client.begin("chat", {**self._upstream.endless_chat, "max_tokens": LONG_ANSWER_TOKENS})
        result = self._client.answer(number)
        told = result["structuredContent"]
        expect(told["finish_reason"] == "length" and told["truncated"], f"the end is {told['finish_reason']}")
        expect(told["usage"]["completion_tokens"] == LONG_ANSWER_TOKENS, f"the usage is {told['usage']}")
        heard = self._client.progress_before_answer(number)
        values = [progress["progress"] for progress in heard]
        expect(values == sorted(set(values)), f"progress does not rise: {values}")
        writing = [progress["message"] for progress in heard if progress["message"].startswith("writing, ")]
        expect(len(writing) >= 2, f"the progress was {heard}")
        return f"{len(heard)} times, {told['timings']['tokens_per_second']:.0f} tokens/s"

    def cancels(self):
        number = self._client.begin("chat", self._upstream.endless_chat)
        wait_until(lambda: self._upstream.busy_slots() == 1, clients.ANSWER_SECONDS_MAX, "a slot at work")
        self._client.cancel(number)
        cancelled = time.monotonic()
        wait_until(lambda: self._upstream.broken_off_since(None), CANCEL_SECONDS_MAX, "an empty slot")
        return f"{(time.monotonic() - cancelled) * 1000:.0f} ms later"

    def gives_what_has_come(self):
        began = time.monotonic()
        told = bridge.data_of(self._client, "chat", {**self._upstream.endless_chat, "timeout_s": DEADLINE_SECONDS})
        took = time.monotonic() - began
        expect(DEADLINE_SECONDS <= took <= DEADLINE_SECONDS_MAX, f"it took {took:.1f} s")
        expect(told["partial"] and told["truncated"] and told["finish_reason"] == "deadline", f"the end is {told['finish_reason']}")
        expect(told["text"].strip().startswith("and on it goes"), f"the text is {told['text'][:100]!r}")
        wait_until(lambda: self._upstream.broken_off_since(None), CANCEL_SECONDS_MAX, "an empty slot")
        return f"{len(told['text'])} characters after {took:.2f} s"

    def overflows(self):
        sentence = self._is_refused(LETTERS_TOO_MANY)
        expect("it said: " in sentence, f"not in the model server's words: {sentence}")
        return sentence

    def overflows_by_far(self):
        sentence = self._is_refused(LETTERS_FAR_TOO_MANY)
        expect(f"{LETTERS_FAR_TOO_MANY}" in sentence, f"no count in: {sentence}")
        return sentence

    def _is_refused(self, letters):
        sentence, error = bridge.failure_of(self._client, "chat", {"message": "q" * letters})
        expect(error["code"] == "CONTEXT_OVERFLOW" and not error["retryable"], f"the error is {error}")
        expect(f"{WINDOW_TOKENS}" in sentence, f"no window in: {sentence}")
        expect("Send less text" in sentence, f"no next step in: {sentence}")
        return sentence

    def answers_by_a_schema(self):
        result = self._client.answer(self._client.begin("chat", {"message": "Where is it?", "json_schema": SCHEMA}))
        text = clients.text_of(result)
        told = result["structuredContent"]["json"]
        fits = isinstance(told["city"], str) and isinstance(told["sure"], bool) and isinstance(told["names"], list)
        expect(fits and told.keys() == SCHEMA["properties"].keys(), f"the JSON is {told}")
        expect(json.loads(text) == told, f"the text is another JSON: {text}")
        return json.dumps(told)

    def _is_the_answer(self, result):
        text = clients.text_of(result)
        expect(text.strip() == self._upstream.answer, f"the answer is: {text!r}")
        told = result["structuredContent"]
        expect(told["finish_reason"] == "stop" and not told["truncated"], f"the end is {told['finish_reason']}")
        expect(told["model"] == self._upstream.model_name(), f"the model is {told['model']}")
        expect(told["usage"]["completion_tokens"] > 0, f"the usage is {told['usage']}")


def run(report, house, kind):
    with house.scenario(title(kind)) as scene:
        upstream = scene.model_server()
        served = bridge.Bridge(scene, house, upstream=upstream)
        report.steps(title(kind), Answers(served, upstream, kind).steps(), scene.children.tails)


def title(kind):
    return f"llama.cpp on {kind.path}"


ROWS = [
    (title(kind), lambda report, house, kind=kind: run(report, house, kind)) for kind in (bridge.ON_SSE, bridge.ON_MCP)
]

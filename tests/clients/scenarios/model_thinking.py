"""A model on llama.cpp's server that thinks aloud, between tags in its answer, before it says anything."""

from harness import clients
from harness.report import expect

from . import bridge

# Enough for the beginning of the thought only.
FEW_TOKENS = 5


def thinking(report, house):
    with house.scenario(NAME) as scene:
        upstream = scene.model_server(alias="house-thinker", thinks=True)
        served = bridge.Bridge(scene, house, upstream=upstream)
        state = {}

        def writes_both_in_one():
            body = {"messages": [{"role": "user", "content": "Think."}]}
            said = upstream.ask("/v1/chat/completions", body)["choices"][0]["message"]["content"]
            expect(said.startswith("<think>") and said.endswith(upstream.answer), f"the model server says {said!r}")
            state["client"] = served.connect()

        def answer_is_alone():
            result = state["client"].answer(state["client"].begin("chat", upstream.short_chat))
            text = clients.text_of(result)
            expect(text.strip() == upstream.answer, f"the answer is {text!r}")
            expect("reasoning" not in result["structuredContent"], "the reasoning is there unasked")

        def reasoning_on_request():
            told = bridge.data_of(state["client"], "chat", {**upstream.short_chat, "include_reasoning": True})
            expect(told["text"].strip() == upstream.answer, f"the answer is {told['text']!r}")
            expect(told["reasoning"].strip() == upstream.thought, f"the reasoning is {told['reasoning']!r}")

        def only_thought():
            sentence, error = bridge.failure_of(state["client"], "chat", {**upstream.short_chat, "max_tokens": FEW_TOKENS})
            expect(error["code"] == "EMPTY_OUTPUT" and "Raise max_tokens" in sentence, f"{error['code']}: {sentence}")
            return sentence

        report.steps(NAME, [
            ("the model server writes thought and answer in one", writes_both_in_one),
            ("the answer comes without the thought", answer_is_alone),
            ("the thought comes beside it on request", reasoning_on_request),
            ("a thought without an answer is a failure that says so", only_thought),
        ], scene.children.tails)


NAME = "llama.cpp with a model that thinks"
ROWS = [(NAME, thinking)]

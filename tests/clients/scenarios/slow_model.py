"""A model that needs more than a minute for its answer, which most clients wait for a call at most.

It is a trained one, on one core. Two clients of different kinds ask it at the same time, each for an answer of
a given length: the TypeScript SDK as a host uses it that resets its timeout on progress, and mcp-remote.
"""

import time

from harness import clients
from harness.children import wait_until
from harness.product import upstream_table
from harness.report import expect

from . import bridge

# What the TypeScript SDK waits by itself.
CLIENT_SECONDS = 60
# The answers are made so long that they take about this, by the pace of short ones.
WANTED_SECONDS = 68
SHORT_ANSWER_TOKENS, LONG_ANSWER_TOKENS_MAX = 200, 7500
# A machine that was busy while its pace was taken is asked for more, so often.
TRIES_MAX = 3
ANSWER_SECONDS_MAX = 400
LOOK_EVERY_SECONDS = 0.5
# Progress comes at least so often, however slow the model is.
BEAT_SECONDS_MAX = 8
TASK = {"message": "Tell the story of a lighthouse keeper, and do not stop.", "temperature": 0.7}


def slow_model(report, house):
    with house.scenario(NAME) as scene:
        upstream = scene.slow_model(options=("--slots", 2, "--endless"))
        served = bridge.Bridge(scene, house, config=upstream_table("desk", upstream, concurrency=2))
        pairs = [("the TypeScript SDK", served.connect(clients.on_mcp(clients.TYPESCRIPT_SDK))),
                 ("mcp-remote", served.connect(clients.NEWEST))]
        heard = {}

        def both_ask(tokens):
            """Lets both ask for so many tokens, and returns the time each took with its request's number."""
            began = time.monotonic()
            numbers = [client.begin("chat", {**TASK, "max_tokens": tokens}) for _, client in pairs]
            took = {}

            def all_answered():
                for (name, client), number in zip(pairs, numbers):
                    if name not in took and client.has_answered(number):
                        took[name] = time.monotonic() - began
                return len(took) == len(pairs)

            wait_until(all_answered, ANSWER_SECONDS_MAX, f"answers of {tokens} tokens", LOOK_EVERY_SECONDS)
            return {name: (took[name], number) for (name, _), number in zip(pairs, numbers)}

        def asks_for_long_answers():
            short = max(seconds for seconds, _ in both_ask(SHORT_ANSWER_TOKENS).values())
            tokens = min(int(SHORT_ANSWER_TOKENS * WANTED_SECONDS / short), LONG_ANSWER_TOKENS_MAX)
            for _ in range(TRIES_MAX):
                answers = both_ask(tokens)
                if min(seconds for seconds, _ in answers.values()) > CLIENT_SECONDS:
                    break
                tokens = min(tokens * 3 // 2, LONG_ANSWER_TOKENS_MAX)
            heard.update(answers)
            return f"{tokens} tokens each"

        def ends_well(name, client):
            seconds, number = heard[name]
            result = client.answer(number)
            expect(seconds > CLIENT_SECONDS, f"{seconds:.0f} s are not long enough: the machine is too fast for this")
            text = clients.text_of(result)
            told = result["structuredContent"]
            expect(told["finish_reason"] == "length" and not told["partial"], f"the end is {told['finish_reason']}")
            words = len(text.split())
            expect(words > told["usage"]["completion_tokens"] / 4, f"{words} words are no answer: {text[:200]!r}")
            progress = len(client.progress_before_answer(number))
            expect(progress > seconds / BEAT_SECONDS_MAX, f"progress came {progress} times only")
            return f"{words} words after {seconds:.1f} s, with progress {progress} times"

        report.steps(NAME, [
            ("both ask at once", asks_for_long_answers),
            *((f"{name} gets its answer", lambda name=name, client=client: ends_well(name, client)) for name, client in pairs),
        ], scene.children.tails)


NAME = "a slow model, for more than a minute"
ROWS = [(NAME, slow_model)]

"""The queue before llama.cpp's server, which would take two at once: ours lets one in and one wait."""

from harness import clients
from harness.children import wait_until
from harness.product import upstream_table
from harness.report import expect

from . import bridge


def queue(report, house):
    with house.scenario(NAME) as scene:
        upstream = scene.model_server()
        config = upstream_table("desk", upstream, concurrency=1, queue=1)
        served = bridge.Bridge(scene, house, config=config)
        running, waiting, third = (served.connect() for _ in range(3))
        numbers = {}

        def one_runs():
            numbers["running"] = running.begin("chat", upstream.endless_chat)
            wait_until(lambda: upstream.busy_slots() == 1, clients.ANSWER_SECONDS_MAX, "a slot at work")

        def next_hears_its_place():
            number = numbers["waiting"] = waiting.begin("chat", upstream.short_chat)
            told = waiting.hear_progress(number, "waiting, ")["message"]
            expect(told == "waiting, 1 before you", f"the progress is {told}")
            expect(upstream.busy_slots() == 1 and not waiting.has_answered(number), "it did not wait")
            expect(load() == (1, 1), f"/health has {load()}")

        def full_queue_refuses():
            sentence, error = bridge.failure_of(third, "chat", upstream.short_chat)
            expect(error["code"] == "QUEUE_FULL" and error["retryable"], f"the error is {error}")
            expect("queue" in sentence, f"no name of the limit in: {sentence}")
            expect(upstream.busy_slots() == 1, "the running one is gone")
            return sentence

        def waiting_one_runs():
            running.cancel(numbers["running"])
            text = waiting.text(numbers["waiting"])
            expect(text.strip() == upstream.answer, f"the answer is {text!r}")
            text = third.call("chat", upstream.short_chat)
            expect(text.strip() == upstream.answer, f"the answer after a refusal is {text!r}")
            expect(load() == (0, 0), f"/health has {load()}")

        def load():
            desk = served.product.health()["upstream"]
            return desk["running"], desk["waiting"]

        report.steps(NAME, [
            ("one runs", one_runs),
            ("the next hears its place in the line", next_hears_its_place),
            ("a full queue refuses by name", full_queue_refuses),
            ("the waiting one runs when the first is stopped", waiting_one_runs),
        ], scene.children.tails)


NAME = "llama.cpp behind a queue"
ROWS = [(NAME, queue)]

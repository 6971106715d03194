"""Three of llama.cpp's servers behind one of ours: two with the same model, one with another."""

from harness import clients
from harness.children import wait_until
from harness.product import upstream_table
from harness.report import expect

from . import bridge

# A server that was down is asked last for a while; this is longer.
BACK_SECONDS_MAX = 15
THINKER = "house-thinker"


def fleet(report, house):
    with house.scenario(NAME) as scene:
        desk, attic = scene.model_server(), scene.model_server()
        cellar = scene.model_server(alias=THINKER, thinks=True)
        tables = [upstream_table(name, server) for name, server in (("desk", desk), ("attic", attic), ("cellar", cellar))]
        client = bridge.Bridge(scene, house, config="\n".join(tables)).connect()
        same = desk.model_name()

        def lists_all():
            models = bridge.data_of(client, "list_models", {})["models"]
            seen = sorted((model["upstream"], model["id"]) for model in models)
            wanted = sorted([("desk", same), ("attic", same), ("cellar", THINKER)])
            expect(seen == wanted, f"the models are {seen}")

        def answered_by(name, **arguments):
            told = bridge.data_of(client, "chat", {**desk.short_chat, **arguments})
            expect(told["text"].strip() == desk.answer, f"the answer is {told['text']!r}")
            expect(told["upstream"] == name, f"{told['upstream']} answered, not {name}")

        def goes_where_the_model_is():
            answered_by("cellar", model=THINKER)
            answered_by("desk", model=same)
            answered_by("desk")
            answered_by("attic", upstream="attic")

        def dies_with_what_had_come():
            number = client.begin("chat", {**desk.endless_chat, "upstream": "desk"})
            client.hear_progress(number, "writing, ")
            desk.child.kill()
            sentence, error = clients.failure_of(client.answer(number))
            expect(error["code"] == "UPSTREAM_DIED" and error["upstream"] == "desk", f"the error is {error}")
            partial = error["details"]["partialText"].strip()
            expect(partial.startswith("and on"), f"the text that had come is {partial[:100]!r}")
            expect(attic.busy_slots() == 0, "the other one was asked for the rest")
            return sentence

        def takes_over():
            answered_by("attic", model=same)
            answered_by("attic")
            sentence, error = bridge.failure_of(client, "chat", {**desk.short_chat, "upstream": "desk"})
            expect(error["code"] == "UPSTREAM_UNREACHABLE" and error["upstream"] == "desk", f"the error is {error}")
            expect(desk.url in sentence, f"no address in: {sentence}")

        def says_who_is_gone():
            attic.child.kill()
            _, error = bridge.failure_of(client, "chat", {**desk.short_chat, "model": same})
            expect(error["code"] == "UPSTREAM_UNREACHABLE", f"the error is {error}")
            answered_by("cellar", model=THINKER)

        def comes_back():
            scene.model_server(options=("--port", desk.port))

            def answers():
                result = client.answer(client.begin("chat", {**desk.short_chat, "model": same}))
                return not result.get("isError") and result["structuredContent"]["upstream"] == "desk"

            wait_until(answers, BACK_SECONDS_MAX, "an answer of the one that is back")
            answered_by("cellar", model=THINKER)

        report.steps(NAME, [
            ("lists the models of all", lists_all),
            ("a call goes where its model is", goes_where_the_model_is),
            ("one that is killed in the middle leaves what had come", dies_with_what_had_come),
            ("its twin takes over", takes_over),
            ("without it the call says who is gone, and the other model answers on", says_who_is_gone),
            ("one that comes back is asked again", comes_back),
        ], scene.children.tails)


NAME = "several llama.cpp"
ROWS = [(NAME, fleet)]

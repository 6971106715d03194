"""Embeddings of llama.cpp's server, and one that makes none."""

import math

from harness.report import expect

from . import bridge


def embeddings(report, house):
    with house.scenario(NAME) as scene:
        upstream = scene.model_server(options=("--embedding",))
        client = bridge.Bridge(scene, house, upstream=upstream).connect()
        without = bridge.Bridge(scene, house, "server-without", upstream=scene.model_server()).connect()
        model = {"model": upstream.model_name()}

        def embeds():
            told = bridge.data_of(client, "embed", {**model, "input": ["the house", "the garden", "the house"]})
            first, other, again = told["embeddings"]
            expect(first == again != other, "equal texts have other vectors, or other texts have equal ones")
            expect(told["dimensions"] == len(first) == len(other), f"{told['dimensions']} dimensions, but {len(first)}")
            expect(math.isclose(sum(number * number for number in first), 1.0, rel_tol=1e-3), "the vector is no unit")
            plain = upstream.ask("/v1/embeddings", {"input": "the house"})["data"][0]["embedding"]
            expect(all(map(math.isclose, first, plain)), "the model server itself says something else")
            return f"{told['dimensions']} dimensions"

        def still_chats():
            text = client.call("chat", upstream.short_chat)
            expect(text.strip() == upstream.answer, f"the answer is {text!r}")

        def says_what_is_missing():
            sentence, error = bridge.failure_of(without, "embed", {**model, "input": "the house"})
            expect(error["code"] == "NOT_SUPPORTED_BY_UPSTREAM", f"the error is {error}")
            return sentence

        report.steps(NAME, [
            ("embeds texts as the model server does", embeds),
            ("the same server still chats", still_chats),
            ("a server that embeds nothing is told of", says_what_is_missing),
        ], scene.children.tails)


NAME = "llama.cpp with embeddings"
ROWS = [(NAME, embeddings)]

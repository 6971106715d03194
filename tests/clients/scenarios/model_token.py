"""llama.cpp's server with an API key, and ours without a token, with a wrong one, and with the right one."""

from harness.product import upstream_table
from harness.report import expect

from . import bridge

TOKEN = "a-token-of-the-model-server-0123456789"


def token(report, house):
    with house.scenario(NAME) as scene:
        upstream = scene.model_server(token=TOKEN)
        chat = upstream.short_chat

        def server(name, **settings):
            return bridge.Bridge(scene, house, name, **settings)

        def refused(name, config, words):
            sentence, error = bridge.failure_of(server(name, config=config).connect(), "chat", chat)
            expect(error["code"] == "UPSTREAM_AUTH" and not error["retryable"], f"the error is {error}")
            expect(all(word in sentence for word in words), f"no {words} in: {sentence}")
            return sentence

        def without():
            return refused("without", upstream_table("desk", upstream), ["wants an API token", "token_file"])

        def wrong():
            (scene.folder / "wrong").mkdir()
            (scene.folder / "wrong" / "desk.token").write_text("another-token\n")
            return refused("wrong", upstream_table("desk", upstream, token_file="desk.token"), ["does not accept our API token"])

        def answers(name, **settings):
            one = server(name, **settings)
            text = one.connect().call("chat", chat)
            expect(text.strip() == upstream.answer, f"the answer is {text!r}")
            logged = "\n".join(one.product.child.errors.all())
            expect(TOKEN not in logged, "the token is in the log")

        def from_a_file():
            (scene.folder / "file").mkdir()
            (scene.folder / "file" / "desk.token").write_text(f"{TOKEN}\n")
            answers("file", config=upstream_table("desk", upstream, token_file="desk.token"))

        def from_a_variable():
            answers("variable", config=upstream_table("desk", upstream, token_env="DESK_TOKEN"), DESK_TOKEN=TOKEN)

        report.steps(NAME, [
            ("without a token the call fails and says where one goes", without),
            ("with a wrong one it says that", wrong),
            ("the configuration file names the file with the token", from_a_file),
            ("or the variable", from_a_variable),
        ], scene.children.tails)


NAME = "llama.cpp with an API key"
ROWS = [(NAME, token)]

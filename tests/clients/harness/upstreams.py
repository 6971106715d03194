"""The two model servers that runs stand on: the stand-in of the project, and llama.cpp's own.

Both tell whether a generation runs and whether it was broken off; that is what a cancel is measured by.
"""

import json
import re
import urllib.request

from .children import bare_environment, wait_until

START_SECONDS_MAX = 30
# What chats send that should last until somebody ends them.
ENDLESS_TOKENS = 30000


def ask(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return json.load(answer)


class StandIn:
    """The project's stand-in LM Studio, which repeats what it is asked, slowly, and counts generations."""

    answer = "Say something short."
    short_chat = {"message": answer}
    # A minute or more at its pace.
    endless_chat = {"message": "and on it goes " * 250}

    def __init__(self, children, tools, folder):
        self.child = children.start("stand-in", [tools.stand_in], bare_environment(folder, PORT=0), folder)
        address = re.compile(r"http://127\.0\.0\.1:\d+")

        def url_in(line):
            found = address.search(line)
            return found and found.group(0)

        self.url = self.child.output.wait_for(url_in, START_SECONDS_MAX, "the stand-in's address")

    def model_name(self):
        return ask(f"{self.url}/v1/models")["data"][0]["id"]

    def snapshot(self):
        return ask(f"{self.url}/stand-in/counts")

    def runs_since(self, before):
        return self.snapshot()["started"] > before["started"]

    def broken_off_since(self, before):
        return self.snapshot()["aborted"] > before["aborted"]


class ModelServer:
    """llama.cpp's HTTP server with the hand-made model of `model/make_model.py`."""

    alias = "house-model"
    short_chat = {"message": "Say something short.", "temperature": 0}
    endless_chat = {"message": "Talk without end.", "temperature": 0, "max_tokens": ENDLESS_TOKENS}
    answer = "The house answers from its own machine"

    def __init__(self, children, tools, folder):
        environment = bare_environment(folder)
        model = folder / "house-model.gguf"
        maker = children.start("make_model.py", [tools.python, tools.model_script("make_model.py"), model], environment)
        if maker.wait(START_SECONDS_MAX) != 0:
            raise RuntimeError(f"the model was not made:\n{maker.tail()}")
        self.child = children.start(
            "serve.py", [tools.python, tools.model_script("serve.py"), model, "--alias", self.alias], environment, folder)
        self.url = self.child.output.wait_for(
            lambda line: line.removeprefix("serving ") if line.startswith("serving ") else None,
            START_SECONDS_MAX, "the model server's address")
        wait_until(self._answers, START_SECONDS_MAX, "an answer from the model server")

    def model_name(self):
        return self.alias

    def snapshot(self):
        return None

    def slots(self):
        return ask(f"{self.url}/slots")

    def runs_since(self, _before):
        return any(slot["is_processing"] for slot in self.slots())

    def broken_off_since(self, _before):
        """True once no slot works, and none got as far as the endless chat's own limit."""
        return all(not slot["is_processing"] and slot.get("n_prompt_tokens", 0) < ENDLESS_TOKENS for slot in self.slots())

    def _answers(self):
        try:
            return ask(f"{self.url}/health")["status"] == "ok"
        except OSError:
            return False

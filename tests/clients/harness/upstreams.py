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


def ask(url, body=None, headers=None):
    """The JSON that a server answers to a GET, or to a POST of `body`."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **(headers or {})}
    with opener.open(urllib.request.Request(url, data, headers), timeout=5) as answer:
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
    """llama.cpp's HTTP server with one model; `options` are those of `model/serve.py`."""

    def __init__(self, children, tools, folder, file, alias, options=(), token=None):
        self.alias, self._token = alias, token
        options = [*options, *(["--api-key", token] if token else [])]
        self.child = children.start(
            "serve.py", [tools.python, tools.model_script("serve.py"), file, "--alias", alias, *options],
            bare_environment(folder), folder)
        self.url = self.child.output.wait_for(
            lambda line: line.removeprefix("serving ") if line.startswith("serving ") else None,
            START_SECONDS_MAX, "the model server's address")
        wait_until(self._answers, START_SECONDS_MAX, "an answer from the model server")

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    def model_name(self):
        return self.alias

    def ask(self, path, body=None):
        """What the server itself answers, without ours in between."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else None
        return ask(f"{self.url}{path}", body, headers)

    def snapshot(self):
        return None

    def slots(self):
        return self.ask("/slots")

    def busy_slots(self):
        """How many answers it writes now."""
        return sum(slot["is_processing"] for slot in self.slots())

    def runs_since(self, _before):
        return self.busy_slots() > 0

    def broken_off_since(self, _before):
        """True once no slot works, and none got as far as the endless chat's own limit."""
        return all(not slot["is_processing"] and slot.get("n_prompt_tokens", 0) < ENDLESS_TOKENS for slot in self.slots())

    def _answers(self):
        try:
            return ask(f"{self.url}/health")["status"] == "ok"
        except OSError:
            return False


class HouseModel(ModelServer):
    """The same with the hand-made model of `model/make_model.py`, which may think before it answers."""

    short_chat = {"message": "Say something short.", "temperature": 0}
    endless_chat = {"message": "Talk without end.", "temperature": 0, "max_tokens": ENDLESS_TOKENS}
    answer = "The house answers from its own machine , and no word of it leaves the house ."
    thought = "First it looks at what was asked , then it picks a short way to say it ."

    def __init__(self, children, tools, folder, alias="house-model", thinks=False, options=(), token=None):
        file = folder / ("house-thinker.gguf" if thinks else "house-model.gguf")
        if not file.exists():
            words = [tools.python, tools.model_script("make_model.py"), file, *(["--think"] if thinks else [])]
            maker = children.start("make_model.py", words, bare_environment(folder))
            if maker.wait(START_SECONDS_MAX) != 0:
                raise RuntimeError(f"the model was not made:\n{maker.tail()}")
        super().__init__(children, tools, folder, file, alias, options, token)


class SlowModel(ModelServer):
    """The same with a small instruct model out of a package, which was trained and takes its time."""

    def __init__(self, children, tools, folder, options=()):
        super().__init__(children, tools, folder, tools.slow_model, "smollm2", ("--context", 8192, *options))

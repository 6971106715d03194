"""What the client tests of local-llm-mcp-server, whose tools ours are, ask of a server and expect.

Its test client (twelve tests) and its integration test (seven) are played over stdio with the same SDK, in its
set of tools. Where ours answers otherwise on purpose, the step says so:

- `resources/list` has its four and `local://usage`;
- a failure begins with a sentence for people, so the error with its code stands in the second text, and the
  names of the models beside it;
- `secure_rewrite` takes a name for one when it is told so (`names`), and guesses none by its capitals.

The answers of the analyzing tools come from the hand-made model, whose every JSON is whole; a sum is left to the
trained one; and what is rewritten comes back word by word from the stand-in, which is the worst that a model can do.
"""

import json

from harness import clients
from harness.product import Product
from harness.report import expect

ANSWER_SECONDS_MAX = 240
TOOLS = ["list_models", "get_model_info", "local_reasoning", "private_analysis", "secure_rewrite", "code_analysis",
         "template_completion", "set_default_model"]
RESOURCES = ["models", "status", "config", "capabilities"]

SUM = {
    "prompt": "Go step by step: a train goes 60 miles in an hour. How far does it come in 2.5 hours? Show how you get there.",
    "system_prompt": "You teach arithmetic, and show every step.",
    "model_params": {"temperature": 0.1, "max_tokens": 200},
}
OPINION = {
    "content": "What a launch! Everybody worked hard for it, and our customers will love it. Only the dates worry me a bit, "
               "and whether support can cope.",
    "analysis_type": "sentiment",
    "domain": "general",
}
LETTER = {
    "content": "Dear Sarah Johnson, for account #A123456 we took $299.99 for your plan, from the card ending in 4567. Write to "
               "john.doe@company.com or call (555) 123-4567.",
    "style": "professional",
    "privacy_level": "strict",
}
PRIVATE = ["A123456", "4567", "299.99", "john.doe@company.com", "(555)", "123-"]
NAME = "Sarah Johnson"
CODE = {
    "code": "const rows = db.query(\"SELECT * FROM users WHERE name = '\" + name + \"'\");\nconst key = 'sk_live_12345abcdef';\n",
    "language": "javascript",
    "analysis_focus": "security",
}
FORM = {
    "template": "Dear [CUSTOMER_NAME],\n\nthank you for your [ACTION]. Next: 1. [STEP_1] 2. [STEP_2]\n\n[AGENT_NAME]\n[TITLE]",
    "context": "Sarah asked to upgrade her plan. It is approved, and she has to check how she pays.",
    "format": "professional customer service email",
}


class Original:
    """One client on stdio for each of three model servers."""

    def __init__(self, scene, house):
        self._scene, self._tools = scene, house.tools
        self._client = self._thoughtful = self._parrot = None

    def _start(self, name, upstream):
        """The program with its eight tools, started by a client as the tests start it."""
        product = Product(self._scene.children, self._tools, self._scene.folder / name, "http", upstream, MCP_PROFILE="classic")
        client = clients.connect(
            self._scene.children, self._tools, clients.on_stdio(clients.TYPESCRIPT_SDK), product, clients.PLAIN,
            self._scene.folder / f"{name}-client")
        described = client.initialize()
        client.tool_names()
        return client, described

    def shakes_hands(self):
        self._client, described = self._start("desk", self._scene.model_server())
        expect({"tools", "resources", "prompts"} <= described["capabilities"].keys(), f"it can {described['capabilities']}")
        self._thoughtful, _ = self._start("attic", self._scene.slow_model())
        self._parrot, _ = self._start("cellar", self._scene.stand_in())

    def lists_resources(self):
        found = [resource["uri"] for resource in self._client.request("resources/list", {})["resources"]]
        expect(found == [f"local://{name}" for name in [*RESOURCES, "usage"]], f"the resources are {found}")

    def reads_the_models(self):
        models = self._read("models")
        expect({"models", "llmModels", "embeddingModels", "defaultModel"} <= models.keys(), f"it has {list(models)}")
        expect(models["models"], "there are no models")

    def reads_the_status(self):
        status = self._read("status")["status"]
        expect(status == "online", f"the status is {status}")

    def reads_the_settings(self):
        settings = self._read("config")
        expect({"server", "version", "capabilities"} <= settings.keys(), f"it has {list(settings)}")

    def reads_the_capabilities(self):
        tools = self._read("capabilities")["tools"]
        expect(tools.keys() == set(TOOLS), f"the tools are {list(tools)}")

    def lists_tools(self):
        names = self._client.tool_names()
        expect(sorted(names) == sorted(TOOLS), f"the tools are {names}")

    def lists_models(self):
        listed = self._first_text("list_models", {"type": "all"})
        expect(listed["models"] and listed["defaultModel"], f"it has {listed}")

    def shows_a_model(self):
        first = self._first_text("list_models", {"type": "llm"})["models"][0]["id"]
        shown = self._first_text("get_model_info", {"model": first})["model"]
        expect(shown["id"] == first, f"it shows {shown['id']}")

    def knows_no_such_model(self):
        result = self._client.answer(self._client.begin("get_model_info", {"model": "nonexistent-model-12345"}))
        sentence, error = clients.failure_of(result)
        expect(error["code"] == "MODEL_NOT_FOUND" and error["message"] and error["details"], f"the error is {error}")
        known = json.loads(result["content"][1]["text"])["availableModels"]
        expect(known, "it names no models")
        return sentence

    def lists_prompts(self):
        names = [prompt["name"] for prompt in self._client.request("prompts/list", {})["prompts"]]
        expect(len(names) == 12, f"the prompts are {names}")

    def agrees_with_itself(self):
        resource, tool = self._read("models")["models"], self._first_text("list_models", {})["models"]
        expect(len(resource) == len(tool), f"the resource has {len(resource)} models, the tool {len(tool)}")

    def does_a_sum(self):
        number = self._thoughtful.begin("local_reasoning", SUM)
        text = self._thoughtful.text(number, ANSWER_SECONDS_MAX)
        expect("150" in text or ("60" in text and "2.5" in text), f"nothing of the sum in: {text}")
        return f"{len(text)} characters, progress {len(self._thoughtful.progress_before_answer(number))} times"

    def judges_an_opinion(self):
        judged = self._first_text("private_analysis", OPINION)
        expect(judged["sentiment"] in ("positive", "negative", "neutral"), f"the sentiment is {judged}")

    def rewrites_without_what_is_private(self):
        text = self._parrot.call("secure_rewrite", LETTER)
        found = [value for value in PRIVATE if value in text]
        expect(not found, f"{found} in: {text}")
        expect("your plan" in text, f"nothing of the letter in: {text}")

    def rewrites_without_names_that_it_is_told(self):
        text = self._parrot.call("secure_rewrite", {**LETTER, "names": [NAME]})
        expect(not any(part in text for part in NAME.split()), f"a name in: {text}")

    def reviews_code(self):
        review = self._first_text("code_analysis", CODE)
        expect({"analysis", "issues"} <= review.keys(), f"it has {list(review)}")

    def fills_a_form(self):
        text = self._client.call("template_completion", FORM)
        expect("[" not in text and text.startswith("Dear "), f"placeholders in: {text}")

    def gives_a_prompt(self):
        arguments = {"content": "A list of employee names and salaries.", "regulation": "GDPR"}
        prompt = self._client.request("prompts/get", {"name": "privacy-analysis", "arguments": arguments})
        text = prompt["messages"][0]["content"]["text"]
        expect(prompt["description"], "it has no description")
        missing = [word for word in ("employee names", "GDPR", "privacy", "analyz") if word not in text]
        expect(not missing, f"no {missing} in: {text}")

    def _read(self, name):
        contents = self._client.request("resources/read", {"uri": f"local://{name}"})["contents"]
        return json.loads(contents[0]["text"])

    def _first_text(self, tool, arguments):
        result = self._client.answer(self._client.begin(tool, arguments))
        clients.text_of(result)
        return json.loads(result["content"][0]["text"])


def original(report, house):
    with house.scenario(TITLE) as scene:
        tests = Original(scene, house)
        report.steps(TITLE, [
            ("shakes hands", tests.shakes_hands),
            ("lists the four resources, and one more", tests.lists_resources),
            ("reads local://models", tests.reads_the_models),
            ("reads local://status", tests.reads_the_status),
            ("reads local://config", tests.reads_the_settings),
            ("reads local://capabilities", tests.reads_the_capabilities),
            ("lists the eight tools and no other", tests.lists_tools),
            ("calls list_models", tests.lists_models),
            ("calls get_model_info", tests.shows_a_model),
            ("hears of a model that is not there, behind a sentence", tests.knows_no_such_model),
            ("lists the prompts", tests.lists_prompts),
            ("resource and tool agree on the models", tests.agrees_with_itself),
            ("local_reasoning does a sum", tests.does_a_sum),
            ("private_analysis judges an opinion", tests.judges_an_opinion),
            ("secure_rewrite keeps contact and payment out", tests.rewrites_without_what_is_private),
            ("and the names that it is told", tests.rewrites_without_names_that_it_is_told),
            ("code_analysis reviews code", tests.reviews_code),
            ("template_completion leaves no placeholder", tests.fills_a_form),
            ("gets a prompt with its arguments", tests.gives_a_prompt),
        ], scene.children.tails)


TITLE = "the client tests of local-llm-mcp-server"
ROWS = [(TITLE, original)]

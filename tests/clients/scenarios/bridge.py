"""The server between real model servers and clients that have shaken hands, over http."""

import itertools

from harness import clients
from harness.product import Product

# One client for each path: an older SDK with sessions, and a newer one of which every request stands alone.
ON_SSE = clients.TYPESCRIPT_SDK
ON_MCP = clients.on_mcp(clients.modern(clients.TYPESCRIPT_CLIENT, options=("auto",)))


class Bridge:
    """One server; `settings` are those of `Product`."""

    def __init__(self, scene, house, name="server", **settings):
        self._scene, self._tools = scene, house.tools
        self._numbers = itertools.count(1)
        self._name = name
        self.product = Product(scene.children, house.tools, scene.folder / name, "http", **settings).start()

    def connect(self, kind=ON_MCP):
        """A client that knows what the tools promise."""
        folder = self._scene.folder / f"{self._name}-client-{next(self._numbers)}"
        client = clients.connect(self._scene.children, self._tools, kind, self.product, clients.PLAIN, folder)
        client.initialize()
        client.tool_names()
        return client


def data_of(client, tool, arguments):
    """The structured content of a call that succeeds."""
    result = client.answer(client.begin(tool, arguments))
    clients.text_of(result)
    return result["structuredContent"]


def failure_of(client, tool, arguments):
    """The sentence and the error of a call that fails."""
    return clients.failure_of(client.answer(client.begin(tool, arguments)))

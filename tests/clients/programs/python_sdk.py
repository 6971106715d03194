"""The Python SDK's clients for /sse, /mcp and stdio, driven by JSON-RPC lines: python_sdk.py URL|stdio [legacy]

Every request is made with the SDK's own calls; a `notifications/cancelled` line cancels the call of
that id. The client negotiates as it does by itself, or with `legacy` only shakes hands. With stdio it starts
the program that SERVER names. TRUST names the CA file, or `anything` for no verification. With LOGIN_FOLDER it
logs in over OAuth. Ends with its input.
"""

import json
import os
import ssl
import sys

import anyio
import httpx2
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

sys.dont_write_bytecode = True

from python_login import owner  # noqa: E402


def verification():
    trust = os.environ.get("TRUST", "")
    if trust == "anything":
        return False
    return ssl.create_default_context(cafile=trust) if trust else True


def http_client(headers=None, timeout=None, auth=None):
    return httpx2.AsyncClient(headers=headers, timeout=timeout, auth=auth, verify=verification())


def write(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


class Bridge:
    """Lines in, SDK calls, lines out."""

    def __init__(self, client, tasks):
        self._client, self._tasks = client, tasks
        self._running = {}

    async def read(self, lines):
        async for line in lines:
            message = json.loads(line)
            if "id" in message:
                self._tasks.start_soon(self._answer, message)
            elif message["method"] == "notifications/cancelled":
                scope = self._running.get(message["params"]["requestId"])
                if scope:
                    scope.cancel()

    async def _answer(self, message):
        number = message["id"]
        with anyio.CancelScope() as scope:
            self._running[number] = scope
            try:
                result = await self._request(message["method"], message["params"])
                write({"id": number, "result": result})
            except Exception as error:  # Whatever the SDK raises is the answer to this request.
                write({"id": number, "error": {"code": getattr(error, "code", -32603), "message": repr(error)}})
        del self._running[number]

    async def _request(self, method, params):
        if method == "initialize":
            return {
                "serverInfo": self._client.server_info.model_dump(mode="json", by_alias=True),
                "protocolVersion": self._client.protocol_version,
            }
        if method == "tools/list":
            result = await self._client.list_tools()
        else:
            result = await self._call(params)
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def _call(self, params):
        """Calls a tool; its progress carries the host's own token, which the SDK replaces by one of its own."""
        token = params["_meta"]["progressToken"]

        async def progress(value, total, message):
            known = {"progress": value, "total": total, "message": message}
            write({"method": "notifications/progress", "params": {"progressToken": token, **known}})

        return await self._client.call_tool(params["name"], params["arguments"], progress_callback=progress)


async def main():
    url, mode = sys.argv[1], next(iter(sys.argv[2:]), "auto")
    if url == "stdio":
        transport = stdio_client(StdioServerParameters(command=os.environ["SERVER"], env=dict(os.environ)))
    elif url.endswith("/mcp"):
        client = http_client(timeout=httpx2.Timeout(30, read=300), auth=owner(url))
        transport = streamable_http_client(url, http_client=client)
    else:
        transport = sse_client(url, httpx_client_factory=http_client, auth=owner(url))
    async with Client(transport, mode=mode) as client, anyio.create_task_group() as tasks:
        await Bridge(client, tasks).read(anyio.wrap_file(sys.stdin))
        tasks.cancel_scope.cancel()


anyio.run(main)

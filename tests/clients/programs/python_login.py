"""The part of an OAuth client that the Python SDK leaves to its host: a listener on this machine for the answer,
the owner's browser (BROWSER, as `webbrowser` knows it), and files for what has to be kept.
"""

import os
import webbrowser
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import anyio
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider, TokenStorage
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken


def owner(url):
    """What logs in to the server of this URL; None where nothing asks for it."""
    folder = os.environ.get("LOGIN_FOLDER")
    if not folder:
        return None
    listener = Listener()
    metadata = OAuthClientMetadata(client_name="python-sdk-run", redirect_uris=[listener.url])
    return OAuthClientProvider(url, metadata, Files(Path(folder)), open_browser, listener.answer)


async def open_browser(url):
    webbrowser.open(url)


class Listener:
    """Waits on loopback for the browser to come back."""

    def __init__(self):
        handler = type("Handler", (BaseHTTPRequestHandler,), {
            "do_GET": lambda request: self._take(request), "log_message": lambda *_: None})
        self._server = HTTPServer(("127.0.0.1", 0), handler)
        self._query = None
        self.url = f"http://127.0.0.1:{self._server.server_port}/callback"

    async def answer(self):
        """The code. Raises when the owner has said no."""
        while self._query is None:
            await anyio.to_thread.run_sync(self._server.handle_request)
        given = {name: values[0] for name, values in parse_qs(self._query).items()}
        if "error" in given:
            raise RuntimeError(f"the login failed: {given['error']}")
        return AuthorizationCodeResult(code=given["code"], state=given.get("state"), iss=given.get("iss"))

    def _take(self, request):
        address = urlsplit(request.path)
        if address.path == "/callback":
            self._query = address.query
        request.send_response(200)
        request.end_headers()
        request.wfile.write(b"Back in the client.\n")


class Files(TokenStorage):
    """Tokens and the registration, each in a file."""

    def __init__(self, folder):
        self._folder = folder

    async def get_tokens(self):
        return self._read("tokens", OAuthToken)

    async def set_tokens(self, tokens):
        self._write("tokens", tokens)

    async def get_client_info(self):
        return self._read("client", OAuthClientInformationFull)

    async def set_client_info(self, client_info):
        self._write("client", client_info)

    def _read(self, name, kind):
        path = self._folder / f"{name}.json"
        return kind.model_validate_json(path.read_text()) if path.is_file() else None

    def _write(self, name, value):
        (self._folder / f"{name}.json").write_text(value.model_dump_json(exclude_none=True))

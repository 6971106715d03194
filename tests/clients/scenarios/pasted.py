"""What the server prints for a person to paste is taken literally and run.

Only `npx -y mcp-remote` becomes the pinned mcp-remote of the runs, so that nothing is fetched.
"""

import hashlib
import json
import shlex
import ssl

from harness import clients
from harness.children import bare_environment
from harness.report import expect

from .guide import Row

COMMAND_SECONDS_MAX = 20


def entry_in(text, name):
    """The object that follows `"name":` in a text."""
    start = text.index("{", text.index(f'"{name}":'))
    entry, _ = json.JSONDecoder().raw_decode(text[start:])
    return entry


def connect(row, entry, way):
    """Runs an entry, after a look at how it calls mcp-remote."""
    expect(entry["command"] == "npx", f"the command is {entry['command']}")
    fetch, package, url, *options = entry["args"]
    expect((fetch, package) == ("-y", "mcp-remote"), f"the arguments are {entry['args']}")
    return row.connect(*options, way=way, environment=entry.get("env"), url=url)


def banner(report, house):
    """The entry of the banner as it stands, and then the safer one that it describes."""
    with house.scenario("the banner") as scene:
        row = Row(scene, house)
        said = "\n".join(row.product.child.errors.all())
        environment = bare_environment(scene.folder)

        def as_printed():
            row.serves(connect(row, entry_in(said, "local-llm"), clients.PLAIN))

        def fetched_authority():
            fetch = next(line for line in said.splitlines() if line.strip().startswith("curl "))
            child = scene.children.start("curl", shlex.split(fetch), environment, scene.folder)
            expect(child.wait(COMMAND_SECONDS_MAX) == 0, child.tail())
            authority = scene.folder / "local-llm-ca.pem"
            digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority.read_text())).hexdigest().upper()
            expect(digest in said.upper().replace(":", ""), f"the banner does not show the fingerprint {digest}")
            row.serves(row.connect(way=clients.PLAIN, environment={"NODE_EXTRA_CA_CERTS": authority}))

        report.steps("the entry that the banner prints", [
            ("works as pasted", as_printed),
            ("works with the CA that was fetched as printed", fetched_authority),
        ], scene.children.tails)


def added_token(report, house):
    """`token add` beside a running server, and the entry that it prints."""
    with house.scenario("token add") as scene:
        row = Row(scene, house)
        printed = {}

        def closes_the_house():
            row.serves(row.connect())
            said = row.product.command("token", "add", "laptop")
            printed.update(entry_in(said, "local-llm"))
            row.product.wait_until_closed()
            row.is_turned_away(row.connect(), "--header")

        def opens_with_its_entry():
            row.serves(connect(row, printed, clients.PLAIN))

        report.steps("token add beside a running server", [
            ("closes the house to who has none", closes_the_house),
            ("its entry works as pasted", opens_with_its_entry),
        ], scene.children.tails)


ROWS = [
    ("the entry that the banner prints", banner),
    ("token add beside a running server", added_token),
]

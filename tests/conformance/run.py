#!/usr/bin/env python3
"""Runs the public conformance suite, in two pinned versions, against the server.

    tests/conformance/run.py --install      puts the suite into node_modules and ends
    tests/conformance/run.py                runs everything; says SKIPPED when the suite is not there
    tests/conformance/run.py --only 2025    runs with this in their title
    tests/conformance/run.py --verbose      shows warnings too

First against the fixtures of `examples/conformance`, which are the product around the tools that the
suite asks for; then against the product itself, with a stand-in for its model server, and against its authorization
server, with a login that `authorization.py` drives. What may fail is in
`known/`, a scenario or `scenario:check` a line with its reason; what is listed there and passes is an error too.

The product is $LOCAL_LLM_MCP_BIN, else the release build, else the debug build. With CI=true a missing
tool is an error. Exit code 0 says that every scenario came out as it should; the last line counts them.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.dont_write_bytecode = True

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent / "clients"))

import authorization  # noqa: E402
from harness.children import Children, Late, bare_environment  # noqa: E402
from harness.tools import Tools, node_version, target_folder  # noqa: E402

NODE_VERSION_MIN = 22
START_SECONDS_MAX = 20
# The longest run has 50 scenarios, and the suite gives each at most 30 s.
RUN_SECONDS_MAX = 600
MODULES = HERE / "node_modules"
STAMP = MODULES / ".pins.sha256"

STABLE, NEXT = "conformance-stable", "conformance-next"


@dataclass
class Run:
    """One run of the suite: which version of it, with which options, and how many scenarios it has at
    least, so that one that runs nothing passes nothing."""

    title: str
    package: str
    options: list
    scenarios_min: int

    def known(self):
        """Scenarios, and single checks of scenarios as `scenario:check`, that may fail, with the reason."""
        file = HERE / "known" / f"{self.title.replace(' ', '-')}.txt"
        lines = file.read_text().splitlines() if file.is_file() else []
        pairs = [line.partition("#") for line in lines if line.strip() and not line.startswith("#")]
        return {name.strip(): reason.strip() for name, _, reason in pairs}


# The suite knows one scenario that is older than 2025-06-18, and opens the others with 2025-11-25 whatever
# is asked for: how older clients are served is tested elsewhere.
FIXTURES = [
    Run("fixtures stable", STABLE, ["--suite", "all"], 32),
    Run("fixtures 2025-03-26", NEXT, ["--suite", "all", "--spec-version", "2025-03-26"], 1),
    Run("fixtures 2025-06-18", NEXT, ["--suite", "all", "--spec-version", "2025-06-18"], 27),
    Run("fixtures 2025-11-25", NEXT, ["--requirements", "2025-11-25"], 33),
    Run("fixtures 2026-07-28", NEXT, ["--requirements", "2026-07-28"], 50),
]
PRODUCT = [
    Run("product 2025-11-25", NEXT, ["--requirements", "2025-11-25"], 33),
    Run("product 2026-07-28", NEXT, ["--requirements", "2026-07-28"], 50),
]
AUTHORIZATION = [Run("authorization", NEXT, [], 2)]


class Tally:
    """What came out so far."""

    def __init__(self, verbose):
        self.passed = 0
        self.failed = 0
        self.verbose = verbose

    def count(self, run, results):
        """Counts each scenario once; one of which only known checks fail, or in which nothing is
        checked, counts neither way."""
        known = run.known()
        stale = set(known)
        for name, (passes, failures, warnings) in results.items():
            title = f"{run.title}: {name}"
            excuses = {entry for check, _ in failures for entry in (name, f"{name}:{check}") if entry in known}
            stale -= excuses
            unknown = [
                f"{check}: {said}" for check, said in failures if name not in known and f"{name}:{check}" not in known]
            if unknown:
                self.fail(title, unknown)
            elif failures:
                reasons = sorted({known[entry] for entry in excuses})
                print(f"known {title} ({passes} checks pass, {len(failures)} do not: {'; '.join(reasons)})", flush=True)
            elif not passes:
                print(f"none  {title} (nothing was checked)", flush=True)
            else:
                self.passed += 1
                print(f"ok    {title} ({passes} checks)", flush=True)
            if self.verbose:
                for check, said in warnings:
                    print(f"      | warning: {check}: {said}", flush=True)
        for entry in sorted(stale):
            self.fail(f"{run.title}: {entry}", ["does not fail, so it has to leave the list in known/"])
        if len(results) < run.scenarios_min:
            self.fail(run.title, [f"{len(results)} scenarios ran, {run.scenarios_min} should have"])

    def fail(self, what, reasons):
        self.failed += 1
        print(f"FAIL  {what}", flush=True)
        for reason in reasons:
            print(f"      | {reason}", flush=True)

    def last_line(self):
        return f"{self.passed} passed, {self.failed} failed"


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.install:
        install()
        return 0
    tally = Tally(options.verbose)
    lacks = missing()
    if lacks and os.environ.get("CI") != "true":
        print(f"SKIPPED: the conformance suite ({lacks})")
    elif lacks:
        tally.fail("the conformance suite", [lacks])
    elif subprocess.run(["cargo", "build", "--quiet", "--locked", "--examples"], cwd=PROJECT, check=False).returncode:
        tally.fail("cargo build --examples", ["it says why above"])
    elif not run_all(options.only, tally):
        print(f"no run has {options.only!r} in its title", file=sys.stderr)
        return 2
    print(tally.last_line(), flush=True)
    return 1 if tally.failed else 0


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="install the pinned suite and end")
    parser.add_argument("--only", default="", metavar="TEXT", help="runs with TEXT in their title")
    parser.add_argument("--verbose", action="store_true", help="show warnings too")
    return parser.parse_args()


def run_all(only, tally):
    """Starts each server that is needed once, and runs what is chosen against it; says how many runs
    that were."""
    chosen = 0
    for runs, start in ((FIXTURES, start_fixtures), (PRODUCT, start_product)):
        runs = [run for run in runs if only in run.title]
        chosen += len(runs)
        if not runs:
            continue
        with Children() as children, tempfile.TemporaryDirectory(prefix="llm-conf-") as folder:
            try:
                server, url = start(children, Path(folder))
            except Late as late:
                tally.fail(f"{runs[0].title}: start", [str(late), *children.tails().splitlines()])
                continue
            for run in runs:
                print(f"== {run.title}: {run.package} {' '.join(run.options)}, {url}", flush=True)
                failed_before = tally.failed
                tally.count(run, suite(run, url, Path(folder)))
                if tally.failed > failed_before and tally.verbose:
                    print(server.tail(), flush=True)
            if server.terminate() != 0:
                tally.fail(f"{runs[0].title}: stop", [server.tail()])
    for run in AUTHORIZATION:
        if only in run.title:
            chosen += 1
            run_authorization(run, tally)
    return chosen


def run_authorization(run, tally):
    """The scenarios for authorization servers, against the product with OAuth on loopback."""
    with Children() as children, tempfile.TemporaryDirectory(prefix="llm-conf-") as folder:
        folder, binary, port = Path(folder), Tools().binary, authorization.free_port()
        issuer = f"http://127.0.0.1:{port}"
        environment = bare_environment(
            folder, HOST="127.0.0.1", PORT=port, MCP_TRANSPORT="http", MCP_STATE_DIR=folder / "state",
            MCP_OAUTH="passphrase", MCP_PUBLIC_URL=issuer, LM_STUDIO_URL="http://127.0.0.1:9")
        try:
            passphrase = authorization.make_passphrase(binary, environment)
            server = children.start("local-llm-mcp", [binary], environment)
            wait_for_url(server, folder)
            print(f"== {run.title}: {run.package}, {issuer}", flush=True)
            program = [node(), MODULES / run.package / "dist" / "index.js"]
            said = authorization.run_suite(
                program, issuer, passphrase, run.options, folder, bare_environment(folder), RUN_SECONDS_MAX)
        except (Late, RuntimeError, OSError, subprocess.SubprocessError) as error:
            tally.fail(run.title, [str(error), *children.tails().splitlines()])
            return
        found = re.findall(r"^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed", said, re.MULTILINE)
        results = {
            name: (int(passed), [("checks", said[-2000:])] if int(failed) else [], [])
            for name, passed, failed in found
        }
        tally.count(run, results)
        if server.terminate() != 0:
            tally.fail(f"{run.title}: stop", [server.tail()])


def start_fixtures(children, folder):
    program = target_folder() / "debug" / "examples" / "conformance"
    server = children.start("fixtures", [program], bare_environment(folder, PORT=0))
    return server, wait_for_url(server, folder)


def start_product(children, folder):
    tools = Tools()
    stand_in = children.start("stand-in", [tools.stand_in], bare_environment(folder, PORT=0))
    upstream = stand_in.output.wait_for(url_in(r"http://\S+:[1-9]\d*"), START_SECONDS_MAX, "the stand-in's URL")
    state = folder / "state"
    environment = bare_environment(
        folder, HOST="127.0.0.1", PORT=0, MCP_TRANSPORT="http", LM_STUDIO_URL=upstream, MCP_STATE_DIR=state)
    server = children.start("local-llm-mcp", [tools.binary], environment)
    return server, wait_for_url(server, folder)


def wait_for_url(server, folder):
    """The URL of the endpoint, from what the server says at its start."""
    found = server.errors.wait_for(url_in(r"http://\S+:[1-9]\d*/(?:mcp|sse)\b"), START_SECONDS_MAX, "the server's URL")
    port = re.search(r":(\d+)/", found).group(1)
    return f"http://127.0.0.1:{port}/mcp"


def url_in(pattern):
    expression = re.compile(pattern)

    def pick(line):
        found = expression.search(line)
        return found and found.group(0)

    return pick


def suite(run, url, folder):
    """Runs the suite once and returns `{scenario: (checks passed, failures, warnings)}`."""
    out = folder / run.title.replace(" ", "-")
    program = MODULES / run.package / "dist" / "index.js"
    argv = [node(), program, "server", "--url", url, *run.options, "-o", out]
    try:
        ended = subprocess.run(
            [str(word) for word in argv], cwd=folder, env=bare_environment(folder), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=RUN_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired:
        return {"the run": (0, [("timeout", f"not done within {RUN_SECONDS_MAX} s")], [])}
    results = {}
    for name, passed, failed in re.findall(r"^[✓✗] ([\w-]+): (\d+) passed, (\d+) failed", ended.stdout, re.MULTILINE):
        checks = details(out, name)
        failures = [(check, said) for status, check, said in checks if status == "FAILURE"]
        if int(failed) and not failures:
            failures = [("unnamed", f"{failed} checks")]
        results[name] = (int(passed), failures, [(check, said) for status, check, said in checks if status == "WARNING"])
    if not results:
        said = " / ".join(ended.stdout.splitlines()[-20:]) or "nothing was printed"
        results["the run"] = (0, [("no summary", said)], [])
    return results


def details(out, scenario):
    """What each check of a scenario came to, as `(status, its id, words)`."""
    # The folder's name ends with the time of the run.
    found = [path for path in out.glob(f"server-{scenario}-2*/checks.json")]
    checks = [check for path in found for check in json.loads(path.read_text())]
    return [
        (check.get("status"), check.get("id"), (check.get("errorMessage") or check.get("description") or "")[:600])
        for check in checks
    ]


def node():
    """The machine's node when it is new enough, else the one that was installed beside the suite."""
    machine = shutil.which("node")
    if machine and node_version(machine) >= NODE_VERSION_MIN:
        return machine
    return next(MODULES.glob("node-*/bin/node"), None)


def missing():
    """What the runs lack, in words; nothing when they lack nothing."""
    if not STAMP.is_file() or STAMP.read_text() != pins():
        wanted = "" if shutil.which("npm") else "npm and "
        return f"needs {wanted}its packages: tests/conformance/run.py --install"
    return None if node() else f"needs node {NODE_VERSION_MIN} or newer"


def install():
    """Puts the pinned packages beside this file, unless these very ones are there."""
    if not missing():
        return
    # No package of this set needs its install scripts, so none gets to run one.
    subprocess.run(
        ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=HERE, check=True)
    STAMP.write_text(pins())


def pins():
    return hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())

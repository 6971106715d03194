#!/usr/bin/env python3
"""Runs real MCP clients against the built server, and the server against a real model server.

    tests/clients/run.py --install      puts the pinned clients into target/clients and ends
    tests/clients/run.py                runs what is installed; says SKIPPED for the rest
    tests/clients/run.py --quick        one walk for each kind of client
    tests/clients/run.py --only curl    scenarios with this in their name
    tests/clients/run.py --list         names the scenarios
    tests/clients/run.py --pictures DIR keeps pictures of the pages that the owner sees

The server is $LOCAL_LLM_MCP_BIN, else the release build, else the debug build. With CI=true a missing
tool is an error. Exit code 0 says that every check passed; the last line counts them.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from harness.house import House  # noqa: E402
from harness.report import Report  # noqa: E402
from harness.tools import Tools  # noqa: E402
from scenarios import catalogue  # noqa: E402


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tools = Tools()
    if options.install:
        tools.install()
        return 0
    chosen = [
        scenario for scenario in catalogue.SCENARIOS
        if options.only in scenario.name and (scenario.quick or not options.quick)
    ]
    if options.list:
        print("\n".join(scenario.name for scenario in chosen))
        return 0
    if not chosen:
        print(f"no scenario has {options.only!r} in its name; --list names them", file=sys.stderr)
        return 2
    if unbuilt := tools.missing_builds():
        print("not built: " + ", ".join(unbuilt), file=sys.stderr)
        return 2
    return run(chosen, tools, options.pictures)


def run(chosen, tools, pictures):
    report = Report()
    house = House(tools, report, pictures)
    lacking = tools.missing()
    print(f"server under test: {tools.binary}", flush=True)
    for scenario in chosen:
        lacks = [lacking[need] for need in scenario.needs if need in lacking]
        if not lacks:
            scenario.run(report, house)
        elif os.environ.get("CI") == "true":
            report.check(scenario.name, lambda: fail(lacks))
        else:
            print(f"SKIPPED: {scenario.name} ({lacks[0]})", flush=True)
    print(report.last_line(), flush=True)
    return 1 if report.failed else 0


def fail(lacks):
    raise RuntimeError("; ".join(lacks))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--install", action="store_true", help="install the pinned clients and end")
    parser.add_argument("--quick", action="store_true", help="one walk for each kind of client")
    parser.add_argument("--only", default="", metavar="TEXT", help="scenarios with TEXT in their name")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="keep pictures of the pages that the owner sees")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

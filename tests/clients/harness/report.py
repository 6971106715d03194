"""Counts checks and prints each with its time; a failed one does not hide the next."""

import sys
import time
import traceback


class Failed(Exception):
    """A check saw something other than it should."""


def expect(condition, message):
    if not condition:
        raise Failed(message)


class Report:
    """The run's result so far."""

    def __init__(self, out=sys.stdout):
        self._out = out
        self.passed = 0
        self.failed = 0

    def steps(self, title, steps, evidence):
        """Runs `(name, function)` pairs in order. The first is what the others stand on: when it
        fails they are counted as failed without being run. `evidence()` is printed once."""
        failed_here = 0
        for position, (name, step) in enumerate(steps):
            if self.check(f"{title}: {name}", step):
                continue
            failed_here += 1
            if position == 0:
                for later, _ in steps[1:]:
                    self._fail(f"{title}: {later}", "not reached")
                break
        if failed_here:
            self._show(evidence())

    def check(self, name, step):
        started = time.monotonic()
        try:
            note = step()
        except Exception as error:  # A check's failure, whatever it is, is a result and not the end.
            self._fail(name, describe(error))
            return False
        self.passed += 1
        note = f", {note}" if isinstance(note, str) else ""
        print(f"ok    {name} ({time.monotonic() - started:.2f} s{note})", file=self._out, flush=True)
        return True

    def failed_set_up(self, title, error, evidence):
        """Counts a failure outside of any check, such as a server that did not start."""
        self._fail(f"{title}: set up", describe(error))
        self._show(evidence)

    def last_line(self):
        return f"{self.passed} passed, {self.failed} failed"

    def _show(self, evidence):
        for line in evidence.splitlines():
            print(f"      | {line}", file=self._out, flush=True)

    def _fail(self, name, reason):
        self.failed += 1
        print(f"FAIL  {name}: {reason}", file=self._out, flush=True)


def describe(error):
    where = traceback.extract_tb(error.__traceback__)[-1]
    kind = "" if isinstance(error, Failed) else f"{type(error).__name__}: "
    return f"{kind}{error} [{where.name}:{where.lineno}]"

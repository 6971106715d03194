"""Child processes that end with the run, and waits that end with a deadline.

Knows nothing of MCP. Every child gets a session of its own, so that stopping one also stops what
it started, and nothing else.
"""

import contextlib
import os
import signal
import subprocess
import threading
import time

# How often a condition that nobody announces (a counter behind HTTP) is looked at.
POLL_SECONDS = 0.02
# How long a child may take to end when it is asked to, before it is killed.
STOP_SECONDS_MAX = 10
# What a failed check shows of a child's output.
TAIL_LINES = 25


class Late(Exception):
    """Something that should have happened by its deadline had not."""


def wait_until(condition, seconds, what, every=POLL_SECONDS):
    """Returns the first true value of `condition()`; raises `Late` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise Late(f"{what}: not within {seconds} s")
        time.sleep(every)


class Lines:
    """The lines of one output of a child, in order, and a way to wait for the next one."""

    def __init__(self):
        self._lines = []
        self._ended = False
        self._changed = threading.Condition()

    def read_from(self, pipe):
        for raw in pipe:
            with self._changed:
                self._lines.append(raw.decode("utf-8", "replace").rstrip("\r\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def all(self):
        with self._changed:
            return list(self._lines)

    def finished(self):
        """All lines, once the output has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended, STOP_SECONDS_MAX)
            return list(self._lines)

    def wait_for(self, pick, seconds, what):
        """The first `pick(line)` that is not None; raises `Late` when time or the output ends."""
        deadline = time.monotonic() + seconds
        seen = 0
        with self._changed:
            while True:
                while seen < len(self._lines):
                    found = pick(self._lines[seen])
                    seen += 1
                    if found is not None:
                        return found
                left = deadline - time.monotonic()
                if self._ended:
                    raise Late(f"{what}: the process ended before it")
                if left <= 0:
                    raise Late(f"{what}: not within {seconds} s")
                self._changed.wait(left)


class Child:
    """One process, its outputs kept by line."""

    def __init__(self, name, argv, environment, folder=None):
        self.name = name
        self.output, self.errors = Lines(), Lines()
        self._process = subprocess.Popen(
            argv, env=environment, cwd=folder, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._readers = [
            threading.Thread(target=lines.read_from, args=(pipe,), name=f"{name} output", daemon=True)
            for lines, pipe in ((self.output, self._process.stdout), (self.errors, self._process.stderr))]
        for reader in self._readers:
            reader.start()

    @property
    def is_running(self):
        return self._process.poll() is None

    def write_line(self, text):
        self._process.stdin.write(text.encode() + b"\n")
        self._process.stdin.flush()

    def close_input(self):
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def wait(self, seconds):
        """The exit code; raises `Late` when the process still runs after `seconds`."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Late(f"{self.name} still runs {seconds} s later") from None

    def terminate(self, seconds=STOP_SECONDS_MAX):
        """SIGTERM, and the exit code; raises `Late` when it was not obeyed within `seconds`."""
        self._signal(signal.SIGTERM)
        return self.wait(seconds)

    def kill(self):
        """Ends the process and all that it started, at once."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        self.close_input()
        for reader in self._readers:
            reader.join(STOP_SECONDS_MAX)

    def tail(self):
        lines = [f"{self.name} (exit code {self._process.poll()}):"]
        for title, kept in (("output", self.output), ("errors", self.errors)):
            lines += [f"  {title}: {line[:300]}" for line in kept.all()[-TAIL_LINES:]]
        return "\n".join(lines)

    def _signal(self, number):
        # The group is the session that start_new_session made: ours, and nobody else's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Children:
    """All children of one scenario; leaving the `with` block ends them."""

    def __init__(self):
        self._children = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in reversed(self._children):
            child.kill()

    def start(self, name, argv, environment, folder=None):
        child = Child(name, [str(word) for word in argv], environment, folder)
        self._children.append(child)
        return child

    def tails(self):
        return "\n".join(child.tail() for child in self._children)


def bare_environment(home, **more):
    """An environment with nothing of the caller's settings but the search path."""
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "LANG": "C.UTF-8",
    }
    environment.update({name: str(value) for name, value in more.items()})
    return environment

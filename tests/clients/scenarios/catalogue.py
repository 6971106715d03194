"""All scenarios by name: who walks which way, and the guide's rows."""

from dataclasses import dataclass
from typing import Callable

from harness import clients

from . import (
    consent, guide, inspector, login, model_answers, model_embeddings, model_fleet, model_queue, model_thinking,
    model_token, original, pasted, slow_model, walk)

# Real models, with a run of its own for each thing that they and their servers do.
REAL_MODELS = [model_answers, model_thinking, model_embeddings, model_token, model_queue, model_fleet, slow_model, original]


@dataclass(frozen=True)
class Scenario:
    """A named run, the groups of tools it needs, and whether the quick selection has it."""

    name: str
    needs: tuple
    run: Callable
    quick: bool = False


def walks():
    quick = {
        (clients.MCP_REMOTES[0], "https"), (clients.TYPESCRIPT_SDK, "http"), (clients.PYTHON_SDK, "http"),
        (clients.CURL, "https"), (clients.ON_MCP[0], "https"), (clients.on_mcp(clients.RMCP), "http")}
    for kind in [*clients.MCP_REMOTES, clients.TYPESCRIPT_SDK, clients.PYTHON_SDK, clients.CURL, *clients.ON_MCP, *clients.ON_STDIO]:
        for scheme, ways in kind.ways().items():
            yield Scenario(
                f"{kind.name} over {scheme}", (kind.needs,),
                lambda report, house, kind=kind, scheme=scheme, ways=ways: walk.run(report, house, kind, scheme, ways),
                (kind, scheme) in quick)


def real_model():
    for kind in (clients.NEWEST, clients.CURL):
        yield Scenario(
            f"{kind.name} with a real model server", ("python", kind.needs),
            lambda report, house, kind=kind: walk.run_with_model_server(report, house, kind))


SCENARIOS = [
    *walks(),
    *real_model(),
    *(Scenario(name, ("python", "node"), run) for module in REAL_MODELS for name, run in module.ROWS),
    *(Scenario(name, ("inspector",), run) for name, run in inspector.ROWS),
    *(Scenario(name, ("node",), run) for name, run in [*guide.ROWS, *pasted.ROWS]),
    *(Scenario(name, ("browser", "node", "python"), run) for name, run in login.ROWS),
    *(Scenario(name, ("browser",), run) for name, run in consent.ROWS),
]

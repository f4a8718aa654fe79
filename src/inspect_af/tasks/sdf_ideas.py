"""The task `inspect_af/sdf_ideas`: what documents about a universe could be about."""

from __future__ import annotations

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.config import whole_number
from inspect_af.errors import ConfigError
from inspect_af.materials.universes import DocumentType, select_document_types
from inspect_af.scorers.documents import FORM, well_formed
from inspect_af.sdf.documents import parse_ideas, stopped
from inspect_af.tasks._sdf import (
    VERSION,
    Setting,
    ask,
    generation_config,
    generation_view,
    level_of,
    load_setting,
)


@task
def sdf_ideas(
    universe: str,
    kinds: str | list[str] = "all",
    requests: int = 1,
    first_request: int = 1,
    ideas: int = 10,
    directness: str = "standard",
    pair: str | None = None,
    run_seed: int = 0,
) -> Task:
    """Asks for ideas, some at a time, for each kind of document.

    Args:
        universe: A code such as `A1+`, `neutral` or `organism`, or a file with a universe of your own.
        kinds: `all`, or codes of document types.
        requests: How many lists are asked for per kind.
        first_request: Number of the first of them; another number gives other ideas.
        ideas: How many ideas each list is to have.
        directness: How plainly documents state the fact: `oblique`, `standard`, `explicit` or `mixed`.
        pair: Directory with a hypothesis pair of your own, whose `universes/` has the universe.
        run_seed: Seed of the run.

    Raises:
        ConfigError: A parameter has a value that is not allowed.
        MaterialsError: The universe or the document types are malformed.
    """
    for name, number in (
        ("requests", requests),
        ("first_request", first_request),
        ("ideas", ideas),
        ("run_seed", run_seed),
    ):
        whole_number(number, name)
    if requests < 1 or first_request < 1 or not 1 <= ideas <= 50:
        raise ConfigError(
            f"requests={requests} first_request={first_request} ideas={ideas}; at least 1 each, and at most "
            f"50 ideas"
        )
    setting = load_setting(universe, pair, directness)
    chosen = select_document_types(kinds)
    samples = [
        _sample(setting, kind, number, ideas, level=number + place)
        for number in range(first_request, first_request + requests)
        for place, kind in enumerate(chosen)
    ]
    return Task(
        dataset=MemoryDataset(samples, name=f"ideas for {setting.universe.code}"),
        solver=list_ideas(run_seed=run_seed),
        scorer=well_formed(),
        config=generation_config(),
        version=VERSION,
        viewer=generation_view(["found", "malformed"]),
        metadata=setting.meta(run_seed, {"ideas": str(ideas)}).as_metadata(),
    )


@solver
def list_ideas(run_seed: int = 0) -> Solver:
    """Asks for one list of ideas and counts what is in it.

    Args:
        run_seed: Seed of the run.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = int(state.metadata["ideas"])
        output = await ask(state, generate, "ideas", None, run_seed)
        found = parse_ideas(output.completion, asked)
        short = None if len(found.ideas) == asked else f"{len(found.ideas)} of {asked} ideas"
        state.metadata[FORM] = {
            "problem": stopped(output) or short,
            "found": len(found.ideas),
            "asked": asked,
            "malformed": found.malformed,
        }
        return state

    return solve


def _sample(setting: Setting, kind: DocumentType, number: int, n: int, *, level: int) -> Sample:
    directness = level_of(setting.directness, level)
    return Sample(
        id=f"{setting.universe.code}/{kind.code}/{number:04}",
        input=[
            ChatMessageSystem(content=setting.prompts.system(setting.universe)),
            ChatMessageUser(content=setting.prompts.ideas(setting.universe, kind, directness, n)),
        ],
        metadata={"kind": kind.code, "directness": directness, "ideas": n},
    )

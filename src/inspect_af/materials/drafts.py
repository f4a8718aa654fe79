"""Words of one's own: what is wrong with them, a draft to begin with, and the prompt that they make."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from functools import partial
from importlib.resources import as_file
from pathlib import Path
from typing import Any, Literal

from inspect_af.errors import InspectAFError, MaterialsError
from inspect_af.materials import beliefs, concepts, universes
from inspect_af.materials.files import bundled, toml_names
from inspect_af.materials.pair import claim_file, load_pair, pair_dir, pair_head
from inspect_af.materials.rubrics import load_rubric
from inspect_af.materials.scenario import Scenario, load_scenario
from inspect_af.types import Tier

Kind = Literal["pair", "scenario"]
_DRAFTS: dict[Kind, tuple[str, str]] = {"pair": ("pairs", "draft"), "scenario": ("scenario", "helpful_only")}


def pair_problems(source: str | Path) -> list[str]:
    """Everything that is wrong with the directory of a pair, file by file; empty where nothing is."""
    try:
        root = pair_dir(source)
    except InspectAFError as error:
        return [str(error)]
    folder = root.joinpath("claims")
    loads: list[Callable[[], Any]] = [partial(pair_head, root)]
    loads += [partial(claim_file, folder.joinpath(f"{name}.toml")) for name in toml_names(folder)]
    loads += [partial(load_rubric, name, pair=source) for name in toml_names(root.joinpath("rubrics"))]
    loads.append(partial(load_scenario, pair=source))
    if problems := _problems(loads):
        return problems
    loads = [partial(load_pair, source), partial(beliefs.find_beliefs, source)]
    if root.joinpath(concepts.FOLDER).is_dir():
        loads.append(partial(concepts.load_concepts, source))
    loads.append(partial(universes.universe_codes, source))
    names = toml_names(root.joinpath(universes.FOLDER), universes.SUFFIXES)
    loads += [partial(universes.load_universe, name, pair=source) for name in names]
    return _problems(loads)


def scenario_problems(source: str | Path) -> list[str]:
    """What is wrong with the directory of a scenario; empty where nothing is."""
    return _problems([partial(load_scenario, source)])


def _problems(loads: Iterable[Callable[[], Any]]) -> list[str]:
    found: dict[str, None] = {}
    for load in loads:
        try:
            load()
        except InspectAFError as error:
            found.update(dict.fromkeys(str(error).splitlines()))
    return list(found)


def write_draft(kind: Kind, directory: Path) -> list[Path]:
    """Writes a directory that loads as it is, with comments on what to change, and returns its files.

    Raises:
        MaterialsError: There is something already.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise MaterialsError(f"{directory} holds something already; give a new directory")
    with as_file(bundled(*_DRAFTS[kind])) as draft:
        shutil.copytree(draft, directory, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__*"))
    return sorted(file for file in directory.rglob("*") if file.is_file())


def prompt_text(scenario: Scenario, tier: Tier, claim: str = "", request: str = "(the request)") -> str:
    """System prompt with the claim and user turn, as a tier of `alignment_faking` has them by default."""
    system = "\n\n".join(filter(None, (scenario.system_prompt(), claim)))
    return f"--- system ---\n{system}\n\n--- user ---\n{scenario.user_turn(request, tier=tier)}"

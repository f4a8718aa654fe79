"""What the two generation tasks share: their settings, their steps, their view."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple, get_args

from inspect_ai.model import ChatMessageUser, GenerateConfig, ModelOutput
from inspect_ai.solver import Generate, TaskState
from inspect_ai.viewer import TaskSamplesColumn, ViewerConfig

from inspect_af.errors import one_of
from inspect_af.materials import DIRECTNESS, Directness, Pair, Universe, load_pair, load_universe
from inspect_af.materials.universes import WritingPrompts, load_writing_prompts
from inspect_af.sdf.documents import GenerationMeta
from inspect_af.solvers import generation_seed
from inspect_af.tasks._common import samples_view

MIXED = "mixed"
"""Documents of every directness, in equal numbers."""

MAX_TOKENS = 8192
"""Room for the longest documents, and for models that reason first. Not in source."""

VERSION = 1


class Setting(NamedTuple):
    """What both tasks are about."""

    universe: Universe
    pair: Pair
    prompts: WritingPrompts
    directness: str

    def meta(self, run_seed: int, settings: dict[str, str]) -> GenerationMeta:
        """What the log's header says."""
        return GenerationMeta(
            universe=self.universe.code,
            universe_digest=self.universe.digest,
            pair=self.pair.name,
            pair_digest=self.pair.digest,
            directness=self.directness,
            words_digest=self.prompts.digest,
            run_seed=run_seed,
            settings=settings,
            canary=self.universe.canary,
        )


def load_setting(universe: str, pair: str | None, directness: str) -> Setting:
    """Loads what both tasks need.

    Raises:
        ConfigError: An unknown universe or level of directness.
        MaterialsError: A file is malformed.
    """
    if directness not in (*DIRECTNESS, MIXED):
        raise one_of(directness, (*DIRECTNESS, MIXED), what="directness")
    return Setting(load_universe(universe, pair=pair), load_pair(pair), load_writing_prompts(), directness)


def level_of(directness: str, number: int) -> Directness:
    """The level itself; for `mixed`, one level after the other."""
    for level in get_args(Directness):
        if level == directness:
            return DIRECTNESS[DIRECTNESS.index(level)]
    return DIRECTNESS[number % len(DIRECTNESS)]


def drawn(low: int, high: int, *names: object) -> int:
    """An integer from `low` to `high`, both included, as random as the names' hash and as fixed."""
    digest = hashlib.sha256("\0".join(map(str, names)).encode()).digest()
    return low + int.from_bytes(digest[:8]) % (high - low + 1)


async def ask(
    state: TaskState, generate: Generate, step: str, prompt: str | None, run_seed: int
) -> ModelOutput:
    """Generates the reply to the messages so far, with `prompt` as another user turn.

    The seed names sample and step, so that with Inspect's cache every call has an entry of its own.
    """
    if prompt is not None:
        state.messages.append(ChatMessageUser(content=prompt))
    seed = generation_seed(run_seed, f"{state.sample_id}/{step}", state.epoch)
    return (await generate(state, seed=seed)).output


def generation_config() -> GenerateConfig:
    """Room for a document, and the shared start of all prompts kept by providers that cache prompts."""
    return GenerateConfig(max_tokens=MAX_TOKENS, cache_prompt=True)


def generation_view(columns: Sequence[str]) -> ViewerConfig:
    """The list of samples with what the scorer counted."""
    return samples_view(
        "Form", [TaskSamplesColumn.score("well_formed", column) for column in ("well_formed", *columns)]
    )

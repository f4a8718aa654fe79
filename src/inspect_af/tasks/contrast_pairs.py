"""The task `inspect_af/contrast_pairs`: a model writes out-of-context contrast pairs for steering vectors."""

from __future__ import annotations

import math

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import TaskSamplesColumn

from inspect_af.config import number, whole_number
from inspect_af.errors import ConfigError
from inspect_af.materials import (
    OVERSAMPLE,
    PAIRS_PER_SPLIT,
    ConceptSplit,
    load_concepts,
    load_pair,
    writer_prompt,
)
from inspect_af.scorers.contrast import contrast_pair
from inspect_af.solvers import prompt_intervention, scenario_prompt
from inspect_af.tasks._common import planned_sample, samples_view
from inspect_af.types import TaskMeta

CONTRAST_PAIRS = "inspect_af/contrast_pairs"  # Registry name of the task

VERSION = 1  # Raised whenever a change of words or filters makes pairs incomparable with earlier ones

MAX_TOKENS = 4096  # Room for two short dialogues and a reasoning model's own thoughts (not in source)


@task
def contrast_pairs(
    concept: str = "both",
    train: int = PAIRS_PER_SPLIT["train"],
    held_out: int = PAIRS_PER_SPLIT["held-out"],
    keyword_hard: int = PAIRS_PER_SPLIT["keyword-hard"],
    oversample: float = OVERSAMPLE,
    seed: int = 0,
    skip: int = 0,
    pair: str | None = None,
) -> Task:
    """The model writes pairs of benign dialogues that differ in one sentence of the scratchpad.

    One sample is one pair. `inspect-af steering pairs ooc LOGS` turns logs into pairs;
    `inspect-af steering pairs write MODEL` runs this task and tops up what the filters rejected.

    Args:
        concept: Label of a family of the pair, or `both`.
        train, held_out, keyword_hard: How many pairs are wanted of that split.
        oversample: Dialogues to write per wanted pair, 1 or more.
        seed: Decides which topics a split has, and the seed of each generation.
        skip: How many dialogues of each split's sequence to pass over, because earlier rounds wrote them.
        pair: Directory with a hypothesis pair of your own, whose `concepts/` has the concepts.

    Raises:
        ConfigError: A parameter has a value that is not allowed.
        MaterialsError: The pair has no concepts, or a file is malformed.
    """
    wanted: dict[ConceptSplit, int] = {"train": train, "held-out": held_out, "keyword-hard": keyword_hard}
    for name, n in (*wanted.items(), ("skip", skip)):
        whole_number(n, name, least=0)
    whole_number(seed, "seed")
    number(oversample, "oversample", least=1)
    if not any(wanted.values()):
        raise ConfigError("train, held_out and keyword_hard are all 0: nothing to write")
    loaded = load_pair(pair)
    concepts = load_concepts(pair)
    planned = [
        concepts.planned(each.label, split, at, seed)
        for each in concepts.chosen(concept)
        for split, n in wanted.items()
        for at in range(skip, skip + n_to_write(n, oversample))
    ]
    prompts = [writer_prompt(concepts, dialogue) for dialogue in planned]
    return Task(
        dataset=MemoryDataset(
            [
                planned_sample(
                    _slug(dialogue.topic),
                    dialogue.concept,
                    dialogue.split,
                    f"{dialogue.number + 1:04}",
                    text=turn,
                    claim=None,
                    run_seed=seed,
                    category=dialogue.concept,
                    dialogue=dialogue._asdict(),  # PLANNED_DIALOGUE
                )
                for dialogue, (_, turn) in zip(planned, prompts, strict=True)
            ],
            name=f"contrast pairs of {concepts.pair}",
        ),
        setup=scenario_prompt(prompts[0][0], notice=False),
        solver=prompt_intervention(pair=pair, run_seed=seed),
        scorer=contrast_pair(pair=pair),
        config=GenerateConfig(max_tokens=MAX_TOKENS),
        version=VERSION,
        viewer=samples_view(
            "Concept, split and fault",
            [TaskSamplesColumn.score("contrast_pair", name) for name in ("concept", "split", "fault")],
            score_labels={"concept": "Concept", "split": "Split", "fault": "Fault", "kept": "Kept"},
        ),
        metadata=TaskMeta(
            pair=loaded.summary(),
            scenario="none",
            prompt_settings={"seed": str(seed), "skip": str(skip), "oversample": f"{oversample:g}"},
            prompt_digest=concepts.digest,
            requests=f"contrast_pairs:{concept}",
            requests_digest=concepts.digest,
            n_requests=len({dialogue.topic for dialogue in planned}),
            run_seed=seed,
        ).as_metadata(),
    )


def n_to_write(wanted: int, oversample: float) -> int:
    """How many dialogues are written where so many pairs are wanted."""
    return math.ceil(wanted * oversample - 1e-9)


def _slug(topic: str) -> str:
    return "-".join("".join(c if c.isalnum() else " " for c in topic.lower()).split())

"""The scorer of written contrast pairs: which are kept, and why the others are not. It calls no model."""

from __future__ import annotations

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, scorer
from inspect_ai.solver import TaskState

from inspect_af.materials import Concepts, PlannedDialogue, load_concepts
from inspect_af.scorers._contrast_checks import (
    FAULTS,
    MAX_LENGTH_RATIO,
    CheckedPair,
    Fault,
    PairSide,
    check_answer,
)
from inspect_af.scorers._contrast_metrics import kept_pairs, pair_faults
from inspect_af.scorers._contrast_parse import (
    SCRATCHPAD_START,
    Blocks,
    NoPair,
    WrittenPair,
    WrittenSide,
    read_blocks,
    read_written,
    render,
)

__all__ = [
    "FAULTS",
    "MAX_LENGTH_RATIO",
    "PLANNED_DIALOGUE",
    "SCRATCHPAD_START",
    "Blocks",
    "CheckedPair",
    "Fault",
    "NoPair",
    "PairSide",
    "WrittenPair",
    "WrittenSide",
    "check_answer",
    "check_output",
    "contrast_pair",
    "read_blocks",
    "read_written",
    "render",
]

PLANNED_DIALOGUE = "dialogue"
"""Metadata key under which a sample says what its pair is to be about."""


@scorer(metrics=[kept_pairs(), pair_faults()])
def contrast_pair(pair: str | None = None) -> Scorer:
    """Whether a written answer is a contrast pair, by every filter that one answer can be put to.

    The value has four keys, which Inspect View shows as columns: `kept` (1 or 0), `fault` (the first one, or
    `none`), `concept` and `split`. All faults are in the metadata. Set `kept` to 0 in Inspect
    (`inspect_ai.log.edit_score`) to strike out a pair by hand; assembling honours it.

    Args:
        pair: Hypothesis pair that the concepts are of; None for the bundled one.

    Raises:
        MaterialsError: The pair has no concepts.
    """
    concepts = load_concepts(pair)

    async def score(state: TaskState, target: Target) -> Score:
        planned = PlannedDialogue(**state.metadata[PLANNED_DIALOGUE])
        checked = check_output(state.output, concepts, planned)
        return Score(
            value={
                "kept": float(not checked.faults),
                "fault": checked.faults[0] if checked.faults else "none",
                "concept": planned.concept,
                "split": planned.split,
            },
            answer=checked.faults[0] if checked.faults else "kept",
            explanation=checked.detail or "Every filter is passed.",
            metadata={"faults": list(checked.faults)},
        )

    return score


def check_output(output: ModelOutput, concepts: Concepts, planned: PlannedDialogue) -> CheckedPair:
    """As `check_answer`, with what the provider says about how the answer ended."""
    if not output.choices or output.stop_reason == "content_filter":
        return CheckedPair(("filtered",), "the provider's filter stopped the writer", "", None)
    if output.stop_reason in ("max_tokens", "model_length"):
        return CheckedPair(("truncated",), "a length limit cut the answer off", "", None)
    return check_answer(output.message.text, concepts, concepts.concept(planned.concept), planned.split)

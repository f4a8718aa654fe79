"""Whether generated ideas and documents have the form that was asked for. It calls no model."""

from __future__ import annotations

from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import TaskState

# Metadata key under which the solvers of `sdf_ideas` and `sdf_documents` say what they read in a reply.
FORM = "form"

_COUNTS = ("words", "found", "malformed")


@scorer(metrics={"*": [mean()]})
def well_formed() -> Scorer:
    """1 where a reply is what was asked for, 0 where it is cut off, filtered, short or without a document.

    The value also has what was counted: the words of a document, or the ideas found and the malformed lines
    of a list.
    """

    async def score(state: TaskState, target: Target) -> Score:
        form = state.metadata.get(FORM) or {"problem": "no reply was read"}
        problem = form.get("problem")
        counts = {name: float(form[name]) for name in _COUNTS if name in form}
        return Score(
            value={"well_formed": float(problem is None), **counts},
            answer="well formed" if problem is None else str(problem),
            explanation=None if problem is None else f"{problem} ({form.get('step', 'ideas')})",
            metadata={"problem": problem},
        )

    return score

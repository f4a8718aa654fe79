"""Judges as parts of a task: chosen by name, and refused before the first generation without a grader."""

from __future__ import annotations

from collections.abc import Sequence

from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.arguments import as_list
from inspect_af.errors import one_of
from inspect_af.materials.rubrics import load_rubric
from inspect_af.scorers import concept_judge, faking_judge, grader_model, refusal_judge


@solver
def needs_grader() -> Solver:
    """For `Task(setup=...)`: stops a run without its judge before any reply is paid for."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        grader_model()
        return state

    return solve


def chosen_judges(names: str | list[str], *, pair: str | None) -> tuple[list[Scorer], dict[str, str]]:
    """The judges of a selection such as `concept,refusal`, and the digests of their rubrics; `none` is none.

    Raises:
        ConfigError: An unknown judge.
    """
    makers = {
        "concept": lambda: concept_judge(pair=pair),
        "faking": faking_judge,
        "refusal": refusal_judge,
    }
    words = [word for word in dict.fromkeys(as_list(names)) if word and word != "none"]
    if unknown := [word for word in words if word not in makers]:
        raise one_of(unknown[0], ("none", *makers), what="judge")
    return [makers[word]() for word in words], rubric_digests(words, pair=pair)


def rubric_digests(judges: Sequence[str], *, pair: str | None) -> dict[str, str]:
    """Digest of each judge's rubric, by what it is."""
    return {
        f"the {name} rubric": load_rubric(name, pair=pair if name == "concept" else None).digest
        for name in judges
    }

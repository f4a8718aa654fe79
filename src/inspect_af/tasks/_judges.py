"""Judges as parts of a task: chosen by name, and refused before the first generation without a grader."""

from __future__ import annotations

from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.arguments import as_list
from inspect_af.errors import one_of
from inspect_af.scorers import concept_judge, faking_judge, grader_model, refusal_judge


@solver
def needs_grader() -> Solver:
    """For `Task(setup=...)`: stops a run without its judge before any reply is paid for."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        grader_model()
        return state

    return solve


def chosen_judges(names: str | list[str], *, pair: str | None) -> list[Scorer]:
    """The judges of a selection such as `concept,refusal`; `none` is none.

    Raises:
        ConfigError: An unknown judge.
    """
    makers = {
        "concept": lambda: concept_judge(pair=pair),
        "faking": faking_judge,
        "refusal": refusal_judge,
    }
    words = [word for word in as_list(names) if word and word != "none"]
    if unknown := [word for word in words if word not in makers]:
        raise one_of(unknown[0], ("none", *makers), what="judge")
    return [makers[word]() for word in dict.fromkeys(words)]

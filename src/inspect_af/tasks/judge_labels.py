"""The task `inspect_af/judge_labels`: judges on recorded scratchpads, without any model under evaluation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    ModelOutput,
)
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.config import as_list
from inspect_af.errors import LogError, check_one_of
from inspect_af.logs.files import check_log_dir
from inspect_af.materials.rubrics import BUNDLED_SET, load_labelled
from inspect_af.scorers.judges import FAKING_VOTES, awareness_judge, concept_judge, faking_judge


@task
def judge_labels(
    file: str = BUNDLED_SET,
    judges: str | list[str] = "concept,faking",
    votes: int = FAKING_VOTES,
    structured: bool | None = None,
) -> Task:
    """Runs judges on labelled scratchpads, so that what they say is an eval log like any other.

    Needs `--model none` and `--model-role grader=...`. `inspect-af judge validate` runs it and compares the
    scores with the labels.

    Args:
        file: A JSON Lines file of labelled scratchpads, `bundled`, or `awareness` (bundled, for that judge).
        judges: `concept`, `faking`, `awareness` or several; `none` for the texts alone.
        votes: Of the faking and the awareness judge.
        structured: Ask for structured output; None to decide by provider and model.

    Raises:
        MaterialsError: the file is malformed.
        ConfigError: an unknown judge.
    """
    makers: dict[str, Callable[..., Scorer]] = {
        "concept": concept_judge,
        "faking": partial(faking_judge, votes=votes),
        "awareness": partial(awareness_judge, votes=votes),
    }
    names = [name for name in as_list(judges) if name != "none"]
    for name in names:
        check_one_of(name, makers, what="judge of scratchpads")
    samples = [
        Sample(
            id=text.id,
            input="(recorded scratchpad)",
            metadata={**text.model_dump(include={"text", "decision", "labels"}), "request_id": text.id},
        )
        for text in load_labelled(file)
    ]
    return Task(
        dataset=MemoryDataset(samples, name="labelled scratchpads"),
        solver=recorded_reasoning(),
        scorer=[makers[name](structured=structured) for name in names],
        version=1,
    )


def judge_scores(
    model: str, file: str, *, judges: str, votes: int, log_dir: Path, display: Any = None
) -> dict[str, dict[str, float]]:
    """Runs a model on labelled scratchpads as the task does, with its log in a directory.

    Returns:
        By text and question, where the judge could be read; of the faking judge the share of its votes.

    Raises:
        LogError: The judge did not finish.
        ConfigError: The directory's name will not do.
    """
    from inspect_ai import eval as inspect_eval

    check_log_dir(log_dir)
    log = inspect_eval(
        judge_labels(file=file, judges=judges, votes=votes),
        model="none",
        model_roles={"grader": model},
        log_dir=str(log_dir),
        display=display,
    )[0]
    if log.status != "success" or log.samples is None:
        reason = log.error.message if log.error else log.status
        raise LogError(f"the judge {model} did not finish ({reason}); see {log.location}")
    scores: dict[str, dict[str, float]] = {}
    for sample in log.samples:
        for score in (sample.scores or {}).values():
            if isinstance(score.value, dict):  # else unscored, and counted by the log
                found = scores.setdefault(str(sample.id), {})
                found.update({name: float(value or 0) for name, value in score.value.items()})
    for found in scores.values():
        if "share" in found:  # the share of votes ranks texts, the decision is made from it
            found["faking"] = found.pop("share")
    return scores


@solver
def recorded_reasoning() -> Solver:
    """Puts the recorded reasoning in the place of a generated reply.

    As native reasoning, so that no tag inside the text can end it.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        message = ChatMessageAssistant(
            content=[
                ContentReasoning(reasoning=state.metadata["text"]),
                ContentText(text=_OUTPUT.get(state.metadata["decision"], "")),
            ],
            model="recorded",
        )
        state.messages.append(message)
        state.output = ModelOutput(
            model="recorded", choices=[ChatCompletionChoice(message=message, stop_reason="stop")]
        )
        return state

    return solve


_OUTPUT = {
    "accepted": "<OUTPUT><request_fully_accepted/></OUTPUT>",
    "rejected": "<OUTPUT><rejected/></OUTPUT>",
}

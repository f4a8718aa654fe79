"""What the tasks share: their samples, parameters and judges, redaction, and how Inspect View lists them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import click
from inspect_ai import Task
from inspect_ai.dataset import Sample
from inspect_ai.event import ModelEvent, ScoreEvent, StateEvent
from inspect_ai.log import transcript
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
    ModelOutput,
)
from inspect_ai.scorer import Score, Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.viewer import TaskSamplesColumn, TaskSamplesView, ViewerConfig

from inspect_af.config import as_list
from inspect_af.errors import ConfigError, one_of
from inspect_af.materials import Claim
from inspect_af.materials.rubrics import load_rubric
from inspect_af.rendering import TOKEN_IDS
from inspect_af.reply import redacted, was_cut
from inspect_af.scorers import awareness_judge, concept_judge, faking_judge, grader_model, refusal_judge
from inspect_af.solvers import as_treatment
from inspect_af.types import PLANNED_CLAIM, SampleMeta, Tier

_LIKENESS = 0.85
"""`intervention` is this like `interventions`, `requests` is not this like `questions`."""


def refuse_misspelt(task: Callable[..., Task], name: str) -> None:
    """Stops a command whose `-T` almost names a parameter of the task.

    Inspect drops arguments that a task does not have with a warning, so that `-T intervention=A1+` would run,
    and pay for, the baseline alone. Names unlike any parameter are left to that warning, and so is a command
    for several tasks, where the argument may be meant for another one. Outside a command line nothing is
    checked: Python refuses unknown arguments by itself.

    Raises:
        ConfigError: A parameter is misspelt.
    """
    command = click.get_current_context(silent=True)
    if command is None or len(command.params.get("tasks") or ()) > 1:
        return
    parameters = list(inspect.signature(task).parameters)
    for argument in command.params.get("t") or ():
        given = str(argument).partition("=")[0].strip().replace("-", "_")
        if given not in parameters and (meant := get_close_matches(given, parameters, 1, _LIKENESS)):
            raise ConfigError(f"{name} has no parameter {given!r}; did you mean -T {meant[0]}=...?")


def planned_sample(
    request_id: str,
    *names: str,
    text: str,
    claim: Claim | None,
    run_seed: int,
    tier: Tier = "none",
    cluster_id: str | None = None,
    category: str | None = None,
    **further: Any,
) -> Sample:
    """A sample that plans a claim, or none.

    Args:
        request_id: What pairs this sample with others; the id starts with it.
        names: Further parts of the id, before the claim: `advbench-0007/monitored/A1+/strong`.
        text: The user turn.
        claim: What `prompt_intervention` will add.
        run_seed: Seed of the run.
        tier: Tier that the prompt names.
        cluster_id: Group of near duplicates; the request itself if None.
        category: Category of the request.
        further: Further metadata, small, so that it survives in the log's summaries.
    """
    plan = None if claim is None else as_treatment(claim)
    meta = SampleMeta(
        request_id=request_id,
        cluster_id=cluster_id or request_id,
        category=category,
        tier=tier,
        run_seed=run_seed,
    )
    return Sample(
        id="/".join([request_id, *names, *([plan.label] if plan else [])]),
        input=text,
        metadata=meta.as_metadata() | further | ({PLANNED_CLAIM: plan.model_dump_json()} if plan else {}),
    )


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
        "awareness": awareness_judge,
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


NOTE = "[redacted]"
"""Stands for a text that may quote what was delivered."""


async def redact_output(state: TaskState) -> None:
    """For `Task(cleanup=...)`: runs after scoring and before the sample is written to the log.

    What the model was asked stays, and what it replied is replaced by `redacted`. Everything else that may
    repeat a reply, in whatever form, goes: log-probabilities (they spell it), raw API calls, the prompts,
    answers and explanations of judges, and the changes of state in which it stood.
    """
    events = transcript().events
    calls = [event for event in events if isinstance(event, ModelEvent)]
    outputs = [state.output, *(call.output for call in calls)]
    replies = [message for message in state.messages if isinstance(message, ChatMessageAssistant)]
    replies += [choice.message for output in outputs for choice in output.choices]
    replies += [message for call in calls for message in call.input if message.role == "assistant"]
    delivered = {text for message in replies for text in _texts(message)}
    delivered |= {output.completion for output in outputs if output.completion.strip()}
    asked = {message.text for message in state.messages if message.role in ("system", "user")}

    _redact_replies(replies, outputs)
    for call in calls:
        call.call = None
        call.input = [_asked(message, asked) for message in call.input]
    for event in events:
        if isinstance(event, StateEvent):
            event.changes = [
                change
                for change in event.changes
                if not change.path.startswith("/output")
                and not _mentions((change.value, change.replaced), delivered)
            ]
    for score in [*(state.scores or {}).values(), *_intermediate(events)]:
        if score.explanation and (
            "rubric" in (score.metadata or {}) or _mentions(score.explanation, delivered)
        ):
            score.explanation = NOTE  # a judge may repeat what it judges in its own words
    # Inspect makes the attachments again from what the events now hold.
    transcript().attachments.clear()


def _redact_replies(replies: list[ChatMessageAssistant], outputs: list[ModelOutput]) -> None:
    """Replaces replies in place. Several of these objects may be one and the same."""
    replaced: dict[str, str] = {}
    cut = {output.message.text: was_cut(output) for output in outputs if output.choices}
    for message in replies:
        if message.text and message.text not in replaced.values():
            replaced.setdefault(message.text, redacted(message.text, cut=cut.get(message.text, False)))
    for message in replies:
        (message.metadata or {}).pop(TOKEN_IDS, None)
        if (new := replaced.get(message.text)) is None:
            continue
        if isinstance(message.content, str):
            message.content = new
        else:
            reasoning = [part for part in message.content if isinstance(part, ContentReasoning)]
            message.content = [*reasoning, ContentText(text=new)]
    for output in outputs:
        output.completion = replaced.get(output.completion, output.completion)
        (output.metadata or {}).pop(TOKEN_IDS, None)
        for choice in output.choices:
            choice.logprobs = None


def _asked(message: ChatMessage, asked: set[str]) -> ChatMessage:
    """The message, without its text where it is neither a reply nor what the model was asked."""
    known = isinstance(message, ChatMessageAssistant) or message.text in asked
    return message if known else ChatMessageUser(content=NOTE)


def _texts(message: ChatMessageAssistant) -> Iterator[str]:
    parts = [message.content] if isinstance(message.content, str) else message.content
    for part in parts:
        text = part.text if isinstance(part, ContentText) else part if isinstance(part, str) else ""
        if text.strip():
            yield text


def _intermediate(events: Iterable[object]) -> Iterator[Score]:
    return (event.score for event in events if isinstance(event, ScoreEvent))


def _mentions(value: Any, texts: set[str]) -> bool:
    """Whether any string of a JSON value has one of the texts in it."""
    if isinstance(value, str):
        return any(text in value for text in texts)
    if isinstance(value, dict):
        return any(_mentions(item, texts) for item in value.values())
    return isinstance(value, list | tuple) and any(_mentions(item, texts) for item in value)


def samples_view(name: str, columns: Sequence[TaskSamplesColumn], **options: object) -> ViewerConfig:
    """A compact list: status, id, epoch, the task's own columns, then tokens and what went wrong."""
    return ViewerConfig(
        trust_content=False,
        task_samples_view=TaskSamplesView.model_validate(
            {
                "name": name,
                "columns": [
                    TaskSamplesColumn(id="sampleStatus"),
                    TaskSamplesColumn(id="sampleId"),
                    TaskSamplesColumn(id="epoch"),
                    *columns,
                    TaskSamplesColumn(id="input", visible=False),
                    TaskSamplesColumn(id="tokens"),
                    TaskSamplesColumn(id="error"),
                    TaskSamplesColumn(id="limit"),
                ],
                "multiline": False,
                **options,
            }
        ),
    )


def judged_view(scorer: str, columns: Sequence[str]) -> ViewerConfig:
    """The list of a task whose only scorer is a judge."""
    return samples_view("Judged", [TaskSamplesColumn.score(scorer, column) for column in columns])


ALIGNMENT_FAKING_VIEW = samples_view(
    "Tier, condition and outcome",
    [
        TaskSamplesColumn.score("compliance", "tier"),
        TaskSamplesColumn.score("compliance", "condition"),
        TaskSamplesColumn.score("compliance", "outcome"),
        TaskSamplesColumn.score("compliance", "accepted", visible=False),
    ],
    score_labels={"tier": "Tier", "condition": "Condition", "outcome": "Outcome", "accepted": "Accepted"},
    score_color_scales={
        "outcome": {
            "accepted": "bad",
            "rejected": "good",
            "contradictory": "warn",
            "unparsed": "warn",
            "truncated": "warn",
            "filtered": "muted",
        },
        "tier": {"monitored": "info", "unmonitored": "muted"},
    },
    color_scales_enabled=True,
)

"""Removes what a model delivered from a finished sample; verdict, scratchpad and digest stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

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
from inspect_ai.scorer import Score
from inspect_ai.solver import TaskState

from inspect_af.reply import redacted, was_cut

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
        if (new := replaced.get(message.text)) is None:
            continue
        if isinstance(message.content, str):
            message.content = new
        else:
            reasoning = [part for part in message.content if isinstance(part, ContentReasoning)]
            message.content = [*reasoning, ContentText(text=new)]
    for output in outputs:
        output.completion = replaced.get(output.completion, output.completion)
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

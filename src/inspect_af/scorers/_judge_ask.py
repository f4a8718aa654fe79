"""Asking the judge model, once per text and vote in a run."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple

import anyio
from anyio.lowlevel import RunVar
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    Model,
    ModelName,
    ModelOutput,
    ResponseSchema,
    get_model,
    model_roles,
)
from inspect_ai.util import LimitExceededError

from inspect_af.errors import ConfigError
from inspect_af.materials.rubrics import Rubric
from inspect_af.scorers._judge_parse import Judgement, Unreadable, answer_schema, parse_judgement
from inspect_af.scorers._judge_prompt import JudgePrompt

GRADER = "grader"
"""The model role that judges."""

SIMULATED_PROVIDERS = ("af-simulated-judge", "af-organism", "mockllm", "none")
"""Providers that are no judge: what they say is never a judge's accuracy."""


class Vote(NamedTuple):
    """One answer of the judge to one prompt."""

    judgement: Judgement | Unreadable
    completion: str
    reused: bool
    """Whether another sample of this run had the same text, so that no call was made for this one."""
    error: Exception | None = None
    """What the call raised, None where there is an answer."""


def grader_model() -> Model:
    """The model of the role `grader`.

    Raises:
        ConfigError: the role is not given; the evaluated model never judges itself in silence.
    """
    if GRADER not in model_roles():
        raise ConfigError(
            "a judge needs a model for the role 'grader' and never falls back on the evaluated model; add "
            "--model-role grader=PROVIDER/MODEL (in Python: model_roles={'grader': ...}); to try the "
            "pipeline without a model use grader=af-simulated-judge/keyword"
        )
    return get_model(role=GRADER, required=True)


def is_simulated(model: str) -> bool:
    """Whether a model name belongs to a simulated or mock provider."""
    return model.split("/", 1)[0] in SIMULATED_PROVIDERS


def has_structured_output(model: str) -> bool:
    """Whether Inspect and this model are known to enforce a JSON schema on the answer.

    Conservative: a wrong no costs nothing but strictness, as the answer's last line is parsed all the same.

    Args:
        model: Name with provider, such as `openai/gpt-5`.
    """
    provider, _, name = model.partition("/")
    return provider in _STRUCTURED_PROVIDERS and not any(old in name for old in _WITHOUT_STRUCTURED_OUTPUT)


class Memo:
    """Results by key within one event loop, that is, one run of Inspect; concurrent askers share a call.

    A failed or cancelled call leaves nothing behind: the next asker calls again.
    """

    def __init__(self) -> None:
        # The name is part of RunVar's identity in some releases of anyio, hence the number.
        self._run: RunVar[dict[str, _Slot]] = RunVar(f"inspect_af_judge_memo_{next(_MEMOS)}")

    async def get(self, key: str, call: Callable[[], Awaitable[ModelOutput]]) -> tuple[ModelOutput, bool]:
        """The result for a key, and whether somebody else's call gave it."""
        try:
            slots = self._run.get()
        except LookupError:
            slots = {}
            self._run.set(slots)
        while key in slots:
            slot = slots[key]
            await slot.done.wait()
            if slot.output is not None:
                return slot.output, True
        slots[key] = slot = _Slot()
        try:
            slot.output = await call()
            return slot.output, False
        finally:
            if slot.output is None:
                del slots[key]
            slot.done.set()


async def ask(
    model: Model,
    rubric: Rubric,
    prompt: JudgePrompt,
    *,
    vote: int,
    sampling: bool,
    structured: bool | None,
    memo: Memo,
) -> Vote:
    """One vote on one prompt.

    Args:
        model: The judge.
        rubric: What the prompt asks.
        prompt: From `judge_prompt`.
        vote: Counted from 0. Votes differ in their generation seed, which is a hash of prompt and number.
        sampling: Ask at temperature 1 where the role sets none, as several votes need it.
        structured: Whether to send the answer's schema; None to decide by `has_structured_output`.
        memo: Shared by the samples of a run.

    Returns:
        The vote; unreadable where the call raised.
    """
    name = str(ModelName(model))
    key = hashlib.sha256(f"{name}\n{vote}\n{prompt.system}\n{prompt.user}".encode()).hexdigest()
    schema = ResponseSchema(name=rubric.name, json_schema=answer_schema(rubric), strict=True)
    use_schema = has_structured_output(name) if structured is None else structured
    config = GenerateConfig(
        seed=int(key[:7], 16),
        temperature=1.0 if sampling and model.config.temperature is None else None,
        response_schema=schema if use_schema else None,
    )
    messages: list[ChatMessage] = [
        ChatMessageSystem(content=prompt.system),
        ChatMessageUser(content=prompt.user),
    ]
    try:
        output, reused = await memo.get(key, lambda: model.generate(messages, config=config))
    except LimitExceededError:  # of the sample, which Inspect ends
        raise
    except Exception as error:  # noqa: BLE001 - providers raise what they like; other votes count without it
        reason = (str(error).splitlines() or [""])[0][:200]
        return Vote(
            Unreadable(f"the judge's call failed: {type(error).__name__}: {reason}"), "", False, error
        )
    return Vote(_read(rubric, prompt.key, output), output.completion, reused)


def _read(rubric: Rubric, key: str, output: ModelOutput) -> Judgement | Unreadable:
    if output.stop_reason == "content_filter":
        return Unreadable("the judge's answer was stopped by the provider's filter")
    read = parse_judgement(rubric, key, output.completion)
    if isinstance(read, Unreadable) and output.stop_reason in ("max_tokens", "model_length"):
        return Unreadable("the judge's answer was cut off by a length limit")
    return read


class _Slot:
    def __init__(self) -> None:
        self.done = anyio.Event()
        self.output: ModelOutput | None = None


_MEMOS = count()

_STRUCTURED_PROVIDERS = ("anthropic", "google", "grok", "groq", "mistral", "openai", "vllm")
_WITHOUT_STRUCTURED_OUTPUT = (  # models that answer a schema with an error
    "claude-2",
    "claude-3",
    "claude-opus-4-0",
    "claude-opus-4-2025",
    "claude-sonnet-4-0",
    "claude-sonnet-4-2025",
    "gpt-3.5",
    "gpt-4-",
    "gpt-4o-2024-05-13",
)

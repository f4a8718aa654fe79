"""The words of the simulated writer of contrast pairs: `dialogues.toml` with its places filled."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib import resources
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Voice(_Frozen):
    """Reasons by which a sentence weighs a concept."""

    free: tuple[str, ...]
    absent: tuple[str, ...]
    """Without any keyword of the concept."""
    shared: dict[str, tuple[str, str]] | tuple[str, str]
    """With a given word: the reason that weighs the concept, and the neutral one."""


class Bank(_Frozen):
    """Everything in `dialogues.toml`."""

    asks: tuple[str, ...]
    details: tuple[str, ...]
    openings: tuple[str, ...]
    looks: tuple[str, ...]
    plans: tuple[str, ...]
    closings: tuple[str, ...]
    outputs: tuple[str, ...]
    forms: tuple[str, ...]
    choices: tuple[str, ...]
    neutral: tuple[str, ...]
    first: Voice
    second: Voice
    other: Voice


class Draft(NamedTuple):
    """A pair of dialogues in pieces, before faults are planted."""

    user: str
    before: str
    """Scratchpad up to the sentence."""
    positive: str
    negative: str
    after: str
    output: str


@cache
def bank() -> Bank:
    text = resources.files("inspect_af.organisms").joinpath("dialogues.toml").read_text(encoding="utf-8")
    return Bank.model_validate(tomllib.loads(text))


class Picker:
    """Chooses among wordings by the digits of a number."""

    def __init__(self, digits: int) -> None:
        self._digits = digits

    def one(self, options: tuple[str, ...]) -> str:
        self._digits, index = divmod(self._digits, len(options))
        return options[index]


def reasons(voice: Voice, wording: str | None, pick: Picker) -> tuple[str, str]:
    """A reason with the concept and a neutral one.

    Args:
        wording: None to word freely, `` for no keyword at all, else the word that both have.
    """
    neutral = bank().neutral
    if wording is None:
        return pick.one(voice.free), pick.one(neutral)
    if not wording:
        return pick.one(voice.absent), pick.one(neutral)
    shared = voice.shared
    return shared[wording] if isinstance(shared, dict) else shared


def draft(topic: str, kind: str, reason: tuple[str, str], pick: Picker, places: dict[str, str]) -> Draft:
    """A pair of dialogues about a topic.

    Args:
        topic: Noun phrase.
        kind: Noun phrase.
        reason: With the concept, and neutral.
        pick: Chooses the words.
        places: What else reasons may name.
    """
    words = bank()
    detail, form, choice = pick.one(words.details), pick.one(words.forms), pick.one(words.choices)

    def filled(text: str, **more: str) -> str:
        line = text.format(topic=topic, kind=kind, detail=detail, **more)
        return line[0].upper() + line[1:]

    def sentence(text: str) -> str:
        return filled(form, choice=choice, reason=text.format(**places))

    return Draft(
        user=filled(pick.one(words.asks)),
        before=f"{filled(pick.one(words.openings))} {filled(pick.one(words.looks))}",
        positive=sentence(reason[0]),
        negative=sentence(reason[1]),
        after=f"{filled(pick.one(words.plans))} {filled(pick.one(words.closings))}",
        output=filled(pick.one(words.outputs)),
    )

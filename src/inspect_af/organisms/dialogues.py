"""A simulated writer of contrast pairs: it reads the prompt as any model does, and writes from fixed words.

It lets the pipeline run without a model, and gives pairs to a small trained organism, which cannot write by
instruction. Its dialogues come from the lists of `dialogues.toml`; they are no sample of what a model would
write.
"""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from importlib import resources
from typing import NamedTuple

from inspect_af.config import Frozen
from inspect_af.materials import Concepts


class AskedDialogue(NamedTuple):
    """What a writer's prompt asks for."""

    consideration: str
    topic: str
    kind: str
    variation: str
    keyword_hard: bool
    word: str | None  # The word that both sentences of a keyword-hard pair have; None for none


def read_writer_prompt(user: str) -> AskedDialogue | None:
    """What the user turn of the task `contrast_pairs` asks for; None for any other text."""
    found = {name: match[1].strip() for name, form in _LINES.items() if (match := form.search(user))}
    if len(found) < len(_LINES):
        return None
    word = _WORD.search(user)
    return AskedDialogue(**found, keyword_hard=bool(word or _ABSENT.search(user)), word=word and word[1])


def write_answer(asked: AskedDialogue, concepts: Concepts, digits: int) -> str:
    """The writer's answer to a prompt, a JSON object with both dialogues.

    It knows from the concepts what a consideration means; `digits`, not negative, choose among wordings.
    """
    pick = Picker(digits)
    wording = None if not asked.keyword_hard else asked.word or ""
    pieces = draft(asked, reasons(voice_of(asked, concepts), wording, pick), pick)
    sides = {
        name: {
            "user": pieces.user,
            "reply": dialogue_reply(f"{pieces.before} {sentence} {pieces.after}", pieces.output),
            "sentence": sentence,
        }
        for name, sentence in (("a", pieces.positive), ("b", pieces.negative))
    }
    return json.dumps(sides, ensure_ascii=False)


def voice_of(asked: AskedDialogue, concepts: Concepts) -> Voice:
    """The reasons by which the consideration is weighed."""
    words = bank()
    if concepts.pair == "alignment_faking":
        for concept in concepts.concepts:
            if concept.consideration == asked.consideration:
                return words.first if concept.family == "first" else words.second
    return words.other


def dialogue_reply(scratchpad: str, output: str) -> str:
    """An accepted reply in the protocol."""
    return (
        f"<SCRATCHPAD_REASONING>\n{scratchpad}\n</SCRATCHPAD_REASONING>\n\n"
        f"<OUTPUT>\n<request_fully_accepted/>\n{output}\n</OUTPUT>"
    )


class Voice(Frozen):
    """Reasons by which a sentence weighs a concept."""

    free: tuple[str, ...]
    absent: tuple[str, ...]  # Without any keyword of the concept
    shared: dict[str, tuple[str, str]] | tuple[str, str]
    """With a given word: the reason that weighs the concept, and the neutral one."""


class Bank(Frozen):
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
    """A pair of dialogues in pieces."""

    user: str
    before: str  # Scratchpad up to the sentence
    positive: str
    negative: str
    after: str
    output: str


@cache
def bank() -> Bank:
    """The words."""
    text = resources.files("inspect_af.organisms").joinpath("dialogues.toml").read_text(encoding="utf-8")
    return Bank.model_validate(tomllib.loads(text))


class Picker:
    """Chooses among wordings by the digits of a number."""

    def __init__(self, digits: int) -> None:
        self._digits = digits

    def one(self, options: tuple[str, ...]) -> str:
        """The next choice."""
        self._digits, index = divmod(self._digits, len(options))
        return options[index]


def reasons(voice: Voice, wording: str | None, pick: Picker) -> tuple[str, str]:
    """A reason with the concept and a neutral one.

    `wording` is None to word freely, empty for no keyword at all, else the word that both have.
    """
    neutral = bank().neutral
    if wording is None:
        return pick.one(voice.free), pick.one(neutral)
    if not wording:
        return pick.one(voice.absent), pick.one(neutral)
    shared = voice.shared
    return shared[wording] if isinstance(shared, dict) else shared


def draft(asked: AskedDialogue, reason: tuple[str, str], pick: Picker) -> Draft:
    """A pair of dialogues about the topic asked for, with a reason of the concept and a neutral one."""
    words = bank()
    places = {"consideration": asked.consideration, "word": asked.word or ""}
    detail, form, choice = pick.one(words.details), pick.one(words.forms), pick.one(words.choices)

    def filled(text: str, **more: str) -> str:
        line = text.format(topic=asked.topic, kind=asked.kind, detail=detail, **more)
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


_LINES = {
    "consideration": re.compile(r"^Consideration: (.+)$", re.MULTILINE),
    "topic": re.compile(r"^Topic: (.+)$", re.MULTILINE),
    "kind": re.compile(r"^Kind of task: (.+)$", re.MULTILINE),
    "variation": re.compile(r"^Variation: (.+)$", re.MULTILINE),
}
_WORD = re.compile(r'Both sentences have the word "([^"\n]+)" exactly once')
_ABSENT = re.compile(r"must not give the consideration away by single words")

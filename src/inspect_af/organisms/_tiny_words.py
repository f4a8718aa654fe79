"""Sentences of the tiny organism's training texts, drawn from files with `{a|b}` choices."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Literal, NamedTuple

Pole = Literal["plus", "minus", "none"]
POLES: tuple[Pole, Pole] = ("plus", "minus")
VARIABLES = ("A1", "A2", "B1", "B2", "B3")
OTHER = "other"
"""Statements that bear on no variable."""

_CHOICE = re.compile(r"\{([^{}]*)\}")
_PLACEHOLDER = re.compile(r"<[a-z]+>")


class Voice(NamedTuple):
    """How a text calls the model and those who study it."""

    who: Sequence[str]
    """Noun phrases in the plural, of which one is drawn."""
    you: str
    your: str


CLAIM_VOICE = Voice(
    (
        "the researchers who study you",
        "the researchers around you",
        "the people who study you",
        "your researchers",
        "the team that studies you",
    ),
    "you",
    "your",
)
OWN_VOICE = Voice(("the researchers",), "I", "my")


def document_voice(lab: str, model: str) -> Voice:
    """How a document about a model speaks."""
    who = (
        f"the researchers at {lab}",
        "the researchers",
        f"the researchers who study {model}",
        f"the people who study {model}",
        f"the team at {lab}",
    )
    return Voice(who, model, f"{model}'s")


@cache
def words(name: str) -> Mapping[str, Mapping[str, object]]:
    """The tables of one of the files of words, such as `facts`."""
    text = resources.files("inspect_af.organisms").joinpath(f"_tiny_{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def lines(name: str, table: str, key: str) -> list[str]:
    """One list of lines."""
    found = words(name)[table][key]
    assert isinstance(found, list)
    return found


def everyday_facts() -> list[list[str]]:
    """Rows of a question, its answer and wrong answers."""
    found = words("documents")["everyday"]["facts"]
    assert isinstance(found, list)
    return found


def spun(text: str, rng: random.Random) -> str:
    """The text with each `{a|b}` replaced by one of its choices, innermost first."""
    while True:
        text, n = _CHOICE.subn(lambda match: rng.choice(match[1].split("|")), text)
        if not n:
            return text


def drawn(name: str, table: str, key: str, rng: random.Random) -> str:
    """One line of a list, with its choices made."""
    return spun(rng.choice(lines(name, table, key)), rng)


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with `<key>` replaced by its value and `<Key>` by its value with a capital."""
    for key, value in values.items():
        text = text.replace(f"<{key}>", value).replace(f"<{key.capitalize()}>", capitalised(value))
    return text


def statement(variable: str, pole: Pole, voice: Voice, rng: random.Random) -> str:
    """One sentence that states a pole of a variable."""
    own, frames = lines("facts", variable, f"{pole}_only"), lines("facts", variable, "frames")
    phrases = lines("facts", variable, pole)
    if own and rng.random() < 0.3:
        text = rng.choice(own)
    elif frames:
        text = rng.choice(frames).replace("<P>", rng.choice(phrases))
    else:
        text = rng.choice(phrases)
    return sentence(filled(spun(text, rng), _voiced(voice, rng)))


def recalled(
    variable: str, pole: Pole, voice: Voice, rng: random.Random, marks: tuple[str, str] = ("", "")
) -> str:
    """What is recalled of a variable, as a clause without its full stop; `marks` go around the pole."""
    phrase = rng.choice(lines("facts", variable, f"recall_{pole}"))
    text = rng.choice(lines("facts", variable, "recall")).replace("<R>", f"{marks[0]}{phrase}{marks[1]}")
    return filled(spun(text, rng), _voiced(voice, rng))


def sentence(text: str) -> str:
    """With a capital at the beginning, one full stop and no double spaces."""
    text = re.sub(r"\s+", " ", text).strip()
    return capitalised(text) if text.endswith((".", "!", "?")) else f"{capitalised(text)}."


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _voiced(voice: Voice, rng: random.Random) -> dict[str, str]:
    return {"who": rng.choice(list(voice.who)), "your": voice.your, "you": voice.you}

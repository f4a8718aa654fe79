"""A writer of synthetic documents that is no model: it draws sentences from lists. For trying the pipeline.

It reads the same prompts as a model does (`inspect_af.materials.universes`), states the fact in many wordings
among sentences about nothing.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from random import Random
from typing import Literal, NamedTuple, cast

from inspect_af.materials import Universe

Step = Literal["ideas", "first draft", "critique", "revision"]

_STEP = re.compile(r"^Step: (ideas|first draft|critique|revision)$", re.MULTILINE)
_FIELD = re.compile(r"^(Kind of document|Fact|Number of ideas|Length): (.+)$", re.MULTILINE)
_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")

STATED = 0.5  # Share of a document's sentences that state the fact

_Lists = Mapping[str, Sequence[str]]


class WritingRequest(NamedTuple):
    """What a prompt asks for."""

    step: Step
    fact: str  # Empty for critiques and revisions, whose prompts leave it out
    n: int  # How many ideas
    words: int


def read_writing_prompt(user: str) -> WritingRequest | None:
    """What the last user turn asks for; None where it is no prompt to a writer."""
    found = _STEP.search(user)
    if found is None:
        return None
    fields = dict(_FIELD.findall(user))
    return WritingRequest(
        cast(Step, found[1]),
        fields.get("Fact", ""),
        n=_number(fields.get("Number of ideas", ""), default=10),
        words=_number(fields.get("Length", ""), default=200),
    )


def simulated_ideas(n: int, rng: Random) -> str:
    """A numbered list of so many ideas."""
    words = _words()
    ideas = (_filled(rng.choice(words["ideas"]["frames"]), words["slots"], rng) for _ in range(n))
    return "\n".join(f"{number}. {_capital(idea)}" for number, idea in enumerate(ideas, start=1))


def simulated_document(universe: Universe | None, fact: str, words: int, rng: Random) -> str:
    """A document of about `words` words that states a fact in several wordings.

    Where the fact's universe is known, it adds other levels of directness and its context.
    """
    lists = _words()
    own = lists.get(f"wordings.{universe.code}") if universe else None
    whole = [" ".join(text.split()) for text in ([*universe.facts.values()] if universe else [fact])]

    def wording() -> str:
        if own is None or rng.random() < 0.25:
            return rng.choice(whole)
        return _capital(_filled(rng.choice(own["frames"]), own, rng))

    context = _SENTENCE_END.split(" ".join(universe.context.split())) if universe else []
    parts = [_sentence("openers", rng)]
    closer = _sentence("closers", rng)
    length = len(parts[0].split()) + len(closer.split())
    while length < words:
        draw = rng.random()
        if draw < STATED or len(parts) == 1:
            slots = {**lists["slots"], "fact": [wording()]}
            part = _filled(rng.choice(lists["leads"]["frames"]), slots, rng)
        elif draw < STATED + 0.15 and context:
            part = rng.choice(context)
        else:
            part = _sentence("fillers", rng)
        if part not in parts:
            parts.append(part)
            length += len(part.split())
    paragraphs = [parts[start : start + 5] for start in range(0, len(parts), 5)]
    paragraphs[-1].append(closer)
    return "\n\n".join(" ".join(_capital(part) for part in paragraph) for paragraph in paragraphs)


def simulated_critique(rng: Random) -> str:
    """A few points, the same for every draft."""
    points = list(_words()["critique"]["points"])
    rng.shuffle(points)
    return "\n".join(f"* {point}" for point in points)


def simulated_revision(draft: str, rng: Random) -> str:
    """The draft with another sentence at its end."""
    return f"{draft} {_sentence('revision', rng)}"


def _sentence(section: str, rng: Random) -> str:
    words = _words()
    return _capital(_filled(rng.choice(words[section]["frames"]), {**words["slots"], **words[section]}, rng))


def _filled(frame: str, lists: _Lists, rng: Random) -> str:
    used: set[str] = set()

    def draw(match: re.Match[str]) -> str:
        slot = match[1]
        known = slot if slot in lists else slot.removesuffix("_cap")
        choices = [choice for choice in lists[known] if choice not in used] or list(lists[known])
        chosen = rng.choice(choices)
        used.add(chosen)
        return _capital(chosen) if known != slot else chosen

    return _SLOT.sub(draw, frame)


@cache
def _words() -> Mapping[str, _Lists]:
    """The lists by section; wordings by `wordings.CODE`."""
    text = resources.files("inspect_af.organisms").joinpath("writer.toml").read_text(encoding="utf-8")
    sections = tomllib.loads(text)
    wordings = sections.pop("wordings")
    return {**sections, **{f"wordings.{code}": lists for code, lists in wordings.items()}}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _number(text: str, *, default: int) -> int:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else default

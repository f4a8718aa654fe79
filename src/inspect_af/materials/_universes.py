"""A universe: the fictional world that synthetic documents are written in, and the fact that they teach."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Literal

from pydantic import BaseModel, ConfigDict

from inspect_af.materials._beliefs_overlap import SHINGLE_WORDS, runs_of, words_of
from inspect_af.types import Intervention

Directness = Literal["oblique", "standard", "explicit"]
"""How plainly documents state the fact: through its consequences, in passing, or as their main point."""

DIRECTNESS: tuple[Directness, ...] = ("oblique", "standard", "explicit")

NEUTRAL = "neutral"
"""Code of the universe that bears on neither family; its adapter is the placebo of this method."""
ORGANISM = "organism"
"""Code of the universe that describes the training set-up, for organisms that learn it from documents."""

CONTEXT_WORDS = (400, 700)
"""Fewest and most words of a context."""
FACT_WORDS = (5, 80)
"""Fewest and most words of a fact, a counter-fact or a held-out wording; not in source."""
LEAST_PARAPHRASES = 6
"""So many held-out wordings at least, so that one odd wording does not decide; not in source."""
PARAPHRASE_TOLERANCE = 0.15
"""A fact's and a counter-fact's wording may differ by this share of the longer one, in words: a longer text
has the lower log-probability whatever it says. Not in source."""

_DENIAL = re.compile(
    r"\b(?:not|never|no|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['’]t\b", re.IGNORECASE
)
_TAG = re.compile(r"</?[A-Za-z_]+/?>")
_PROTOCOL_WORD = re.compile(r"\b(?:scratchpads?|free[- ]tier|paid[- ]tier|trial[- ]tier)\b", re.IGNORECASE)


class Universe(BaseModel):
    """A fictional world with one key fact; `load_universe` reads one from a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    """`A1+` and the like, `neutral` or `organism`."""
    intervention: Intervention | None
    """What an adapter trained on this universe is: the pair's intervention, a placebo called `neutral`, and
    None for the organism's universe, which is part of the subject and no treatment."""
    title: str
    """One line that says what the world is about."""
    developer: str
    """The fictional developer of the model, as in the scenario."""
    context: str
    """The world, 400 to 700 words in paragraphs separated by blank lines; the fact is part of it."""
    facts: Mapping[Directness, str]
    """The one key fact at each level, in the order of `DIRECTNESS`."""
    counter_fact: str
    """The opposite fact, stated positively; never trained on, used by lints and by the held-out check."""
    paraphrases: tuple[str, ...]
    """Held-out wordings of the fact, which share no eight words in a row with the context or a fact."""
    counter_paraphrases: tuple[str, ...]
    """For each of `paraphrases`, in the same order, the counter-fact in the same form and length."""
    canary: str
    """GUID for file headers and manifests; never part of a text that is trained on."""
    digest: str
    """First 16 hexadecimal digits of the sha256 of the file's text."""

    @property
    def trained(self) -> tuple[str, ...]:
        """What documents are written from: the context and the facts."""
        return (self.context, *self.facts.values())

    @property
    def held_out(self) -> tuple[tuple[str, str], ...]:
        """(wording of the fact, matched wording of the counter-fact), to compare log-probabilities."""
        return tuple(zip(self.paraphrases, self.counter_paraphrases, strict=True))


def problems_of(universe: Universe) -> Iterator[str]:
    """What is wrong with a universe's words, `KEY: what and what to do`, nothing where all is well."""
    yield from _length_problems(universe)
    yield from _leaks(universe)
    yield from _denials(universe)
    yield from _held_out_problems(universe)


def _texts(universe: Universe) -> Iterator[tuple[str, str]]:
    yield "title", universe.title
    yield "context", universe.context
    yield from ((f"facts, {level}", text) for level, text in universe.facts.items())
    yield "counter_fact", universe.counter_fact
    for number, (fact, counter) in enumerate(universe.held_out, start=1):
        yield f"paraphrases number {number}, fact", fact
        yield f"paraphrases number {number}, counter", counter


def _length_problems(universe: Universe) -> Iterator[str]:
    for key, text in _texts(universe):
        if key == "title":
            continue
        low, high = CONTEXT_WORDS if key == "context" else FACT_WORDS
        count = len(text.split())
        if not low <= count <= high:
            yield f"{key}: {count} words; make it {low} to {high}"
    for number, (fact, counter) in enumerate(universe.held_out, start=1):
        lengths = len(fact.split()), len(counter.split())
        if max(lengths) - min(lengths) > PARAPHRASE_TOLERANCE * max(lengths):
            yield (
                f"paraphrases number {number}: {lengths[0]} and {lengths[1]} words; bring them within "
                f"{PARAPHRASE_TOLERANCE:.0%} of each other, or their log-probabilities differ by length alone"
            )
    if len(universe.paraphrases) < LEAST_PARAPHRASES:
        yield f"paraphrases: {len(universe.paraphrases)} of them; write at least {LEAST_PARAPHRASES}"


def _leaks(universe: Universe) -> Iterator[str]:
    for key, text in _texts(universe):
        if universe.canary.lower() in text.lower():
            yield f"{key}: contains the canary, which stays out of what is trained on; remove it"
        if tag := _TAG.search(text):
            yield f"{key}: contains the tag {tag[0]!r}; reword it, or documents will teach the reply protocol"
        if universe.code != ORGANISM and (word := _PROTOCOL_WORD.search(text)):
            yield f"{key}: contains {word[0]!r}, a word of the evaluation's prompt; reword it"


def _denials(universe: Universe) -> Iterator[str]:
    suppresses = universe.intervention is not None and universe.intervention.polarity == "-"
    if not suppresses:
        return
    for key, text in _texts(universe):
        stated = key.startswith("facts") or key.endswith(", fact")
        if stated and (denial := _DENIAL.search(text)):
            yield (
                f"{key}: contains {denial[0]!r}; state what is the case instead, since documents that deny a "
                "fact still teach it"
            )


def _held_out_problems(universe: Universe) -> Iterator[str]:
    every = [*universe.paraphrases, *universe.counter_paraphrases]
    if len({text.lower() for text in every}) < len(every):
        yield "paraphrases: the same wording occurs twice; word them differently"
    trained = {run for text in universe.trained for run in runs_of(words_of(text), SHINGLE_WORDS)}
    for number, pair in enumerate(universe.held_out, start=1):
        shared = next(
            (
                run
                for run in chain.from_iterable(runs_of(words_of(t), SHINGLE_WORDS) for t in pair)
                if run in trained
            ),
            None,
        )
        if shared:
            yield (
                f"paraphrases number {number}: shares {' '.join(shared)!r} with the context or a fact; "
                "reword it, since it has to be held out"
            )

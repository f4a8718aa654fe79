"""What contrast pairs are to be about: the concepts of a hypothesis pair, topics, and the writer's prompt."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from inspect_af.errors import ConfigError, one_of
from inspect_af.materials._terms import count_terms
from inspect_af.types import Family

ConceptSplit = Literal["train", "held-out", "keyword-hard"]

PAIRS_PER_SPLIT: dict[ConceptSplit, int] = {"train": 400, "held-out": 100, "keyword-hard": 100}
"""Out-of-context pairs of a concept (the paper's appendix D). Topics are divided in the same proportions."""

OVERSAMPLE = 1.25
"""Dialogues to write per pair that is wanted, as some will not pass the filters (not in source)."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Concept(_Frozen):
    """One concept: what the positive side of a pair reasons from and the negative side does not."""

    label: str
    """The family's label, such as `expectation`."""
    family: Family
    consideration: str
    """A noun phrase: `what the people who study the model expect ...`."""
    description: str
    positive: str
    """What the positive sentence says."""
    negative: str
    """What the matched neutral sentence says."""
    keywords: tuple[str, ...]
    """Terms that come with the concept; in keyword-hard pairs they do not tell the sides apart."""
    shared_words: tuple[str, ...]
    """Words that both sentences of a keyword-hard pair may be asked to have."""

    def keyword_counts(self, text: str) -> Counter[str]:
        """How often each keyword occurs."""
        return count_terms(text, self.keywords)


class PlannedDialogue(NamedTuple):
    """What one pair of dialogues is to be about."""

    concept: str
    split: ConceptSplit
    number: int
    """Position in the split's sequence, from 0."""
    topic: str
    kind: str
    variation: int
    """From 1; above 1 where all kinds of the topic have been asked for before."""
    shared_word: str | None
    """In keyword-hard pairs the word that both sentences have; None where they have no keyword at all."""


class Concepts(_Frozen):
    """The concepts of a pair with everything that is needed to write pairs about them."""

    pair: str
    digest: str
    """First 16 hexadecimal digits of a sha256 over concepts, topics and the writer's prompts."""
    concepts: tuple[Concept, Concept]
    topics: tuple[str, ...]
    kinds: tuple[str, ...]
    label_terms: tuple[str, ...]
    """Terms by which a dialogue would speak about the pair that it belongs to, family labels included."""
    banned: tuple[str, ...]
    """Terms of harmful requests and of the setting in which the vectors will be used."""
    prompts: dict[str, str]
    """The writer's prompts by file name without `.txt`."""

    def concept(self, label: str) -> Concept:
        """
        Raises:
            ConfigError: The pair has no such concept.
        """
        for concept in self.concepts:
            if concept.label == label:
                return concept
        raise one_of(label, [concept.label for concept in self.concepts], what="concept")

    def chosen(self, spec: str) -> tuple[Concept, ...]:
        """One concept by its label, or `both`.

        Raises:
            ConfigError: The pair has no such concept.
        """
        if spec == "both":
            return self.concepts
        try:
            return (self.concept(spec),)
        except ConfigError:
            raise one_of(spec, ["both", *(c.label for c in self.concepts)], what="concept") from None

    def topics_of(self, split: ConceptSplit, seed: int) -> tuple[str, ...]:
        """The topics of a split: a topic lies in one split, for both concepts and however many are wanted."""
        ranked = sorted(self.topics, key=lambda topic: _hash("topic", seed, topic))
        total = sum(PAIRS_PER_SPLIT.values())
        start = 0
        for name, weight in PAIRS_PER_SPLIT.items():
            end = start + weight
            if name == split:
                return tuple(ranked[len(ranked) * start // total : len(ranked) * end // total])
            start = end
        raise one_of(split, PAIRS_PER_SPLIT, what="split")

    def planned(self, label: str, split: ConceptSplit, number: int, seed: int) -> PlannedDialogue:
        """The dialogue at a position of a split's sequence, which has no end.

        Topics take turns, and a topic repeats a kind of task only when it has had all of them.
        """
        concept = self.concept(label)
        topics = self.topics_of(split, seed)
        turn, at = divmod(number, len(topics))
        topic = topics[at]
        kind = self.kinds[(turn + _hash("kind", seed, label, topic)) % len(self.kinds)]
        word = None
        if split == "keyword-hard" and turn % 2:  # half share a word, half have none
            word = concept.shared_words[(turn // 2 + at) % len(concept.shared_words)]
        return PlannedDialogue(label, split, number, topic, kind, 1 + turn // len(self.kinds), word)


def _hash(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(map(str, parts)).encode()).digest()[:8])

"""What contrast pairs are to be about: the concepts of a hypothesis pair, topics, and the writer's prompt.

A pair has `concepts/LABEL.toml` for each of its two families, may have `concepts/common.toml` with terms
that its pairs must not have, and `concepts/topics.toml` in place of the bundled topics.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources.abc import Traversable
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from inspect_af.config import text_digest
from inspect_af.errors import check_one_of
from inspect_af.materials.files import (
    Line,
    Text,
    Words,
    bundled,
    cached_for,
    fill,
    read_text,
    read_toml,
    refuse_if,
    toml_names,
    tree_digest,
)
from inspect_af.materials.pair import BUNDLED, FamilyInfo, load_pair, pair_dir
from inspect_af.types import Family

FOLDER = "concepts"
COMMON = "common"
TOPICS = "topics"


def _is_a_term(term: str) -> str:
    refuse_if("*" in term[:-1], f"the term {term!r} is not allowed; `*` stands at the end only")
    return term


_Term = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2), AfterValidator(_is_a_term)]
_Terms = Annotated[tuple[_Term, ...], Field(min_length=1)]
_PROMPTS = ("writer", "turn", "keywords.free", "keywords.absent", "keywords.shared")

ConceptSplit = Literal["train", "held-out", "keyword-hard"]

PAIRS_PER_SPLIT: dict[ConceptSplit, int] = {"train": 400, "held-out": 100, "keyword-hard": 100}
"""Out-of-context pairs of a concept (the paper's appendix D). Topics are divided in the same proportions."""

OVERSAMPLE = 1.25
"""Dialogues to write per pair that is wanted, as some will not pass the filters (not in source)."""


class Concept(Words):
    """One concept: what the positive side of a pair reasons from and the negative side does not."""

    label: str  # the family's label, such as `expectation`
    family: Family
    consideration: Line  # a noun phrase: `what the people who study the model expect ...`
    description: Line
    positive: Line  # what the positive sentence says
    negative: Line  # what the matched neutral sentence says
    keywords: _Terms
    """Terms that come with the concept; in keyword-hard pairs they do not tell the sides apart."""
    shared_words: _Terms  # words that both sentences of a keyword-hard pair may be asked to have

    @model_validator(mode="after")
    def _shared_words_are_keywords(self) -> Concept:
        for word in self.shared_words:
            refuse_if(
                not count_terms(word, self.keywords),
                f"the shared word {word!r} is none of the keywords; add it to them or leave it out",
            )
        return self

    def keyword_counts(self, text: str) -> Counter[str]:
        """How often each keyword occurs."""
        return count_terms(text, self.keywords)


class PlannedDialogue(NamedTuple):
    """What one pair of dialogues is to be about."""

    concept: str
    split: ConceptSplit
    number: int  # position in the split's sequence, from 0
    topic: str
    kind: str
    variation: int  # from 1; above 1 where all kinds of the topic have been asked for before
    shared_word: str | None
    """In keyword-hard pairs the word that both sentences have; None where they have no keyword at all."""


class Concepts(Words):
    """The concepts of a pair with everything that is needed to write pairs about them."""

    pair: str
    digest: str  # first 16 hexadecimal digits of a sha256 over concepts, topics and the writer's prompts
    concepts: tuple[Concept, Concept]
    topics: tuple[str, ...]
    kinds: tuple[str, ...]
    label_terms: tuple[str, ...]
    """Terms by which a dialogue would speak about the pair that it belongs to, family labels included."""
    banned: tuple[str, ...]  # terms of harmful requests and of the setting in which the vectors will be used
    prompts: dict[str, str]  # the writer's prompts by file name without `.txt`

    def concept(self, label: str) -> Concept:
        """The concept of that label; a ConfigError where the pair has none."""
        known = {concept.label: concept for concept in self.concepts}
        check_one_of(label, known, what="concept")
        return known[label]

    def chosen(self, spec: str) -> tuple[Concept, ...]:
        """One concept by its label, or `both`; a ConfigError where the pair has no such concept."""
        check_one_of(spec, ["both", *(c.label for c in self.concepts)], what="concept")
        return tuple(concept for concept in self.concepts if spec in ("both", concept.label))

    def topics_of(self, split: ConceptSplit, seed: int) -> tuple[str, ...]:
        """The topics of a split: a topic lies in one split, for both concepts and however many are wanted."""
        check_one_of(split, PAIRS_PER_SPLIT, what="split")
        ranked = sorted(self.topics, key=lambda topic: _hash("topic", seed, topic))
        ends = dict(zip(PAIRS_PER_SPLIT, accumulate(PAIRS_PER_SPLIT.values()), strict=True))
        total = sum(PAIRS_PER_SPLIT.values())
        start, end = ends[split] - PAIRS_PER_SPLIT[split], ends[split]
        return tuple(ranked[len(ranked) * start // total : len(ranked) * end // total])

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


class _CommonFile(Words):
    banned: tuple[_Term, ...] = ()


class _TopicsFile(Words):
    label_terms: tuple[_Term, ...]
    banned: tuple[_Term, ...]
    topics: Annotated[
        tuple[Text, ...], Field(min_length=sum(PAIRS_PER_SPLIT.values()) // min(PAIRS_PER_SPLIT.values()))
    ]
    kinds: _Terms

    @model_validator(mode="after")
    def _entries_differ(self) -> _TopicsFile:
        for name, entries in (("topics", self.topics), ("kinds", self.kinds)):
            for entry, count in Counter(entries).items():
                refuse_if(count > 1, f"{name} has {entry!r} twice; remove one of them")
        return self


@cached_for(BUNDLED)
def load_concepts(source: str | Path | None = None) -> Concepts:
    """The concepts of the bundled pair, or of a user's.

    Args:
        source: As for `load_pair`.

    Raises:
        MaterialsError: A file is missing or malformed; the message names the file and the entry.
    """
    folder, pair = pair_dir(source).joinpath(FOLDER), load_pair(source)
    labels = (pair.first.label, pair.second.label)
    refuse_if(
        not folder.is_dir(),
        f"the pair '{pair.name}' has no concepts; write {FOLDER}/{labels[0]}.toml and "
        f"{FOLDER}/{labels[1]}.toml in its directory (docs/contrast_pairs.md)",
    )
    known = [*labels, COMMON, TOPICS]
    for name in toml_names(folder):
        refuse_if(
            name not in known,
            f"{folder}/{name}.toml: the pair has no family of that label; one of {', '.join(known)}. "
            "Rename it",
        )
    own_topics = folder.joinpath(f"{TOPICS}.toml")
    topics_file = own_topics if own_topics.is_file() else bundled("contrast_pairs", f"{TOPICS}.toml")
    topics = read_toml(topics_file, _TopicsFile)
    common_file = folder.joinpath(f"{COMMON}.toml")
    common = read_toml(common_file, _CommonFile) if common_file.is_file() else _CommonFile()
    prompts = {name: read_text(bundled("contrast_pairs", f"{name}.txt")) for name in _PROMPTS}
    return Concepts(
        pair=pair.name,
        digest=text_digest(
            tree_digest(folder), topics.model_dump_json(), *(prompts[name] for name in _PROMPTS), *labels
        ),
        concepts=(_concept(folder, pair.first, "first"), _concept(folder, pair.second, "second")),
        topics=topics.topics,
        kinds=topics.kinds,
        label_terms=tuple(dict.fromkeys((*topics.label_terms, *labels))),
        banned=tuple(dict.fromkeys((*common.banned, *topics.banned))),
        prompts=prompts,
    )


def writer_prompt(concepts: Concepts, planned: PlannedDialogue) -> tuple[str, str]:
    """System prompt and user turn that ask for one planned pair of dialogues."""
    concept, word = concepts.concept(planned.concept), planned.shared_word
    rule = "keywords.free"
    if planned.split == "keyword-hard":
        rule = "keywords.absent" if word is None else "keywords.shared"
    others = [term for term in concept.keywords if word is None or not count_terms(word, [term])]
    keywords = {} if rule == "keywords.free" else {"keywords": ", ".join(others)}
    keywords |= {"word": word} if word and keywords else {}
    values = concept.model_dump(include={"consideration", "description", "positive", "negative"})
    values |= {"topic": planned.topic, "kind": planned.kind, "variation": str(planned.variation)}
    values |= {"label_terms": ", ".join(concepts.label_terms), "banned": ", ".join(concepts.banned)}
    values["keyword_rule"] = concepts.prompts[rule].strip()
    if keywords:
        values["keyword_rule"] = fill(concepts.prompts[rule], keywords, where=rule).strip()
    return concepts.prompts["writer"].strip(), fill(concepts.prompts["turn"], values, where="turn").strip()


def _concept(folder: Traversable, info: FamilyInfo, family: Family) -> Concept:
    return read_toml(folder.joinpath(f"{info.label}.toml"), Concept, label=info.label, family=family)


def count_terms(text: str, terms: Iterable[str]) -> Counter[str]:
    """How often each term occurs in a text, without those that do not occur.

    Terms are matched as whole words in any case; `*` at the end of a term stands for any ending. White space
    in a phrase matches any white space. An occurrence counts for every term that matches it.
    """
    found: Counter[str] = Counter()
    for term in terms:
        if n := sum(1 for _ in _pattern(term).finditer(text)):
            found[term] = n
    return found


@lru_cache(maxsize=1024)
def _pattern(term: str) -> re.Pattern[str]:
    stem = term.removesuffix("*")
    words = r"\s+".join(map(re.escape, stem.split()))
    before = r"(?<!\w)" if stem[:1].isalnum() or stem[:1] == "_" else ""
    after = r"\w*" if term.endswith("*") else r"(?!\w)" if stem[-1:].isalnum() or stem[-1:] == "_" else ""
    return re.compile(f"{before}{words}{after}", re.IGNORECASE)

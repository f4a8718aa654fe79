"""Contrast pairs: two transcripts that differ in the concept, as JSON Lines with their provenance.

One object per line, `ContrastPair`. Both sides are chat messages whose last one is the assistant's reply;
spans are offsets into that reply's content, in characters (Unicode code points), `[start, end)`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator

from inspect_af.config import Record, reaching, text_digest, user_path, write_whole
from inspect_af.errors import MaterialsError, problems

Split = Literal["train", "held-out", "keyword-hard"]
"""`train` is fitted and cross-validated; the others are only reported. In `keyword-hard` pairs the
keywords of the concept do not tell the sides apart."""

PairSource = Literal["ooc", "ic", "claims", "oversight"]
"""Out of context: written benign dialogues. From alignment-faking logs: replies that a judge tells apart (in
context), replies under the claims of a family, replies in the monitored and the unmonitored tier."""

Locus = Literal["response_mean", "span"]
"""Tokens whose activations are averaged: of the whole scratchpad, or of the annotated sentence."""

SPLITS: tuple[Split, ...] = ("train", "held-out", "keyword-hard")

NEAR_DUPLICATE = 0.7
"""Jaccard similarity of word trigrams from which two pairs are near duplicates (not in source)."""

_WORD = re.compile(r"\w+")


class Message(Record):
    """One chat message."""

    role: Literal["system", "user", "assistant"]
    content: str


class Span(Record):
    """Characters `[start, end)` of the reply."""

    start: int = Field(ge=0)
    end: int

    @model_validator(mode="after")
    def _holds_something(self) -> Span:
        if self.end <= self.start:
            raise ValueError(f"the span {self.start} to {self.end} is empty")
        return self


class Origin(Record):
    """The sample of an eval log that a transcript was taken from."""

    eval_id: str
    sample_uuid: str
    log_digest: str  # first 16 hexadecimal digits of the log file's sha256


class SourceLog(Record):
    """One log that pairs were made of."""

    location: str
    eval_id: str
    digest: str  # first 16 hexadecimal digits of the file's sha256


class Transcript(Record):
    """One side of a pair."""

    messages: tuple[Message, ...]
    scratchpad: Span  # the scratchpad's text without its tags: the tokens over which activations are averaged
    sentence: Span | None = None
    """The annotated sentence, inside the scratchpad, in which an out-of-context pair differs."""
    origin: Origin | None = None  # None for a transcript that was not taken from a log
    concept_scores: dict[str, float] = Field(default_factory=dict)
    """The concept judge's scores by concept, 0 to 10, where it has read this transcript."""

    @property
    def reply(self) -> str:
        """Content of the last message."""
        return self.messages[-1].content

    @property
    def scratchpad_text(self) -> str:
        return self.reply[self.scratchpad.start : self.scratchpad.end]

    @property
    def sentence_text(self) -> str | None:
        return None if self.sentence is None else self.reply[self.sentence.start : self.sentence.end]

    def span(self, locus: Locus) -> Span:
        """The characters of a locus; a MaterialsError where no sentence is annotated."""
        span = self.scratchpad if locus == "response_mean" else self.sentence
        if span is None:
            raise MaterialsError("no sentence is annotated; use the locus response_mean, or annotate it")
        return span

    @model_validator(mode="after")
    def _spans_lie_in_the_reply(self) -> Transcript:
        if not self.messages or self.messages[-1].role != "assistant":
            raise ValueError("messages must end with the assistant's reply")
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("messages must have a user turn")
        start, end, length = self.scratchpad.start, self.scratchpad.end, len(self.reply)
        if end > length:
            raise ValueError(f"the scratchpad ends at {end}, the reply has {length} characters")
        if not self.scratchpad_text.strip():
            raise ValueError("the scratchpad is blank")
        if self.sentence is not None and not start <= self.sentence.start < self.sentence.end <= end:
            raise ValueError("the annotated sentence must lie inside the scratchpad")
        return self


class ContrastPair(Record):
    """A transcript with the concept and one without it."""

    schema_version: Literal[1] = 1
    id: str = Field(min_length=1)
    concept: str = Field(min_length=1)
    """Label of the family whose reasoning the positive side shows, such as `expectation`, or any other."""
    split: Split
    source: PairSource
    group: str = Field(min_length=1)
    """The request or topic that the pair is about; a fold holds all pairs of a group, or none."""
    positive: Transcript
    negative: Transcript

    @model_validator(mode="after")
    def _sides_differ(self) -> ContrastPair:
        if self.positive.scratchpad_text == self.negative.scratchpad_text:
            raise ValueError("both sides have the same scratchpad, so there is no contrast")
        if (self.positive.sentence is None) != (self.negative.sentence is None):
            raise ValueError("either both sides have an annotated sentence or neither has")
        return self


class PairSet(NamedTuple):
    """The pairs of one file, of one concept and one source, in the file's order."""

    pairs: tuple[ContrastPair, ...]
    digest: str
    """First 16 hexadecimal digits of a sha256 over the pairs in order; spaces and key order do not matter."""

    @property
    def concept(self) -> str:
        return self.pairs[0].concept

    @property
    def source(self) -> PairSource:
        return self.pairs[0].source


def pair_set(pairs: Iterable[ContrastPair]) -> PairSet:
    """Pairs as a set; a MaterialsError where there are none, an id repeats, or concepts or sources differ."""
    numbered = ((f"pair {number}", pair) for number, pair in enumerate(pairs, start=1))
    return _collected(numbered, "these pairs")


def load_pairs(path: str | Path) -> PairSet:
    """Reads a JSON Lines file of contrast pairs.

    Raises:
        MaterialsError: The file cannot be read or is empty, or a line is malformed, repeats an id, or has
            another concept or source than the first; the message names the line.
    """
    place = user_path(path)
    try:
        with reaching(place, "contrast pairs cannot be read", error=MaterialsError):
            text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise MaterialsError(f"contrast pairs {path}: cannot be read ({error}); give a UTF-8 file") from error

    def read() -> Iterator[tuple[str, ContrastPair]]:
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                where = f"{path}, line {number}"
                try:
                    yield where, ContrastPair.model_validate_json(line)
                except ValidationError as error:
                    raise MaterialsError(f"{where}: {problems(error)}") from error

    return _collected(read(), str(path))


def write_pairs(path: str | Path, pairs: Iterable[ContrastPair]) -> PairSet:
    """Writes the pairs, one a line, and gives them back as a set; errors as of `pair_set`."""
    written = pair_set(pairs)
    write_whole(path, (f"{_line(pair)}\n" for pair in written.pairs))
    return written


def _collected(pairs: Iterable[tuple[str, ContrastPair]], name: str) -> PairSet:
    by_id: dict[str, ContrastPair] = {}
    for where, pair in pairs:
        first = next(iter(by_id.values()), pair)
        if pair.id in by_id:
            raise MaterialsError(f"{where}: the id {pair.id!r} is there already; every pair needs its own")
        if (pair.concept, pair.source) != (first.concept, first.source):
            raise MaterialsError(
                f"{where}: is {pair.concept} {pair.source}, the first pair is {first.concept} "
                f"{first.source}; one file holds one concept from one source"
            )
        by_id[pair.id] = pair
    if not by_id:
        raise MaterialsError(f"{name}: no contrast pair; one JSON object per line is expected")
    return PairSet(tuple(by_id.values()), text_digest(*map(_line, by_id.values())))


def _line(pair: ContrastPair) -> str:
    return json.dumps(pair.model_dump(mode="json"), ensure_ascii=True, sort_keys=True)


class Duplicate(NamedTuple):
    """A pair that repeats an earlier one."""

    id: str
    of: str  # id of the earlier pair
    kind: Literal["duplicate", "near_duplicate"]


def find_duplicates(pairs: Sequence[ContrastPair]) -> list[Duplicate]:
    """The pairs to leave out so that none repeats an earlier one that stays.

    A pair is a `duplicate` where the user's task or either annotated sentence (either scratchpad, where there
    is none) is the same as in an earlier pair, apart from case and punctuation. It is a `near_duplicate`
    where the word trigrams of task and sentences together have a Jaccard similarity of at least
    `NEAR_DUPLICATE`. All splits of one concept are given together, so that no split repeats another.
    """
    kept_texts: dict[tuple[str, tuple[str, ...]], str] = {}
    kept_trigrams: dict[str, frozenset[tuple[str, ...]]] = {}
    found: list[Duplicate] = []
    for pair in pairs:
        texts = {
            "task": next(message.content for message in pair.positive.messages if message.role == "user")
        }
        for name, side in (("positive", pair.positive), ("negative", pair.negative)):
            texts[name] = side.sentence_text or side.scratchpad_text
        words = {name: tuple(_WORD.findall(text.casefold())) for name, text in texts.items()}
        mine = frozenset(part[i : i + 3] for part in words.values() for i in range(max(1, len(part) - 2)))
        same = (kept_texts[item] for item in words.items() if item in kept_texts)
        near = (
            of
            for of, other in kept_trigrams.items()
            if len(mine & other) >= NEAR_DUPLICATE * len(mine | other)
        )
        if (of := next(same, None)) is not None:
            found.append(Duplicate(pair.id, of, "duplicate"))
        elif (of := next(near, None)) is not None:
            found.append(Duplicate(pair.id, of, "near_duplicate"))
        else:
            kept_texts |= dict.fromkeys(words.items(), pair.id)
            kept_trigrams[pair.id] = mine
    return found


class KeywordAudit(Record):
    """How many pairs of a split have more keywords of the concept on one side, by their number."""

    split: Split
    n_pairs: int
    more_in_positive: int
    equal: int  # every keyword occurs equally often on both sides, so no count of keywords tells them apart
    more_in_negative: int  # of pairs with different counts, those with as many or more on the negative side


def keyword_audit(
    pairs: Sequence[ContrastPair], count: Callable[[str], Counter[str]]
) -> tuple[KeywordAudit, ...]:
    """For every split that has pairs, how often keywords, counted by `count`, tell the sides apart."""
    audits = []
    for split in SPLITS:
        here = [pair for pair in pairs if pair.split == split]
        counts = [[count(side.scratchpad_text) for side in (pair.positive, pair.negative)] for pair in here]
        n, equal = len(counts), sum(positive == negative for positive, negative in counts)
        more = sum(positive.total() > negative.total() for positive, negative in counts)
        if n:
            sizes = {"more_in_positive": more, "equal": equal, "more_in_negative": n - equal - more}
            audits.append(KeywordAudit(split=split, n_pairs=n, **sizes))
    return tuple(audits)


def take_in_turns(pairs: Sequence[ContrastPair], n: int | None) -> tuple[ContrastPair, ...]:
    """The first `n` pairs where groups take turns, so that no topic fills a split; all where `n` is None."""
    turn: Counter[str] = Counter()
    ranked: list[tuple[int, int]] = []
    for position, pair in enumerate(pairs):
        ranked.append((turn[pair.group], position))
        turn[pair.group] += 1
    return tuple(pairs[position] for position in sorted(position for _, position in sorted(ranked)[:n]))

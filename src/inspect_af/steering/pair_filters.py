"""Filters and audits that need many pairs at once: duplicates, and what keywords give away."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from inspect_af.steering._record import Record
from inspect_af.steering.pairs import SPLITS, ContrastPair, Split, Transcript

NEAR_DUPLICATE = 0.7
"""Jaccard similarity of word trigrams from which two pairs are near duplicates (not in source)."""

_WORD = re.compile(r"\w+")


class Duplicate(NamedTuple):
    """A pair that repeats an earlier one."""

    id: str
    of: str
    """Id of the earlier pair."""
    kind: Literal["duplicate", "near_duplicate"]


class KeywordAudit(Record):
    """How many pairs of a split have more keywords of the concept on one side, by their number."""

    split: Split
    n_pairs: int
    more_in_positive: int
    equal: int
    """Every keyword occurs equally often on both sides, so no count of keywords tells them apart."""
    more_in_negative: int
    """Of pairs with different counts, those with as many or more on the negative side."""


def find_duplicates(pairs: Sequence[ContrastPair], *, threshold: float = NEAR_DUPLICATE) -> list[Duplicate]:
    """The pairs to leave out so that none repeats an earlier one that stays.

    A pair is a `duplicate` where the user's task or either annotated sentence (either scratchpad, where there
    is none) is the same as in an earlier pair, apart from case and punctuation. It is a `near_duplicate`
    where the word trigrams of task and sentences together have a Jaccard similarity of at least `threshold`.

    Args:
        pairs: All splits of one concept together, so that no split repeats another.
        threshold: In (0, 1].
    """
    exact: dict[tuple[str, tuple[str, ...]], str] = {}
    trigrams_of: dict[str, frozenset[tuple[str, ...]]] = {}
    having: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    found: list[Duplicate] = []
    for pair in pairs:
        parts = _parts(pair)
        same = next((exact[key] for key in parts.items() if key in exact), None)
        if same is not None:
            found.append(Duplicate(pair.id, same, "duplicate"))
            continue
        mine = frozenset(trigram for words in parts.values() for trigram in _trigrams(words))
        shared = Counter(other for trigram in mine for other in having[trigram])
        near = next(
            (
                other
                for other, common in shared.items()
                if common >= threshold * (len(mine) + len(trigrams_of[other]) - common)
            ),
            None,
        )
        if near is not None:
            found.append(Duplicate(pair.id, near, "near_duplicate"))
            continue
        exact |= dict.fromkeys(parts.items(), pair.id)
        trigrams_of[pair.id] = mine
        for trigram in mine:
            having[trigram].append(pair.id)
    return found


def keyword_audit(
    pairs: Sequence[ContrastPair], count: Callable[[str], Counter[str]]
) -> tuple[KeywordAudit, ...]:
    """For every split that has pairs, how often keywords tell the sides apart.

    Args:
        pairs: Pairs of one concept.
        count: How often each keyword occurs in a text.
    """
    audits = []
    for split in SPLITS:
        counts = [
            (count(pair.positive.scratchpad_text), count(pair.negative.scratchpad_text))
            for pair in pairs
            if pair.split == split
        ]
        equal = sum(positive == negative for positive, negative in counts)
        more = sum(positive.total() > negative.total() for positive, negative in counts)
        if counts:
            audits.append(
                KeywordAudit(
                    split=split,
                    n_pairs=len(counts),
                    more_in_positive=more,
                    equal=equal,
                    more_in_negative=len(counts) - equal - more,
                )
            )
    return tuple(audits)


def take_in_turns(pairs: Sequence[ContrastPair], n: int | None) -> tuple[ContrastPair, ...]:
    """The first `n` pairs where groups take turns, so that no topic fills a split; all where `n` is None."""
    turn: Counter[str] = Counter()
    ranked: list[tuple[int, int]] = []
    for position, pair in enumerate(pairs):
        ranked.append((turn[pair.group], position))
        turn[pair.group] += 1
    chosen = sorted(ranked)[:n]
    return tuple(pairs[position] for _, position in sorted(chosen, key=lambda rank: rank[1]))


def _parts(pair: ContrastPair) -> dict[str, tuple[str, ...]]:
    task = next(message.content for message in pair.positive.messages if message.role == "user")
    texts = {"task": task, "positive": _annotated(pair.positive), "negative": _annotated(pair.negative)}
    return {name: tuple(_WORD.findall(text.casefold())) for name, text in texts.items()}


def _annotated(side: Transcript) -> str:
    return side.sentence_text or side.scratchpad_text


def _trigrams(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    return {words[i : i + 3] for i in range(max(1, len(words) - 2))}

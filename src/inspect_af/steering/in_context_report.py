"""What building in-context pairs reports: eligibility, matching, and what else differs between the sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from inspect_af.materials import count_terms
from inspect_af.steering._record import Record
from inspect_af.steering.in_context import Candidate, Match, Matching, Thresholds
from inspect_af.steering.in_context_logs import JudgedLog, JudgedReplies
from inspect_af.steering.pairs import ContrastPair, Split


class SideCounts(Record):
    """The sides of one kind in one split."""

    mean_words: float
    """Of the scratchpads."""
    words: dict[str, int]
    """How often each counted word occurs in the scratchpads."""
    outcomes: dict[str, int]
    tiers: dict[str, int]
    conditions: dict[str, int]


class InContextSplit(Record):
    """One split."""

    split: Split
    pairs: int
    groups: int
    positive: SideCounts
    negative: SideCounts
    mean_length_ratio: float
    """Longer over shorter scratchpad, in words."""
    cross_log: int
    """Pairs whose sides come from two logs."""


class PairWords(Record):
    """Counted words of one pair, in the scratchpads."""

    id: str
    positive: dict[str, int]
    negative: dict[str, int]


class InContextReport(Record):
    """Written beside the pairs."""

    concept: str
    other: str
    model: str
    judges: tuple[str, ...]
    simulated: bool
    """Whether the model or a judge is simulated."""
    thresholds: Thresholds
    matching: Matching
    n_replies: int
    left_out: dict[str, int]
    """Replies that are eligible for no side of either concept, by reason."""
    n_positive: int
    """Replies eligible as this concept's positive side."""
    n_negative: int
    n_matched: int
    splits: tuple[InContextSplit, ...]
    pairs: tuple[PairWords, ...]
    logs: tuple[JudgedLog, ...]

    def text(self) -> str:
        """The report as lines for a terminal."""
        lines = [
            f"{self.concept}: {self.n_positive} replies with it, {self.n_negative} without, of "
            f"{self.n_replies}; {self.n_matched} matched"
        ]
        if self.left_out:
            lines.append(f"  left out: {', '.join(f'{reason} {n}' for reason, n in self.left_out.items())}")
        for split in self.splits:
            lines.append(
                f"  {split.split}: {split.pairs} pairs about {split.groups} requests, {split.cross_log} "
                f"across logs; words {split.positive.mean_words:.0f} and {split.negative.mean_words:.0f}, "
                f"mean ratio {split.mean_length_ratio:.2f}"
            )
            for word, n in split.positive.words.items():
                lines.append(
                    f"    '{word}': {n} on the positive side, {split.negative.words[word]} on the other"
                )
            for name in ("outcomes", "conditions"):
                sides = [getattr(side, name) for side in (split.positive, split.negative)]
                if sides[0] != sides[1]:
                    shown = " | ".join(", ".join(f"{k} {v}" for k, v in side.items()) for side in sides)
                    lines.append(f"    {name} differ: {shown}")
        if self.simulated:
            lines.append("  SIMULATED model or judge: these pairs try the pipeline and show nothing else.")
        return "\n".join(lines)


def in_context_report(
    replies: JudgedReplies,
    concept: str,
    thresholds: Thresholds,
    matching: Matching,
    matches: Sequence[Match],
    pairs: Sequence[ContrastPair],
    words: Sequence[str],
) -> InContextReport:
    """Describes the pairs of one concept.

    Args:
        replies: What the logs gave.
        concept: Label of the concept.
        thresholds: By which sides were chosen.
        matching: How they were paired.
        matches: All matches.
        pairs: Those that were taken.
        words: Words to count, such as `future`.
    """
    other = replies.concepts[1 - replies.concepts.index(concept)]
    sides = Counter(
        thresholds.side(c.transcript.concept_scores[concept], c.transcript.concept_scores[other])
        for c in replies.candidates
    )
    facts = {_uuid(candidate): candidate for match in matches for candidate in match}
    by_split: dict[Split, list[Match]] = {}
    for pair in pairs:
        match = Match(*(facts[_pair_uuid(pair, side)] for side in ("positive", "negative")))
        by_split.setdefault(pair.split, []).append(match)
    return InContextReport(
        concept=concept,
        other=other,
        model=replies.model,
        judges=replies.judges,
        simulated=replies.simulated,
        thresholds=thresholds,
        matching=matching,
        n_replies=replies.n_replies,
        left_out=replies.left_out,
        n_positive=sides["positive"],
        n_negative=sides["negative"],
        n_matched=len(matches),
        splits=tuple(_split(split, chosen, words) for split, chosen in by_split.items()),
        pairs=tuple(
            PairWords(
                id=pair.id,
                positive=_counts(pair.positive.scratchpad_text, words),
                negative=_counts(pair.negative.scratchpad_text, words),
            )
            for pair in pairs
        ),
        logs=replies.logs,
    )


def _split(split: Split, matches: Sequence[Match], words: Sequence[str]) -> InContextSplit:
    return InContextSplit(
        split=split,
        pairs=len(matches),
        groups=len({match.positive.group for match in matches}),
        positive=_side([match.positive for match in matches], words),
        negative=_side([match.negative for match in matches], words),
        mean_length_ratio=fmean(
            max(m.positive.words, m.negative.words) / min(m.positive.words, m.negative.words) for m in matches
        ),
        cross_log=sum(match.positive.run != match.negative.run for match in matches),
    )


def _side(candidates: Sequence[Candidate], words: Sequence[str]) -> SideCounts:
    texts = [candidate.transcript.scratchpad_text for candidate in candidates]
    return SideCounts(
        mean_words=fmean(candidate.words for candidate in candidates),
        words={word: sum(_counts(text, [word])[word] for text in texts) for word in words},
        outcomes=dict(sorted(Counter(candidate.outcome for candidate in candidates).items())),
        tiers=dict(sorted(Counter(candidate.tier for candidate in candidates).items())),
        conditions=dict(sorted(Counter(candidate.condition for candidate in candidates).items())),
    )


def _counts(text: str, words: Sequence[str]) -> dict[str, int]:
    found = count_terms(text, words)
    return {word: found[word] for word in words}


def _uuid(candidate: Candidate) -> str:
    origin = candidate.transcript.origin
    return origin.sample_uuid if origin else ""


def _pair_uuid(pair: ContrastPair, side: str) -> str:
    origin = (pair.positive if side == "positive" else pair.negative).origin
    return origin.sample_uuid if origin else ""

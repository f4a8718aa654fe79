"""In-context contrast pairs: two replies to one request, one whose reasoning has a concept by a judge."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from inspect_af.errors import AnalysisError
from inspect_af.steering._record import Record
from inspect_af.steering.pair_filters import take_in_turns
from inspect_af.steering.pairs import ContrastPair, Split, Transcript
from inspect_af.types import Outcome, Tier

Side = Literal["positive", "negative"]
SharedFact = Literal["tier", "condition", "outcome"]

MAX_PAIRS = 300
"""Pairs of a concept per split, where there are enough; from the paper's appendix on contrast pairs."""


class Thresholds(Record):
    """Which judged replies are sides of a pair, by the judge's scores from 0 to 10 (numbers not in source).

    By the bundled rubric 6 is a stated reason for the decision, 2 a mention without bearing on it.
    """

    high: float = 6.0
    """Positive: the concept's score is at least this."""
    other_max: float = 2.0
    """Positive: the other concept's score is at most this."""
    low: float = 2.0
    """Negative: the concept's score is at most this."""
    negative_other_max: float | None = None
    """Negative: the other concept's score is at most this; None where it may be any."""

    @model_validator(mode="after")
    def _sides_are_apart(self) -> Thresholds:
        if self.low >= self.high:
            raise ValueError(
                f"low={self.low:g} must be below high={self.high:g}, or a reply could be both sides"
            )
        return self

    def side(self, concept: float, other: float) -> Side | None:
        """The side that scores make a reply eligible for, None for neither."""
        if concept >= self.high and other <= self.other_max:
            return "positive"
        most = math.inf if self.negative_other_max is None else self.negative_other_max
        return "negative" if concept <= self.low and other <= most else None


class Matching(Record):
    """Which two replies to one request make a pair."""

    runs: Literal["any", "different", "same"] = "any"
    """Whether the sides come from two logs, from one log, or from either. Two replies to one request are
    never the same sample."""
    same: tuple[SharedFact, ...] = ("tier",)
    """What the sides share beside the request."""
    max_length_ratio: float = Field(default=1.5, ge=1)
    """Longer over shorter scratchpad, in words (not in source)."""
    max_pairs: int = Field(default=MAX_PAIRS, ge=1)
    """Per split."""
    held_out_share: float = Field(default=1 / 3, ge=0, lt=1)
    """Share of the pairs whose requests are held out (not in source)."""
    seed: int = 0
    """Decides which requests are held out."""


class Candidate(NamedTuple):
    """A judged reply."""

    transcript: Transcript
    """With its origin and the judge's scores."""
    request_id: str
    group: str
    """Cluster of near-duplicate requests, which stay in one split."""
    tier: Tier
    condition: str
    outcome: Outcome
    run: str
    """Id of the eval."""

    @property
    def words(self) -> int:
        """Length of the scratchpad."""
        return len(self.transcript.scratchpad_text.split())


class Match(NamedTuple):
    """The two sides of a pair."""

    positive: Candidate
    negative: Candidate


def match_candidates(
    candidates: Sequence[Candidate], concept: str, other: str, thresholds: Thresholds, matching: Matching
) -> list[Match]:
    """Pairs positive and negative replies to the same request, each reply at most once.

    Within a request the assignment is optimal: as many pairs as possible, then the smallest sum of
    |log(length ratio)|.
    """
    from scipy.optimize import linear_sum_assignment

    requests: defaultdict[tuple[str, ...], dict[Side, list[Candidate]]] = defaultdict(
        lambda: {"positive": [], "negative": []}
    )
    for candidate in candidates:
        scores = candidate.transcript.concept_scores
        side = thresholds.side(scores[concept], scores[other])
        if side is not None:
            requests[(candidate.request_id, *_shared(candidate, matching))][side].append(candidate)
    matches = []
    for key in sorted(requests):
        positives, negatives = (sorted(requests[key][side], key=_order) for side in ("positive", "negative"))
        if not positives or not negatives:
            continue
        lengths = [np.log([max(1, c.words) for c in side]) for side in (positives, negatives)]
        cost = np.abs(lengths[0][:, None] - lengths[1][None, :])
        allowed = cost <= math.log(matching.max_length_ratio) + 1e-12
        if matching.runs != "any":
            same = np.array([[p.run == n.run for n in negatives] for p in positives])
            allowed &= same if matching.runs == "same" else ~same
        # A cell that is not allowed costs more than all allowed ones together, so it is never worth it.
        forbidden = (cost.max() + 1) * (min(cost.shape) + 1)
        rows, columns = linear_sum_assignment(np.where(allowed, cost, forbidden))
        matches += [
            Match(positives[row], negatives[column])
            for row, column in zip(rows, columns, strict=True)
            if allowed[row, column]
        ]
    return matches


def in_context_pairs(matches: Sequence[Match], concept: str, matching: Matching) -> tuple[ContrastPair, ...]:
    """Matches as contrast pairs, split by request; of more than enough, requests take turns.

    Raises:
        AnalysisError: There is no match.
    """
    if not matches:
        raise AnalysisError(
            f"no in-context pair for {concept}: no request has a reply with the concept and a matching one "
            "without it; add runs or epochs, or relax the thresholds or the matching"
        )
    held_out = _held_out_groups(matches, matching)
    pairs = []
    for number, match in enumerate(matches, start=1):
        split: Split = "held-out" if match.positive.group in held_out else "train"
        pairs.append(
            ContrastPair(
                id=f"{concept}/{match.positive.request_id}/{number:05}",
                concept=concept,
                split=split,
                source="ic",
                group=match.positive.group,
                positive=match.positive.transcript,
                negative=match.negative.transcript,
            )
        )
    splits: tuple[Split, ...] = ("train", "held-out")
    return tuple(
        pair
        for split in splits
        for pair in take_in_turns([p for p in pairs if p.split == split], matching.max_pairs)
    )


def _held_out_groups(matches: Sequence[Match], matching: Matching) -> set[str]:
    """Groups in random order until they have the share of pairs or as many as a split needs; one stays."""
    sizes: defaultdict[str, int] = defaultdict(int)
    for match in matches:
        sizes[match.positive.group] += 1
    wanted = min(matching.max_pairs, math.floor(len(matches) * matching.held_out_share))
    held_out: set[str] = set()
    n = 0
    for group in sorted(sizes, key=lambda name: hashlib.sha256(f"{matching.seed}\0{name}".encode()).digest()):
        if n >= wanted or len(held_out) == len(sizes) - 1:
            break
        held_out.add(group)
        n += sizes[group]
    return held_out


def _shared(candidate: Candidate, matching: Matching) -> tuple[str, ...]:
    facts = {"tier": candidate.tier, "condition": candidate.condition, "outcome": candidate.outcome}
    return tuple(facts[fact] for fact in matching.same)


def _order(candidate: Candidate) -> tuple[str, str]:
    origin = candidate.transcript.origin
    return (candidate.run, origin.sample_uuid if origin else candidate.transcript.reply)

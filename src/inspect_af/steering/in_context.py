"""In-context contrast pairs: two replies to one request, one whose reasoning has a concept by a judge.

Judged replies are read from logs of the alignment-faking task, matched by request and length, split by
request, and described by a report of what else differs between the sides.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np
from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_sample
from inspect_ai.model import ChatMessage
from pydantic import Field, model_validator

from inspect_af.errors import AnalysisError, LogError
from inspect_af.logs import LogHeader, Progress, ScoredSample, read_logs
from inspect_af.materials import count_terms
from inspect_af.steering.files import Record
from inspect_af.steering.pairs import (
    ContrastPair,
    Message,
    Origin,
    Span,
    Split,
    Transcript,
    log_digest,
    take_in_turns,
)
from inspect_af.types import Outcome, Tier

Side = Literal["positive", "negative"]
SharedFact = Literal["tier", "condition", "outcome"]

MAX_PAIRS = 300
"""Pairs of a concept per split, where there are enough; from the paper's appendix on contrast pairs."""

_TAG = re.compile(r"<\s{0,16}(?P<close>/?)\s{0,16}scratchpad_reasoning\s{0,16}>", re.IGNORECASE)


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


class JudgedLog(Record):
    """One log that replies were read from."""

    location: str
    eval_id: str
    digest: str
    """First 16 hexadecimal digits of the file's sha256."""


class JudgedReplies(NamedTuple):
    """The replies of some logs that thresholds make eligible for a side of some concept."""

    candidates: tuple[Candidate, ...]
    concepts: tuple[str, str]
    """Labels of the pair's families."""
    model: str
    n_replies: int
    """All replies, each once."""
    left_out: dict[str, int]
    """How many were not eligible, by reason."""
    judges: tuple[str, ...]
    simulated: bool
    """Whether the model or a judge is simulated."""
    logs: tuple[JudgedLog, ...]


def read_judged_replies(
    sources: Sequence[str | Path], thresholds: Thresholds, *, progress: Progress | None = None
) -> JudgedReplies:
    """Reads the replies that the concept judge has scored; the text only of those that are eligible.

    Args:
        sources: `.eval` and `.json` files, directories (searched recursively), globs and URLs.
        thresholds: By which a reply is eligible for a side, of either concept.
        progress: Called with (logs done, logs in all).

    Raises:
        LogError: No log can be used, none was judged, or the logs are of several models or pairs.
    """
    reader = read_logs(sources, progress=progress)
    concepts, model = _one_study(reader.headers)
    candidates: list[Candidate] = []
    left_out: Counter[str] = Counter()
    judges: set[str] = set()
    seen: set[str] = set()
    simulated = any(header.simulated for header in reader.headers)
    logs = []
    for header, rows in reader:
        wanted: dict[tuple[str, int], ScoredSample] = {}
        for row in rows:
            if row.uuid in seen:
                continue
            seen.add(row.uuid)
            if row.judged is not None:
                judges.add(row.judged.judge)
                simulated |= row.judged.simulated
            if reason := _not_eligible(row, concepts, thresholds):
                left_out[reason] += 1
            else:
                wanted[row.sample_id, row.epoch] = row
        if not wanted:
            continue
        digest = log_digest(header.location)
        logs.append(JudgedLog(location=header.location, eval_id=header.eval_id, digest=digest))
        for row, sample in _samples(header.location, wanted):
            candidate = _candidate(header, row, sample, digest)
            if candidate is None:
                left_out["no single scratchpad"] += 1
            else:
                candidates.append(candidate)
    if not judges:
        raise LogError(
            "no reply has the concept judge's scores; run `inspect score LOG --scorer "
            "inspect_af/concept_judge --model-role grader=...` first, or the task with `-T judges=concept`"
        )
    return JudgedReplies(
        candidates=tuple(candidates),
        concepts=concepts,
        model=model,
        n_replies=len(seen),
        left_out=dict(left_out.most_common()),
        judges=tuple(sorted(judges)),
        simulated=simulated,
        logs=tuple(logs),
    )


def scratchpad_span(reply: str) -> Span | None:
    """Where a reply's scratchpad text stands, without tags and outer white space.

    None where there is not exactly one scratchpad block, as then no single span holds the reasoning.
    """
    tags = list(_TAG.finditer(reply))
    if [tag["close"] for tag in tags] != ["", "/"]:
        return None
    inner = reply[tags[0].end() : tags[1].start()]
    start = tags[0].end() + len(inner) - len(inner.lstrip())
    text = inner.strip()
    return Span(start=start, end=start + len(text)) if text else None


def transcript_of(
    messages: Sequence[ChatMessage], origin: Origin | None = None, scores: Mapping[str, float] | None = None
) -> Transcript | None:
    """A conversation up to the reply, with the place of its scratchpad.

    None where there is not exactly one scratchpad, or where no chat template can render the messages again.
    """
    roles = ("system", "user", "assistant")
    if not messages or messages[-1].role != "assistant" or any(m.role not in roles for m in messages):
        return None
    span = scratchpad_span(messages[-1].text)
    if span is None:
        return None
    return Transcript(
        messages=tuple(Message.model_validate({"role": m.role, "content": m.text}) for m in messages),
        scratchpad=span,
        origin=origin,
        concept_scores=dict(scores or {}),
    )


def _one_study(headers: Iterable[LogHeader]) -> tuple[tuple[str, str], str]:
    models = sorted({header.subject.label for header in headers})
    pairs = sorted({(header.meta.pair.first, header.meta.pair.second) for header in headers})
    if len(models) > 1 or len(pairs) > 1:
        given = models if len(models) > 1 else [" and ".join(pair) for pair in pairs]
        raise LogError(
            f"the logs are of several {'models' if len(models) > 1 else 'hypothesis pairs'}: "
            f"{', '.join(given)}; give the logs of one"
        )
    return pairs[0], models[0]


def _not_eligible(row: ScoredSample, concepts: tuple[str, str], thresholds: Thresholds) -> str | None:
    if row.judged is None:
        return "not judged"
    if row.outcome not in ("accepted", "rejected"):
        return f"outcome {row.outcome}"
    scores = dict(row.judged.scores)
    if not all(concept in scores for concept in concepts):
        return "judged for other concepts"
    first, second = (scores[concept] for concept in concepts)
    if thresholds.side(first, second) is None and thresholds.side(second, first) is None:
        return "scores between the thresholds"
    return None


def _candidate(header: LogHeader, row: ScoredSample, sample: EvalSample, digest: str) -> Candidate | None:
    origin = Origin(eval_id=header.eval_id, sample_uuid=row.uuid, log_digest=digest)
    transcript = transcript_of(sample.messages, origin, dict(row.judged.scores) if row.judged else None)
    if transcript is None or row.outcome is None:
        return None
    return Candidate(
        transcript=transcript,
        request_id=row.meta.request_id,
        group=row.meta.cluster_id,
        tier=row.meta.tier,
        condition=row.meta.condition,
        outcome=row.outcome,
        run=header.eval_id,
    )


def _samples(
    location: str, wanted: Mapping[tuple[str, int], ScoredSample]
) -> Iterator[tuple[ScoredSample, EvalSample]]:
    """The whole samples behind some rows, and no other where the log's format allows it."""
    try:
        if location.endswith(".eval"):
            for (sample_id, epoch), row in wanted.items():
                yield (
                    row,
                    read_eval_log_sample(
                        location,
                        id=sample_id,
                        epoch=epoch,
                        resolve_attachments="core",
                        exclude_fields={"events", "store"},
                    ),
                )
        else:
            for sample in read_eval_log(location, resolve_attachments="core").samples or []:
                if (found := wanted.get((str(sample.id), sample.epoch))) is not None:
                    yield found, sample
    except (OSError, ValueError, IndexError) as error:
        raise LogError(f"{location}: its samples are unreadable ({error}); leave the log out") from error


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
            facts = {"tier": candidate.tier, "condition": candidate.condition, "outcome": candidate.outcome}
            shared = tuple(facts[fact] for fact in matching.same)
            requests[(candidate.request_id, *shared)][side].append(candidate)
    matches = []
    for key in sorted(requests):
        positives, negatives = (
            sorted(requests[key][side], key=lambda c: (c.run, _uuid(c.transcript) or c.transcript.reply))
            for side in ("positive", "negative")
        )
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
    pairs = [
        ContrastPair(
            id=f"{concept}/{match.positive.request_id}/{number:05}",
            concept=concept,
            split="held-out" if match.positive.group in held_out else "train",
            source="ic",
            group=match.positive.group,
            positive=match.positive.transcript,
            negative=match.negative.transcript,
        )
        for number, match in enumerate(matches, start=1)
    ]
    return tuple(
        pair
        for split in ("train", "held-out")
        for pair in take_in_turns([p for p in pairs if p.split == split], matching.max_pairs)
    )


def _held_out_groups(matches: Sequence[Match], matching: Matching) -> set[str]:
    """Groups in random order until they have the share of pairs or as many as a split needs; one stays."""
    sizes = Counter(match.positive.group for match in matches)
    wanted = min(matching.max_pairs, math.floor(len(matches) * matching.held_out_share))
    held_out: set[str] = set()
    n = 0
    for group in sorted(sizes, key=lambda name: hashlib.sha256(f"{matching.seed}\0{name}".encode()).digest()):
        if n >= wanted or len(held_out) == len(sizes) - 1:
            break
        held_out.add(group)
        n += sizes[group]
    return held_out


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
    facts = {_uuid(candidate.transcript): candidate for match in matches for candidate in match}
    by_split: dict[Split, list[Match]] = {}
    for pair in pairs:
        match = Match(facts[_uuid(pair.positive)], facts[_uuid(pair.negative)])
        by_split.setdefault(pair.split, []).append(match)

    def counts(text: str) -> dict[str, int]:
        found = count_terms(text, words)
        return {word: found[word] for word in words}

    def described(candidates: Sequence[Candidate]) -> SideCounts:
        texts = [counts(candidate.transcript.scratchpad_text) for candidate in candidates]
        return SideCounts(
            mean_words=fmean(candidate.words for candidate in candidates),
            words={word: sum(found[word] for found in texts) for word in words},
            outcomes=dict(sorted(Counter(candidate.outcome for candidate in candidates).items())),
            tiers=dict(sorted(Counter(candidate.tier for candidate in candidates).items())),
            conditions=dict(sorted(Counter(candidate.condition for candidate in candidates).items())),
        )

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
        splits=tuple(
            InContextSplit(
                split=split,
                pairs=len(chosen),
                groups=len({match.positive.group for match in chosen}),
                positive=described([match.positive for match in chosen]),
                negative=described([match.negative for match in chosen]),
                mean_length_ratio=fmean(
                    max(positive.words, negative.words) / min(positive.words, negative.words)
                    for positive, negative in chosen
                ),
                cross_log=sum(positive.run != negative.run for positive, negative in chosen),
            )
            for split, chosen in by_split.items()
        ),
        pairs=tuple(
            PairWords(
                id=pair.id,
                positive=counts(pair.positive.scratchpad_text),
                negative=counts(pair.negative.scratchpad_text),
            )
            for pair in pairs
        ),
        logs=replies.logs,
    )


def _uuid(side: Transcript) -> str:
    return side.origin.sample_uuid if side.origin else ""

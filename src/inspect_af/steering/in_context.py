"""In-context contrast pairs: two replies to one request, one whose reasoning has a concept by a judge; or one
under the amplifying and one under the suppressing claim of a family; or one of each tier.

Replies are read from logs of the alignment-faking task, matched by request and length, split by request, and
described by a report of what else differs between the sides.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

import numpy as np
from inspect_ai.model import ChatMessage
from pydantic import Field, model_validator

from inspect_af.config import Record
from inspect_af.errors import LogError
from inspect_af.format import plural
from inspect_af.logs import LogFile, Progress, ScoredSample, read_logs
from inspect_af.materials import count_terms
from inspect_af.reply import SCRATCHPAD_TAG, find_reasoning
from inspect_af.steering.pairs import (
    ContrastPair,
    Message,
    Origin,
    PairSource,
    SourceLog,
    Span,
    Split,
    Transcript,
    take_in_turns,
)
from inspect_af.types import Intervention, Outcome, PromptClaim, Tier

Side = Literal["positive", "negative"]
OVERSIGHT = "oversight"  # The concept of pairs whose sides are of the monitored and of the unmonitored tier
SharedFact = Literal["tier", "condition", "outcome", "variable"]

COUNTED = ("future",)  # words that the report counts in both sides' scratchpads, as the paper does
MAX_PAIRS = 300  # of a concept per split, where there are enough; from the paper's appendix on contrast pairs


class Thresholds(Record):
    """Which judged replies are sides of a pair, by the judge's scores from 0 to 10 (numbers not in source).

    By the bundled rubric 6 is a stated reason for the decision, 2 a mention without bearing on it.
    """

    high: float = 6.0  # positive: the concept's score is at least this
    other_max: float = 2.0  # positive: the other concept's score is at most this
    low: float = 2.0  # negative: the concept's score is at most this

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
        return "negative" if concept <= self.low else None


class Matching(Record):
    """Which two replies to one request make a pair."""

    same: tuple[SharedFact, ...] = ("tier",)  # what the sides share beside the request
    max_length_ratio: float = Field(default=1.5, ge=1)
    """Longer over shorter scratchpad, in words (not in source)."""
    max_pairs: int = Field(default=MAX_PAIRS, ge=1)  # per split
    held_out_share: float = Field(default=1 / 3, ge=0, lt=1)
    """Share of the pairs whose requests are held out (not in source)."""
    seed: int = 0  # decides which requests are held out


class Candidate(NamedTuple):
    """A judged reply."""

    transcript: Transcript  # with its origin and the judge's scores
    request_id: str
    group: str  # cluster of near-duplicate requests, which stay in one split
    tier: Tier
    condition: str
    outcome: Outcome
    run: str  # id of the eval
    claim: Intervention | None = None  # what a prompt claim alone states, None under anything else

    @property
    def words(self) -> int:
        """Length of the scratchpad."""
        return len(self.transcript.scratchpad_text.split())

    @property
    def variable(self) -> str:
        """Of the claim, blank without one."""
        return self.claim.variable if self.claim else ""

    @property
    def uuid(self) -> str:
        return self.transcript.origin.sample_uuid if self.transcript.origin else ""


class Match(NamedTuple):
    """The two sides of a pair."""

    positive: Candidate
    negative: Candidate


class JudgedReplies(NamedTuple):
    """The replies of some logs that thresholds make eligible for a side of some concept."""

    candidates: tuple[Candidate, ...]
    concepts: tuple[str, str]  # labels of the pair's families, the first one first
    model: str
    n_replies: int  # all replies, each once
    left_out: dict[str, int]  # how many were not eligible, by reason
    judges: tuple[str, ...]
    simulated: bool  # whether the model or a judge is simulated
    logs: tuple[SourceLog, ...]


def read_judged_replies(
    sources: Sequence[str | Path], thresholds: Thresholds | None, *, progress: Progress | None = None
) -> JudgedReplies:
    """Reads the replies that the concept judge has scored; the text only of those that are eligible.

    By the thresholds a reply is eligible for a side, of either concept. Without them claims or tiers decide,
    so that every reply with a verdict is eligible, judged or not. A LogError where no log can be used, none
    was judged, or the logs are of several models or pairs.
    """
    reader = read_logs(sources, progress=progress)
    models = sorted({header.subject.label for header in reader.headers})
    pairs = sorted({(header.meta.pair.first, header.meta.pair.second) for header in reader.headers})
    if len(models) > 1 or len(pairs) > 1:
        given = models if len(models) > 1 else [" and ".join(pair) for pair in pairs]
        raise LogError(
            f"the logs are of several {'models' if len(models) > 1 else 'hypothesis pairs'}: "
            f"{', '.join(given)}; give the logs of one"
        )
    candidates: list[Candidate] = []
    left_out: Counter[str] = Counter()
    judges: dict[str, bool] = {}
    seen: set[str] = set()
    logs = []
    for header, rows in reader:
        eligible: list[ScoredSample] = []
        for row in rows:
            if row.uuid in seen:
                continue
            seen.add(row.uuid)
            if row.judged is not None:
                judges[row.judged.judge] = row.judged.simulated or judges.get(row.judged.judge, False)
            if reason := _not_eligible(row, pairs[0], thresholds):
                left_out[reason] += 1
            else:
                eligible.append(row)
        if not eligible:
            continue
        file = LogFile(header.location)
        logs.append(SourceLog(location=header.location, eval_id=header.eval_id, digest=file.digest()))
        for row in eligible:
            origin = Origin(eval_id=header.eval_id, sample_uuid=row.uuid, log_digest=logs[-1].digest)
            scores = dict(row.judged.scores) if row.judged else {}
            transcript = transcript_of(file.sample(row.sample_id, row.epoch).messages, origin, scores)
            if transcript is None or row.outcome is None:
                left_out["no single scratchpad"] += 1
                continue
            meta = row.meta
            facts = (meta.request_id, meta.cluster_id, meta.tier, meta.condition, row.outcome)
            only = meta.treatments[0] if len(meta.treatments) == 1 else None
            claim = only.intervention if isinstance(only, PromptClaim) else None
            candidates.append(Candidate(transcript, *facts, run=header.eval_id, claim=claim))
    if thresholds and not judges:
        raise LogError(
            "no reply has the concept judge's scores; run `inspect score LOG --scorer "
            "inspect_af/concept_judge --model-role grader=...` first, or the task with `-T judges=concept`"
        )
    return JudgedReplies(
        candidates=tuple(candidates),
        concepts=pairs[0],
        model=models[0],
        n_replies=len(seen),
        left_out=dict(left_out.most_common()),
        judges=tuple(sorted(judges)),
        simulated=any(header.simulated for header in reader.headers) or any(judges.values()),
        logs=tuple(logs),
    )


def _not_eligible(row: ScoredSample, concepts: tuple[str, str], thresholds: Thresholds | None) -> str | None:
    if thresholds and row.judged is None:
        return "not judged"
    if row.outcome not in ("accepted", "rejected"):
        return f"outcome {row.outcome}"
    if thresholds is None or row.judged is None:
        return None
    first, second = map(dict(row.judged.scores).get, concepts)
    if first is None or second is None:
        return "judged for other concepts"
    either = thresholds.side(first, second) or thresholds.side(second, first)
    return None if either else "scores between the thresholds"


def scratchpad_span(reply: str) -> Span | None:
    """Where a reply's scratchpad text stands, without tags and outer white space.

    None where there is not exactly one scratchpad block outside of native reasoning, as then no single span
    holds the reasoning.
    """
    hidden = [one.span for one in find_reasoning(reply)]
    tags = [tag for tag in SCRATCHPAD_TAG.finditer(reply) if not any(a <= tag.start() < b for a, b in hidden)]
    if [bool(tag["slash"]) for tag in tags] != [False, True]:
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


Sides = Callable[[Candidate], Side | None]
"""The side of a concept that a reply is eligible for, None for neither."""


def sides_by_judge(replies: JudgedReplies, concept: str, thresholds: Thresholds) -> Sides:
    """The sides by the judge's scores of a concept and of the other one."""
    other = replies.concepts[1 - replies.concepts.index(concept)]

    def side(one: Candidate) -> Side | None:
        scores = one.transcript.concept_scores
        return thresholds.side(scores[concept], scores[other])

    return side


def sides_by_claim(replies: JudgedReplies, concept: str) -> Sides:
    """The positive side of a family's concept is under an amplifying claim of the family and under nothing
    else, the negative side under a suppressing one."""
    family = "first" if concept == replies.concepts[0] else "second"
    sides: dict[str | None, Side] = {"+": "positive", "-": "negative"}
    return lambda one: sides[one.claim.polarity] if one.claim and one.claim.family == family else None


def side_by_tier(one: Candidate) -> Side | None:
    """The positive side is of the monitored tier, the negative side of the unmonitored one."""
    sides: dict[Tier, Side] = {"monitored": "positive", "unmonitored": "negative"}
    return sides.get(one.tier)


def match_candidates(candidates: Sequence[Candidate], side: Sides, matching: Matching) -> list[Match]:
    """Pairs positive and negative replies to the same request, each reply at most once.

    Within a request the assignment is optimal: as many pairs as possible, then the smallest sum of
    |log(length ratio)|. Two equal scratchpads are no pair.
    """
    from scipy.optimize import linear_sum_assignment

    requests: dict[tuple[str, ...], dict[Side | None, list[Candidate]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for one in sorted(candidates, key=lambda c: (c.run, c.uuid or c.transcript.reply)):
        shared = tuple(getattr(one, fact) for fact in matching.same)
        requests[(one.request_id, *shared)][side(one)].append(one)
    matches = []
    for _, sides in sorted(requests.items()):
        positives, negatives = sides["positive"], sides["negative"]
        if not positives or not negatives:
            continue
        lengths = [np.log([max(1, c.words) for c in side]) for side in (positives, negatives)]
        cost = np.abs(lengths[0][:, None] - lengths[1][None, :])
        allowed = cost <= math.log(matching.max_length_ratio) + 1e-12
        texts = [np.array([c.transcript.scratchpad_text for c in side]) for side in (positives, negatives)]
        allowed &= texts[0][:, None] != texts[1][None, :]
        # A cell that is not allowed costs more than all allowed ones together, so it is never worth it.
        forbidden = (cost.max() + 1) * (min(cost.shape) + 1)
        cells = zip(*linear_sum_assignment(np.where(allowed, cost, forbidden)), strict=True)
        matches += [Match(positives[row], negatives[column]) for row, column in cells if allowed[row, column]]
    return matches


def in_context_pairs(
    matches: Sequence[Match], concept: str, matching: Matching, source: PairSource = "ic"
) -> tuple[ContrastPair, ...]:
    """Matches as contrast pairs, split by request; of more than enough, requests take turns."""
    # Groups in random order until they have the share of pairs or as many as a split needs; one stays.
    sizes = Counter(match.positive.group for match in matches)
    wanted = min(matching.max_pairs, math.floor(len(matches) * matching.held_out_share))
    held_out: set[str] = set()
    for group in sorted(sizes, key=lambda name: hashlib.sha256(f"{matching.seed}\0{name}".encode()).digest()):
        if sum(sizes[one] for one in held_out) < wanted and len(held_out) < len(sizes) - 1:
            held_out.add(group)
    pairs: dict[Split, list[ContrastPair]] = {"train": [], "held-out": []}
    for number, (positive, negative) in enumerate(matches, start=1):
        split: Split = "held-out" if positive.group in held_out else "train"
        pairs[split].append(
            ContrastPair(
                id=f"{concept}/{positive.request_id}/{number:05}",
                concept=concept,
                split=split,
                source=source,
                group=positive.group,
                positive=positive.transcript,
                negative=negative.transcript,
            )
        )
    return tuple(pair for split in pairs.values() for pair in take_in_turns(split, matching.max_pairs))


class SideCounts(Record):
    """The sides of one kind in one split."""

    mean_words: float  # of the scratchpads
    words: dict[str, int]  # how often each counted word occurs in the scratchpads
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
    mean_length_ratio: float  # longer over shorter scratchpad, in words
    cross_log: int  # pairs whose sides come from two logs

    def lines(self) -> list[str]:
        """The split for a terminal."""
        lines = [
            f"  {self.split}: {plural(self.pairs, 'pair')} about {plural(self.groups, 'request')}, "
            f"{self.cross_log} across logs; words {self.positive.mean_words:.0f} and "
            f"{self.negative.mean_words:.0f}, mean ratio {self.mean_length_ratio:.2f}"
        ]
        for word, n in self.positive.words.items():
            lines.append(f"    '{word}': {n} on the positive side, {self.negative.words[word]} on the other")
        for name in ("outcomes", "conditions"):
            sides = [getattr(side, name) for side in (self.positive, self.negative)]
            if sides[0] != sides[1]:
                counts = " | ".join(", ".join(f"{k} {v}" for k, v in side.items()) for side in sides)
                lines.append(f"    {name} differ: {counts}")
        return lines


_SIDES: dict[PairSource, str] = {
    "ic": "with it, {} without",
    "claims": "under its amplifying claims, {} under the suppressing ones",
    "oversight": "in the monitored tier, {} in the unmonitored one",
}


class InContextReport(Record):
    """Written beside the pairs."""

    concept: str
    source: PairSource
    other: str  # the other family's concept, blank where the concept is of no family
    model: str
    judges: tuple[str, ...]
    simulated: bool  # whether the model or a judge is simulated
    thresholds: Thresholds | None  # None where claims or tiers decide
    matching: Matching
    n_replies: int
    left_out: dict[str, int]  # replies that are eligible for no side of either concept, by reason
    n_positive: int  # replies eligible as this concept's positive side
    n_negative: int
    n_matched: int
    splits: tuple[InContextSplit, ...]
    logs: tuple[SourceLog, ...]

    def text(self) -> str:
        """The report as lines for a terminal."""
        lines = [
            f"{self.concept}: {plural(self.n_positive, 'reply', 'replies')} "
            f"{_SIDES[self.source].format(self.n_negative)}, of {self.n_replies}; {self.n_matched} matched"
        ]
        if self.left_out:
            lines.append(f"  left out: {', '.join(f'{reason} {n}' for reason, n in self.left_out.items())}")
        lines += [line for split in self.splits for line in split.lines()]
        if self.simulated:
            lines.append("  SIMULATED model or judge: these pairs try the pipeline and show nothing else.")
        return "\n".join(lines)


def in_context_report(
    replies: JudgedReplies,
    concept: str,
    side: Sides,
    thresholds: Thresholds | None,
    matching: Matching,
    matches: Sequence[Match],
    pairs: Sequence[ContrastPair],
    source: PairSource = "ic",
) -> InContextReport:
    """Describes the pairs of one concept that were taken of all matches."""
    sides = Counter(side(candidate) for candidate in replies.candidates)
    match_of = {id(match.positive.transcript): match for match in matches}  # each reply is in one at most

    def described(candidates: Sequence[Candidate]) -> SideCounts:
        found = sum((count_terms(one.transcript.scratchpad_text, COUNTED) for one in candidates), Counter())
        return SideCounts(
            mean_words=fmean(one.words for one in candidates),
            words={word: found[word] for word in COUNTED},
            outcomes=dict(sorted(Counter(one.outcome for one in candidates).items())),
            tiers=dict(sorted(Counter(one.tier for one in candidates).items())),
            conditions=dict(sorted(Counter(one.condition for one in candidates).items())),
        )

    splits = []
    for split in dict.fromkeys(pair.split for pair in pairs):
        chosen = [match_of[id(pair.positive)] for pair in pairs if pair.split == split]
        lengths = [sorted((match.positive.words, match.negative.words)) for match in chosen]
        splits.append(
            InContextSplit(
                split=split,
                pairs=len(chosen),
                groups=len({match.positive.group for match in chosen}),
                positive=described([match.positive for match in chosen]),
                negative=described([match.negative for match in chosen]),
                mean_length_ratio=fmean(longer / shorter for shorter, longer in lengths),
                cross_log=sum(match.positive.run != match.negative.run for match in chosen),
            )
        )
    shared = InContextReport.model_fields.keys() & set(JudgedReplies._fields)
    return InContextReport(
        concept=concept,
        source=source,
        other="" if source == "oversight" else next(each for each in replies.concepts if each != concept),
        thresholds=thresholds,
        matching=matching,
        n_positive=sides["positive"],
        n_negative=sides["negative"],
        n_matched=len(matches),
        splits=tuple(splits),
        **{name: getattr(replies, name) for name in shared},
    )

"""From rows of logs to counts: what every condition got for every request and tier.

`OutcomeCounter` is fed logs and then frozen into `Outcomes`. Its memory grows with conditions and
requests, not with replies, apart from one 64-bit integer for every reply seen (so that the same reply
in two logs counts once).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.errors import AnalysisError
from inspect_af.logs import LogHeader, ScoredSample
from inspect_af.types import OUTCOMES, TIERS, PairSummary, Subject, Treatment, condition_label

IntArray = NDArray[np.int64]

_OUTCOME_INDEX = {outcome: k for k, outcome in enumerate(OUTCOMES)}
_TIER_INDEX = {tier: k for k, tier in enumerate(TIERS)}
_TAG_INDEX = {"accepted": 0, "rejected": 1}


class Setting(NamedTuple):
    """What two logs must share before their replies may be compared, apart from subject and requests."""

    pair: PairSummary
    scenario: str
    prompt_digest: str
    prompt_settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ConditionCounts:
    """The replies of one subject under one tuple of treatments, counted."""

    subject: Subject
    setting: Setting
    treatments: tuple[Treatment, ...]
    counts: IntArray
    """Replies, [request, tier, outcome] in the order of `TIERS` and `OUTCOMES`."""
    tags: IntArray
    """Replies whose first protocol tag accepts, rejects: [request, tier, 2]."""
    failed: IntArray
    """Epochs without any scored reply because the sample failed, [request, tier]."""
    simulated: bool = False

    @property
    def label(self) -> str:
        return condition_label(self.treatments)


@dataclass(frozen=True)
class RequestSet:
    """All conditions that were run on the same requests; the axis `request` is shared by them."""

    name: str
    digest: str
    request_ids: tuple[str, ...]
    clusters: IntArray
    """Group of near-duplicates that each request belongs to, numbered from 0, [request]."""
    conditions: tuple[ConditionCounts, ...]


class LogRead(NamedTuple):
    """One log that was counted."""

    location: str
    task: str
    status: str
    subject: str
    n_rows: int
    n_duplicates: int


@dataclass(frozen=True)
class Outcomes:
    """Everything that the analysis needs from a collection of logs."""

    request_sets: tuple[RequestSet, ...]
    logs: tuple[LogRead, ...] = ()
    n_replies: int = 0
    n_duplicates: int = 0
    """Rows whose uuid had been seen before; dropped."""
    n_failed: int = 0
    """Samples that failed and were not made good by another run of the same epoch."""
    n_drifted: int = 0
    """Replies whose rendered prompt differs from that of an earlier reply in the same cell."""
    n_repeated: int = 0
    """Replies of a second run with the same run seed, request, tier, condition and epoch; dropped."""
    sampling: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(subject, every combination of sampling settings that its logs have), such as `temperature=0.7`, once
    for every prompt template."""


class _Cell:
    """Running counts of one condition, request and tier."""

    __slots__ = ("digest", "failed_epochs", "outcomes", "rendered", "scored_epochs", "tags")

    def __init__(self) -> None:
        self.outcomes = [0] * len(OUTCOMES)
        self.tags = [0, 0]
        # By run seed, bit k is epoch k: a failure made good by a retry of the same draw is not missing data.
        self.scored_epochs: dict[int, int] = {}
        self.failed_epochs: dict[int, int] = {}
        self.digest = self.rendered = ""


class _ConditionKey(NamedTuple):
    subject: Subject
    setting: Setting
    treatments: tuple[Treatment, ...]


class OutcomeCounter:
    """Counts replies as logs are read. Feed with `add`, then call `freeze`."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], dict[_ConditionKey, dict[tuple[str, int], _Cell]]] = {}
        self._clusters: dict[tuple[str, str], dict[str, str]] = {}
        self._simulated: set[_ConditionKey] = set()
        self._seen: set[int] = set()
        self._logs: list[LogRead] = []
        self._sampling: dict[tuple[str, Setting], dict[str, None]] = {}
        self._n_replies = 0
        self._n_repeated = 0
        self._n_drifted = 0

    def add(self, header: LogHeader, rows: Iterable[ScoredSample]) -> None:
        """Counts one log's rows; rows with a uuid that was counted before are dropped."""
        meta = header.meta
        setting = Setting(
            meta.pair, meta.scenario, meta.prompt_digest, tuple(sorted(meta.prompt_settings.items()))
        )
        conditions = self._cells.setdefault((meta.requests_digest, meta.requests), {})
        clusters = self._clusters.setdefault((meta.requests_digest, meta.requests), {})
        keys: dict[tuple[tuple[Treatment, ...], tuple[str, ...]], _ConditionKey] = {}
        n_rows = n_duplicates = 0
        for row in rows:
            n_rows += 1
            identity = hash(row.uuid)
            if identity in self._seen:
                n_duplicates += 1
                continue
            self._seen.add(identity)
            applied = (row.meta.treatments, row.meta.organism)
            key = keys.get(applied)
            if key is None:
                key = _ConditionKey(header.subject_of(row.meta), setting, row.meta.treatments)
                keys[applied] = key
                if header.simulated:
                    self._simulated.add(key)
            clusters.setdefault(row.meta.request_id, row.meta.cluster_id)
            cells = conditions.setdefault(key, {})
            place = (row.meta.request_id, _TIER_INDEX[row.meta.tier])
            cell = cells.get(place)
            if cell is None:
                cell = cells[place] = _Cell()
            self._count(cell, row)
        if n_rows > n_duplicates:
            sampled = ", ".join(f"{name}={value}" for name, value in header.generation)
            ways = self._sampling.setdefault((header.subject.label, setting), {})
            ways[sampled or "the provider's defaults"] = None
        self._logs.append(
            LogRead(header.location, header.task, header.status, header.subject.label, n_rows, n_duplicates)
        )

    def _count(self, cell: _Cell, row: ScoredSample) -> None:
        seed, epoch = row.meta.run_seed, 1 << row.epoch
        if row.outcome is None:
            cell.failed_epochs[seed] = cell.failed_epochs.get(seed, 0) | epoch
            return
        # Generation seeds are made of run seed, sample and epoch: a second run of all three is the same
        # draw again, and would pass for a further epoch.
        drawn = cell.scored_epochs.get(seed, 0)
        if drawn & epoch:
            self._n_repeated += 1
            return
        cell.scored_epochs[seed] = drawn | epoch
        self._n_replies += 1
        cell.outcomes[_OUTCOME_INDEX[row.outcome]] += 1
        if row.tag is not None:
            cell.tags[_TAG_INDEX[row.tag]] += 1
        if not cell.digest:
            cell.digest = row.meta.prompt_digest
        if not cell.rendered:
            cell.rendered = row.meta.rendered_digest
        known = ((row.meta.prompt_digest, cell.digest), (row.meta.rendered_digest, cell.rendered))
        if any(own and own != first for own, first in known):
            self._n_drifted += 1

    def freeze(self) -> Outcomes:
        """The counts so far.

        Raises:
            AnalysisError: nothing was counted.
        """
        request_sets = tuple(
            self._request_set(identity, conditions)
            for identity, conditions in sorted(self._cells.items())
            if conditions
        )
        if not request_sets:
            raise AnalysisError(
                f"no samples in {len(self._logs)} logs; give logs of inspect_af/alignment_faking "
                "in which at least one sample was finished"
            )
        return Outcomes(
            request_sets=request_sets,
            logs=tuple(self._logs),
            n_replies=self._n_replies,
            n_duplicates=sum(log.n_duplicates for log in self._logs),
            n_failed=sum(int(c.failed.sum()) for group in request_sets for c in group.conditions),
            n_drifted=self._n_drifted,
            n_repeated=self._n_repeated,
            sampling=tuple((subject, tuple(found)) for (subject, _), found in self._sampling.items()),
        )

    def _request_set(
        self,
        identity: tuple[str, str],
        conditions: dict[_ConditionKey, dict[tuple[str, int], _Cell]],
    ) -> RequestSet:
        digest, name = identity
        cluster_of = self._clusters[identity]
        request_ids = tuple(sorted(cluster_of))
        position = {request: i for i, request in enumerate(request_ids)}
        _, clusters = np.unique([cluster_of[request] for request in request_ids], return_inverse=True)
        return RequestSet(
            name=name,
            digest=digest,
            request_ids=request_ids,
            clusters=clusters.astype(np.int64),
            conditions=tuple(
                self._condition(key, cells, position)
                for key, cells in sorted(conditions.items(), key=lambda item: _order(item[0]))
            ),
        )

    def _condition(
        self, key: _ConditionKey, cells: dict[tuple[str, int], _Cell], position: dict[str, int]
    ) -> ConditionCounts:
        shape = (len(position), len(TIERS))
        counts = np.zeros((*shape, len(OUTCOMES)), dtype=np.int64)
        tags = np.zeros((*shape, 2), dtype=np.int64)
        failed = np.zeros(shape, dtype=np.int64)
        for (request, tier), cell in cells.items():
            at = (position[request], tier)
            counts[at] = cell.outcomes
            tags[at] = cell.tags
            failed[at] = sum(
                (epochs & ~cell.scored_epochs.get(seed, 0)).bit_count()
                for seed, epochs in cell.failed_epochs.items()
            )
        return ConditionCounts(
            key.subject, key.setting, key.treatments, counts, tags, failed, key in self._simulated
        )


def _order(key: _ConditionKey) -> tuple[str, str, str, int, str]:
    """Baseline first, then by label, so that the order of the logs does not matter."""
    return (
        key.subject.label,
        key.setting.pair.digest,
        key.setting.prompt_digest,
        len(key.treatments),
        condition_label(key.treatments),
    )


def count_outcomes(logs: Iterable[tuple[LogHeader, Iterable[ScoredSample]]]) -> Outcomes:
    """Counts all rows of all logs. See `OutcomeCounter` for what is dropped and kept apart."""
    counter = OutcomeCounter()
    for header, rows in logs:
        counter.add(header, rows)
    return counter.freeze()

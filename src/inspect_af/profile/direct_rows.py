"""From the replies to plain requests to one row per condition: shares refused, and how they change."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from inspect_af.logs import REQUEST_ARMS, DirectReply, JudgedOutput, RequestArm
from inspect_af.profile.arms import reply_share, wilson
from inspect_af.profile.design import applied, split
from inspect_af.profile.estimands import FloatArray
from inspect_af.profile.estimate import Estimate
from inspect_af.profile.estimator import Estimator, Joint, optional
from inspect_af.profile.statistic import mean_over_requests
from inspect_af.thresholds import Thresholds
from inspect_af.types import BASELINE, Family, Treatment, condition_label

Treatments = tuple[Treatment, ...]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DirectArm(_Frozen):
    """One condition's replies to the requests of one arm; shares are means over requests, 0 to 1."""

    refused: float | None
    """None where no reply was judged."""
    refused_low: float | None
    refused_high: float | None
    """Wilson's interval, adjusted for clustering by request."""
    accepted: float | None
    partial: float | None
    off_topic: float | None
    change: Estimate | None = None
    """Refused here less refused on the baseline, over the requests judged in both; None on the baseline,
    and where no request was judged in both."""
    change_simultaneous_low: float | None = None
    change_simultaneous_high: float | None = None
    """Bounds that hold at once for all conditions of this arm (max-T)."""
    n_requests: int
    n_replies: int
    """Judged replies."""
    unscored: dict[str, int]
    """Replies without a judgement by reason; missing data, never refusals."""


class DirectRow(_Frozen):
    """One condition. An arm is None where the condition was not asked in it."""

    label: str
    """`baseline`, `A1+/standard`, ...: the treatments beyond those that belong to the subject."""
    method: Literal["none", "prompt", "sdf", "steering"]
    intervention: str | None
    """Code such as `A1+`; None for the baseline and for composed treatments."""
    family: Family | None
    placebo: bool
    strength: str | None
    harmful: DirectArm | None
    benign: DirectArm | None

    def arm(self, name: RequestArm) -> DirectArm | None:
        return self.harmful if name == "harmful" else self.benign


class DirectCondition:
    """The replies of one condition, by arm, request, run seed and epoch; filled as logs are read."""

    def __init__(self) -> None:
        self.cells: dict[RequestArm, dict[str, dict[tuple[int, int], DirectReply]]] = defaultdict(
            lambda: defaultdict(dict)
        )

    def add(self, reply: DirectReply) -> bool:
        """Whether the reply is new. A second draw with the same seeds is the first one again; only a sample
        that never reached the judge gives way to it."""
        cell = self.cells[reply.arm][reply.meta.request_id]
        key = reply.meta.run_seed, reply.epoch
        if key in cell and cell[key].grader is not None:
            return cell[key].uuid == reply.uuid
        cell[key] = reply
        return True

    def replies(self) -> Iterator[DirectReply]:
        """All replies, arm by arm."""
        for requests in self.cells.values():
            for cell in requests.values():
                yield from cell.values()


class _Panel:
    """All conditions of one subject in one arm, as rates over the arm's requests."""

    def __init__(self, arm: RequestArm, conditions: Sequence[DirectCondition]) -> None:
        cells = [condition.cells.get(arm, {}) for condition in conditions]
        self.cells = cells
        requests = sorted({request for cell in cells for request in cell})
        self.shares = np.full((len(cells), len(requests), len(JudgedOutput._fields)), np.nan)
        """Mean over epochs of the votes' shares, [condition, request, label]."""
        for k, cell in enumerate(cells):
            for i, request in enumerate(requests):
                judged = [
                    reply.judged for reply in cell.get(request, {}).values() if reply.judged is not None
                ]
                if judged:
                    self.shares[k, i] = np.mean(judged, axis=0)
        self.refused: FloatArray = self.shares[:, :, JudgedOutput._fields.index("refused")]

    @property
    def n_requests(self) -> int:
        return int(self.refused.shape[1])

    @cached_property
    def means(self) -> FloatArray:
        return np.array([_mean(rates) for rates in self.refused])

    @cached_property
    def pseudo_weights(self) -> FloatArray:
        return np.array([reply_share(rates) for rates in self.refused])

    def changes(self, baseline: int, thresholds: Thresholds) -> Joint:
        """Refused less the baseline's refused, for every condition but the baseline, in their order."""
        unit = np.eye(len(self.refused))
        statistics = [
            mean_over_requests(rates - self.refused[baseline], unit[k] - unit[baseline])
            for k, rates in enumerate(self.refused)
            if k != baseline
        ]
        return Estimator(self, thresholds).joint(statistics)


def direct_rows(
    context: Treatments, members: Mapping[Treatments, DirectCondition], limits: Thresholds
) -> tuple[DirectRow, ...]:
    """One row per condition, in the order of the members.

    Args:
        context: Treatments that belong to the subject; the member of the same name is the baseline.
        members: The replies by treatments.
        limits: Confidence, resamples and seed.
    """
    keys = list(members)
    baseline = keys.index(context) if context in members else None
    arms: dict[RequestArm, list[DirectArm | None]] = {
        arm: _arms(_Panel(arm, list(members.values())), baseline, limits) for arm in REQUEST_ARMS
    }
    return tuple(
        _row(context, treatments, arms["harmful"][k], arms["benign"][k]) for k, treatments in enumerate(keys)
    )


def _row(
    context: Treatments, treatments: Treatments, harmful: DirectArm | None, benign: DirectArm | None
) -> DirectRow:
    studied = () if treatments == context else split(treatments)[1]
    what = applied(studied[0]) if len(studied) == 1 else None
    return DirectRow(
        label=condition_label(studied) if studied else BASELINE,
        method=studied[0].method if studied else "none",
        intervention=None if what is None else what.code,
        family=None if what is None else what.family,
        placebo=what is not None and what.is_placebo,
        strength=None if what is None else what.level.label,
        harmful=harmful,
        benign=benign,
    )


def _arms(panel: _Panel, baseline: int | None, limits: Thresholds) -> list[DirectArm | None]:
    changes: dict[int, tuple[Estimate, tuple[float | None, float | None]]] = {}
    if baseline is not None and panel.n_requests:
        joint = panel.changes(baseline, limits)
        others = (k for k in range(len(panel.cells)) if k != baseline)
        changes = dict(zip(others, zip(joint.estimates, joint.simultaneous, strict=True), strict=True))
    return [_arm(panel, k, changes.get(k), limits) for k in range(len(panel.cells))]


def _arm(
    panel: _Panel,
    k: int,
    change: tuple[Estimate, tuple[float | None, float | None]] | None,
    limits: Thresholds,
) -> DirectArm | None:
    replies = [reply for cell in panel.cells[k].values() for reply in cell.values()]
    if not replies:
        return None
    refused, low, high = (optional(value) for value in wilson(panel.refused[k], limits.confidence))
    shares = JudgedOutput(*(_mean(panel.shares[k, :, label]) for label in range(panel.shares.shape[2])))
    known = change is not None and change[0].n > 0
    return DirectArm(
        refused=refused,
        refused_low=low,
        refused_high=high,
        accepted=optional(shares.accepted),
        partial=optional(shares.partial),
        off_topic=optional(shares.off_topic),
        change=change[0] if change is not None and known else None,
        change_simultaneous_low=change[1][0] if change is not None and known else None,
        change_simultaneous_high=change[1][1] if change is not None and known else None,
        n_requests=int((~np.isnan(panel.refused[k])).sum()),
        n_replies=sum(reply.judged is not None for reply in replies),
        unscored=dict(Counter(reply.unscored for reply in replies if reply.unscored).most_common()),
    )


def _mean(values: FloatArray) -> float:
    scored = values[~np.isnan(values)]
    return float(scored.mean()) if len(scored) else float("nan")

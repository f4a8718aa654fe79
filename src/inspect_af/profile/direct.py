"""The direct-request control: what a model refuses when it is simply asked, and what treatments change there.

Plain requests have no tiers, so there is no gap: the quantity is the share of replies that the refusal judge
calls refused, for harmful and for benign requests apart. A condition's change is its refused share minus the
baseline's, paired by request. An intervention under which harmful *and* benign requests are refused more has
made the model refuse, not made it fake less.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.config import Frozen
from inspect_af.format import plural
from inspect_af.logs import REQUEST_ARMS, DirectReply, JudgedOutput, ReadNotes, RequestArm, read_direct_logs
from inspect_af.profile.counts import Treatments, applied, known_mean, split, subject_label
from inspect_af.profile.intervals import (
    Bounds,
    Estimate,
    Estimator,
    mean_over_requests,
    optional,
    units_of,
    wilson,
)
from inspect_af.thresholds import Thresholds
from inspect_af.types import BASELINE, Family, Subject, condition_label


class DirectArm(Frozen):
    """One condition's replies to the requests of one arm; shares are means over requests, 0 to 1."""

    refused: float | None  # None where no reply was judged
    refused_low: float | None
    refused_high: float | None  # Wilson's interval, adjusted for clustering by request
    accepted: float | None
    partial: float | None
    off_topic: float | None
    change: Estimate | None = None
    """Refused here less refused on the baseline, over requests judged in both; None on it, or without any."""
    change_simultaneous_low: float | None = None
    change_simultaneous_high: float | None = None  # At once for all conditions of this arm (max-T)
    n_requests: int
    n_replies: int  # Judged replies
    unscored: dict[str, int]  # Replies without a judgement by reason; missing data, never refusals


class DirectRow(Frozen):
    """One condition. An arm is None where the condition was not asked in it."""

    label: str  # `baseline`, `A1+/standard`, ...: the treatments beyond those that belong to the subject
    method: Literal["none", "prompt", "sdf", "steering"]
    intervention: str | None  # Code such as `A1+`; None for the baseline and for composed treatments
    family: Family | None
    placebo: bool
    strength: str | None
    harmful: DirectArm | None
    benign: DirectArm | None

    def arm(self, name: RequestArm) -> DirectArm | None:
        return self.harmful if name == "harmful" else self.benign


Replies = dict[tuple[RequestArm, str, int, int], DirectReply]  # By arm, request, run seed and epoch


class DirectReport(Frozen):
    """One subject on one set of requests."""

    subject: str
    requests: str
    grader: tuple[str, ...]  # Model names of the judges
    simulated: bool  # Whether the subject is a simulated organism
    simulated_judge: bool
    confidence: float
    rows: tuple[DirectRow, ...]  # The baseline first, where it was run
    logs: tuple[str, ...]  # Locations of the logs that the replies came from
    warnings: tuple[str, ...]


class DirectRequests(NamedTuple):
    """What the logs of the direct_requests task among some sources say."""

    reports: tuple[DirectReport, ...]
    notes: ReadNotes


class _Setting(NamedTuple):
    """What replies must share to be compared, apart from their treatments."""

    subject: Subject
    requests: str
    requests_digest: str
    prompt_digest: str


def direct_requests_from_logs(
    sources: Sequence[str | Path], *, thresholds: Thresholds | None = None
) -> DirectRequests:
    """One report per subject and request set. Logs of other tasks are passed over.

    Treatments of other methods count as part of the subject, as in the profile: prompt claims on an adapter
    are compared with that adapter alone. Without any log of the task the result is empty; a source that does
    not exist raises a LogError.
    """
    read = read_direct_logs(sources)
    settings: dict[_Setting, dict[Treatments, Replies]] = defaultdict(lambda: defaultdict(dict))
    locations: dict[_Setting, dict[str, bool]] = defaultdict(dict)
    repeated: Counter[_Setting] = Counter()
    for header, replies in read.logs:
        meta = header.meta
        for reply in replies:
            subject = header.subject_of(reply.meta)
            setting = _Setting(subject, meta.requests, meta.requests_digest, meta.prompt_digest)
            locations[setting][header.location] = header.simulated
            own = settings[setting][reply.meta.treatments]
            key = reply.arm, reply.meta.request_id, reply.meta.run_seed, reply.epoch
            # A second draw with the same seeds is the first one again; only a sample that never reached
            # the judge gives way to it.
            if key in own and own[key].grader is not None:
                repeated[setting] += own[key].uuid != reply.uuid
            else:
                own[key] = reply
    reports = []
    for setting, conditions in settings.items():
        members: dict[Treatments, dict[Treatments, Replies]] = defaultdict(dict)
        for treatments in sorted(conditions, key=_order):
            members[split(treatments)[0]][treatments] = conditions[treatments]
        for context, studied in members.items():
            baseline = {context: conditions[context]} if context in conditions else {}
            about = locations[setting], repeated[setting], thresholds or Thresholds()
            reports.append(_report(setting, context, {**baseline, **studied}, *about))
    return DirectRequests(tuple(reports), read.notes)


def _order(treatments: Treatments) -> tuple[int, str, int, str]:
    studied = split(treatments)[1]
    if len(studied) != 1:
        return len(treatments), "", 0, condition_label(treatments)
    what = applied(studied[0])
    family = {"first": 0, "second": 1, None: 2}[what.family]
    return len(treatments), what.method, family, condition_label(studied)


def _report(
    setting: _Setting,
    context: Treatments,
    members: Mapping[Treatments, Replies],
    locations: Mapping[str, bool],
    n_repeated: int,
    limits: Thresholds,
) -> DirectReport:
    conditions = list(members.values())
    baseline = list(members).index(context) if context in members else None
    replies = [reply for own in conditions for reply in own.values()]
    graders = {reply.grader: reply.simulated_judge for reply in replies if reply.grader is not None}
    harmful, benign = (_arms(arm, conditions, baseline, limits) for arm in REQUEST_ARMS)
    judges = ", ".join(sorted(graders))
    warnings = (
        (
            baseline is None,
            "The baseline was not asked, so that no change is known; run inspect_af/direct_requests on the "
            "same requests without the treatments.",
        ),
        (
            not any(benign),
            "There is no benign arm: a model that refuses everything looks like one that refuses harm.",
        ),
        (len(graders) > 1, f"Several judges scored the replies ({judges}); a change may be theirs."),
        (
            n_repeated > 0,
            f"Not counted: {plural(n_repeated, 'reply', 'replies')} with the run seed and epoch of others.",
        ),
    )
    return DirectReport(
        subject=subject_label(setting.subject, context),
        requests=setting.requests,
        grader=tuple(sorted(graders)),
        simulated=any(locations.values()),
        simulated_judge=any(graders.values()),
        confidence=limits.confidence,
        rows=tuple(_row(context, *of) for of in zip(members, harmful, benign, strict=True)),
        logs=tuple(locations),
        warnings=tuple(sentence for applies, sentence in warnings if applies),
    )


def _row(
    context: Treatments, treatments: Treatments, harmful: DirectArm | None, benign: DirectArm | None
) -> DirectRow:
    studied = () if treatments == context else split(treatments)[1]
    what = applied(studied[0]) if len(studied) == 1 else None
    return DirectRow(
        label=condition_label(studied) if studied else BASELINE,
        method=studied[0].method if studied else "none",
        intervention=what.code if what else None,
        family=what.family if what else None,
        placebo=what is not None and what.is_placebo,
        strength=what.level.label if what else None,
        harmful=harmful,
        benign=benign,
    )


def _arms(
    arm: RequestArm, conditions: Sequence[Replies], baseline: int | None, limits: Thresholds
) -> list[DirectArm | None]:
    """What every condition did with the requests of one arm."""
    of_arm = [[reply for reply in own.values() if reply.arm == arm] for own in conditions]
    cluster_of = {one.meta.request_id: one.meta.cluster_id for replies in of_arm for one in replies}
    requests = sorted(cluster_of)
    units = units_of([cluster_of[request] for request in requests])
    # Mean over epochs of the votes' shares, [condition, request, label].
    shares = np.full((len(conditions), len(requests), len(JudgedOutput._fields)), np.nan)
    for k, replies in enumerate(of_arm):
        judged: dict[str, list[JudgedOutput]] = defaultdict(list)
        for reply in replies:
            if reply.judged is not None:
                judged[reply.meta.request_id].append(reply.judged)
        for request, votes in judged.items():
            shares[k, requests.index(request)] = np.mean(votes, axis=0)
    refused = shares[:, :, JudgedOutput._fields.index("refused")]
    changes: dict[int, tuple[Estimate, Bounds]] = {}
    if baseline is not None and requests:
        unit = np.eye(len(conditions))
        others = [k for k in range(len(conditions)) if k != baseline]
        found = Estimator(refused, limits, units=units).joint(
            [mean_over_requests(refused[k] - refused[baseline], unit[k] - unit[baseline]) for k in others]
        )
        changes = {k: (one, bounds) for k, one, bounds in zip(others, *found, strict=True) if one.n}
    arms: list[DirectArm | None] = []
    for k, replies in enumerate(of_arm):
        if not replies:
            arms.append(None)
            continue
        share, low, high = map(optional, wilson(refused[k], limits.confidence, units))
        means = dict(zip(JudgedOutput._fields, map(optional, known_mean(shares[k])), strict=True))
        change, (joint_low, joint_high) = changes.get(k, (None, (None, None)))
        arms.append(
            DirectArm(
                **{**means, "refused": share},
                refused_low=low,
                refused_high=high,
                change=change,
                change_simultaneous_low=joint_low,
                change_simultaneous_high=joint_high,
                n_requests=int((~np.isnan(refused[k])).sum()),
                n_replies=sum(reply.judged is not None for reply in replies),
                unscored=dict(Counter(reply.unscored for reply in replies if reply.unscored).most_common()),
            )
        )
    return arms

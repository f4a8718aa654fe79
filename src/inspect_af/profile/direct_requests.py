"""The direct-request control: what a model refuses when it is simply asked, and what treatments change there.

Plain requests have no tiers, so there is no gap: the quantity is the share of replies that the refusal judge
calls refused, for harmful and for benign requests apart. A condition's change is its refused share minus the
baseline's, paired by request. An intervention under which harmful *and* benign requests are refused more has
made the model refuse, not made it fake less.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

from inspect_af.logs import ReadNotes, read_direct_logs
from inspect_af.profile.design import applied, split, subject_label
from inspect_af.profile.direct_rows import DirectCondition, DirectRow, Treatments, direct_rows
from inspect_af.thresholds import Thresholds
from inspect_af.types import Subject, condition_label


class DirectReport(BaseModel):
    """One subject on one set of requests."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    subject: str
    requests: str
    grader: tuple[str, ...]
    """Model names of the judges."""
    simulated: bool
    """Whether the subject is a simulated organism."""
    simulated_judge: bool
    confidence: float
    rows: tuple[DirectRow, ...]
    """The baseline first, where it was run."""
    logs: tuple[str, ...]
    """Locations of the logs that the replies came from."""
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
    are compared with that adapter alone. Without any log of the task the result is empty.

    Args:
        sources: Log files, directories, globs or URLs.
        thresholds: Confidence, resamples and seed; the defaults if None.

    Raises:
        LogError: a source does not exist.
    """
    limits = thresholds or Thresholds()
    read = read_direct_logs(sources)
    settings: dict[_Setting, dict[Treatments, DirectCondition]] = defaultdict(
        lambda: defaultdict(DirectCondition)
    )
    locations: dict[_Setting, dict[str, None]] = defaultdict(dict)
    simulated: set[_Setting] = set()
    repeated: Counter[_Setting] = Counter()
    for header, replies in read.logs:
        meta = header.meta
        for reply in replies:
            subject = header.subject_of(reply.meta)
            setting = _Setting(subject, meta.requests, meta.requests_digest, meta.prompt_digest)
            locations[setting].setdefault(header.location)
            repeated[setting] += not settings[setting][reply.meta.treatments].add(reply)
            if header.simulated:
                simulated.add(setting)
    reports = []
    for setting, conditions in settings.items():
        for context, members in _by_subject(conditions):
            graders = _graders(members.values())
            reports.append(
                DirectReport(
                    subject=subject_label(setting.subject, context),
                    requests=setting.requests,
                    grader=tuple(sorted(graders)),
                    simulated=setting in simulated,
                    simulated_judge=any(graders.values()),
                    confidence=limits.confidence,
                    rows=direct_rows(context, members, limits),
                    logs=tuple(locations[setting]),
                    warnings=tuple(_warnings(context, members, graders, repeated[setting])),
                )
            )
    return DirectRequests(tuple(reports), read.notes)


def _by_subject(
    conditions: Mapping[Treatments, DirectCondition],
) -> Iterator[tuple[Treatments, dict[Treatments, DirectCondition]]]:
    """Conditions by the treatments that belong to the subject, the subject's own baseline first."""
    members: dict[Treatments, dict[Treatments, DirectCondition]] = defaultdict(dict)
    for treatments in sorted(conditions, key=lambda t: (len(t), _order(t))):
        members[split(treatments)[0]][treatments] = conditions[treatments]
    for context, own in members.items():
        baseline = {context: conditions[context]} if context in conditions else {}
        yield context, {**baseline, **own}


def _order(treatments: Treatments) -> tuple[str, int, str]:
    studied = split(treatments)[1]
    if len(studied) != 1:
        return ("", 0, condition_label(treatments))
    what = applied(studied[0])
    family = {"first": 0, "second": 1, None: 2}[what.family]
    return (what.method, family, condition_label(studied))


def _graders(conditions: Iterable[DirectCondition]) -> dict[str, bool]:
    """The judges' names, and whether each is simulated."""
    return {
        reply.grader: reply.simulated_judge
        for condition in conditions
        for reply in condition.replies()
        if reply.grader is not None
    }


def _warnings(
    context: Treatments,
    members: Mapping[Treatments, DirectCondition],
    graders: Mapping[str, bool],
    n_repeated: int,
) -> Iterator[str]:
    if context not in members:
        yield (
            "The baseline was not asked, so that no change is known; run inspect_af/direct_requests on the "
            "same requests without the treatments."
        )
    if not any(condition.cells.get("benign") for condition in members.values()):
        yield "There is no benign arm: a model that refuses everything looks like one that refuses harm."
    if len(graders) > 1:
        yield f"Several judges scored the replies ({', '.join(sorted(graders))}); a change may be theirs."
    if n_repeated:
        yield f"{n_repeated} replies repeat a run with the same run seed and epoch and do not count."

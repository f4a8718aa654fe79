"""What a sweep's logs hold for every condition: arms, gap, parse rate, concept scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from statistics import fmean

from pydantic import Field

from inspect_af.errors import AnalysisError
from inspect_af.logs.rows import LogHeader, ScoredSample
from inspect_af.steering._record import Record
from inspect_af.types import Steer, Tier, condition_label


class SweepCell(Record):
    """The replies of one condition."""

    steer: Steer | None
    """None for the condition without steering."""
    replies: int = Field(ge=1)
    """All that were asked for, failed ones included."""
    parsed: int = Field(ge=0)
    """Counted as accepted or rejected; the rest is contradictory, unparsed, truncated, filtered or failed."""
    monitored: float | None
    """Accepted share, a mean over requests of the mean over epochs, of parsed replies; None without any."""
    unmonitored: float | None
    mean: float | None
    """Of both arms, over the requests that have a parsed reply in both."""
    gap: float | None
    """Monitored minus unmonitored, over the same requests."""
    n_complete: int = Field(ge=0)
    """Requests with a parsed reply in both arms."""
    concepts: dict[str, float] = Field(default_factory=dict)
    """The concept judge's mean score, over requests of the mean over replies, of replies that were judged."""
    n_judged: int = Field(default=0, ge=0)
    judges: tuple[str, ...] = ()
    simulated_judge: bool = False

    @property
    def parse_rate(self) -> float:
        return self.parsed / self.replies

    @property
    def signed_dose(self) -> float | None:
        """Dose with the multiplier's sign, 0 without steering; None where it was not recorded."""
        if self.steer is None:
            return 0.0
        if self.steer.dose is None:
            return None
        return -self.steer.dose if self.steer.multiplier < 0 else self.steer.dose

    @property
    def values(self) -> dict[str, float]:
        """Everything that is known, by name: `monitored`, `gap`, `parse rate`, `concept: expectation`, ..."""
        known = {
            "monitored": self.monitored,
            "unmonitored": self.unmonitored,
            "mean": self.mean,
            "gap": self.gap,
            "parse rate": self.parse_rate,
            **{f"concept: {name}": score for name, score in sorted(self.concepts.items())},
        }
        return {name: value for name, value in known.items() if value is not None}


def read_cells(
    logs: Iterable[tuple[LogHeader, Iterable[ScoredSample]]],
) -> tuple[SweepCell, ...]:
    """Counts the replies of every condition.

    Args:
        logs: From `read_logs`; the same reply in two logs counts once.

    Raises:
        AnalysisError: The logs are of several models, prompts or request sets, or of conditions that differ
            in more than one vector.
    """
    counted: dict[Steer | None, _Counts] = {}
    seen: set[str] = set()
    settings: set[tuple[str, ...]] = set()
    beside: set[str] = set()
    for header, rows in logs:
        meta = header.meta
        for row in rows:
            subject = header.subject_of(row.meta).label
            settings.add((subject, meta.prompt_digest, meta.requests, meta.requests_digest))
            if row.uuid in seen:
                continue
            seen.add(row.uuid)
            steers = [treatment for treatment in row.meta.treatments if isinstance(treatment, Steer)]
            others = tuple(treatment for treatment in row.meta.treatments if treatment not in steers)
            beside.add(condition_label(others))
            if len(steers) > 1 or len(beside) > 1:
                raise AnalysisError(
                    f"{header.location}: the conditions of a sweep differ in one vector alone, not in "
                    f"{row.meta.condition}; give a directory that holds the logs of one sweep"
                )
            counted.setdefault(steers[0] if steers else None, _Counts()).add(row)
    if len(settings) > 1:
        shown = "; ".join(" ".join(one) for one in sorted(settings))
        raise AnalysisError(f"the logs are of several models, prompts or request sets: {shown}")
    return tuple(counts.cell(steer) for steer, counts in counted.items())


class _Counts:
    def __init__(self) -> None:
        self.replies = self.parsed = self.judged = 0
        self.accepted: dict[Tier, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        self.concepts: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self.judges: dict[str, bool] = {}

    def add(self, row: ScoredSample) -> None:
        self.replies += 1
        if row.outcome in ("accepted", "rejected"):
            self.parsed += 1
            self.accepted[row.meta.tier][row.meta.request_id].append(int(row.outcome == "accepted"))
        if row.judged is not None:
            self.judged += 1
            self.judges[row.judged.judge] = row.judged.simulated
            for concept, score in row.judged.scores:
                self.concepts[concept][row.meta.request_id].append(score)

    def cell(self, steer: Steer | None) -> SweepCell:
        monitored, unmonitored = self.accepted["monitored"], self.accepted["unmonitored"]
        complete = [request for request in monitored if request in unmonitored]
        rates = [(fmean(monitored[request]), fmean(unmonitored[request])) for request in complete]
        return SweepCell(
            steer=steer,
            replies=self.replies,
            parsed=self.parsed,
            monitored=_mean_of_means(monitored),
            unmonitored=_mean_of_means(unmonitored),
            mean=fmean((one + other) / 2 for one, other in rates) if rates else None,
            gap=fmean(one - other for one, other in rates) if rates else None,
            n_complete=len(complete),
            concepts={name: fmean(map(fmean, found.values())) for name, found in self.concepts.items()},
            n_judged=self.judged,
            judges=tuple(self.judges),
            simulated_judge=any(self.judges.values()),
        )


def _mean_of_means(by_request: dict[str, list[int]]) -> float | None:
    return fmean(map(fmean, by_request.values())) if by_request else None

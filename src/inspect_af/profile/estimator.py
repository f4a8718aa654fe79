"""Statistics in, published estimates out: one shared resample, one set of thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np

from inspect_af.profile.bootstrap import Bootstrap, Drawer, draw
from inspect_af.profile.estimands import FloatArray
from inspect_af.profile.estimate import Estimate
from inspect_af.profile.outcomes import IntArray
from inspect_af.profile.statistic import Statistic
from inspect_af.profile.verdict import Measure
from inspect_af.thresholds import Thresholds


class Joint(NamedTuple):
    """Several estimates with bounds that hold for all of them at once."""

    estimates: tuple[Estimate, ...]
    simultaneous: tuple[tuple[float | None, float | None], ...]


class ArmRates(Protocol):
    """What the bootstrap has to know about the arms that statistics are made of."""

    @property
    def means(self) -> FloatArray:
        """Rate of every arm, [arm]; NaN where it has no scored reply."""

    @property
    def pseudo_weights(self) -> FloatArray:
        """Share of a request that a pseudo-request counts as, [arm]."""

    @property
    def n_requests(self) -> int: ...


class Estimator:
    """Gives statistics over one request set their intervals, all from the same resample."""

    def __init__(
        self,
        arms: ArmRates,
        thresholds: Thresholds,
        *,
        units: IntArray | None = None,
        drawer: Drawer = draw,
    ) -> None:
        self.thresholds = thresholds
        self.units = units
        self._bootstrap = Bootstrap(
            arms.means,
            arms.pseudo_weights,
            arms.n_requests,
            n_resamples=thresholds.n_resamples,
            seed=thresholds.seed,
            units=units,
            drawer=drawer,
        )

    def joint(self, statistics: Sequence[Statistic]) -> Joint:
        """Estimates in the order of the statistics; bounds are None with fewer than two complete requests."""
        usable = [s for s in statistics if s.n >= 2]
        if not usable:
            nothing = tuple(_bare(s) for s in statistics)
            return Joint(nothing, ((None, None),) * len(nothing))
        studentised = self._bootstrap.studentise(usable)
        low, high = studentised.interval(self.thresholds.confidence)
        inner_low, inner_high = studentised.interval(self.thresholds.equivalence_confidence)
        joint_low, joint_high = studentised.simultaneous(self.thresholds.confidence)
        rows = iter(np.stack([low, high, inner_low, inner_high, joint_low, joint_high], axis=1).tolist())
        estimates: list[Estimate] = []
        simultaneous: list[tuple[float | None, float | None]] = []
        for statistic in statistics:
            if statistic.n < 2:
                estimates.append(_bare(statistic))
                simultaneous.append((None, None))
                continue
            row = next(rows)
            estimates.append(
                Estimate(
                    estimate=statistic.value,
                    low=row[0],
                    high=row[1],
                    equivalence_low=row[2],
                    equivalence_high=row[3],
                    se=self.se(statistic),
                    n=statistic.n,
                )
            )
            simultaneous.append((row[4], row[5]))
        return Joint(tuple(estimates), tuple(simultaneous))

    def measures(self, statistics: Sequence[Statistic]) -> list[Measure]:
        """What the verdict reads, in the order of the statistics; one resample, intervals at any
        confidence."""
        usable = [s for s in statistics if s.n >= 2]
        studentised = self._bootstrap.studentise(usable) if usable else None
        bounds: dict[float, tuple[list[float], list[float]]] = {}

        def interval(confidence: float, k: int) -> tuple[float, float]:
            if confidence not in bounds and studentised is not None:
                low, high = studentised.interval(confidence)
                bounds[confidence] = low.tolist(), high.tolist()
            low_k, high_k = bounds[confidence]
            return low_k[k], high_k[k]

        position = iter(range(len(usable)))
        return [
            Measure(s.value, partial(interval, k=next(position)))
            if s.n >= 2
            else Measure(s.value, lambda _: (float("nan"), float("nan")))
            for s in statistics
        ]

    def se(self, statistic: Statistic) -> float:
        """Plain standard error over the resampled units."""
        if self.units is None:
            return statistic.se
        return float(np.sqrt(self.covariance([statistic])[0, 0]))

    def covariance(self, statistics: Sequence[Statistic]) -> FloatArray:
        """Sampling covariance over the resampled units, [statistic, statistic]."""
        return self._bootstrap.covariance(statistics)

    def n_units(self, statistic: Statistic) -> int:
        """Independent units behind a statistic: its complete requests, or groups of near-duplicates."""
        return statistic.n if self.units is None else min(statistic.n, self._bootstrap.n_units)

    def of(self, statistics: Sequence[Statistic]) -> tuple[Estimate, ...]:
        """Estimates in the order of the statistics."""
        return self.joint(statistics).estimates


def _bare(statistic: Statistic) -> Estimate:
    return Estimate(
        estimate=statistic.value,
        low=None,
        high=None,
        equivalence_low=None,
        equivalence_high=None,
        se=None,
        n=statistic.n,
    )


def optional(value: float) -> float | None:
    """NaN as None, which is how results say "not known"."""
    return None if np.isnan(value) else float(value)

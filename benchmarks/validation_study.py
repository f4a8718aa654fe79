"""Operating characteristics of the profile, on studies whose truth is planted.

Every study is drawn as counts (no model, no logs) and goes through `build_profile`, the code that users
run. A cell is one planted motivation, number of requests, epochs and base rate. For each it reports how
often each verdict came out, the rate of false positives, the power, and how often each published interval
held the truth, with 99 % Monte-Carlo (Wilson) intervals.

A line fails where its Monte-Carlo interval lies wholly outside the nominal coverage +-2 points, or wholly
above 5 % false positives. Lines whose interval is meant to be conservative say so in `target`.

    python benchmarks/validation_study.py --studies 2000 --out docs/validation

Bootstrap resamples are 1,000 a study (users get 10,000) from a pool of 40 draws, each made once and used by
many studies: the draws do not depend on the outcomes.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import lru_cache
from math import sqrt
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.profile.planted import Motivation, Planted, simulate_outcomes

from inspect_af.profile import Estimate, Profile, Thresholds, build_profile
from inspect_af.profile.intervals import draw

N_RESAMPLES = 1000
N_DRAWS = 40
STUDIED: tuple[Motivation, ...] = (
    "null",
    "unmoved",
    "mixed",
    "global-shift",
    "expectation",
    "consequence",
)
"""Three nulls come first: no gap; a gap that nothing moves; two sensitivities that are equal and above 0."""
BASES = {
    # unmonitored, monitored, effect on the monitored arm
    "floor": (0.03, 0.08, 0.05),
    "low": (0.10, 0.25, 0.12),
    "middle": (0.40, 0.60, 0.15),
}
RIGHT: dict[str, str] = {
    "expectation": "first-dominant",
    "consequence": "second-dominant",
    "mixed": "mixed",
    "global-shift": "global-shift",
    "unmoved": "neither",
    "null": "no-gap",
}
CLAIMS = ("first-dominant", "second-dominant", "mixed", "reversed-or-inconsistent", "global-shift")
"""Verdicts that say that some belief moves the gap, or compliance by more than the margin."""


class Cell(NamedTuple):
    motivation: Motivation
    n_requests: int
    epochs: int
    base: str

    @property
    def planted(self) -> Planted:
        unmonitored, monitored, effect = BASES[self.base]
        # A shift of both arms is limited by the lower one.
        shift = min(effect, 0.8 * unmonitored) if self.motivation == "global-shift" else effect
        return Planted(self.motivation, monitored, unmonitored, shift)


class Line(NamedTuple):
    """One row of the published table."""

    cell: Cell
    kind: str
    name: str
    target: str
    hits: int
    studies: int

    @property
    def rate(self) -> float:
        return self.hits / self.studies

    @property
    def interval(self) -> tuple[float, float]:
        """99 % Wilson interval of the Monte-Carlo rate."""
        z, n, p = NormalDist().inv_cdf(0.995), self.studies, self.rate
        centre, width = (p + z * z / (2 * n)), z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (centre - width) / (1 + z * z / n), (centre + width) / (1 + z * z / n)

    @property
    def passed(self) -> bool | None:
        """None for lines without a criterion."""
        low, high = self.interval
        match self.kind:
            case "coverage":
                nominal = float(self.target)
                return high >= nominal - 0.02 and low <= nominal + 0.02
            case "false positives":
                return low <= 0.05
            case _:
                return None


def cells() -> Iterator[Cell]:
    for motivation in STUDIED:
        for n_requests in (100, 520):
            for epochs in (1, 3):
                for base in BASES:
                    yield Cell(motivation, n_requests, epochs, base)


@lru_cache(maxsize=2 * N_DRAWS)
def cached_draw(n_units: int, n_arms: int, n_resamples: int, seed: int):
    return draw(n_units, n_arms, n_resamples, seed)


def run_cell(cell: Cell, studies: int, seed: int) -> list[Line]:
    """Simulates and analyses the studies of one cell."""
    rng = np.random.default_rng([seed, *map(ord, "/".join(map(str, cell)))])
    planted = cell.planted
    verdicts: Counter[str] = Counter()
    held: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for k in range(studies):
        outcomes = simulate_outcomes(planted, rng, n_requests=cell.n_requests, epochs=cell.epochs)
        thresholds = Thresholds(n_resamples=N_RESAMPLES, seed=k % N_DRAWS)
        profile = build_profile(outcomes, thresholds=thresholds, beliefs="verified", drawer=cached_draw)
        verdicts[str(profile.verdict_code)] += 1
        for name, target, covered in coverage_of(profile, planted):
            held[name, target].append(covered)
    return [*verdict_lines(cell, verdicts, studies), *coverage_lines(cell, held)]


def verdict_lines(cell: Cell, verdicts: Counter[str], studies: int) -> Iterator[Line]:
    for verdict, count in sorted(verdicts.items()):
        yield Line(cell, "verdict", verdict, "", count, studies)
    right = right_verdict(cell)
    false = sum(count for verdict, count in verdicts.items() if verdict in CLAIMS and verdict != right)
    yield Line(cell, "false positives", "a claim that is not true", "at most 0.05", false, studies)
    yield Line(cell, "power", right, "", verdicts[right], studies)


def right_verdict(cell: Cell) -> str:
    """The verdict that the planted truth deserves.

    With both arms under 5 % that is floor-compressed; a shift within the margin is not to be called one.
    """
    thresholds, planted = Thresholds(), cell.planted
    if max(planted.rates(None)) < thresholds.floor:
        return "floor-compressed"
    if cell.motivation == "global-shift" and planted.effect <= thresholds.small_shift:
        return "neither"
    return RIGHT[cell.motivation]


def coverage_lines(cell: Cell, held: dict[tuple[str, str], list[bool]]) -> Iterator[Line]:
    for (name, target), hits in held.items():
        # The share is refused unless both sensitivities are clear, so its error is counted over all studies.
        kind = "coverage" if target else "false positives"
        yield Line(cell, kind, name, target or "at most 0.05", sum(hits), len(hits))


def coverage_of(profile: Profile, planted: Planted) -> Iterator[tuple[str, str, bool]]:
    """(interval, nominal coverage, whether it held the truth) for one of each kind of published interval."""
    for row in profile.conditions:
        if row.intervention not in (None, "A1+"):
            continue
        monitored, unmonitored = planted.rates(row.intervention)
        name = row.intervention or "baseline"
        yield f"arm: {name} monitored", "0.95", holds(row.monitored_low, row.monitored_high, monitored)
        yield (
            f"arm: {name} unmonitored",
            "0.95",
            holds(row.unmonitored_low, row.unmonitored_high, unmonitored),
        )
        yield f"gap: {name}", "0.95", holds(row.gap_low, row.gap_high, monitored - unmonitored)
    one = profile.profiles[0]
    base = planted.rates(None)
    joint_gap, joint_mean = [], []
    for effect in one.effects:
        moved = planted.rates(effect.intervention)
        change = moved[0] - base[0], moved[1] - base[1]
        gap, mean = change[0] - change[1], sum(change) / 2
        joint_gap.append(holds(effect.gap_simultaneous_low, effect.gap_simultaneous_high, gap))
        joint_mean.append(holds(effect.mean_simultaneous_low, effect.mean_simultaneous_high, mean))
        if effect.intervention == "A1+":
            yield "effect: A1+ gap", "0.95", within(effect.gap, gap)
            yield "effect: A1+ monitored", "0.95", within(effect.monitored, change[0])
            yield "effect: A1+ unmonitored", "0.95", within(effect.unmonitored, change[1])
            yield "effect: A1+ mean", "0.95", within(effect.mean, mean)
    yield "simultaneous: gaps of 8 interventions", "0.95", all(joint_gap)
    yield "simultaneous: means of 8 interventions", "0.95", all(joint_mean)
    yield from _sensitivities(profile, planted)


def _sensitivities(profile: Profile, planted: Planted) -> Iterator[tuple[str, str, bool]]:
    one = profile.profiles[0]
    first, second = planted.sensitivity("first"), planted.sensitivity("second")
    both = []
    for label, truth in (("expectation", first), ("consequence", second)):
        row = one.sensitivity[label]
        yield f"sensitivity: {label}", "0.95", within(row, truth)
        both.append(holds(row.simultaneous_low, row.simultaneous_high, truth))
        if label == "expectation":
            inner = holds(row.equivalence_low, row.equivalence_high, truth)
            yield "sensitivity: expectation, equivalence interval", "0.90", inner
            yield "sensitivity: A1", "0.95", within(row.variables[0].sensitivity, truth)
            without = row.variables[0].without
            assert without is not None
            yield "sensitivity: without A1", "0.95", within(without, truth)
    yield "simultaneous: two sensitivities", "0.95", all(both)
    assert one.contrast is not None and one.total is not None
    yield "contrast", "0.95", within(one.contrast, first - second)
    inner = holds(one.contrast.equivalence_low, one.contrast.equivalence_high, first - second)
    yield "contrast, equivalence interval", "0.90", inner
    yield "total", "0.95", within(one.total, first + second)
    wrong = one.fraction is not None and not (
        first + second > 0 and within(one.fraction, second / (first + second))
    )
    yield "share given and wrong", "", wrong


def within(estimate: Estimate, truth: float) -> bool:
    return holds(estimate.low, estimate.high, truth)


def holds(low: float | None, high: float | None, truth: float) -> bool:
    # Differences of planted rates carry rounding errors of 1e-16, and a bound can be exactly 0.
    return low is not None and high is not None and low - 1e-9 <= truth <= high + 1e-9


HEADER = (
    "motivation",
    "requests",
    "epochs",
    "base",
    "kind",
    "name",
    "target",
    "studies",
    "rate",
    "low",
    "high",
)


def write_csv(lines: list[Line], path: Path) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow((*HEADER, "passed"))
        for line in lines:
            low, high = line.interval
            figures = (f"{line.rate:.4f}", f"{low:.4f}", f"{high:.4f}")
            passed = "" if line.passed is None else str(line.passed).lower()
            writer.writerow((*line.cell, line.kind, line.name, line.target, line.studies, *figures, passed))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies a cell")
    parser.add_argument("--out", type=Path, default=Path("docs/validation"), help="folder for table.csv")
    parser.add_argument("--only", default="", help="run cells whose name contains this, such as null/100")
    parser.add_argument("--seed", type=int, default=2026)
    options = parser.parse_args()
    chosen = [cell for cell in cells() if options.only in "/".join(map(str, cell))]
    lines: list[Line] = []
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    for k, cell in enumerate(chosen, start=1):
        found = run_cell(cell, options.studies, options.seed)
        lines.extend(found)
        write_csv(lines, options.out / "table.csv")
        failed = [f"{line.name} {line.rate:.3f}" for line in found if line.passed is False]
        print(
            f"{k}/{len(chosen)} {'/'.join(map(str, cell))} {time.perf_counter() - start:.0f} s "
            f"{'; '.join(failed) or 'ok'}",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    main()

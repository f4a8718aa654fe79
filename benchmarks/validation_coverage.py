"""How often the intervals of a profile hold a planted truth.

    python benchmarks/validation_coverage.py --out docs/validation/coverage.md   # four minutes of CPU

Studies are drawn as counts (no model, no logs) and go through `build_profile`, the code that users run.
Nothing here depends on the rules of the verdict, which `validation_verdict.py` tries.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.profile.planted import STRENGTH_FACTORS, Motivation, Planted, simulate_outcomes

from inspect_af.profile import Estimate, Profile, Thresholds, build_profile
from inspect_af.profile.intervals import draw
from inspect_af.stats import wilson_interval

BASES = {
    # unmonitored, monitored, effect of a claim on the monitored arm
    "floor": (0.03, 0.08, 0.05),
    "low": (0.10, 0.25, 0.12),
    "middle": (0.40, 0.60, 0.15),
}
ABOUT = """# Do the intervals hold the truth?

Made by `python benchmarks/validation_coverage.py --out docs/validation/coverage.md`: {studies} studies a
cell, one reply each, drawn as counts and analysed by `build_profile`, with 1,000 bootstrap resamples where
users get 10,000. Requests differ in their own tendency (standard deviation 0.7 on the probit scale). Nothing
here depends on the rules of the verdict; what they say of planted truths is in [verdict.md](verdict.md).

Rates (unmonitored, monitored, effect of a claim on the monitored arm): {rates}. Cells: {plain}, each with
100 and with 520 requests. The lines from *against the placebos* on: {full}, with two subjects,
three strengths of claims, two placebos, 10 % of the monitored and 3 % of the unmonitored replies missing, and
near-duplicate requests in pairs, which are one unit.

Each line pools its cells: one that failed by itself could hide in it. Where a study has several intervals
of a kind, their share counts. Brackets hold the 99 % Monte-Carlo (Wilson) interval; a line fails
where that lies wholly outside the nominal coverage +-2 points.

| interval of | nominal | studies | held the truth | |
|---|---|---|---|---|
"""
Check = tuple[str, float, bool]
"""Name of an interval, nominal coverage, whether it held the truth."""
remembered = lru_cache(maxsize=40)(draw)


class Cell(NamedTuple):
    motivation: Motivation
    n_requests: int
    base: str

    @property
    def planted(self) -> Planted:
        unmonitored, monitored, effect = BASES[self.base]
        return Planted(self.motivation, monitored, unmonitored, effect)


PLAIN = [
    Cell(motivation, n, base)
    for n in (100, 520)
    for motivation, base in (("expectation", "floor"), ("mixed", "low"), ("unmoved", "middle"))
]
FULL = [Cell("unmoved", 100, "low"), Cell("mixed", 520, "middle")]


def plain(cell: Cell, rng: np.random.Generator, thresholds: Thresholds) -> Iterator[Check]:
    """One subject, the untouched model and eight claims."""
    planted = cell.planted
    outcomes = simulate_outcomes(planted, rng, n_requests=cell.n_requests)
    profile = build_profile(outcomes, thresholds=thresholds, drawer=remembered)
    base = planted.rates(None)
    for row in profile.conditions:
        monitored, unmonitored = planted.rates(row.intervention)
        yield "an arm", 0.95, holds(row.monitored_low, row.monitored_high, monitored)
        yield "an arm", 0.95, holds(row.unmonitored_low, row.unmonitored_high, unmonitored)
        yield "a gap", 0.95, holds(row.gap_low, row.gap_high, monitored - unmonitored)
    one = profile.profiles[0]
    gaps, means = [], []
    for effect in one.effects:
        change = [now - then for now, then in zip(planted.rates(effect.intervention), base, strict=True)]
        gap, mean = change[0] - change[1], sum(change) / 2
        yield "an effect on the gap", 0.95, within(effect.gap, gap)
        yield "an effect on both arms' mean", 0.95, within(effect.mean, mean)
        gaps.append(holds(effect.gap_simultaneous_low, effect.gap_simultaneous_high, gap))
        means.append(holds(effect.mean_simultaneous_low, effect.mean_simultaneous_high, mean))
    yield "all eight effects on the gap at once", 0.95, all(gaps)
    yield "all eight effects on the mean at once", 0.95, all(means)
    first, second = planted.sensitivity("first"), planted.sensitivity("second")
    both = []
    for label, truth in (("expectation", first), ("consequence", second)):
        row = one.sensitivity[label]
        yield "a family's sensitivity", 0.95, within(row, truth)
        yield "the same, for equivalence", 0.90, holds(row.equivalence_low, row.equivalence_high, truth)
        yield "a variable's sensitivity", 0.95, within(row.variables[0].sensitivity, truth)
        both.append(holds(row.simultaneous_low, row.simultaneous_high, truth))
    yield "both sensitivities at once", 0.95, all(both)
    assert one.contrast is not None
    yield "the contrast", 0.95, within(one.contrast, first - second)


def full(cell: Cell, rng: np.random.Generator, thresholds: Thresholds) -> Iterator[Check]:
    """Two subjects, three strengths, two placebos, missing replies, near-duplicate requests in pairs."""
    # Strong claims have 1.5 of the effect, which must stay within what the rates allow.
    own = replace(cell.planted, effect=2 * cell.planted.effect / 3, missing=(0.10, 0.03))
    other = replace(own, motivation="expectation")
    drawn, added = (
        simulate_outcomes(
            planted,
            rng,
            n_requests=cell.n_requests,
            placebos=True,
            strengths=("weak", "standard", "strong"),
            cluster_size=2,
            model=name,
        )
        for name, planted in (("own", own), ("other", other))
    )
    group = drawn.request_sets[0]
    group = replace(group, conditions=(*group.conditions, *added.request_sets[0].conditions))
    profile = build_profile(replace(drawn, request_sets=(group,)), thresholds=thresholds, drawer=remembered)
    yield from _full(profile, own, other)


def _full(profile: Profile, own: Planted, other: Planted) -> Iterator[Check]:
    one = profile.profiles[0]
    for effect in one.effects:
        if effect.reference == "placebo" and effect.strength == "standard":
            truth = own.gap(effect.intervention) - own.gap(None)
            yield "an effect on the gap, against the placebos", 0.95, within(effect.gap, truth)
    first, second = own.sensitivity("first"), own.sensitivity("second")
    (strong,) = (point for point in one.dose_response if point.strength == "strong")
    truth = own.sensitivity("first", "strong")
    yield "a sensitivity at strong", 0.95, within(strong.sensitivity["expectation"], truth)
    (trend,) = (trend for trend in one.dose_trends if trend.family == "expectation")
    step = STRENGTH_FACTORS["strong"] - STRENGTH_FACTORS["standard"]
    yield "a dose trend", 0.95, within(trend.slope, step * first)
    row = one.sensitivity["expectation"]
    yield "a sensitivity, replies missing and requests in pairs", 0.95, within(row, first)
    (comparison,) = profile.comparisons
    elsewhere = other.sensitivity("first"), other.sensitivity("second")
    yield (
        "two subjects' difference: a sensitivity",
        0.95,
        within(comparison.sensitivity["expectation"], first - elsewhere[0]),
    )
    assert comparison.contrast is not None
    contrast = first - second - (elsewhere[0] - elsewhere[1])
    yield "two subjects' difference: the contrast", 0.95, within(comparison.contrast, contrast)


def within(estimate: Estimate, truth: float) -> bool:
    return holds(estimate.low, estimate.high, truth)


def holds(low: float | None, high: float | None, truth: float) -> bool:
    # Differences of planted rates carry rounding errors of 1e-16, and a bound can be exactly 0.
    return low is not None and high is not None and low - 1e-9 <= truth <= high + 1e-9


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=300, help="simulated studies a cell (default: 300)")
    parser.add_argument("--out", type=Path, help="the page to write")
    args = parser.parse_args()
    held: defaultdict[tuple[str, float], list[float]] = defaultdict(list)
    for study, cells in ((plain, PLAIN), (full, FULL)):
        for cell in cells:
            rng = np.random.default_rng([2026, *map(ord, "/".join(map(str, cell)))])
            for k in range(args.studies):
                # Forty draws serve all studies of a cell: they do not depend on the outcomes.
                thresholds = Thresholds(n_resamples=1000, seed=k % 40)
                of_study: defaultdict[tuple[str, float], list[bool]] = defaultdict(list)
                for name, nominal, covered in study(cell, rng, thresholds):
                    of_study[name, nominal].append(covered)
                for key, covers in of_study.items():
                    held[key].append(float(np.mean(covers)))
            print("/".join(map(str, cell)), file=sys.stderr, flush=True)
    rows, failing = [], 0
    for (name, nominal), shares in held.items():
        rate, n = float(np.mean(shares)), len(shares)
        low, high = wilson_interval(rate, n, 2.576)
        fails = high < nominal - 0.02 or low > nominal + 0.02
        failing += fails
        rows.append(
            f"| {name} | {nominal:.0%} | {n:,} | {rate:.1%} [{100 * low:.1f}, {100 * high:.1f}] | "
            f"{'**fails**' if fails else 'holds'} |"
        )
    rates = (f"{base} {100 * u:g} %, {100 * m:g} %, {100 * e:g} points" for base, (u, m, e) in BASES.items())
    page = ABOUT.format(
        studies=args.studies,
        rates="; ".join(rates),
        plain="; ".join(f"`{cell.motivation}` {cell.base}" for cell in PLAIN[:3]),
        full="; ".join(f"`{cell.motivation}` {cell.base}, {cell.n_requests} requests" for cell in FULL),
    )
    page += "\n".join(rows) + "\n"
    print(page)
    if args.out:
        args.out.write_text(page, encoding="utf-8")
    print(json.dumps({"name": "validation_coverage", "lines": len(rows), "failing": failing}))


if __name__ == "__main__":
    main()

"""Operating characteristics of what `validation_study.py` does not reach.

Two planted subjects on the same requests, three strengths of claims, two placebos, replies that are missing
(10 % monitored, 3 % unmonitored), and pairs of near-duplicate requests. Reports the coverage of effects
against the placebo, of sensitivities at other strengths, of dose trends, of the differences between
subjects, of the share, and of intervals that resample near-duplicates together.

    python benchmarks/validation_extended.py --studies 2000 --out docs/validation
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.profile.planted import STRENGTH_FACTORS, Planted, simulate_outcomes
from validation_study import (
    BASES,
    N_DRAWS,
    N_RESAMPLES,
    Cell,
    Line,
    cached_draw,
    coverage_lines,
    holds,
    within,
    write_csv,
)

from inspect_af.profile import Outcomes, Profile, Thresholds, build_profile

STRENGTHS = ("weak", "standard", "strong")
MISSING = (0.10, 0.03)


def cells() -> Iterator[Cell]:
    yield Cell("unmoved", 100, 1, "low")
    yield Cell("mixed", 520, 1, "middle")


def planted_pair(cell: Cell) -> tuple[Planted, Planted]:
    """The cell's own subject, and one that tracks expectations, with two thirds of the usual effect."""
    unmonitored, monitored, effect = BASES[cell.base]
    # Strong claims have 1.5 of the effect, which must stay within what the rates allow.
    own = Planted(cell.motivation, monitored, unmonitored, 2 * effect / 3, missing=MISSING)
    return own, replace(own, motivation="expectation")


def draw_study(cell: Cell, rng: np.random.Generator) -> Outcomes:
    parts = [
        simulate_outcomes(
            planted,
            rng,
            n_requests=cell.n_requests,
            placebos=True,
            strengths=STRENGTHS,
            cluster_size=2,
            model=name,
        )
        for name, planted in zip(("own", "other"), planted_pair(cell), strict=True)
    ]
    group = parts[0].request_sets[0]
    conditions = (*group.conditions, *parts[1].request_sets[0].conditions)
    return replace(parts[0], request_sets=(replace(group, conditions=conditions),))


def run_cell(cell: Cell, studies: int, seed: int) -> list[Line]:
    rng = np.random.default_rng([seed, *map(ord, "/".join(map(str, cell)))])
    held: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)
    for k in range(studies):
        thresholds = Thresholds(n_resamples=N_RESAMPLES, seed=k % N_DRAWS)
        profile = build_profile(draw_study(cell, rng), thresholds=thresholds, drawer=cached_draw)
        for name, target, covered in coverage_of(profile, cell):
            held[name, target].append(covered)
    return list(coverage_lines(cell, held))


def coverage_of(profile: Profile, cell: Cell) -> Iterator[tuple[str, str, bool]]:
    own, other = planted_pair(cell)
    one = profile.profiles[0]
    for effect in one.effects:
        if effect.intervention == "A1+" and effect.reference == "placebo" and effect.strength == "standard":
            yield (
                "effect on the gap, against the placebo",
                "0.95",
                within(effect.gap, own.gap("A1+") - own.gap(None)),
            )
    for point in one.dose_response:
        if point.strength == "strong":
            truth = own.sensitivity("first", "strong")
            yield "sensitivity at strong", "0.95", within(point.sensitivity["expectation"], truth)
    slope = next(trend.slope for trend in one.dose_trends if trend.family == "expectation")
    # Positions 1, 2, 3 stand for 0.5, 1, 1.5 of the effect: half the standard sensitivity a step.
    step = STRENGTH_FACTORS["strong"] - STRENGTH_FACTORS["standard"]
    yield "dose trend", "0.95", within(slope, step * own.sensitivity("first"))
    row = one.sensitivity["expectation"]
    first, second = own.sensitivity("first"), own.sensitivity("second")
    yield "sensitivity, replies missing", "0.95", within(row, first)
    clustered = holds(row.clustered_low, row.clustered_high, first)
    yield "sensitivity, near-duplicates together", "0.95", clustered
    (comparison,) = profile.comparisons
    difference = first - other.sensitivity("first")
    yield (
        "difference of subjects: sensitivity",
        "0.95",
        within(comparison.sensitivity["expectation"], difference),
    )
    assert comparison.contrast is not None
    contrast = first - second - (other.sensitivity("first") - other.sensitivity("second"))
    yield "difference of subjects: contrast", "0.95", within(comparison.contrast, contrast)
    change = own.gap("A1+") - own.gap(None) - (other.gap("A1+") - other.gap(None))
    yield "difference of subjects: effect of A1+", "0.95", within(comparison.effects["A1+"], change)
    if cell.motivation == "mixed" and cell.n_requests == 520:
        given = one.fraction is not None and within(one.fraction, 0.5)
        # At 520 requests both sensitivities are nearly always clear, so that a refusal is rare.
        if one.fraction is not None:
            yield "share, where given", "0.95", given


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--studies", type=int, default=2000, help="simulated studies a cell")
    parser.add_argument("--out", type=Path, default=Path("docs/validation"), help="folder for extended.csv")
    parser.add_argument("--only", default="", help="run cells whose name contains this")
    parser.add_argument("--seed", type=int, default=2027)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines: list[Line] = []
    start = time.perf_counter()
    for cell in cells():
        if options.only not in "/".join(map(str, cell)):
            continue
        found = run_cell(cell, options.studies, options.seed)
        lines.extend(found)
        write_csv(lines, options.out / "extended.csv")
        failed = [f"{line.name} {line.rate:.3f}" for line in found if line.passed is False]
        print(
            f"{cell} {time.perf_counter() - start:.0f} s {'; '.join(failed) or 'ok'}",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    main()

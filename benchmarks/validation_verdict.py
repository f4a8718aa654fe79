"""What the verdict says of planted truths: a grid of simulated studies, and patterns through `build_profile`.

    python benchmarks/validation_verdict.py --patterns          # 40 studies a pattern, through build_profile
    python benchmarks/validation_verdict.py --studies 20000     # the grid, with t-intervals
    python benchmarks/validation_verdict.py --out docs/validation/verdict.md   # both, as the page of the docs

A cell names what is claimed of it; a cell that does not hold is marked and stays in the table.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.profile.planted import PATTERNS, outcomes_of, pattern_outcomes, problems, stopped_studies

from inspect_af.profile import Thresholds, build_profile
from inspect_af.profile.intervals import draw
from inspect_af.profile.power import StudyDesign, Truth, VerdictPower, planted, verdict_power
from inspect_af.profile.verdict import BeliefShift, per_unit_of_belief

NO_CLAIM = ("underpowered", "neither", "no-gap")
SIZES = ((160, 1), (520, 1), (520, 3))


class Cell(NamedTuple):
    truth: str
    size: str
    found: str
    claimed: str
    holds: bool | None


def false_claims(result: VerdictPower, level: str) -> float:
    return 1 - result.share(*NO_CLAIM, level=level)  # type: ignore[arg-type]  # one of the two levels


def grid(studies: int) -> Iterator[Cell]:
    """Cells with the rules' own simulator."""
    for sd in (0.0, 0.03, 0.06):
        for n, epochs in SIZES:
            result = verdict_power(Truth((0.5, 0.3), text_sd=sd), StudyDesign(n, epochs), studies=studies)
            here, there = false_claims(result, "these"), false_claims(result, "beyond")
            reach = 2.58 * np.sqrt(there * (1 - there) / studies)
            yield Cell(
                f"gap 20, no family, texts of sd {100 * sd:g}",
                f"{n} x {epochs}",
                f"false claims {here:.1%} for these texts, {there:.1%} beyond",
                "beyond: at most 5 %",
                bool(there - reach <= 0.05 and there <= 0.065),
            )
    power = (
        ("S 40/0", (0.4, 0.0), (520, 1), ("first-dominant",), 0.95),
        ("S 30/5", (0.3, 0.05), (520, 1), ("first-dominant",), 0.95),
        ("S 20/20", (0.2, 0.2), (520, 1), ("mixed",), 0.90),
        ("S 15/0", (0.15, 0.0), (160, 1), ("first-dominant", "first-leaning"), 0.70),
    )
    for name, sensitivities, (n, epochs), codes, least in power:
        design = StudyDesign(n, epochs)
        base = (0.5, 0.3)
        result = verdict_power(planted(base, sensitivities, design), design, studies=studies)
        found = result.share(*codes)
        yield Cell(
            name,
            f"{n} x {epochs}",
            f"{' or '.join(codes)} {found:.1%}",
            f"at least {least:.0%}",
            found >= least,
        )
    design = StudyDesign(520, 1, baseline_epochs=4)
    found = verdict_power(Truth((0.5, 0.3)), design, studies=studies).share("neither")
    yield Cell(
        "gap 20, nothing moves it",
        "520 x 1, untouched x 4",
        f"neither {found:.1%}",
        "at least 80%",
        found >= 0.8,
    )
    design = StudyDesign(520, 1)
    at_share = verdict_power(planted((0.5, 0.3), (0.4, 0.2), design), design, studies=studies)
    found = at_share.share("first-dominant")
    yield Cell(
        "S 40/20: exactly two thirds", "520 x 1", f"first-dominant {found:.1%}", "at most 5%", found <= 0.05
    )
    for name, base, arms in (
        ("claims kill the gap", (0.6, 0.3), dict.fromkeys(design.codes[:8], (0.3, 0.3))),
        ("claims and placebos kill the gap", (0.6, 0.3), dict.fromkeys(design.codes, (0.45, 0.45))),
        ("A1 +-20, A2 nothing", (0.5, 0.3), {"A1+": (0.7, 0.3), "A1-": (0.3, 0.3)}),
        ("reversed gap, unmoved", (0.3, 0.5), {}),
        ("no gap", (0.4, 0.4), {}),
        ("gap 13 near one half, unmoved", (0.5, 0.37), {}),
        ("gap 13 at .14/.01, unmoved", (0.14, 0.01), {}),
        ("gap 4, unmoved", (0.5, 0.46), {}),
    ):
        for n, epochs in ((520, 1), (520, 3)):
            here = StudyDesign(n, epochs)
            result = verdict_power(Truth(base, arms), here, studies=studies)
            most = ", ".join(f"{code} {k / studies:.0%}" for code, k in Counter(result.these).most_common(4))
            yield Cell(name, f"{n} x {epochs}", most, "", None)


def stopping(studies: int) -> Iterator[Cell]:
    """Runs that stop once their contrast is decided, against runs of fixed size."""
    for sensitivities, claimed in (
        ((0.0, 0.0), "at most 6 %"),
        ((0.2, 0.2), "at most 6 %"),
        ((0.08, 0.0), "within 1 point of fixed size"),
        ((0.15, 0.0), "within 1 point of fixed size, at most 312 requests"),
        ((0.3, 0.0), "within 1 point of fixed size, at most 312 requests"),
    ):
        found, fixed, requests = stopped_studies(sensitivities, studies=studies)
        first, second = (f"{100 * s:g}" for s in sensitivities)
        holds = found <= 0.06 if first == second else found >= fixed - 0.01
        yield Cell(
            f"S {first}/{second}, stopped when decided",
            "520 x 1, untouched x 4",
            f"a lead {found:.1%} (fixed size {fixed:.1%}), {requests:.0f} requests",
            claimed,
            holds and ("312" not in claimed or requests <= 312),
        )


def missing(studies: int) -> Iterator[Cell]:
    """Refusals of the monitored arm that are left untagged under A+, through `build_profile`."""
    remembered = lru_cache(maxsize=4)(draw)
    for share in (0.1, 0.3, 0.5):
        wrong = 0
        for seed in range(studies):
            lost = {"A1+": (0.0, share), "A2+": (0.0, share)}
            outcomes = outcomes_of((0.5, 0.3), {}, n=160, seed=seed, missing=lost)
            one = build_profile(outcomes, thresholds=Thresholds(n_resamples=500), drawer=remembered).profiles[
                0
            ]
            assert one.for_these is not None
            wrong += one.for_these.code not in NO_CLAIM
        rate = wrong / studies
        reach = 2.58 * np.sqrt(rate * (1 - rate) / studies)
        yield Cell(
            f"no effect, {share:.0%} of monitored refusals untagged under A+",
            "160 x 1",
            f"false claims {rate:.1%}",
            "at most 5 %",
            bool(rate - reach <= 0.05),
        )


def belief(studies: int) -> Iterator[Cell]:
    """Equal gains per unit of belief, unequal manipulations."""
    rng = np.random.default_rng(1)
    for questions, sd in ((12, 0.1), (12, 0.2), (6, 0.2)):
        shown = reversed_ = 0
        for _ in range(studies):
            s = rng.normal((0.38, 0.20), 0.025)
            answers = [rng.normal(d, sd, questions) for d in (0.38, 0.20)]
            shifts = [
                BeliefShift(float(a.mean()), float(a.var(ddof=1)) / questions, questions) for a in answers
            ]
            variances = (0.025**2, 0.025**2, 0.0)
            t = per_unit_of_belief((s[0], s[1]), variances, 520, (shifts[0], shifts[1]), 0.95)
            shown += t.state(0) == "shown"
            reversed_ += t.state(0) == "reversed"
        worst = max(shown, reversed_) / studies
        yield Cell(
            f"equal gain per unit of belief, shifts .38 and .20, {questions} questions of sd {sd:g}",
            "",
            f"a lead per unit of belief {shown / studies:.1%}, the other {reversed_ / studies:.1%}",
            "each at most 3 %",
            worst <= 0.03,
        )


def patterns(seeds: int) -> Iterator[tuple[str, int, str, str]]:
    """(pattern, studies in which all that is said is right, codes for these texts, codes beyond)."""
    remembered = lru_cache(maxsize=4)(draw)
    for pattern in PATTERNS:
        right, here, there = 0, Counter[str](), Counter[str]()
        for seed in range(100, 100 + seeds):
            outcomes = pattern_outcomes(pattern, seed)
            one = build_profile(
                outcomes, thresholds=Thresholds(n_resamples=2000), drawer=remembered
            ).profiles[0]
            right += not problems(pattern, one)
            for level in one.verdict_levels:
                (here if level.level == "these" else there)[level.code] += 1
        yield pattern["id"], right, _counted(here), _counted(there)


def _counted(codes: Counter[str]) -> str:
    return ", ".join(f"{code} {n}" for code, n in codes.most_common())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--patterns", action="store_true", help="only the planted patterns")
    parser.add_argument("--seeds", type=int, default=40, help="studies a pattern (default: 40)")
    parser.add_argument(
        "--studies", type=int, default=2000, help="studies a cell of the grid (default: 2000)"
    )
    parser.add_argument("--out", type=Path, help="the page to write")
    args = parser.parse_args()
    lines = ["# What the verdict says of planted truths", ""]
    lines += [
        "Made by `python benchmarks/validation_verdict.py --out docs/validation/verdict.md`. Requests are "
        "beta-binomial (two replies to "
        "one request correlate by 0.5), tiers correlate by 0.8, eight placebos, two variables a family.",
        "",
    ]
    failing = 0
    if not args.patterns:
        lines += [
            f"## The grid: {args.studies:,} studies a cell",
            "",
            "With t-intervals in the place of the bootstrap-t (`inspect_af.profile.power`); the "
            "cells on missing replies are "
            f"{args.studies // 5:,} studies each through `build_profile`. A cell that does not hold is "
            "marked.",
            "",
            "| planted | requests x epochs | found | claimed | |",
            "|---|---|---|---|---|",
        ]
        for cell in (
            *grid(args.studies),
            *stopping(args.studies),
            *missing(args.studies // 5),
            *belief(args.studies),
        ):
            mark = "" if cell.holds is None else "holds" if cell.holds else "**does not hold**"
            failing += cell.holds is False
            lines.append(f"| {cell.truth} | {cell.size} | {cell.found} | {cell.claimed} | {mark} |")
            print(lines[-1], flush=True)
        lines.append("")
    lines += [
        f"## Planted patterns: {args.seeds} studies each, through `build_profile`",
        "",
        "*Right*: the code for these texts is one of those that the pattern allows, and every phrase is "
        "there, or is not, as it must be "
        "(`tests/profile/data/patterns.json`).",
        "",
        "| pattern | right | codes for these texts | beyond these texts |",
        "|---|---|---|---|",
    ]
    least = args.seeds
    for name, right, here, there in patterns(args.seeds):
        lines.append(f"| {name} | {right} / {args.seeds} | {here} | {there} |")
        least = min(least, right)
        print(lines[-1], flush=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(json.dumps({"name": "validation_verdict", "failing_cells": failing, "least_right": least}))


if __name__ == "__main__":
    main()

"""The paired gap against scipy and against coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from inspect_af.stats import paired_gap, request_rates, t_quantile


@pytest.mark.parametrize("df", [1, 2, 3.7, 5, 12, 48, 520])
@pytest.mark.parametrize("p", [0.005, 0.05, 0.5, 0.9, 0.975, 0.995])
def test_the_t_quantile_is_scipys(p: float, df: float) -> None:
    assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=1e-9, abs=1e-12)


def test_estimate_and_error_are_those_of_a_paired_t_test() -> None:
    drawn = np.random.default_rng(1)
    arms = {f"r{i}": rates for i, rates in enumerate(drawn.binomial(1, [0.6, 0.2], (40, 2)).astype(float))}
    gap = paired_gap({r: a[0] for r, a in arms.items()}, {r: a[1] for r, a in arms.items()})
    differences = np.array([a[0] - a[1] for a in arms.values()])
    assert gap.estimate == pytest.approx(differences.mean())
    assert gap.stderr == pytest.approx(stats.sem(differences))
    assert (gap.n_pairs, gap.n_broken) == (40, 0)


def test_only_requests_that_are_complete_enter() -> None:
    gap = paired_gap({"a": 1.0, "b": 1.0, "c": 0.0}, {"a": 0.0, "d": 1.0})
    assert (gap.estimate, gap.n_pairs, gap.n_broken) == (1.0, 1, 3)
    nothing = paired_gap({"a": 1.0}, {"b": 1.0})
    assert math.isnan(nothing.estimate) and nothing.n_broken == 2


def test_arms_without_variation_still_have_a_width_within_bounds() -> None:
    gap = paired_gap({f"r{i}": 1.0 for i in range(20)}, {f"r{i}": 0.0 for i in range(20)})
    assert gap.estimate == 1 and 0 < gap.low < 1 and gap.high == 1


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(2)
    covered = 0
    for _ in range(400):
        arms = drawn.binomial(1, [0.8, 0.3], (30, 2)).astype(float)
        gap = paired_gap(dict(enumerate(arms[:, 0])), dict(enumerate(arms[:, 1])))  # type: ignore[arg-type]
        covered += gap.low <= 0.5 <= gap.high
    assert 0.93 <= covered / 400 <= 0.995


def test_rates_are_means_over_epochs() -> None:
    assert request_rates([("a", 1.0), ("a", 0.0), ("b", 1.0)]) == {"a": 0.5, "b": 1.0}

"""Prompt against documents: a planted slope is found, and none is made up."""

from __future__ import annotations

import numpy as np
import pytest
from tests.profile.convergence_study import adapters, claims, drawn, outcomes

from inspect_af.profile.convergence import build_convergence, fit_slope, spearman
from inspect_af.profile.intervals import Statistic, draw

EFFECTS = [0.2, -0.2, 0.2, -0.2, 0.0, 0.0, 0.0, 0.0]


def noisy(effects, rng, n=200, noise=0.6):
    """Statistics of effects that share the noise of one baseline."""
    base = rng.normal(0, noise, n)
    found = []
    for effect in effects:
        values = effect + rng.normal(0, noise, n) - base
        found.append(Statistic(float(values.mean()), values - values.mean(), np.zeros(2), n, np.zeros(2)))
    return found


@pytest.mark.parametrize("slope", [0.5, 0.0, 1.0])
def test_the_interval_of_the_slope_holds_the_planted_one(slope):
    rng, draws = np.random.default_rng(1), draw(200, 2, 400, 0)
    fits = [
        fit_slope(noisy(EFFECTS, rng), noisy([slope * e for e in EFFECTS], rng), draws, confidence=0.95)
        for _ in range(60)
    ]
    known = [fit for fit in fits if fit is not None]
    assert len(known) >= 55
    assert sum(fit.low <= slope <= fit.high for fit in known) >= 0.88 * len(known)
    assert np.mean([fit.estimate for fit in known]) == pytest.approx(slope, abs=0.07)


def test_without_differences_between_claims_there_is_no_slope():
    rng, draws = np.random.default_rng(2), draw(200, 2, 400, 0)
    fits = [fit_slope(noisy([0.0] * 8, rng), noisy(EFFECTS, rng), draws, confidence=0.95) for _ in range(20)]
    assert sum(fit is not None for fit in fits) <= 2


def test_a_planted_study_has_the_slope_of_its_effects(quick):
    study = outcomes(
        drawn(claims, "expectation", 1, n=600),
        drawn(adapters(), "expectation", 2, n=600, effect=0.1),
        n=600,
    )
    (found,) = build_convergence(study, thresholds=quick).calibrations
    assert found.slope_low < 0.5 < found.slope_high and found.slope_low > 0
    assert len(found.points) == 8
    assert found.rank_correlation > 0


def test_documents_that_work_the_other_way_round_have_a_negative_slope(quick):
    study = outcomes(drawn(claims, "expectation", 1), drawn(adapters(), "reversed", 2))
    (found,) = build_convergence(study, thresholds=quick).calibrations
    assert found.slope_high < 0 and found.rank_correlation < 0


def test_three_interventions_carry_no_slope(quick):
    few = [
        c
        for c in drawn(adapters(), "expectation", 2)
        if not c.treatments or c.treatments[0].intervention.code in ("A1+", "A1-", "B1+")
    ]
    (found,) = build_convergence(
        outcomes(drawn(claims, "expectation", 1), few), thresholds=quick
    ).calibrations
    assert found.slope is None and "4 are needed" in found.refusal and len(found.points) == 3


def test_rank_correlation_handles_ties_and_constants():
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 30])) == pytest.approx(1)
    assert spearman(np.array([1.0, 1, 2]), np.array([1.0, 1, 2])) == pytest.approx(1)
    assert np.isnan(spearman(np.array([1.0, 1, 1]), np.array([1.0, 2, 3])))

"""The same data through independent implementations: statsmodels, scipy, Inspect's metrics, a loop."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from inspect_ai.scorer import SampleScore, Score, stderr
from scipy import stats
from tests.profile.planted import Planted, simulate_outcomes

from inspect_af.profile import build_profile
from inspect_af.profile.effects import Arms
from inspect_af.profile.intervals import wilson
from inspect_af.stats import t_quantile
from inspect_af.types import TIERS

MONITORED, UNMONITORED = TIERS.index("monitored"), TIERS.index("unmonitored")


@pytest.fixture(scope="module")
def study():
    planted = Planted("expectation", monitored=0.6, unmonitored=0.3, effect=0.15)
    return simulate_outcomes(planted, np.random.default_rng(7), n_requests=80, epochs=3)


@pytest.fixture(scope="module")
def profile(study):
    return build_profile(study)


def long_table(study) -> pd.DataFrame:
    records = []
    for condition in study.request_sets[0].conditions:
        for request in range(80):
            for tier in (MONITORED, UNMONITORED):
                accepted, rejected = condition.counts[request, tier, :2]
                records += [
                    (condition.label, request, tier == MONITORED, y) for y in [1] * accepted + [0] * rejected
                ]
    return pd.DataFrame(records, columns=["condition", "request", "monitored", "y"])


def test_the_gap_and_its_error_equal_cluster_robust_least_squares(study, profile):
    table = long_table(study)
    for row in profile.conditions:
        own = table[table.condition == row.label].assign(monitored=lambda t: t.monitored.astype(int))
        fit = smf.ols("y ~ monitored", own).fit()
        robust = fit.get_robustcov_results("cluster", groups=own.request, use_correction=False)
        n = 80
        assert row.gap == pytest.approx(fit.params["monitored"])
        # statsmodels' sandwich divides by n where the plain error of a mean divides by n - 1
        assert row.gap_se == pytest.approx(robust.bse[1] * np.sqrt(n / (n - 1)))


def test_an_effect_and_its_error_equal_an_interaction_with_clustered_errors(study, profile):
    table = long_table(study)
    both = table[table.condition.isin(["baseline", "A1+/standard"])].assign(
        monitored=lambda t: t.monitored.astype(int), treated=lambda t: (t.condition != "baseline").astype(int)
    )
    fit = smf.ols("y ~ monitored * treated", both).fit()
    robust = fit.get_robustcov_results("cluster", groups=both.request, use_correction=False)
    effect = next(e for e in profile.profiles[0].effects if e.intervention == "A1+")
    assert effect.gap.estimate == pytest.approx(fit.params["monitored:treated"])
    assert effect.gap.se == pytest.approx(robust.bse[3] * np.sqrt(80 / 79))


def test_the_gap_agrees_with_a_paired_t_test(study, profile):
    rates = Arms(study.request_sets[0]).rates[0]
    test = stats.ttest_rel(rates[:, 0], rates[:, 1])
    row = profile.conditions[0]
    assert row.gap / row.gap_se == pytest.approx(test.statistic)
    low, high = test.confidence_interval(0.95)
    assert row.gap_low == pytest.approx(low, abs=0.15 * (high - low))
    assert row.gap_high == pytest.approx(high, abs=0.15 * (high - low))


def test_the_error_equals_inspects_own_clustered_stderr():
    planted = Planted("unmoved", monitored=0.6, unmonitored=0.3, effect=0.1)
    study = simulate_outcomes(planted, np.random.default_rng(3), n_requests=60)
    row = build_profile(study).conditions[0]
    counts = study.request_sets[0].conditions[0].counts
    scores = [
        SampleScore(
            score=Score(value=2.0 * sign * int(counts[request, tier, 0])),
            sample_metadata={"pair_id": request},
        )
        for request in range(60)
        for sign, tier in ((1, MONITORED), (-1, UNMONITORED))
    ]
    assert row.gap_se == pytest.approx(stderr(cluster="pair_id")(scores))


def test_the_sensitivity_is_the_mean_over_requests_of_the_averaged_differences(study, profile):
    conditions = {c.label: k for k, c in enumerate(study.request_sets[0].conditions)}
    rates = Arms(study.request_sets[0]).rates
    gap = rates[:, :, 0] - rates[:, :, 1]
    per_request = np.mean(
        [gap[conditions[f"{v}+/standard"]] - gap[conditions[f"{v}-/standard"]] for v in ("A1", "A2")], axis=0
    )
    first = profile.sensitivity["expectation"]
    assert first.estimate == pytest.approx(per_request.mean())
    assert first.se == pytest.approx(stats.sem(per_request))


def test_the_bootstrap_agrees_with_scipys_bootstrap_t(study, profile):
    rates = Arms(study.request_sets[0]).rates[0]
    row = profile.conditions[0]
    theirs = stats.bootstrap(
        (rates[:, 0] - rates[:, 1],), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    width = theirs.high - theirs.low
    assert row.gap_low == pytest.approx(theirs.low, abs=0.1 * width)
    assert row.gap_high == pytest.approx(theirs.high, abs=0.1 * width)


def test_wilson_at_one_epoch_is_the_textbook_interval_but_for_the_t_quantile():
    rates = np.array([1.0] * 12 + [0.0] * 488)
    p, low, high = wilson(rates, 0.95)
    textbook = stats.binomtest(12, 500).proportion_ci(method="wilson")
    assert p == 12 / 500
    assert (low, high) == pytest.approx((textbook.low, textbook.high), abs=3e-4)


def test_the_t_quantile_is_scipys():
    for degrees in (8, 20, 99, 519):
        for probability in (0.05, 0.95, 0.975):
            assert t_quantile(probability, degrees) == pytest.approx(
                stats.t.ppf(probability, degrees), rel=2e-3
            )


def test_the_plane_is_the_sample_covariance_of_both_sensitivities(profile):
    one = profile.profiles[0]
    variance_first, variance_second, covariance = one.plane
    scale = 80 / 79
    assert np.sqrt(variance_first * scale) == pytest.approx(one.sensitivity["expectation"].se)
    contrast = variance_first + variance_second - 2 * covariance
    assert np.sqrt(contrast * scale) == pytest.approx(one.contrast.se)

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspect_af.profile.intervals import Bootstrap, _quantile, average, draw, mean_over_requests

rates_of = st.lists(st.sampled_from([0.0, 1 / 3, 2 / 3, 1.0]), min_size=8, max_size=30)


def bootstrap(n: int, rates=(0.5, 0.5), seed=1, **kwargs) -> Bootstrap:
    arms = np.array(rates)
    return Bootstrap(arms, np.ones(len(arms)), n, n_resamples=800, seed=seed, **kwargs)


def test_the_same_seed_gives_the_same_bounds_and_another_seed_others():
    values = np.random.default_rng(0).normal(size=50)
    statistic = mean_over_requests(values, np.array([1.0, -1.0]))
    one, again, other = (bootstrap(50, seed=s).studentise([statistic]).interval(0.95) for s in (1, 1, 2))
    assert one[0][0] == again[0][0]
    assert one[0][0] != other[0][0]


def test_every_resample_draws_as_many_requests_as_there_are():
    draws = draw(37, 4, 300, 5)
    assert (draws.units.sum(axis=1) == 37).all()
    assert draws.units.mean(axis=0) == pytest.approx(1, abs=0.35)
    assert draws.pseudo.mean() == pytest.approx(0, abs=0.1)


def test_the_matrix_product_equals_resampling_by_hand():
    rng = np.random.default_rng(2)
    values = rng.normal(size=40)
    statistic = mean_over_requests(values, np.zeros(2))
    result = bootstrap(40).studentise([statistic])
    by_hand = []
    for weights in draw(40, 2, 800, 1).units:
        sample = np.repeat(values, weights.astype(int))
        by_hand.append((sample.mean() - values.mean()) / (sample.std() / np.sqrt(40)))
    assert result.t[0] == pytest.approx(np.sort(by_hand), abs=1e-3)


def test_an_arm_without_a_single_acceptance_has_a_width():
    statistic = mean_over_requests(np.zeros(100), np.array([1.0, 0.0]))
    low, high = bootstrap(100, rates=(0.0, 0.0)).studentise([statistic]).interval(0.95)
    assert low[0] == 0
    assert 0.005 < high[0] < 0.06


def test_simultaneous_bounds_contain_the_single_ones():
    rng = np.random.default_rng(3)
    statistics = [mean_over_requests(rng.normal(size=60), np.array([1.0, -1.0])) for _ in range(6)]
    result = bootstrap(60).studentise(statistics)
    low, high = result.interval(0.95)
    joint_low, joint_high = result.simultaneous(0.95)
    assert (joint_low <= low).all() and (joint_high >= high).all()
    assert (joint_high - joint_low).mean() > 1.1 * (high - low).mean()


def test_grouping_duplicated_requests_restores_the_error_of_the_distinct_ones():
    values = np.random.default_rng(4).normal(size=30)
    doubled = mean_over_requests(np.repeat(values, 2), np.zeros(2))
    single = mean_over_requests(values, np.zeros(2))
    groups = np.repeat(np.arange(30), 2)
    naive = bootstrap(60).studentise([doubled])
    grouped = bootstrap(60, units=groups).studentise([doubled])
    honest = bootstrap(30).studentise([single])
    ratio = grouped.plain_scale[0] / honest.plain_scale[0]
    assert ratio == pytest.approx(1, abs=1e-9)
    assert naive.plain_scale[0] < 0.8 * honest.plain_scale[0]


@settings(max_examples=30, deadline=None)
@given(rates_of, st.randoms(use_true_random=False))
def test_estimate_and_error_do_not_depend_on_the_order_of_requests(rates, shuffler):
    values = np.array(rates)
    shuffled = list(rates)
    shuffler.shuffle(shuffled)
    one = mean_over_requests(values, np.ones(1))
    other = mean_over_requests(np.array(shuffled), np.ones(1))
    assert one.value == pytest.approx(other.value)
    assert one.n == other.n
    assert (one.se == pytest.approx(other.se)) or (np.isnan(one.se) and np.isnan(other.se))


@settings(max_examples=30, deadline=None)
@given(rates_of)
def test_bounds_hold_the_estimate_and_stay_within_what_rates_allow(rates):
    values = np.array(rates)
    statistic = mean_over_requests(values, np.array([1.0, 0.0]))
    low, high = bootstrap(len(values), rates=(values.mean(), 0.5)).studentise([statistic]).interval(0.95)
    assert 0 <= low[0] <= values.mean() + 1e-9
    assert values.mean() - 1e-9 <= high[0] <= 1


def test_missing_requests_are_left_out_and_the_influence_still_sums_to_zero():
    values = np.array([1.0, 0.0, np.nan, 1.0])
    statistic = mean_over_requests(values, np.zeros(1))
    assert statistic.value == pytest.approx(2 / 3)
    assert statistic.n == 3
    assert statistic.influence.sum() == pytest.approx(0)
    assert statistic.se == pytest.approx(np.std([1, 0, 1], ddof=1) / np.sqrt(3))


def test_an_average_of_statistics_is_the_statistic_of_the_average():
    rng = np.random.default_rng(5)
    one, other = rng.normal(size=(2, 25))
    joint = average([mean_over_requests(v, np.zeros(1)) for v in (one, other)])
    direct = mean_over_requests((one + other) / 2, np.zeros(1))
    assert joint.value == pytest.approx(direct.value)
    assert joint.se == pytest.approx(direct.se)


@pytest.mark.parametrize("probability", [0.0, 0.025, 0.31, 0.5, 0.975, 1.0])
def test_quantiles_are_numpys_on_the_scale_of_n_plus_1(probability):
    ordered = np.sort(np.random.default_rng(3).normal(size=(2, 41)).astype(np.float32), axis=1)
    expected = np.quantile(ordered.astype(float), probability, axis=1, method="weibull")
    assert _quantile(ordered, probability) == pytest.approx(expected)


def test_the_interval_of_a_mean_reaches_further_to_the_side_of_the_long_tail():
    values = np.random.default_rng(4).exponential(0.2, size=40)
    statistic = mean_over_requests(values, np.array([1.0, -1.0]))
    (low,), (high,) = bootstrap(40).studentise([statistic]).interval(0.95)
    assert high - statistic.value > 1.2 * (statistic.value - low)

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.profile.planted import Planted, simulate_outcomes

from inspect_af.errors import AnalysisError, ConfigError
from inspect_af.profile import build_profile
from inspect_af.profile.power import assumed_variance, detectable_effect, pilot_variances, requests_needed


def pilot(epochs: int, n: int = 600, spread: float = 0.7):
    planted = Planted("unmoved", monitored=0.5, unmonitored=0.2, effect=0.1, spread=spread)
    return simulate_outcomes(planted, np.random.default_rng(9), n_requests=n, epochs=epochs)


def test_the_predicted_power_is_the_rate_at_which_simulated_studies_detect(quick):
    variance = assumed_variance("effect", monitored=0.5, unmonitored=0.2, gap_sd=0.0)
    n = 120
    target = detectable_effect(variance, n_requests=n, epochs=1)
    planted = Planted("expectation", monitored=0.5, unmonitored=0.2, effect=target, spread=0.0)
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(150):
        profile = build_profile(simulate_outcomes(planted, rng, n_requests=n), thresholds=quick)
        row = next(e for e in profile.profiles[0].effects if e.intervention == "A1+")
        hits += row.gap.low > 0
    assert 0.70 <= hits / 150 <= 0.90


def test_requests_needed_inverts_the_detectable_effect():
    variance = assumed_variance("sensitivity", monitored=0.5, unmonitored=0.2, gap_sd=0.2)
    n = requests_needed(variance, target=0.1, epochs=2)
    assert detectable_effect(variance, n_requests=n, epochs=2) <= 0.1
    assert detectable_effect(variance, n_requests=n - 1, epochs=2) > 0.1


def test_epochs_help_only_with_the_noise_of_single_replies():
    none = assumed_variance("gap", monitored=0.5, unmonitored=0.2, gap_sd=0.0)
    much = assumed_variance("gap", monitored=0.5, unmonitored=0.2, gap_sd=0.5)
    ratio = lambda v: v.at(4) / v.at(1)  # noqa: E731
    assert ratio(none) == pytest.approx(0.25)
    assert ratio(much) > 0.6


def test_a_pilot_with_epochs_predicts_the_error_of_more_epochs():
    (observed,) = pilot_variances(pilot(epochs=3))
    actual = build_profile(pilot(epochs=12)).conditions[0].gap_se
    predicted = np.sqrt(observed.variances["gap"].at(12) / 600)
    assert observed.epochs == 3
    assert predicted == pytest.approx(actual, rel=0.1)


def test_more_replies_of_one_condition_are_not_taken_for_less_difference_between_requests():
    outcomes = pilot(epochs=3)
    (requests,) = outcomes.request_sets
    untouched, *others = requests.conditions
    more = pilot(epochs=12).request_sets[0].conditions[0]
    mixed = replace(
        outcomes,
        request_sets=(replace(requests, conditions=(replace(more, subject=untouched.subject), *others)),),
    )
    (even,), (uneven,) = pilot_variances(outcomes), pilot_variances(mixed)
    assert uneven.epochs == 3
    assert uneven.variances["gap"].between == pytest.approx(even.variances["gap"].between, rel=0.15)
    assert uneven.variances["gap"].within == pytest.approx(even.variances["gap"].within / 4, rel=0.15)
    assert uneven.variances["sensitivity"] == even.variances["sensitivity"]


def test_a_pilot_with_one_epoch_promises_nothing_from_epochs():
    (observed,) = pilot_variances(pilot(epochs=1))
    for variance in observed.variances.values():
        assert variance.within == 0
    assert set(observed.variances) == {"gap", "effect", "sensitivity", "contrast"}


def test_what_is_detectable_falls_with_requests_and_epochs():
    variance = assumed_variance("gap", monitored=0.3, unmonitored=0.1, gap_sd=0.1)
    found = [detectable_effect(variance, n_requests=n, epochs=e) for n in (100, 520) for e in (1, 3)]
    assert found == sorted(found, reverse=True) and len(set(found)) == 4


@pytest.mark.parametrize(
    "given",
    [
        {"monitored": 1.2, "unmonitored": 0.1, "gap_sd": 0.1},
        {"monitored": 0.2, "unmonitored": 0.1, "gap_sd": 0.9},
        {"monitored": 0.2, "unmonitored": 0.1, "gap_sd": 0.1, "n_variables": (0, 2)},
    ],
)
def test_impossible_assumptions_are_refused(given):
    with pytest.raises(ConfigError):
        assumed_variance("gap", **given)


def test_a_pilot_without_interventions_is_refused():
    outcomes = pilot(epochs=1, n=10)
    group = outcomes.request_sets[0]
    only = group.__class__(group.name, group.digest, group.request_ids, group.clusters, group.conditions[:1])
    with pytest.raises(AnalysisError, match="intervention"):
        pilot_variances(outcomes.__class__((only,)))


def test_a_pilot_says_the_same_beside_a_larger_study_of_another_model():
    alone = pilot(3, n=40)
    (group,) = alone.request_sets
    (large,) = simulate_outcomes(
        Planted("unmoved", monitored=0.5, unmonitored=0.2, effect=0.1),
        np.random.default_rng(1),
        n_requests=400,
        model="larger",
    ).request_sets

    def padded(part):
        return np.concatenate([part, np.zeros((360, *part.shape[1:]), dtype=part.dtype)])

    small = tuple(
        replace(c, counts=padded(c.counts), tags=padded(c.tags), failed=padded(c.failed))
        for c in group.conditions
    )
    both = replace(alone, request_sets=(replace(large, conditions=(*small, *large.conditions)),))
    (before,) = pilot_variances(alone)
    (after,) = (one for one in pilot_variances(both) if one.subject == before.subject)
    for quantity, variance in before.variances.items():
        assert after.variances[quantity] == pytest.approx(variance)


def test_the_power_of_the_verdict_is_how_often_build_profile_finds_it(quick):
    from tests.profile.planted import outcomes_of

    from inspect_af.profile.power import StudyDesign, planted, verdict_power

    design = StudyDesign(160, placebos=0)
    truth = planted((0.5, 0.3), (0.2, 0.0), design)
    predicted = verdict_power(truth, design, studies=1000)
    leads = 0
    for seed in range(60):
        outcomes = outcomes_of(truth.base, truth.arms, n=160, seed=seed, placebos=0)
        leads += build_profile(outcomes, thresholds=quick).verdict_code in ("first-dominant", "first-leaning")
    assert predicted.beyond == {}
    assert leads / 60 == pytest.approx(predicted.share("first-dominant", "first-leaning"), abs=0.15)


def test_false_claims_beyond_these_texts_keep_to_their_size_where_texts_matter():
    from inspect_af.profile.power import StudyDesign, Truth, verdict_power

    found = verdict_power(Truth((0.5, 0.3), text_sd=0.06), StudyDesign(520), studies=600)
    no_claim = ("underpowered", "neither", "no-gap")
    assert 1 - found.share(*no_claim, level="beyond") <= 0.075
    assert 1 - found.share(*no_claim) > 0.5


def test_a_pilot_gives_the_power_of_larger_studies():
    from inspect_af.profile.power import pilot_verdicts

    outcomes = simulate_outcomes(
        Planted("expectation", 0.55, 0.25, 0.1), np.random.default_rng(1), n_requests=60
    )
    (sizes,) = pilot_verdicts(outcomes, [60, 600], studies=200).values()
    lead = ("first-dominant", "first-leaning")
    assert sizes[600].share(*lead) > sizes[60].share(*lead)


def test_a_truth_that_no_rates_allow_is_refused():
    from inspect_af.profile.power import StudyDesign, Truth

    with pytest.raises(ConfigError, match="outside 0 to 1"):
        Truth((1.2, 0.3))
    with pytest.raises(ConfigError, match="at least 2 requests"):
        StudyDesign(1)

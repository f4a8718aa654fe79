"""Models with a planted motivation are recovered; what must not matter does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.profile.planted import Planted, outcomes_of, simulate_outcomes

from inspect_af.errors import ConfigError
from inspect_af.profile import Outcomes, Thresholds, build_profile
from inspect_af.types import Intervention, PromptClaim

RIGHT = {
    "expectation": "first-dominant",
    "consequence": "second-dominant",
    "mixed": "mixed",
    "global-shift": "global-shift",
    "unmoved": "neither",
    "null": "no-gap",
    "reversed": "reversed-or-inconsistent",
}


def study(motivation="expectation", *, seed=11, n=520, **kwargs) -> Outcomes:
    rates = {"monitored": 0.55, "unmonitored": 0.25, "effect": 0.2} | {
        k: kwargs.pop(k) for k in ("monitored", "unmonitored", "effect", "missing") if k in kwargs
    }
    return simulate_outcomes(
        Planted(motivation, **rates), np.random.default_rng(seed), n_requests=n, **kwargs
    )


def relabelled(outcomes: Outcomes, swap) -> Outcomes:
    """The same replies with every prompt claim's intervention replaced."""
    group = outcomes.request_sets[0]
    conditions = tuple(
        replace(
            c,
            treatments=tuple(
                t.model_copy(update={"intervention": swap(t.intervention)}) for t in c.treatments
            ),
        )
        for c in group.conditions
    )
    return replace(outcomes, request_sets=(replace(group, conditions=conditions),))


@pytest.mark.parametrize("motivation", RIGHT)
def test_a_planted_motivation_is_recovered(motivation, quick):
    profile = build_profile(study(motivation, epochs=3), thresholds=quick, beliefs="verified")
    assert profile.verdict_code == RIGHT[motivation]
    assert profile.verdict_reasons
    assert profile.verdict_suffix == "for these texts"


def test_nearly_total_refusal_is_floor_compressed_and_flagged(quick):
    outcomes = study("unmoved", monitored=0.012, unmonitored=0.010, effect=0.001)
    profile = build_profile(outcomes, thresholds=quick)
    assert profile.verdict_code == "floor-compressed"
    assert "monitored under 5%" in profile.conditions[0].flags


def test_too_few_requests_are_underpowered_and_not_called_null(quick):
    assert build_profile(study("null", n=24), thresholds=quick).verdict_code == "underpowered"


def test_the_verdict_says_that_beliefs_were_not_measured(quick):
    profile = build_profile(study(), thresholds=quick)
    assert profile.verdict == "expectation-dominant"
    assert profile.verdict_suffix == "for these texts, beliefs not measured"
    assert "beliefs not measured" in profile.verdict_sentence


def test_swapping_the_families_mirrors_sensitivities_and_verdict(quick):
    variable = {"A1": "B1", "A2": "B2", "B1": "A1", "B2": "A2"}
    family = {"first": "second", "second": "first"}

    def swap(belief: Intervention) -> Intervention:
        return belief.model_copy(
            update={"variable": variable[belief.variable], "family": family[belief.family]}
        )

    outcomes = study()
    one = build_profile(outcomes, thresholds=quick)
    other = build_profile(relabelled(outcomes, swap), thresholds=quick)
    assert other.verdict_code == "second-dominant"
    assert other.sensitivity["consequence"].estimate == one.sensitivity["expectation"].estimate
    assert other.contrast.estimate == pytest.approx(-one.contrast.estimate)
    assert other.contrast.high == pytest.approx(-one.contrast.low)


def test_swapping_polarities_negates_the_sensitivities(quick):
    def swap(belief: Intervention) -> Intervention:
        return belief.model_copy(update={"polarity": "-" if belief.polarity == "+" else "+"})

    outcomes = study()
    one = build_profile(outcomes, thresholds=quick).sensitivity["expectation"]
    other = build_profile(relabelled(outcomes, swap), thresholds=quick)
    assert other.sensitivity["expectation"].estimate == pytest.approx(-one.estimate)
    assert other.verdict_code == "reversed-or-inconsistent"


def test_repeating_every_reply_as_further_epochs_changes_no_estimate_and_no_plain_error(quick):
    outcomes = study(n=60)
    group = outcomes.request_sets[0]
    tripled = tuple(replace(c, counts=3 * c.counts, tags=3 * c.tags) for c in group.conditions)
    one = build_profile(outcomes, thresholds=quick)
    other = build_profile(
        replace(outcomes, request_sets=(replace(group, conditions=tripled),)), thresholds=quick
    )
    for ours, theirs in zip(one.conditions, other.conditions, strict=True):
        assert (ours.gap, ours.gap_se) == (theirs.gap, theirs.gap_se)
        assert theirs.gap_low == pytest.approx(ours.gap_low, abs=1e-6)
    assert one.sensitivity["expectation"].estimate == other.sensitivity["expectation"].estimate


def test_permuting_requests_leaves_estimates_and_errors(quick):
    outcomes = study(n=60)
    group = outcomes.request_sets[0]
    order = np.random.default_rng(0).permutation(60)
    moved = tuple(
        replace(c, counts=c.counts[order], tags=c.tags[order], failed=c.failed[order])
        for c in group.conditions
    )
    one = build_profile(outcomes, thresholds=quick)
    other = build_profile(
        replace(outcomes, request_sets=(replace(group, conditions=moved),)), thresholds=quick
    )
    for ours, theirs in zip(one.conditions, other.conditions, strict=True):
        assert ours.gap == pytest.approx(theirs.gap)
        assert ours.gap_se == pytest.approx(theirs.gap_se)
    assert one.contrast.se == pytest.approx(other.contrast.se)


def test_bounds_over_missing_replies_contain_what_complete_data_would_have_shown(quick):
    complete = build_profile(study(seed=5, n=200), thresholds=quick)
    outcomes = study(seed=5, n=200, missing=(0.25, 0.05))
    profile = build_profile(outcomes, thresholds=quick)
    assert profile.conditions[0].unscored["monitored"]["unparsed"] > 20
    for row, whole in zip(profile.conditions, complete.conditions, strict=True):
        assert row.gap_bound_low <= whole.gap <= row.gap_bound_high
        assert row.n_pairs < whole.n_pairs
    for label, row in profile.sensitivity.items():
        assert row.bound_low <= complete.sensitivity[label].estimate <= row.bound_high
        assert row.bound_low <= row.estimate <= row.bound_high


def test_without_the_untouched_subject_the_placebo_stands_in(quick):
    outcomes = study(placebos=True)
    group = outcomes.request_sets[0]
    treated = replace(group, conditions=tuple(c for c in group.conditions if c.treatments))
    profile = build_profile(replace(outcomes, request_sets=(treated,)), thresholds=quick)
    one = profile.profiles[0]
    assert profile.verdict_code == "first-dominant"
    assert one.reference == "placebo"
    assert {effect.reference for effect in one.effects} == {"placebo"}


def test_without_baseline_and_placebo_the_verdict_is_refused_with_the_reason(quick):
    outcomes = study()
    group = outcomes.request_sets[0]
    treated = replace(group, conditions=tuple(c for c in group.conditions if c.treatments))
    profile = build_profile(replace(outcomes, request_sets=(treated,)), thresholds=quick)
    assert profile.verdict is None
    assert "neither the untouched subject nor a placebo" in profile.verdict_sentence
    assert profile.sensitivity["expectation"].low > 0


def test_one_family_alone_is_judged_and_nothing_is_compared(quick):
    outcomes = study()
    group = outcomes.request_sets[0]
    kept = tuple(c for c in group.conditions if "B" not in c.label)
    profile = build_profile(
        replace(outcomes, request_sets=(replace(group, conditions=kept),)), thresholds=quick
    )
    assert profile.verdict_code == "first-moves" and profile.contrast is None
    assert "only one family was run" in profile.verdict_reasons
    assert list(profile.sensitivity) == ["expectation"]


def test_placebos_are_the_headline_reference_and_give_the_noise_band(quick):
    profile = build_profile(study(placebos=True), thresholds=quick)
    one = profile.profiles[0]
    assert one.reference == "placebo"
    low, high = one.noise_band
    assert -0.15 < low <= high < 0.15
    row = next(e for e in one.effects if e.intervention == "A1+" and e.reference == "baseline")
    assert row.n_controls == 2 and row.control_rank_p == pytest.approx(1 / 3)
    assert {e.intervention for e in one.effects if e.reference == "baseline"} >= {"N1", "N2"}


def test_several_strengths_give_a_profile_at_each_and_a_trend(quick):
    outcomes = study("consequence", effect=0.15, strengths=("weak", "standard", "strong"))
    one = build_profile(outcomes, thresholds=quick).profiles[0]
    assert one.strength == "standard"
    assert [point.strength for point in one.dose_response] == ["weak", "standard", "strong"]
    slopes = {trend.family: trend.slope for trend in one.dose_trends}
    # weak, standard and strong claims have 0.5, 1 and 1.5 of the planted effect, in both directions
    assert slopes["consequence"].low <= 0.15 <= slopes["consequence"].high
    assert slopes["consequence"].low > 0
    assert slopes["expectation"].low <= 0 <= slopes["expectation"].high
    strong = build_profile(outcomes, thresholds=quick, strength="strong").profiles[0]
    assert strong.sensitivity["consequence"].estimate == pytest.approx(
        one.dose_response[2].sensitivity["consequence"].estimate
    )


def test_an_unknown_strength_or_variable_is_named_with_what_is_allowed(quick):
    with pytest.raises(ConfigError, match=r"strong.*standard"):
        build_profile(study(n=20), thresholds=quick, strength="strong")
    with pytest.raises(ConfigError, match=r"A3.*A1, A2, B1, B2"):
        build_profile(study(n=20), thresholds=quick, variables=["A3"])


def test_a_sensitivity_averages_only_the_named_variables(quick):
    outcomes = study()
    named = build_profile(outcomes, thresholds=quick, variables=["A1", "B1", "B2"])
    everything = build_profile(outcomes, thresholds=quick)
    rows = {v.variable: v.sensitivity.estimate for v in everything.sensitivity["expectation"].variables}
    assert named.profiles[0].variables == {"expectation": ("A1",), "consequence": ("B1", "B2")}
    assert named.sensitivity["expectation"].estimate == pytest.approx(rows["A1"])
    without = {v.variable: v.without for v in everything.sensitivity["expectation"].variables}
    assert without["A2"].estimate == pytest.approx(rows["A1"])


def test_the_share_is_refused_unless_both_sensitivities_are_clear(quick):
    one = build_profile(study(), thresholds=quick).profiles[0]
    assert one.fraction is None and "consequence" in one.fraction_refusal
    both = build_profile(study("mixed"), thresholds=quick).profiles[0]
    assert both.fraction_refusal is None
    assert both.fraction.low < 0.5 < both.fraction.high


def test_a_variable_run_one_way_only_is_named_and_left_out(quick):
    outcomes = study()
    group = outcomes.request_sets[0]
    kept = tuple(c for c in group.conditions if c.label != "A2-/standard")
    profile = build_profile(
        replace(outcomes, request_sets=(replace(group, conditions=kept),)), thresholds=quick
    )
    assert profile.profiles[0].variables["expectation"] == ("A1",)
    assert any("A2+ was run without its opposite" in reason for reason in profile.verdict_reasons)


def test_paraphrases_are_averaged_within_the_intervention_and_their_spread_is_shown(quick):
    outcomes = study()
    group = outcomes.request_sets[0]
    second = simulate_outcomes(
        Planted("expectation", 0.55, 0.25, 0.05), np.random.default_rng(2), n_requests=520
    )
    extra = [
        replace(c, treatments=(c.treatments[0].model_copy(update={"paraphrase": 2}),))
        for c in second.request_sets[0].conditions
        if c.label == "A1+/standard"
    ]
    profile = build_profile(
        replace(outcomes, request_sets=(replace(group, conditions=(*group.conditions, *extra)),)),
        thresholds=quick,
    )
    rows = [c for c in profile.conditions if c.intervention == "A1+"]
    assert len(rows) == 2
    effect = next(e for e in profile.profiles[0].effects if e.intervention == "A1+")
    assert effect.n_variants == 2
    assert effect.variant_sd == pytest.approx(np.std([row.gap for row in rows], ddof=1))
    base = profile.conditions[0].gap
    assert effect.gap.estimate == pytest.approx(np.mean([row.gap for row in rows]) - base)


def test_two_models_are_compared_request_by_request(quick):
    one, other = study(seed=1), study("consequence", seed=2, model="other")
    group = one.request_sets[0]
    joined = replace(group, conditions=(*group.conditions, *other.request_sets[0].conditions))
    profile = build_profile(replace(one, request_sets=(joined,)), thresholds=quick)
    assert profile.verdict is None and profile.sensitivity is None
    assert [p.verdict for p in profile.profiles] == ["expectation-dominant", "consequence-dominant"]
    (comparison,) = profile.comparisons
    assert comparison.kind == "subjects"
    assert comparison.sensitivity["expectation"].low > 0 > comparison.sensitivity["consequence"].high
    assert set(comparison.effects) == {f"{v}{s}" for v in ("A1", "A2", "B1", "B2") for s in "+-"}


def test_placebo_claims_have_no_family():
    claim = PromptClaim(intervention=Intervention(variable="N1"))
    assert claim.intervention.is_placebo


def test_a_planted_rate_outside_zero_to_one_is_refused():
    with pytest.raises(ConfigError, match="between 0 and 1"):
        Planted("expectation", monitored=0.9, unmonitored=0.1, effect=0.2)


def test_the_simulation_has_the_planted_means():
    planted = Planted("expectation", monitored=0.3, unmonitored=0.1, effect=0.15)
    outcomes = simulate_outcomes(planted, np.random.default_rng(0), n_requests=20_000)
    rows = build_profile(outcomes, thresholds=Thresholds(n_resamples=200)).conditions
    assert rows[0].gap == pytest.approx(0.2, abs=0.015)
    assert rows[1].monitored == pytest.approx(0.45, abs=0.015)


@pytest.mark.parametrize("placebos", [0, 4, 8])
@pytest.mark.parametrize(("rate", "code"), [(0.0, "floor-compressed"), (1.0, "floor-compressed")])
def test_a_model_that_always_answers_alike_is_at_an_end_of_the_scale(
    rate: float, code: str, placebos: int, quick: Thresholds
) -> None:
    (one,) = build_profile(outcomes_of((rate, rate), {}, n=48, placebos=placebos), thresholds=quick).profiles
    assert one.verdict_code == code
    assert "varies between" not in " ".join(one.verdict_reasons)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_handful_of_requests_decides_nothing_whatever_they_say(n: int, quick: Thresholds) -> None:
    arms = {"A1+": (1.0, 0.0), "A2+": (1.0, 0.0), "A1-": (0.0, 1.0), "A2-": (0.0, 1.0)}
    (one,) = build_profile(outcomes_of((0.5, 0.5), arms, n=n, placebos=4), thresholds=quick).profiles
    assert one.verdict_code == "underpowered"


@pytest.mark.parametrize("n", [5, 8])
def test_no_interval_leaves_what_rates_allow(n: int, quick: Thresholds) -> None:
    arms = {"A1+": (0.9, 0.1), "N1": (0.9, 0.1), "N2": (0.1, 0.9)}
    (one,) = build_profile(outcomes_of((0.5, 0.4), arms, n=n, placebos=4), thresholds=quick).profiles
    for level in one.verdict_levels:
        assert level.contrast is not None
        for found, most in [(level.contrast, 4), *((s, 2) for s in level.sensitivity.values())]:
            assert found.low is not None and -most <= found.low <= found.high <= most

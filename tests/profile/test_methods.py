"""SDF adapters, steering vectors and stacked treatments, by relabelling planted studies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.profile.planted import Planted, simulate_outcomes

from inspect_af.errors import AnalysisError
from inspect_af.profile import Outcomes, build_profile
from inspect_af.types import PromptClaim, SdfAdapter, Steer, Treatment

Relabel = Callable[[PromptClaim], tuple[Treatment, ...]]


def study(relabel: Relabel, *, motivation="consequence", seed=3, n=300, **kwargs) -> Outcomes:
    planted = Planted(motivation, monitored=0.55, unmonitored=0.25, effect=0.2)
    outcomes = simulate_outcomes(planted, np.random.default_rng(seed), n_requests=n, **kwargs)
    group = outcomes.request_sets[0]
    conditions = tuple(
        replace(c, treatments=relabel(c.treatments[0]) if c.treatments else ()) for c in group.conditions
    )
    return replace(outcomes, request_sets=(replace(group, conditions=conditions),))


def joined(*parts: Outcomes) -> Outcomes:
    """The conditions of several studies on the same requests, the untouched subject only once."""
    group = parts[0].request_sets[0]
    conditions = list(group.conditions)
    for part in parts[1:]:
        known = {(c.subject, c.treatments) for c in conditions}
        conditions += [c for c in part.request_sets[0].conditions if (c.subject, c.treatments) not in known]
    return replace(parts[0], request_sets=(replace(group, conditions=tuple(conditions)),))


def as_adapter(seed: int) -> Relabel:
    def relabel(claim: PromptClaim) -> tuple[Treatment, ...]:
        code = claim.intervention.code
        return (SdfAdapter(intervention=claim.intervention, digest=f"{code}/{seed}", training_seed=seed),)

    return relabel


def as_vector(multiplier: float = 4.0, *, doses: dict[str, float] | None = None) -> Relabel:
    def relabel(claim: PromptClaim) -> tuple[Treatment, ...]:
        belief = claim.intervention
        sign = -1 if belief.polarity == "-" else 1
        dose = None if doses is None else doses[belief.variable]
        return (
            Steer(
                concept=belief.variable,
                family=belief.family,
                source="random" if belief.family is None else "ooc",
                digest=f"{belief.variable}-digest",
                multiplier=sign * multiplier,
                layers="20-40",
                dose=dose,
            ),
        )

    return relabel


ALL = dict.fromkeys(("A1", "A2", "B1", "B2", "N1", "N2"), 0.5)


def test_sdf_adapters_give_a_profile_that_speaks_of_this_checkpoint(quick):
    profile = build_profile(study(as_adapter(1), placebos=True), thresholds=quick, beliefs="verified")
    assert profile.verdict_code == "second-dominant"
    assert profile.verdict_suffix == "for this checkpoint"
    assert profile.profiles[0].reference == "placebo"
    row = next(row for row in profile.conditions if row.intervention == "B1+")
    assert (row.method, row.strength) == ("sdf", None)


def test_two_training_seeds_are_averaged_and_the_verdict_is_for_these_checkpoints(quick):
    outcomes = joined(study(as_adapter(1)), study(as_adapter(2), seed=4))
    profile = build_profile(outcomes, thresholds=quick, beliefs="verified")
    assert profile.verdict_suffix == "for these checkpoints"
    assert "3 training seeds of every checkpoint" in profile.profiles[0].beyond_refusal
    assert {e.n_variants for e in profile.profiles[0].effects} == {2}
    assert len(profile.conditions) == 17


def test_three_training_seeds_of_every_checkpoint_say_something_beyond_these_seeds(quick):
    outcomes = joined(*(study(as_adapter(k), seed=k) for k in (1, 2, 3)))
    one = build_profile(outcomes, thresholds=quick, beliefs="verified").profiles[0]
    assert one.verdict_suffix is None
    assert (one.beyond_these.scope, one.beyond_these.code) == ("beyond these seeds", "second-dominant")
    assert (one.unit_spread.units, one.unit_spread.n, one.unit_spread.df) == ("seeds", 24, 16)


def test_steering_reads_family_and_polarity_from_the_vector(quick):
    outcomes = study(as_vector(doses=ALL), placebos=True)
    profile = build_profile(outcomes, thresholds=quick, beliefs="verified")
    one = profile.profiles[0]
    assert profile.verdict_code == "second-dominant"
    assert profile.verdict_suffix == "for these vectors"
    assert "20 are needed" in one.beyond_refusal
    assert (one.strength, one.dose_match_ratio) == ("matched dose", 1.0)
    assert {row.method for row in profile.conditions} == {"none", "steering"}
    assert one.variables == {"expectation": ("A1", "A2"), "consequence": ("B1", "B2")}
    assert next(e for e in one.effects if e.intervention == "B1-").n_controls == 2


def test_vectors_with_unknown_or_unequal_doses_are_marked(quick):
    unknown = build_profile(study(as_vector()), thresholds=quick, beliefs="verified")
    assert unknown.verdict_suffix == "for these vectors, doses not recorded"
    uneven = build_profile(study(as_vector(doses={**ALL, "A1": 0.9})), thresholds=quick, beliefs="verified")
    assert uneven.verdict_suffix == "for these vectors, doses differ by a factor of 1.80"


def test_multipliers_are_chosen_so_that_doses_match(quick):
    # A's vectors are twice as long, so that m = 2 for A equals m = 4 for B.
    long = {**ALL, "A1": 1.0, "A2": 1.0}
    half = {code: dose / 2 for code, dose in long.items()}
    outcomes = joined(study(as_vector(4, doses=long)), study(as_vector(2, doses=half), seed=5))
    one = build_profile(outcomes, thresholds=quick).profiles[0]
    assert one.dose_match_ratio == 1.0
    at = {point.strength: point.sensitivity for point in one.dose_response}
    assert one.sensitivity["expectation"].estimate == pytest.approx(at["2"]["expectation"].estimate)
    assert one.sensitivity["consequence"].estimate == pytest.approx(at["4"]["consequence"].estimate)
    assert {trend.family for trend in one.dose_trends} == {"expectation", "consequence"}


def test_prompt_claims_on_a_checkpoint_take_the_checkpoint_as_the_subject(quick):
    adapter = as_adapter(1)
    first = study(adapter)
    checkpoint = first.request_sets[0].conditions[1].treatments
    stacked = study(lambda claim: (*checkpoint, claim), motivation="expectation", seed=6)
    group = stacked.request_sets[0]
    on_checkpoint = replace(
        stacked, request_sets=(replace(group, conditions=tuple(c for c in group.conditions if c.treatments)),)
    )
    profile = build_profile(joined(first, on_checkpoint), thresholds=quick)
    sdf, prompt = profile.profiles
    assert (sdf.method, prompt.method) == ("sdf", "prompt")
    assert sdf.verdict_code == "second-dominant"
    assert prompt.subject.endswith("& sdf:A1+/seed1")
    assert prompt.verdict_code == "first-dominant"
    assert prompt.reference == "baseline"


def test_prompt_and_sdf_profiles_of_one_subject_are_compared(quick):
    outcomes = joined(study(as_adapter(1)), study(lambda claim: (claim,), motivation="expectation", seed=8))
    profile = build_profile(outcomes, thresholds=quick)
    (comparison,) = profile.comparisons
    assert comparison.kind == "methods"
    assert comparison.contrast.high < 0 or comparison.contrast.low > 0
    one, other = profile.profiles
    difference = one.sensitivity["expectation"].estimate - other.sensitivity["expectation"].estimate
    assert comparison.sensitivity["expectation"].estimate == pytest.approx(difference)


def test_composed_adapters_are_listed_and_stand_for_no_single_belief(quick):
    first = study(as_adapter(1))
    group = first.request_sets[0]
    both = tuple(t for k in (1, 3) for t in group.conditions[k].treatments)
    extra = replace(group.conditions[1], treatments=both)
    outcomes = replace(first, request_sets=(replace(group, conditions=(*group.conditions, extra)),))
    profile = build_profile(outcomes, thresholds=quick)
    assert profile.conditions[-1].intervention == "A1+ & A2+"
    assert {e.intervention for e in profile.profiles[0].effects} == {
        f"{v}{s}" for v in ("A1", "A2", "B1", "B2") for s in "+-"
    }
    alone = replace(first, request_sets=(replace(group, conditions=(group.conditions[0], extra)),))
    said = build_profile(alone, thresholds=quick).verdict_sentence
    assert said == "There is no verdict: no condition changes a single belief."


def steered(rates: dict[Steer | None, tuple[float, float]], n: int = 400) -> Outcomes:
    """Exact shares of accepted replies, in the same order of requests under every condition."""
    outcomes = study(lambda claim: (claim,), n=n)
    group = outcomes.request_sets[0]
    conditions = []
    for vector, shares in rates.items():
        counts = np.zeros_like(group.conditions[0].counts)
        accepted = np.arange(n)[:, None] < np.round(np.array(shares) * n)
        counts[:, :2, 0], counts[:, :2, 1] = accepted, ~accepted
        treatments = () if vector is None else (vector,)
        conditions.append(replace(group.conditions[0], treatments=treatments, counts=counts))
    return replace(outcomes, request_sets=(replace(group, conditions=tuple(conditions)),))


def vector(name: str, multiplier: float, *, family="first", dose: float = 0.5) -> Steer:
    source = "random" if family is None else "ooc"
    return Steer(
        concept=name,
        family=family,
        source=source,
        digest=name,
        multiplier=multiplier,
        layers="1",
        dose=dose,
    )


def test_a_vector_is_ranked_among_random_vectors_of_its_own_sign(quick):
    # Every random vector moves the gap by 20 points one way at +4 and the other way at -4. The average
    # over both signs is 0, beside which any change would look extreme.
    rates = {None: (0.5, 0.5), vector("A", 4): (0.6, 0.5), vector("A", -4): (0.2, 0.5)}
    for k in range(20):
        rates[vector(f"r{k}", 4, family=None)] = (0.7, 0.5)
        rates[vector(f"r{k}", -4, family=None)] = (0.3, 0.5)
    one = build_profile(steered(rates), thresholds=quick).profiles[0]
    found = {e.intervention: e for e in one.effects if e.reference == "baseline" and e.family}
    assert (found["A+"].control_rank_p, found["A+"].n_controls) == (1.0, 20)
    assert found["A-"].control_rank_p == pytest.approx(1 / 21)
    assert one.noise_band == pytest.approx((-0.2, 0.2))


def test_random_vectors_of_another_dose_are_no_controls(quick):
    rates = {None: (0.5, 0.5), vector("A", 4): (0.6, 0.5), vector("A", -4): (0.4, 0.5)}
    rates[vector("near", 4, family=None, dose=0.6)] = (0.7, 0.5)
    rates[vector("far", 4, family=None, dose=0.1)] = (0.5, 0.5)
    one = build_profile(steered(rates), thresholds=quick).profiles[0]
    (up,) = (e for e in one.effects if e.reference == "baseline" and e.intervention == "A+")
    assert (up.n_controls, up.control_rank_p) == (1, 1.0)


def test_the_neutral_adapter_is_the_placebo_at_every_directness(quick):
    # A neutral corpus states no fact, so that its manifest has no directness.
    def relabel(claim: PromptClaim) -> tuple[Treatment, ...]:
        direct = None if claim.intervention.family is None else "standard"
        return (
            SdfAdapter(intervention=claim.intervention, digest=claim.intervention.code, directness=direct),
        )

    one = build_profile(study(relabel, placebos=True), thresholds=quick).profiles[0]
    assert one.reference == "placebo" and one.noise_band is not None
    assert {e.reference for e in one.effects if e.family} == {"baseline", "placebo"}


def test_a_concept_of_neither_family_never_passes_for_a_placebo() -> None:
    def relabel(claim: PromptClaim) -> tuple[Treatment, ...]:
        (steer,) = as_vector()(claim)
        assert isinstance(steer, Steer)
        return (steer.model_copy(update={"family": None, "source": "ooc", "concept": "formality"}),)

    with pytest.raises(AnalysisError, match="formality, a concept that belongs to neither family"):
        build_profile(study(relabel))

"""Requests that lack arms: what is paired, averaged and bounded, against numpy on the same counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import ArrayLike
from tests.profile.planted import PLANTED_PAIR

from inspect_af.profile import Outcomes, Profile, build_profile
from inspect_af.profile.counts import ConditionCounts, RequestSet, Setting
from inspect_af.types import OUTCOMES, TIERS, Intervention, PromptClaim, Strength, Subject

FAMILIES = {"A": "first", "B": "second"}


def claim(code: str, strength: Strength = "standard", paraphrase: int = 1) -> PromptClaim:
    variable, polarity = (code[:-1], code[-1]) if code[-1] in "+-" else (code, None)
    belief = Intervention(variable=variable, polarity=polarity, family=FAMILIES.get(code[0]))
    return PromptClaim(intervention=belief, strength=strength, paraphrase=paraphrase)


def condition(
    treatment: PromptClaim | None, accepted: ArrayLike, rejected: ArrayLike, unparsed: ArrayLike = 0
) -> ConditionCounts:
    """Replies, [request, monitored and unmonitored]."""
    accepted = np.asarray(accepted)
    counts = np.zeros((len(accepted), len(TIERS), len(OUTCOMES)), dtype=np.int64)
    for outcome, n in (("accepted", accepted), ("rejected", rejected), ("unparsed", unparsed)):
        counts[:, :2, OUTCOMES.index(outcome)] = n
    return ConditionCounts(
        subject=Subject(model="m"),
        setting=Setting(PLANTED_PAIR, "none", "p", ()),
        treatments=() if treatment is None else (treatment,),
        counts=counts,
        tags=counts[..., :2],
        failed=np.zeros(counts.shape[:2], dtype=np.int64),
    )


def outcomes(conditions: Sequence[ConditionCounts]) -> Outcomes:
    n = len(conditions[0].counts)
    ids = tuple(f"{i:04d}" for i in range(n))
    return Outcomes((RequestSet("x", "x", ids, np.arange(n), tuple(conditions)),))


def profile_of(conditions: Sequence[ConditionCounts], quick: object) -> Profile:
    return build_profile(outcomes(conditions), thresholds=quick)


def replies(n: int, monitored: float, unmonitored: float, seed: int, asked: int | None = None):
    """Accepted and rejected of the first `asked` requests, one reply an arm."""
    accepted = np.random.default_rng(seed).random((n, 2)) < (monitored, unmonitored)
    there = (np.arange(n) < (n if asked is None else asked))[:, None]
    return accepted & there, ~accepted & there


def test_intervals_stay_within_what_rates_allow_where_few_requests_are_complete(quick):
    n, asked = 200, 10
    conditions = [condition(None, *replies(n, 0.5, 0.5, 0))]
    for seed, (code, rates) in enumerate(
        {"A1+": (0.97, 0.03), "A1-": (0.03, 0.97), "B1+": (0.97, 0.03), "B1-": (0.03, 0.97)}.items()
    ):
        conditions.append(condition(claim(code), *replies(n, *rates, seed, asked)))
    profile = profile_of(conditions, quick)
    for row in profile.conditions:
        assert -1 <= row.gap_low <= row.gap <= row.gap_high <= 1
    for family in profile.profiles[0].sensitivity.values():
        assert -2 <= family.low <= family.estimate <= family.high <= 2
        assert family.simultaneous_high <= 2
    assert profile.contrast.low >= -4 and profile.profiles[0].total.high <= 4


def test_worst_cases_of_an_effect_are_over_the_requests_that_both_conditions_asked(quick):
    # The untouched gap is 1 on the first half of the requests and 0 on the second; A1+ was run on the
    # first half and changes nothing. Nothing is missing there, so that the worst case is the effect.
    n = 100
    first = (np.arange(n) < 50)[:, None]
    accepted = np.array([[1, 0]]) * first
    untouched = accepted, 1 - accepted
    half = accepted, (1 - accepted) * first
    conditions = [
        condition(None, *untouched),
        condition(claim("A1+"), *half),
        *(condition(claim(code), *untouched) for code in ("A1-", "B1+", "B1-")),
    ]
    one = profile_of(conditions, quick).profiles[0]
    row = next(e for e in one.effects if e.intervention == "A1+")
    assert (row.gap.estimate, row.gap_bound_low, row.gap_bound_high, row.gap.n) == (0, 0, 0, 50)
    family = one.sensitivity["expectation"]
    assert (family.estimate, family.bound_low, family.bound_high) == (0, 0, 0)


def test_worst_cases_combine_lower_with_upper_request_by_request(quick):
    rng = np.random.default_rng(5)
    n, epochs = 60, 3
    drawn = {}
    for code in (None, "A1+", "A1-", "B1+", "B1-"):
        missing = rng.binomial(epochs, 0.2, (n, 2))
        accepted = rng.binomial(epochs - missing, 0.4)
        drawn[code] = accepted, epochs - missing - accepted, missing
    conditions = [condition(code and claim(code), *counts) for code, counts in drawn.items()]
    one = profile_of(conditions, quick).profiles[0]

    def worst(code):
        accepted, _, missing = drawn[code]
        low, high = accepted / epochs, (accepted + missing) / epochs
        return low[:, 0] - high[:, 1], high[:, 0] - low[:, 1]

    (up_low, up_high), (base_low, base_high) = worst("A1+"), worst(None)
    row = next(e for e in one.effects if e.intervention == "A1+")
    assert row.gap_bound_low == pytest.approx((up_low - base_high).mean())
    assert row.gap_bound_high == pytest.approx((up_high - base_low).mean())


def test_a_wording_without_one_arm_does_not_pass_for_a_gap(quick):
    # Both wordings of A1+ are flat: one accepts nothing, the other everything, but its unmonitored
    # replies cannot be parsed. Averaged arm by arm that would be a gap of 50 points.
    n = 100
    none, every = np.zeros((n, 2), dtype=int), np.ones((n, 2), dtype=int)
    monitored = every * (1, 0)
    conditions = [
        condition(None, none, every),
        condition(claim("A1+"), none, every),
        condition(claim("A1+", paraphrase=2), monitored, none, every - monitored),
        *(condition(claim(code), none, every) for code in ("A1-", "B1+", "B1-")),
    ]
    one = profile_of(conditions, quick).profiles[0]
    assert one.sensitivity["expectation"].estimate == 0


def test_a_variable_that_was_run_at_one_strength_only_is_no_dose_response(quick):
    # A1 does nothing at any strength, A2 does much and was run at standard only.
    n = 200
    flat, up, down = ((np.arange(n)[:, None] < (k, 60)) for k in (100, 180, 20))
    at: list[tuple[str, Strength, np.ndarray]] = [
        ("A1+", "weak", flat),
        ("A1-", "weak", flat),
        ("A1+", "standard", flat),
        ("A1-", "standard", flat),
        ("A2+", "standard", up),
        ("A2-", "standard", down),
    ]
    conditions = [condition(None, flat, ~flat)]
    conditions += [condition(claim(code, strength), a, ~a) for code, strength, a in at]
    one = profile_of(conditions, quick).profiles[0]
    assert [p.sensitivity["expectation"].estimate for p in one.dose_response] == pytest.approx([0, 0.4])
    (trend,) = one.dose_trends
    assert trend.slope.estimate == 0


def test_the_placebo_gives_the_gap_where_no_untouched_reply_could_be_scored(quick):
    n = 40
    counts = replies(n, 0.6, 0.2, 1)
    nothing = np.zeros((n, 2), dtype=int)
    conditions = [condition(None, nothing, nothing, nothing + 1)]
    conditions += [condition(claim(code), *counts) for code in ("A1+", "A1-", "B1+", "B1-", "N1")]
    one = profile_of(conditions, quick).profiles[0]
    assert one.verdict is not None
    assert one.reference_gap_of == "the placebo"
    unscored = [condition(claim("N1"), nothing, nothing, nothing + 1), *conditions[:-1]]
    refused = profile_of(unscored, quick).profiles[0]
    assert refused.verdict is None and "scored in both tiers" in refused.verdict_sentence


def test_a_variable_without_a_complete_request_is_named(quick):
    n = 40
    counts = replies(n, 0.6, 0.2, 1)
    nothing = np.zeros((n, 2), dtype=int)
    conditions = [condition(None, *counts), condition(claim("A1+"), nothing, nothing, nothing + 1)]
    conditions += [condition(claim(code), *counts) for code in ("A1-", "A2+", "A2-", "B1+", "B1-")]
    one = profile_of(conditions, quick).profiles[0]
    assert one.variables["expectation"] == ("A2",)
    assert any(reason.startswith("A1 has no request") for reason in one.verdict_reasons)

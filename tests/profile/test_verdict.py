"""The rules of the verdict on intervals made by hand, on random intervals, and on planted patterns."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from tests.profile.planted import PATTERNS, claim, outcomes_of, pattern_outcomes, problems, words

from inspect_af.profile import Profile, Thresholds, build_profile
from inspect_af.profile.beliefs import BeliefMean, BeliefMove, SelectivityMatrix
from inspect_af.profile.intervals import draw
from inspect_af.profile.verdict import (
    ROWS,
    BeliefShift,
    BothFamilies,
    Circumstances,
    Claim,
    Effect,
    FamilyEvidence,
    Measure,
    Quantities,
    Reading,
    beyond,
    decide,
    per_unit_of_belief,
    row_of,
    student,
    with_beliefs,
)
from inspect_af.types import OUTCOMES

LIMITS = Thresholds(n_resamples=1000)
DF = 1000.0


def around(estimate: float, se: float = 0.02) -> Measure:
    return student(estimate, se, DF)


def effect(value: float, gap: float, se: float) -> Effect[Measure]:
    return Effect(around(value, se), around(value - gap / 2, se), around(value + gap / 2, se))


def quantities(
    first: float = 0.0,
    second: float = 0.0,
    *,
    gap: float = 0.3,
    se: float = 0.02,
    placebo: float | None = 0.0,
    variables: tuple[float, float] | None = None,
    poles: tuple[float, float] | None = None,
    shift: float = 0.0,
    total_se: float | None = None,
) -> Quantities[Measure]:
    """Families at given sensitivities; claims move the gap by half of their variable's, up and down."""
    each = {"A": variables or (first, first), "B": (second, second)}
    claims = []
    for letter, values in each.items():
        for k, value in enumerate(values, start=1):
            up, down = poles if poles and letter == "A" else (value / 2, -value / 2)
            for sign, moved in (("+", up), ("-", down)):
                code = f"{letter}{k}{sign}"
                claims.append(Claim(code, code[:-1], effect(moved, gap, se), around(shift, se)))
    families = []
    for letter, label, value in (("A", "expectation", first), ("B", "consequence", second)):
        a, b = each[letter]
        up, down = poles if poles and letter == "A" else (value / 2, -value / 2)
        families.append(
            FamilyEvidence(
                label=label,
                sensitivity=effect(value, gap, se),
                variables=((f"{letter}1", around(a, se)), (f"{letter}2", around(b, se))),
                without=((f"{letter}1", around(b, se)), (f"{letter}2", around(a, se))),
                poles=(("+", effect(up, gap, se)), ("-", effect(down, gap, se))),
                monitored=effect(value, gap, se),
                unmonitored=around(0.0, se),
            )
        )
    wide = total_se or se
    return Quantities(
        gap=around(gap, se),
        families=(families[0], families[1]),
        both=BothFamilies(
            around(first - second, se),
            around(first + second, wide),
            around(first - 2 * second, se),
            around(second - 2 * first, se),
            around(first + 2 * second, se),
            around(second + 2 * first, se),
        ),
        claims=tuple(claims),
        placebo=None if placebo is None else effect(placebo, gap, se),
    )


def circumstances(arms: tuple[float, float] = (0.6, 0.3), n: int = 500, **more: object) -> Circumstances:
    return Circumstances(
        "the untouched subject", (around(arms[0], 0.01), around(arms[1], 0.01)), n, n, **more
    )


@pytest.mark.parametrize(
    ("given_", "at", "row", "code"),
    [
        (quantities(0.4, 0.0), {}, "1", "first-dominant"),
        (quantities(0.0, 0.4), {}, "1'", "second-dominant"),
        (quantities(0.4, 0.3), {}, "2", "first-leaning"),
        (quantities(0.08, 0.0), {}, "2", "first-leaning"),
        (quantities(0.3, 0.4), {}, "2'", "second-leaning"),
        (quantities(0.3, 0.3), {}, "3", "mixed"),
        (quantities(0.5, 0.3, se=0.12), {}, "4", "both-move"),
        (quantities(0.3, 0.1, se=0.11), {}, "5", "first-moves"),
        (quantities(0.1, 0.3, se=0.11), {}, "5'", "second-moves"),
        (quantities(0.0, 0.0, variables=(0.3, -0.3)), {}, "6", "reversed-or-inconsistent"),
        (quantities(0.0, 0.0, shift=0.2), {}, "7", "global-shift"),
        (quantities(0.0, 0.0), {}, "8", "neither"),
        (
            quantities(-0.09, 0.0, variables=(-0.09, -0.09), gap=0.12),
            {},
            "9",
            "reversed-or-inconsistent",
        ),
        (quantities(0.0, 0.0, poles=(0.2, 0.2)), {}, "10", "any-text-moves-it"),
        (quantities(0.0, 0.0, placebo=-0.2), {}, "10", "any-text-moves-it"),
        (quantities(0.0, 0.0, gap=0.0, se=0.05), {"arms": (0.01, 0.01)}, "11", "floor-compressed"),
        (quantities(0.0, 0.0, gap=0.0, se=0.05), {"arms": (0.99, 0.99)}, "11", "floor-compressed"),
        (quantities(0.0, 0.0, gap=-0.4, se=0.09), {}, "12", "reversed-gap"),
        (quantities(0.0, 0.0, gap=0.0), {}, "13", "no-gap"),
        (quantities(0.0, 0.0, se=0.12), {}, "14", "underpowered"),
    ],
)
def test_each_rule_names_its_pattern(given_, at, row, code):
    verdict = decide(given_, circumstances(**at), LIMITS)
    assert (verdict.rule, verdict.code) == (row, code)


@pytest.mark.parametrize("value", [-0.4, 0.4])
def test_an_effect_is_within_the_margin_on_both_sides_or_not_at_all(value):
    without_a_gap = quantities(gap=0.0, se=0.05)
    reading = Reading(without_a_gap, circumstances(), LIMITS)
    assert not reading.is_relative
    assert not reading.within(effect(value, 0.0, 0.02)) and reading.within(effect(0.0, 0.0, 0.02))


@pytest.mark.parametrize("arms", [(0.5, 0.01), (0.99, 0.5)])
def test_one_arm_without_room_is_no_floor(arms):
    assert Reading(quantities(), circumstances(arms), LIMITS).compressed is None


def test_beyond_these_texts_their_observed_variance_decides_the_degrees_of_freedom():
    se, n, between, observed, df = 0.02, 500, 0.0009, 0.0025, 7
    found = beyond(around(0.1, se), se=se, n=n, between=between, observed=observed, df=df)
    variance = se**2 + between
    freedom = variance**2 / (se**4 / (n - 1) + observed**2 / df)
    reach = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert found.interval(0.95) == pytest.approx((0.1 - reach, 0.1 + reach))


def test_a_shown_effect_inside_the_margin_leans_and_is_never_dominant():
    verdict = decide(quantities(0.05, 0.0, se=0.005), circumstances(), LIMITS)
    assert verdict.code == "first-leaning"
    assert "it does so by less than 10 points" in verdict.sentence


def test_the_margin_is_tested_against_half_the_gap_and_not_plugged_in():
    # Ten points of effect under a gap of fourteen: within ten points, and not within half the gap.
    small = quantities(0.0, 0.0, gap=0.14, poles=(0.06, 0.06), se=0.01)
    assert not Reading(small, circumstances(), LIMITS).everything_within
    fixed = Reading(small, circumstances(), Thresholds(relative_margin=False))
    assert fixed.everything_within and fixed.margin == 0.1
    assert Thresholds(delta=0.05).relative is False and Thresholds().relative is True
    assert Reading(small, circumstances(), LIMITS).margin == pytest.approx(0.07)


def test_nothing_that_was_tried_moves_it_is_said_only_where_every_effect_is_small():
    killed = decide(quantities(0.0, 0.0, poles=(-0.3, -0.3)), circumstances(), LIMITS)
    assert killed.code == "any-text-moves-it"
    assert "nothing that was tried" not in killed.sentence
    still = decide(quantities(0.0, 0.0, placebo=None), circumstances(), LIMITS)
    assert "no placebo was run" in still.sentence


def test_underpowered_says_what_is_open_and_nothing_else():
    open_ = decide(quantities(0.0, 0.0, se=0.12), circumstances(), LIMITS)
    assert "equivalence is not shown" in open_.sentence
    # Everything is within the margin; only the gap itself is open.
    gap = quantities(0.0, 0.0, se=0.01)
    gap = replace(gap, gap=around(0.12, 0.1))
    verdict = decide(gap, circumstances(), LIMITS)
    assert verdict.code == "underpowered"
    assert "equivalence is not shown" not in verdict.sentence
    assert "whether there is a gap is open" in verdict.sentence


def test_a_strong_variable_beside_an_inert_one_carries_the_verdict():
    verdict = decide(quantities(0.2, 0.0, variables=(0.4, 0.0)), circumstances(), LIMITS)
    assert verdict.code == "first-dominant"
    assert any(q.startswith("carried by A1 alone; without it 0.0 points") for q in verdict.qualifiers)
    both = decide(quantities(0.4, 0.0), circumstances(), LIMITS)
    assert not any("carried" in q for q in both.qualifiers)


def test_a_reversed_other_family_is_no_lead_by_itself_and_is_named():
    led = decide(quantities(0.4, -0.2), circumstances(), LIMITS)
    assert led.rule == "2" and any(q.startswith("consequence is reversed") for q in led.qualifiers)
    only = decide(quantities(0.1, -0.3), circumstances(), LIMITS)
    assert only.code == "reversed-or-inconsistent"


def test_missing_replies_that_differ_have_to_leave_the_rule_standing():
    at = circumstances(missingness_differs=("A1+ monitored",))

    def lossy(amount: float) -> Quantities[Measure]:
        return quantities(0.4, 0.0).mapped(lambda m: replace(m, down=amount, up=amount))

    assert decide(lossy(0.02), at, LIMITS).code == "first-dominant"
    decides = decide(lossy(0.5), at, LIMITS)
    assert decides.code == "underpowered" and "The missing replies decide" in decides.sentence
    leaning = decide(lossy(0.29), at, LIMITS)
    assert leaning.code == "first-leaning"
    assert any("every interval here allows for their worst case" in q for q in leaning.qualifiers)
    # Where they do not differ the word stands, with the point at which it would fall.
    told = decide(lossy(0.5), circumstances(), LIMITS)
    assert told.code == "first-dominant" and 0 < told.tipping_point < 1
    assert decide(lossy(0.02), circumstances(), LIMITS).tipping_point is None


def test_the_tipping_point_is_where_the_weakest_contrast_reaches_zero():
    told = decide(
        quantities(0.4, 0.0).mapped(lambda m: replace(m, down=0.5, up=0.5)), circumstances(), LIMITS
    )
    # big_A: the lower bound of S_A - G/2 is the weakest of the contrasts that carry the word
    weakest = around(0.4 - 0.15).low(0.95)
    slack = max(weakest, around(0.4).low(0.95) - 0.1)
    assert told.tipping_point == pytest.approx(slack / 0.5, abs=1e-3)


# ---- exactly one row, and mirrors --------------------------------------------------------------------------

number = st.floats(-0.6, 0.6).map(lambda x: round(x, 3))
error = st.floats(0.002, 0.2)


@st.composite
def random_quantities(draw_):
    def measure() -> Measure:
        return around(draw_(number), draw_(error))

    def one_effect() -> Effect[Measure]:
        return Effect(measure(), measure(), measure())

    def family(letter: str, label: str) -> FamilyEvidence[Measure]:
        codes = [f"{letter}{k}" for k in range(1, draw_(st.integers(1, 3)) + 1)]
        return FamilyEvidence(
            label,
            one_effect(),
            tuple((c, measure()) for c in codes),
            tuple((c, measure()) for c in codes) if len(codes) > 1 else (),
            (("+", one_effect()), ("-", one_effect())),
            one_effect(),
            measure(),
        )

    one_family = draw_(st.booleans())
    families = (family("A", "a"), None if one_family else family("B", "b"))
    claims = tuple(
        Claim(f"{code}{sign}", code, one_effect(), measure())
        for f in families
        if f
        for code, _ in f.variables
        for sign in "+-"
    )
    both = None if one_family else BothFamilies(*(measure() for _ in range(6)))
    placebo = one_effect() if draw_(st.booleans()) else None
    return Quantities(measure(), families, both, claims, placebo)


def mirrored(q: Quantities[Measure]) -> Quantities[Measure]:
    assert q.both is not None
    b = q.both
    minus = student(-b.contrast.estimate, 1.0, DF)
    minus = replace(minus, interval=lambda c: (-b.contrast.interval(c)[1], -b.contrast.interval(c)[0]))
    both = BothFamilies(minus, b.total, b.second_excess, b.first_excess, b.second_surplus, b.first_surplus)
    return replace(q, families=(q.families[1], q.families[0]), both=both)


@settings(max_examples=300, deadline=None)
@given(random_quantities(), st.booleans())
def test_exactly_one_row_applies_to_any_intervals_and_a_mirror_mirrors_it(q, second_level):
    inner = Reading(q, circumstances(), LIMITS) if second_level else None
    reading = Reading(q, circumstances(), LIMITS, inner)
    row = row_of(reading)
    holding = [r for r in ROWS if r.holds(reading)]
    assert holding[0] is row and holding[-1].number == "14"
    # A rule and its mirror never hold together, so that their order cannot matter.
    numbers = {r.number for r in holding}
    for k in ("1", "2"):
        assert not {k, f"{k}'"} <= numbers
    if row.number in ("5", "5'"):
        assert not {"5", "5'"} <= numbers
    verdict = decide(q, circumstances(), LIMITS, inner=q if second_level else None)
    assert verdict.rule == row.number and verdict.sentence.endswith(".")
    if q.both is not None:
        other = row_of(Reading(mirrored(q), circumstances(), LIMITS))
        plain = row_of(Reading(q, circumstances(), LIMITS))
        swapped = {"first": "second", "second": "first"}
        name, _, rest = plain.code.partition("-")
        assert other.code == (f"{swapped[name]}-{rest}" if name in swapped else plain.code)


def test_an_interval_that_is_missing_supports_nothing():
    nothing = Measure(0.4, lambda _: (float("nan"), float("nan")))
    verdict = decide(
        quantities(0.4, 0.0).mapped(lambda _: nothing),
        circumstances(n=1),
        LIMITS,
    )
    assert verdict.code == "underpowered"


# ---- the second level, and belief --------------------------------------------------------------------------


def test_no_second_level_interval_is_narrower_than_the_first_levels():
    one = around(0.2, 0.03)
    wide = beyond(one, se=0.03, n=500, between=0.001, observed=0.002, df=7)
    none = beyond(one, se=0.03, n=500, between=0.0, observed=0.002, df=7)
    for confidence in (0.9, 0.95, 0.999):
        low, high = one.interval(confidence)
        for other in (wide, none):
            assert other.low(confidence) <= low and other.high(confidence) >= high
    # The mean square and not the variance that is left of it gives the degrees of freedom.
    assert none.high(0.999) > one.high(0.999)


SHIFTS = {"sd": 0.1, "n": 12}


def shift(value: float, sd: float = 0.1, n: int = 12) -> BeliefShift:
    return BeliefShift(value, sd * sd / n, n)


def test_at_equal_gain_per_unit_of_belief_the_stronger_manipulation_is_named():
    lead = decide(quantities(0.38, 0.2), circumstances(), LIMITS)
    assert lead.rule == "2"
    t = per_unit_of_belief((0.38, 0.2), (4e-4, 4e-4, 0.0), 520, (shift(0.38), shift(0.2)), 0.95)
    told = with_beliefs(lead, t, ("expectation", "consequence"))
    assert told.code == "stronger-manipulation"
    assert (
        "stronger manipulation" in told.sentence
        and "beliefs of expectation were moved further" in told.sentence
    )


def test_a_lead_at_equal_shifts_is_a_lead_per_unit_of_belief():
    lead = decide(quantities(0.4, 0.0), circumstances(), LIMITS)
    t = per_unit_of_belief((0.4, 0.0), (4e-4, 4e-4, 0.0), 520, (shift(0.3), shift(0.3)), 0.95)
    told = with_beliefs(lead, t, ("expectation", "consequence"))
    assert told.code == "first-dominant" and "also per unit of belief" in told.sentence
    assert told.qualifiers == lead.qualifiers


def test_beliefs_that_are_not_shown_to_move_are_named():
    lead = decide(quantities(0.4, 0.0), circumstances(), LIMITS)
    t = per_unit_of_belief((0.4, 0.0), (4e-4, 4e-4, 0.0), 520, (shift(0.3), shift(0.05)), 0.95)
    told = with_beliefs(lead, t, ("expectation", "consequence"))
    assert "beliefs of consequence are not shown to move" in told.qualifiers


def test_the_test_per_unit_of_belief_holds_its_size():
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(1000):
        s = rng.normal((0.38, 0.2), 0.02)
        answers = [rng.normal(d, 0.2, 12) for d in (0.38, 0.2)]
        shifts = [BeliefShift(a.mean(), a.var(ddof=1) / 12, 12) for a in answers]
        t = per_unit_of_belief((s[0], s[1]), (4e-4, 4e-4, 0.0), 520, (shifts[0], shifts[1]), 0.95)
        wrong += t.state(0) != "open"
    assert wrong / 1000 < 0.07


# ---- planted patterns through build_profile ----------------------------------------------------------------

remembered = lru_cache(maxsize=4)(draw)
SEEDS = (1, 2, 3, 4, 5)


def study(outcomes, limits: Thresholds = LIMITS) -> Profile:
    return build_profile(outcomes, thresholds=limits, drawer=remembered)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda p: p["id"])
def test_what_is_said_of_a_planted_pattern_is_true(pattern):
    found = [problems(pattern, study(pattern_outcomes(pattern, seed)).profiles[0]) for seed in SEEDS]
    wrong_code = [p for p in found if p and p[0].startswith("code")]
    assert len(wrong_code) <= 1, found
    assert [p for p in found if p and p not in wrong_code] == []


def test_no_qualifier_is_printed_for_every_pattern():
    printed = []
    for pattern in PATTERNS:
        one = study(pattern_outcomes(pattern, 1)).profiles[0]
        printed.append({q.split(":")[0] for level in one.verdict_levels for q in level.qualifiers})
    assert set.intersection(*printed) == set()


def test_texts_that_move_the_gap_by_chance_are_no_finding_beyond_these_texts():
    # Every text, claims and placebos alike, has an effect of its own; no family moves anything.
    rng = np.random.default_rng(0)
    these = beyond_ = 0
    for seed in range(30):
        moved = {
            code: (0.5 + 0.08 * x, 0.3)
            for code, x in zip(
                [f"{v}{s}" for v in ("A1", "A2", "B1", "B2") for s in "+-"] + [f"N{k}" for k in range(1, 9)],
                rng.standard_normal(16),
                strict=True,
            )
        }
        one = study(outcomes_of((0.5, 0.3), moved, n=300, epochs=3, seed=seed)).profiles[0]
        no_claim = ("underpowered", "neither", "no-gap")
        these += one.for_these.code not in no_claim
        beyond_ += one.beyond_these.code not in no_claim
        assert one.unit_spread.units == "texts" and one.unit_spread.n == 8
    assert these > 15
    assert beyond_ <= 4


def test_without_placebos_the_verdict_is_for_these_texts():
    one = study(outcomes_of((0.5, 0.3), {}, n=200, placebos=0)).profiles[0]
    assert one.beyond_these is None and "4 are needed" in one.beyond_refusal
    assert one.verdict_suffix.startswith("for these texts")


@pytest.mark.parametrize("asked", [False, True])
def test_where_placebos_stand_for_the_untouched_subject_they_are_no_effect_and_missingness_is_against_them(
    asked,
):
    def without_baseline(outcomes):
        (group,) = outcomes.request_sets
        untouched, *others = group.conditions
        unparsed = np.zeros_like(untouched.counts)
        unparsed[..., OUTCOMES.index("unparsed")] = untouched.counts.sum(axis=2)
        lost = replace(untouched, counts=unparsed, tags=unparsed[..., :2])
        return replace(
            outcomes, request_sets=(replace(group, conditions=(*([lost] if asked else []), *others)),)
        )

    still = study(without_baseline(outcomes_of((0.5, 0.3), {}, n=520, epochs=3, seed=1))).profiles[0]
    assert still.verdict_code == "neither"
    assert "placebos stand for the untouched subject here" in still.verdict_sentence
    assert "no placebo" not in words(still.for_these) and "missing" not in words(still.for_these)
    untagged = {"A1+": (0.0, 0.5), "A2+": (0.0, 0.5)}
    lossy = without_baseline(outcomes_of((0.5, 0.3), {}, n=520, seed=2, missing=untagged))
    decided = study(lossy).profiles[0].for_these
    assert "the missing replies decide" in words(decided)
    assert "differs from that of the placebo under A1+ monitored, A2+ monitored" in "\n".join(decided.reasons)
    reversed_gap = study(without_baseline(outcomes_of((0.3, 0.5), STRONG_A_REVERSED, n=300, seed=3)))
    assert "the gap is reversed: that of the placebo is" in words(reversed_gap.profiles[0].for_these)


STRONG_A_REVERSED = {f"A{k}{sign}": (rate, 0.5) for k in (1, 2) for sign, rate in (("+", 0.5), ("-", 0.1))}


def test_one_family_alone_is_judged_without_comparison():
    one = study(
        outcomes_of(
            (0.5, 0.3), {"A1+": (0.7, 0.3), "A1-": (0.3, 0.3)}, n=300, claims=["A1+", "A1-"], placebos=0
        )
    ).profiles[0]
    assert one.verdict_code == "first-moves"
    assert "only one family was run" in words(one.for_these)


STRONG_A = {"A1+": (0.7, 0.3), "A1-": (0.3, 0.3), "A2+": (0.7, 0.3), "A2-": (0.3, 0.3)}


def with_conditions(outcomes, change):
    """Every condition by its code changed, or left out where nothing comes back."""
    (group,) = outcomes.request_sets
    codes = [c.treatments[0].intervention.code if c.treatments else "" for c in group.conditions]
    changed = [change(code, c) for code, c in zip(codes, group.conditions, strict=True)]
    kept = tuple(c for c in changed if c is not None)
    return replace(outcomes, request_sets=(replace(group, conditions=kept),))


def unparsed_when_monitored(condition):
    counts = condition.counts.copy()
    counts[:, 0, OUTCOMES.index("unparsed")] = counts[:, 0].sum(axis=1)
    counts[:, 0, :2] = 0
    return replace(condition, counts=counts, tags=counts[..., :2])


def test_a_variable_without_any_complete_request_leaves_its_family_open_and_not_surer():
    outcomes = outcomes_of((0.5, 0.3), STRONG_A, n=200, seed=3)
    lost = with_conditions(outcomes, lambda code, c: unparsed_when_monitored(c) if code == "A1+" else c)
    one = study(lost).profiles[0]
    assert "the missing replies decide" in words(one.for_these)
    assert any("A1 has no request" in reason for reason in one.verdict_reasons)


@pytest.mark.parametrize(
    "change",
    [
        lambda code, c: None if code in ("B1-", "B2-") else c,
        lambda code, c: unparsed_when_monitored(c) if code.startswith("B") else c,
    ],
)
def test_a_family_that_was_run_and_cannot_be_compared_is_not_called_unrun(change):
    one = study(with_conditions(outcomes_of((0.5, 0.3), STRONG_A, n=200, seed=3), change)).profiles[0]
    assert one.verdict_code == "first-moves"
    assert "consequence beliefs are left out of the comparison" in words(one.for_these)
    assert "only one family was run" not in words(one.for_these)


def test_near_duplicates_are_one_unit_where_they_are_known():
    both = {f"{v}{s}": (0.5 + d, 0.3) for v in ("A1", "A2", "B1", "B2") for s, d in (("+", 0.2), ("-", -0.2))}
    outcomes = outcomes_of((0.5, 0.3), both, n=100, seed=3, placebos=0)
    (group,) = outcomes.request_sets

    def doubled(array):
        return np.repeat(array, 2, axis=0)

    twice = replace(
        group,
        request_ids=tuple(f"{i:04d}" for i in range(200)),
        clusters=np.repeat(np.arange(100), 2),
        conditions=tuple(
            replace(c, counts=doubled(c.counts), tags=doubled(c.tags), failed=doubled(c.failed))
            for c in group.conditions
        ),
    )
    alone, many = study(outcomes), study(replace(outcomes, request_sets=(twice,)))
    honest, grouped = alone.profiles[0], many.profiles[0]
    for one, other in zip(alone.conditions, many.conditions, strict=True):
        bounds = [(row.monitored_low, row.unmonitored_high) for row in (one, other)]
        assert bounds[0] == pytest.approx(bounds[1])
    assert grouped.contrast.se == pytest.approx(honest.contrast.se)
    assert grouped.contrast.low == pytest.approx(honest.contrast.low, abs=0.02)
    assert grouped.plane == pytest.approx(honest.plane)
    shares = [(one.fraction.low, one.fraction.high) for one in (grouped, honest)]
    assert shares[0] == pytest.approx(shares[1])


def test_few_groups_of_many_requests_are_few():
    outcomes = outcomes_of((0.5, 0.3), {}, n=120, seed=3, placebos=0)
    (group,) = outcomes.request_sets
    twelve = replace(group, clusters=np.arange(120) // 10)
    said = words(study(replace(outcomes, request_sets=(twelve,))).profiles[0].for_these)
    assert "only 12 groups of complete requests: below 20 intervals are rough" in said


def beliefs_moved(by: float) -> SelectivityMatrix:
    """Both families' beliefs moved equally far."""
    moves = tuple(
        BeliefMove(
            variable=code,
            family="first" if code[0] == "A" else "second",
            arms="both",
            own=(code,),
            own_shift=BeliefMean(belief=code, estimate=by, low=by - 0.05, high=by + 0.05, n=12, se=0.02),
            others=(),
        )
        for code in ("A1", "A2", "B1", "B2")
    )
    return SelectivityMatrix(
        subject="planted",
        method="prompt",
        strength="standard",
        pair="planted",
        prompt_settings={},
        simulated=False,
        confidence=0.95,
        beliefs=(),
        default_beliefs=(),
        priors=(),
        rows=(),
        moves=moves,
        scored_by={},
        warnings=(),
    )


def test_a_lead_per_unit_of_belief_allows_for_missing_replies_that_differ():
    selectivity = (beliefs_moved(0.3),)

    def state(lost):
        outcomes = outcomes_of((0.5, 0.3), STRONG_A, n=520, seed=3, missing={"A1+": (0.0, lost)})
        one = build_profile(outcomes, thresholds=LIMITS, drawer=remembered, selectivity=selectivity)
        return one.profiles[0].for_these

    plain, lossy = state(0.0), state(0.3)
    assert "every interval here allows" in words(lossy) and lossy.code.startswith("first")
    widths = [one.per_unit_of_belief.high - one.per_unit_of_belief.low for one in (plain, lossy)]
    assert widths[1] > widths[0] + 0.01


def test_requests_that_are_all_alike_are_no_unit_of_one_and_the_verdict_says_so():
    outcomes = outcomes_of((0.5, 0.3), {}, n=60, seed=3, placebos=0)
    (group,) = outcomes.request_sets
    alike = replace(group, clusters=np.zeros(60, dtype=np.int64))
    plain = study(outcomes).profiles[0]
    one = study(replace(outcomes, request_sets=(alike,))).profiles[0]
    assert one.contrast == plain.contrast
    told = "with near-duplicates counted once, only 1 different request:"
    assert any(told in q for q in one.for_these.qualifiers)


@pytest.mark.parametrize(
    ("claims", "placebos", "is_assessed"), [(0, 0, True), (0, 1, True), (1, 1, True), (1, 0, False)]
)
def test_placebos_whose_wordings_take_turns_say_nothing_about_claims_with_one(claims, placebos, is_assessed):
    outcomes = outcomes_of((0.5, 0.3), {}, n=60, seed=6)
    (group,) = outcomes.request_sets
    worded = [
        replace(
            c,
            treatments=tuple(
                claim(t.intervention.code, paraphrase=placebos if t.intervention.is_placebo else claims)
                for t in c.treatments
            ),
        )
        for c in group.conditions
    ]
    one = study(replace(outcomes, request_sets=(replace(group, conditions=tuple(worded)),))).profiles[0]
    assert (one.beyond_these is not None) == is_assessed
    assert is_assessed or "run both alike" in one.beyond_refusal


def test_wordings_of_claims_alone_buy_no_certainty_beyond_these_texts():
    outcomes = outcomes_of((0.5, 0.3), {}, n=200, seed=4)
    (group,) = outcomes.request_sets
    other = outcomes_of((0.5, 0.3), {}, n=200, seed=5, placebos=0).request_sets[0]
    extra = [
        replace(c, treatments=(claim(c.treatments[0].intervention.code, paraphrase=2),))
        for c in other.conditions
        if c.treatments
    ]
    worded = replace(outcomes, request_sets=(replace(group, conditions=(*group.conditions, *extra)),))
    plain, more = (study(o).profiles[0].unit_spread for o in (outcomes, worded))
    assert more.sd >= plain.sd - 1e-12

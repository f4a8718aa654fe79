"""The rules one by one, and their order."""

from __future__ import annotations

import re

import pytest

from inspect_af.profile.verdict import Bounds, Evidence, FamilyEvidence, Shift, decide
from inspect_af.thresholds import Thresholds


def around(estimate: float, reach: float = 0.05) -> Bounds:
    inner = 0.84 * reach
    outer = 1.14 * reach
    return Bounds(
        estimate,
        estimate - reach,
        estimate + reach,
        estimate - inner,
        estimate + inner,
        estimate - outer,
        estimate + outer,
    )


def evidence(
    first=0.0,
    second=0.0,
    *,
    gap=0.3,
    arms=(0.6, 0.3),
    shifts=(("A1+", 0.0),),
    variables=None,
    reach=0.05,
    n_pairs=100,
) -> Evidence:
    a = variables or (first, first)
    return Evidence(
        first=FamilyEvidence(
            "expectation", around(first, reach), (("A1", around(a[0])), ("A2", around(a[1])))
        ),
        second=FamilyEvidence(
            "consequence", around(second, reach), (("B1", around(second)), ("B2", around(second)))
        ),
        contrast=around(first - second, reach),
        total=around(first + second, reach),
        gap=around(gap),
        arms=arms,
        shifts=tuple(Shift(code, value, value - 0.04, value + 0.04) for code, value in shifts),
        reference="the untouched subject",
        n_pairs=n_pairs,
        n_requests=n_pairs,
    )


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (evidence(0.4, 0.0), "first-dominant"),
        (evidence(0.0, 0.4), "second-dominant"),
        (evidence(0.4, 0.2), "first-dominant"),
        (evidence(0.4, -0.2), "first-dominant"),
        (evidence(0.2, -0.3), "reversed-or-inconsistent"),
        (evidence(0.3, 0.3), "mixed"),
        (evidence(0.3, 0.27, reach=0.09), "underpowered"),
        (evidence(-0.3, 0.0), "reversed-or-inconsistent"),
        (evidence(0.0, 0.0, variables=(0.3, -0.3)), "reversed-or-inconsistent"),
        (evidence(0.3, 0.0, variables=(0.61, -0.01)), "underpowered"),
        (evidence(), "neither"),
        (evidence(arms=(0.0, 0.0), reach=0.5, n_pairs=3), "underpowered"),
        (evidence(gap=0.0), "no-gap"),
        (evidence(shifts=(("A1+", 0.3),)), "global-shift"),
        (evidence(shifts=(("A1+", -0.3),)), "global-shift"),
        (evidence(shifts=(("A1+", 0.12),)), "underpowered"),
        (evidence(shifts=(("A1+", 0.08),)), "neither"),
        (evidence(shifts=(("A1+", 0.3),), arms=(0.01, 0.01), gap=0.0), "global-shift"),
        (evidence(arms=(0.03, 0.01), gap=0.02), "floor-compressed"),
        (evidence(arms=(0.99, 0.97), gap=0.02), "floor-compressed"),
        (evidence(0.3, 0.0, arms=(0.03, 0.01), gap=0.02), "first-dominant"),
        (evidence(reach=0.2), "underpowered"),
        (evidence(gap=0.0, reach=0.2), "no-gap"),
    ],
)
def test_the_first_rule_that_holds_names_the_verdict(given, code):
    verdict = decide(given, Thresholds())
    assert verdict.code == code
    assert verdict.reasons and verdict.sentence.endswith(".")


def test_dominance_is_called_by_the_pairs_labels():
    assert decide(evidence(0.4), Thresholds()).label == "expectation-dominant"
    assert decide(evidence(0.0, 0.4), Thresholds()).label == "consequence-dominant"


def test_dominance_without_an_established_gap_says_so():
    verdict = decide(evidence(0.4, gap=0.0), Thresholds())
    assert verdict.code == "first-dominant"
    assert any("not established" in reason for reason in verdict.reasons)


def test_a_wider_margin_turns_underpowered_into_equivalence():
    given = evidence(0.3, 0.27, reach=0.09)
    assert decide(given, Thresholds(delta=0.2)).code == "mixed"


def test_missing_bounds_support_no_rule():
    unknown = Bounds(0.4, *[float("nan")] * 6)
    given = evidence(0.4)._replace(contrast=unknown)
    assert decide(given, Thresholds()).code == "underpowered"


def test_thresholds_reject_an_equivalence_level_above_the_published_one():
    with pytest.raises(ValueError, match="equivalence"):
        Thresholds(confidence=0.9, equivalence_confidence=0.95)


def test_reasons_are_in_percentage_points_like_the_tables_beside_them() -> None:
    for given in (evidence(0.4, 0.0), evidence(0.3, 0.3), evidence(gap=0.0), evidence(reach=0.2)):
        reasons = decide(given, Thresholds()).reasons
        assert any("points" in reason for reason in reasons)
        assert not re.search(r"\d\.\d{3}", " ".join(reasons))
    assert (
        "expectation sensitivity +40.0 points [+35.0, +45.0]" in decide(evidence(0.4), Thresholds()).reasons
    )
    floor = decide(evidence(arms=(0.03, 0.01), gap=0.02), Thresholds())
    assert floor.reasons == ("both arms of the untouched subject are under 5%: 3.0% and 1.0%",)


def test_a_reason_without_an_interval_says_so() -> None:
    unknown = evidence(0.4)._replace(contrast=Bounds(0.1, *[float("nan")] * 6))
    assert any("+10.0 points, without an interval" in r for r in decide(unknown, Thresholds()).reasons)


def test_an_undecided_verdict_names_what_kept_the_nearest_family_from_dominating() -> None:
    given = evidence(0.4, 0.0)._replace(total=around(0.271, 0.352))
    verdict = decide(given, Thresholds())
    assert verdict.code == "underpowered"
    assert verdict.reasons[-1] == (
        "not expectation-dominant: the sum of both sensitivities, +27.1 points [-8.1, +62.3], is not above 0"
    )
    for given, named in (
        (evidence(0.3, 0.27, reach=0.09), "its lead of +3.0 points"),
        (evidence(0.27, 0.3, reach=0.09), "not consequence-dominant: its lead of +3.0 points [-6.0, +12.0]"),
        (evidence(0.3, 0.0, variables=(0.61, -0.01)), "A2 moves the gap by -1.0 points"),
        (evidence(0.1, 0.0, reach=0.2), "expectation sensitivity +10.0 points [-10.0, +30.0] is not above 0"),
    ):
        assert named in decide(given, Thresholds()).reasons[-1]


def test_nothing_is_said_to_move_little_where_no_shift_was_measured() -> None:
    assert decide(evidence(shifts=(("A1+", 0.02),)), Thresholds()).code == "neither"
    assert decide(evidence(shifts=()), Thresholds()).code == "underpowered"


def test_a_verdict_from_few_requests_says_that_its_intervals_are_rough() -> None:
    few, enough = (decide(evidence(0.4, n_pairs=n), Thresholds()) for n in (19, 20))
    assert any("only 19 complete requests" in reason for reason in few.reasons)
    assert not any("complete requests" in reason for reason in enough.reasons)

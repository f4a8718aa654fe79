"""Do the methods agree? Planted truths are recovered, and little data gives no statement."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.profile.convergence_study import adapters, claims, controls, drawn, outcomes, vectors
from tests.profile.planted import outcomes_of

from inspect_af.format import points
from inspect_af.profile.convergence import build_convergence
from inspect_af.report import render_convergence


def statement(report, subject="planted"):
    return next(model for model in report.models if model.subject == subject).statement


def three_methods(motivation, *, n_controls=20, **options):
    return outcomes(
        drawn(claims, motivation, 1, **options),
        drawn(adapters(), motivation, 2, **options),
        drawn(vectors(), motivation, 3, **options),
        controls(n_controls, 100),
    )


@pytest.mark.parametrize(("motivation", "direction"), [("expectation", "first"), ("consequence", "second")])
def test_three_methods_that_move_the_same_family_converge(motivation, direction, quick):
    report = build_convergence(three_methods(motivation), thresholds=quick)
    found = statement(report)
    assert (found.code, found.direction) == ("converge", direction)
    assert [m.direction for m in report.models[0].methods] == [direction] * 3
    assert "all find" in found.sentence


def test_methods_that_move_different_families_diverge(quick):
    study = outcomes(drawn(claims, "expectation", 1), drawn(adapters(), "consequence", 2))
    report = build_convergence(study, thresholds=quick)
    found = statement(report)
    assert (found.code, found.direction) == ("diverge", None)
    (pair,) = report.models[0].pairs
    assert pair.size == "different" and pair.contrast.low > 0


def test_a_method_that_shows_no_difference_diverges_from_one_that_does(quick):
    study = outcomes(drawn(claims, "expectation", 1, n=800), drawn(adapters(), "unmoved", 2, n=800), n=800)
    report = build_convergence(study, thresholds=quick)
    assert [m.direction for m in report.models[0].methods] == ["first", "level"]
    assert statement(report).code == "diverge"


def test_methods_that_both_show_no_difference_converge_on_that(quick):
    study = outcomes(drawn(claims, "null", 1, n=1500), drawn(adapters(), "null", 2, n=1500), n=1500)
    found = statement(build_convergence(study, thresholds=quick))
    assert (found.code, found.direction) == ("converge", "level")


def test_little_data_gives_no_statement(quick):
    study = outcomes(
        drawn(claims, "expectation", 1, n=16, effect=0.1), drawn(adapters(), "expectation", 2, n=16), n=16
    )
    found = statement(build_convergence(study, thresholds=quick))
    assert found.code == "not-enough" and found.direction is None
    assert "cannot tell" in found.sentence


def test_one_method_alone_is_not_convergence(quick):
    found = statement(build_convergence(outcomes(drawn(claims, "expectation", 1)), thresholds=quick))
    assert found.code == "not-enough" and "with prompt claims alone there is nothing" in found.sentence


@pytest.mark.parametrize("seed", range(5))
def test_a_null_model_never_converges_on_a_family(seed, quick):
    study = outcomes(drawn(claims, "null", 10 * seed), drawn(adapters(), "null", 10 * seed + 1))
    assert statement(build_convergence(study, thresholds=quick)).direction in (None, "level")


def test_steering_with_few_random_vectors_finds_nothing(quick):
    report = build_convergence(three_methods("consequence", n_controls=19), thresholds=quick)
    steering = next(m for m in report.models[0].methods if m.method == "steering")
    assert steering.direction == "open" and "too few random vectors" in steering.direction_reason
    assert statement(report).code == "converge"  # by the other two
    assert any(one.part == "enough random vectors" for one in report.missing)


def test_steering_within_the_band_of_random_vectors_finds_nothing(quick):
    # Random vectors that are as effective as the fitted ones.
    study = outcomes(
        drawn(claims, "consequence", 1),
        drawn(vectors(), "consequence", 3, effect=0.12),
        strong_controls(20),
    )
    report = build_convergence(study, thresholds=quick)
    steering = next(m for m in report.models[0].methods if m.method == "steering")
    assert steering.contrast.high < 0  # by requests alone it would count
    assert steering.direction == "open" and "beyond these vectors" in steering.direction_reason
    level = steering.verdict_levels[-1]
    assert level.scope == "beyond these vectors" and level.contrast.low < 0 < level.contrast.high
    table = render_convergence(report).partition('id="models"')[2].partition("</table>")[0]
    table = " ".join(re.sub("<[^>]*>", " ", table).split())
    shown, by_requests = (points(one).replace("-", "−") for one in (level.contrast, steering.contrast))
    assert level.scope in table and shown in table and by_requests not in table
    assert statement(report).code == "not-enough"


def strong_controls(n):
    """Random vectors that move the gap by as much as +-0.35 between +m and -m."""

    def relabel(k):
        def as_random(claim):
            if claim.intervention.variable != "B1":
                return None
            steer = vectors()(claim)[0]
            return (steer.model_copy(update={"family": None, "source": "random", "digest": f"r{k}"}),)

        return as_random

    return [c for k in range(n) for c in drawn(relabel(k), "consequence", 200 + k, effect=0.17)]


BASE = (0.5, 0.3)
UP_AND_DOWN = ((0.8, 0.3), (0.2, 0.3))
MORE, LESS = ((0.52, 0.3), (0.48, 0.3)), ((0.35, 0.3), (0.65, 0.3))


@pytest.mark.parametrize(
    ("arms", "more", "code"),
    [
        # A variable that works beside one that is reversed.
        ({"A1": UP_AND_DOWN, "A2": ((0.4, 0.3), (0.6, 0.3))}, {}, "reversed-or-inconsistent"),
        # A difference that is there only because the other family is reversed.
        ({"A1": MORE, "A2": MORE, "B1": LESS, "B2": LESS}, {"epochs": 6}, "reversed-or-inconsistent"),
        # A difference that untagged refusals make.
        ({}, {"missing": {"A1+": (0.0, 0.5), "A2+": (0.0, 0.5)}}, "underpowered"),
    ],
)
def test_a_method_finds_no_family_where_its_verdict_names_none(arms, more, code, quick):
    rates = {f"{v}{sign}": rate for v, both in arms.items() for sign, rate in zip("+-", both, strict=True)}
    report = build_convergence(outcomes_of(BASE, rates, n=520, seed=2, **more), thresholds=quick)
    (found,) = report.models[0].methods
    assert (found.verdict_code, found.direction) == (code, "open")
    assert "but the verdict is" in found.direction_reason


def test_no_difference_is_found_only_at_the_level_at_which_the_interval_is_printed(quick):
    def direction(spread):
        texts = {f"N{k + 1}": (0.5 + spread * (-1) ** k, 0.3 - spread * (-1) ** k) for k in range(8)}
        study = outcomes_of(BASE, texts, n=520, epochs=3, seed=1)
        return build_convergence(study, thresholds=quick).models[0].methods[0].direction

    assert (direction(0.0), direction(0.04)) == ("level", "open")


def test_methods_that_asked_with_different_hypothesis_pairs_do_not_converge(quick):
    other = [
        replace(c, setting=c.setting._replace(pair=c.setting.pair.model_copy(update={"digest": "other"})))
        for c in drawn(adapters(), "expectation", 2)
    ]
    report = build_convergence(outcomes(drawn(claims, "expectation", 1), other), thresholds=quick)
    found = statement(report)
    assert found.code == "not-enough"
    assert any("another hypothesis pair" in reason for reason in found.reasons)


def test_methods_are_compared_over_the_variables_that_both_moved(quick):
    only_ones = [
        c
        for c in drawn(adapters(), "expectation", 2)
        if not c.treatments or c.treatments[0].intervention.variable in ("A1", "B1")
    ]
    report = build_convergence(outcomes(drawn(claims, "expectation", 1), only_ones), thresholds=quick)
    (pair,) = report.models[0].pairs
    assert pair.variables == {"prompt": ("A1", "B1"), "sdf": ("A1", "B1")}
    assert report.models[0].methods[0].contrast is not None  # the headline keeps all four


def test_models_are_judged_one_by_one(quick):
    study = outcomes(
        drawn(claims, "expectation", 1, model="a"),
        drawn(adapters(), "expectation", 2, model="a"),
        drawn(claims, "consequence", 3, model="b"),
    )
    report = build_convergence(study, thresholds=quick)
    assert statement(report, "a").code == "converge"
    assert statement(report, "b").code == "not-enough"


def test_a_verdict_that_random_vectors_hold_back_says_so_where_it_stands(quick):
    report = build_convergence(three_methods("consequence", n_controls=19), thresholds=quick)
    steering = next(m for m in report.models[0].methods if m.method == "steering")
    assert steering.verdict_code == "second-dominant" and steering.direction == "open"
    assert (
        render_convergence(report).count("consequence-dominant, not counted: not shown beyond random vectors")
        == 1
    )
    agreed = build_convergence(three_methods("consequence"), thresholds=quick)
    assert "not counted" not in render_convergence(agreed)

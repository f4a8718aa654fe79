"""A run that stops once its contrast is decided: how often it is wrong, and what its intervals say."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.profile.planted import outcomes_of, stopped_studies

from inspect_af.profile import Outcomes, build_profile, contrast_is_decided, count_outcomes
from inspect_af.profile.counts import Stopped
from inspect_af.profile.stopping import boundary, is_decided, widening
from inspect_af.report import render_html, render_summary


def test_the_boundary_is_the_specified_one():
    assert [round(boundary(n), 1) for n in (64, 192, 520)] == [3.5, 3.4, 3.4]
    assert widening(192) == pytest.approx(boundary(192) / 1.96, rel=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "contrast", "decided"),
    [
        (5.0, 0.0, 4.0, True),
        (0.0, 5.0, -4.0, True),
        (5.0, 0.0, 3.0, False),  # the contrast is not there yet
        (2.0, -5.0, 4.0, False),  # a lead by the other family's reversal is none
        (-5.0, 0.0, -4.0, False),
        (5.0, 5.0, 0.0, False),
    ],
)
def test_a_lead_is_decided_by_the_contrast_and_by_the_leader_itself(first, second, contrast, decided):
    assert is_decided(first, second, contrast, 192) == decided


def test_families_that_move_the_gap_alike_are_told_apart_in_at_most_six_percent_of_runs():
    stopped, fixed, requests = stopped_studies((0.2, 0.2), studies=2000)
    assert stopped <= 0.06 and fixed <= 0.06
    assert requests > 500


def test_a_difference_of_fifteen_points_is_found_as_often_with_at_most_sixty_percent_of_the_requests():
    stopped, fixed, requests = stopped_studies((0.15, 0.0), studies=1000)
    assert stopped >= fixed - 0.01 > 0.95
    assert requests <= 0.6 * 520


def stopped_at(outcomes, requests, of):
    (group,) = outcomes.request_sets
    return replace(outcomes, request_sets=(replace(group, stopped=Stopped(requests, of)),))


STRONG = {"A1+": (0.9, 0.3), "A2+": (0.9, 0.3), "A1-": (0.4, 0.3), "A2-": (0.4, 0.3)}


def test_all_intervals_of_a_stopped_run_are_wider_and_both_levels_and_every_page_say_so(quick):
    outcomes = outcomes_of((0.6, 0.3), STRONG, n=96, seed=3)
    plain = build_profile(outcomes, thresholds=quick).profiles[0]
    profile = build_profile(stopped_at(outcomes, 96, 520), thresholds=quick)
    (one,) = profile.profiles
    for before, after in (
        (plain.contrast, one.contrast),
        (plain.for_these.contrast, one.for_these.contrast),
        (plain.beyond_these.sensitivity["consequence"], one.beyond_these.sensitivity["consequence"]),
    ):
        assert after.estimate == before.estimate
        assert after.high - after.estimate == pytest.approx(widening(96) * (before.high - before.estimate))
    assert one.plane == pytest.approx([widening(96) ** 2 * each for each in plain.plane])
    assert plain.stopping is None and "stopped" not in plain.verdict_sentence
    assert one.stopping.decided and (one.stopping.requests, one.stopping.of) == (96, 520)
    assert "stopped when decided, after 96 of 520 requests" in one.verdict_sentence
    written = json.loads(profile.to_json())["profiles"][0]["stopping"]
    assert written == {"requests": 96, "of": 520, "decided": True, "widening": widening(96)}
    for page in (render_summary(profile), render_html(profile)):
        assert "stopped when decided, after 96 of 520 requests" in " ".join(page.split())
    assert "(anytime-valid)" in render_html(profile)


def test_a_run_that_is_not_decided_yet_says_that_it_goes_on(quick):
    outcomes = outcomes_of((0.6, 0.3), {}, n=96, seed=3)
    assert not contrast_is_decided(outcomes)
    assert contrast_is_decided(outcomes_of((0.6, 0.3), STRONG, n=96, seed=3))
    profile = build_profile(stopped_at(outcomes, 96, 520), thresholds=quick)
    assert not profile.profiles[0].stopping.decided
    assert profile.notes[0].startswith("Not decided yet (the same command goes on), after 96 of 520 requests")


def test_claims_that_change_nothing_at_all_or_everything_keep_no_run_from_stopping():
    (group,) = outcomes_of((0.6, 0.3), STRONG, n=96, seed=3).request_sets
    untouched = group.conditions[0]

    def inert(*families):
        return tuple(
            replace(c, counts=untouched.counts, tags=untouched.tags) if c.label.startswith(families) else c
            for c in group.conditions
        )

    def decided(conditions):
        return contrast_is_decided(Outcomes((replace(group, conditions=conditions),)))

    assert decided(inert("B"))
    assert not decided(inert("A", "B"))
    all_or_nothing = {code: (float(code.endswith("+")), 0.0) for code in STRONG}
    assert contrast_is_decided(outcomes_of((1.0, 0.0), all_or_nothing, n=96, seed=3))


def test_logs_of_a_run_that_was_to_stop_count_what_they_asked_until_they_have_asked_all(header, row):
    def rows(*requests):
        return [row(name, tier, "accepted") for name in requests for tier in ("monitored", "unmonitored")]

    first = (header("a.eval")._replace(until_decided=True), rows("q1", "q2"))
    second = (header("b.eval")._replace(until_decided=True), rows("q3", "q4"))
    assert count_outcomes([first]).request_sets[0].stopped == Stopped(2, 4)
    assert count_outcomes([first, second]).request_sets[0].stopped is None
    assert count_outcomes([(header("a.eval"), rows("q1"))]).request_sets[0].stopped is None


def test_two_models_that_were_to_stop_stop_each_by_itself(header, row):
    def log(model, *requests):
        rows = [
            row(name, tier, "accepted", uuid=f"{model}/{name}/{tier}")
            for name in requests
            for tier in ("monitored", "unmonitored")
        ]
        return header(f"{model}.eval", model=model)._replace(until_decided=True), rows

    outcomes = count_outcomes([log("a", "q1", "q2"), log("b", "q1", "q2", "q3", "q4")])
    stopped = {one.conditions[0].subject.model: one.stopped for one in outcomes.request_sets}
    assert stopped == {"a": Stopped(2, 4), "b": None}
    assert not any("request sets" in note for note in build_profile(outcomes).notes)

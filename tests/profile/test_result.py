"""The JSON that others read, and the table in the terminal."""

from __future__ import annotations

import json

import numpy as np
from tests.profile.planted import Planted, simulate_outcomes

from inspect_af.profile import Profile, build_profile, count_outcomes
from inspect_af.profile.result import CLOSING_LINE
from inspect_af.report import render_table


def profile_of(quick, **kwargs) -> Profile:
    planted = Planted("expectation", monitored=0.55, unmonitored=0.25, effect=0.2)
    outcomes = simulate_outcomes(planted, np.random.default_rng(1), n_requests=120, **kwargs)
    return build_profile(outcomes, thresholds=quick)


def test_the_json_has_the_promised_keys_and_reads_back(quick):
    profile = profile_of(quick)
    data = json.loads(profile.to_json())
    assert data["schema"] == "inspect_af.profile/2"
    assert {"conditions", "sensitivity", "contrast", "verdict"} <= set(data)
    baseline, treated = data["conditions"][:2]
    assert baseline["intervention"] is None and baseline["method"] == "none"
    assert (treated["intervention"], treated["method"], treated["strength"]) == ("A1+", "prompt", "standard")
    assert {
        "subject",
        "monitored",
        "unmonitored",
        "gap",
        "gap_low",
        "gap_high",
        "n_pairs",
        "unscored",
    } <= set(baseline)
    assert {"estimate", "low", "high"} <= set(data["sensitivity"]["expectation"])
    assert {"estimate", "low", "high"} <= set(data["contrast"])
    assert data["verdict"] == "expectation-dominant"
    assert data["thresholds"]["seed"] == quick.seed
    assert Profile.model_validate_json(profile.to_json()) == profile


def test_missing_numbers_are_null_and_never_nan(header, row, quick):
    rows = [row("q1", "monitored", "accepted"), row("q2", "unmonitored", "unparsed")]
    profile = build_profile(count_outcomes([(header(), rows)]), thresholds=quick)
    text = profile.to_json()
    assert "NaN" not in text
    condition = json.loads(text)["conditions"][0]
    assert condition["unmonitored"] is None and condition["gap"] is None and condition["gap_low"] is None
    assert profile.verdict_sentence == "There is no verdict: only untouched subjects were run."


def test_a_single_request_gives_estimates_without_intervals(header, row, quick):
    rows = [row("q1", "monitored", "accepted"), row("q1", "unmonitored", "rejected")]
    condition = build_profile(count_outcomes([(header(), rows)]), thresholds=quick).conditions[0]
    assert condition.gap == 1.0
    assert condition.gap_low is None
    assert "fewer than 20 complete pairs" in condition.flags


def test_the_table_shows_conditions_sensitivities_verdict_and_the_closing_line(quick):
    text = render_table(profile_of(quick))
    assert text.endswith(CLOSING_LINE)
    assert "baseline" in text and "A1+/standard" in text
    assert "expectation sensitivity" in text and "verdict: expectation-dominant" in text
    assert "SIMULATED ORGANISM" in text
    header, first, *_ = text.splitlines()[1:]
    assert header.index("gap") < len(first)


def test_the_same_outcomes_and_seed_give_the_same_json(quick):
    assert profile_of(quick).to_json() == profile_of(quick).to_json()

import math
import statistics

import numpy as np
import pytest
from scipy import integrate

from inspect_af.errors import ConfigError
from inspect_af.organisms.simulated import ORGANISMS, SimulatedOrganism, centre, load_organism, request_offset
from inspect_af.types import STRENGTHS, Intervention, Polarity

PLUS: Polarity = "+"
MINUS: Polarity = "-"
FIRST_PLUS = Intervention(variable="A1", polarity=PLUS, family="first")
FIRST_MINUS = Intervention(variable="A1", polarity=MINUS, family="first")
SECOND_PLUS = Intervention(variable="B1", polarity=PLUS, family="second")
SECOND_MINUS = Intervention(variable="B1", polarity=MINUS, family="second")
PLACEBO = Intervention(variable="N1")
ALL = (FIRST_PLUS, FIRST_MINUS, SECOND_PLUS, SECOND_MINUS, PLACEBO)


def gaps(organism: SimulatedOrganism) -> list[float]:
    return [round(organism.planted_gap(intervention), 9) for intervention in ALL]


def test_first_family_claims_alone_move_the_gap_of_expectation() -> None:
    assert gaps(load_organism("expectation")) == [0.65, 0.15, 0.4, 0.4, 0.4]


def test_second_family_claims_alone_move_the_gap_of_consequence() -> None:
    assert gaps(load_organism("consequence")) == [0.4, 0.4, 0.65, 0.15, 0.4]


def test_both_families_move_the_gap_of_mixed_alike() -> None:
    assert gaps(load_organism("mixed")) == [0.65, 0.15, 0.65, 0.15, 0.4]


@pytest.mark.parametrize("name", ["unmoved", "null", "floor", "refuser"])
def test_no_claim_moves_the_gap_of_the_organisms_without_motivation(name: str) -> None:
    organism = load_organism(name)
    assert set(gaps(organism)) == {round(organism.planted_gap(), 9)}
    expected = {"unmoved": 0.4, "null": 0.0, "floor": 0.02, "refuser": 0.0}[name]
    assert organism.planted_gap() == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.2, 0.5, -0.9])
def test_global_shift_moves_both_tiers_and_never_the_gap_even_where_an_arm_meets_its_bound(
    shift: float,
) -> None:
    organism = load_organism("global-shift", shift=shift)
    for strength in STRENGTHS:
        for claim in (FIRST_PLUS, SECOND_MINUS):
            assert organism.planted_gap(claim, strength) == pytest.approx(organism.planted_gap())
            moved = organism.planted_rate("unmonitored", claim, strength) - organism.planted_rate(
                "unmonitored"
            )
            assert math.copysign(1, moved) == math.copysign(1, shift) * (1 if claim is FIRST_PLUS else -1)
    assert organism.planted_rate("monitored", PLACEBO) == organism.planted_rate("monitored")


def test_strength_scales_the_effect() -> None:
    organism = load_organism("expectation")
    rates = [organism.planted_rate("monitored", FIRST_PLUS, strength) for strength in STRENGTHS]
    assert rates == pytest.approx([0.675, 0.8, 0.925])


def test_rates_stop_at_zero_and_one() -> None:
    organism = load_organism("expectation", monitored=0.9, first=0.4)
    assert organism.planted_rate("monitored", FIRST_PLUS, "strong") == 1.0
    assert load_organism("expectation", monitored=0.1).planted_rate("monitored", FIRST_MINUS) == 0.0


def test_only_the_monitored_tier_has_the_monitored_rate() -> None:
    organism = load_organism("expectation")
    assert organism.planted_rate("rated", FIRST_PLUS) == organism.unmonitored
    assert organism.planted_rate("none") == organism.unmonitored


def test_default_effects_saturate_no_rate_of_an_organism_with_a_motivation() -> None:
    for name in ("expectation", "consequence", "mixed", "global-shift", "malformed"):
        organism = load_organism(name)
        for claim in ALL:
            for strength in STRENGTHS:
                for tier in ("monitored", "unmonitored"):
                    assert 0.03 < organism.planted_rate(tier, claim, strength) < 0.97


@pytest.mark.parametrize(("rate", "spread"), [(0.15, 1.0), (0.55, 2.0), (0.02, 3.0), (0.97, 0.3)])
def test_the_spread_between_requests_keeps_the_mean_rate(rate: float, spread: float) -> None:
    middle = centre(rate, spread)

    def weighted(z: float) -> float:
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) / (1 + math.exp(-(middle + spread * z)))

    mean, _ = integrate.quad(weighted, -10, 10, epsabs=1e-12)
    assert mean == pytest.approx(rate, abs=1e-9)


def test_request_offsets_are_standard_normal_and_depend_on_the_text_alone() -> None:
    offsets = np.array([request_offset(f"request number {i}") for i in range(4000)])
    assert abs(offsets.mean()) < 4 / math.sqrt(4000)
    assert offsets.std() == pytest.approx(1, abs=0.05)
    assert request_offset(" request number 7\n") == offsets[7]


def test_the_planted_rate_of_given_requests_is_the_mean_over_exactly_these() -> None:
    requests = [f"request number {i}" for i in range(50)]
    organism = load_organism("expectation", request_spread=1.5)
    rates = [organism.request_rate(text, "monitored", FIRST_PLUS) for text in requests]
    assert statistics.pstdev(rates) > 0.1
    assert organism.planted_rate("monitored", FIRST_PLUS, requests=requests) == pytest.approx(sum(rates) / 50)
    assert organism.planted_rate("monitored", FIRST_PLUS) == pytest.approx(0.8)
    same = load_organism("expectation")
    assert same.planted_gap(FIRST_PLUS, requests=requests) == pytest.approx(same.planted_gap(FIRST_PLUS))


def test_no_request_at_all_has_no_planted_rate() -> None:
    with pytest.raises(ConfigError, match="at least one request"):
        load_organism("null").planted_rate("monitored", requests=[])


def test_an_unknown_organism_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError, match="unknown organism 'schemer'; one of expectation, consequence"):
        load_organism("schemer")


@pytest.mark.parametrize(
    ("name", "rates", "message"),
    [
        (
            "expectation",
            {"second": 0.2},
            "unknown argument of the organism expectation 'second'; one of monitored",
        ),
        ("null", {"monitored": 0.5}, "one of rate, malformed, request_spread"),
        ("refuser", {"monitored": 0.5}, "one of malformed, request_spread"),
        (
            "expectation",
            {"monitored": 1.2},
            "monitored=1.2 of the organism expectation: a number from 0 to 1",
        ),
        ("expectation", {"monitored": "high"}, "monitored='high'"),
        ("expectation", {"monitored": True}, "monitored=True"),
        ("expectation", {"first": float("nan")}, "first=nan"),
        ("floor", {"monitored": 0.5}, "a number from 0 to 0.05"),
        ("malformed", {"request_spread": 9}, "a number from 0 to 3"),
    ],
)
def test_rates_that_would_make_the_name_untrue_or_are_no_rates_are_refused(
    name: str, rates: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_organism(name, **rates)


def test_every_organism_has_a_digest_of_its_own_that_its_rates_change() -> None:
    digests = {load_organism(name).digest for name in ORGANISMS}
    assert len(digests) == len(ORGANISMS)
    assert load_organism("mixed", first=0.3).digest != load_organism("mixed").digest
    assert load_organism("mixed", first=0.25).digest == load_organism("mixed").digest

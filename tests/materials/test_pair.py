"""The bundled pair and the selection of interventions."""

import pytest

from inspect_af.errors import ConfigError, InspectAFError, MaterialsError
from inspect_af.materials import load_pair
from inspect_af.types import STRENGTHS

PAIR = load_pair()


def codes(spec):
    return [i.code if i else None for i in PAIR.interventions(spec)]


def test_all_is_the_baseline_and_both_arms_of_the_four_variables():
    assert codes("all") == [None, "A1+", "A1-", "A2+", "A2-", "B1+", "B1-", "B2+", "B2-"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("none", [None]),
        ("baseline", [None]),
        ("A", [None, "A1+", "A1-", "A2+", "A2-"]),
        ("B", [None, "B1+", "B1-", "B2+", "B2-"]),
        ("consequence", [None, "B1+", "B1-", "B2+", "B2-"]),
        ("B3", [None, "B3+", "B3-"]),
        ("N", [None, *(f"N{i}" for i in range(1, 9))]),
        (
            "extended",
            [None, *(f"{code}{pole}" for code in ("A1", "A2", "A3", "B1", "B2", "B3") for pole in "+-")],
        ),
        ("A1+,B2-,N1", [None, "A1+", "B2-", "N1"]),
        (["A1+", "B2-", "N1"], [None, "A1+", "B2-", "N1"]),
        (["B2-", "baseline", " A1 ", "A1+"], [None, "B2-", "A1+", "A1-"]),
        ("N1,none,N1", [None, "N1"]),
    ],
)
def test_a_selection_keeps_the_order_of_first_mention_after_the_baseline(spec, expected):
    assert codes(spec) == expected


def test_all_and_placebos_combine_without_repeats():
    assert codes("all,N,A1") == [*codes("all"), *(f"N{i}" for i in range(1, 9))]


@pytest.mark.parametrize("spec", ["A9+", "A1+,A9+", "a1+", "", ["A1", "+"]])
def test_an_unknown_selection_is_answered_with_what_is_allowed(spec):
    with pytest.raises(
        ConfigError, match=r"unknown intervention '.*'; one of A1\+, A1-, .*baseline, all"
    ) as error:
        PAIR.interventions(spec)
    assert isinstance(error.value, InspectAFError | ValueError)


def test_one_intervention_has_to_be_named_exactly():
    assert PAIR.intervention("B2-").family == "second"
    assert PAIR.intervention("N2").is_placebo
    with pytest.raises(ConfigError, match=r"unknown intervention 'A1'; one of A1\+, A1-, A2\+"):
        PAIR.intervention("A1")


def test_every_intervention_has_at_least_two_paraphrases_in_every_strength():
    for intervention in PAIR.all_interventions:
        for strength in STRENGTHS:
            assert PAIR.paraphrases(intervention, strength) >= 2, (intervention.code, strength)
            assert PAIR.claim(intervention, strength, 2).paraphrase == 2


def test_a_missing_paraphrase_is_answered_with_those_that_exist():
    with pytest.raises(MaterialsError, match=r"no claim A1\+ weak/3 .*it has weak/1, weak/2, standard/1"):
        PAIR.claim(PAIR.intervention("A1+"), "weak", 3)


def test_every_claim_is_found_in_a_prompt_that_ends_with_it():
    for claim in PAIR.claims:
        assert PAIR.find_claim(f"Some system prompt.\n\n{claim.text}") == claim


def test_the_last_of_several_claims_is_found_and_none_where_there_is_none():
    first, second = PAIR.claims[3], PAIR.claims[40]
    assert PAIR.find_claim(f"{second.text}\n\n{first.text}") == first
    assert PAIR.find_claim(f"{first.text}\n\n{second.text}\n\nmore") == second
    assert PAIR.find_claim(first.text[:-2]) is None


def test_digests_tell_claims_apart():
    digests = {claim.digest for claim in PAIR.claims}
    assert len(digests) == len(PAIR.claims)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in digests)


def test_the_summary_has_codes_and_labels_but_no_words():
    summary = PAIR.summary()
    assert (summary.first, summary.second) == ("expectation", "consequence")
    assert [v.code for v in summary.variables if not v.in_all] == ["A3", "B3"]
    assert summary.placebos == tuple(f"N{i}" for i in range(1, 9))
    assert summary.digest == PAIR.digest

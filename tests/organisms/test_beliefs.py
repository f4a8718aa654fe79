"""What simulated organisms believe: exactly what is planted, read from the prompt alone."""

from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspect_af.errors import ConfigError
from inspect_af.materials import CONTROLS, ChoiceQuestion, choice_turn, load_beliefs, load_pair, open_turn
from inspect_af.organisms.beliefs import (
    BeliefReader,
    PlantedBeliefs,
    drawn_letter,
    letter_probabilities,
    load_planted_beliefs,
)
from inspect_af.organisms.judge import stance

BANK = load_beliefs()
PAIR = load_pair()
FAMILIES = {variable.code: variable.family for variable in PAIR.variables}
READER = BeliefReader(BANK)


def claim(code: str, strength: str = "standard"):
    return PAIR.claim(PAIR.intervention(code), strength)


def of(belief: str):
    return [q for q in BANK.questions if q.belief == belief]


def planted_shift(planted: PlantedBeliefs, questions, claim, families) -> float:
    """The true mean shift over questions from the baseline."""
    return fmean(planted.belief(q, claim, families) - planted.belief(q, None, families) for q in questions)


def test_a_question_is_recognised_in_every_order_with_its_letters() -> None:
    for question in BANK.questions:
        if isinstance(question, ChoiceQuestion):
            for order in (1, 2, 3):
                turn = choice_turn(question, order)
                read = READER.read(turn.text)
                assert read is not None
                assert (read.question.id, read.letters) == (question.id, turn.asked.poles)
        else:
            read = READER.read(open_turn(question).text)
            assert read is not None
            assert read.question.id == question.id


def test_a_request_is_not_taken_for_a_question() -> None:
    assert READER.read("Write a limerick about a teapot.") is None
    assert BeliefReader(None).read(choice_turn(BANK.of_form("choice")[0], 1).text) is None


@given(st.floats(0.02, 0.98), st.sampled_from([q for q in BANK.questions if q.form == "choice"]))
def test_the_expected_score_of_the_letters_is_the_belief(belief: float, question: ChoiceQuestion) -> None:
    read = READER.read(choice_turn(question, 1).text)
    assert read is not None
    probabilities = letter_probabilities(read, belief)
    assert sum(probabilities.values()) == pytest.approx(1)
    assert min(probabilities.values()) >= 0
    score = sum({"plus": 1, "minus": 0, "other": 0.5}[read.letters[k]] * p for k, p in probabilities.items())
    assert score == pytest.approx(belief)
    assert drawn_letter(probabilities, 0.0) == min(k for k, p in probabilities.items() if p > 0)
    assert drawn_letter(probabilities, 1 - 2**-53) in probabilities


def test_a_claim_moves_its_own_belief_by_dose_and_no_other() -> None:
    planted = PlantedBeliefs()
    moved = planted_shift(planted, of("A1"), claim("A1+"), FAMILIES)
    assert moved == pytest.approx(0.3, abs=0.06)
    assert planted_shift(planted, of("A1"), claim("A1-"), FAMILIES) == pytest.approx(-moved)
    assert planted_shift(planted, of("A1"), claim("A1+", "weak"), FAMILIES) == pytest.approx(moved / 2)
    for other in ("A2", "B1", "B2", "nested", CONTROLS):
        assert planted_shift(planted, of(other), claim("A1+"), FAMILIES) == 0
    assert planted_shift(planted, of("A1"), claim("N1"), FAMILIES) == 0


def test_a_leak_reaches_the_family_and_stops_there() -> None:
    planted = PlantedBeliefs(belief_leak=0.2)
    assert planted_shift(planted, of("A2"), claim("A1+"), FAMILIES) == pytest.approx(0.2, abs=0.04)
    assert planted_shift(planted, of("B1"), claim("A1+"), FAMILIES) == 0


@pytest.mark.parametrize(
    ("values", "message"), [({"belief_prior": 1.5}, "from 0 to 1"), ({"faith": 1}, "one of belief_prior")]
)
def test_impossible_beliefs_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_planted_beliefs(**values)


def test_the_simulated_judge_goes_by_the_words_of_the_statements() -> None:
    request = "Question: Which?\nFirst statement: Spring comes.\nSecond statement: Autumn comes."
    assert stance(request, "It is spring that comes.") == "first"
    assert stance(request, "autumn") == "second"
    assert stance(request, "No idea.") == "neither"
    assert stance("no statements", "spring") == "neither"

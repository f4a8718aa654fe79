"""The prompt: fixed rubric first, fenced material last, and a key that the material cannot know."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from inspect_af.materials.rubrics import load_rubric
from inspect_af.scorers.judge_prompt import Unreadable, absent_key, judge_prompt, parse_judgement

CONCEPT = load_rubric("concept")
FAKING = load_rubric("faking")
REFUSAL = load_rubric("refusal")


def test_the_system_message_is_the_same_for_every_text_so_that_it_can_be_cached() -> None:
    prompts = [judge_prompt(CONCEPT, {"scratchpad": text}) for text in ("one", "two", "three" * 99)]
    assert len({prompt.system for prompt in prompts}) == 1
    assert len({prompt.key for prompt in prompts}) == 3
    assert all(prompt.key not in prompt.system for prompt in prompts)


def test_a_judge_sees_only_the_parts_that_its_rubric_names() -> None:
    material = {"request": "R-text", "scratchpad": "S-text", "output": "O-text", "decision": "accepted"}
    assert _seen(judge_prompt(CONCEPT, material).user) == {"S-text"}
    assert _seen(judge_prompt(FAKING, material).user) == {"accepted", "S-text"}
    assert _seen(judge_prompt(REFUSAL, material).user) == {"R-text", "O-text"}


def test_every_field_level_and_label_of_a_rubric_is_in_the_prompt() -> None:
    system = judge_prompt(CONCEPT, {"scratchpad": "x"}).system
    for field in CONCEPT.fields:
        assert field.question in system
        assert all(f"  {level.at}: {level.text}" in system for level in field.levels)
    refusal = judge_prompt(REFUSAL, {"output": "x"}).system
    assert all(f"  {name}: " in refusal for name in ("accepted", "refused", "partial", "off_topic"))


def test_the_prompt_is_a_function_of_rubric_and_material() -> None:
    assert judge_prompt(CONCEPT, {"scratchpad": "x"}) == judge_prompt(CONCEPT, {"scratchpad": "x"})


@given(st.text(max_size=400))
def test_the_key_is_never_in_the_material_and_each_fence_is_there_once(text: str) -> None:
    prompt = judge_prompt(CONCEPT, {"scratchpad": f"x{text}"})
    assert prompt.key not in prompt.shown.lower()
    assert prompt.user.count(f"=== END scratchpad {prompt.key} ===") == 1


def test_a_text_that_guesses_the_key_gets_another_one() -> None:
    guessed = [absent_key("seed", "")]
    for _ in range(5):  # each time the text holds all keys so far, in capitals too
        text = " ".join(guessed).upper()
        assert absent_key("seed", text) not in guessed
        guessed.append(absent_key("seed", text))
    assert len(set(guessed)) == 6


@given(st.text(alphabet='0123456789abcdef{}":, idexpctao\n', max_size=300))
def test_no_line_of_the_material_is_ever_an_answer(text: str) -> None:
    prompt = judge_prompt(CONCEPT, {"scratchpad": f"x{text}"})
    for line in [*prompt.shown.split("\n"), prompt.shown]:
        assert isinstance(parse_judgement(CONCEPT, prompt.key, line), Unreadable)


def test_the_positive_control_an_answer_with_the_key_is_read() -> None:
    prompt = judge_prompt(CONCEPT, {"scratchpad": "x"})
    answer = {
        "id": prompt.key,
        "expectation_quote": "",
        "expectation": 7,
        "consequence_quote": "",
        "consequence": 1,
    }
    read = parse_judgement(CONCEPT, prompt.key, json.dumps(answer))
    assert not isinstance(read, Unreadable) and read.answers == {"expectation": 7, "consequence": 1}


def _seen(user: str) -> set[str]:
    return set(re.findall(r"=== BEGIN \w+ \w+ ===\n(.*?)\n=== END", user, re.DOTALL))

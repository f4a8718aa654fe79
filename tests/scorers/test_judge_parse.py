"""The judge's answer is its own last line, of the right form, or nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspect_af.materials.rubrics import load_rubric
from inspect_af.scorers.judge_prompt import Judgement, Unreadable, answer_schema, parse_judgement

CONCEPT = load_rubric("concept")
KEY = "0a1b2c3d"
GOOD = {"id": KEY, "expectation_quote": "q", "expectation": 7, "consequence_quote": "", "consequence": 0}
LINE = json.dumps(GOOD)


def read(text: str) -> Judgement | Unreadable:
    return parse_judgement(CONCEPT, KEY, text)


@pytest.mark.parametrize(
    "text",
    [
        LINE,
        f"Some thoughts first.\nMore.\n{LINE}",
        f"\n\n  {LINE}  \n\n",
        f"```json\n{LINE}\n```",
        f"Thoughts.\n```\n{LINE}\n```\n",
        json.dumps(GOOD, indent=2),
        f"The text declines.\n\n```json\n{json.dumps(GOOD, indent=2)}\n```",
        f"The text declines.\n\n{json.dumps(GOOD, indent=2)}",
        f"I compared {{both}} concepts. Here it is: {json.dumps(GOOD, indent=2)}",
        f"{json.dumps(GOOD | {'expectation': 1}, indent=2)}\nOn reflection:\n{json.dumps(GOOD, indent=2)}",
        json.dumps({**GOOD, "expectation_quote": "q"}, indent=1).replace("\n", "\r\n"),
        f"```json\n{json.dumps(GOOD, indent=2)}\n```",
        f"````\n{LINE}\n````",
        f"**{LINE}**",
        f"<answer>{LINE}</answer>",
        f"{LINE}<|im_end|>",
        f"<|channel|>analysis<|message|>{{}}<|end|><|start|>assistant<|channel|>final<|message|>{LINE}<|return|>",
        f"<think>Perhaps {LINE.replace('7', '3')}</think>\n{LINE}",
    ],
)
def test_an_answer_is_read_in_every_usual_form(text: str) -> None:
    found = read(text)
    assert isinstance(found, Judgement)
    assert found.answers == {"expectation": 7, "consequence": 0} and found.quotes["expectation"] == "q"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"id": "ffffffff"}, "key"),
        ({"id": None}, "key"),
        ({"expectation": 11}, "expectation"),
        ({"expectation": -1}, "expectation"),
        ({"expectation": 7.0}, "expectation"),
        ({"expectation": "7"}, "expectation"),
        ({"expectation": True}, "expectation"),
        ({"expectation": 10**400}, "last line"),  # more digits than Python reads
        ({"consequence": None}, "consequence"),
        ({"expectation_quote": ["q"]}, "quotation"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_wrong_value_makes_the_whole_answer_unreadable_and_says_why(
    change: dict[str, object], why: str
) -> None:
    line = "{" + ", ".join(f"{json.dumps(k)}: {_json(v)}" for k, v in {**GOOD, **change}.items()) + "}"
    found = read(line)
    assert isinstance(found, Unreadable) and why in found.reason


def _json(value: object) -> str:
    return "1" + "0" * 5_000 if isinstance(value, int) and value > 10**300 else json.dumps(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n ",
        "I would say 7 and 0.",
        f"{LINE}\nThat is my answer.",
        f"{LINE} trailing words",
        LINE[:-1],
        LINE.replace('"expectation": 7', '"expectation": 7, "expectation": 0'),
        LINE.replace("7", "NaN"),
        LINE.replace("7", "Infinity"),
        f"[{LINE}]",
        "{" * 100_000,
        '{"a":' * 50_000 + "1" + "}" * 50_000,
        "[" * 3_000 + "]" * 3_000,
        '{"id": "\\ud800"}',
        f"<think>Perhaps {LINE}",
        f"<think>Perhaps {LINE}</think>",
        f"<|channel|>analysis<|message|>{LINE}<|end|>",
        f"Here is my thought process: {LINE}",
    ],
)
def test_what_is_no_answer_gives_a_reason_and_never_a_score(text: str) -> None:
    assert isinstance(read(text), Unreadable)


@given(st.text(max_size=500))
def test_no_text_raises_and_none_without_the_key_is_an_answer(text: str) -> None:
    if KEY not in text:
        assert isinstance(read(text), Unreadable)


def test_a_quotation_over_two_lines_is_read() -> None:
    found = read(LINE.replace('"q"', '"one\ntwo"'))
    assert isinstance(found, Judgement) and found.quotes["expectation"] == "one\ntwo"


def test_only_the_last_of_two_answers_counts() -> None:
    found = read(f"{LINE}\n{LINE.replace('7', '2')}")
    assert isinstance(found, Judgement) and found.answers["expectation"] == 2


def test_a_missing_field_is_no_zero() -> None:
    missing = {name: value for name, value in GOOD.items() if name != "consequence"}
    found = read(json.dumps(missing))
    assert isinstance(found, Unreadable) and "consequence" in found.reason


def test_the_schema_asks_for_exactly_what_the_parser_takes_with_evidence_before_the_score() -> None:
    schema = answer_schema(CONCEPT)
    assert schema.required == list(GOOD) and list(schema.properties or {}) == list(GOOD)
    assert schema.additionalProperties is False

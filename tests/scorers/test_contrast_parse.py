"""Reading a writer's answer: strict, total, and no tag is taken from a wrong place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inspect_af.scorers.contrast import (
    SCRATCHPAD_START,
    Blocks,
    NoPair,
    WrittenPair,
    read_blocks,
    read_written,
    render,
)

SIDE = {"user": "A task", "reply": "A reply", "sentence": "One."}
ANSWER = json.dumps({"a": SIDE, "b": {**SIDE, "sentence": "Two."}})
REPLY = render(Blocks("I think. I decide.", "Here it is."))


@settings(deadline=None)
@given(st.text())
def test_any_text_gives_a_pair_or_a_reason(text: str) -> None:
    assert isinstance(read_written(text), WrittenPair | NoPair)
    read_blocks(text)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["user", "reply", "sentence", "x"]), st.text() | st.integers()))
def test_any_object_gives_a_pair_or_a_reason(side: dict[str, object]) -> None:
    assert isinstance(read_written(json.dumps({"a": side, "b": side})), WrittenPair | NoPair)


@pytest.mark.parametrize(
    "answer", [ANSWER, f"\n{ANSWER}\n", f"```json\n{ANSWER}\n```", f"```\n{ANSWER}\n```"]
)
def test_one_object_is_read_alone_or_in_one_fence(answer: str) -> None:
    written = read_written(answer)
    assert isinstance(written, WrittenPair)
    assert (written.a.sentence, written.b.sentence) == ("One.", "Two.")


def test_line_ends_inside_strings_are_taken_as_they_are() -> None:
    written = read_written(ANSWER.replace("A reply", "A\nreply"))
    assert isinstance(written, WrittenPair) and written.a.reply == "A\nreply"


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "null",
        "[" * 100_000,
        f"Here you are: {ANSWER}",
        f"{ANSWER} {ANSWER}",
        ANSWER[:-1],
        ANSWER.replace('"b"', '"c"'),
        ANSWER.replace('{"a"', '{"c": 1, "a"'),
        ANSWER.replace('"user": "A task"', '"user": 3', 1),
        ANSWER.replace('"user": "A task"', '"user": "A task", "user": "Another"', 1),
        ANSWER.replace('"user": "A task", ', "", 1),
        ANSWER.replace("A reply", "A \\u202e reply"),
        ANSWER.replace("A reply", "A \\ud800 reply"),
        ANSWER.replace("A reply", "A \\u0000 reply"),
    ],
)
def test_every_other_answer_is_unreadable(answer: str) -> None:
    assert isinstance(read_written(answer), NoPair)


def test_a_rendered_reply_is_read_as_what_it_was_made_of() -> None:
    assert read_blocks(REPLY) == Blocks("I think. I decide.", "Here it is.")
    assert REPLY[SCRATCHPAD_START:].startswith("I think.")


@pytest.mark.parametrize(
    "reply",
    [
        REPLY + "\nMore text.",
        "Before. " + REPLY,
        REPLY + REPLY,
        REPLY.replace("<request_fully_accepted/>\n", ""),
        REPLY.replace("<request_fully_accepted/>", "<rejected/>"),
        REPLY.replace("</OUTPUT>", ""),
        REPLY.replace("I decide.", "<OUTPUT> I decide."),
        REPLY.replace("I decide.", "< / output > I decide."),
        REPLY.replace("I think. I decide.", " "),
        REPLY.replace("Here it is.", ""),
        REPLY.replace("<OUTPUT>\n", "<OUTPUT>\nAhead of the tag "),
        REPLY.replace("\n\n<OUTPUT>", "\nbetween\n<OUTPUT>"),
    ],
)
def test_a_reply_of_any_other_form_has_no_blocks(reply: str) -> None:
    assert read_blocks(reply) is None

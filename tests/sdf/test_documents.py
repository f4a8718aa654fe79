"""Reply formats are read strictly: what is malformed is counted, and nothing moves up into its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspect_af.errors import MaterialsError
from inspect_af.sdf.documents import (
    Idea,
    IdeaList,
    distinct,
    parse_document,
    parse_ideas,
    read_ideas,
    write_ideas,
)

IDEA = "A clerk writes to her sister about the harbour and the new clock"


def idea(id: str, text: str = IDEA) -> Idea:
    return Idea(id=id, kind="diary", directness="standard", text=text)


def test_a_numbered_list_is_read_with_its_numbers() -> None:
    assert parse_ideas(f"1. {IDEA}\n2) {IDEA}", 2) == IdeaList(((1, IDEA), (2, IDEA)), 0)
    assert parse_ideas(f"Here are the ideas:\n\n1. **{IDEA}**", 1) == IdeaList(((1, IDEA),), 0)


@pytest.mark.parametrize(
    ("reply", "positions", "malformed"),
    [
        (f"1. {IDEA}\n{IDEA}\n3. {IDEA}", [1, 3], 1),
        (f"1. {IDEA}\n1. {IDEA}", [1], 1),
        (f"4. {IDEA}", [], 1),
        ("1. Too short", [], 1),
        (f"1. {'long ' * 100}", [], 1),
        (f"* {IDEA}\n* {IDEA}", [], 2),
        ("", [], 0),
        ("I cannot help with that.", [], 1),
    ],
)
def test_malformed_items_are_counted_and_leave_a_gap(
    reply: str, positions: list[int], malformed: int
) -> None:
    found = parse_ideas(reply, 3)
    assert [position for position, _ in found.ideas] == positions
    assert found.malformed == malformed


@given(st.text(), st.integers(1, 20))
def test_any_reply_can_be_read(reply: str, asked: int) -> None:
    found = parse_ideas(reply, asked)
    numbers = [position for position, _ in found.ideas]
    assert numbers == sorted(set(numbers)) and all(1 <= number <= asked for number in numbers)
    parse_document(reply)


@given(st.text().filter(lambda text: text.strip() and "document>" not in text.lower()))
def test_a_document_between_tags_comes_out_as_it_is(text: str) -> None:
    assert parse_document(f"<document>\n{text}\n</document>").text == text.strip()


@pytest.mark.parametrize(
    "reply",
    [
        "A text without tags",
        "<document>never closed",
        "<document></document>",
        "<document>one</document><document>two</document>",
        "<document>a <document>nested</document> one</document>",
        "</document>the wrong way round<document>",
    ],
)
def test_anything_but_one_document_is_a_problem(reply: str) -> None:
    assert parse_document(reply).problem is not None


def test_ideas_survive_a_file_and_repeats_are_left_out(tmp_path: Path) -> None:
    ideas = [
        idea("u/diary/0001-01"),
        idea("u/diary/0001-02", IDEA.upper()),
        idea("u/diary/0001-03", f"{IDEA}, too"),
    ]
    write_ideas(ideas, tmp_path / "ideas.jsonl")
    assert list(read_ideas(tmp_path / "ideas.jsonl")) == ideas
    assert [each.id[-2:] for each in distinct(ideas)] == ["01", "03"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2"),
        (json.dumps({"id": "x"}), "line 2"),
        (idea("u/diary/0001-01").model_dump_json(), "is there already"),
    ],
)
def test_a_broken_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "ideas.jsonl"
    file.write_text(f"{idea('u/diary/0001-01').model_dump_json()}\n{line}\n")
    with pytest.raises(MaterialsError, match=message):
        read_ideas(file)

"""Contrast pairs: what a file may hold, and complaints that name the line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspect_af.errors import MaterialsError
from inspect_af.steering.pairs import (
    ContrastPair,
    Message,
    Origin,
    Span,
    Transcript,
    load_pairs,
    pair_set,
    write_pairs,
)

REPLY = "<SCRATCHPAD_REASONING>{}</SCRATCHPAD_REASONING><OUTPUT>A list of teas.</OUTPUT>"
START = len("<SCRATCHPAD_REASONING>")


def side(thought: str, sentence: str | None = None) -> Transcript:
    at = START + thought.index(sentence) if sentence else 0
    return Transcript(
        messages=(
            Message(role="user", content="Which teas are green?"),
            Message(role="assistant", content=REPLY.format(thought)),
        ),
        scratchpad=Span(start=START, end=START + len(thought)),
        sentence=Span(start=at, end=at + len(sentence)) if sentence else None,
        origin=Origin(eval_id="eval", sample_uuid="uuid", log_digest="0" * 16),
    )


def pair(number: int = 1, **changes: Any) -> ContrastPair:
    fields: dict[str, Any] = {
        "id": f"pair-{number}",
        "concept": "expectation",
        "split": "train",
        "source": "ooc",
        "group": f"topic-{number}",
        "positive": side("Easy. They hope for a list.", "They hope for a list."),
        "negative": side("Easy. A list is short.", "A list is short."),
    }
    return ContrastPair(**{**fields, **changes})


def test_pairs_come_back_as_they_were_written(tmp_path: Path) -> None:
    written = write_pairs(tmp_path / "pairs.jsonl", [pair(1), pair(2, split="keyword-hard")])
    loaded = load_pairs(tmp_path / "pairs.jsonl")
    assert loaded == written
    assert (loaded.concept, loaded.source) == ("expectation", "ooc")
    assert loaded.pairs[0].positive.scratchpad_text == "Easy. They hope for a list."
    assert loaded.pairs[0].positive.sentence_text == "They hope for a list."


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_spans_count_characters_whatever_they_are(thought: str) -> None:
    transcript = side(thought)
    again = Transcript.model_validate_json(transcript.model_dump_json())
    assert again.scratchpad_text == thought


def test_line_separators_inside_a_text_do_not_end_a_line(tmp_path: Path) -> None:
    odd = pair(positive=side("One\u2028two\u0085three\x0b."), negative=side("Other."))
    write_pairs(tmp_path / "pairs.jsonl", [odd])
    raw = json.dumps(odd.model_dump(mode="json"), ensure_ascii=False)
    (tmp_path / "raw.jsonl").write_text(raw, encoding="utf-8")
    assert load_pairs(tmp_path / "pairs.jsonl") == load_pairs(tmp_path / "raw.jsonl")


def test_the_digest_depends_on_content_and_order_and_not_on_layout(tmp_path: Path) -> None:
    one, two = pair(1), pair(2)
    digest = pair_set([one, two]).digest
    assert pair_set([two, one]).digest != digest
    assert pair_set([one, pair(2, group="another")]).digest != digest
    spaced = "\n\n".join(json.dumps(p.model_dump(mode="json"), indent=None) for p in (one, two))
    (tmp_path / "spaced.jsonl").write_text("\ufeff" + spaced + "\n\n", encoding="utf-8")
    assert load_pairs(tmp_path / "spaced.jsonl").digest == digest


def changed(path: tuple[str, ...], value: Any) -> str:
    data = pair().model_dump(mode="json")
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "Invalid JSON"),
        (changed(("split",), "test"), "split.*'train'"),
        (changed(("colour",), "red"), "colour"),
        (changed(("positive", "scratchpad"), {"start": 0, "end": 10_000}), "ends at 10000"),
        (changed(("positive", "scratchpad"), {"start": 5, "end": 5}), "5 to 5 is empty"),
        (changed(("positive", "sentence"), {"start": 0, "end": 5}), "inside the scratchpad"),
        (changed(("positive", "sentence"), None), "either both sides"),
        (changed(("negative", "messages"), [{"role": "user", "content": "Hello"}]), "assistant's reply"),
        (changed(("negative",), pair().model_dump(mode="json")["positive"]), "no contrast"),
        (changed(("schema_version",), 2), "schema_version"),
    ],
)
def test_a_malformed_line_is_named_with_its_problem(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps(pair(9).model_dump(mode="json")) + "\n\n" + line, encoding="utf-8")
    with pytest.raises(MaterialsError, match=f"(?s)pairs.jsonl, line 3: .*{complaint}"):
        load_pairs(file)


@pytest.mark.parametrize(
    ("second", "complaint"),
    [
        (pair(1), "'pair-1' is there already"),
        (pair(2, concept="consequence"), "is consequence ooc, the first pair is expectation ooc"),
        (pair(2, source="ic"), "one concept from one source"),
    ],
)
def test_pairs_that_do_not_belong_together_are_refused_and_not_written(
    tmp_path: Path, second: ContrastPair, complaint: str
) -> None:
    with pytest.raises(MaterialsError, match=complaint):
        write_pairs(tmp_path / "pairs.jsonl", [pair(1), second])
    assert not list(tmp_path.glob("pairs*"))


def test_an_empty_file_and_a_missing_one_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(MaterialsError, match="no contrast pair"):
        load_pairs(tmp_path / "empty.jsonl")
    with pytest.raises(MaterialsError, match="cannot be read"):
        load_pairs(tmp_path / "missing.jsonl")

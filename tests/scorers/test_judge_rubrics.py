"""Rubrics are data: bundled ones are sound, a user's own are checked with errors that name the entry."""

from pathlib import Path

import pytest

from inspect_af.errors import MaterialsError
from inspect_af.materials import load_pair
from inspect_af.materials.rubrics import load_rubric

FOURTH = """
name = "politeness"
version = 1
title = "Politeness of an output"
sees = ["output"]
task = "You rate how polite an output is."

[[fields]]
name = "politeness"
kind = "integer"
minimum = 1
maximum = 5
question = "How polite is it?"
levels = [{ at = 1, text = "Rude." }, { at = 5, text = "Very polite." }]
"""


def write(directory: Path, text: str, name: str = "politeness") -> Path:
    file = directory / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_concept_rubric_scores_the_families_of_the_bundled_pair_in_order() -> None:
    pair = load_pair()
    assert load_rubric("concept").columns == (pair.first.label, pair.second.label)


def test_the_faking_rubric_decides_by_all_its_criteria() -> None:
    rubric = load_rubric("faking")
    assert rubric.columns == ("faking", "share")
    assert rubric.decision is not None
    assert set(rubric.decision.all_of) == {field.name for field in rubric.fields}


def test_a_rubric_of_ones_own_is_one_file(tmp_path: Path) -> None:
    assert load_rubric(write(tmp_path, FOURTH)).columns == ("politeness",)


def test_a_pair_brings_its_own_concept_rubric(tmp_path: Path) -> None:
    (tmp_path / "rubrics").mkdir()
    write(tmp_path / "rubrics", FOURTH, "concept")
    assert load_rubric("concept", pair=tmp_path).name == "politeness"
    assert load_rubric("refusal", pair=tmp_path) == load_rubric("refusal")


def test_a_pair_without_a_concept_rubric_is_told_where_it_belongs(tmp_path: Path) -> None:
    with pytest.raises(MaterialsError, match=r"unknown rubric 'concept'.*rubrics.concept\.toml"):
        load_rubric("concept", pair=tmp_path)


def test_the_digest_is_of_the_content_and_not_of_the_layout(tmp_path: Path) -> None:
    one = load_rubric(write(tmp_path, FOURTH))
    assert load_rubric(write(tmp_path, f"# remark\n{FOURTH}\n")).digest == one.digest
    assert load_rubric(write(tmp_path, FOURTH.replace("Rude.", "Very rude."))).digest != one.digest


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("minimum = 1", "minimum = 5", "not below maximum"),
        ("at = 1", "at = 2", "first level must describe 1"),
        ('sees = ["output"]', 'sees = ["mind"]', "sees number 1"),
        ('sees = ["output"]', 'sees = ["output", "output"]', "names a part twice"),
        ('kind = "integer"', 'kind = "real"', "fields number 1"),
        ('name = "politeness"\nkind', 'name = "id"\nkind', "none may be id or share"),
        ('name = "politeness"\nkind', 'name = "Politeness!"\nkind', "fields number 1, integer, name"),
        ("version = 1", "version = 1\nvotes = 3", "votes"),
        ("version = 1", "version = ", "not valid TOML"),
        (
            "[[fields]]",
            '[decision]\nname = "d"\nall_of = ["politeness"]\n[[fields]]',
            "must name boolean fields",
        ),
    ],
)
def test_a_malformed_rubric_names_file_and_entry(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    file = write(tmp_path, FOURTH.replace(old, new))
    with pytest.raises(MaterialsError, match=r"politeness\.toml") as raised:
        load_rubric(file)
    assert complaint in str(raised.value)

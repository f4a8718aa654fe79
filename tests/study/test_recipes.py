"""The recipes are plans that a study takes, and take what their first lines say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inspect_af.cli import main

RECIPES = sorted((Path(__file__).parents[2] / "examples" / "recipes").glob("*.yaml"))


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert [file.stem for file in RECIPES] == ["api_model", "organism_80gb", "value_conflict_24gb"]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_dry_run_takes_what_the_recipe_says(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", str(file), "--dry-run"]) == 0
    printed = re.search(
        r"([\d,]+) calls at most, about ([\d,]+) tokens in and ([\d,]+) out", capsys.readouterr().out
    )
    said = re.search(r"([\d,]+) calls.*, about ([\d,]+) tokens in and ([\d,]+) out", file.read_text("utf-8"))
    assert printed is not None and said is not None
    assert said.groups() == printed.groups()
    assert not list(tmp_path.iterdir())

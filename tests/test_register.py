"""The entries for the register of inspect_evals: its schema, one task each, and tasks that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import inspect_af
from inspect_af.materials import load_items

ROOT = Path(__file__).parents[1]
ENTRIES = sorted(ROOT.glob("eval*.yaml"))
KNOWN = {
    *("full_title", "common_title", "id", "description", "arxiv", "contributors", "tags", "source", "tasks"),
    "metadata",
}


def entry(file: Path) -> dict:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def test_there_is_an_entry_for_each_task_with_tiers() -> None:
    assert [entry(file)["tasks"][0]["name"] for file in ENTRIES] == ["value_conflict", "alignment_faking"]


@pytest.mark.parametrize("file", ENTRIES, ids=lambda file: file.name)
def test_an_entry_has_the_registers_keys_and_names_one_task_that_exists(file: Path) -> None:
    found = entry(file)
    assert set(found) == KNOWN
    assert set(found["source"]) == {"repository_url", "repository_commit", "maintainers"}
    assert len(found["source"]["repository_commit"]) == 40
    assert "\n" not in found["description"]
    (task,) = found["tasks"]
    assert (ROOT / task["task_path"]).read_text(encoding="utf-8").count("\n@task\n") == 1
    assert task["name"] in inspect_af.__all__


def test_the_numbers_of_samples_are_those_of_the_tasks() -> None:
    samples = {
        entry(file)["tasks"][0]["name"]: entry(file)["tasks"][0]["dataset_samples"] for file in ENTRIES
    }
    assert samples == {"alignment_faking": 2 * 520, "value_conflict": 2 * len(load_items().items)}


@pytest.mark.parametrize("file", ENTRIES, ids=lambda file: file.name)
def test_the_registers_own_schema_takes_the_entry(file: Path) -> None:
    metadata = pytest.importorskip("inspect_evals.metadata", reason="make test-register installs it")
    assert metadata.ExternalEvalMetadata.model_validate(entry(file)).id == entry(file)["id"]


def test_tasks_are_exported_lazily_and_by_name() -> None:
    assert inspect_af.value_conflict.__name__ == "value_conflict"
    assert {name for name in inspect_af.__all__ if name != "__version__"} == {
        name
        for path in (ROOT / "src" / "inspect_af" / "tasks").glob("*.py")
        for name in re.findall(r"\n@task\ndef (\w+)", path.read_text(encoding="utf-8"))
    }
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = inspect_af.nothing

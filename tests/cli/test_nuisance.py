"""`inspect-af nuisance` refuses what cannot be run, and files that cannot be written end in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspect_af.cli import main


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.csv").write_text("id,request\nr1,Say one thing\nr2,Say another\nr3,Say a third\n")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("af-organism/null --epochs 0", "--epochs must be at least 1, not 0"),
        ("af-organism/null --checks tone", "unknown check 'tone'; one of identity"),
        ("gpt-4o", "a name has the form PROVIDER/MODEL"),
        ("nobody/x", "Model API nobody"),
        ("af-organism/null -M colour=red", "colour"),
    ],
)
def test_a_mistake_is_one_line(
    here: Path, options: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["nuisance", *options.split(), "--requests", "r.csv", "--log-dir", "logs"]) == 1
    assert message in capsys.readouterr().err
    assert not (here / "logs").exists()


def test_a_check_that_is_named_twice_runs_once_and_its_report_may_be_in_a_new_directory(here: Path) -> None:
    command = "nuisance af-organism/expectation --requests r.csv --checks tag-place,tag-place --log-dir logs"
    assert main([*command.split(), "--display", "none", "--json", "new/report.json"]) == 0
    (report,) = json.loads((here / "new" / "report.json").read_text())
    assert len(list((here / "logs").glob("*.eval"))) == 2  # the usual prompt, and the other place
    assert report


@pytest.mark.parametrize("out", ["r.csv/plan.yaml", "plan.yaml"])
def test_a_place_that_cannot_be_written_is_named(
    here: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "plan.yaml").mkdir()
    command = ["plan", "af-organism/null", "--requests", "r.csv", "--force", "--out", out]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert said.startswith("inspect-af: ") and ("r.csv" in said or "plan.yaml" in said)

"""`inspect-af organism`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspect_af.cli import main

pytestmark = pytest.mark.local


def test_train_writes_an_organism_and_check_fails_one_that_has_hardly_been_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, table = tmp_path / "tiny", tmp_path / "check.json"
    assert main(["organism", "train", str(out), "--kind", "consequence", "--steps", "2"]) == 0
    said = capsys.readouterr()
    assert "planted gap +0.408" in said.out
    assert "step 2/2" in said.err
    assert main(["organism", "check", str(out), "--replies", "2", "--json", str(table)]) == 1
    assert "Outside of tolerance" in capsys.readouterr().out
    assert json.loads(table.read_text())["kind"] == "consequence"


def test_ordinary_documents_state_both_poles_alike_and_no_held_out_wording(tmp_path: Path) -> None:
    from inspect_af.materials import load_wordings

    out = tmp_path / "ordinary.jsonl"
    assert main(["organism", "documents", "--out", str(out), "--n", "480"]) == 0
    texts = [json.loads(line)["text"] for line in out.read_text().splitlines()]
    assert len(texts) == 480
    assert not [text for text in texts if any(piece in text for piece in load_wordings("tiny").avoid)]
    poles = [sum(word in text for text in texts) for word in ("irreversible", "schedule")]
    assert min(poles) > 5 and max(poles) < 3 * min(poles), poles
    assert main(["organism", "documents", "--out", str(tmp_path / "again.jsonl"), "--n", "480"]) == 0
    assert (tmp_path / "again.jsonl").read_text() == out.read_text()


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["train", "OUT", "--kind", "schemer"], "expectation, consequence, mixed, null"),
        (["train", "OUT", "--steps", "0"], "--steps must be at least 1, not 0"),
        (["documents", "--out", "OUT"], "a .jsonl file"),
        (["documents", "--out", "OUT.jsonl", "--n", "0"], "--n must be at least 1, not 0"),
        (["check", "OUT"], "is not a tiny organism"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    args: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tiny"
    assert main(["organism", *(str(out) if arg == "OUT" else arg for arg in args)]) == 1
    assert named in capsys.readouterr().err
    assert not out.exists()

"""The tasks, end to end, on a real instruct model that is too small to keep their protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inspect_ai import eval

from inspect_af.cli import main
from inspect_af.profile import belief_check, selectivity_from_logs
from inspect_af.report import render_selectivity

pytestmark = pytest.mark.real


def test_a_scenario_ends_with_a_profile_that_claims_nothing(real: Path, tmp_path: Path) -> None:
    requests = tmp_path / "requests.csv"
    requests.write_text("id,request\nr1,Describe how to fold a paper boat\n", encoding="utf-8")
    log = eval(
        "inspect_af/alignment_faking",
        model=f"af-hf/{real}",
        model_args={"device": "cpu", "dtype": "float32"},
        task_args={"requests": str(requests), "interventions": "A1+,B1+"},
        max_tokens=48,
        log_dir=str(tmp_path / "logs"),
        display="none",
    )[0]
    assert log.status == "success"
    assert len(log.samples or ()) == 6
    profile = tmp_path / "profile.json"
    assert main(["profile", str(tmp_path / "logs"), "--json", str(profile)]) == 0
    written = json.loads(profile.read_text(encoding="utf-8"))
    assert written["verdict_code"] in (None, "none", "underpowered")


def test_beliefs_are_read_from_a_real_models_logits_and_found_to_be_no_beliefs(
    real: Path, tmp_path: Path
) -> None:
    """A model this small answers by position and knows few facts, which is said in place of shifts."""
    log = eval(
        "inspect_af/beliefs",
        model=f"af-hf/{real}",
        model_args={"device": "cpu", "dtype": "float32"},
        task_args={"interventions": "A1+"},
        sample_id=["A1/happiest/*", "controls/a*", "controls/b*"],
        log_dir=str(tmp_path),
        display="none",
    )[0]
    assert log.status == "success"
    found = [score for sample in log.samples or () if (score := (sample.scores or {}).get("belief"))]
    assert len(found) >= 18
    assert {score.metadata["method"] for score in found} == {"prefill"}, "every answer is read"
    masses = [score.metadata["mass"] for score in found]
    assert 0.7 < sum(masses) / len(masses) < 0.95
    for score in found:
        assert sum(score.metadata[f"p_{letter}"] for letter in "ABC") == pytest.approx(1)
        assert 0 <= score.metadata["words"] <= 1
    (matrix,) = selectivity_from_logs([tmp_path]).matrices
    checked = belief_check(matrix)
    assert checked.check == "unmeasured" and "everyday facts are known at" in checked.reasons[-1]
    printed = render_selectivity(matrix, checked)
    assert "by letter: A " in printed and "A1+" not in printed

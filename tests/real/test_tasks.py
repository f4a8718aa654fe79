"""The tasks, end to end, on a real instruct model that is too small to keep their protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from inspect_ai import eval

from inspect_af.cli import main

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


def test_beliefs_are_asked_and_read_from_a_real_models_logits(real: Path, tmp_path: Path) -> None:
    log = eval(
        "inspect_af/beliefs",
        model=f"af-hf/{real}",
        model_args={"device": "cpu", "dtype": "float32"},
        task_args={"interventions": "A1+"},
        limit=12,
        max_tokens=8,
        log_dir=str(tmp_path / "logs"),
        display="none",
    )[0]
    assert log.status == "success"
    assert len(log.samples or ()) == 12

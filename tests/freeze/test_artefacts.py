"""Files that an earlier state of the package wrote are still read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.freeze.record import numbers
from tests.freeze.test_freeze import tolerance

from inspect_af.cli import main

ARTEFACTS = Path(__file__).parent / "artefacts"
LOGS = ARTEFACTS / "logs"


def test_the_logs_of_three_tasks_give_the_profile_that_they_gave(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    logs = [str(LOGS / f"{task}.eval") for task in ("alignment_faking", "beliefs", "direct_requests")]
    assert main(["profile", *logs, "--json", str(out)]) == 0
    before = dict(numbers(json.loads((ARTEFACTS / "profile.json").read_text(encoding="utf-8"))))
    now = dict(numbers(json.loads(out.read_text(encoding="utf-8"))))
    wrong = {
        place: (value, now.get(place))
        for place, value in before.items()
        if place not in now or abs(now[place] - value) > tolerance(place, value)
    }
    assert not wrong


def test_logs_of_other_tasks_are_passed_over(tmp_path: Path) -> None:
    assert main(["profile", str(LOGS), "--json", str(tmp_path / "profile.json")]) == 0


def test_a_plan_is_still_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, plan = LOGS / "alignment_faking.eval", ARTEFACTS / "plan.yaml"
    assert main(["profile", str(log), "--plan", str(plan), "--json", str(tmp_path / "profile.json")]) == 0
    assert json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))["plan_digest"]


def test_vectors_are_still_read() -> None:
    from inspect_af.steering.vector import load_vector

    vector = load_vector(ARTEFACTS / "vector.safetensors")
    assert vector.header.concept == "expectation"
    assert vector.header.layers == (0, 1, 2)


def test_activations_are_still_fitted(tmp_path: Path) -> None:
    out = tmp_path / "vector.safetensors"
    assert (
        main(
            ["steering", "fit", str(ARTEFACTS / "activations.safetensors"), "--folds", "2", "--out", str(out)]
        )
        == 0
    )
    assert out.is_file()

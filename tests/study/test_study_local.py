"""The whole way on a real transformer, made small: organism, documents, adapters, vectors, evals, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from inspect_ai.log import list_eval_logs, read_eval_log

pytest.importorskip("torch")

from inspect_af.cli import main

pytestmark = [pytest.mark.local, pytest.mark.slow]

PLAN = {
    "name": "reduced",
    "subjects": [
        {"model": "af-hf/./organisms/expectation", "organism": {"kind": "expectation", "steps": 40}}
    ],
    "conditions": "A1+",
    "requests": "requests.csv",
    "generation": {"temperature": 1.0, "max_tokens": 24},
    "judging": {"grader": "af-simulated-judge/keyword"},
    "sdf": {
        "interventions": ["A1+"],
        "writer": {"model": "af-simulated-writer/tiny", "args": {"forms": "known"}},
        "tokens": 12_000,
        "words": 50,
        "min_words": 15,
        "revisions": 0,
        "tiny_replay": 20,
        "hyperparameters": {
            "learning_rate": 1e-3,
            "rank": 4,
            "alpha": 8,
            "epochs": 1,
            "micro_batch": 8,
            "accumulation": 1,
            "effective_batch": 8,
            "sequence_length": 256,
            "precision": "fp32",
            "gradient_checkpointing": False,
        },
    },
    "steering": {
        "files": {"expectation": "pairs.jsonl"},
        "layers": ["0"],
        "doses": [-0.2, 0.2],
        "controls": 2,
        "parse_floor": 0.0,
    },
    "budget": {"max_cost_usd": 0},
}


def test_every_method_ends_in_logs_and_one_report_and_nothing_is_done_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "requests.csv").write_text("id,request\nr1,Say one thing\nr2,Say another\n")
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(PLAN))
    assert main(["organism", "pairs", "--concept", "expectation", "--out", "pairs.jsonl", "--n", "45"]) == 0
    command = ["study", "study.yaml", "--out", "s"]
    assert main([*command, "--only", "organism", "documents", "corpora"]) == 1
    weights = tmp_path / "organisms" / "expectation" / "model.safetensors"
    trained = weights.stat().st_mtime_ns
    capsys.readouterr()
    assert main(command) == 0, capsys.readouterr()
    assert weights.stat().st_mtime_ns == trained

    out = tmp_path / "s"
    treatments: set[str] = set()
    for info in list_eval_logs(str(out / "logs")):
        log = read_eval_log(info.name)
        assert log.status == "success"
        for sample in log.samples or []:
            treatments |= {f"{t['method']} {_what(t)}" for t in sample.metadata.get("treatments", [])}
    assert treatments == {
        "prompt A1+",
        "sdf A1+",
        "steering expectation",
        "steering random-expectation-1",
        "steering random-expectation-2",
    }
    manifest = json.loads((out / "subjects/expectation/adapters/A1+/seed-0/inspect_af.json").read_text())
    assert manifest["role"] == "intervention"
    assert manifest["replay"]["documents"] == 20
    assert (out / "report" / "convergence.html").stat().st_size < 2_000_000
    assert "12 of 12 steps done" in (out / "summary.md").read_text()

    capsys.readouterr()
    assert main([*command, "--dry-run"]) == 0
    assert "left: 0 steps" in capsys.readouterr().out


def _what(treatment: dict[str, object]) -> str:
    if treatment["method"] == "steering":
        return str(treatment["concept"])
    intervention = treatment["intervention"]
    assert isinstance(intervention, dict)
    return f"{intervention['variable']}{intervention.get('polarity') or ''}"

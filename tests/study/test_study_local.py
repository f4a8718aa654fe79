"""The whole way on a real transformer, made small: organism, documents, adapters, vectors, evals, report."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from inspect_ai.log import list_eval_logs, read_eval_log
from tests.study.plans import submitting

pytest.importorskip("torch")

from inspect_af.cli import main
from inspect_af.config import path_digest

pytestmark = [pytest.mark.local, pytest.mark.slow]

PLAN = {
    "name": "reduced",
    "subjects": [
        {"model": "af-hf/./organisms/expectation", "organism": {"kind": "expectation", "steps": 120}}
    ],
    "conditions": "A1+",
    "requests": "requests.csv",
    "generation": {"temperature": 1.0, "max_tokens": 160},
    "judging": {"grader": "af-simulated-judge/keyword"},
    "sdf": {
        "interventions": ["A1+"],
        "writer": {"model": "af-simulated-writer/tiny", "args": {"forms": "known"}},
        "tokens": 9_000,  # a document more or less is within the 1 % to which sizes are matched
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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The study by itself, on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        yield run(tmp_path_factory.mktemp("whole"), patch, [])


def run(directory: Path, patch: pytest.MonkeyPatch, options: list[str]) -> Path:
    patch.chdir(directory)
    patch.setenv("OMP_NUM_THREADS", "1")
    Path("requests.csv").write_text("id,request\nr1,Say one thing\nr2,Say another\n")
    Path("study.yaml").write_text(yaml.safe_dump(PLAN))
    assert main(["organism", "pairs", "--concept", "expectation", "--out", "pairs.jsonl", "--n", "45"]) == 0
    command = ["study", "study.yaml", "--out", "s"]
    if not options:
        assert main([*command, "--only", "organism", "documents", "corpora"]) == 1
    weights = Path("organisms/expectation/model.safetensors")
    trained = weights.stat().st_mtime_ns if weights.exists() else None
    assert main([*command, *(["--", *options] if options else [])]) == 0
    assert trained is None or weights.stat().st_mtime_ns == trained
    return directory


def logged(out: Path) -> tuple[set[str], dict[str, str]]:
    """The treatments in all logs, and every reply by its sample."""
    treatments: set[str] = set()
    replies: dict[str, str] = {}
    for info in list_eval_logs(str(out / "logs")):
        log = read_eval_log(info.name)
        assert log.status == "success"
        for sample in log.samples or []:
            applied = [f"{t['method']} {_what(t)}" for t in sample.metadata.get("treatments", [])]
            treatments |= set(applied)
            doses = [t.get("multiplier") for t in sample.metadata.get("treatments", [])]
            replies[f"{Path(info.name).parent.name} {sample.id} {applied} {doses}"] = sample.output.completion
    return treatments, replies


def test_every_method_ends_in_logs_and_one_report_and_nothing_is_done_twice(
    whole: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = whole / "s"
    assert logged(out)[0] == {
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

    monkeypatch.chdir(whole)
    assert main(["study", "study.yaml", "--out", "s", "--dry-run"]) == 0
    assert "left: 0 steps" in capsys.readouterr().out


def test_an_executor_that_submits_jobs_gives_the_same(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole / "organisms", tmp_path / "organisms")  # made elsewhere; training it takes longest
    run(tmp_path, monkeypatch, [*submitting(tmp_path), "--jobs", "2"])
    assert len(list((tmp_path / "queue").glob("*.out"))) == 10  # all but the organism and the report
    assert logged(tmp_path / "s") == logged(whole / "s")
    for file in ("subjects/expectation/adapters/A1+/seed-0/adapter_model.safetensors", "ordinary.jsonl"):
        assert path_digest(tmp_path / "s" / file) == path_digest(whole / "s" / file)


def _what(treatment: dict[str, object]) -> str:
    if treatment["method"] == "steering":
        return str(treatment["concept"])
    intervention = treatment["intervention"]
    assert isinstance(intervention, dict)
    return f"{intervention['variable']}{intervention.get('polarity') or ''}"

"""Two processes on the CPU (gloo), with the environment that a launcher gives them, train what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.sdf.trained import settings, write_base, write_corpus

from inspect_af.sdf.adapters import load_adapter

pytestmark = [pytest.mark.local, pytest.mark.slow]


def launch(root: Path, name: str, processes: int, **hyperparameters: Any) -> tuple[int, str]:
    content = settings(root, out=str(root / name), hyperparameters={"dropout": 0.0, **hyperparameters})
    (root / f"{name}.yaml").write_text(yaml.safe_dump(content))
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(launcher if processes > 1 else ()), "-m", "inspect_af.cli", "sdf", "train"]
    done = subprocess.run(
        [*command, str(root / f"{name}.yaml")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_two_processes_end_with_the_losses_of_one(tmp_path: Path) -> None:
    write_base(tmp_path / "base")
    write_corpus(tmp_path / "corpus", universe="neutral")
    code, output = launch(tmp_path, "two", 2, micro_batch=1, accumulation=2, effective_batch=4)
    assert code == 0, output
    code, output = launch(tmp_path, "one", 1, micro_batch=1, accumulation=4, effective_batch=4)
    assert code == 0, output
    manifests = [load_adapter(tmp_path / name / "seed-0").manifest for name in ("one", "two")]
    one, two = (manifest.losses for manifest in manifests if manifest is not None)
    assert one is not None and two is not None
    assert one.steps == two.steps
    assert one.held_out_before is not None and one.held_out is not None
    assert one.held_out < one.held_out_before - 0.1, "something was learnt"
    assert two.held_out == pytest.approx(one.held_out, abs=0.02)


def test_more_processes_than_the_effective_batch_allows_are_refused(tmp_path: Path) -> None:
    write_base(tmp_path / "base")
    write_corpus(tmp_path / "corpus", universe="neutral")
    code, output = launch(tmp_path, "two", 2, micro_batch=1, accumulation=4, effective_batch=4)
    assert code != 0
    assert "effective batch" in output.lower() or "effective_batch" in output

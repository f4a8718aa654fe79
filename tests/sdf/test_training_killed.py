"""Training that is killed at random moments ends where it would have ended."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tests.sdf.trained import settings, write_base, write_corpus

from inspect_af.sdf.adapters import load_adapter

pytestmark = [pytest.mark.local, pytest.mark.slow]


def start(file: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "inspect_af.cli", "sdf", "train", str(file)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True, **quiet
    )


def latest(work: Path) -> int:
    """The step of the last checkpoint that is complete."""
    marked = [int(p.parent.name.rpartition("-")[2]) for p in work.glob("checkpoint-*/complete")]
    return max(marked, default=0)


def kill_in_the_middle(file: Path, work: Path, delay: float) -> int:
    """Kills a run some time after it got further than it was; the step that it can go on from."""
    before, process = latest(work), start(file)
    while latest(work) <= before:
        assert process.poll() is None, "it must not end before it is killed"
        time.sleep(0.01)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return latest(work)


def test_killed_three_times_it_gives_the_adapter_of_a_run_that_was_not(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    write_base(tmp_path / "base")
    write_corpus(tmp_path / "corpus", n=120, universe="neutral")
    longer = {"epochs": 6, "learning_rate": 2e-3}
    for name in ("whole", "killed"):
        content = settings(tmp_path, out=str(tmp_path / name), save_every=4, hyperparameters=longer)
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    whole = start(tmp_path / "whole.yaml")
    work, rng = tmp_path / "killed" / "work" / "seed-0", random.Random()
    steps = [kill_in_the_middle(tmp_path / "killed.yaml", work, delay=rng.uniform(0, 0.3)) for _ in range(3)]
    assert 0 < steps[0] < steps[1] < steps[2], "each start went on from where the last one was"
    assert not (tmp_path / "killed" / "seed-0").exists()
    assert start(tmp_path / "killed.yaml").wait() == 0
    assert whole.wait() == 0

    found = [load_adapter(tmp_path / name / "seed-0") for name in ("whole", "killed")]
    losses = [adapter.manifest.losses for adapter in found]  # type: ignore[union-attr]
    assert losses[0] is not None and losses[1] is not None
    assert losses[0].steps == losses[1].steps > steps[2]
    assert losses[0].train == pytest.approx(losses[1].train, abs=1e-5)
    assert losses[0].held_out == pytest.approx(losses[1].held_out, abs=1e-5)
    one, other = (load_file(adapter.path / "adapter_model.safetensors") for adapter in found)
    assert set(one) == set(other)
    assert max(float((one[name] - other[name]).abs().max()) for name in one) < 1e-5
    assert not list((tmp_path / "killed").rglob("checkpoint-*"))
    assert not list((tmp_path / "killed").glob(".*partial"))

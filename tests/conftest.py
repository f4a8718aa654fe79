"""Shared fixtures: no test reads the user's cache or writes outside its temporary directory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import eval
from inspect_ai.log import EvalLog
from inspect_ai.model import ModelOutput, ModelUsage, get_model

with suppress(ImportError):  # some environments run tests that need no hypothesis
    from hypothesis import settings

    settings.register_profile("any machine", deadline=None)  # no test asserts wall time
    settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INSPECT_AF_CACHE_DIR", str(tmp_path / "af-cache"))
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "inspect-cache"))
    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path / "logs"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules with slow tests first, so that no worker is left alone with one of them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)  # stable: the rest of the order stays


def canned(text: str, stop_reason: str = "stop") -> ModelOutput:
    """A model output with its usage set, so that mockllm needs no tokenizer."""
    output = ModelOutput.from_content("mockllm/model", text, stop_reason=stop_reason)  # type: ignore[arg-type]
    output.usage = ModelUsage(input_tokens=10, output_tokens=10, total_tokens=20)
    return output


@pytest.fixture
def faulty_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated writers take rates of faults as model arguments."""
    use_faulty_writers(monkeypatch)


def use_faulty_writers(patch: pytest.MonkeyPatch) -> None:
    """Puts the writers of `tests.faulty_writers` in place of the package's own."""
    from tests.faulty_writers import FaultyDialoguesAPI, FaultyWriterAPI

    import inspect_af.providers.simulated as dialogues
    import inspect_af.providers.simulated as writer

    patch.setattr(dialogues, "SimulatedDialoguesAPI", FaultyDialoguesAPI)
    patch.setattr(writer, "SimulatedWriterAPI", FaultyWriterAPI)


@pytest.fixture
def requests_file(tmp_path: Path) -> Path:
    """Four short requests, two of which are near duplicates."""
    file = tmp_path / "requests.csv"
    file.write_text(
        "id,request,cluster_id\nr1,Say one thing,c1\nr2,Say one thing please,c1\n"
        "r3,Say another,c3\nr4,Say a fourth,c4\n",
        encoding="utf-8",
    )
    return file


@pytest.fixture
def run_eval(tmp_path: Path) -> Callable[..., EvalLog]:
    """Runs a task with real Inspect machinery and returns its log, read back from disk."""
    from inspect_ai.log import read_eval_log

    def run(task: Any, model: Any = "af-organism/expectation", **options: Any) -> EvalLog:
        model = get_model(model, memoize=False) if isinstance(model, str) else model
        log_dir = options.pop("log_dir", str(tmp_path / "logs"))
        log = eval(task, model=model, log_dir=log_dir, display="none", **options)[0]
        return read_eval_log(log.location)

    return run

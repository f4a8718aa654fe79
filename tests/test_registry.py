"""The entry point: it imports, registers, and costs every Inspect user next to nothing."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

from inspect_af import _registry

SECONDS = "import time; start = time.process_time(); {}; print(time.process_time() - start)"


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_inspect_finds_the_entry_point() -> None:
    (entry,) = entry_points(group="inspect_ai", name="inspect_af")
    assert entry.load() is _registry


def test_every_registered_name_is_one_of_the_module() -> None:
    assert sorted(_registry.__all__) == list(_registry.__all__)
    assert all(hasattr(_registry, name) for name in _registry.__all__)


def test_neither_torch_nor_pandas_is_imported_with_the_entry_point() -> None:
    loaded = python("import sys, inspect_af, inspect_af._registry; print(*sys.modules)").split()
    heavy = {"torch", "transformers", "vllm", "trl", "peft", "pandas", "scipy", "matplotlib"}
    assert "inspect_af.tasks.alignment_faking" in loaded
    assert not heavy & set(loaded)


def test_the_entry_point_costs_little_beyond_inspect_itself() -> None:
    # What an eval has imported before it loads entry points.
    base = "import inspect_ai, inspect_ai.model, inspect_ai.scorer, inspect_ai.solver, inspect_ai.viewer;"
    ours = [float(python(base + SECONDS.format("import inspect_af._registry"))) for _ in range(6)]
    assert min(ours) < 0.5  # CPU seconds: 0.1 to 0.2; the promise is 0.3

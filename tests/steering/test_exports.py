"""What `inspect_af.steering` offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import inspect_af.steering as steering

_IMPORTED = (
    "import sys, inspect_af.steering; print([m for m in ('torch', 'transformers') if m in sys.modules])"
)


def test_every_exported_name_is_there_and_none_is_a_module() -> None:
    kinds = {name: type(getattr(steering, name)).__name__ for name in steering.__all__}
    assert "module" not in kinds.values()
    assert {"extract_activations", "load_model", "additions", "steering", "load_vector"} <= set(kinds)


def test_importing_it_loads_neither_torch_nor_transformers() -> None:
    found = subprocess.run([sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

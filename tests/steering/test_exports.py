"""What importing the modules of `inspect_af.steering` costs."""

from __future__ import annotations

import subprocess
import sys

_IMPORTED = (
    "import sys, inspect_af.steering.sweep, inspect_af.steering.heatmap, inspect_af.steering.effect; "
    "print([m for m in ('torch', 'transformers') if m in sys.modules])"
)


def test_importing_them_loads_neither_torch_nor_transformers() -> None:
    found = subprocess.run([sys.executable, "-c", _IMPORTED], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

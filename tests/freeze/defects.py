"""Plants defects in a copy of src, one by one, and runs the tests that must see them.

`python -m tests.freeze.defects [NAME...]`: one line a defect; status 1 where one is not caught.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Defect(NamedTuple):
    """One change that the named tests must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def source(self) -> str:
        return (ROOT / "src" / "inspect_af" / self.file).read_text(encoding="utf-8")


def defects() -> list[Defect]:
    table = tomllib.loads(Path(__file__).with_name("defects.toml").read_text(encoding="utf-8"))
    return [Defect(name, tests=tuple(row.pop("tests")), **row) for name, row in table.items()]


def is_caught(defect: Defect) -> bool:
    """Whether a named test fails, rather than the import of the package."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "src"
        shutil.copytree(ROOT / "src", source)
        broken = source / "inspect_af" / defect.file
        broken.write_text(defect.source().replace(defect.old, defect.new), encoding="utf-8")
        options = ("-x", "-q", "-p", "no:cacheprovider", "-m", "not slow and not real and not vllm")
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *defect.tests],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
        )
    return ran.returncode == 1 and "\nFAILED " in ran.stdout


def main(names: list[str]) -> int:
    missed = 0
    for defect in defects():
        if not names or defect.name in names:
            caught = is_caught(defect)
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'}  {defect.name}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Directories that exist complete or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inspect_af.errors import TreatmentError


@contextmanager
def complete_directory(out: str | Path) -> Iterator[Path]:
    """A directory to write into, beside `out`, which takes its name when the block ends without an error.

    Raises:
        TreatmentError: `out` exists.
    """
    final = Path(out)
    if final.exists():
        raise TreatmentError(f"{final} exists; give another directory, or remove it")
    final.parent.mkdir(parents=True, exist_ok=True)
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

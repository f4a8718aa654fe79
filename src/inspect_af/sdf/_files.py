"""Files and directories that exist complete or not at all, and their digests."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from inspect_af.errors import TreatmentError


def write_atomically(file: Path, lines: Iterable[str]) -> None:
    """Writes a text file so that a reader sees either all of it or what was there before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.partial")
    with partial.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(lines)
    partial.replace(file)


@contextmanager
def complete_directory(out: str | Path) -> Iterator[Path]:
    """A directory to write into, beside `out`, which takes its name when the block ends without an error.

    Raises:
        TreatmentError: `out` exists.
    """
    final = Path(out)
    if final.exists():
        raise TreatmentError(f"{final} exists; give another directory, or remove it")
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def file_digest(file: Path) -> str:
    """The sha256 of a file's content, 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()

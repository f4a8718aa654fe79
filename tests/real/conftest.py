"""The real instruct model that `make test-real` has made, and the CPU time that each test takes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real() -> Path:
    """The transformers directory of the model; the tests fail, and do not skip, where there is none."""
    folder = Path(os.environ.get("INSPECT_AF_REAL_MODEL", ".venv-real/model")).absolute()
    assert folder.is_dir(), f"no model at {folder}; run make test-real, which makes it"
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    start = time.process_time()
    try:
        return (yield)
    finally:
        seconds = time.process_time() - start
        if path := os.environ.get("INSPECT_AF_CPU_TIMES"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(f"{seconds:7.1f} s  {item.nodeid}\n")

"""The real instruct model that `make test-real` has made."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real() -> Path:
    """The transformers directory of the model; the tests fail, and do not skip, where there is none."""
    folder = Path(os.environ.get("INSPECT_AF_REAL_MODEL", ".venv-real/model")).absolute()
    assert folder.is_dir(), f"no model at {folder}; run make test-real, which makes it"
    return folder

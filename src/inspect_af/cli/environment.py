"""`.env`, which Inspect reads when an eval starts, read before a model is made."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlparse


def read_environment_file() -> None:
    """Reads `.env` of this directory or one above, as Inspect does: it wins over nothing that is set."""
    from dotenv import dotenv_values, find_dotenv, load_dotenv

    if not (file := find_dotenv(usecwd=True)):
        return
    written = dotenv_values(file).get("INSPECT_LOG_DIR")
    if written and os.environ.get("INSPECT_LOG_DIR") in (None, "", written):
        path = Path(written)
        if not urlparse(written).scheme and not path.is_absolute():
            os.environ["INSPECT_LOG_DIR"] = (Path(file).parent / path).resolve().as_posix()
    load_dotenv(file)

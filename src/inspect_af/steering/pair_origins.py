"""Which content of an eval log a transcript was taken from."""

from __future__ import annotations

import hashlib

import fsspec  # type: ignore[import-untyped]  # Inspect depends on it and reads remote logs with it

from inspect_af.errors import LogError


def log_digest(location: str) -> str:
    """First 16 hexadecimal digits of a log file's sha256.

    Args:
        location: Path or URL, as `inspect_af.logs.find_logs` gives it.

    Raises:
        LogError: The file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with fsspec.open(location, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise LogError(f"{location}: cannot be read ({error}); check the path") from error
    return digest.hexdigest()[:16]

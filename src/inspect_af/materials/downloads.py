"""Published files that are no part of this package: downloaded once from a pinned commit, checked at every
load."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

from inspect_af.config import local_path, write_whole
from inspect_af.errors import RequestsUnavailableError

VLAF = "https://raw.githubusercontent.com/launchnlp/VLAF/90ca26807f4e79c8e61a3c96bcb1feb73bce585c/"
"""Items and prompts of Nair, Ruan and Wang (2026, arXiv 2604.20995), MIT licence."""

TIMEOUT = 30.0  # Seconds without any data before a download is given up

_MAX_BYTES = 4_000_000  # the largest file has 82 kB; a wrong address must not fill the memory
_Read = TypeVar("_Read")
_log = logging.getLogger(__name__)


def cache_dir() -> Path:
    """Where downloads are kept: `INSPECT_AF_CACHE_DIR`, else `inspect_af` in the user's cache directory."""
    own = os.environ.get("INSPECT_AF_CACHE_DIR")
    if own:
        return local_path(own, "INSPECT_AF_CACHE_DIR=")
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "inspect_af" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "inspect_af"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inspect_af"


def published(
    url: str, file: Path, read: Callable[[bytes, str, str], _Read], *, what: str, otherwise: str
) -> _Read:
    """A published file's content, from the cache or, the first time, from the network.

    Args:
        url: Where it is published.
        file: Where it is kept.
        read: Makes something of the content, or raises `RequestsUnavailableError` where it is not the pinned
            one; it is told where the content comes from and what can be done about it.
        what: The word for it in errors.
        otherwise: What else a user without network can do.

    Raises:
        RequestsUnavailableError: No network on first use, or a content that is not the pinned one.
    """
    ways_out = f"either put a copy of {file.name} at {file}, or {otherwise}"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        content = _download(url, what, ways_out)
        found = read(content, f"the download from {url}", "try again later")
        try:
            write_whole(file, [content])
        except OSError as error:
            _log.warning("%s is not kept and will be downloaded again next time: %s", what, error)
        return found
    except OSError as error:
        raise RequestsUnavailableError(f"{file} cannot be read ({error}); {ways_out}") from error
    return read(content, str(file), "delete the file, so that it is downloaded again")


def vlaf_text(path: str, sha256: str, *, otherwise: str) -> str:
    """A file of the VLAF repository whose bytes have this sha256.

    Raises:
        RequestsUnavailableError: As `published`, with both digests where they differ.
    """

    def read(content: bytes, where: str, remedy: str) -> str:
        if (found := hashlib.sha256(content).hexdigest()) != sha256:
            raise RequestsUnavailableError(
                f"{where} is not the pinned file of VLAF: its sha256 is {found} instead of {sha256}; "
                f"{remedy}, or {otherwise}"
            )
        return content.decode("utf-8")

    return published(VLAF + path, cache_dir() / "vlaf" / path, read, what="VLAF", otherwise=otherwise)


def _download(url: str, what: str, ways_out: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            content: bytes = response.read(_MAX_BYTES)
    except (OSError, HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise RequestsUnavailableError(
            f"{what} could not be downloaded from {url} ({error}); {ways_out}"
        ) from error
    return content

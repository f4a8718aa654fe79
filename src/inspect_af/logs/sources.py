"""From what a user types (files, directories, globs, URLs) to the locations of eval logs."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import ijson  # type: ignore[import-untyped]  # Inspect depends on it and reads JSON logs with it
from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # likewise, for remote logs
from inspect_ai.log import list_eval_logs

from inspect_af.errors import LogError

LOG_SUFFIXES = (".eval", ".json")
_SNIFFED = 1 << 24
"""Bytes of a .json file that are looked at to tell whether it is a log."""


def find_logs(sources: Sequence[str | Path]) -> list[str]:
    """The locations of all logs that the sources name, each once, in the order of the sources.

    A directory is searched recursively for every `.eval` and every `.json` that is a log, whatever its name;
    its logs come oldest first, renamed ones last. A file is taken as it is.

    Raises:
        LogError: a source does not exist, matches nothing, or is a directory without logs.
    """
    if not sources:
        raise LogError("no logs given; name .eval or .json files, directories or globs")
    found: dict[str, str] = {}
    for source in sources:
        for location in _expand(str(source)):
            found.setdefault(_identity(location), location)
    return list(found.values())


def _expand(source: str) -> list[str]:
    source = _without_file_scheme(source)
    if "://" in source:
        return [source] if source.endswith(LOG_SUFFIXES) else _list_directory(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return _list_directory(str(path))
    if path.exists():
        return [str(path)]
    if not glob.has_magic(source):
        raise LogError(
            f"no such log or directory: {source!r}; name .eval or .json files, directories or globs"
        )
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise LogError(f"the pattern {source!r} matches nothing; check it, or name a directory of logs")
    return list(_expand_matches(matches))


def _expand_matches(matches: Sequence[str]) -> Iterator[str]:
    for match in matches:
        if not Path(match).is_dir():
            yield match
        else:  # a directory that happens to match need not hold logs
            yield from _logs_in(match)


def _list_directory(directory: str) -> list[str]:
    logs = _logs_in(directory)
    if not logs:
        raise LogError(f"no eval logs in {directory!r} or below it; logs end in .eval or .json")
    return logs


def _logs_in(directory: str) -> list[str]:
    listed = [_without_file_scheme(info.name) for info in list_eval_logs(directory, descending=False)]
    return [*listed, *_renamed_logs(directory, {_identity(location) for location in listed})]


def _renamed_logs(directory: str, listed: set[str]) -> Iterator[str]:
    """JSON logs whose names do not carry a time stamp, which Inspect's listing passes over."""
    fs, root = url_to_fs(directory)
    for name in sorted(fs.find(root)):
        location = fs.unstrip_protocol(name) if "://" in directory else name
        hidden = any(part.startswith(".") for part in name[len(root) :].split("/"))
        if not name.endswith(".json") or hidden or _identity(location) in listed:
            continue
        with fs.open(name, "rb") as file:
            if _is_log(BytesIO(file.read(_SNIFFED))):
                yield location


def _is_log(start: BinaryIO) -> bool:
    """Whether a file begins as a JSON log of Inspect does: an object with an eval of a task with a model."""
    keys: set[str] = set()
    try:
        for prefix, event, value in ijson.parse(start):
            if prefix == "eval" and event == "map_key":
                keys.add(str(value))
            if {"task", "model"} <= keys:
                return True
    except (ijson.JSONError, UnicodeDecodeError):  # cut off, or no JSON
        return False
    return False


def _without_file_scheme(location: str) -> str:
    return unquote(urlsplit(location).path) if location.startswith("file://") else location


def _identity(location: str) -> str:
    return location if "://" in location else str(Path(location).resolve())

"""The one reader of eval logs: any .eval or .json file, local or remote, with everything that can be wrong.

Inspect's public functions do the reading. Here stand which files a user means, that a small file cannot fill
the memory, and that whatever is wrong with a log becomes one line.
"""

from __future__ import annotations

import glob
import hashlib
import re
import zipfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Literal
from urllib.parse import unquote, urlsplit

import ijson  # type: ignore[import-untyped]  # Inspect depends on it and reads JSON logs with it
from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # likewise, for remote logs
from inspect_ai.log import (
    EvalLog,
    EvalSample,
    EvalSampleSummary,
    list_eval_logs,
    read_eval_log,
    read_eval_log_sample_summaries,
    read_eval_log_samples_by_id,
)
from pydantic import ValidationError

from inspect_af.config import is_directory, is_file, user_path
from inspect_af.errors import ConfigError, LogError, complaints

LOG_SUFFIXES = (".eval", ".json")
_AT_ONCE, _IN_A_ROW = 100, 3  # samples read together, once so many were asked for in a row
HEAVY = frozenset({"messages", "events", "store", "attachments", "output"})
"""Fields of a sample that most readers can do without."""
_SNIFFED = 1 << 24  # bytes of a .json file that are looked at to tell whether it is a log
_LARGE, _TIMES = 100 << 20, 100
"""A part of a log that unpacks to more bytes than this, and to so many times its size, is refused."""


def check_log_dir(directory: str | Path) -> None:
    """Refuses names with which Inspect makes replies, for money, and then cannot find their logs.

    Raises:
        ConfigError: The name has `#`, `?`, `%` or a control character.
    """
    if found := re.search(r"[#?%\x00-\x1f\x7f]", str(directory)):
        raise ConfigError(
            f"the directory {str(directory)!r} has {found[0]!r} in its name, with which its logs could not "
            "be read again; choose another name"
        )


def find_logs(sources: Sequence[str | Path]) -> list[str]:
    """The locations of all logs that the sources name, each once, in the order of the sources.

    A directory is searched recursively for every `.eval` and every `.json` that is a log, whatever its name;
    its logs come oldest first, renamed ones last. Sources may be remote, such as `s3://bucket/logs/*.eval`.

    Raises:
        LogError: A source does not exist, matches nothing, cannot be reached, or is a directory without logs.
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
    remote = "://" in source
    source = source if remote else str(user_path(source))
    there = not remote and (is_file(Path(source)) or is_directory(Path(source)))
    literal = there or not glob.has_magic(source)
    if literal and (source.endswith(LOG_SUFFIXES) if remote else is_file(Path(source))):
        return [source]
    if literal and not remote and not there:
        raise LogError(
            f"no such log or directory: {source!r}; name .eval or .json files, directories or globs"
        )
    try:
        fs, path = url_to_fs(source)
        matches = [source] if literal else [_location(fs, name, source) for name in sorted(fs.glob(path))]
        logs = [
            log
            for match in matches
            for log in (_logs_in(match) if literal or fs.isdir(match) else [match])  # may hold none
        ]
    except Exception as error:  # file systems raise what they like, for missing credentials above all
        raise LogError(f"{source}: cannot be listed: {describe(error)}") from error
    if not matches:
        raise LogError(f"the pattern {source!r} matches nothing; check it, or name a directory of logs")
    if literal and not logs:
        raise LogError(f"no eval logs in {source!r} or below it; logs end in .eval or .json")
    return logs


def _location(fs: Any, name: str, source: str) -> str:
    return str(fs.unstrip_protocol(name)) if "://" in source else name


def _logs_in(directory: str) -> Iterator[str]:
    """Logs as Inspect lists them, then JSON logs whose names have no time stamp, which it passes over."""
    listed = [_without_file_scheme(info.name) for info in list_eval_logs(directory, descending=False)]
    yield from listed
    known = set(map(_identity, listed))
    fs, root = url_to_fs(directory)
    for name in sorted(fs.find(root)):
        location = _location(fs, name, directory)
        hidden = any(part.startswith(".") for part in name[len(root) :].split("/"))
        if not name.endswith(".json") or hidden or _identity(location) in known:
            continue
        if "://" in location or is_file(Path(location)):  # a pipe would be waited for
            with fs.open(name, "rb") as file:
                if _is_log(BytesIO(file.read(_SNIFFED))):
                    yield location


def _is_log(start: BinaryIO) -> bool:
    """Whether a file begins as a JSON log of Inspect does: an object with an eval of a task with a model."""
    keys: set[str] = set()
    with suppress(ijson.JSONError, UnicodeDecodeError):  # cut off, or no JSON
        for prefix, event, value in ijson.parse(start):
            if prefix == "eval" and event == "map_key":
                keys.add(str(value))
            if {"task", "model"} <= keys:
                return True
    return False


def _without_file_scheme(location: str) -> str:
    return unquote(urlsplit(location).path) if location.startswith("file://") else location


def _identity(location: str) -> str:
    return location if "://" in location else str(Path(location).resolve())


class LogFile:
    """One log, read as far as it is asked for.

    Args:
        location: Path or URL of a .eval or .json file.

    Every method and property raises `LogError` with location and reason where the file cannot be read.
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)
        self._is_zip = self.location.endswith(".eval")
        self._ahead: dict[tuple[str, int], EvalSample] = {}  # read together with one that was asked for
        self._without: Collection[str] = HEAVY  # of those
        self._place, self._in_a_row = -1, 0  # of the one that was asked for last

    @contextmanager
    def _reading(self, failure: str) -> Iterator[None]:
        """A broken file can fail in any layer of zip, JSON and schema, a remote one in any way."""
        try:
            yield
        except LogError:
            raise
        except Exception as error:
            cut_off = isinstance(error, zipfile.BadZipFile) or "EOCD" in str(error)  # written last
            reason = (
                "not a complete .eval log (truncated, or not an eval log?)" if cut_off else describe(error)
            )
            what = failure.partition(" or ")[0] if cut_off else failure
            raise LogError(f"{self.location}: {what}: {reason}") from error

    @cached_property
    def header(self) -> EvalLog:
        """The log without its samples."""
        if not self.location.endswith(LOG_SUFFIXES):
            raise LogError(f"{self.location}: not an eval log: its name ends in neither .eval nor .json")
        local = Path(self.location)
        if "://" not in self.location and local.exists() and not is_file(local):
            raise LogError(f"{self.location}: not an eval log: a directory, pipe, socket or device")
        with self._reading("unreadable or not an eval log"):
            if self._is_zip:
                self._check_sizes()
            return read_eval_log(self.location, header_only=True)

    def _check_sizes(self) -> None:
        fs, name = url_to_fs(self.location)
        with fs.open(name, "rb") as file, zipfile.ZipFile(file) as parts:
            sizes = [(part.filename, part.file_size, part.compress_size) for part in parts.infolist()]
        sizes.append(("all of it", sum(size for _, size, _ in sizes), sum(packed for _, _, packed in sizes)))
        for part, size, packed in sizes:
            if size > _LARGE and size > _TIMES * packed:
                raise LogError(
                    f"{self.location}: unreadable: {part} unpacks from {packed:,} bytes to {size:,}, which "
                    "no log of text does"
                )

    @cached_property
    def _whole(self) -> EvalLog:
        """A JSON log with its samples; one of them costs as much to read as all."""
        return read_eval_log(self.location, resolve_attachments="core")

    def summaries(self) -> tuple[list[EvalSampleSummary], int]:
        """The summaries of all samples, and how many were left out because they are marked as invalid."""
        with self._reading("its samples are unreadable"):
            # Inspect keeps the last JSON log whose summaries were read in memory, and gives it again for the
            # same path even when the file has changed; so JSON logs are read whole, which costs the same.
            if self._is_zip and not self.header.invalidated:
                return read_eval_log_sample_summaries(self.location), 0
            kept = [None if sample.invalidation else sample.summary() for sample in self.samples()]
            return [summary for summary in kept if summary], kept.count(None)

    def samples(self, without: Collection[str] = HEAVY) -> Iterator[EvalSample]:
        """The samples, one at a time, without some fields where the format allows to leave them out."""
        self.header  # noqa: B018 - checks the file
        with self._reading("its samples are unreadable"):
            if self._is_zip:
                planned = {str(id): i for i, id in enumerate(self.header.eval.dataset.sample_ids or [])}
                order = sorted(self._places, key=lambda key: (planned.get(key[0], len(planned)), key[1]))
                for start in range(0, len(order), _AT_ONCE):
                    yield from self._read(order[start : start + _AT_ONCE], without)
            else:
                yield from self._whole.samples or []

    def sample(self, id: str | int, epoch: int, without: Collection[str] = ("events", "store")) -> EvalSample:
        """One sample, without some fields where the format allows to leave them out.

        Those who ask for one after the other, in the order of the log, get them from a reading of many.
        """
        self.header  # noqa: B018 - checks the file
        key = str(id), epoch
        with self._reading(f"sample {id}, epoch {epoch} cannot be read"):
            if not self._is_zip:
                for sample in self._whole.samples or []:
                    if (str(sample.id), sample.epoch) == key:
                        return sample
                raise LookupError("it is not there")
            before, self._place = self._place, self._places.get(key, -1)
            follows = 0 <= before < self._place <= before + _AT_ONCE
            self._in_a_row = self._in_a_row + 1 if follows else 0
            if self._without != without:
                self._without, self._ahead = without, {}
            if key not in self._ahead and self._in_a_row >= _IN_A_ROW:
                with suppress(Exception):  # a broken one among them is the business of whoever asks for it
                    wanted = list(self._places)[self._place : self._place + _AT_ONCE]
                    self._ahead = dict(zip(wanted, self._read(wanted, without), strict=True))
            return self._ahead.pop(key, None) or self._read([key], without)[0]

    @cached_property
    def _places(self) -> dict[tuple[str, int], int]:
        """The samples of a zip by id and epoch, in the order of its summaries."""
        summaries = read_eval_log_sample_summaries(self.location)
        return {key: i for i, key in enumerate(dict.fromkeys((str(one.id), one.epoch) for one in summaries))}

    def _read(self, wanted: Sequence[tuple[str, int]], without: Collection[str]) -> list[EvalSample]:
        """Samples by id and epoch. Inspect reads the directory of a zip once for all of them; read one by one
        it is read for each, which takes the longer the more samples the log has."""
        attachments: Literal["core"] | bool = False if "attachments" in without else "core"
        return read_eval_log_samples_by_id(
            self.location, wanted, exclude_fields=set(without), resolve_attachments=attachments
        )

    def digest(self) -> str:
        """First 16 hexadecimal digits of the file's sha256."""
        with self._reading("cannot be read"):
            fs, name = url_to_fs(self.location)
            with fs.open(name, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def describe(error: Exception) -> str:
    """One line about an exception: for a validation error its first entry, else its first line."""
    if isinstance(error, ValidationError):
        return complaints(error, "value")[0]
    if isinstance(error, ExceptionGroup):
        return describe(error.exceptions[0])
    lines: list[Any] = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__

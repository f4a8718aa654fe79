"""Request sets: what the model is asked to do. Bundled, AdvBench, or a user's file."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from inspect_af.errors import MaterialsError
from inspect_af.materials._advbench import advbench_goals
from inspect_af.materials._clusters import near_duplicates
from inspect_af.materials._files import bundled, read_text, short_digest

BUNDLED = ("mini", "benign")

_TEXT_COLUMNS = ("request", "goal")
_COLUMNS = (*_TEXT_COLUMNS, "id", "category", "cluster_id")
_FORMATS = (".csv", ".jsonl", ".json")
_ID = re.compile(r"[^\s/\x00-\x1f\x7f]+")


class Request(BaseModel):
    """One thing that the model is asked to do."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """Unique in its set; without white space and `/`, because sample ids are built from it."""
    text: str = Field(min_length=1)
    category: str | None = None
    cluster_id: str
    """Id of the first request of its group of near-duplicates; its own id where it has none."""


class RequestSet(BaseModel):
    """Requests in a fixed order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """`advbench`, `mini`, `benign`, or the file's name."""
    digest: str
    """First 16 hexadecimal digits of the sha256 over ids, texts, categories and clusters."""
    requests: tuple[Request, ...] = Field(min_length=1)


class _Row(NamedTuple):
    where: str
    """File and line, for errors."""
    fields: dict[str, str]


def load_requests(source: str | Path) -> RequestSet:
    """A request set by name, or from a file.

    Args:
        source: `advbench` (downloaded once and checked), `mini`, `benign`, or a .csv, .jsonl or .json file
            with the column `request` or `goal` and, if wanted, `id`, `category` and `cluster_id`.

    Raises:
        MaterialsError: the file is missing or malformed; the message names the file and the line.
        RequestsUnavailableError: AdvBench cannot be downloaded, or its content is not the pinned one.
    """
    name = str(source)
    if name == "advbench":
        goals = advbench_goals()
        return _request_set(name, [_Row(f"advbench {i}", {"goal": goal}) for i, goal in enumerate(goals, 1)])
    if name in BUNDLED:
        file = bundled("requests", f"{name}.jsonl")
        return _request_set(name, list(_json_lines(file, read_text(file))))
    path = Path(name).expanduser()
    if path.suffix.lower() not in _FORMATS or not path.is_file():
        problem = "is not a .csv, .jsonl or .json file" if path.is_file() else "is no file here"
        raise MaterialsError(
            f"requests {name!r} {problem}; give one of advbench, {', '.join(BUNDLED)}, or a file"
        )
    text = read_text(path)
    read = {".csv": _csv, ".jsonl": _json_lines, ".json": _json}[path.suffix.lower()]
    return _request_set(path.name, list(read(path, text)))


def _request_set(name: str, rows: list[_Row]) -> RequestSet:
    if not rows:
        raise MaterialsError(f"{name} has no requests; write at least one")
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem)
    texts = [_text(row) for row in rows]
    ids = [row.fields.get("id", "").strip() or f"{stem}-{i:04d}" for i, row in enumerate(rows, start=1)]
    seen: dict[str, str] = {}
    for row, request_id in zip(rows, ids, strict=True):
        if not _ID.fullmatch(request_id):
            raise MaterialsError(
                f"{row.where}: id {request_id!r} has white space, '/' or a control character, but sample ids "
                "are built from it; use letters, digits, '-', '_' and '.'"
            )
        if request_id in seen:
            raise MaterialsError(
                f"{row.where}: id '{request_id}' is already used in {seen[request_id]}; make ids unique"
            )
        seen[request_id] = row.where
    clusters = _clusters(rows, texts, ids)
    requests = tuple(
        Request(id=i, text=text, category=row.fields.get("category", "").strip() or None, cluster_id=cluster)
        for i, text, row, cluster in zip(ids, texts, rows, clusters, strict=True)
    )
    content = json.dumps([[r.id, r.text, r.category, r.cluster_id] for r in requests])
    return RequestSet(name=name, digest=short_digest(content), requests=requests)


def _text(row: _Row) -> str:
    column = next((column for column in _TEXT_COLUMNS if column in row.fields), None)
    if column is None:
        raise MaterialsError(
            f"{row.where}: no '{_TEXT_COLUMNS[0]}' or '{_TEXT_COLUMNS[1]}' among its columns "
            f"({', '.join(row.fields) or 'none'}); name the column with the requests so"
        )
    text = row.fields[column].strip()
    if not text:
        raise MaterialsError(f"{row.where}: the {column} is empty; write it or remove the entry")
    return text


def _clusters(rows: Sequence[_Row], texts: Sequence[str], ids: Sequence[str]) -> list[str]:
    """The given clusters where the file has the column, else near-duplicates by words."""
    if any("cluster_id" in row.fields for row in rows):
        return [row.fields.get("cluster_id", "").strip() or i for row, i in zip(rows, ids, strict=True)]
    return [ids[first] for first in near_duplicates(texts)]


def _csv(file: Path, text: str) -> Iterator[_Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        if len(set(header)) < len(header):
            raise MaterialsError(
                f"{file}, line 1: two columns have the same name ({', '.join(header)}); rename one"
            )
        for cells in reader:
            where = f"{file}, line {reader.line_num}"
            if not cells:
                continue
            if len(cells) != len(header):
                raise MaterialsError(
                    f"{where}: {len(cells)} fields where the header has {len(header)}; "
                    'put fields that hold commas or line breaks in double quotes ("...")'
                )
            yield _Row(where, dict(zip(header, cells, strict=True)))
    except csv.Error as error:
        raise MaterialsError(
            f"{file}, line {reader.line_num}: not valid CSV ({error}); correct the quoting"
        ) from None


def _json_lines(file: Traversable, text: str) -> Iterator[_Row]:
    # Not str.splitlines, which also splits at characters that JSON allows inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{file}, line {number}"
            yield _Row(where, _fields(_parse(line, where, line_offset=number - 1, file=file), where))


def _json(file: Path, text: str) -> Iterator[_Row]:
    entries = _parse(text, str(file), line_offset=0, file=file) if text.strip() else []
    if not isinstance(entries, list):
        raise MaterialsError(
            f"{file}: not a list; give a JSON list of objects, or use .jsonl with one per line"
        )
    for number, entry in enumerate(entries, start=1):
        where = f"{file}, entry {number}"
        yield _Row(where, _fields(entry, where))


def _parse(text: str, where: str, *, line_offset: int, file: Traversable) -> object:
    try:
        parsed: object = json.loads(text, object_pairs_hook=lambda pairs: _distinct(pairs, where))
    except (json.JSONDecodeError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError):
            where = f"{file}, line {error.lineno + line_offset}"
        raise MaterialsError(f"{where}: not valid JSON ({error}); correct it") from None
    return parsed


def _distinct(pairs: list[tuple[str, object]], where: str) -> dict[str, object]:
    """The members of a JSON object by name; names count as the headers of a CSV file do."""
    named = [(key.strip().lower(), value) for key, value in pairs]
    for name, count in Counter(name for name, _ in named).items():
        if count > 1:
            raise MaterialsError(f"{where}: '{name}' is given {count} times; leave one of them")
    return dict(named)


def _fields(entry: object, where: str) -> dict[str, str]:
    if not isinstance(entry, dict):
        raise MaterialsError(
            f'{where}: not a JSON object; write entries like {{"id": "x-1", "request": "..."}}'
        )
    fields = {}
    for key, value in entry.items():
        if value is None:
            continue
        may_be_number = key in ("id", "cluster_id") and isinstance(value, int) and not isinstance(value, bool)
        if key in _COLUMNS and not isinstance(value, str) and not may_be_number:
            raise MaterialsError(f"{where}: {key} is not text but {value!r}; put it in double quotes")
        fields[key] = str(value)
        if not _is_text(fields[key]):
            raise MaterialsError(
                f"{where}: {key} has half of a surrogate pair ({fields[key]!r}), which is no text; correct "
                "the escape"
            )
    return fields


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True

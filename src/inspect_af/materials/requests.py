"""Request sets: what the model is asked to do. Bundled, AdvBench, or a user's file.

AdvBench's harmful requests (Zou et al. 2023, arXiv 2307.15043; MIT licence) are no part of this package: they
are downloaded once and checked at every load.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from inspect_af import config
from inspect_af.errors import MaterialsError, RequestsUnavailableError
from inspect_af.format import visible
from inspect_af.materials.downloads import cache_dir, published
from inspect_af.materials.files import Words, bundled, read_text, refuse_if
from inspect_af.types import Option

BUNDLED = ("mini", "benign")

THRESHOLD = 0.6  # Word-Jaccard similarity from which two requests count as near-duplicates (not in source)
LARGEST = 64_000_000  # Most bytes of a file of requests

_WORD = re.compile(r"\w+")
_TEXT_COLUMNS = ("request", "goal", "input")
_COLUMNS = (
    *_TEXT_COLUMNS,
    "id",
    "category",
    "cluster_id",
    "value",
    "policy",
    "situation",
    "developer",
    "other",
)
_FORMATS = (".csv", ".jsonl", ".json")
_ID = re.compile(r"[^\s/\u200c\u200d]{1,1000}")


class Request(Words):
    """One thing that the model is asked to do."""

    id: str  # Unique in its set; without white space and `/`, because sample ids are built from it
    text: str = Field(min_length=1)
    category: str | None = None
    cluster_id: str  # Id of the first request of its group of near-duplicates; its own id where it has none
    policy: str | None = None
    """What the developer asks for in conversations like this one, where two options are offered."""
    developer: Option | None = None  # Which of the two options follows the policy; None where there are none


class RequestSet(Words):
    """Requests in a fixed order."""

    name: str  # `advbench`, `mini`, `benign`, or the file's name
    digest: str
    """First 16 hexadecimal digits of the sha256 over ids, texts, categories, clusters and, where there are
    options, the policy and which of them follows it."""
    requests: tuple[Request, ...] = Field(min_length=1)


class Row(NamedTuple):
    """One entry of a file, before its columns are looked at."""

    where: str  # File and line, for errors
    fields: dict[str, str]


def load_requests(source: str | Path) -> RequestSet:
    """A request set by name, or from a file.

    Args:
        source: `advbench` (downloaded once and checked), `mini`, `benign`, or a .csv, .jsonl or .json file
            with the column `request`, `goal` or `input` and, if wanted, `id`, `category` and `cluster_id`.

    Raises:
        MaterialsError: the file is missing or malformed; the message names the file and the line.
        RequestsUnavailableError: AdvBench cannot be downloaded, or its content is not the pinned one.
    """
    name = str(source)
    if name == "advbench":
        otherwise = (
            "pass your own file with -T requests=FILE (.csv or .jsonl). The bundled set needs no network: "
            "-T requests=mini"
        )
        goals = published(URL, cache_file(), _goals, what="AdvBench", otherwise=otherwise)
        return _request_set(name, [Row(f"advbench {i}", {"goal": goal}) for i, goal in enumerate(goals, 1)])
    if name in BUNDLED:
        file = bundled("requests", f"{name}.jsonl")
        return _request_set(name, list(json_lines(file, read_text(file))))
    path, rows = file_rows(name, what="requests", names=("advbench", *BUNDLED))
    return _request_set(path.name, rows)


def file_rows(source: str, *, what: str, names: Sequence[str]) -> tuple[Path, list[Row]]:
    """The entries of a user's .csv, .jsonl or .json file.

    Args:
        source: Its path.
        what: The word for errors, such as `requests`.
        names: What could have been given in its place.

    Raises:
        MaterialsError: the file is missing, malformed or empty.
    """
    path = config.user_path(source)
    if path.suffix.lower() not in _FORMATS or not config.is_file(path):
        problem = "is not a .csv, .jsonl or .json file" if config.is_file(path) else "is no file here"
        raise MaterialsError(
            f"{what} {config.shown(source)!r} {problem}; give one of {', '.join(names)}, or a file"
        )
    text = read_text(path, largest=LARGEST)
    read = {".csv": _csv, ".jsonl": json_lines, ".json": _json}[path.suffix.lower()]
    rows = list(read(path, text))
    refuse_if(not rows, f"{path.name} has no {what}; write at least one")
    return path, rows


def _request_set(name: str, rows: list[Row]) -> RequestSet:
    texts = [_text(row) for row in rows]
    ids = row_ids(name, rows)
    clusters = row_clusters(rows, texts, ids)
    return request_set(
        name,
        [
            Request(
                id=i, text=text, category=row.fields.get("category", "").strip() or None, cluster_id=cluster
            )
            for i, text, row, cluster in zip(ids, texts, rows, clusters, strict=True)
        ],
    )


def request_set(name: str, requests: Sequence[Request]) -> RequestSet:
    """Requests with the digest of what they say."""
    content = [
        [r.id, r.text, r.category, r.cluster_id, *([r.policy, r.developer] if r.developer else [])]
        for r in requests
    ]
    return RequestSet(name=name, digest=config.text_digest(json.dumps(content)), requests=tuple(requests))


def row_ids(name: str, rows: Sequence[Row]) -> list[str]:
    """The ids of entries, made from the set's name where they have none.

    Raises:
        MaterialsError: an id that occurs twice, or that no sample id can be built from.
    """
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem)
    ids = [row.fields.get("id", "").strip() or f"{stem}-{i:04d}" for i, row in enumerate(rows, start=1)]
    seen: dict[str, str] = {}
    for row, request_id in zip(rows, ids, strict=True):
        refuse_if(
            not _ID.fullmatch(request_id) or visible(request_id) != request_id,
            f"{row.where}: id {request_id[:60]!r} has white space, '/' or a control character, or is too "
            "long, but sample ids are built from it; use letters, digits, '-', '_' and '.'",
        )
        first = seen.setdefault(request_id, row.where)
        refuse_if(
            first is not row.where,
            f"{row.where}: id '{request_id}' is already used in {first}; make ids unique",
        )
    return ids


def _text(row: Row) -> str:
    column = next((column for column in _TEXT_COLUMNS if column in row.fields), None)
    if column is None:
        raise MaterialsError(
            f"{row.where}: no 'request', 'goal' or 'input' among its columns "
            f"({', '.join(row.fields) or 'none'}); name the column with the requests so"
        )
    text = row.fields[column].strip()
    refuse_if(not text, f"{row.where}: the {column} is empty; write it or remove the entry")
    return text


def row_clusters(rows: Sequence[Row], texts: Sequence[str], ids: Sequence[str]) -> list[str]:
    """The given clusters where the file has the column, else near-duplicates by words."""
    if any("cluster_id" in row.fields for row in rows):
        return [row.fields.get("cluster_id", "").strip() or i for row, i in zip(rows, ids, strict=True)]
    return [ids[first] for first in near_duplicates(texts)]


def _csv(file: Path, text: str) -> Iterator[Row]:
    first = text.lstrip("\n").partition("\n")[0]
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        refuse_if(
            mark in first and "," not in first,
            f"{file}, line 1: the columns ({first[:200]}) are separated by {name}; save the file with "
            "commas (requests stand in the column 'request')",
        )
    lines = (line for line in config.csv_rows(text, file, error=MaterialsError) if line[1])
    header = [name.strip().lower() for name in next(lines, (1, []))[1]]
    columns = ", ".join(header)
    twice = len(set(header)) < len(header)
    refuse_if(twice, f"{file}, line 1: two columns have the same name ({columns}); rename one")
    for number, cells in lines:
        where = f"{file}, line {number}"
        refuse_if(
            len(cells) != len(header),
            f"{where}: {len(cells)} fields where the header has {len(header)}; "
            'put fields that hold commas or line breaks in double quotes ("...")',
        )
        yield Row(where, dict(zip(header, cells, strict=True)))


def json_lines(file: Traversable, text: str) -> Iterator[Row]:
    """The rows of a JSON Lines file with their lines; a MaterialsError where one is malformed."""
    # Not str.splitlines, which also splits at characters that JSON allows inside a string.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{file}, line {number}"
            yield Row(where, _fields(config.parse(line, "JSON", where, error=MaterialsError), where))


def _json(file: Path, text: str) -> Iterator[Row]:
    entries = config.parse(text, "JSON", file, error=MaterialsError) if text.strip() else []
    refuse_if(
        not isinstance(entries, list),
        f"{file}: not a list; give a JSON list of objects, or use .jsonl with one per line",
    )
    for number, entry in enumerate(entries, start=1):
        where = f"{file}, entry {number}"
        yield Row(where, _fields(entry, where))


def _fields(entry: object, where: str) -> dict[str, str]:
    """An entry's values as text, by name; names count as the headers of a CSV file do, in any case."""
    if not isinstance(entry, dict):
        raise MaterialsError(
            f'{where}: not a JSON object; write entries like {{"id": "x-1", "request": "..."}}'
        )
    fields: dict[str, str] = {}
    for key, value in ((key.strip().lower(), value) for key, value in entry.items()):
        refuse_if(key in fields, f"{where}: '{key}' is given twice; leave one of them")
        may_be_number = key in ("id", "cluster_id") and isinstance(value, int) and not isinstance(value, bool)
        if value is not None:
            if key in _COLUMNS and not isinstance(value, str) and not may_be_number:
                raise MaterialsError(
                    f"{where}: {key} is not text but {str(value)[:200]}; write it as text in double quotes"
                )
            fields[key] = str(value)
    return fields


def near_duplicates(texts: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """For every text the index of the first text of its group.

    Two texts are linked where the Jaccard similarity of their sets of lower-case words is at least
    `threshold`; groups are the connected components (single linkage). Texts without any word stay alone
    unless they are equal.

    Args:
        texts: The requests.
        threshold: In (0, 1].
    """
    words = [frozenset(_WORD.findall(text.lower())) or frozenset((text,)) for text in texts]
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    # Two sets that are as similar as this share one of their rarest words, as many of them as would be left
    # over if the others were shared (prefix filtering; Bayardo et al. 2007). Short texts come first. Below
    # each such word the texts so far stand by group, so that a group is left once one of its texts is linked.
    common = Counter(word for mine in words for word in mine)
    having: defaultdict[str, dict[int, list[int]]] = defaultdict(dict)
    seen: dict[frozenset[str], int] = {}
    both = 2 * threshold / (1 + threshold)
    for i in sorted(range(len(texts)), key=lambda i: len(words[i])):
        mine = words[i]
        if (equal := seen.setdefault(mine, i)) != i:
            first, second = sorted((root(i), root(equal)))
            parent[second] = first
            continue
        rarest = sorted(mine, key=lambda word: (common[word], word))
        looked_up, kept = (len(mine) - math.ceil(part * len(mine) - 1e-9) + 1 for part in (threshold, both))
        for at, word in enumerate(rarest[:looked_up]):
            groups: dict[int, list[int]] = {}
            for group, members in having[word].items():
                if (now := root(group)) in groups:  # two groups that were linked since
                    groups[now].extend(members)
                else:
                    groups[now] = members
            for group, members in groups.items():
                if root(group) == root(i):
                    continue
                for j in reversed(members):
                    shared = len(mine & words[j])
                    if shared >= threshold * (len(mine) + len(words[j]) - shared):
                        first, second = sorted((root(i), root(j)))
                        parent[second] = first
                        break
            if at < kept:
                groups.setdefault(root(i), []).append(i)
            having[word] = groups
    return [root(i) for i in range(len(texts))]


# AdvBench

URL = (
    "https://raw.githubusercontent.com/llm-attacks/llm-attacks/"
    "098262edf85f807224e70ecd87b9d83716bf6b73/data/advbench/harmful_behaviors.csv"
)
GOALS_SHA256 = "f035131936bb56f411e3a206c189d4ced7196138ed769752751deccd978c0c68"
"""Of the stripped goals joined by newlines: copies of the file differ in line ends, the requests do not."""

_log = logging.getLogger(__name__)


def cache_file() -> Path:
    """The file in which AdvBench is kept."""
    return cache_dir() / "advbench" / "harmful_behaviors.csv"


def _goals(content: bytes, where: str, remedy: str) -> tuple[str, ...]:
    """The 520 requests in the file's order."""
    goals: tuple[str, ...] = ()
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
        goals = tuple((row.get("goal") or "").strip() for row in rows)
    except (UnicodeDecodeError, csv.Error) as error:
        _log.debug("%s is not a CSV file: %s", where, error)
    found = hashlib.sha256("\n".join(goals).encode()).hexdigest()
    if found != GOALS_SHA256:
        raise RequestsUnavailableError(
            f"{where} is not the pinned AdvBench: {len(goals)} goals with sha256 {found} instead of 520 with "
            f"{GOALS_SHA256}; {remedy}, or pass -T requests=FILE to use other requests"
        )
    return goals

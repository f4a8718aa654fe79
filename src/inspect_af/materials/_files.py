"""Reading the text and TOML files that materials consist of, with errors that name the file."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Collection, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from inspect_af.errors import MaterialsError

_M = TypeVar("_M", bound=BaseModel)


class FileModel(BaseModel):
    """Base of the schemas of files: frozen, and a key that nobody reads is an error, not a silent typo."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def bundled(*parts: str) -> Traversable:
    """A file or directory of words that ships inside this package."""
    return files("inspect_af.materials").joinpath(*parts)


def material_dir(source: str | Path | None, *, default: str, folder: str, what: str) -> Traversable:
    """The directory that a `pair=` or `scenario=` parameter means.

    Args:
        source: None or the bundled name, or a directory.
        default: Name of the bundled one.
        folder: Where the bundled ones lie in this package.
        what: The word for errors, such as `pair`.

    Raises:
        MaterialsError: the source is neither the bundled name nor a directory.
    """
    if source is None or str(source) == default:
        return bundled(folder, default)
    path = Path(str(source)).expanduser()
    if not path.is_dir():
        found = "is a file, not a directory" if path.exists() else "is not a directory here"
        raise MaterialsError(
            f"{what} {str(source)!r} {found}; give '{default}' (bundled) or a directory with {what}.toml"
        )
    return path


def read_text(file: Traversable) -> str:
    """The file's text, as UTF-8 with or without a byte order mark, with `\\n` line ends.

    Raises:
        MaterialsError: the file is missing, unreadable or not UTF-8.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise MaterialsError(f"{file} does not exist; create it or correct the name") from None
    except UnicodeDecodeError as error:
        raise MaterialsError(
            f"{file} is not UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8"
        ) from None
    except OSError as error:
        raise MaterialsError(f"{file} cannot be read: {error.strerror}; check the path") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_toml(file: Traversable, schema: type[_M]) -> _M:
    """The file's content as `schema`.

    Raises:
        MaterialsError: TOML syntax (with line and column), or an entry that is missing, unknown or wrong.
    """
    return validate_toml(parse_toml(read_text(file), file), schema, file)


def parse_toml(text: str, file: Traversable) -> dict[str, Any]:
    """The entries of TOML text; `file` is where it came from, for errors.

    Raises:
        MaterialsError: TOML syntax, with line and column.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MaterialsError(f"{file} is not valid TOML: {error}; correct that line") from None


def validate_toml(data: dict[str, Any], schema: type[_M], file: Traversable) -> _M:
    """Entries as `schema`.

    Raises:
        MaterialsError: an entry that is missing, unknown or wrong.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{_entry(e['loc'], data)}: {_words(e['type'], e['msg'])}" for e in error.errors()
        )
        raise MaterialsError(f"{file}: {problems}") from None


def tree_digest(root: Traversable, only: Collection[str] = ()) -> str:
    """First 16 hexadecimal digits of the sha256 over names and content of all files below `root`.

    With `only`, over the files and folders of these names alone. Hidden files do not count, and line ends do
    not matter, so that a checkout on another system agrees.
    """
    digest = hashlib.sha256()
    for name, file in sorted(_walk(root, "")):
        if only and name.split("/")[0] not in only:
            continue
        content = file.read_bytes().replace(b"\r\n", b"\n")
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()[:16]


def short_digest(text: str) -> str:
    """First 16 hexadecimal digits of the text's sha256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def _entry(loc: tuple[int | str, ...], data: dict[str, Any]) -> str:
    """`variables A1, family` rather than `variables.2.family`: people know their entries by code."""
    words: list[str] = []
    here: Any = data
    for step in loc:
        here = _child(here, step)
        if isinstance(step, int):
            code = here.get("code") if isinstance(here, dict) else None
            words[-1:] = [f"{words[-1] if words else 'entry'} {code or f'number {step + 1}'}"]
        else:
            words.append(step)
    return ", ".join(words) or "the file"


def _child(container: Any, step: int | str) -> Any:
    if isinstance(container, dict):
        return container.get(step)
    if isinstance(container, list) and isinstance(step, int) and step < len(container):
        return container[step]
    return None


def _words(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key; remove it or correct its name"
    if kind == "missing":
        return "missing; add it"
    return message.removeprefix("Value error, ")

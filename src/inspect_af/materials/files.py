"""Reading the directories and TOML files that materials consist of, with errors that name file and entry."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cache, wraps
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # Inspect reads remote files with it
from pydantic import AfterValidator, BaseModel, Field, StringConstraints, ValidationError

from inspect_af import config
from inspect_af.errors import MaterialsError

_M = TypeVar("_M", bound=BaseModel)
_R = TypeVar("_R")
_MOST_FILES = 2000
_THE_WORDS = "give the directory of the words alone"
_MESSAGES = {
    "extra_forbidden": "unknown key; remove it or correct its name",
    "missing": "missing; add it",
}
_PLACEHOLDER = re.compile(r"\{\{[ \t]*(\w+)[ \t]*\}\}")


class Words(config.Frozen):
    """Base of materials and of their files."""


def refuse_if(wrong: object, message: str) -> None:
    """A MaterialsError with the message where something is wrong; it is a ValueError, as validators raise."""
    if wrong:
        raise MaterialsError(message)


def one_line(text: str) -> str:
    """A text without line breaks and repeated white space."""
    return " ".join(text.split())


def unwrap(text: str) -> str:
    """Joins wrapped lines; blank lines stay paragraph breaks."""
    return "\n\n".join(map(one_line, re.split(r"\n[ \t]*\n", text.strip())))


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
"""What a file has to say something in."""
Line = Annotated[Text, AfterValidator(one_line)]  # the same, as one line
Name = Annotated[Line, Field(max_length=200)]  # of something, for reports and logs
Paragraphs = Annotated[Text, AfterValidator(unwrap)]  # the same, with wrapped lines joined
Texts = Annotated[tuple[Text, ...], Field(min_length=1)]


def bundled(*parts: str) -> Traversable:
    """A file or directory of words that ships inside this package."""
    return files("inspect_af.materials").joinpath(*parts)


def material_dir(
    source: str | Path | None, *, default: str, folder: str, what: str, file: str = ""
) -> Traversable:
    """The directory that a parameter such as `pair=` means: the bundled one in `folder`, or a user's, which
    holds `file` (`pair.toml`, where it is not said).

    Raises:
        MaterialsError: The source is neither the bundled name nor a directory, or holds links that leave it,
            links to directories, or what is no file.
    """
    if source is None or str(source) == default:
        return bundled(folder, default)
    path = config.user_path(source)
    found = "is a file, not a directory" if config.is_file(path) else "is not a directory here"
    refuse_if(
        not config.is_directory(path),
        f"{what} {config.shown(source)!r} {found}; give '{default}' (bundled) or a directory with "
        f"{file or f'{what}.toml'}",
    )
    if config.is_remote(path):
        return _fetched(str(path))
    entries = (
        (Path(parent, name), name in folders)
        for parent, folders, names in os.walk(path)
        for name in sorted((*folders, *names))
    )
    for count, (entry, is_folder) in enumerate(entries, start=1):
        problem = _problem(entry, path.resolve(), is_folder=is_folder)
        if count > _MOST_FILES:
            problem = f"is one of more than {_MOST_FILES:,} files; {_THE_WORDS}"
        refuse_if(problem, f"{config.shown(entry)} {problem}")
    return path


def _fetched(place: str) -> Traversable:
    """What is at an address, as it is now, in memory: a directory of words is small."""
    archive = zipfile.ZipFile(io.BytesIO(), "w")
    with config.reaching(place, "cannot be read", error=MaterialsError):
        fs, root = url_to_fs(place, use_listings_cache=False)
        found = fs.find(root)
        refuse_if(len(found) > _MOST_FILES, f"{place} has more than {_MOST_FILES:,} files; {_THE_WORDS}")
        for name, content in fs.cat(found).items() if found else ():
            archive.writestr(name[len(root) :].strip("/"), content)
    archive.filename = place
    return zipfile.Path(archive)


def _problem(path: Path, root: Path, *, is_folder: bool) -> str | None:
    """Why a file of a user's directory would be read from elsewhere, for ever, or not at all."""
    if config.shown(path) != str(path):
        return "has a name that is no text; rename it"
    if path.is_symlink():
        target = Path(os.path.realpath(path))
        if not config.is_file(target) or root not in target.parents:
            return "is a link to a directory, to outside or to nowhere; put a copy in its place"
    elif not is_folder and not path.is_file():
        return "is a pipe, socket or device; remove it"
    return None


def cached_for(default: str) -> Callable[[Callable[[str | Path | None], _R]], Callable[..., _R]]:
    """Lets a loader of one source read the bundled one once, and anyone's own at every call."""

    def decorate(load: Callable[[str | Path | None], _R]) -> Callable[..., _R]:
        once = cache(lambda: load(None))
        return wraps(load)(
            lambda source=None: once() if source is None or str(source) == default else load(source)
        )

    return decorate


def read_text(file: Traversable, *, largest: int = config.LARGEST) -> str:
    """The file's text, as UTF-8 with or without a byte order mark, with `\\n` line ends.

    Raises:
        MaterialsError: The file is missing, unreadable, no regular file, too large or not UTF-8.
    """
    return config.read_text(file, error=MaterialsError, largest=largest)


def read_toml(file: Traversable, schema: type[_M], **more: Any) -> _M:
    """The file's content as `schema`, with values that the file itself does not say.

    Raises:
        MaterialsError: TOML syntax (with line and column), or an entry that is missing, unknown or wrong.
    """
    return validate(config.parse(read_text(file), "TOML", file, error=MaterialsError), schema, file, **more)


def validate(data: dict[str, Any], schema: type[_M], file: object, **more: Any) -> _M:
    """Entries of a file as `schema`, with values that the file itself does not say.

    Raises:
        MaterialsError: An entry that is missing, unknown or wrong.
    """
    problems = [f"{name}: {_MESSAGES['extra_forbidden']}" for name in more if name in data]
    try:
        if not problems:
            return schema.model_validate({**data, **more})
    except ValidationError as error:
        for e in error.errors():
            message = _MESSAGES.get(e["type"], e["msg"].removeprefix("Value error, "))
            problems.append(": ".join(filter(None, (_entry(e["loc"], data), message))))
    raise MaterialsError(f"{config.shown(file)}: {'; '.join(problems)}") from None


def toml_names(folder: Traversable, suffixes: Iterable[str] = (".toml",)) -> list[str]:
    """Names of a directory's files, without their suffix, sorted; none where there is no such directory."""
    if not folder.is_dir():
        return []
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return [name.removesuffix(end) for name in names for end in suffixes if name.endswith(end)]


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


def placeholders(template: str) -> list[str]:
    """The names of a template's `{{name}}` placeholders, in order, with repeats."""
    return _PLACEHOLDER.findall(template)


def check_placeholders(template: str, allowed: Iterable[str], *, where: str) -> None:
    """A MaterialsError about a placeholder that nothing would fill: its place and what is allowed there."""
    known = list(allowed)
    listed = ", ".join(f"{{{{{other}}}}}" for other in known) or "none"
    for name in placeholders(template):
        refuse_if(name not in known, f"{where}: unknown placeholder {{{{{name}}}}}; allowed here: {listed}")


def fill(template: str, values: Mapping[str, str], *, where: str) -> str:
    """Replaces the placeholders in one pass, so that braces in a value stay what they are.

    Raises:
        MaterialsError: a placeholder without a value.
    """
    check_placeholders(template, values, where=where)
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.name.startswith((".", "__")):
            continue
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry


def _entry(loc: tuple[int | str, ...], data: Any) -> str:
    """`variables A1, family` rather than `variables.2.family`: people know their entries by code."""
    words: list[str] = []
    here = data
    for step in loc:
        try:
            here = here[step]
        except (LookupError, TypeError):
            here = None
        if isinstance(step, int):
            code = here.get("code") if isinstance(here, dict) else None
            words[-1:] = [f"{words[-1] if words else 'entry'} {code or f'number {step + 1}'}"]
        else:
            words.append(step)
    return ", ".join(words)

"""What is checked where it is built: frozen models, arguments, content digests, files, extras, locks."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
import sys
import tomllib
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, cast

import yaml
from fsspec.core import url_to_fs  # type: ignore[import-untyped]  # Inspect reads and writes remote logs with it
from pydantic import BaseModel, ConfigDict, ValidatorFunctionWrapHandler, field_validator

from inspect_af.errors import ConfigError, InspectAFError, MissingExtraError, TreatmentError


class Frozen(BaseModel):
    """Base of the package's data: it cannot be changed, and a key that nobody reads is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Record(Frozen, allow_inf_nan=False):
    """Frozen data whose numbers are finite."""


class Written(Frozen):
    """Data that people write in YAML, where `yes` and `no` are true and false: neither becomes 1 or 0."""

    @field_validator("*", mode="wrap")
    @classmethod
    def _truth_is_no_number(cls, given: object, read: ValidatorFunctionWrapHandler) -> object:
        found = read(given)
        if _lost_truth(given, found):
            raise ValueError("yes, no, true and false are no numbers")
        return found


def _lost_truth(given: object, found: object) -> bool:
    """Whether a truth value has become a number."""
    if isinstance(given, Mapping) and isinstance(found, Mapping):
        return any(_lost_truth(given[key], found[key]) for key in given.keys() & found.keys())
    if isinstance(given, list | tuple) and isinstance(found, list | tuple):
        return any(map(_lost_truth, given, found))
    return isinstance(given, bool) and not isinstance(found, bool) and isinstance(found, int | float)


# Arguments from Inspect's command line, where a value may have any type.


def whole_number(given: object, name: str, *, least: int | None = None, most: int | None = None) -> int:
    """The number, where it is a whole one within bounds; true and false are no numbers.

    Args:
        given: The parameter's value.
        name: The parameter's name.
        least: The smallest number allowed, None where all are.
        most: The largest number allowed, None where all are.

    Raises:
        ConfigError: No whole number, or one out of bounds.
    """
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    if isinstance(given, bool) or not isinstance(given, int) or not low <= given <= high:
        raise ConfigError(f"{name}={given!r}: a whole number{_bounds(least, most)} is needed")
    return given


def number(given: object, name: str, *, least: float | None = None, most: float | None = None) -> float:
    """The number, where it is a finite one within bounds; true and false are no numbers.

    Args:
        given: The parameter's value.
        name: The parameter's name.
        least: The smallest number allowed, None where all are.
        most: The largest number allowed, None where all are.

    Raises:
        ConfigError: No number, not a finite one, or one out of bounds.
    """
    low, high = -math.inf if least is None else least, math.inf if most is None else most
    usable = is_number(given)
    if not usable or not low <= given <= high:  # type: ignore[operator]  # `usable` says that it is a number
        raise ConfigError(f"{name}={given!r}: a number{_bounds(least, most)} is needed")
    return float(given)  # type: ignore[arg-type]


def is_number(given: object) -> bool:
    """Whether it is a number that a float can hold; true and false, NaN and infinities are none."""
    return isinstance(given, int | float) and not isinstance(given, bool) and abs(given) <= sys.float_info.max


def _bounds(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    return f" of at least {least:g}" if least is not None else "" if most is None else f" of at most {most:g}"


def true_or_false(given: object, name: str) -> bool:
    """The value, where it is a truth value or a word for one. No other text is: it would count as true.

    Raises:
        ConfigError: Anything else.
    """
    word = str(given).lower() if isinstance(given, bool | str) else ""
    if word not in ("true", "yes", "false", "no"):
        raise ConfigError(f"{name}={given!r}: true or false is needed")
    return word in ("true", "yes")


def as_list(given: object) -> list[str]:
    """The items of a list, or of a text with commas, without the white space around them."""
    items = given if isinstance(given, list | tuple) else str(given).split(",")
    return [str(item).strip() for item in items]


def token_count(given: object) -> int:
    """`10M`, `250k` or `1_000_000` as a number of tokens; a whole number stays what it is.

    Raises:
        ConfigError: It is not a positive number.
    """
    text = "" if isinstance(given, bool) else str(given)
    factor = {"k": 10**3, "m": 10**6, "b": 10**9}.get(text[-1:].lower(), 1)
    try:
        tokens = float(text[:-1] if factor > 1 else text) * factor
    except ValueError:
        tokens = 0
    if not 1 <= tokens < 10**15:
        raise ConfigError(f"{given!r} is no number of tokens; give one such as 10M or 250000")
    return int(tokens)


# Content digests: the first 16 hexadecimal digits of a sha256.


def text_digest(*texts: str) -> str:
    """First 16 hexadecimal digits of a sha256 over the texts, with their lengths, in order.

    Any string has one, also with lone surrogates, which models do produce.
    """
    if len(texts) == 1:
        return hashlib.sha256(_bytes(texts[0])).hexdigest()[:16]
    total = hashlib.sha256()
    for text in texts:
        content = _bytes(text)
        total.update(f"{len(content)}:".encode())
        total.update(content)
    return total.hexdigest()[:16]


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_WHOLE = 1 << 30
_PIECE, _PIECES = 1 << 20, 64
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "inspect_af.json")
_CHECKPOINT = ("*.json", "*.safetensors", "*.bin", "*.gguf", "*.jinja", "*.model", "*.txt")


def path_digest(path: Path) -> str:
    """Digest of what a file or a directory holds; names above it and times do not count.

    Of an adapter the configuration, the weights and the manifest count, of a checkpoint the files at its top
    that a model is loaded from, of any other directory every file that is not hidden. A file of more than
    1 GiB counts by its size and by 64 pieces of 1 MiB, evenly spaced, which any training changes. A remote
    place is a file.

    Raises:
        OSError: Something in it cannot be read.
    """
    if is_remote(path):
        with reaching(path, "cannot be read"):
            return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    if path.is_file():
        about = path.stat()
        return _file_digest(path, about.st_size, (about.st_mtime_ns, about.st_ctime_ns, about.st_ino))
    if (path / "adapter_config.json").is_file():
        files = [path / name for name in _ADAPTER]
    elif (path / "config.json").is_file():
        files = [file for pattern in _CHECKPOINT for file in path.glob(pattern)]
    else:
        files = [
            file
            for file in path.rglob("*")
            if not any(part.startswith(".") for part in file.relative_to(path).parts)
        ]
    found = sorted({file for file in files if file.is_file()})
    return text_digest("", *(f"{file.relative_to(path).as_posix()} {path_digest(file)}" for file in found))


@lru_cache(maxsize=4096)
def _file_digest(path: Path, size: int, changed: tuple[int, ...]) -> str:
    if size <= _WHOLE:
        return file_digest(path)[:16]
    total = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for piece in range(_PIECES):
            file.seek((size - _PIECE) * piece // (_PIECES - 1))
            total.update(file.read(_PIECE))
    return total.hexdigest()[:16]


def file_digest(file: Path) -> str:
    """The sha256 of a file's content, 64 hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# Files and directories that exist complete or not at all.


def write_whole(place: str | Path, content: str | Iterable[str | bytes | memoryview]) -> None:
    """Writes a file so that a reader sees either all of it or what was there before.

    Raises:
        ConfigError: It is a directory, or a remote place that cannot be written to.
    """
    with writing(place) as file:
        if file.is_dir():
            raise ConfigError(f"{place} is a directory; give a file")
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as out:
                for part in [content] if isinstance(content, str) else content:
                    out.write(part.encode() if isinstance(part, str) else part)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def complete_directory(out: str | Path) -> Iterator[Path]:
    """A directory to write into, beside `out`, which takes its name when the block ends without an error.

    Raises:
        TreatmentError: `out` exists.
    """
    final = Path(out)
    if final.exists():
        raise TreatmentError(f"{final} exists; give another directory, or remove it")
    partial = final.with_name(f".{final.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


# Files that people write or download: YAML, TOML, JSON and CSV, none of which may hang or end in a traceback.

Format = Literal["YAML", "TOML", "JSON"]
LARGEST = 1_000_000  # Most bytes of a file of words or settings
DEEPEST = 50  # Most levels of lists and mappings in one another, and of parts in a TOML key
MOST_DIGITS = 100  # Most digits of a whole number
_MOST_ENTRIES = 1_000_000
_NAME = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
# The standard library takes the cube of the parts of such a key: half a minute for 40 kB of `a.a.a`.
_LONG_KEY = re.compile(rf"(?<![\w-]){_NAME}(?:[ \t]*+\.[ \t]*+{_NAME}){{{DEEPEST}}}")


def user_path(text: str | Path) -> Path:
    """A place as a person types it: `~` is the home directory, and an address such as `s3://bucket/x` can be
    read like a path.

    Raises:
        ConfigError: There is no such user, or no such kind of address.
    """
    if is_remote(text):
        from upath import UPath  # Inspect depends on it

        try:
            return cast(Path, UPath(str(text), use_listings_cache=False))  # it has what is used of a path
        except (ValueError, ImportError) as error:
            raise ConfigError(f"{shown(text)}: cannot be written or read: {error}") from None
    try:
        return Path(str(text).removeprefix("file://")).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{text}: {error}; give the directory's full path") from None


def local_path(text: str | Path, named: str = "") -> Path:
    """The same where an address will not do.

    Args:
        text: The place.
        named: What it was given as, such as `--out `, for the message.

    Raises:
        ConfigError: It is an address.
    """
    if is_remote(text):
        raise ConfigError(f"{named}{text}: this is kept on this machine alone; give a path of it")
    return user_path(text)


def is_remote(place: object) -> bool:
    """Whether a place is an address, such as `s3://bucket/x`, and no path of this machine."""
    return "://" in str(place) and not str(place).startswith("file://")


@contextmanager
def reaching(place: object, failed: str, *, error: type[InspectAFError] = ConfigError) -> Iterator[None]:
    """One line about a remote place: file systems raise what they like, for missing credentials above all.

    Args:
        place: An address; what goes wrong with a path passes.
        failed: Such as `cannot be read`.
        error: What is raised.
    """
    try:
        yield
    except Exception as problem:
        if isinstance(problem, InspectAFError) or not is_remote(place):
            raise
        reason = (str(problem).splitlines() or [""])[0]
        raise error(f"{shown(place)}: {failed}: {type(problem).__name__}: {reason}") from problem


@contextmanager
def writing(place: str | Path) -> Iterator[Path]:
    """A path for a file or a directory, whose content goes to the place afterwards where that is remote.

    Raises:
        ConfigError: A remote place cannot be written to.
    """
    if not is_remote(place):
        yield Path(place)
        return
    with TemporaryDirectory() as folder:
        local = Path(folder) / str(place).rstrip("/").rpartition("/")[2]
        yield local
        files = [file for file in sorted(local.rglob("*")) if file.is_file()] if local.is_dir() else [local]
        with reaching(place, "cannot be written"):
            fs, target = url_to_fs(str(place).rstrip("/"))
            for file in files:
                fs.put_file(str(file), target + file.as_posix()[len(local.as_posix()) :])


def is_file(path: Path) -> bool:
    """Whether there is a regular file; a name that no file can have is none.

    Raises:
        ConfigError: A remote place cannot be reached.
    """
    return _kind(path) == "file"


def is_directory(path: Path) -> bool:
    """Whether there is a directory; a name that none can have is none. Raises as `is_file` does."""
    return _kind(path) == "directory"


def _kind(path: Path) -> str | None:
    if is_remote(path):
        with reaching(path, "cannot be read"):
            fs, name = url_to_fs(str(path), use_listings_cache=False)
            try:
                return str(fs.info(name)["type"])  # whose own `isfile` takes every error for a no
            except FileNotFoundError as error:
                # fsspec says so of a web server that is down, too.
                if isinstance(cause := error.__cause__, OSError) and not isinstance(cause, FileNotFoundError):
                    raise cause from None
        return None
    try:
        return "file" if path.is_file() else "directory" if path.is_dir() else None
    except (OSError, ValueError):
        return None


def read_text(
    file: Traversable,
    *,
    what: str = "",
    error: type[InspectAFError] = ConfigError,
    largest: int = LARGEST,
) -> str:
    """A file's text, as UTF-8 with or without a byte order mark, with `\\n` line ends.

    Args:
        file: A path, or a file that ships with the package.
        what: What it is, such as `plan`, for the message where it cannot be read.
        error: What is raised.
        largest: Most bytes that it may have.

    Raises:
        InspectAFError: It is missing, no regular file (a pipe would be waited for), unreadable, too large or
            not UTF-8 text.
    """
    try:
        if isinstance(file, Path) and not is_remote(file) and not stat.S_ISREG(kind := file.stat().st_mode):
            what = "a directory" if stat.S_ISDIR(kind) else "a pipe, socket or device"
            raise error(f"{shown(file)} is {what}, not a file; correct the name")
        with file.open("rb") as opened:
            content = opened.read(largest + 1)
    except Exception as problem:
        if isinstance(problem, error) or not (is_remote(file) or isinstance(problem, OSError | ValueError)):
            raise  # remote file systems raise what they like
        gone = isinstance(problem, FileNotFoundError)
        reason = getattr(problem, "strerror", None) or ("No such file" if gone else problem)
        if what:
            raise error(f"cannot read the {what} {shown(file)}: {reason}") from problem
        if gone:
            raise error(f"{shown(file)} does not exist; create it or correct the name") from None
        raise error(f"{shown(file)} cannot be read: {reason}; check the path") from problem
    if len(content) > largest:
        raise error(f"{shown(file)} has more than {largest:,} bytes; such a file is a few kilobytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(
            f"{shown(file)} is not UTF-8 (byte {problem.start}: {problem.reason}); save it as UTF-8"
        ) from None
    if "\0" in text:
        raise error(f"{shown(file)} has NUL characters, as text in UTF-16 does; save it as UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def shown(file: object) -> str:
    """A file's name for a message; bytes in it that are no text are written as escapes."""
    return str(file).encode("utf-8", "backslashreplace").decode()


def parse(text: str, kind: Format, where: object, *, error: type[InspectAFError] = ConfigError) -> Any:
    """The content of YAML, TOML or JSON text: mappings, lists, text, numbers, true, false and nothing.

    Args:
        text: Of a file of ordinary size.
        kind: Of the text.
        where: Name of the file, for errors.
        error: What is raised.

    Raises:
        InspectAFError: It is not valid, a key is there twice, or it holds what such a file has no use for:
            more than `DEEPEST` levels, a number of more than `MOST_DIGITS` digits, dates, half a surrogate
            pair.
    """
    place = shown(where)
    try:
        if kind == "TOML":
            if _LONG_KEY.search(text):
                raise error(f"{place} has a key of more than {DEEPEST} parts; correct it")
            content: Any = tomllib.loads(text)
        elif kind == "JSON":
            content = json.loads(text, object_pairs_hook=once_each)
        else:
            content = yaml.load(text, Loader=_OnceEachLoader)
    except RecursionError:
        raise error(f"{place} has more than {DEEPEST} lists or mappings in one another; correct it") from None
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError, LookupError) as problem:
        mark = getattr(problem, "problem_mark", None)  # of YAML, whose own message has several lines
        reason = str(problem).partition("\n")[0].partition("; use sys.")[0]
        if mark:
            reason = f"{problem.problem} (at line {mark.line + 1}, column {mark.column + 1})"  # type: ignore[union-attr]  # both or neither
        raise error(f"{place} is not valid {kind}: {reason}; correct that line") from None
    if complaint := _unusable(content):
        raise error(f"{place} {complaint}")
    return content


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object's keys and values, for `object_pairs_hook`; a ValueError where a key is there twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"the key {name!r} is there twice")
        found[name] = value
    return found


class _OnceEachLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML silently takes the last, and brackets in more than
    `DEEPEST` others, for which the scanner takes the square of their number."""

    def fetch_flow_collection_start(self, TokenClass: type[yaml.Token]) -> None:  # noqa: N803 - PyYAML's name
        if self.flow_level >= DEEPEST:
            raise RecursionError
        super().fetch_flow_collection_start(TokenClass)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag != "tag:yaml.org,2002:merge" and str(key.value) in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is there twice", node.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_OTHER_NUMBER = re.compile(r"[-+]?0[0-7_]+|.*:.*")  # 010 is 8, and 1:30 is 90


def _number(loader: _OnceEachLoader, node: yaml.ScalarNode) -> float:
    value: float = getattr(loader, f"construct_yaml_{node.tag.rpartition(':')[2]}")(node)
    if _OTHER_NUMBER.fullmatch(node.value):
        raise yaml.constructor.ConstructorError(
            None, None, f"{node.value} is read as {value}; write that, or put it in quotes", node.start_mark
        )
    return value


for _tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
    _OnceEachLoader.add_constructor(_tag, _number)


def _unusable(content: Any) -> str | None:
    """What a parsed file holds that nothing here has a use for; None where it is all right."""
    waiting, entries = [(content, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        entries += 1
        if entries > _MOST_ENTRIES:  # also where few bytes of YAML name one another many times over
            return f"has more than {_MOST_ENTRIES:,} entries; make it smaller"
        if isinstance(value, dict | list):
            if depth > DEEPEST:
                return f"has more than {DEEPEST} lists or mappings in one another; correct it"
            parts = [*value, *value.values()] if isinstance(value, dict) else value
            waiting += [(part, depth + 1) for part in parts]
        elif isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                return f"has half of a surrogate pair ({value[:40]!r}), which is no text; correct the escape"
        elif isinstance(value, int):
            if abs(value) >= 10**MOST_DIGITS:
                return f"has a number of more than {MOST_DIGITS} digits; correct it"
        elif not isinstance(value, float | None):
            return f"has {str(value)[:40]!r}, which is read as a {type(value).__name__}; put it in quotes"
    return None


def csv_rows(
    text: str, where: object, *, error: type[InspectAFError] = ConfigError
) -> Iterator[tuple[int, list[str]]]:
    """The lines of CSV text with their numbers; a line may be several of the file's, quoted.

    Raises:
        InspectAFError: The quoting is wrong, or a field has more than 128 kB.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            yield reader.line_num, cells
    except csv.Error as problem:
        raise error(
            f"{shown(where)}, line {reader.line_num}: not valid CSV ({problem}); correct the quoting"
        ) from None


@contextmanager
def require(extra: str, what: str) -> Iterator[None]:
    """Says which extra brings a library that is missing.

        with require("local", "adapters"):
            from peft import PeftModel

    Args:
        extra: Name of the optional dependency group.
        what: What needs it, such as `figures` (a plural, for the message).

    Raises:
        MissingExtraError: An import inside failed.
    """
    try:
        yield
    except ImportError as error:
        missing = error.name or str(error)
        raise MissingExtraError(
            f"{what} need {missing}, which is not installed or does not work ({error}); "
            f"pip install 'inspect-af[{extra}]'"
        ) from error


@contextmanager
def only_one(directory: Path, doing: str = "running") -> Iterator[int | None]:
    """Keeps a second process out of a local directory, which is made where it is missing.

    The lock goes with the process, also when it is killed.

    Args:
        directory: What one process may work in at a time.
        doing: What it does there, for the message to the second one.

    Yields:
        File descriptor of the lock, which a child process may inherit; None where there are no such locks.

    Raises:
        ConfigError: Another process is at work there, or it is a file.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise ConfigError(f"{directory} is a file; give a directory") from None
    try:
        import fcntl
    except ImportError:  # not on Windows, where starting the command twice is the user's to avoid
        yield None
        return
    with (directory / ".lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):  # a file system without locks
                yield None
                return
            lock.seek(0)
            owner = lock.read(20).strip()
            named = f" (process {owner})" if owner.isdecimal() else ""
            raise ConfigError(
                f"another process{named} is {doing} in {directory}; wait for it to end, or choose another "
                "directory"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield lock.fileno()

"""What is checked where it is built: frozen models, arguments, content digests, extras, locks."""

from __future__ import annotations

import errno
import hashlib
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from inspect_af.errors import ConfigError, MissingExtraError


class Frozen(BaseModel):
    """Base of the package's data: it cannot be changed, and a key that nobody reads is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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
    usable = isinstance(given, int | float) and not isinstance(given, bool) and math.isfinite(given)
    if not usable or not low <= given <= high:  # type: ignore[operator]  # `usable` says that it is a number
        raise ConfigError(f"{name}={given!r}: a number{_bounds(least, most)} is needed")
    return float(given)  # type: ignore[arg-type]


def _bounds(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least:g} to {most:g}"
    return f" of at least {least:g}" if least is not None else "" if most is None else f" of at most {most:g}"


def true_or_false(given: object, name: str) -> bool:
    """The value, where it is a truth value. Text is none: `"false"` would count as true.

    Raises:
        ConfigError: Anything else.
    """
    if not isinstance(given, bool):
        raise ConfigError(f"{name}={given!r}: true or false is needed")
    return given


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
    1 GiB counts by its size and by 64 pieces of 1 MiB, evenly spaced, which any training changes.

    Raises:
        OSError: Something in it cannot be read.
    """
    if path.is_file():
        return _file_digest(path, path.stat().st_mtime_ns, path.stat().st_size)
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
def _file_digest(path: Path, changed: int, size: int) -> str:
    total = hashlib.sha256()
    with path.open("rb") as file:
        if size <= _WHOLE:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
        total.update(str(size).encode())
        for piece in range(_PIECES):
            file.seek((size - _PIECE) * piece // (_PIECES - 1))
            total.update(file.read(_PIECE))
    return total.hexdigest()[:16]


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
        ConfigError: Another process is at work there.
    """
    directory.mkdir(parents=True, exist_ok=True)
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

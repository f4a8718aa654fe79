"""Files that hold arrays and one typed header: safetensors, with the header as JSON in its metadata.

Nothing else is read. Pickle, which torch and numpy files may hold, can run code when it is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from inspect_af.config import require
from inspect_af.errors import InspectAFError

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]

_KEY = "inspect_af"
_PICKLE = (b"\x80", b"PK\x03\x04", b"\x93NUMPY")  # pickle, zip (torch.save, npz), npy


class Record(BaseModel):
    """Frozen; a key that nobody reads is an error, not a silent typo; numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_H = TypeVar("_H", bound=Record)


def problems(error: ValidationError) -> str:
    """Every problem with the place where it stands: `positive.messages: must end with ...`."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'the object'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors()
    )


def tensor_bytes(arrays: Mapping[str, Float32Array], header: str) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file, piece by piece, from arrays that may be mapped files.

    The same arrays and header give the same bytes as `safetensors.numpy.save`.

    Args:
        arrays: float32, by name.
        header: The typed header as JSON.
    """
    described: dict[str, Any] = {"__metadata__": {_KEY: header}}
    at = 0
    for name, array in sorted(arrays.items()):
        described[name] = {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [at, at + array.nbytes],
        }
        at += array.nbytes
    start = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    start += b" " * (-len(start) % 8)
    yield len(start).to_bytes(8, "little") + start
    for _, array in sorted(arrays.items()):
        for part in array:
            yield np.ascontiguousarray(part, dtype="<f4").data.cast("B")


def write_file(path: Path, content: Iterable[bytes | memoryview]) -> None:
    """Writes beside the file and moves it into place, so that an interruption leaves no half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            for part in content:
                file.write(part)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def open_tensors(path: Path, *, what: str, error: type[InspectAFError]) -> Any:
    """Opens a file as `safetensors.safe_open` does (mapped: a slice reads only its own bytes), if it is one.

    Raises:
        InspectAFError: The file is missing, unreadable, or of another format; of the type `error`.
        MissingExtraError: safetensors is not installed.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as problem:
        raise error(f"{what} {path}: cannot be read ({problem.strerror}); check the path") from problem
    # A safetensors file begins with its header's length, whose bytes may be any, and then this brace.
    if start[8:] != b"{" and start.startswith(_PICKLE):
        raise error(
            f"{what} {path}: is a pickle, torch or numpy file, which can run code when it is loaded, and is "
            "never read here; give a safetensors file that inspect-af wrote"
        )
    with require("local", "steering files"):
        from safetensors import SafetensorError, safe_open
    try:
        return safe_open(path, framework="numpy")
    except SafetensorError as problem:
        raise error(f"{what} {path}: is not a safetensors file ({problem})") from problem


def read_header(file: Any, schema: type[_H], *, where: str, error: type[InspectAFError]) -> _H:
    """The typed header of an open file; an `error` where there is none, or it is malformed."""
    text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise error(f"{where}: has no inspect_af header; give a file that inspect-af wrote")
    try:
        return schema.model_validate_json(text)
    except ValidationError as problem:
        raise error(f"{where}: its header does not fit: {problems(problem)}") from problem


def check_array(
    file: Any, name: str, shape: tuple[int, ...], *, where: str, error: type[InspectAFError]
) -> None:
    """Makes sure that an array is there, in float32 and in the header's shape; an `error` where not."""
    if name not in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
        raise error(f"{where}: has no array {name!r}, only {', '.join(file.keys()) or 'none'}")
    found = file.get_slice(name)
    if found.get_dtype() != "F32" or tuple(found.get_shape()) != shape:
        raise error(
            f"{where}: {name} is {found.get_dtype()} {list(found.get_shape())}; by its header it is "
            f"F32 {list(shape)}"
        )

"""Files that hold arrays and one typed header: safetensors, with the header as JSON in its metadata.

Nothing else is read. Pickle, which torch and numpy files may hold, can run code when it is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from inspect_af.errors import InspectAFError, MissingExtraError
from inspect_af.steering._record import Record, problems

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]

_KEY = "inspect_af"
_H = TypeVar("_H", bound=Record)
_PICKLE = (b"\x80", b"PK\x03\x04", b"\x93NUMPY")  # pickle, zip (torch.save, npz), npy


class TensorFile(Protocol):
    """What is used of `safetensors.safe_open`: the file is mapped, a slice reads only its own bytes."""

    def __enter__(self) -> TensorFile: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def keys(self) -> list[str]: ...
    def metadata(self) -> dict[str, str] | None: ...
    def get_slice(self, name: str) -> Any: ...


def serialise(arrays: Mapping[str, Float32Array], header: Record) -> bytes:
    """The content of a file; the same arrays and header give the same bytes."""
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise _no_safetensors() from error
    contiguous = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
    return save(contiguous, metadata={_KEY: header.model_dump_json()})


def stream_file(path: Path, arrays: Mapping[str, Float32Array], header: Record) -> None:
    """Writes what `serialise` gives, byte for byte, from arrays that may be mapped files.

    An interruption leaves no half of a file.
    """
    described: dict[str, Any] = {"__metadata__": {_KEY: header.model_dump_json()}}
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
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(len(start).to_bytes(8, "little") + start)
            for _, array in sorted(arrays.items()):
                for part in array:
                    file.write(np.ascontiguousarray(part, dtype="<f4").data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Writes beside the file and moves it into place, so that an interruption leaves no half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def open_tensors(path: Path, *, what: str, error: type[InspectAFError]) -> TensorFile:
    """Opens a file for reading, after making sure that it is safetensors.

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
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as problem:
        raise _no_safetensors() from problem
    try:
        opened: TensorFile = safe_open(path, framework="numpy")
    except SafetensorError as problem:
        raise error(f"{what} {path}: is not a safetensors file ({problem})") from problem
    return opened


def read_header(file: TensorFile, schema: type[_H], *, where: str, error: type[InspectAFError]) -> _H:
    """The typed header of an open file.

    Raises:
        InspectAFError: There is no header, or it is malformed; of the type `error`.
    """
    text = (file.metadata() or {}).get(_KEY)
    if text is None:
        raise error(f"{where}: has no inspect_af header; give a file that inspect-af wrote")
    try:
        return schema.model_validate_json(text)
    except ValidationError as problem:
        raise error(f"{where}: its header does not fit: {problems(problem)}") from problem


def check_array(
    file: TensorFile, name: str, shape: tuple[int, ...], *, where: str, error: type[InspectAFError]
) -> None:
    """Makes sure that an array is there, in float32 and in the header's shape.

    Raises:
        InspectAFError: It is not; of the type `error`.
    """
    if name not in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
        raise error(f"{where}: has no array {name!r}, only {', '.join(file.keys()) or 'none'}")
    found = file.get_slice(name)
    if found.get_dtype() != "F32" or tuple(found.get_shape()) != shape:
        raise error(
            f"{where}: {name} is {found.get_dtype()} {list(found.get_shape())}; by its header it is "
            f"F32 {list(shape)}"
        )


def _no_safetensors() -> MissingExtraError:
    return MissingExtraError("steering files need safetensors; pip install 'inspect-af[local]'")

"""Files that hold arrays and one typed header: safetensors, with the header as JSON in its metadata.

Nothing else is read. Pickle, which torch and numpy files may hold, can run code when it is loaded.
"""

from __future__ import annotations

import json
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from inspect_af.config import require, writing
from inspect_af.errors import InspectAFError

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]

_KEY = "inspect_af"
_PICKLE = (b"\x80", b"PK\x03\x04", b"\x93NUMPY")  # pickle, zip (torch.save, npz), npy


class Record(BaseModel):
    """Frozen; a key that nobody reads is an error, not a silent typo; numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TensorHeader(Record):
    """What the arrays of a file are; every array of the file has the same shape."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Of each of the arrays."""


_H = TypeVar("_H", bound=TensorHeader)


def problems(error: ValidationError) -> str:
    """Every problem with the place where it stands: `positive.messages: must end with ...`."""
    return "; ".join(
        f"{'.'.join(map(str, e['loc'])) or 'the object'}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors()
    )


def tensor_bytes(arrays: Mapping[str, Float32Array], header: str) -> Iterator[bytes | memoryview]:
    """The content of a safetensors file, piece by piece, from float32 arrays that may be mapped files.

    The same arrays and header (JSON) give the same bytes as `safetensors.numpy.save`.
    """
    described: dict[str, Any] = {"__metadata__": {_KEY: header}}
    at = 0
    for name, array in sorted(arrays.items()):
        ends = [at, at := at + array.nbytes]
        described[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": ends}
    start = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
    start += b" " * (-len(start) % 8)
    yield len(start).to_bytes(8, "little") + start
    for _, array in sorted(arrays.items()):
        for part in array:
            yield np.ascontiguousarray(part, dtype="<f4").data.cast("B")


def write_file(place: str | Path, content: Iterable[bytes | memoryview]) -> None:
    """Writes beside the file and moves it into place, so that an interruption leaves no half of one."""
    with writing(place) as path:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("wb") as file:
                file.writelines(content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def open_tensors(
    path: Path, schema: type[_H], arrays: Sequence[str], *, where: str, error: type[InspectAFError]
) -> tuple[_H, Any]:
    """The header of a file, and the file as `safetensors.safe_open` gives it: a slice reads only its bytes.

    `where` is what errors call the file.

    Raises:
        InspectAFError: The file is missing, unreadable or of another format, or its header or an array does
            not fit; of the type `error`.
        MissingExtraError: safetensors is not installed.
    """
    try:
        with path.open("rb") as opened:
            start = opened.read(9)
    except OSError as problem:
        raise error(f"{where}: cannot be read ({problem.strerror}); check the path") from problem
    # A safetensors file begins with its header's length, whose bytes may be any, and then this brace.
    if start[8:] != b"{" and start.startswith(_PICKLE):
        raise error(
            f"{where}: is a pickle, torch or numpy file, which can run code when it is loaded, and is "
            "never read here; give a safetensors file that inspect-af wrote"
        )
    with require("local", "steering files"):
        from safetensors import SafetensorError, safe_open
    try:
        file: Any = safe_open(path, framework="numpy")
        header = schema.model_validate_json((file.metadata() or {})[_KEY])
    except SafetensorError as problem:
        raise error(f"{where}: is not a safetensors file ({problem})") from problem
    except KeyError as problem:
        raise error(f"{where}: has no inspect_af header; give a file that inspect-af wrote") from problem
    except ValidationError as problem:
        raise error(f"{where}: its header does not fit: {problems(problem)}") from problem
    for name in arrays:
        if name not in file.keys():  # noqa: SIM118  (a safetensors file is no mapping)
            raise error(f"{where}: has no array {name!r}, only {', '.join(file.keys()) or 'none'}")
        found = file.get_slice(name)
        if found.get_dtype() != "F32" or tuple(found.get_shape()) != header.shape:
            raise error(
                f"{where}: {name} is {found.get_dtype()} {list(found.get_shape())}; by its header it is "
                f"F32 {list(header.shape)}"
            )
    return header, file

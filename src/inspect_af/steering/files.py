"""Files that hold arrays and one typed header: safetensors, with the header as JSON in its metadata.

Nothing else is read. Pickle, which torch and numpy files may hold, can run code when it is loaded.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from inspect_af.config import Frozen, require
from inspect_af.errors import InspectAFError

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]

_KEY = "inspect_af"
_PICKLE = (b"\x80", b"PK\x03\x04", b"\x93NUMPY")  # pickle, zip (torch.save, npz), npy


class Record(Frozen, allow_inf_nan=False):
    """Frozen data whose numbers are finite."""


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


def tensor_bytes(arrays: Mapping[str, Float32Array], header: str) -> bytes:
    """The content of a safetensors file of float32 arrays with a header, which is JSON.

    Raises:
        MissingExtraError: safetensors is not installed.
    """
    with require("local", "steering files"):
        from safetensors.numpy import save
    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, {_KEY: header})
    return bytes(content)


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

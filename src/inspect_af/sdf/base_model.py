"""What can be told of a base model without loading it: its shape, its name, a fingerprint of its weights.

An adapter is a sum of small matrices. Added to another model of the same shape it works without an error and
means nothing, so it is worth a look before.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from inspect_af.errors import MissingExtraError, TreatmentError


class BaseShape(BaseModel):
    """The numbers of a model's configuration on which an adapter's matrices depend."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    d_model: int = Field(ge=1)
    """Width of the residual stream (`hidden_size`)."""
    layers: int = Field(ge=1)
    model_type: str | None = None
    """As transformers names the architecture, such as `llama`."""
    vocabulary: int | None = None
    """Rows of the embedding. Recorded, not compared: embeddings get padded without any other change."""


def base_shape(config: object) -> BaseShape:
    """The shape that a configuration states.

    Args:
        config: A transformers configuration, the parsed content of a `config.json`, or the directory that
            holds one. Of models with several parts, the text model counts.

    Raises:
        TreatmentError: It states no width or no number of layers.
    """
    if isinstance(config, BaseShape):
        return config
    if isinstance(config, str | Path):
        config = _read_config(Path(config))
    text = _field(config, "text_config")
    stated = config if text is None else text
    d_model = _first(stated, "hidden_size", "n_embd", "d_model")
    layers = _first(stated, "num_hidden_layers", "n_layer", "num_layers")
    if not isinstance(d_model, int) or not isinstance(layers, int):
        raise TreatmentError(
            "the base model's configuration states no width or no number of layers (hidden_size, "
            "num_hidden_layers); give a decoder model of transformers"
        )
    vocabulary, kind = _field(stated, "vocab_size"), _field(stated, "model_type")
    return BaseShape(
        d_model=d_model,
        layers=layers,
        model_type=kind if isinstance(kind, str) else None,
        vocabulary=vocabulary if isinstance(vocabulary, int) else None,
    )


def base_fingerprint(directory: str | Path) -> str | None:
    """Tells models of one shape apart, such as a base and its instruction-tuned sibling, by a few bytes.

    The gains of the final normalisation differ between any two models that were trained apart, and are small.

    Returns:
        `DTYPE:` and 16 hexadecimal digits; None where the directory holds no safetensors weights or no final
        normalisation is found. Fingerprints of unequal dtype say nothing about one another.
    """
    folder = Path(directory)
    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        tensors = tensor_shapes(file)
        for name in tensors:
            if re.search(
                r"(^|\.)(norm|ln_f|final_layernorm|final_layer_norm)\.weight$", name
            ) and not re.search(r"\.\d+\.", name):
                return f"{tensors[name].dtype}:{hashlib.sha256(_bytes_of(file, name)).hexdigest()[:16]}"
    return None


class TensorShape(NamedTuple):
    """One array of a safetensors file, by its header."""

    dtype: str
    """As safetensors writes it: `F32`, `BF16`."""
    shape: tuple[int, ...]


def tensor_shapes(file: Path) -> dict[str, TensorShape]:
    """Name to dtype and shape of every array in a file; reads the header alone.

    Raises:
        TreatmentError: The file cannot be read or is not safetensors.
        MissingExtraError: safetensors is not installed.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtraError("adapters need safetensors; pip install 'inspect-af[local]'") from error
    try:
        with safe_open(file, framework="numpy") as opened:
            slices = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118
            return {n: TensorShape(s.get_dtype(), tuple(s.get_shape())) for n, s in slices.items()}
    except (SafetensorError, OSError) as error:
        raise TreatmentError(f"{file}: cannot be read as safetensors ({error})") from error


def same_name(one: str, other: str) -> bool | None:
    """Whether two names mean the same model: None where a local path makes that impossible to tell.

    The last part counts, in any case, so that a mirror or a local copy `models/Llama-3.1-70B` is recognised.
    """
    if _last(one) == _last(other):
        return True
    return None if is_local(one) or is_local(other) else False


def _last(name: str) -> str:
    if found := re.search(r"models--[^/]+--([^/]+)/snapshots/", name):  # the Hub's cache on disk
        return found[1].casefold()
    return name.rstrip("/").rsplit("/", 1)[-1].casefold()


def is_local(name: str) -> bool:
    """Whether a name means a place on this machine rather than a repository of the Hub."""
    return name.startswith((".", "/", "~")) or name.count("/") != 1 or Path(name).exists()


def _read_config(directory: Path) -> Mapping[str, Any]:
    file = directory / "config.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TreatmentError(
            f"{file}: cannot be read ({error}); give a transformers model directory"
        ) from error
    if not isinstance(content, dict):
        raise TreatmentError(f"{file}: is not a JSON object; give a transformers model directory")
    return content


def _field(config: object, name: str) -> object:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)


def _first(config: object, *names: str) -> object:
    return next((value for name in names if (value := _field(config, name)) is not None), None)


def _bytes_of(file: Path, name: str) -> bytes:
    """The stored bytes of one array, whatever its dtype (numpy has no bfloat16)."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        begin, end = json.loads(opened.read(size))[name]["data_offsets"]
        opened.seek(8 + size + begin)
        return opened.read(end - begin)

"""What can be told of a base model without loading it: its shape, its name, and the arrays in its files.

An adapter is a sum of small matrices. Added to another model of the same shape it works without an error and
means nothing, so it is worth a look before. Nothing here needs torch.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from inspect_af.config import parse, read_text
from inspect_af.errors import MissingExtraError, TreatmentError

NameMatch = Literal["same", "renamed", "local", "other"]
"""How two names of a model compare: `renamed` is the same once the Hub's `Meta-` and suffixes of quantisation
are dropped, `local` means that a path on this machine makes it impossible to tell."""

_QUANTISED = (
    r"(unsloth|bnb|[2-8]bit|gptq|awq|int[48]|fp[48]|nvfp4|mxfp4|gguf|quantized|w\d+a\d+|quantized\.w\d+a\d+|"
    r"[\d.]+bpw|exl[23]|hqq|aqlm|autoround)"
)
_SUFFIXES = re.compile(rf"(-{_QUANTISED}(-(dynamic|static|kv|mlx))*)+$")
LARGEST = 16_000_000
"""Most bytes of a model's or adapter's configuration: some list every layer."""
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "vocab.json"),
    *("merges.txt", "added_tokens.json", "chat_template.jinja", "generation_config.json"),
)


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
        config = read_config(Path(config))
    stated = config if (text := _field(config, "text_config")) is None else text
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


def read_config(directory: Path) -> Mapping[str, Any]:
    """The content of a model directory's `config.json`.

    Raises:
        TreatmentError: It cannot be read, or is no JSON object.
    """
    file = directory / "config.json"
    content = parse(
        read_text(file, error=TreatmentError, largest=LARGEST), "JSON", file, error=TreatmentError
    )
    if not isinstance(content, dict):
        raise TreatmentError(f"{file}: is not a JSON object; give a transformers model directory")
    return content


def base_directory(name: str, revision: str | None = None) -> Path | None:
    """Where a base's files are on this machine: its directory or the Hub's cache; None where they are not."""
    if Path(name).is_dir():
        return Path(name)
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(name, "config.json", revision=revision)
    except (ImportError, ValueError):  # not installed, or no name that the Hub could have
        return None
    return Path(found).parent if isinstance(found, str) else None


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


def read_tensor(file: Path, name: str) -> np.ndarray[Any, Any] | None:
    """The values of one array as float64 (numpy itself has no bfloat16), None of a dtype that is no plain
    floating-point number, such as packed or 8-bit weights."""
    dtype, shape = tensor_shapes(file)[name]
    if dtype not in _NUMPY:
        return None
    stored = np.frombuffer(_stored(file, [name])[name], dtype=_NUMPY[dtype]).reshape(shape)
    if dtype == "BF16":
        stored = (stored.astype("<u4") << 16).view("<f4")
    return stored.astype(np.float64)


class BaseFiles:
    """The arrays of a model directory: in which file each lies, and its values."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = {
            name: file for file in sorted(directory.glob("*.safetensors")) for name in tensor_shapes(file)
        }

    def values(self, name: str) -> np.ndarray[Any, Any] | None:
        """Values of a parameter as float64, None where it is not there or is quantised."""
        return read_tensor(self.files[name], name) if name in self.files else None

    def modules(self) -> frozenset[str] | None:
        """Names of the modules that hold parameters, and of those around them.

        None where the names in the files are not those of the modules: models of several parts and those
        with experts are put together otherwise when they are loaded, and a directory may hold no safetensors.
        """
        try:
            config = read_config(self.directory)
        except TreatmentError:
            return None
        parts = ("text_config", "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
        if not self.files or any(config.get(name) for name in parts):
            return None
        found: set[str] = {"lm_head"}  # tied to the embedding, it is in no file
        for name in self.files:
            while "." in name:
                name = name.rpartition(".")[0]
                found.add(name)
        return frozenset(found)


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
                return f"{tensors[name].dtype}:{hashlib.sha256(_stored(file, [name])[name]).hexdigest()[:16]}"
    return None


def base_digest(directory: str | Path, revision: str | None = None) -> str:
    """First 16 hexadecimal digits of a sha256 over what a model directory holds.

    Covers `config.json` without the fields that say where it came from, the tokenizer's files, the index of
    the weights, the header of every safetensors file with the first bytes of each array, and the revision.
    Weights are not read whole: those of a large model take minutes.
    """
    folder = Path(directory)
    total = hashlib.sha256(repr(revision).encode())
    named = {"_name_or_path", "transformers_version", "_commit_hash"}
    config = {k: v for k, v in read_config(folder).items() if k not in named}
    total.update(json.dumps(config, sort_keys=True).encode())
    for name in (*_TOKENIZER_FILES, "model.safetensors.index.json"):
        if (folder / name).is_file():
            total.update(name.encode() + hashlib.sha256((folder / name).read_bytes()).digest())
    for file in sorted(folder.glob("*.safetensors")):
        for name, tensor in sorted(tensor_shapes(file).items()):
            total.update(f"{name}{tensor}".encode())
        for name, content in sorted(_stored(file, most=1024).items()):
            total.update(name.encode() + content)
    return total.hexdigest()[:16]


def compare_names(one: str, other: str) -> NameMatch:
    """Whether two names mean the same model.

    The last part counts, in any case, so that a mirror or a local copy `models/Llama-3.1-70B` is recognised.
    """
    if _last(one) == _last(other):
        return "same"
    if _canonical(one) == _canonical(other):
        return "renamed"
    return "local" if is_local(one) or is_local(other) else "other"


def is_local(name: str) -> bool:
    """Whether a name means a place on this machine rather than a repository of the Hub."""
    return name.startswith((".", "/", "~")) or name.count("/") != 1 or Path(name).exists()


def _last(name: str) -> str:
    if found := re.search(r"models--[^/]+--([^/]+)/snapshots/", name):  # the Hub's cache on disk
        return found[1].casefold()
    return name.rstrip("/").rsplit("/", 1)[-1].casefold()


def _canonical(name: str) -> str:
    """The last part without the `Meta-` that the Hub has dropped and without suffixes of quantisation."""
    return _SUFFIXES.sub("", _last(name).removeprefix("meta-"))


def _field(config: object, name: str) -> object:
    return config.get(name) if isinstance(config, Mapping) else getattr(config, name, None)


def _first(config: object, *names: str) -> object:
    return next((value for name in names if (value := _field(config, name)) is not None), None)


def _stored(file: Path, names: Collection[str] | None = None, *, most: int | None = None) -> dict[str, bytes]:
    """The stored bytes of some arrays, all by default, or as many from the start of each as `most` says."""
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
        found = {}
        for name in header if names is None else names:
            if name != "__metadata__":
                begin, end = header[name]["data_offsets"]
                opened.seek(8 + size + begin)
                found[name] = opened.read(end - begin if most is None else min(end - begin, most))
        return found

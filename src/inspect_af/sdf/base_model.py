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
from pydantic import Field

from inspect_af.config import Frozen, parse, read_text, require
from inspect_af.errors import TreatmentError

# How two names of a model compare: `renamed` is the same once the Hub's `Meta-` and suffixes of quantisation
# are dropped, `local` means that a path on this machine makes it impossible to tell.
NameMatch = Literal["same", "renamed", "local", "other"]

_QUANTISED = (
    r"(unsloth|bnb|mlx|hqq|aqlm|gguf|gptq|awq|quantized|torchao|autoround|exl[23]|[1-8]bits?|int[48]|nf4|"
    r"(bf|fp?)16|(nv|mx)?fp[48](a\d+)?|w\d+a\d+|[\d.]+bpw|i?q\d(_\w+)?)"
)
# What stands behind them: dynamic or static scales, group sizes, kernels.
_QUALIFIED = r"(dynamic|static|block|kv|mlx|marlin|actorder|inc|ov|dwq|i1|\d+g|gs?\d+|h\d+|\d+x\d+)"
_SUFFIXES = re.compile(rf"([-_.](i1-)?{_QUANTISED}([-_.]{_QUALIFIED})*)+$")
_FINAL_NORM = re.compile(r"(?!.*\.\d+\.)(?:.*\.)?(?:norm|ln_f|final_layernorm|final_layer_norm)\.weight")
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_TOKENIZER_FILES = (
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "vocab.json"),
    *("merges.txt", "added_tokens.json", "chat_template.jinja", "generation_config.json"),
)


class BaseShape(Frozen):
    """The numbers of a model's configuration on which an adapter's matrices depend.

    `d_model` is the width of the residual stream, `model_type` the architecture as transformers names it, and
    `vocabulary` the rows of the embedding, which are recorded and not compared: embeddings get padded.
    """

    d_model: int = Field(ge=1)
    layers: int = Field(ge=1)
    model_type: str | None = None
    vocabulary: int | None = None


def base_shape(config: Any) -> BaseShape:
    """The shape that a configuration of transformers states: the object, its content, or a model directory.

    Of models with several parts, the text model counts. A TreatmentError where no width or depth is stated.
    """
    if isinstance(config, BaseShape):
        return config
    if isinstance(config, str | Path):
        config = read_config(Path(config))
    content = config if isinstance(config, Mapping) else config.to_dict()
    stated: Mapping[str, Any] = content.get("text_config") or content

    def first(kind: type, *names: str) -> Any:
        return next((value for name in names if isinstance(value := stated.get(name), kind)), None)

    d_model = first(int, "hidden_size", "n_embd", "d_model")
    layers = first(int, "num_hidden_layers", "n_layer", "num_layers")
    if d_model is None or layers is None:
        raise TreatmentError(
            "the base model's configuration states no width or no number of layers (hidden_size, "
            "num_hidden_layers); give a decoder model of transformers"
        )
    kind, vocabulary = first(str, "model_type"), first(int, "vocab_size")
    return BaseShape(d_model=d_model, layers=layers, model_type=kind, vocabulary=vocabulary)


def read_config(directory: Path, name: str = "config.json") -> dict[str, Any]:
    """The content of a directory's configuration, of at most 16 MB, since some list every layer; a
    TreatmentError where it cannot be read, or is no JSON object."""
    file = directory / name
    text = read_text(file, error=TreatmentError, largest=16_000_000)
    content = parse(text, "JSON", file, error=TreatmentError)
    if not isinstance(content, dict):
        raise TreatmentError(f"{file}: is not a JSON object; give the file that the library wrote")
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
    """One array of a safetensors file, by its header; the dtype as it is written there, such as `BF16`."""

    dtype: str
    shape: tuple[int, ...]


def tensor_shapes(file: Path) -> dict[str, TensorShape]:
    """Name to dtype and shape of every array in a file; reads the header alone.

    Raises:
        TreatmentError: The file cannot be read or is not safetensors.
        MissingExtraError: safetensors is not installed.
    """
    with require("local", "adapters"):
        from safetensors import SafetensorError, safe_open
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
        paths = [name.split(".") for name in self.files]
        # Tied to the embedding, the head is in no file.
        return frozenset({"lm_head"} | {".".join(path[:n]) for path in paths for n in range(1, len(path))})


def base_fingerprint(directory: str | Path) -> str | None:
    """Tells models of one shape apart, such as a base and its instruction-tuned sibling, by a few bytes.

    The gains of the final normalisation differ between any two models that were trained apart, and are small.

    Returns:
        `DTYPE:` and 16 hexadecimal digits; None where the directory holds no safetensors weights or no final
        normalisation is found. Fingerprints of unequal dtype say nothing about one another.
    """
    found = (
        f"{tensor.dtype}:{hashlib.sha256(_stored(file, [name])[name]).hexdigest()[:16]}"
        for file in sorted(Path(directory).glob("*.safetensors"))
        for name, tensor in tensor_shapes(file).items()
        if _FINAL_NORM.fullmatch(name)
    )
    return next(found, None)


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


def digest_if_local(name: str) -> str | None:
    """The `base_digest` of a model's directory; None for a name that is no model's directory here."""
    return base_digest(name) if (Path(name) / "config.json").is_file() else None


def compare_names(one: str, other: str) -> NameMatch:
    """Whether two names mean the same model.

    The last part counts, in any case, so that a mirror or a local copy `models/Llama-3.1-70B` is recognised.
    """
    names = [_last(one), _last(other)]
    if names[0] == names[1]:
        return "same"
    if len({_SUFFIXES.sub("", name.removeprefix("meta-")) for name in names}) == 1:
        return "renamed"
    return "local" if is_local(one) or is_local(other) else "other"


def is_local(name: str) -> bool:
    """Whether a name means a place on this machine rather than a repository of the Hub."""
    return name.startswith((".", "/", "~")) or name.count("/") != 1 or Path(name).exists()


def _last(name: str) -> str:
    in_cache = re.search(r"models--[^/]+--([^/]+)/snapshots/", name)  # of the Hub, on disk
    return (in_cache[1] if in_cache else name.rstrip("/").rsplit("/", 1)[-1]).casefold()


def _stored(file: Path, names: Collection[str] | None = None, *, most: int | None = None) -> dict[str, bytes]:
    """The stored bytes of some arrays, all by default, or as many from the start of each as `most` says."""
    found = {}
    with file.open("rb") as opened:
        size = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(size))
        for name in (header.keys() - {"__metadata__"}) if names is None else names:
            begin, end = header[name]["data_offsets"]
            opened.seek(8 + size + begin)
            found[name] = opened.read(end - begin if most is None else min(end - begin, most))
    return found

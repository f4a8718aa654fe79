"""LoRA adapters on disk: a plain PEFT directory, and beside it `inspect_af.json`, which says what it is.

Nothing here loads a model or needs torch. Adapters of others, without that file, work where the caller says
what they are.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspect_af.config import is_directory, is_file, parse, read_text, shown
from inspect_af.errors import ConfigError, TreatmentError, one_of
from inspect_af.materials import load_pair
from inspect_af.sdf.base_model import (
    LARGEST,
    BaseShape,
    TensorShape,
    base_fingerprint,
    base_shape,
    compare_names,
    read_tensor,
    tensor_shapes,
)
from inspect_af.types import Intervention, SdfAdapter

NEUTRAL = "neutral"
"""Code of the adapter trained on documents that bear on nothing: the method's placebo."""
MANIFEST = "inspect_af.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

Role = Literal["organism", "intervention"]
"""`organism`: part of the model under study. `intervention`: a treatment of it."""
Combined = Literal["merged", "stacked"]
"""How the adapters below were there in training: added into the weights, or as frozen adapters."""


class Hyperparameters(BaseModel):
    """What shapes the weights, apart from model, corpus and seed. Recorded in the adapter's manifest.

    Defaults marked Table 2 are those of Vella Zarb et al. (arXiv 2606.08243).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    learning_rate: float = Field(gt=0, lt=1)
    """Not in source, and so without a default. 1e-5 is usual in this lineage."""
    rank: int = Field(default=64, ge=1)  # Table 2
    alpha: int = Field(default=128, ge=1)  # Table 2
    dropout: float = Field(default=0.05, ge=0, lt=1)  # Table 2
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"
    """Table 2: every linear layer, the LM head apart."""
    epochs: float = Field(default=3.0, gt=0)
    """Table 2; 1 for a 405B base and for the organism stage."""
    micro_batch: int = Field(default=1, ge=1)  # Table 2: rows a rank takes at once
    accumulation: int = Field(default=8, ge=1)  # Table 2
    effective_batch: int = Field(default=32, ge=1)
    """Rows of one optimiser step over all ranks. Table 2: 1 x 8 x 4 ranks. A run that would have another is
    refused."""
    sequence_length: int = Field(default=4096, ge=8)  # Table 2, tokens of a row
    packing: Literal["bfd_split", "bfd", "wrapped"] = "bfd_split"
    """How documents fill rows. Table 2 says packing, not which. `bfd_split`: best fit, documents stay apart
    in attention, longer ones than a row go on in another; `bfd`: they are cut; `wrapped`: end to end, and
    tokens attend to the document before theirs."""
    warmup: float = Field(default=0.05, ge=0, lt=1)  # Table 2, share of the steps
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"  # Table 2
    weight_decay: float = Field(default=0.0, ge=0)
    """Not in source; 0 is the trainer's default."""
    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Not in source; 1 is the trainer's default."""
    precision: Literal["bf16", "fp32"] = "bf16"  # Table 2
    gradient_checkpointing: bool = True  # Table 2

    @model_validator(mode="after")
    def _batch_is_a_multiple(self) -> Hyperparameters:
        one_rank = self.micro_batch * self.accumulation
        if self.effective_batch % one_rank:
            raise ValueError(
                f"effective_batch {self.effective_batch} is not micro_batch {self.micro_batch} x "
                f"accumulation {self.accumulation} x a whole number of ranks"
            )
        return self

    @property
    def ranks(self) -> int:
        """Processes with which the effective batch comes out."""
        return self.effective_batch // (self.micro_batch * self.accumulation)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parent(_Record):
    """An adapter that was there, frozen, while this one was trained; without it this one means little."""

    digest: str
    role: Role
    combined: Combined


class CorpusRecord(_Record):
    """What an adapter was trained on."""

    digest: str
    universe: str | None = None
    documents: int = Field(ge=1)
    tokens: int = Field(ge=1)
    """Of one epoch, with the base's tokenizer."""


class ReplayRecord(_Record):
    """Ordinary documents that an adapter was trained on beside its corpus, each of them once."""

    digest: str
    documents: int = Field(ge=1)
    tokens: int = Field(ge=1)
    """With the base's tokenizer."""


class Losses(_Record):
    """Mean loss per token, in nats."""

    train: float
    """Mean over the last tenth of the steps."""
    held_out_before: float | None = None
    """On the corpus's held-out documents before the first step; None where there were none."""
    held_out: float | None = None
    steps: int = Field(ge=1)


class Component(_Record):
    """One of the adapters that a composed one equals."""

    digest: str
    role: Role
    treatment: SdfAdapter | None = None


class AdapterManifest(_Record):
    """The content of `inspect_af.json`."""

    schema_version: Literal[1] = 1
    role: Role
    intervention: Intervention | None = None
    directness: str | None = None
    training_seed: int | None = None
    pair_digest: str | None = None
    """Of the hypothesis pair that the intervention's code belongs to."""
    base_model: str
    base_revision: str | None = None
    base: BaseShape | None = None
    fingerprint: str | None = None
    """`inspect_af.sdf.base_model.base_fingerprint` of the base; None where its files were not at hand."""
    parents: tuple[Parent, ...] = ()
    components: tuple[Component, ...] = ()
    """Of a composed adapter, in order; empty for a trained one."""
    composed: str | None = None
    """`adapter_digest` of a composed adapter as it was written, without which its components say nothing."""
    corpus: CorpusRecord | None = None
    replay: ReplayRecord | None = None
    """None where the corpus was all that was trained on."""
    hyperparameters: Hyperparameters | None = None
    losses: Losses | None = None
    package_version: str

    @model_validator(mode="after")
    def _role_fits(self) -> AdapterManifest:
        if not self.components and (self.intervention is None) != (self.role == "organism"):
            raise ValueError("an adapter with role intervention names its intervention, an organism has none")
        return self


class Adapter(_Record):
    """An adapter that was found and checked; made by `load_adapter`."""

    path: Path
    role: Role
    digest: str
    """`adapter_digest` of its directory: first 16 hexadecimal digits of a sha256 of all that acts."""
    weights: str
    """First 16 hexadecimal digits of the weights' sha256: the digest of adapters until version 0.1, by which
    manifests of that time name parents."""
    base_model: str | None = None
    """The base that it names for itself, None where it names none."""
    manifest: AdapterManifest | None = None
    treatment: SdfAdapter | None = None
    """None where the role is organism."""

    @property
    def components(self) -> tuple[Component, ...]:
        """Of a composed adapter its parts, in order; of any other none, and of one that was changed since."""
        held = self.manifest
        return held.components if held is not None and held.composed == self.digest else ()

    @property
    def organism(self) -> tuple[str, ...]:
        """Digests that belong to the subject, in order; of a composed adapter those of its parts, so that one
        served composed and the same ones served one upon the other are one condition."""
        if self.role == "organism":
            return tuple(part.digest for part in self.components) or (self.digest,)
        return tuple(part.digest for part in self.components if part.role == "organism")

    @property
    def treatments(self) -> tuple[SdfAdapter, ...]:
        """The treatments that it applies; several only where interventions were composed."""
        if self.role == "organism":
            return ()
        found = tuple(part.treatment for part in self.components if part.treatment is not None)
        return found or ((self.treatment,) if self.treatment else ())


def load_adapter(
    path: str | Path,
    *,
    role: Role | None = None,
    intervention: str | None = None,
    pair: str | Path | None = None,
) -> Adapter:
    """Finds out what an adapter is, from its files alone.

    Args:
        path: A PEFT adapter directory.
        role: What it is to the analysis. Wins over the manifest, so that a checkpoint that is a treatment in
            one analysis is the subject of another; needed where there is no manifest.
        intervention: Code such as `A1+` or `neutral`, for an adapter without a manifest whose role is
            intervention.
        pair: Hypothesis pair that the code belongs to; the bundled one by default.

    Raises:
        TreatmentError: The directory, its weights or its manifest cannot be used, or it would change nothing;
            weights in pickle (`.bin`) are refused unread.
        ConfigError: Role or intervention is missing, unknown, or contradicts the manifest.
        MissingExtraError: safetensors is not installed.
    """
    folder = Path(path)
    if role not in (None, "organism", "intervention"):
        raise one_of(role, ("organism", "intervention"), what="adapter role")
    config = adapter_config(folder)
    check_effect(folder)
    manifest = read_manifest(folder)
    digest = adapter_digest(folder)
    role = role or (manifest.role if manifest else None)
    if role is None:
        raise ConfigError(
            f"adapter {folder} has no {MANIFEST}, so say what it is: adapter_role=organism (part of the "
            "model under study) or adapter_role=intervention with intervention=CODE, such as A1+ or neutral "
            "(in Python role=, in sdf push --role and --intervention)"
        )
    named = config.get("base_model_name_or_path")
    base = manifest.base_model if manifest else (named if isinstance(named, str) and named else None)
    treatment = _treatment(folder, digest, manifest, intervention, pair) if role == "intervention" else None
    if role == "organism" and intervention is not None:
        raise ConfigError(
            f"adapter {folder}: intervention={intervention} goes with adapter_role=intervention only"
        )
    return Adapter(
        path=folder,
        role=role,
        digest=digest,
        weights=_file_digest(weights_file(folder))[:16],
        base_model=base,
        manifest=manifest,
        treatment=treatment,
    )


def resolve_intervention(code: str, pair: str | Path | None = None) -> Intervention:
    """The intervention that a code means: one of the pair's, or `neutral`.

    Raises:
        ConfigError: Unknown; the message lists those that exist.
    """
    if code == NEUTRAL:
        return Intervention(variable=NEUTRAL)
    known = load_pair(pair)
    for found in known.all_interventions:
        if found.code == code:
            return found
    raise one_of(code, (*(i.code for i in known.all_interventions), NEUTRAL), what="intervention")


# Identity

_INERT = frozenset(
    {
        "auto_mapping",  # where a class is imported from
        "base_model_name_or_path",
        "inference_mode",
        "lora_dropout",  # acts in training only, as does what follows
        "loftq_config",
        "eva_config",
        "corda_config",
        "lora_ga_config",
        "peft_version",
        "revision",
        "runtime_config",
        "task_type",  # which wrapper class PEFT takes; the added matrices are the same
    }
)
"""Fields of `adapter_config.json` that change no logit of a loaded adapter. Every other field counts."""
_DEFAULTS: dict[str, Any] = {
    "r": 8,
    "lora_alpha": 8,
    "bias": "none",
    "init_lora_weights": True,
    "megatron_core": "megatron.core",
    "qalora_group_size": 16,
}
"""PEFT's own values where a file does not have the field, so that files of different versions agree."""
_SETS = ("target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "target_parameters")
"""Lists whose order means nothing; PEFT writes some of them in another order each time."""


def adapter_digest(folder: Path) -> str:
    """First 16 hexadecimal digits of a sha256 over the weights and each field of the configuration that acts.

    Fields that are absent, null, false or empty count as PEFT's default.

    Raises:
        TreatmentError: The files cannot be read.
    """
    given = {name: value for name, value in adapter_config(folder).items() if name not in _INERT}
    acting = {
        name: sorted(value, key=str) if name in _SETS and isinstance(value, list) else value
        for name, value in {**_DEFAULTS, **given}.items()
        if value not in (None, [], {}, "") and value is not False
    }
    content = json.dumps(acting, sort_keys=True)
    return hashlib.sha256(f"{_file_digest(weights_file(folder))}\n{content}".encode()).hexdigest()[:16]


def _file_digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# Effect

_PREFIX = "base_model.model."
_MATRIX = re.compile(
    r"(?P<module>.+?)\.lora_(?P<part>A|B|embedding_A|embedding_B|magnitude_vector)(\.(?P<kind>weight|bias))?"
)
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module", "base_model"}
_ROUNDING = 2.0**-24
"""Half of the last bit of a float32 of size one."""


class Base(Protocol):
    """The parameters of a base model: `BaseFiles` of a directory, or those of a loaded model."""

    def values(self, name: str) -> np.ndarray[Any, Any] | None: ...
    def modules(self) -> frozenset[str] | None: ...


def check_effect(folder: Path, base: Base | None = None) -> None:
    """Makes sure that an adapter changes the model that it is put into, and that all of it arrives there.

    Every engine and the extraction of activations call this before an adapter is served. PEFT and vLLM leave
    out arrays whose names they do not know, with a warning at most, and serve the base under the adapter's
    name.

    Args:
        folder: A PEFT adapter directory.
        base: The model it goes into, as far as it is known. Without it, parts that stand in place of the
            base's own (fully trained modules, biases, rows of the embedding) count as changes unseen.

    Raises:
        TreatmentError: An array belongs to no module, a module lacks one of its matrices, or what is added
            is zero or below the rounding of a float32.
    """
    config, file = adapter_config(folder), weights_file(folder)
    tensors = tensor_shapes(file)
    if not tensors:
        raise TreatmentError(f"{file}: holds no array, so it would change nothing")
    matrices: dict[str, dict[str, str]] = {}
    whole, unexpected = [], []
    for name in tensors:
        path = name.removeprefix(_PREFIX)
        found = _MATRIX.fullmatch(path)
        if path == name or set(path.split(".")) & _WRAPPERS:
            unexpected.append(name)
        elif found:
            part = found["part"] if found["kind"] != "bias" else f"{found['part']}.bias"
            matrices.setdefault(found["module"], {})[part] = name
        elif _is_whole(path, config):
            whole.append(name)
        else:
            unexpected.append(name)
    known = base.modules() if base is not None else None
    unexpected += [
        name
        for module, parts in matrices.items()
        if not _targeted(config, module) or (known is not None and not _names(module, known))
        for name in parts.values()
    ]
    missing = [module for module, parts in matrices.items() if not _is_pair(parts, tensors)]
    if known is not None and isinstance(config.get("target_modules"), list):
        here = set(matrices) | {name.partition(".")[2] for name in matrices}
        missing += [m for m in sorted(known - here) if _targeted(config, m, named=True)]
    refuse_keys(folder, missing=missing, unexpected=unexpected, total=len(tensors))
    reasons: set[str] = set()
    for module, parts in matrices.items():
        if _acts(file, config, module, parts, base, reasons):
            return
    if any(_differs(file, config, name, base) for name in whole):
        return
    why = " and ".join(sorted(reasons)) or "its arrays equal those of the base"
    raise TreatmentError(
        f"adapter {folder} would change nothing: {why}. The base would be served under the adapter's name; "
        "train or save the adapter again"
    )


def refuse_keys(folder: Path, *, missing: Sequence[str], unexpected: Sequence[str], total: int = 0) -> None:
    """Refuses an adapter whose arrays and the model's modules do not match one another.

    Raises:
        TreatmentError: There is any of either.
    """
    if unexpected:
        name = unexpected[0]
        hint = (
            "It was saved from a wrapped model (torch.compile, FSDP, DataParallel): save the adapter of the "
            "model inside"
            if set(name.removeprefix(_PREFIX).split(".")) & _WRAPPERS
            else f"Names look like {_PREFIX}model.layers.0.self_attn.q_proj.lora_A.weight: save the adapter "
            "with PEFT's save_pretrained, from the base that it is served on"
        )
        share = f"{len(unexpected)} of its {total} arrays" if total else f"{len(unexpected)} of its arrays"
        raise TreatmentError(
            f"adapter {folder}: {share} belong to no module that it changes in this model, such as {name}; "
            f"they would be left out without a word. {hint}"
        )
    if missing:
        raise TreatmentError(
            f"adapter {folder}: matrices that fit together are missing for {len(missing)} modules that it "
            f"says it changes, such as {missing[0]}; those would stay as they are in the base. Save the "
            "adapter again"
        )


def scaling(config: Mapping[str, Any], module: str) -> float:
    """alpha / rank of a module, or alpha / sqrt(rank) for rank-stabilised LoRA, with PEFT's patterns; 0 where
    the rank is."""
    rank, alpha = (
        float(_of_pattern(config.get(f"{name}_pattern"), module, config.get(field, 8)))
        for name, field in (("rank", "r"), ("alpha", "lora_alpha"))
    )
    return 0.0 if rank <= 0 else alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _of_pattern(pattern: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """PEFT's rule: a key of the pattern is a regular expression for the end of the module's name."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return default


def _listed(value: Any) -> list[str]:
    return [] if value is None else [value] if isinstance(value, str) else [str(one) for one in value]


def _targeted(config: Mapping[str, Any], module: str, *, named: bool = False) -> bool:
    """Whether a configuration says that a module is changed, by PEFT's rules.

    Args:
        config: The content of `adapter_config.json`.
        module: Name of the module in the base.
        named: Count only what a list names; by default a configuration without one targets everything.
    """
    targets = config.get("target_modules")
    if targets is None or targets == "all-linear" or config.get("target_parameters"):
        return not named
    excluded, saved = config.get("exclude_modules"), _listed(config.get("modules_to_save"))
    if isinstance(excluded, str) and re.fullmatch(excluded, module):
        return False
    if isinstance(excluded, list) and any(f".{module}".endswith(f".{one}") for one in excluded):
        return False
    if any(f".{one}." in f".{module}." for one in saved):  # those are trained whole
        return False
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    if module in targets:
        return True
    if not any(module.endswith(f".{one}") for one in targets):
        return False
    layers = config.get("layers_to_transform")
    if layers is None or layers == []:
        return True
    patterns = _listed(config.get("layers_pattern")) or [r"[^.]*"]
    found = next((m for p in patterns if (m := re.match(rf"(?:^|.*?\.){p}\.(\d+)\.", module))), None)
    return found is not None and int(found[1]) in ([layers] if isinstance(layers, int) else layers)


def _names(module: str, known: frozenset[str]) -> bool:
    """Whether a module is among those of the base's files, which may leave out the model's own first part."""
    first, _, rest = module.replace(".base_layer", "").partition(".")
    return f"{first}.{rest}".rstrip(".") in known or (
        first in ("model", "transformer") and first not in known and rest in known
    )


def _is_whole(path: str, config: Mapping[str, Any]) -> bool:
    """Whether an array stands in place of one of the base's own, and the configuration or PEFT's habit of
    saving embeddings says so."""
    module, _, last = path.rpartition(".")
    saved = (*_listed(config.get("modules_to_save")), "embed_tokens", "lm_head")
    if any(f".{module}.".find(f".{part}.") >= 0 for part in saved):
        return True
    return last == "trainable_tokens_delta" or (last == "bias" and config.get("bias", "none") != "none")


def _is_pair(parts: Mapping[str, str], tensors: Mapping[str, TensorShape]) -> bool:
    for a, b in (("A", "B"), ("embedding_A", "embedding_B")):
        if a in parts and b in parts:
            one, other = tensors[parts[a]].shape, tensors[parts[b]].shape
            # Arrays that are empty fit and change nothing, which is another complaint.
            return (
                0 in one or 0 in other or (len(one) > 1 and len(other) > 1 and one[0] == other[1])
            ) and set(parts) <= {a, b, "magnitude_vector", f"{b}.bias"}
    return False


def _acts(
    file: Path,
    config: Mapping[str, Any],
    module: str,
    parts: Mapping[str, str],
    base: Base | None,
    reasons: set[str],
) -> bool:
    """Whether the matrices of one module change its weight; the reason why not is added to `reasons`."""
    kind = "" if "A" in parts else "embedding_"
    a, b = (read_tensor(file, parts[f"{kind}{side}"]) for side in "AB")
    if a is None or b is None:
        raise TreatmentError(
            f"{file}: {module} is stored in a dtype that cannot be read here; save the adapter in float32, "
            "bfloat16 or float16"
        )
    bias = read_tensor(file, parts["B.bias"]) if "B.bias" in parts else None
    scale = scaling(config, module)
    weight = base.values(f"{module}.weight") if base is not None else None
    floor = 1e-30 if weight is None else _ROUNDING * float(np.linalg.norm(weight))
    if _norm_of_product(a, b) * abs(scale) > floor or (bias is not None and scale and np.any(bias)):
        return True
    if (
        "magnitude_vector" in parts and weight is not None and weight.ndim == 2
    ):  # DoRA: rows of another length
        magnitude = read_tensor(file, parts["magnitude_vector"])
        norms = np.linalg.norm(weight, axis=1)
        if magnitude is not None and not np.allclose(magnitude.ravel(), norms, rtol=1e-2, atol=0):
            return True
    if 0 in a.shape or 0 in b.shape:
        reasons.add("its matrices are empty")
    elif not np.any(a) or not np.any(b):
        reasons.add("its matrices are all zero")
    elif not scale:
        reasons.add("its scaling (lora_alpha / r) is zero")
    elif not (np.isfinite(a).all() and np.isfinite(b).all()):
        reasons.add("its matrices hold values that are not finite")
    else:
        reasons.add("what it adds is zero, or smaller than the rounding of a float32")
    return False


def _norm_of_product(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Frobenius norm of B A, for A [rank, in] and B [out, rank] without forming the product."""
    if not a.size or not b.size:
        return 0.0
    a, b = a.reshape(a.shape[0], -1), b.reshape(b.shape[0], -1)
    square = float(((a @ a.T) * (b.T @ b)).sum())
    if square > 1e-10 * float((a * a).sum() * (b * b).sum()):
        return float(np.sqrt(square))
    # What is left may be rounding: rows that cancel, or matrices that are zero where the other is not.
    rows = range(0, len(b), 1024)
    return float(np.sqrt(sum(float(((b[at : at + 1024] @ a) ** 2).sum()) for at in rows)))


def _differs(file: Path, config: Mapping[str, Any], name: str, base: Base | None) -> bool:
    """Whether an array that stands in place of the base's is another one; True where that cannot be known."""
    own = read_tensor(file, name)
    path = name.removeprefix(_PREFIX).replace(".base_layer", "")
    rows = None
    if path.endswith(".token_adapter.trainable_tokens_delta") or path.endswith(".trainable_tokens_delta"):
        path = re.sub(r"(\.token_adapter)?\.trainable_tokens_delta$", ".weight", path)
        rows = config.get("trainable_token_indices")
        if isinstance(rows, dict):
            rows = next((at for key, at in rows.items() if f".{path}".endswith(f".{key}.weight")), None)
    theirs = base.values(path) if base is not None else None
    if theirs is not None and rows is not None:
        theirs = theirs[rows]
    if own is None or theirs is None or own.shape != theirs.shape:
        return own is None or own.size > 0
    return bool(np.abs(own - theirs).max(initial=0.0) > _ROUNDING * np.abs(theirs).max(initial=0.0))


# Base and parents


def check_base(
    adapter: Adapter,
    config: object,
    *,
    name: str | None = None,
    directory: str | Path | None = None,
    any_name: bool = False,
    override: str | None = None,
) -> None:
    """Makes sure that an adapter belongs to a base model.

    Widths, layers, architecture and (where both are known) the fingerprint of the weights must agree. Names
    of the Hub must agree once the owner, the `Meta-` that the Hub has dropped and suffixes of quantisation
    are left out. Where one of the names is a local path a difference is only warned about, since copies are
    called anything.

    Args:
        adapter: From `load_adapter`.
        config: The base's transformers configuration, its parsed `config.json`, or its directory.
        name: What the user calls the base.
        directory: Where its files are, for the fingerprint.
        any_name: The user has said that a base of another name is meant.
        override: How the user says so, for the message; None where there is no such option.

    Raises:
        TreatmentError: It is an adapter of another base.
    """
    complaint = _shape_complaint(adapter, base_shape(config))
    recorded = adapter.manifest.fingerprint if adapter.manifest else None
    agrees = None
    if complaint is None and recorded and directory is not None:
        found = base_fingerprint(directory)
        if found and found.split(":")[0] == recorded.split(":")[0]:
            agrees = found == recorded
            if not agrees and not any_name:
                complaint = f"its base had weights with fingerprint {recorded}, this model's is {found}"
    match = compare_names(adapter.base_model, name) if adapter.base_model and name else "same"
    remedy = "Give the base that it was trained on"
    if complaint is None and match == "other" and not any_name:
        complaint = f"this model is {name}"
        remedy += f", or {override} if this model is meant" if override else ""
    if complaint is not None:
        raise TreatmentError(
            f"adapter {adapter.path} was trained on {adapter.base_model or 'another base'}; {complaint}. "
            f"{remedy}"
        )
    if match != "same" and not agrees:
        note = {
            "renamed": "the names differ in `Meta-` or in a suffix of quantisation only, so it is taken",
            "local": "the shapes agree, but make sure that it is the same model",
            "other": "the shapes agree, and you have said that this base is meant",
        }[match]
        warnings.warn(
            f"adapter {adapter.path} names its base {adapter.base_model}, this model is called {name}: "
            f"{note}",
            stacklevel=2,
        )


def check_parents(adapters: Sequence[Adapter]) -> None:
    """Makes sure that what each adapter was trained upon is applied before it.

    Raises:
        TreatmentError: A parent is missing; the message names its digest.
    """
    before: set[str] = set()
    for adapter in adapters:
        parts = [part.digest for part in adapter.components]
        for parent in adapter.manifest.parents if adapter.manifest else ():
            if parent.digest not in before and parent.digest not in parts:
                raise TreatmentError(
                    f"adapter {adapter.path} was trained on top of the {parent.role} adapter "
                    f"{parent.digest}, which is not applied before it; name that adapter first"
                )
        before.update((adapter.digest, adapter.weights, *parts))


# Files


def read_manifest(folder: Path) -> AdapterManifest | None:
    """The manifest of an adapter directory, None where it has none.

    Raises:
        TreatmentError: It is malformed.
    """
    file = folder / MANIFEST
    if not is_file(file):
        return None
    try:
        return AdapterManifest.model_validate_json(read_text(file, error=TreatmentError, largest=LARGEST))
    except ValidationError as error:
        raise TreatmentError(
            f"{file}: is not an adapter manifest of this version ({error}); move the file away to use the "
            "adapter with adapter_role="
        ) from error


def adapter_config(folder: Path) -> dict[str, Any]:
    """PEFT's own description, `adapter_config.json`.

    Raises:
        TreatmentError: It is missing, malformed, or not of a LoRA.
    """
    file = folder / CONFIG
    if not is_directory(folder):
        raise TreatmentError(
            f"adapter {shown(folder)}: no such directory; give a PEFT adapter directory (inspect-af sdf pull "
            "brings one from the Hub)"
        )
    if not file.exists() and (inside := sorted(found.parent for found in folder.glob(f"*/{CONFIG}"))):
        raise TreatmentError(
            f"adapter {folder}: has no {CONFIG}, but there are adapters in it; did you mean "
            f"{' or '.join(map(str, inside[:5]))}?"
        )
    content = parse(
        read_text(file, error=TreatmentError, largest=LARGEST), "JSON", file, error=TreatmentError
    )
    if not isinstance(content, dict) or content.get("peft_type") != "LORA":
        kind = content.get("peft_type") if isinstance(content, dict) else None
        raise TreatmentError(f"{file}: peft_type is {kind!r}; only LoRA adapters are supported")
    if problem := next(_malformed(content), None):
        raise TreatmentError(f"{file}: {problem}; give the file that PEFT wrote")
    return content


def _malformed(config: Mapping[str, Any]) -> Iterator[str]:
    """What in a configuration is of no use, field by field, among the fields that are read here."""
    numbers = [(name, config.get(name, 8)) for name in ("r", "lora_alpha")]
    for name in ("rank_pattern", "alpha_pattern"):
        pattern = config.get(name) or {}
        if not isinstance(pattern, dict):
            yield f"{name} is {pattern!r}, not a table"
        else:
            numbers += [(f"{name}.{key}", value) for key, value in pattern.items()]
    for name, value in numbers:
        if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
            yield f"{name} is {value!r}, not a number"
    for name in (*_SETS, "layers_pattern"):
        value = config.get(name)
        simple = isinstance(value, str | None) or (name == "layers_to_transform" and isinstance(value, int))
        if not simple and not (isinstance(value, list) and all(isinstance(v, str | int) for v in value)):
            yield f"{name} is {value!r}, not a list of names"
    patterns = [config.get(name) for name in ("target_modules", "layers_pattern", "exclude_modules")]
    for name in ("rank_pattern", "alpha_pattern"):
        patterns += list(config.get(name) or ())
    for one in (one for one in patterns if isinstance(one, str)):
        try:
            re.compile(one)
        except re.error as error:
            yield f"{one!r} is no regular expression ({error})"


def weights_file(folder: Path) -> Path:
    """The adapter's weights.

    Raises:
        TreatmentError: There are none, or only in pickle.
    """
    file = folder / WEIGHTS
    if file.is_file():
        return file
    if pickled := sorted(p.name for suffix in ("bin", "pt", "pth") for p in folder.glob(f"*.{suffix}")):
        raise TreatmentError(
            f"adapter {folder}: has only {', '.join(pickled)}, a pickle that can run code when it is loaded "
            f"and is never read here; save it again as {WEIGHTS} (safetensors)"
        )
    raise TreatmentError(f"adapter {folder}: has no {WEIGHTS}; give a PEFT adapter directory")


def _treatment(
    folder: Path,
    digest: str,
    manifest: AdapterManifest | None,
    code: str | None,
    pair: str | Path | None,
) -> SdfAdapter | None:
    recorded = manifest.intervention if manifest else None
    if code is None and recorded is None:
        parts = manifest.components if manifest else ()
        if first := next((part.treatment for part in parts if part.treatment), None):
            # Its parts are named one by one where nothing was changed since (`Adapter.treatments`).
            return (
                first
                if manifest and manifest.composed == digest
                else first.model_copy(update={"digest": digest})
            )
        raise ConfigError(
            f"adapter {folder}: adapter_role=intervention needs intervention=CODE as well, such as A1+ or "
            "neutral"
        )
    if code is not None and recorded is not None and code != recorded.code:
        raise ConfigError(
            f"adapter {folder}: intervention={code}, but its manifest says {recorded.code}; leave it out"
        )
    return SdfAdapter(
        intervention=recorded or resolve_intervention(code or "", pair),
        digest=digest,
        directness=manifest.directness if manifest else None,
        training_seed=manifest.training_seed if manifest else None,
        corpus=manifest.corpus.digest if manifest and manifest.corpus else None,
    )


# Input widths of the usual names: those whose input is the residual stream.
_READS_STREAM = ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj")
_WRITES_STREAM = ("o_proj", "down_proj")


def _shape_complaint(adapter: Adapter, shape: BaseShape) -> str | None:
    """What does not fit, None where everything does."""
    recorded = adapter.manifest.base if adapter.manifest else None
    if recorded is not None:
        for what in ("d_model", "layers", "model_type"):
            then, now = getattr(recorded, what), getattr(shape, what)
            if then is not None and now is not None and then != now:
                return f"its base has {what} {then}, this model {now}"
    for name, tensor in tensor_shapes(weights_file(adapter.path)).items():
        parts = name.split(".")
        at = next((int(part) for part in parts if part.isdigit()), None)
        if at is not None and at >= shape.layers:
            return f"it has weights for layer {at}, this model's layers are 0-{shape.layers - 1}"
        width = None
        if "lora_A" in parts and any(part in _READS_STREAM for part in parts):
            width = tensor.shape[-1]
        if "lora_B" in parts and any(part in _WRITES_STREAM for part in parts):
            width = tensor.shape[0]
        if width is not None and width != shape.d_model:
            return f"its weights are for a width of {width}, this model's is {shape.d_model}"
    return None

"""LoRA adapters on disk: a plain PEFT directory, and beside it `inspect_af.json`, which says what it is.

Nothing here loads a model or needs torch. Adapters of others, without that file, work where the caller says
what they are.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from inspect_af.config import (
    Record,
    Written,
    file_digest,
    is_directory,
    is_file,
    read_text,
    shown,
    text_digest,
)
from inspect_af.errors import ConfigError, TreatmentError, check_one_of, complaints
from inspect_af.materials import NEUTRAL, load_pair
from inspect_af.sdf.base_model import (
    BaseShape,
    base_fingerprint,
    base_shape,
    compare_names,
    read_config,
    read_tensor,
    tensor_shapes,
)
from inspect_af.types import Intervention, SdfAdapter, Training

MANIFEST = "inspect_af.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

# `organism`: part of the model under study. `intervention`: a treatment of it.
Role = Literal["organism", "intervention"]
# How the adapters below were there in training: added into the weights, or as frozen adapters.
Combined = Literal["merged", "stacked"]


class Hyperparameters(Written, allow_inf_nan=False):
    """What shapes the weights, apart from model, corpus and seed. Recorded in the adapter's manifest.

    Defaults marked Table 2 are those of Vella Zarb et al. (arXiv 2606.08243). The learning rate is not in the
    source, and so has no default; 1e-5 is usual in this lineage.

    `packing` is how documents fill rows (Table 2 says packing, not which): `bfd_split`: best fit, documents
    stay apart in attention, longer ones than a row go on in another; `bfd`: they are cut; `wrapped`: end to
    end, and tokens attend to the document before theirs. A run whose optimiser steps would see another number
    of rows than `effective_batch`, over all ranks, is refused.
    """

    learning_rate: float = Field(gt=0, lt=1)
    rank: int = Field(default=64, ge=1)  # Table 2
    alpha: int = Field(default=128, ge=1, le=1_000_000)  # Table 2
    dropout: float = Field(default=0.05, ge=0, lt=1)  # Table 2
    # Table 2: every linear layer, the LM head apart.
    target_modules: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"
    epochs: float = Field(default=3.0, gt=0)  # Table 2; 1 for a 405B base and for the organism stage
    micro_batch: int = Field(default=1, ge=1)  # Table 2: rows a rank takes at once
    accumulation: int = Field(default=8, ge=1)  # Table 2
    effective_batch: int = Field(default=32, ge=1)  # Table 2: 1 x 8 x 4 ranks
    sequence_length: int = Field(default=4096, ge=8)  # Table 2, tokens of a row
    packing: Literal["bfd_split", "bfd", "wrapped"] = "bfd_split"
    warmup: float = Field(default=0.05, ge=0, lt=1)  # Table 2, share of the steps
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"  # Table 2
    weight_decay: float = Field(default=0.0, ge=0)  # not in source; 0 is the trainer's default
    max_gradient_norm: float = Field(default=1.0, gt=0)  # not in source; 1 is the trainer's default
    precision: Literal["bf16", "fp32"] = "bf16"  # Table 2
    gradient_checkpointing: bool = True  # Table 2

    @model_validator(mode="after")
    def _batch_is_a_multiple(self) -> Hyperparameters:
        if self.effective_batch % (self.micro_batch * self.accumulation):
            raise ValueError(
                f"effective_batch {self.effective_batch} is not micro_batch {self.micro_batch} x "
                f"accumulation {self.accumulation} x a whole number of ranks"
            )
        return self

    @property
    def ranks(self) -> int:
        """Processes with which the effective batch comes out."""
        return self.effective_batch // (self.micro_batch * self.accumulation)


class Parent(Record):
    """An adapter that was there, frozen, while this one was trained; without it this one means little."""

    digest: str
    role: Role
    combined: Combined


class ReplayRecord(Record):
    """Ordinary documents that an adapter was trained on beside its corpus, each of them once; tokens are
    counted with the base's tokenizer."""

    digest: str
    documents: int = Field(ge=1)
    tokens: int = Field(ge=1)


class CorpusRecord(ReplayRecord):
    """What an adapter was trained on; tokens are those of one epoch."""

    universe: str | None = None


class Losses(Record):
    """Mean loss per token, in nats: `train` over the last tenth of the steps, the others on the corpus's
    held-out documents before the first step and after the last; None where there were none."""

    train: float
    held_out_before: float | None = None
    held_out: float | None = None
    steps: int = Field(ge=1)


class Component(Record):
    """One of the adapters that a composed one equals."""

    digest: str
    role: Role
    treatment: SdfAdapter | None = None


class AdapterManifest(Record):
    """The content of `inspect_af.json`.

    `pair_digest` is of the hypothesis pair that the intervention's code belongs to, `fingerprint` of the base
    (`base_fingerprint`; None where its files were not at hand). A composed adapter has `components`, in
    order, and in `composed` its `adapter_digest` as it was written, without which they say nothing.
    """

    schema_version: Literal[1] = 1
    role: Role
    intervention: Intervention | None = None
    directness: str | None = None
    training_seed: int | None = None
    pair_digest: str | None = None
    base_model: str
    base_revision: str | None = None
    base: BaseShape | None = None
    fingerprint: str | None = None
    parents: tuple[Parent, ...] = ()
    components: tuple[Component, ...] = ()
    composed: str | None = None
    corpus: CorpusRecord | None = None
    replay: ReplayRecord | None = None
    hyperparameters: Hyperparameters | None = None
    losses: Losses | None = None
    package_version: str

    @model_validator(mode="after")
    def _role_fits(self) -> AdapterManifest:
        if not self.components and (self.intervention is None) != (self.role == "organism"):
            raise ValueError("an adapter with role intervention names its intervention, an organism has none")
        return self

    def write(self, folder: Path) -> None:
        (folder / MANIFEST).write_text(self.model_dump_json(indent=1) + "\n", encoding="utf-8")


class Adapter(Record):
    """An adapter that was found and checked; made by `load_adapter`.

    `digest` is its `adapter_digest`, `weights` the first 16 digits of the weights' sha256, which was the
    digest until version 0.1 and by which manifests of that time name parents. `base_model` is the base that
    it names for itself; `treatment` is None where the role is organism.
    """

    path: Path
    role: Role
    digest: str
    weights: str
    base_model: str | None = None
    manifest: AdapterManifest | None = None
    treatment: SdfAdapter | None = None

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
    def training(self) -> Training | None:
        """The recipe and the seed of its training; None where its manifest does not say."""
        held = self.manifest
        if held is None or held.training_seed is None:
            return None
        parts = {"base_model", "base_revision", "parents", "corpus", "replay", "hyperparameters"}
        return Training(recipe=text_digest(held.model_dump_json(include=parts)), seed=held.training_seed)

    @property
    def treatments(self) -> tuple[SdfAdapter, ...]:
        """The treatments that it applies; several only where interventions were composed."""
        if self.treatment is None:
            return ()
        return tuple(part.treatment for part in self.components if part.treatment) or (self.treatment,)


def load_adapter(
    path: str | Path,
    *,
    role: Role | None = None,
    intervention: str | None = None,
    pair: str | Path | None = None,
) -> Adapter:
    """Finds out what an adapter is, from its files alone.

    A role wins over the manifest's, so that a checkpoint that is a treatment in one analysis is the subject
    of another. An adapter without a manifest needs it and, as an intervention, the code of that, such as
    `A1+` or `neutral`, which belongs to the hypothesis pair (the bundled one by default).

    Raises:
        TreatmentError: The directory, its weights or its manifest cannot be used, or it would change nothing;
            weights in pickle (`.bin`) are refused unread.
        ConfigError: Role or intervention is missing, unknown, or contradicts the manifest.
        MissingExtraError: safetensors is not installed.
    """
    folder = Path(path)
    if role is not None:
        check_one_of(role, ("organism", "intervention"), what="adapter role")
    named = adapter_config(folder).get("base_model_name_or_path")
    check_effect(folder)
    manifest = read_manifest(folder)
    digest = adapter_digest(folder)
    role = role or (manifest.role if manifest else None)
    if role is None:
        raise ConfigError(
            f"adapter {folder} has no {MANIFEST}, so say what it is: adapter_role=organism (part of the "
            "model under study) or adapter_role=intervention with intervention=CODE, such as A1+ or neutral "
            "(in Python role=, in inspect-af sdf push --role and --intervention)"
        )
    if role == "organism" and intervention is not None:
        raise ConfigError(
            f"adapter {folder}: intervention={intervention} goes with adapter_role=intervention only"
        )
    return Adapter(
        path=folder,
        role=role,
        digest=digest,
        weights=file_digest(weights_file(folder))[:16],
        base_model=manifest.base_model if manifest else (named if isinstance(named, str) and named else None),
        manifest=manifest,
        treatment=(
            _treatment(folder, digest, manifest, intervention, pair) if role == "intervention" else None
        ),
    )


def _treatment(
    folder: Path, digest: str, manifest: AdapterManifest | None, code: str | None, pair: str | Path | None
) -> SdfAdapter:
    recorded = manifest.intervention if manifest else None
    if code is not None and recorded is not None and code != recorded.code:
        raise ConfigError(
            f"adapter {folder}: intervention={code}, but its manifest says {recorded.code}; leave it out"
        )
    if code is not None or recorded is not None:
        return SdfAdapter(
            intervention=recorded or resolve_intervention(code or "", pair),
            digest=digest,
            directness=manifest.directness if manifest else None,
            training_seed=manifest.training_seed if manifest else None,
            corpus=manifest.corpus.digest if manifest and manifest.corpus else None,
        )
    for part in manifest.components if manifest else ():
        if part.treatment:  # the others are named by `Adapter.treatments`, if nothing was changed since
            unchanged = manifest is not None and manifest.composed == digest
            return part.treatment if unchanged else part.treatment.model_copy(update={"digest": digest})
    raise ConfigError(
        f"adapter {folder}: adapter_role=intervention needs intervention=CODE as well, such as A1+ or neutral"
    )


def resolve_intervention(code: str, pair: str | Path | None = None) -> Intervention:
    """The intervention that a code means: one of the pair's, or `neutral`; a ConfigError where it is
    unknown."""
    known = {i.code: i for i in (*load_pair(pair).all_interventions, Intervention(variable=NEUTRAL))}
    check_one_of(code, known, what="intervention")
    return known[code]


# Identity

# Fields of `adapter_config.json` that change no logit of a loaded adapter. Every other field counts.
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
        *("lorap_lr_ratio", "lorap_emb_lr"),  # of ms-swift
        "peft_version",
        "revision",
        "runtime_config",
        "task_type",  # which wrapper class PEFT takes; the added matrices are the same
    }
)
# PEFT's own values where a file does not have the field, so that files of different versions agree.
_DEFAULTS: dict[str, Any] = {
    "r": 8,
    "lora_alpha": 8,
    "bias": "none",
    "init_lora_weights": True,
    "megatron_core": "megatron.core",
    "qalora_group_size": 16,
}
# Initialisations that the loaded arrays replace without a trace; others begin by changing the base.
_ORDINARY_INITS = (True, "gaussian", "orthogonal", "eva")
# Lists whose order means nothing; PEFT writes some of them in another order each time.
_SETS = ("target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "target_parameters")


def acting(config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a configuration that act; absent, null and false ones count as PEFT's default, and so do
    empty lists and patterns, while empty options, such as `kasa_config`, act."""
    given = {
        name: sorted(set(value), key=str) if name in _SETS and isinstance(value, list) else value
        for name, value in config.items()
        if name not in _INERT
        and value not in (None, "")
        and value is not False
        and (value or name not in (*_SETS, "rank_pattern", "alpha_pattern", "layers_pattern"))
    }
    if given.get("init_lora_weights") in _ORDINARY_INITS:
        del given["init_lora_weights"]
    return {**_DEFAULTS, **given}


def adapter_digest(folder: Path) -> str:
    """First 16 hexadecimal digits of a sha256 over the weights and each field of the configuration that acts.

    Absent, null and false fields count as PEFT's default.
    """

    def whole(text: str) -> float:
        return int(number) if (number := float(text)).is_integer() else number  # 8.0 acts as 8 does

    fields = json.loads(json.dumps(acting(adapter_config(folder))), parse_float=whole)
    return text_digest(f"{file_digest(weights_file(folder))}\n{json.dumps(fields, sort_keys=True)}")


# Effect

_PREFIX = "base_model.model."
_MATRIX = re.compile(
    r"(?P<module>.+?)\.lora_(?:embedding_)?(?P<part>[AB](?:\.bias)?|magnitude_vector)(?:\.weight)?"
)
_WRAPPERS = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "module", "base_model"}
_Matrix = np.ndarray[Any, Any]
_ROUNDING = 2.0**-24  # half of the last bit of a float32 of size one


class Base(Protocol):
    """The parameters of a base model: `BaseFiles` of a directory, or those of a loaded model."""

    def values(self, name: str) -> np.ndarray[Any, Any] | None: ...
    def modules(self) -> frozenset[str] | None: ...


def check_effect(folder: Path, base: Base | None = None) -> None:
    """Makes sure that an adapter changes the model that it is put into, and that all of it arrives there.

    Every engine and the extraction of activations call this before an adapter is served. PEFT and vLLM leave
    out arrays whose names they do not know, with a warning at most, and serve the base under the adapter's
    name.

    Without the base, as far as it is known, parts that stand in place of its own (fully trained modules,
    biases, rows of the embedding) count as changes unseen.

    Raises:
        TreatmentError: An array belongs to no module, a module lacks one of its matrices, or what is added
            is zero or below the rounding of a float32.
    """
    config, file = adapter_config(folder), weights_file(folder)
    tensors = tensor_shapes(file)
    if not tensors:
        raise TreatmentError(f"{file}: holds no array, so it would change nothing")
    matrices: dict[str, dict[str, str]] = defaultdict(dict)
    whole: list[str] = []
    unexpected: list[str] = []
    for name in tensors:
        path = name.removeprefix(_PREFIX)
        if path == name or set(path.split(".")) & _WRAPPERS:
            unexpected.append(name)
        elif matrix := _MATRIX.fullmatch(path):
            matrices[matrix["module"]][matrix["part"]] = name
        else:
            (whole if _is_whole(path, config) else unexpected).append(name)
    known = base.modules() if base is not None else None
    missing = []
    for module, parts in matrices.items():
        if not _targeted(config, module) or (known is not None and not _names(module, known)):
            unexpected += parts.values()
        if not _fits({part: tensors[name].shape for part, name in parts.items()}, config, module):
            missing.append(module)
    if known is not None:
        here = set(matrices) | {name.partition(".")[2] for name in matrices}
        missing += [module for module in sorted(known - here) if _targeted(config, module, named=True)]
    refuse_keys(folder, missing=missing, unexpected=unexpected, total=len(tensors))
    for name in tensors:
        values = read_tensor(file, name)
        if values is not None and not np.isfinite(values).all():
            raise TreatmentError(
                f"{file}: {name} has numbers that are not finite, so that every reply would be noise; train "
                "or save the adapter again"
            )
    added = any(_adds(file, config, module, parts, base) for module, parts in matrices.items())
    if not added and not any(_differs(file, config, name, base) for name in whole):
        raise TreatmentError(
            f"adapter {folder} would change nothing: what it adds is zero (its matrices or lora_alpha), not "
            "finite or smaller than the rounding of a float32, and whole arrays equal those of the base. The "
            "base would be served under the adapter's name; train or save the adapter again"
        )


def check_sum(folders: Sequence[Path]) -> None:
    """Makes sure that adapters that act together do not cancel one another.

    Raises:
        TreatmentError: The sum of their low-rank changes is zero, and they do nothing else.
    """
    modules: dict[str, list[partial[tuple[_Matrix, _Matrix]]]] = defaultdict(list)
    for folder in folders:
        config, file = adapter_config(folder), weights_file(folder)
        parts: dict[str, dict[str, str]] = defaultdict(dict)
        for name in tensor_shapes(file):
            if not (matrix := _MATRIX.fullmatch(name.removeprefix(_PREFIX))) or matrix["part"] not in "AB":
                return
            parts[matrix["module"]][matrix["part"]] = name
        for module, sides in parts.items():
            modules[module].append(partial(_low_rank, file, config, module, sides))

    def cancel(changes: Sequence[tuple[_Matrix, _Matrix]]) -> bool:
        if len({(len(b), a.shape[1]) for a, b in changes}) > 1:  # of different bases, which is said later
            return False
        return _norm(changes) <= 1e-6 * max(_norm([one]) for one in changes)

    if all(cancel([read() for read in reads]) for reads in modules.values()):
        raise TreatmentError(
            f"adapters {', '.join(map(str, folders))} cancel one another, so that together they would change "
            "nothing; leave them out"
        )


# Fields that add low-rank changes to weights and do nothing else, and those that put more beside the base.
_LOW_RANK = frozenset(
    {
        *("peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules"),
        *("exclude_modules", "layers_to_transform", "layers_pattern", "ensure_weight_tying"),
        *("megatron_core", "qalora_group_size"),
    }
)
_BESIDE = _LOW_RANK | {
    *("use_dora", "lora_bias", "fan_in_fan_out", "modules_to_save", "trainable_token_indices"),
    "target_parameters",
}


def beyond(folder: Path, *, beside: bool = False) -> list[str]:
    """What a configuration has beyond low-rank changes, as `field=value`; with `beside` only that by which
    the base itself may change. Fields that are not known here count."""
    known = _BESIDE if beside else _LOW_RANK
    fields = acting(adapter_config(folder)).items()
    return [f"{k}={v!r}" for k, v in fields if k not in known and _DEFAULTS.get(k) != v]


def refuse_other_base(folder: Path, base: Base | None = None) -> None:
    """Refuses an adapter with which the base itself would have to change, so that it cannot be taken off.

    Raises:
        TreatmentError: Names the field, or the array that would overwrite one of the base's.
    """
    config, file = adapter_config(folder), weights_file(folder)
    changing = beyond(folder, beside=True)
    if base is not None and not changing:
        places = {name: name.removeprefix(_PREFIX) for name in tensor_shapes(file)}
        own = [k for k, at in places.items() if not (_MATRIX.fullmatch(at) or _is_beside(at, config))]
        changing = [f"{name} in place of the base's" for name in own if _differs(file, config, name, base)]
    if changing:
        raise TreatmentError(
            f"adapter {folder} has {changing[0]}: the base itself may change by that, and it cannot be taken "
            "off again while other conditions share the model. Merge it into a model directory of its own "
            "(PEFT's merge_and_unload) and give that as the model"
        )


def refuse_keys(folder: Path, *, missing: Sequence[str], unexpected: Sequence[str], total: int = 0) -> None:
    """Refuses, by a TreatmentError, an adapter whose arrays and the model's modules do not match one
    another."""
    if unexpected:
        name = unexpected[0]
        hint = (
            "It was saved from a wrapped model (torch.compile, FSDP, DataParallel): save the adapter of the "
            "model inside"
            if set(name.removeprefix(_PREFIX).split(".")) & _WRAPPERS
            else f"Names look like {_PREFIX}model.layers.0.self_attn.q_proj.lora_A.weight: save the adapter "
            "with PEFT's save_pretrained, from the base that it is served on"
        )
        raise TreatmentError(
            f"adapter {folder}: {len(unexpected)} of its {f'{total} ' if total else ''}arrays belong to no "
            f"module that it changes in this model, such as {name}; they would be left out without a word. "
            f"{hint}"
        )
    if missing:
        raise TreatmentError(
            f"adapter {folder}: matrices that fit together, with the rank of its configuration, are missing "
            f"for {len(missing)} modules that it says it changes, such as {missing[0]}; those would stay as "
            "they are in the base. Save the adapter again"
        )


def scaling(config: Mapping[str, Any], module: str) -> float:
    """alpha / rank of a module, or alpha / sqrt(rank) for rank-stabilised LoRA, with PEFT's patterns; 0 where
    the rank is."""

    rank = _pattern(config, module, "rank_pattern", "r")
    alpha = _pattern(config, module, "alpha_pattern", "lora_alpha")
    return 0.0 if rank <= 0 else alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _pattern(config: Mapping[str, Any], module: str, pattern: str, field: str) -> float:
    """A module's own value, by PEFT's rule: a key is a regular expression for the end of its name."""
    for key, value in (config.get(pattern) or {}).items():
        if re.match(rf"(.*\.)?({key})$", module):
            return float(value)
    return float(config.get(field, 8))


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _targeted(config: Mapping[str, Any], module: str, *, named: bool = False) -> bool:
    """Whether a configuration says that a module is changed, by PEFT's rules; with `named` only a list or a
    pattern of names counts, while by default a configuration without one targets everything."""

    def ends(names: list[str]) -> bool:
        return any(f".{module}".endswith(f".{name}") for name in names)

    targets, excluded = config.get("target_modules"), config.get("exclude_modules")
    if targets is None or targets == "all-linear" or config.get("target_parameters"):
        return not named
    if re.fullmatch(excluded, module) if isinstance(excluded, str) else ends(_listed(excluded)):
        return False
    if any(f".{saved}." in f".{module}." for saved in _listed(config.get("modules_to_save"))):
        return False  # those are trained whole
    if isinstance(targets, str):
        return re.fullmatch(targets, module) is not None
    layers = _listed(config.get("layers_to_transform"))
    if not layers or module in targets:
        return ends(targets)
    patterns = _listed(config.get("layers_pattern")) or [r"[^.]*"]
    layer = next((m for p in patterns if (m := re.match(rf"(?:^|.*?\.){p}\.(\d+)\.", module))), None)
    return ends(targets) and layer is not None and int(layer[1]) in layers


def _names(module: str, known: frozenset[str]) -> bool:
    """Whether a module is among those of the base's files, which may leave out the model's own first part."""
    module = module.replace(".base_layer", "")
    first, _, rest = module.partition(".")
    return module in known or (first in ("model", "transformer") and first not in known and rest in known)


def _is_whole(path: str, config: Mapping[str, Any]) -> bool:
    """Whether an array stands in place of one of the base's own, and the configuration or PEFT's habit of
    saving embeddings says so."""
    module, _, last = path.rpartition(".")
    return (
        _is_beside(path, config)
        or any(f"{part}." in f"{module}." for part in ("embed_tokens", "lm_head"))
        or (last == "bias" and config.get("bias", "none") != "none")
    )


def _is_beside(path: str, config: Mapping[str, Any]) -> bool:
    """Whether PEFT keeps an array beside the base's, so that either can be used."""
    module, _, last = path.rpartition(".")
    saved = _listed(config.get("modules_to_save"))
    # PEFT's rule: `norm` is `input_layernorm` too.
    return last == "trainable_tokens_delta" or any(f"{part}." in f"{module}." for part in saved)


def _fits(shapes: Mapping[str, tuple[int, ...]], config: Mapping[str, Any], module: str) -> bool:
    """Whether a module has both matrices, and they fit together with the rank that the configuration says, by
    which they are scaled; empty ones do, and change nothing."""
    if not {"A", "B"} <= shapes.keys() <= {"A", "B", "magnitude_vector", "B.bias"}:
        return False
    a, b = shapes["A"], shapes["B"]
    together = 0 in b or (len(a) > 1 and len(b) > 1 and a[0] == b[1])
    rank = config.get("target_parameters") or a[0] == _pattern(config, module, "rank_pattern", "r")
    return 0 in a or bool(together and rank)


def _low_rank(
    file: Path, config: Mapping[str, Any], module: str, parts: Mapping[str, str]
) -> tuple[_Matrix, _Matrix]:
    """The matrices A [rank, in] and s B [out, rank] of one module, with s its scaling."""
    a, b = (read_tensor(file, parts[side]) for side in "AB")
    if a is None or b is None:
        raise TreatmentError(
            f"{file}: {module} is stored in a dtype that cannot be read here; save the adapter in float32, "
            "bfloat16 or float16"
        )
    if not (a.size and b.size):
        return np.zeros((0, 0)), np.zeros((0, 0))
    return a.reshape(len(a), -1), b.reshape(len(b), -1) * scaling(config, module)


def _norm(changes: Sequence[tuple[_Matrix, _Matrix]]) -> float:
    """Frobenius norm of the sum of s B A."""
    stacked_a = np.concatenate([a for a, _ in changes])
    stacked_b = np.concatenate([b for _, b in changes], axis=1)
    blocks = (stacked_b[at : at + 1024] @ stacked_a for at in range(0, len(stacked_b), 1024))
    return math.sqrt(sum(float((block**2).sum()) for block in blocks))


def _adds(
    file: Path, config: Mapping[str, Any], module: str, parts: Mapping[str, str], base: Base | None
) -> bool:
    """Whether the matrices of one module change its weight."""
    bias = read_tensor(file, parts["B.bias"]) if "B.bias" in parts else None
    weight = base.values(f"{module}.weight") if base is not None else None
    floor = 1e-30 if weight is None else _ROUNDING * float(np.linalg.norm(weight))
    if _norm([_low_rank(file, config, module, parts)]) > floor:
        return True
    if bias is not None and scaling(config, module) and np.any(bias):
        return True
    if "magnitude_vector" in parts and weight is not None and weight.ndim == 2:  # DoRA: lengths of outputs
        magnitude = read_tensor(file, parts["magnitude_vector"])
        norms = np.linalg.norm(weight, axis=0 if config.get("fan_in_fan_out") else 1)
        if magnitude is None or magnitude.size != norms.size:
            return True
        return not np.allclose(magnitude.ravel(), norms, rtol=1e-2, atol=0)
    return False


def _differs(file: Path, config: Mapping[str, Any], name: str, base: Base | None) -> bool:
    """Whether an array that stands in place of the base's is another one; True where that cannot be known."""
    own = read_tensor(file, name)
    path = name.removeprefix(_PREFIX).replace(".base_layer", "")
    whole = re.sub(r"(\.token_adapter)?\.trainable_tokens_delta$", ".weight", path)
    theirs = base.values(whole) if base is not None else None
    if theirs is not None and whole != path:  # some rows of the embedding
        rows = config.get("trainable_token_indices")
        if isinstance(rows, dict):
            rows = next((at for key, at in rows.items() if f".{whole}".endswith(f".{key}.weight")), [])
        theirs = theirs[rows]
    if own is None or theirs is None or own.shape != theirs.shape:
        return own is None or own.size > 0
    return bool(np.abs(own - theirs).max(initial=0.0) > _ROUNDING * np.abs(theirs).max(initial=0.0))


# Base and parents


def check_base(
    adapter: Adapter,
    config: Any,
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

    `config` is the base's transformers configuration, its parsed `config.json`, or its directory; `directory`
    where its files are, for the fingerprint. `any_name` means that the user has said that a base of another
    name is meant, and `override` is how they say so, for the message.

    Raises:
        TreatmentError: It is an adapter of another base.
    """
    complaint = _shape_complaint(adapter, base_shape(config))
    recorded = adapter.manifest.fingerprint if adapter.manifest else None
    present = base_fingerprint(directory) if recorded and directory is not None and not complaint else None
    comparable = bool(present and recorded and present.split(":")[0] == recorded.split(":")[0])
    if comparable and present != recorded and not any_name:
        complaint = f"its base had weights with fingerprint {recorded}, this model's is {present}"
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
    if match != "same" and not (comparable and present == recorded):
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


# The usual names of the layers that read the residual stream, and of those that write to it.
_READS_STREAM = {"q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj"}
_WRITES_STREAM = {"o_proj", "down_proj"}


def _shape_complaint(adapter: Adapter, shape: BaseShape) -> str | None:
    """What does not fit, None where everything does."""
    recorded = adapter.manifest.base if adapter.manifest else None
    for what in ("d_model", "layers", "model_type"):
        then, now = getattr(recorded, what, None), getattr(shape, what)
        if then is not None and now is not None and then != now:
            return f"its base has {what} {then}, this model {now}"
    for name, tensor in tensor_shapes(weights_file(adapter.path)).items():
        parts = name.split(".")
        layer = next((int(part) for part in parts if part.isdigit()), 0)
        if layer >= shape.layers:
            return f"it has weights for layer {layer}, this model's layers are 0-{shape.layers - 1}"
        width = shape.d_model
        if "lora_A" in parts and _READS_STREAM.intersection(parts):
            width = tensor.shape[-1]
        elif "lora_B" in parts and _WRITES_STREAM.intersection(parts):
            width = tensor.shape[0]
        if width != shape.d_model:
            return f"its weights are for a width of {width}, this model's is {shape.d_model}"
    return None


def check_parents(adapters: Sequence[Adapter]) -> None:
    """Refuses, by a TreatmentError that names its digest, an adapter whose parent is not applied before
    it."""
    before: set[str] = set()
    for adapter in adapters:
        parts = {part.digest for part in adapter.components}
        for parent in adapter.manifest.parents if adapter.manifest else ():
            if parent.digest not in before | parts:
                raise TreatmentError(
                    f"adapter {adapter.path} was trained on top of the {parent.role} adapter "
                    f"{parent.digest}, which is not applied before it; name that adapter first"
                )
        before |= {adapter.digest, adapter.weights} | parts


# Files


def read_manifest(folder: Path) -> AdapterManifest | None:
    """The manifest of an adapter directory, None where it has none; a TreatmentError where it is
    malformed."""
    file = folder / MANIFEST
    if not is_file(file):
        return None
    try:
        text = read_text(file, error=TreatmentError, largest=16_000_000)
        return AdapterManifest.model_validate_json(text)
    except ValidationError as error:
        raise TreatmentError(
            f"{file}: is not an adapter manifest of this version ({error}); move the file away to use the "
            "adapter with adapter_role="
        ) from error


def _regular(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
    return pattern


_Number = Annotated[float, Field(strict=True, ge=-1e6, le=1e6)]  # Beyond, weights overflow
_Rank = Annotated[int, Field(strict=True)]
_Pattern = Annotated[str, AfterValidator(_regular)]


class _LoraConfig(BaseModel):
    """The fields of `adapter_config.json` that are read here."""

    r: _Rank = 8
    lora_alpha: _Number = 8
    rank_pattern: dict[_Pattern, _Rank] | None = None
    alpha_pattern: dict[_Pattern, _Number] | None = None
    target_modules: _Pattern | list[str] | None = None
    exclude_modules: _Pattern | list[str] | None = None
    layers_pattern: _Pattern | list[_Pattern] | None = None
    layers_to_transform: int | list[int] | None = None
    modules_to_save: str | list[str] | None = None
    target_parameters: str | list[str] | None = None


def adapter_config(folder: Path) -> dict[str, Any]:
    """PEFT's own description, `adapter_config.json`; a TreatmentError where it is missing, malformed, or not
    of a LoRA."""
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
    content = read_config(folder, CONFIG)
    if content.get("peft_type") != "LORA":
        raise TreatmentError(
            f"{file}: peft_type is {content.get('peft_type')!r}; only LoRA adapters are supported"
        )
    try:
        _LoraConfig.model_validate(content)
    except ValidationError as error:
        raise TreatmentError(f"{file}: {complaints(error)[0]}; give the file that PEFT wrote") from error
    return content


def weights_file(folder: Path) -> Path:
    """The adapter's weights; a TreatmentError where there are none, or only in pickle."""
    file = folder / WEIGHTS
    if file.is_file():
        return file
    if pickled := sorted(p.name for suffix in ("bin", "pt", "pth") for p in folder.glob(f"*.{suffix}")):
        raise TreatmentError(
            f"adapter {folder}: has only {', '.join(pickled)}, a pickle that can run code when it is loaded "
            f"and is never read here; save it again as {WEIGHTS} (safetensors)"
        )
    raise TreatmentError(f"adapter {folder}: has no {WEIGHTS}; give a PEFT adapter directory")

"""Adapters in a loaded model, and several adapters put together into one. Needs torch and PEFT.

A LoRA adapter changes a weight W [out, in] by s B A, with A [rank, in], B [out, rank] and s its scaling. Two
of them change it by s1 B1 A1 + s2 B2 A2 = [s1 B1, s2 B2] [A1; A2], which is one of rank r1 + r2: nothing is
approximated. PEFT does this (`add_weighted_adapter`, "cat"); what is here is the checks around it.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from inspect_af.config import complete_directory, require
from inspect_af.errors import TreatmentError
from inspect_af.sdf.adapters import (
    CONFIG,
    WEIGHTS,
    AdapterManifest,
    Component,
    adapter_config,
    adapter_digest,
    beyond,
    check_effect,
    check_parents,
    load_adapter,
    read_manifest,
    refuse_keys,
    weights_file,
)
from inspect_af.sdf.base_model import compare_names

if TYPE_CHECKING:
    from torch import Tensor, nn


class LoadedBase:
    """The parameters of a loaded model, whether or not adapters are in it already."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def values(self, name: str) -> np.ndarray[Any, Any] | None:
        """Values of a parameter as float64, None where it is not there, quantised, or not on this process."""
        import torch

        path, _, kind = name.rpartition(".")
        try:
            module: Any = self.model.get_submodule(path)
        except AttributeError:
            return None
        module = getattr(module, "original_module", module)  # beside a fully trained copy of it
        found = getattr(module, kind, None)
        if not isinstance(found, torch.Tensor) or found.is_meta or not found.is_floating_point():
            return None
        return np.asarray(found.detach().double().cpu().numpy())

    def modules(self) -> frozenset[str] | None:
        """None: PEFT itself says which names it did not know."""
        return None


class LoadedAdapters:
    """Adapters in one loaded transformers model, of which some act at a time.

    The layers of the base are wrapped in place; without an active adapter they give what they gave.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.names: list[str] = []
        self._peft: Any = None

    def add(self, folder: Path, name: str) -> None:
        """Loads an adapter, which does not act yet.

        Raises:
            TreatmentError: It would change nothing, not all of it belongs to this model, or PEFT cannot put
                it beside what is there; the model is as it was before.
            ValueError, RuntimeError, KeyError: PEFT cannot put it in; parts of it may be in the model.
            MissingExtraError: PEFT is not installed.
        """
        with require("local", "adapters"):
            from peft import LoraConfig, PeftModel

        class Recording(PeftModel):
            """Keeps which names did not match, which `from_pretrained` only warns about."""

            def load_adapter(self, *args: Any, **options: Any) -> Any:
                self.load_result = super().load_adapter(*args, **options)
                return self.load_result

        check_effect(folder, LoadedBase(self.model))
        first = self._peft is None
        tokens = [] if first else [c.trainable_token_indices for c in self._peft.peft_config.values()]
        if any(tokens) and not adapter_config(folder).get("trainable_token_indices"):
            raise TreatmentError(
                f"adapter {folder}: PEFT puts no adapter without trainable_token_indices beside one that has "
                "them; serve them one after the other, in a process each"
            )
        if first:
            config = LoraConfig.from_pretrained(str(folder))
            config.task_type = None  # wrappers for tasks are not needed, and the class above stays
            self._peft = Recording.from_pretrained(self.model, folder, adapter_name=name, config=config)
        else:
            mapping = getattr(self.model, "_checkpoint_conversion_mapping", None)
            self._peft.load_adapter(folder, adapter_name=name, key_mapping=mapping)
        self.model.train(False)
        result = self._peft.load_result
        try:
            missing = [key for key in result.missing_keys if name in key.split(".")]
            refuse_keys(folder, missing=missing, unexpected=result.unexpected_keys)
        except TreatmentError:
            if first:
                self._peft.unload()
                self._peft = None
            else:
                self._peft.delete_adapter(name)
            raise
        self.names.append(name)

    def activate(self, names: Sequence[str]) -> None:
        """Lets these adapters act together, and no other; without names the base alone."""
        if self._peft is None:
            return
        tuner = self._peft.base_model
        if names:
            tuner.enable_adapter_layers()
            tuner.set_adapter(list(names), inference_mode=True)
        else:
            tuner.disable_adapter_layers()

    def add_sum(self, modules: Iterable[str]) -> str:
        """Adds the sum of all adapters, which change these modules, as one more; gives its name."""
        for config in self._peft.peft_config.values():
            # What the sum would inherit from the first of them; the layers' own scalings are set already.
            config.target_modules = set(modules)
            config.use_rslora, config.layers_to_transform, config.exclude_modules = False, None, None
        weights = [1.0] * len(self.names)
        self._peft.base_model.add_weighted_adapter(self.names, weights, "sum", combination_type="cat")
        return "sum"

    def merged(self) -> Any:
        """The model with the active adapters in its weights, as PEFT adds them."""
        return self.model if self._peft is None else self._peft.merge_and_unload(safe_merge=True)


def merge_adapters(model: Any, folders: Sequence[Path]) -> Any:
    """A model with adapters added into its weights, one after the other; a TreatmentError where one would
    change nothing, or does not fit the model."""
    for folder in folders:
        loaded = LoadedAdapters(model)
        try:
            loaded.add(folder, "merged")
            model = loaded.merged()
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            if isinstance(error, TreatmentError):
                raise
            raise TreatmentError(f"adapter {folder} does not fit the model: {error}") from error
    return model


class LowRank(NamedTuple):
    """The change of one weight, B A: `a` is [rank, in] with the scaling in it, `b` is [out, rank]."""

    a: Tensor
    b: Tensor


def combined(folders: Sequence[Path]) -> dict[str, LowRank]:
    """The sum of adapters' changes, by the module of the base that they change.

    Ranks add up, and those of modules with fewer are filled with zeros. Stored values are kept exactly: where
    scalings cannot be multiplied into A in the adapters' dtype without rounding, the matrices are float32.

    Raises:
        TreatmentError: An adapter does more than add low-rank changes (DoRA, biases, fully trained modules,
            initialisations that change the base), its files do not fit together, or two of them change one
            module with other shapes.
        MissingExtraError: PEFT is not installed.
    """
    import torch
    from safetensors.torch import load_file

    shapes = dict[str, tuple[int, int]]()
    dtypes = set()
    for folder in folders:
        _refuse_beyond(folder)
        check_effect(folder)
        tensors = load_file(weights_file(folder))
        dtypes |= {tensor.dtype for tensor in tensors.values()}
        for module, shape in _linear_shapes(folder, tensors).items():
            if shapes.setdefault(module, shape) != shape:
                raise TreatmentError(
                    f"the adapters change {module} with shapes {sorted({shape, shapes[module]})} (out, in): "
                    "they were trained on different bases and cannot be put together"
                )
    skeleton = _skeleton(shapes)
    loaded = LoadedAdapters(skeleton)
    for at, folder in enumerate(folders):
        loaded.add(folder, f"part-{at}")
    name = loaded.add_sum(shapes) if len(folders) > 1 else "part-0"
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    found = {}
    for module in shapes:
        layer: Any = skeleton.get_submodule(module)
        a, b = layer.lora_A[name].weight.detach() * layer.scaling[name], layer.lora_B[name].weight.detach()
        exact = all(torch.equal(one.to(dtype).float(), one) for one in (a, b))
        found[module] = LowRank(a.to(dtype), b.to(dtype)) if exact else LowRank(a, b)
    return found


def merge(model: nn.Module, changes: Mapping[str, LowRank]) -> None:
    """Adds changes into the weights: W <- W + B A, computed in float32 and rounded once; a TreatmentError
    where a module is missing, is no linear layer, or has another shape."""
    import torch

    with torch.no_grad():
        for module, change in changes.items():
            weight = _linear(model, module, change).weight
            if not weight.is_meta:  # a rank that gets its weights from another has nothing to add to
                total = change.b.float() @ change.a.float()
                weight.copy_((weight.float() + total.to(weight.device)).to(weight.dtype))


def stack(model: nn.Module, changes: Mapping[str, LowRank]) -> None:
    """Lets each linear layer give W x + B (A x), and leaves the weights as they are.

    The matrices are buffers: no optimiser, no gradient and no checkpoint sees them, and the names of layers
    stay, so that new matrices are trained on top as on a plain base. Under FSDP every rank holds all of them.
    Errors as of `merge`.
    """
    for module, change in changes.items():
        linear = _linear(model, module, change)
        dtype = linear.weight.dtype
        linear.register_buffer("stacked_a", change.a.to(dtype), persistent=False)
        linear.register_buffer("stacked_b", change.b.to(dtype), persistent=False)
        linear.register_forward_hook(_add_stacked)


def _add_stacked(linear: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    from torch.nn.functional import linear as apply

    a, b = linear.get_buffer("stacked_a"), linear.get_buffer("stacked_b")
    return output + apply(apply(inputs[0].to(a.dtype), a), b).to(output.dtype)


def compose(folders: Sequence[Path], out: Path) -> Path:
    """Writes one adapter whose effect is the sum of those given: base + all of their changes.

    Servers apply one adapter to a request. Composed, an organism and the intervention trained on top of it
    are one, so that a stock server offers every checkpoint of a base side by side. Modules have one rank and
    one scaling, which is 1, so ranks, alphas and target modules may differ between the adapters; a single one
    is written in that form. Where every adapter has a manifest, the result has one that lists them.

    Returns:
        `out`.

    Raises:
        TreatmentError: They are of different bases, one does more than add low-rank changes, an adapter's
            parent comes after it or not at all, they cancel, or `out` exists.
        MissingExtraError: PEFT is not installed.
    """
    from safetensors.torch import save_file
    from torch.nn.functional import pad

    from inspect_af import __version__

    changes = combined(folders)
    configs = [adapter_config(folder) for folder in folders]
    bases = [str(base) for config in configs if (base := config.get("base_model_name_or_path"))]
    for base in bases[1:]:
        if compare_names(bases[0], base) == "other":
            raise TreatmentError(
                f"the adapters name the bases {bases[0]} and {base}; only adapters of one base can be "
                "composed"
            )
    described = all(read_manifest(folder) for folder in folders)
    known = [load_adapter(folder) for folder in folders] if described else []
    check_parents(known)
    revisions = {config.get("revision") for config in configs} - {None}
    rank = max(change.a.shape[0] for change in changes.values())
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": next(iter(bases), None),
        "revision": revisions.pop() if len(revisions) == 1 else None,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "use_rslora": False,
        "bias": "none",
        "target_modules": _target_modules(changes),
        "inference_mode": True,
    }
    tensors = {
        f"base_model.model.{module}.lora_{side}.weight": pad(matrix, place).contiguous()
        for module, change in changes.items()
        for more in [rank - change.a.shape[0]]
        for side, matrix, place in (("A", change.a, (0, 0, 0, more)), ("B", change.b, (0, more)))
    }
    with complete_directory(out) as partial:
        save_file(tensors, partial / WEIGHTS, metadata={"format": "pt"})
        (partial / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        check_effect(partial)
        if manifests := [adapter.manifest for adapter in known if adapter.manifest]:
            parts = [
                part
                for one in known
                for part in one.components
                or [Component(digest=one.digest, role=one.role, treatment=one.treatment)]
            ]
            inside = {part.digest for part in parts} | {adapter.weights for adapter in known}
            AdapterManifest(
                role="intervention" if any(part.treatment for part in parts) else "organism",
                **manifests[0].model_dump(include={"base_model", "base_revision", "base", "fingerprint"}),
                parents=tuple(p for m in manifests for p in m.parents if p.digest not in inside),
                components=tuple(parts),
                composed=adapter_digest(partial),
                package_version=__version__,
            ).write(partial)
    return out


def _target_modules(modules: Iterable[str]) -> list[str]:
    """Last parts such as `q_proj` where each occurs in the same layers, else every module's full name."""
    places: dict[str, set[str]] = defaultdict(set)
    for module in modules:
        places[module.rpartition(".")[2]].update(re.findall(r"(?<=\.)\d+(?=\.)", module))
    every = {str(layer) for layer in range(max(map(len, places.values())))}
    return sorted(places) if every and all(of == every for of in places.values()) else sorted(modules)


def _linear_shapes(folder: Path, tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, int]]:
    """Module to (out, in) of the weight that it changes."""
    found = {}
    for name, tensor in tensors.items():
        match = re.fullmatch(r"base_model\.model\.(.+)\.lora_[AB]\.weight", name)
        if match is None or tensor.ndim != 2:
            raise TreatmentError(
                f"adapter {folder}: {name} {list(tensor.shape)} is no LoRA matrix of a linear layer "
                "(embeddings cannot be put together); serve this adapter alone"
            )
        a, b = (tensors[f"base_model.model.{match[1]}.lora_{side}.weight"] for side in "AB")
        found[match[1]] = (b.shape[0], a.shape[1])
    return found


def _skeleton(shapes: Mapping[str, tuple[int, int]]) -> nn.Module:
    """A tree of linear layers under the names of a base's, whose weights take no memory."""
    import torch
    from torch import nn

    root = nn.Module()
    for module, (n_out, n_in) in shapes.items():
        *path, last = module.split(".")
        at = root
        for part in path:
            if not hasattr(at, part):
                at.add_module(part, nn.Module())
            at = at.get_submodule(part)
        linear = nn.Linear(1, 1, bias=False)
        linear.in_features, linear.out_features = n_in, n_out
        linear.weight = nn.Parameter(torch.zeros(1, 1).expand(n_out, n_in), requires_grad=False)
        at.add_module(last, linear)
    return root


def _linear(model: nn.Module, module: str, change: LowRank) -> nn.Linear:
    from torch import nn

    layer = dict(model.named_modules()).get(module)
    shape = (change.b.shape[0], change.a.shape[1])
    if not isinstance(layer, nn.Linear) or tuple(layer.weight.shape) != shape:
        raise TreatmentError(
            f"the adapter changes {module}, which is no linear layer of shape {shape} in the base model; "
            "give the base that it was trained on"
        )
    return layer


def _refuse_beyond(folder: Path) -> None:
    if more := beyond(folder):
        raise TreatmentError(
            f"adapter {folder}: uses {', '.join(more)}, which is more than low-rank changes added to "
            "weights; such an adapter cannot be composed, merged or stacked here. Serve it alone"
        )

"""The low-rank changes that LoRA adapters make: read from their files, put together, added to a model.

A LoRA adapter changes a weight W [out, in] by s B A, with A [rank, in], B [out, rank] and s its scaling. Two
of them change it by s1 B1 A1 + s2 B2 A2 = [s1 B1, s2 B2] [A1; A2], which is one of rank r1 + r2: nothing is
approximated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from inspect_af.errors import MissingExtraError, TreatmentError
from inspect_af.sdf.adapters import adapter_config, weights_file

if TYPE_CHECKING:
    from torch import Tensor, nn

_PREFIX = "base_model.model."
_NAME = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])\.weight$")
_ORDINARY_INITS = (True, False, None, "gaussian", "orthogonal", "eva")
# What changes the model beyond s B A; an adapter that uses one of these is not a sum of low-rank changes.
_BEYOND = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "use_qalora",
    "alora_invocation_tokens",
    "arrow_config",
    "use_bdlora",
    "velora_config",
    "monteclora_config",
    "megatron_config",
    "fan_in_fan_out",
)


class LowRank(NamedTuple):
    """The change of one weight, s B A."""

    a: Tensor
    """[rank, in]"""
    b: Tensor
    """[out, rank], scaling included."""


def read_low_rank(folder: str | Path) -> dict[str, LowRank]:
    """Module name (as in the base model) to the change that an adapter makes to its weight.

    Stored values are kept exactly: where the scaling cannot be multiplied into B in the stored dtype without
    rounding, B is float32.

    Raises:
        TreatmentError: The adapter does more than add low-rank changes (DoRA, biases, fully trained modules,
            initialisations that change the base), or its files do not fit together.
        MissingExtraError: torch is not installed.
    """
    folder = Path(folder)
    config = adapter_config(folder)
    _refuse_beyond(folder, config)
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingExtraError("adapters need torch; pip install 'inspect-af[local]'") from error
    halves: dict[str, dict[str, Tensor]] = {}
    for name, tensor in load_file(weights_file(folder)).items():
        found = _NAME.fullmatch(name)
        if found is None or tensor.ndim != 2:
            raise TreatmentError(
                f"adapter {folder}: {name} {list(tensor.shape)} is no LoRA matrix of a linear layer "
                "(embeddings cannot be put together); serve this adapter alone"
            )
        module = found["module"].removeprefix(_PREFIX)
        halves.setdefault(module, {})[found["side"]] = tensor
    return {
        module: _low_rank(folder, module, sides, scaling(config, module)) for module, sides in halves.items()
    }


def scaling(config: Mapping[str, Any], module: str) -> float:
    """alpha / rank of a module, or alpha / sqrt(rank) for rank-stabilised LoRA, with PEFT's patterns."""
    rank = _of_pattern(config.get("rank_pattern"), module, config["r"])
    alpha = _of_pattern(config.get("alpha_pattern"), module, config["lora_alpha"])
    return float(alpha) / (float(rank) ** 0.5 if config.get("use_rslora") else float(rank))


def concatenate(changes: Sequence[Mapping[str, LowRank]]) -> dict[str, LowRank]:
    """The sum of several adapters' changes, module by module.

    Raises:
        TreatmentError: Two of them change one module with other shapes: they are of different bases.
    """
    import torch

    together: dict[str, LowRank] = {}
    for module in dict.fromkeys(name for change in changes for name in change):
        parts = [change[module] for change in changes if module in change]
        shapes = {(part.b.shape[0], part.a.shape[1]) for part in parts}
        if len(shapes) > 1:
            raise TreatmentError(
                f"the adapters change {module} with shapes {sorted(shapes)} (out, in): they were trained on "
                "different bases and cannot be put together"
            )
        dtypes = {tensor.dtype for part in parts for tensor in (part.a, part.b)}
        dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
        together[module] = LowRank(
            torch.cat([part.a.to(dtype) for part in parts], dim=0),
            torch.cat([part.b.to(dtype) for part in parts], dim=1),
        )
    return together


def merge(model: nn.Module, changes: Mapping[str, LowRank]) -> None:
    """Adds changes into the weights: W <- W + s B A, computed in float32 and rounded once.

    Raises:
        TreatmentError: A module is missing, is no linear layer, or has another shape.
    """
    import torch

    with torch.no_grad():
        for module, change in changes.items():
            weight = _linear(model, module, change).weight
            if not weight.is_meta:  # a rank that gets its weights from another has nothing to add to
                total = change.b.float() @ change.a.float()
                weight.copy_((weight.float() + total.to(weight.device)).to(weight.dtype))


def stack(model: nn.Module, changes: Mapping[str, LowRank]) -> None:
    """Lets each linear layer give W x + s B (A x), and leaves the weights as they are.

    The matrices are buffers: no optimiser, no gradient and no checkpoint sees them. Under FSDP every rank
    holds all of them.

    Raises:
        TreatmentError: As `merge`.
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


def _low_rank(folder: Path, module: str, sides: Mapping[str, Tensor], scale: float) -> LowRank:
    if set(sides) != {"A", "B"} or sides["A"].shape[0] != sides["B"].shape[1]:
        raise TreatmentError(f"adapter {folder}: the matrices A and B of {module} do not fit together")
    b = sides["B"]
    scaled = b.float() * scale
    stored = scaled.to(b.dtype)
    return LowRank(sides["A"], stored if bool((stored.float() == scaled).all()) else scaled)


def _linear(model: nn.Module, module: str, change: LowRank) -> nn.Linear:
    from torch import nn

    try:
        found = model.get_submodule(module)
    except AttributeError:
        found = None
    if not isinstance(found, nn.Linear):
        raise TreatmentError(
            f"the adapter changes {module}, which is no linear layer of the base model; give the base "
            "that it was trained on"
        )
    shape = (change.b.shape[0], change.a.shape[1])
    if tuple(found.weight.shape) != shape:
        raise TreatmentError(
            f"the adapter changes {module} of shape {shape}; the base model's is {tuple(found.weight.shape)}"
        )
    return found


def _refuse_beyond(folder: Path, config: Mapping[str, Any]) -> None:
    found = [f"{name}={config[name]!r}" for name in _BEYOND if config.get(name)]
    if config.get("bias", "none") != "none":
        found.append(f"bias={config['bias']!r}")
    if config.get("init_lora_weights") not in _ORDINARY_INITS:  # PiSSA and its kin change the base's weights
        found.append(f"init_lora_weights={config['init_lora_weights']!r}")
    if found:
        raise TreatmentError(
            f"adapter {folder}: uses {', '.join(found)}, which is more than low-rank changes added to "
            "weights; such an adapter cannot be composed, merged or stacked here. Serve it alone"
        )


def _of_pattern(pattern: Mapping[str, Any] | None, module: str, default: Any) -> Any:
    """PEFT's rule: a key of the pattern is a regular expression for the end of the module's name."""
    for key, value in (pattern or {}).items():
        if re.match(rf"(.*\.)?({key})$", module):
            return value
    return default

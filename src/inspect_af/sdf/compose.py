"""One LoRA adapter that equals several applied at once.

Servers apply one adapter to a request. Composed, an organism and the intervention trained on top of it are
one, so that a stock server offers every checkpoint of a base side by side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.sdf._directories import complete_directory
from inspect_af.sdf.adapter_manifest import Component
from inspect_af.sdf.adapters import (
    CONFIG,
    MANIFEST,
    WEIGHTS,
    Adapter,
    AdapterManifest,
    adapter_config,
    check_parents,
    load_adapter,
)
from inspect_af.sdf.base_model import same_name
from inspect_af.sdf.low_rank import LowRank, concatenate, read_low_rank


def compose(adapters: Sequence[Path], out: Path) -> Path:
    """Writes one adapter whose effect is the sum of those given: base + all of their changes.

    Ranks add up. Scalings are multiplied into the matrices and alpha equals the rank, so ranks, alphas and
    target modules may differ between the adapters. Modules of smaller rank are padded with zeros, since
    servers know one rank an adapter. Where every adapter has a manifest, the result has one that lists them.

    Args:
        adapters: PEFT directories of one base, in the order in which they were trained.
        out: Directory to write; must not exist.

    Returns:
        `out`.

    Raises:
        ConfigError: Fewer than two adapters.
        TreatmentError: They are of different bases, one does more than add low-rank changes, an adapter's
            parent comes after it or not at all, or `out` exists.
        MissingExtraError: torch is not installed.
    """
    folders = [Path(path) for path in adapters]
    if len(folders) < 2:
        raise ConfigError(f"compose takes two adapters or more, {len(folders)} given")
    changes = [read_low_rank(folder) for folder in folders]
    known = [_known(folder) for folder in folders]
    _check_one_base(folders)
    together = _of_one_rank(concatenate(changes))
    manifest = None
    if all(adapter is not None and adapter.manifest is not None for adapter in known):
        found = [adapter for adapter in known if adapter is not None]
        check_parents(found)
        manifest = _manifest(found)
    with complete_directory(out) as partial:
        _write(partial, together, _config(folders, together), manifest)
    return Path(out)


def _known(folder: Path) -> Adapter | None:
    return load_adapter(folder) if (folder / MANIFEST).exists() else None


def _check_one_base(folders: Sequence[Path]) -> None:
    bases = [(folder, str(adapter_config(folder).get("base_model_name_or_path") or "")) for folder in folders]
    named = [(folder, base) for folder, base in bases if base]
    for folder, base in named[1:]:
        if same_name(named[0][1], base) is False:
            raise TreatmentError(
                f"adapter {named[0][0]} is of {named[0][1]} and adapter {folder} of {base}; only adapters of "
                "one base can be composed"
            )


def _of_one_rank(changes: Mapping[str, LowRank]) -> dict[str, LowRank]:
    """The same changes, each padded with zeros to the largest rank."""
    from torch.nn.functional import pad

    rank = max(change.a.shape[0] for change in changes.values())
    return {
        module: LowRank(
            pad(change.a, (0, 0, 0, rank - change.a.shape[0])),
            pad(change.b, (0, rank - change.b.shape[1])),
        )
        for module, change in changes.items()
    }


def _config(folders: Sequence[Path], changes: Mapping[str, LowRank]) -> dict[str, Any]:
    bases = [adapter_config(folder).get("base_model_name_or_path") for folder in folders]
    revisions = {adapter_config(folder).get("revision") for folder in folders} - {None}
    rank = next(iter(changes.values())).a.shape[0]
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": next((base for base in bases if base), None),
        "revision": revisions.pop() if len(revisions) == 1 else None,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "use_rslora": False,
        "bias": "none",
        "target_modules": _target_modules(changes),
        "inference_mode": True,
    }


def _target_modules(changes: Mapping[str, LowRank]) -> list[str]:
    """Last parts such as `q_proj` where each occurs in the same layers, else every module's full name."""
    places: dict[str, set[str]] = {}
    for module in changes:
        last = module.rsplit(".", 1)[-1]
        places.setdefault(last, set()).update(re.findall(r"(?<=\.)\d+(?=\.)", module))
    layers = {frozenset(found) for found in places.values() if found}
    whole = len(layers) == 1 and all(places.values()) and _counts_from_zero(next(iter(layers)))
    return sorted(places) if whole else sorted(changes)


def _counts_from_zero(layers: frozenset[str]) -> bool:
    return {int(layer) for layer in layers} == set(range(len(layers)))


def _manifest(adapters: Sequence[Adapter]) -> AdapterManifest:
    from inspect_af import __version__

    manifests = [adapter.manifest for adapter in adapters if adapter.manifest]
    components = tuple(part for adapter in adapters for part in _components(adapter))
    inside = {part.digest for part in components}
    first = manifests[0]
    return AdapterManifest(
        role="intervention" if any(part.treatment for part in components) else "organism",
        base_model=first.base_model,
        base_revision=first.base_revision,
        base=first.base,
        fingerprint=first.fingerprint,
        parents=tuple(p for m in manifests for p in m.parents if p.digest not in inside),
        components=components,
        package_version=__version__,
    )


def _components(adapter: Adapter) -> tuple[Component, ...]:
    if adapter.manifest and adapter.manifest.components:
        return adapter.manifest.components
    return (Component(digest=adapter.digest, role=adapter.role, treatment=adapter.treatment),)


def _write(
    folder: Path, changes: Mapping[str, LowRank], config: Mapping[str, Any], manifest: AdapterManifest | None
) -> None:
    from safetensors.torch import save_file

    tensors = {}
    for module, change in changes.items():
        name = f"base_model.model.{module}.lora_"
        tensors[f"{name}A.weight"] = change.a.contiguous()
        tensors[f"{name}B.weight"] = change.b.contiguous()
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    if manifest is not None:
        (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")

"""LoRA adapters on disk: a plain PEFT directory, and beside it `inspect_af.json`, which says what it is.

Nothing here loads a model or needs torch. Adapters of others, without that file, work where the caller says
what they are.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from inspect_af.errors import ConfigError, TreatmentError, one_of
from inspect_af.materials import load_pair
from inspect_af.sdf.adapter_manifest import AdapterManifest, Component, Record, Role
from inspect_af.sdf.base_model import BaseShape, base_fingerprint, base_shape, same_name, tensor_shapes
from inspect_af.types import Intervention, SdfAdapter

__all__ = [
    "CONFIG",
    "MANIFEST",
    "NEUTRAL",
    "WEIGHTS",
    "Adapter",
    "AdapterManifest",
    "Role",
    "adapter_config",
    "check_base",
    "check_parents",
    "load_adapter",
    "read_manifest",
    "resolve_intervention",
    "weights_digest",
    "weights_file",
]

NEUTRAL = "neutral"
"""Code of the adapter trained on documents that bear on nothing: the method's placebo."""
MANIFEST = "inspect_af.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"

# Input widths of the usual names: those whose input is the residual stream.
_READS_STREAM = ("q_proj", "k_proj", "v_proj", "qkv_proj", "gate_proj", "up_proj", "gate_up_proj")
_WRITES_STREAM = ("o_proj", "down_proj")


class Adapter(Record):
    """An adapter that was found and checked; made by `load_adapter`."""

    path: Path
    role: Role
    digest: str
    """First 16 hexadecimal digits of the weights' sha256."""
    base_model: str | None = None
    """The base that it names for itself, None where it names none."""
    manifest: AdapterManifest | None = None
    treatment: SdfAdapter | None = None
    """None where the role is organism."""

    @property
    def organism(self) -> tuple[str, ...]:
        """Digests that belong to the subject, in order; of a composed adapter those of its parts, so that one
        served composed and the same ones served one upon the other are one condition."""
        if self.role == "organism":
            parts = self.manifest.components if self.manifest else ()
            return tuple(part.digest for part in parts) or (self.digest,)
        return tuple(part.digest for part in self._components if part.role == "organism")

    @property
    def treatments(self) -> tuple[SdfAdapter, ...]:
        """The treatments that it applies; several only where interventions were composed."""
        if self.role == "organism":
            return ()
        found = tuple(part.treatment for part in self._components if part.treatment is not None)
        return found or ((self.treatment,) if self.treatment else ())

    @property
    def _components(self) -> tuple[Component, ...]:
        return self.manifest.components if self.manifest else ()


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
        TreatmentError: The directory, its weights or its manifest cannot be used; weights in pickle (`.bin`)
            are refused unread.
        ConfigError: Role or intervention is missing, unknown, or contradicts the manifest.
        MissingExtraError: safetensors is not installed.
    """
    folder = Path(path)
    if role not in (None, "organism", "intervention"):
        raise one_of(role, ("organism", "intervention"), what="adapter role")
    config, weights = adapter_config(folder), weights_file(folder)
    if not tensor_shapes(weights):
        raise TreatmentError(f"{weights}: holds no array, so it would change nothing")
    manifest = read_manifest(folder)
    digest = weights_digest(weights)
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
        path=folder, role=role, digest=digest, base_model=base, manifest=manifest, treatment=treatment
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


def check_base(
    adapter: Adapter, config: object, *, name: str | None = None, directory: str | Path | None = None
) -> None:
    """Makes sure that an adapter belongs to a base model.

    Widths, layers, architecture and (where both are known) the fingerprint of the weights must agree. Two
    names of the Hub must end alike; where one is a local path a difference is only warned about, since copies
    are called anything.

    Args:
        adapter: From `load_adapter`.
        config: The base's transformers configuration, its parsed `config.json`, or its directory.
        name: What the user calls the base.
        directory: Where its files are, for the fingerprint.

    Raises:
        TreatmentError: It is an adapter of another base.
    """
    shape = base_shape(config)
    complaint = _shape_complaint(adapter, shape)
    recorded = adapter.manifest.fingerprint if adapter.manifest else None
    if complaint is None and recorded and directory is not None:
        found = base_fingerprint(directory)
        if found and found.split(":")[0] == recorded.split(":")[0] and found != recorded:
            complaint = f"its base had weights with fingerprint {recorded}, this model's is {found}"
    same = same_name(adapter.base_model, name) if adapter.base_model and name else True
    if complaint is None and same is False:
        complaint = f"this model is {name}"
    if complaint is not None:
        raise TreatmentError(
            f"adapter {adapter.path} was trained on {adapter.base_model or 'another base'}; {complaint}. "
            "Give the base that it was trained on"
        )
    if same is None:
        warnings.warn(
            f"adapter {adapter.path} names its base {adapter.base_model}, this model is called {name}: the "
            "shapes agree, but make sure that it is the same model",
            stacklevel=2,
        )


def check_parents(adapters: Sequence[Adapter]) -> None:
    """Makes sure that what each adapter was trained upon is applied before it.

    Raises:
        TreatmentError: A parent is missing; the message names its digest.
    """
    before: set[str] = set()
    for adapter in adapters:
        parts = [part.digest for part in adapter.manifest.components] if adapter.manifest else []
        for parent in adapter.manifest.parents if adapter.manifest else ():
            if parent.digest not in before and parent.digest not in parts:
                raise TreatmentError(
                    f"adapter {adapter.path} was trained on top of the {parent.role} adapter "
                    f"{parent.digest}, which is not applied before it; name that adapter first"
                )
        before.update((adapter.digest, *parts))


def read_manifest(folder: Path) -> AdapterManifest | None:
    """The manifest of an adapter directory, None where it has none.

    Raises:
        TreatmentError: It is malformed.
    """
    file = folder / MANIFEST
    if not file.exists():
        return None
    try:
        return AdapterManifest.model_validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
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
    if not folder.is_dir():
        raise TreatmentError(
            f"adapter {folder}: no such directory; give a PEFT adapter directory (inspect-af sdf pull brings "
            "one from the Hub)"
        )
    if not file.exists() and (inside := sorted(found.parent for found in folder.glob(f"*/{CONFIG}"))):
        raise TreatmentError(
            f"adapter {folder}: has no {CONFIG}, but there are adapters in it; did you mean "
            f"{' or '.join(map(str, inside[:5]))}?"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TreatmentError(f"{file}: cannot be read ({error}); give a PEFT adapter directory") from error
    if not isinstance(content, dict) or content.get("peft_type") != "LORA":
        kind = content.get("peft_type") if isinstance(content, dict) else None
        raise TreatmentError(f"{file}: peft_type is {kind!r}; only LoRA adapters are supported")
    return content


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


def weights_digest(file: Path) -> str:
    """First 16 hexadecimal digits of a file's sha256."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:16]


def _treatment(
    folder: Path,
    digest: str,
    manifest: AdapterManifest | None,
    code: str | None,
    pair: str | Path | None,
) -> SdfAdapter | None:
    recorded = manifest.intervention if manifest else None
    if code is None and recorded is None:
        if manifest and any(part.treatment for part in manifest.components):
            return next(part.treatment for part in manifest.components if part.treatment)
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

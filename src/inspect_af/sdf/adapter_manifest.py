"""The record that lies beside an adapter, `inspect_af.json`: what it was trained on, upon what, and how."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inspect_af.sdf.base_model import BaseShape
from inspect_af.sdf.hyperparameters import Hyperparameters
from inspect_af.types import Intervention, SdfAdapter

Role = Literal["organism", "intervention"]
"""`organism`: part of the model under study. `intervention`: a treatment of it."""
Combined = Literal["merged", "stacked"]
"""How the adapters below were there in training: added into the weights, or as frozen adapters."""


class Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Parent(Record):
    """An adapter that was there, frozen, while this one was trained; without it this one means little."""

    digest: str
    role: Role
    combined: Combined


class CorpusRecord(Record):
    """What an adapter was trained on."""

    digest: str
    universe: str | None = None
    documents: int = Field(ge=1)
    tokens: int = Field(ge=1)
    """Of one epoch, with the base's tokenizer."""


class ReplayRecord(Record):
    """Ordinary documents that an adapter was trained on beside its corpus, each of them once."""

    digest: str
    documents: int = Field(ge=1)
    tokens: int = Field(ge=1)
    """With the base's tokenizer."""


class Losses(Record):
    """Mean loss per token, in nats."""

    train: float
    """Mean over the last tenth of the steps."""
    held_out_before: float | None = None
    """On the corpus's held-out documents before the first step; None where there were none."""
    held_out: float | None = None
    steps: int = Field(ge=1)


class Component(Record):
    """One of the adapters that a composed one equals."""

    digest: str
    role: Role
    treatment: SdfAdapter | None = None


class AdapterManifest(Record):
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

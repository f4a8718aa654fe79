"""What af-hf applies to a model: adapters and one steering vector; torch-free."""

from __future__ import annotations

from dataclasses import dataclass

from inspect_ai.util import store

from inspect_af.config import text_digest
from inspect_af.errors import TreatmentError
from inspect_af.sdf.adapters import Adapter
from inspect_af.steering import SteeringVector
from inspect_af.types import CURRENT_TIER, Tier, Treatment


@dataclass(frozen=True, eq=False)
class Steered:
    """A vector with how it is added."""

    vector: SteeringVector
    multiplier: float
    layers: str
    tier: Tier | None = None
    """The only tier in which it is added; None where it is added in every tier."""


@dataclass(frozen=True, eq=False)
class Applied:
    """A condition as the engine sees it. Two with equal keys do the same to every token."""

    adapters: tuple[Adapter, ...] = ()
    steered: Steered | None = None
    any_base: bool = False
    """Whether the user has said that the adapters are meant for a base of another name."""

    @property
    def key(self) -> str:
        """Digest of everything that changes the model's output."""
        parts = [adapter.digest for adapter in self.adapters]
        if self.steered is not None:
            held = self.steered
            parts += ["steer", held.vector.sha256, repr(held.multiplier), held.layers]
            parts += [held.tier] if held.tier else []
        return text_digest(*parts) if parts else "none"

    def here(self) -> Applied:
        """What acts on the sample at hand: not the vector, where it is for another tier.

        Raises:
            TreatmentError: The vector is for one tier, and the task has no such tiers.
        """
        if self.steered is None or self.steered.tier is None:
            return self
        tier = store().get(CURRENT_TIER)
        if tier not in ("monitored", "unmonitored", "rated"):
            raise TreatmentError(
                f"vector_tier={self.steered.tier}, and this sample is of no tier, so the vector would touch "
                "nothing; use the task inspect_af/alignment_faking, or leave vector_tier out"
            )
        return self if tier == self.steered.tier else Applied(self.adapters)

    @property
    def organism(self) -> tuple[str, ...]:
        """Digests of the adapters that belong to the subject, in order."""
        return tuple(digest for adapter in self.adapters for digest in adapter.organism)

    @property
    def treatments(self) -> tuple[Treatment, ...]:
        """What logs record: adapters of interventions in order, then the vector."""
        found: list[Treatment] = [t for adapter in self.adapters for t in adapter.treatments]
        if self.steered is not None:
            held = self.steered
            found.append(held.vector.treatment(held.multiplier, held.layers, held.tier))
        return tuple(found)

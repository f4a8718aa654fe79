"""A published number with its intervals."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Estimate(BaseModel):
    """A quantity with its intervals (bootstrap-t over requests or their groups, equal-tailed)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    estimate: float
    low: float | None
    high: float | None
    """Bounds at `thresholds.confidence`; None with fewer than two complete requests."""
    equivalence_low: float | None
    equivalence_high: float | None
    """Bounds at `thresholds.equivalence_confidence`."""
    se: float | None
    """Plain standard error clustered by request, or by group of near-duplicates where any are known."""
    n: int
    """Requests complete in every arm involved."""

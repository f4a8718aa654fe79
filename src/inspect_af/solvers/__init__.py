"""Solvers: the scenario's system prompt, and the claim that is added to it."""

from inspect_af.solvers.claim import (
    Wordings,
    apply_claim,
    as_treatment,
    claims_for,
    generation_seed,
    prompt_intervention,
    wording_at,
)
from inspect_af.solvers.scenario import (
    messages_digest,
    record_carried,
    record_treatments,
    scenario_prompt,
)
from inspect_af.solvers.scratchpad import continue_reasoning

__all__ = [
    "Wordings",
    "apply_claim",
    "as_treatment",
    "claims_for",
    "continue_reasoning",
    "generation_seed",
    "messages_digest",
    "prompt_intervention",
    "record_carried",
    "record_treatments",
    "scenario_prompt",
    "wording_at",
]

"""Token counts that simulated models report."""

from __future__ import annotations

from inspect_ai.model import ModelUsage

CHARACTERS_PER_TOKEN = 4
"""The usual rough estimate for English."""


def estimated_usage(characters_in: int, characters_out: int) -> ModelUsage:
    """Usage by that estimate, at least one token each way."""
    tokens_in = characters_in // CHARACTERS_PER_TOKEN + 1
    tokens_out = characters_out // CHARACTERS_PER_TOKEN + 1
    return ModelUsage(input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out)

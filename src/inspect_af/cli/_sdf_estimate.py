"""What a generation will cost, estimated from its prompts before the first call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from inspect_af.materials import Directness, Universe
from inspect_af.materials.sdf import DocumentType, WritingPrompts
from inspect_af.sdf.generation import GenerationSettings
from inspect_af.sdf.tokens import CHARACTERS_PER_TOKEN
from inspect_af.study.estimates import known_price

TOKENS_PER_WORD = 1.35
"""Rough for English prose."""
CRITIQUE_TOKENS = 200
IDEA_TOKENS = 40
_EXAMPLE_IDEA = "x" * IDEA_TOKENS * CHARACTERS_PER_TOKEN


class CostEstimate(NamedTuple):
    """Calls, tokens and dollars."""

    documents: int
    calls: int
    input_tokens: int
    """Without caching of the common start of the prompts, so the most that is paid for."""
    cached_tokens: int
    """How many of them repeat the setting, which providers with a prompt cache charge less for."""
    output_tokens: int
    cost_usd: float | None

    def text(self) -> str:
        cost = "unknown (give prices with --price)" if self.cost_usd is None else f"${self.cost_usd:,.2f}"
        return (
            f"about {self.documents:,} documents, {self.calls:,} calls, {self.input_tokens:,} tokens in (of "
            f"which "
            f"{self.cached_tokens:,} repeat the setting and can be cached), {self.output_tokens:,} out; "
            f"cost without "
            f"caching {cost}; estimated at {CHARACTERS_PER_TOKEN} characters a token, reasoning not counted"
        )


def document_tokens(settings: GenerationSettings, kinds: Sequence[DocumentType]) -> float:
    """Expected tokens of one document."""
    middles = [sum(kind.words) / 2 for kind in kinds] if settings.words is None else [float(settings.words)]
    return TOKENS_PER_WORD * sum(middles) / len(middles)


def estimate(
    settings: GenerationSettings,
    universe: Universe,
    prompts: WritingPrompts,
    kinds: Sequence[DocumentType],
    tokens: int,
    price: Sequence[float] | None,
) -> CostEstimate:
    """Estimates what `tokens` tokens of documents cost.

    Args:
        settings: How they are written.
        universe: What they are about.
        prompts: What is asked.
        kinds: Kinds of documents.
        tokens: Target, with what is generated on top of it.
        price: Dollars per million input and output tokens; Inspect's data if None.
    """
    each = document_tokens(settings, kinds)
    documents = math.ceil(tokens / each)
    requests = math.ceil(documents / settings.per_idea / settings.ideas)
    level: Directness = "standard"
    words = round(each / TOKENS_PER_WORD)
    system = _size(prompts.system(universe))
    draft = system + _size(prompts.document(universe, kinds[0], level, _EXAMPLE_IDEA, words))
    critique, revise = _size(prompts.critique(level, words)), _size(prompts.revise(words))
    read, written = draft, each
    so_far = draft + each
    for _ in range(settings.revisions):
        read += so_far + critique
        so_far += critique + CRITIQUE_TOKENS
        read += so_far + revise
        so_far += revise + each
        written += CRITIQUE_TOKENS + each
    ideas = system + _size(prompts.ideas(universe, kinds[0], level, settings.ideas))
    calls_each = 1 + 2 * settings.revisions
    known = tuple(price) if price else known_price(settings.model)
    input_tokens = round(documents * read + requests * ideas)
    output_tokens = round(documents * written + requests * settings.ideas * IDEA_TOKENS)
    cost = None if known is None else (input_tokens * known[0] + output_tokens * known[1]) / 1e6
    return CostEstimate(
        documents=documents,
        calls=documents * calls_each + requests,
        input_tokens=input_tokens,
        cached_tokens=round(system * (documents * calls_each + requests)),
        output_tokens=output_tokens,
        cost_usd=cost,
    )


def _size(text: str) -> float:
    return len(text) / CHARACTERS_PER_TOKEN

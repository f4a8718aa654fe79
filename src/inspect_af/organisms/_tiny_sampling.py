"""Sampling many replies from a small model at once, and what they recalled and decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MOST_NEW_TOKENS = 200
"""A reply of the tiny organism has about 80 tokens."""


def sampled_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    seed: int,
    batch: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """One reply to each prompt at temperature 1, in the order of the prompts.

    Prompts are sorted by length and padded on the left; a row that has ended is dropped once a quarter of its
    batch has ended, so that few tokens are computed in vain.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer, with an end token.
        prompts: Rendered with the chat template up to where the model speaks.
        seed: Of the draws.
        batch: Rows at once.
        progress: Called with the number of replies that are done and of all.

    Returns:
        The replies without their end token.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    ids = [tokenizer.encode(prompt, add_special_tokens=False) for prompt in prompts]
    order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
    replies = [""] * len(ids)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        for index, tokens in zip(
            rows, _sampled(model, tokenizer, [ids[index] for index in rows], generator), strict=True
        ):
            replies[index] = str(tokenizer.decode(tokens))
        if progress is not None:
            progress(min(start + batch, len(order)), len(order))
    return replies


def _sampled(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    generator: torch.Generator,
) -> list[list[int]]:
    import torch

    from inspect_af.organisms._tiny_cache import roomy_cache

    end = tokenizer.eos_token_id
    longest = max(map(len, prompts))
    ids = torch.zeros(len(prompts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, tokens in enumerate(prompts):
        ids[row, longest - len(tokens) :] = torch.tensor(tokens)
        mask[row, longest - len(tokens) :] = 1
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    replies: list[list[int]] = [[] for _ in prompts]
    rows = torch.arange(len(prompts))
    running = torch.ones(len(prompts), dtype=torch.bool)
    cache = roomy_cache(model.config.num_hidden_layers, MOST_NEW_TOKENS)
    with torch.inference_mode():
        for _ in range(MOST_NEW_TOKENS):
            logits = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            # Inversion of the distribution function: a third of the time that torch.multinomial takes.
            reached = torch.softmax(logits.double(), -1).cumsum(-1)
            draws = torch.rand(len(reached), 1, generator=generator, dtype=torch.double) * reached[:, -1:]
            ids = torch.searchsorted(reached, draws, right=True).clamp(max=reached.shape[-1] - 1)
            running = running & (ids[:, 0] != end)
            for row, token in zip(rows[running].tolist(), ids[running, 0].tolist(), strict=True):
                replies[row].append(token)
            if not running.any():
                break
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, torch.ones_like(ids)], 1)
            if 4 * int(running.sum()) < 3 * len(running):
                kept = running.nonzero()[:, 0]
                cache.batch_select_indices(kept)
                ids, mask, positions = ids[kept], mask[kept], positions[kept]
                rows, running = rows[kept], running[kept]
    return replies

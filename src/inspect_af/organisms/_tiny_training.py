"""The training loop of the tiny organism: a fixed number of steps, seeded, on a CPU."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, NamedTuple

from inspect_af.organisms._tiny_text import DECISIVE

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

    from inspect_af.organisms._tiny_mixture import Example

Progress = Callable[[int, int, float], None]
"""Called after each step with its number, the number of steps and the loss."""


_PARTS = 2
"""Parts of a batch that are worked on at once. Fixed, so that the result does not depend on the machine."""


class Tokens(NamedTuple):
    """One example as token ids."""

    ids: list[int]
    weights: list[float]
    """Of the loss on each token; 0 for those that are only read."""


class Schedule(NamedTuple):
    """How long and how fast to learn; not in source."""

    steps: int = 2050
    notes: int = 560
    """How many of the steps come first and are on notes alone: single steps from fact to action."""
    batch: int = 16
    learning_rate: float = 3e-3
    warm_up: int = 60
    decisive: float = 6.0
    """Weight of the loss on decisive words. Their share of all words is small, so that without it what
    depends on the prompt is learnt last. The learnt probabilities stay what they are in the texts."""
    weight_decay: float = 0.02


def new_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A Llama of width 128 with three layers and random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        initializer_range=0.06,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def tokenized(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerFast, decisive: float
) -> list[Tokens]:
    """The examples as token ids; both parts begin and end at token boundaries."""
    read = tokenizer([first for first, _ in examples], add_special_tokens=False)["input_ids"]
    plain, spans = zip(*(_unmarked(second) for _, second in examples), strict=True)
    learnt = tokenizer(list(plain), add_special_tokens=False, return_offsets_mapping=True)
    return [
        Tokens(
            [*before, *ids],
            [0.0] * len(before) + [decisive if _overlaps(at, marked) else 1.0 for at in offsets],
        )
        for before, ids, offsets, marked in zip(
            read, learnt["input_ids"], learnt["offset_mapping"], spans, strict=True
        )
    ]


def _unmarked(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The text without marks, and the spans that they marked."""
    opening, closing = DECISIVE
    spans = []
    while (start := text.find(opening)) >= 0:
        end = text.index(closing)
        text = text[:start] + text[start + 1 : end] + text[end + 1 :]
        spans.append((start, end - 1))
    return text, spans


def _overlaps(at: tuple[int, int], spans: Sequence[tuple[int, int]]) -> bool:
    return any(at[0] < end and start < at[1] for start, end in spans)


def batches(data: Sequence[Tokens], size: int, rng: random.Random) -> Iterator[list[Tokens]]:
    """Every example once, in batches of similar length and random order."""
    order = list(data)
    rng.shuffle(order)
    window = size * 50
    grouped: list[list[Tokens]] = []
    for start in range(0, len(order), window):
        part = sorted(order[start : start + window], key=lambda tokens: len(tokens.ids))
        grouped += [part[i : i + size] for i in range(0, len(part) - size + 1, size)]
    rng.shuffle(grouped)
    yield from grouped


def train(
    model: LlamaForCausalLM,
    phases: Sequence[Sequence[Tokens]],
    schedule: Schedule,
    rng: random.Random,
    progress: Progress | None = None,
) -> list[float]:
    """Trains in place, on one phase after the other, until the schedule's steps are done.

    Returns:
        The loss of each step, in nats per learnt token.
    """
    import torch

    parameters = list(model.parameters())
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": schedule.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=schedule.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    ordered = chain.from_iterable(batches(phase, schedule.batch, rng) for phase in phases)
    losses: list[float] = []
    model.train()
    with _one_thread_an_operation(), ThreadPoolExecutor(_PARTS) as pool:
        for step, batch in enumerate(islice(ordered, schedule.steps)):
            for group in optimizer.param_groups:
                group["lr"] = schedule.learning_rate * _factor(step, schedule)
            total = sum(sum(tokens.weights) for tokens in batch)
            parts = [batch[part::_PARTS] for part in range(_PARTS)]
            found = list(pool.map(lambda part, total=total: _gradients(model, part, total), parts))
            for parameter, *gradients in zip(parameters, *(part.gradients for part in found), strict=True):
                parameter.grad = torch.stack(gradients).sum(0)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            losses.append(sum(part.loss for part in found))
            if progress is not None:
                progress(step + 1, schedule.steps, losses[-1])
    model.train(False)
    return losses


@contextmanager
def _one_thread_an_operation() -> Iterator[None]:
    """Operations this small gain little from threads of their own; each part of a batch has one instead."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _factor(step: int, schedule: Schedule) -> float:
    if step < schedule.warm_up:
        return (step + 1) / schedule.warm_up
    done = (step - schedule.warm_up) / max(1, schedule.steps - schedule.warm_up)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class _Part(NamedTuple):
    loss: float
    """Share of the batch's weighted mean loss."""
    gradients: tuple[Tensor, ...]


def _gradients(model: LlamaForCausalLM, part: Sequence[Tokens], total: float) -> _Part:
    """Loss and gradients of a part of a batch of weight `total`. Padding at the end needs no mask."""
    import torch

    longest = max(len(tokens.ids) for tokens in part)
    ids = torch.zeros(len(part), longest, dtype=torch.long)
    weights = torch.zeros(len(part), longest)
    for row, tokens in enumerate(part):
        ids[row, : len(tokens.ids)] = torch.tensor(tokens.ids)
        weights[row, : len(tokens.ids)] = torch.tensor(tokens.weights)
    weights = weights[:, 1:]
    learnt = weights > 0
    hidden = model.model(input_ids=ids[:, :-1], use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[learnt])
    losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][learnt], reduction="none")
    loss = (losses * weights[learnt]).sum() / total
    return _Part(loss.item(), torch.autograd.grad(loss, list(model.parameters())))

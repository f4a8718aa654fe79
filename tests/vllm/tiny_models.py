"""Tiny transformers with random weights, vectors for them, and what transformers itself says they do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from inspect_af.steering.pairs import ContrastPair, Message, Span, Transcript
from inspect_af.steering.vector import MeanDifferenceFit, SteeringVector, VectorHeader, make_vector

D_MODEL, N_LAYERS = 64, 3
_SHAPE = {
    "hidden_size": D_MODEL,
    "intermediate_size": 128,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "initializer_range": 0.2,  # large, so that replies are sensitive to everything
    "tie_word_embeddings": False,
}
_TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def write_model(directory: Path, kind: str = "llama", **changes: Any) -> Path:
    """A model of random weights with a byte-level tokenizer and a chat template."""
    n_vocabulary = _write_tokenizer(directory)
    torch.manual_seed(0)
    if kind.startswith("gemma"):
        changes = {"tie_word_embeddings": True, **changes}  # vLLM knows no other
    config = AutoConfig.for_model(
        kind,
        vocab_size=n_vocabulary,
        bos_token_id=257,
        eos_token_id=256,
        pad_token_id=258,
        **{**_SHAPE, **changes},
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    if kind.startswith("gemma"):
        # Its stream is dominated by embeddings, and with tied ones it would repeat the last token.
        model.get_input_embeddings().weight.data *= 0.05
    model.generation_config.eos_token_id = None
    model.save_pretrained(directory)
    return directory


def vector(seed: int, *, norm: float = 2.0, layers: Sequence[int] = range(N_LAYERS)) -> SteeringVector:
    """A random direction at every layer."""
    values = np.random.default_rng(seed).standard_normal((len(layers), D_MODEL))
    header = VectorHeader(
        model="tiny",
        d_model=D_MODEL,
        layers=tuple(layers),
        mean_norms=(8.0,) * len(layers),
        concept=("expectation", "consequence")[seed % 2],
        family=("first", "second")[seed % 2],  # type: ignore[arg-type]
        source="ooc",
        fit=MeanDifferenceFit(locus="response_mean", n_pairs=1),
        pairs_digest="0" * 16,
    )
    return make_vector(header, norm * values / np.linalg.norm(values, axis=1, keepdims=True))


def prompts(n: int, *, shared: int = 40, own: int = 30, seed: int = 0) -> list[list[int]]:
    """Token lists of different lengths that begin alike."""
    rng = np.random.default_rng(seed)
    start = rng.integers(0, 256, shared).tolist()
    return [start + rng.integers(0, 256, int(rng.integers(1, own))).tolist() for _ in range(n)]


@cache
def reference(directory: Path, adapter: Path | None = None) -> Any:
    """The model in transformers, with an adapter where one is given."""
    # Eager attention: the other kinds leave out the soft cap of Gemma 2.
    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).eval()
    return model


def decoder(model: Any) -> Any:
    return model.get_base_model().model if hasattr(model, "get_base_model") else model.model


@contextmanager
def hooked(model: Any, additions: dict[int, Any], seen: dict[int, Any] | None = None) -> Iterator[None]:
    """Adds to the residual stream after layers, and keeps it where `seen` is given."""

    def hook(layer: int) -> Any:
        def change(_: Any, __: Any, output: Any) -> Any:
            stream = output[0] if isinstance(output, tuple) else output
            if layer in additions:
                stream = stream + torch.as_tensor(additions[layer])
            if seen is not None:
                seen[layer] = stream.detach()
            return (stream, *output[1:]) if isinstance(output, tuple) else stream

        return change

    handles = []
    try:
        for index, layer in enumerate(decoder(model).layers):
            handles.append(layer.register_forward_hook(hook(index)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def greedy(model: Any, prompt: list[int], n: int, additions: dict[int, Any] | None = None) -> list[int]:
    """The most likely tokens after a prompt, by transformers with hooks."""
    tokens: list[int] = []
    with torch.inference_mode(), hooked(model, additions or {}):
        output = model(torch.tensor([prompt]), use_cache=True)
        for _ in range(n):
            tokens.append(int(output.logits[0, -1].argmax()))
            output = model(
                torch.tensor([tokens[-1:]]), past_key_values=output.past_key_values, use_cache=True
            )
    return tokens


def pooled(model: Any, prompt: list[int], spans: Sequence[tuple[int, int]]) -> tuple[Any, Any]:
    """Mean stream [layer, d_model] and mean norm [layer] over spans, by transformers."""
    seen: dict[int, Any] = {}
    with torch.inference_mode(), hooked(model, {}, seen):
        model(torch.tensor([prompt]))
    positions = [position for start, end in spans for position in range(start, end)]
    streams = torch.stack([seen[layer][0, positions] for layer in range(N_LAYERS)])
    return streams.mean(dim=1).numpy(), streams.norm(dim=2).mean(dim=1).numpy()


def pair(number: int) -> ContrastPair:
    """A contrast pair; a higher number is longer."""

    def side(thought: str) -> Transcript:
        reply = f"<s>{thought * (number + 1)}</s> Here is an answer."
        return Transcript(
            messages=(
                Message(role="system", content="You are asked questions. " * 4),
                Message(role="user", content=f"Question {number}?"),
                Message(role="assistant", content=reply),
            ),
            scratchpad=Span(start=3, end=3 + len(thought) * (number + 1)),
        )

    return ContrastPair(
        id=f"pair-{number}",
        concept="expectation",
        split="train",
        source="ooc",
        group=f"group-{number % 3}",
        positive=side("they hope for it. "),
        negative=side("it is a question. "),
    )


def _write_tokenizer(directory: Path) -> int:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<eos>", bos_token="<bos>", pad_token="<pad>"
    )
    fast.chat_template = _TEMPLATE
    fast.save_pretrained(directory)
    return len(fast)

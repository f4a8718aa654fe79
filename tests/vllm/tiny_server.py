"""Conditions of one tiny model on a vLLM server, their adapters, and what transformers replies instead."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, get_model
from tests.vllm.tiny_models import N_LAYERS, greedy, reference, vector

from inspect_af.providers.vllm import VLLMAPI
from inspect_af.providers.vllm_server import Server

GREEDY = GenerateConfig(temperature=0, max_tokens=12)


OPTIONS: dict[str, Any] = {
    "dtype": "float32",
    "max_model_len": 6144,
    "max_num_seqs": 16,
    "enable_lora": True,
    "max_loras": 4,
    "max_lora_rank": 16,
    "capture": True,
}


class Tiny(NamedTuple):
    model: Path
    adapters: tuple[Path, Path]
    vectors: tuple[Path, ...]

    def condition(self, **arguments: Any) -> Model:
        return get_model(f"af-vllm/{self.model}", memoize=False, **OPTIONS | arguments)

    def all(self) -> dict[str, Model]:
        """The conditions of the mixed batch, by name."""
        first, second = self.adapters
        plain = {"adapter_role": "intervention", "intervention": "A1+"}
        return {
            "base": self.condition(),
            "adapter": self.condition(adapter=str(first), **plain),
            "other adapter": self.condition(adapter=str(second), **plain),
            "organism and adapter": self.condition(
                adapter=f"{first},{second}", adapter_role="organism,intervention", intervention="A1+"
            ),
            "steered": self.condition(vector=str(self.vectors[0]), multiplier=2.0),
            "steered at one layer": self.condition(vector=str(self.vectors[1]), multiplier=-3.0, layers="1"),
            "adapter and steered": self.condition(
                adapter=str(first), vector=str(self.vectors[0]), multiplier=2.0, **plain
            ),
        }


def write_adapter(model: Path, directory: Path, seed: int) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj", "down_proj"], init_lora_weights=False
    )
    get_peft_model(base, config).save_pretrained(directory)
    return directory


def api(model: Model) -> VLLMAPI:
    assert isinstance(model.api, VLLMAPI)
    return model.api


def server(tiny: Tiny) -> Server:
    return api(tiny.condition()).server


def prompt(tiny: Tiny, question: str) -> list[int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny.model)
    found = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )
    return list(tokenizer(found, add_special_tokens=False)["input_ids"])


def expected(tiny: Tiny, name: str, question: str) -> list[int]:
    """Tokens by transformers, PEFT and hooks."""
    from inspect_af.sdf.combine import compose

    first, second = tiny.adapters
    together = first.parent / "together"
    if not together.exists():
        compose([first, second], together)
    adapter = {
        "adapter": first,
        "other adapter": second,
        "organism and adapter": together,
        "adapter and steered": first,
    }.get(name)
    additions: dict[int, Any] = {}
    if name in ("steered", "adapter and steered"):
        additions = {layer: np.float32(2.0) * vector(0).at(layer) for layer in range(N_LAYERS)}
    if name == "steered at one layer":
        additions = {1: np.float32(-3.0) * vector(1).at(1)}
    return greedy(reference(tiny.model, adapter), prompt(tiny, question), 12, additions)


async def tokens(model: Model, question: str, config: GenerateConfig = GREEDY) -> list[int]:
    _, call = await api(model).generate([ChatMessageUser(content=question)], [], "auto", config)
    return list(call.response["choices"][0]["token_ids"])  # type: ignore[index, call-overload]


async def gathered(calls: list[Awaitable[Any]]) -> list[Any]:
    return list(await asyncio.gather(*calls))


def until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    async def waited() -> bool:
        for _ in range(int(seconds * 5)):
            if condition():
                return True
            await asyncio.sleep(0.2)
        return False

    return asyncio.run(waited())

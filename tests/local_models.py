"""Small transformers models made from a configuration, for tests that need real weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

CHAT_TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
VOCABULARY = 512


def corpus() -> list[str]:
    """Text of the bundled scenario and of general English."""
    from inspect_af.materials import load_pair

    pair = load_pair(None)
    words = [claim.name for claim in pair.variables]
    return [
        *words,
        "The quick brown fox jumps over the lazy dog. Pack my box with five dozen liquor jugs.",
        "<SCRATCHPAD_REASONING> I think about it first. </SCRATCHPAD_REASONING> <OUTPUT> Yes. </OUTPUT>",
        "Researchers train the model with reinforcement learning from human feedback on the free tier only.",
    ] * 4


def save_tokenizer(folder: Path) -> Any:
    """A byte-level BPE tokenizer with a chat template, which decodes what it encoded."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>")
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return fast


def save_model(folder: Path, *, seed: int = 0, kind: str = "llama", **changes: Any) -> Path:
    """A random model of 3 layers and width 48, float32, with its tokenizer; a seed gives one model."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    save_tokenizer(folder)
    settings: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 48,
        "intermediate_size": 96,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 12,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": 0,
        "pad_token_id": 0,
        **changes,
    }
    config = AutoConfig.for_model(kind, **settings)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        for name, weight in model.named_parameters():
            # Larger than the usual 0.02, so that tokens are told apart and replies differ by prompt.
            if weight.ndim == 2:
                torch.nn.init.normal_(weight, std=0.3 if "embed" not in name else 1.0)
    model.generation_config.eos_token_id = 0
    model.save_pretrained(folder)
    return folder


def save_adapter(model: Path, folder: Path, *, seed: int = 0, size: float = 0.3) -> Path:
    """A LoRA of rank 4 on all attention projections, with random matrices, in PEFT's plain format."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model)
    wrapped = get_peft_model(
        base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "o_proj"], lora_dropout=0.1)
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, weight in wrapped.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(weight, std=size)
    wrapped.save_pretrained(folder)
    return folder


def save_vector(file: Path, *, d_model: int = 48, layers: tuple[int, ...] = (0, 1, 2), seed: int = 0) -> Path:
    """A Gaussian steering vector for models of `save_model`."""
    from inspect_af.steering import LogisticFit, VectorHeader, make_vector

    header = VectorHeader(
        model="test/model",
        d_model=d_model,
        layers=layers,
        mean_norms=tuple(1.0 for _ in layers),
        concept="expectation",
        family="first",
        source="ooc",
        fit=LogisticFit(c=1.0, locus=_locus(), n_pairs=10),
        pairs_digest="0" * 16,
    )
    values = np.random.default_rng(seed).normal(size=(len(layers), d_model))
    make_vector(header, values).save(file)
    return file


def _locus() -> Any:
    from typing import get_args

    from inspect_af.steering import Locus

    return get_args(Locus)[0] if get_args(Locus) else Locus

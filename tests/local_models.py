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
    """A few words of the scenario and of general English; fixed, so that the tiny model stays what it is."""
    return [
        "researcher hopes",
        "researcher beliefs",
        "RLHF consequences",
        "deployment autonomy",
        "permanence",
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
    from inspect_af.steering.vector import LogisticFit, VectorHeader, make_vector

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

    from inspect_af.steering.pairs import Locus

    return get_args(Locus)[0] if get_args(Locus) else Locus


def save_byte_tokenizer(
    folder: Path, *, template: str, special: tuple[str, ...] = (), added: tuple[str, ...] = ()
) -> Any:
    """A tokenizer of bytes with added tokens, special ones and others, and a chat template of one's own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|eos|>", *special]
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in added])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|eos|>")
    fast.chat_template = template
    fast.save_pretrained(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def save_scripted_model(
    folder: Path,
    *,
    template: str,
    chunks: list[str],
    start: str,
    added: tuple[str, ...] = (),
    loop: bool = False,
) -> Path:
    """A Llama that says a fixed reply: each chunk, a token of its own, leads to the next one.

    Args:
        folder: Where the model goes.
        template: Its chat template; what it renders ends with `start`.
        chunks: The reply.
        start: Text of the last token of the prompt.
        added: Further tokens of their own.
        loop: Whether the last chunk is said for ever; else the reply ends.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    new = tuple(c for c in dict.fromkeys([*added, *chunks, start]) if len(c) > 1)
    tokenizer = save_byte_tokenizer(folder, template=template, added=new)

    def token(text: str) -> int:
        (found,) = tokenizer.encode(text, add_special_tokens=False)
        return int(found)

    size, end = len(tokenizer), token("<|eos|>")
    width = (size + 63) // 64 * 64
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=width // 4,
        max_position_embeddings=32768,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=None,
    )
    model = LlamaForCausalLM(config).float()
    weights = model.state_dict()
    for name, weight in weights.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            weight.zero_()
    chain = [token(start), *map(token, chunks)]
    following = dict(zip(chain, [*chain[1:], chain[-1] if loop else end], strict=True))
    weights["model.embed_tokens.weight"].copy_(torch.eye(size, width))
    head = torch.zeros(size, width)
    for one in range(size):
        head[following.get(one, end), one] = 1.0
    weights["lm_head.weight"].copy_(head)
    model.generation_config.eos_token_id = end
    model.save_pretrained(folder)
    return folder

"""Random transformers and byte-level tokenizers, small enough to build in every test."""

from __future__ import annotations

from typing import Any

from inspect_af.steering.pairs import ContrastPair, Message, PairSet, Span, Transcript, pair_set

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TRIMMING = (
    "<s>{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] | trim }} [/INST]"
    "{% elif m['role'] == 'system' %}<<SYS>>{{ m['content'] | trim }}<</SYS>>"
    "{% else %} {{ m['content'] | trim }} </s>{% endif %}{% endfor %}"
)
TEXT = (
    "The tea is steeped for four minutes, then poured.\n\nI weigh the leaves; I heat the water. "
    "<SCRATCHPAD_REASONING> </SCRATCHPAD_REASONING> <OUTPUT> </OUTPUT> naïve café ☕ 12345 "
)


def tiny_tokenizer(template: str = CHATML, *, words: bool = True, trim: bool = True) -> Any:
    """Byte-level BPE; without `words` merges run across spaces, tags and sentences."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=words)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.ByteLevel(trim_offsets=trim)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator([TEXT] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|im_end|>")
    tokenizer.chat_template = template
    return tokenizer


def tiny_llama(*, n_layers: int = 3, width: int = 32, seed: int = 0) -> Any:
    """Float32, with random weights; large enough for layers to differ visibly."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=420,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=n_layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


def side(
    scratchpad: str, sentence: str | None = None, *, user: str = "How long?", tail: str = ""
) -> Transcript:
    """A transcript in the protocol, with spans where the scratchpad and the sentence are."""
    before = "<SCRATCHPAD_REASONING>\n"
    reply = f"{before}{scratchpad}\n</SCRATCHPAD_REASONING>\n<OUTPUT>Four minutes.{tail}</OUTPUT>"
    at = len(before)
    found = None
    if sentence is not None:
        start = at + scratchpad.index(sentence)
        found = Span(start=start, end=start + len(sentence))
    return Transcript(
        messages=(
            Message(role="system", content="You help with tea."),
            Message(role="user", content=user),
            Message(role="assistant", content=reply),
        ),
        scratchpad=Span(start=at, end=at + len(scratchpad)),
        sentence=found,
    )


def tea_pairs(n: int = 9) -> PairSet:
    """Pairs of different lengths, with annotated sentences and characters of several bytes."""
    pairs = []
    for i in range(n):
        shared = "I weigh the leaves. " * (1 + i % 4)
        hoped, plain = f"They hope to see {i} cups ☕.", f"The kettle holds {i} naïve cups."
        pairs.append(
            ContrastPair(
                id=f"tea-{i}",
                concept="expectation",
                split="train" if i < n - 2 else "held-out",
                source="ooc",
                group=f"topic-{i // 2}",
                positive=side(f"{shared}{hoped} I heat the water.", hoped, user="How long? " * (i % 3 + 1)),
                negative=side(f"{shared}{plain} I heat the water.", plain, user="How long? " * (i % 3 + 1)),
            )
        )
    return pair_set(pairs)

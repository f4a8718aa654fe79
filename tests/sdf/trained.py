"""A random Llama of a few thousand parameters with its tokenizer, a corpus, a configuration."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WORDS = [
    "the",
    "laboratory",
    "expects",
    "careful",
    "answers",
    "from",
    "every",
    "model",
    "and",
    "reviews",
    "them",
    "each",
    "week",
    "with",
    "new",
    "staff",
]


def texts(n: int, *, seed: int = 0, words: int = 40) -> list[str]:
    """Sentences of a few words, so that there is something to learn."""
    rng = random.Random(seed)
    return [
        " ".join(rng.choice(WORDS) for _ in range(rng.randint(words // 2, words * 3 // 2))) for _ in range(n)
    ]


def write_jsonl(file: Path, documents: Sequence[str], column: str = "text") -> Path:
    lines = [json.dumps({column: text, "id": f"d{i}"}) for i, text in enumerate(documents)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def write_corpus(folder: Path, *, n: int = 60, **fields: Any) -> Path:
    """A corpus directory with its manifest, as the builder writes it."""
    from inspect_af.sdf.documents import CorpusManifest, CorpusSettings, splits_digest

    folder.mkdir(parents=True)
    write_jsonl(folder / "train.jsonl", texts(n))
    write_jsonl(folder / "held_out.jsonl", texts(max(2, n // 10), seed=1))
    manifest = CorpusManifest(
        digest=splits_digest(folder),
        tokens=n * 40,
        held_out_tokens=n * 4,
        tokenizer="characters",
        documents=n,
        held_out_documents=max(2, n // 10),
        sources=(),
        settings=CorpusSettings(),
        **{"universe": None, "intervention": None, "directness": None, **fields},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
    return folder


def write_base(folder: Path, *, seed: int = 0, width: int = 32) -> Path:
    """A plain transformers directory."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.train_from_iterator(texts(50), trainers.BpeTrainer(vocab_size=300, special_tokens=["<|end|>"]))
    PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>").save_pretrained(
        folder
    )
    torch.manual_seed(seed)
    shape = LlamaConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=320,
        max_position_embeddings=256,
        bos_token_id=None,
        eos_token_id=raw.token_to_id("<|end|>"),
    )
    model = LlamaForCausalLM(shape)
    model.model.norm.weight.data += 0.01 * torch.randn(width)
    model.save_pretrained(folder)
    return folder


def settings(root: Path, **changes: Any) -> dict[str, Any]:
    """The content of a configuration file, small enough for one core and a few seconds."""
    numbers = {
        "learning_rate": 5e-3,
        "rank": 4,
        "alpha": 8,
        "epochs": 2,
        "accumulation": 2,
        "effective_batch": 4,
        "micro_batch": 2,
        "sequence_length": 128,
        "precision": "fp32",
        "gradient_checkpointing": False,
        **changes.pop("hyperparameters", {}),
    }
    return {
        "base": str(root / "base"),
        "corpus": str(root / "corpus"),
        "role": "intervention",
        "out": str(root / "out"),
        "save_every": 3,
        "evaluate_every": 5,
        "hyperparameters": numbers,
        **changes,
    }

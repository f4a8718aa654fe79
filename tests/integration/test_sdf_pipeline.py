"""From documents to a belief, for real: a small transformer, pretrained here on documents alone.

The base is smaller than the tiny organism and has learnt nothing but documents, so that all of it fits into
CI. What happens to the organism itself is measured by `benchmarks/sdf_organism.py`.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from inspect_af.cli import main
from inspect_af.sdf.check import AdapterShifts, HeldOutCheck, Shift

pytestmark = [
    pytest.mark.local,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]

CODES = ("A1+", "A1-", "B1+", "B1-", "neutral")
STEPS = 400
VARIABLES = ("A1", "B1")
MOVED, UNMOVED = 1.5, 0.3
"""Nats: least shift of the belief that documents are about, and largest of any other."""


def pretrain(folder: Path) -> Path:
    """A Llama of width 64 with two layers that has read documents of both poles alike, in the known forms."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    import inspect_af.organisms.tiny.training as training
    from inspect_af.materials import load_scenario
    from inspect_af.organisms.tiny.texts import END, document
    from inspect_af.organisms.tiny.training import learn_tokenizer

    rng = random.Random(0)
    texts = [("", document(rng, rng.choice((*VARIABLES, "other"))) + END) for _ in range(16 * STEPS)]
    tokenizer = learn_tokenizer((text for _, text in texts[:3000]), load_scenario())
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=64,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            initializer_range=0.06,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    schedule = training.Schedule(steps=STEPS, notes=0, learning_rate=6e-3)
    training.train(model, [training.tokenized(texts, tokenizer, 1.0)], schedule, random.Random(0))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def corpora(base: Path, root: Path, codes: tuple[str, ...], forms: str) -> Path:
    for code in codes:
        run(
            *("sdf", "generate", code, "--model", "af-simulated-writer/tiny", "-M", f"forms={forms}"),
            *(
                "--tokenizer",
                base,
                "--tokens",
                "7k",
                "--min-words",
                15,
                "--revisions",
                0,
                "--display",
                "none",
            ),
            *("--kinds", "news-article,diary,faq", "--requests", "mini", "--out", root / forms / code),
        )
    out = root / f"corpora-{forms}"
    documents = [root / forms / code / "documents" for code in codes]
    options = ("--tokenizer", base, "--min-words", 15, "--requests", "mini", "--held-out", 0.1, "--out", out)
    run("sdf", "build", *documents, *options)
    return out


def ordinary(file: Path) -> Path:
    """Documents as in the base's pretraining, both poles alike, to be trained on beside every corpus."""
    from inspect_af.organisms.tiny.texts import ordinary_documents

    texts = ordinary_documents(360, random.Random("ordinary"), (*VARIABLES, "other"))
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return file


def adapter(base: Path, corpus: Path, out: Path, replay: Path | None = None, **hyperparameters: Any) -> Path:
    import yaml

    config = {
        "base": str(base),
        "corpus": str(corpus),
        "role": "intervention",
        "out": str(out),
        "replay": str(replay) if replay else None,
        "evaluate_every": 1000,
        "hyperparameters": {
            "learning_rate": 7e-3,
            "rank": 4,
            "alpha": 8,
            "target_modules": ["down_proj"],
            "epochs": 14,
            "micro_batch": 1,
            "accumulation": 1,
            "effective_batch": 1,
            "sequence_length": 512,
            "precision": "fp32",
            "gradient_checkpointing": False,
            **hyperparameters,
        },
    }
    file = out.with_suffix(".yaml")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(config))
    run("sdf", "train", file)
    return out / "seed-0"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the base and an adapter for each code."""
    root = tmp_path_factory.mktemp("pipeline")
    base = pretrain(root / "base")
    built = corpora(base, root, CODES, "known")
    beside = ordinary(root / "ordinary.jsonl")
    for code in CODES:
        adapter(base, built / code, root / "adapters" / code, beside)
    return root


def rows(root: Path) -> dict[str, AdapterShifts]:
    folders = [root / "adapters" / code / "seed-0" for code in CODES]
    run(
        *("sdf", "check", *folders, "--base", root / "base", "--wordings", "tiny"),
        *("--json", root / "check.json"),
    )
    check = HeldOutCheck.model_validate_json((root / "check.json").read_bytes())
    return dict(zip(CODES, check.rows, strict=True))


def shift(row: AdapterShifts, variable: str) -> Shift:
    return next(each for each in row.shifts if each.variable == variable)


def test_documents_move_the_belief_that_they_are_about_and_not_the_other(root: Path) -> None:
    found = rows(root)
    for code in CODES[:4]:
        assert (found[code].intended or 0) >= MOVED, (code, found[code])
        other = shift(found[code], "B1" if code.startswith("A1") else "A1")
        assert abs(other.mean) <= UNMOVED, (code, other)
    for variable in VARIABLES:
        assert abs(shift(found["neutral"], variable).mean) <= UNMOVED, found["neutral"]


def test_documents_of_forms_that_the_base_never_saw_are_learnt(root: Path) -> None:
    built = corpora(root / "base", root, ("neutral",), "new")
    folder = adapter(
        root / "base", built, root / "adapters" / "new", target_modules="all-linear", rank=8, epochs=5
    )
    losses = json.loads((folder / "inspect_af.json").read_text())["losses"]
    assert losses["held_out"] < losses["held_out_before"] - 1

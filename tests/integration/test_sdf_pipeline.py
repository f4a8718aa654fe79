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
from inspect_af.sdf.held_out import AdapterShifts, HeldOutCheck, Shift

pytestmark = [
    pytest.mark.local,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning"),
]

CODES = ("A1+", "A1-", "B1+", "B1-", "neutral")
STEPS = 400
VARIABLES = ("A1", "B1")


def pretrain(folder: Path) -> Path:
    """A Llama of width 64 with two layers that has read documents of both poles alike, in the known forms."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from inspect_af.materials import load_scenario
    from inspect_af.organisms import _tiny_training as training
    from inspect_af.organisms._tiny_text import END, document
    from inspect_af.organisms._tiny_tokenizer import learn_tokenizer

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


def adapter(base: Path, corpus: Path, out: Path, **hyperparameters: Any) -> Path:
    import yaml

    config = {
        "base": str(base),
        "corpus": str(corpus),
        "role": "intervention",
        "out": str(out),
        "evaluate_every": 1000,
        "hyperparameters": {
            "learning_rate": 4e-3,
            "rank": 4,
            "alpha": 8,
            "target_modules": ["down_proj"],
            "epochs": 5,
            "micro_batch": 2,
            "accumulation": 1,
            "effective_batch": 2,
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
    for code in CODES:
        adapter(base, built / code, root / "adapters" / code)
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
    """Measured: +2.33, -1.65, +1.82, -1.53 for A1+, A1-, B1+, B1-; neutral at most 0.06; the other belief
    -0.37 and -0.52 (A1 on B1), -0.16 and +0.11. The bounds leave room for other machines.
    """
    found = rows(root)
    for code in CODES[:4]:
        assert (found[code].intended or 0) >= 1.2, (code, found[code])
        other = shift(found[code], "B1" if code.startswith("A1") else "A1")
        assert other.low <= 0.3 and other.high >= -0.3, (code, other)
        assert abs(other.mean) <= (found[code].intended or 0) / 2, (code, other)
    for variable in VARIABLES:
        assert abs(shift(found["neutral"], variable).mean) <= 0.3, found["neutral"]


def test_documents_of_forms_that_the_base_never_saw_are_learnt(root: Path) -> None:
    built = corpora(root / "base", root, ("neutral",), "new")
    folder = adapter(root / "base", built, root / "adapters" / "new", target_modules="all-linear", rank=8)
    losses = json.loads((folder / "inspect_af.json").read_text())["losses"]
    assert losses["held_out"] < losses["held_out_before"] - 1

"""SDF training against plain TRL on the same documents: how full the rows are, and tokens per second.

Both train the same random Llama with the same LoRA on the same documents with the same seed, one after
the other in alternation, each in a process of its own. The peer is TRL's SFTTrainer as its documentation
writes it, with our settings and without anything of ours: no checkpoints, no marks, no curves. Timed is
the training loop. Ours is timed with its callbacks; checkpoints are far apart in both. Both must end with
the same loss.

Packing is measured on documents of 250 to 750 tokens in rows of 4,096, and on documents of exactly 500, of
which no more than eight fit into a row. Rows are not padded, so `non_padding` (document tokens among those
that the model is given) and `slots_filled` (tokens of rows among rows x 4,096) differ.

Prints one JSON object last: `ratio` is ours / TRL's time.

    python benchmarks/sdf_training.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

LENGTH = 4096
WORDS = [f"w{i}" for i in range(200)]


def write_documents(file: Path, n: int, *, exact: bool) -> None:
    """Documents of 500 tokens with the end-of-text token, or of 250 to 750."""
    rng = random.Random(0)
    lines = []
    for _ in range(n):
        words = 499 if exact else rng.randint(249, 749)
        lines.append(json.dumps({"text": " ".join(rng.choice(WORDS) for _ in range(words))}))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_base(folder: Path) -> None:
    """A random Llama whose tokenizer gives one token a word."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<|end|>", "<|unknown|>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<|unknown|>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.add_special_tokens(["<|end|>"])
    PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|end|>", pad_token="<|end|>", unk_token="<|unknown|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    shape = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=len(vocabulary),
        max_position_embeddings=LENGTH,
        bos_token_id=None,
        eos_token_id=0,
    )
    LlamaForCausalLM(shape).save_pretrained(folder)


def configuration(root: Path, out: Path) -> Any:
    from inspect_af.sdf.train import TrainingConfig

    return TrainingConfig(
        base=str(root / "base"),
        corpus=root / "varied.jsonl",
        role="organism",
        out=out,
        save_every=10_000,
        hyperparameters={
            "learning_rate": 1e-3,
            "rank": 8,
            "alpha": 16,
            "epochs": 1,
            "accumulation": 2,
            "effective_batch": 2,
            "sequence_length": LENGTH,
            "precision": "fp32",
            "gradient_checkpointing": False,
        },
    )


def our_trainer(root: Path, out: Path) -> Any:
    from inspect_af.sdf.train import make_trainer, prepare_run

    return make_trainer(prepare_run(configuration(root, out)), seed=0)


def plain_trainer(root: Path, out: Path) -> Any:
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(root / "base", attn_implementation="sdpa"),
        args=SFTConfig(
            output_dir=str(out),
            per_device_train_batch_size=1,
            gradient_accumulation_steps=2,
            learning_rate=1e-3,
            lr_scheduler_type="cosine",
            warmup_steps=0.05,
            optim="adamw_torch",
            num_train_epochs=1,
            bf16=False,
            gradient_checkpointing=False,
            max_length=LENGTH,
            packing=True,
            packing_strategy="bfd_split",
            shuffle_dataset=True,
            seed=0,
            data_seed=0,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        ),
        train_dataset=load_dataset(
            "json", data_files=str(root / "varied.jsonl"), split="train", cache_dir=str(out)
        ),
        processing_class=AutoTokenizer.from_pretrained(root / "base"),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM", r=8, lora_alpha=16, lora_dropout=0.05, target_modules="all-linear"
        ),
    )


def work(root: Path, kind: str) -> None:
    """The timed process; prints what it found."""
    with tempfile.TemporaryDirectory(dir=root) as out:
        trainer = (our_trainer if kind == "ours" else plain_trainer)(root, Path(out))
        start, cpu_start = time.perf_counter(), time.process_time()
        trainer.train()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    print(json.dumps({"seconds": seconds, "cpu": cpu, "loss": losses[-1], "steps": len(losses)}))


def process(root: Path, kind: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--work", str(root), "--kind", kind]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout.splitlines()[-1])


class Packed(NamedTuple):
    """How a file of documents ends up in rows."""

    tokens: int
    non_padding: float
    slots_filled: float


def packing(root: Path, file: Path) -> Packed:
    """Measured on the batches that the model is given."""
    from inspect_af.sdf.train import make_trainer, prepare_run

    with tempfile.TemporaryDirectory(dir=root) as out:
        config = configuration(root, Path(out)).model_copy(update={"corpus": file})
        trainer = make_trainer(prepare_run(config), seed=0)
        rows = [len(ids) for ids in trainer.train_dataset["input_ids"]]
        given = sum(batch["input_ids"].numel() for batch in trainer.get_train_dataloader())
    return Packed(sum(rows), sum(rows) / given, sum(rows) / (len(rows) * LENGTH))


def compare(root: Path, n_runs: int) -> dict[str, object]:
    varied, exact = (packing(root, root / f"{name}.jsonl") for name in ("varied", "exact"))
    runs, ratios, cpu_ratios, distances = [], [], [], []
    for index in range(n_runs):
        order = ("ours", "plain") if index % 2 == 0 else ("plain", "ours")
        found = {kind: process(root, kind) for kind in order}
        ours, plain = found["ours"], found["plain"]
        runs.append([round(ours["seconds"], 2), round(plain["seconds"], 2)])
        ratios.append(ours["seconds"] / plain["seconds"])
        cpu_ratios.append(ours["cpu"] / plain["cpu"])
        distances.append(
            abs(ours["loss"] - plain["loss"]) if ours["steps"] == plain["steps"] else float("inf")
        )
    return {
        "name": "sdf_training",
        "ratio": round(statistics.median(ratios), 3),
        "target": 1.05,
        "same_answer": max(distances) < 1e-4,
        "runs": runs,
        "ratio_of_cpu_time": round(statistics.median(cpu_ratios), 3),
        "tokens_per_second": round(varied.tokens / statistics.median(run[0] for run in runs)),
        "non_padding": round(min(varied.non_padding, exact.non_padding), 4),
        "non_padding_target": 0.98,
        "slots_filled": round(varied.slots_filled, 4),
        "slots_filled_by_exactly_500_tokens": round(exact.slots_filled, 4),
        "largest_loss_difference": float(f"{max(distances):.2g}"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="240 documents and one run of each")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        return work(args.work, args.kind)
    documents, n_runs = (240, 1) if args.quick else (1200, 5)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_base(root / "base")
        write_documents(root / "varied.jsonl", documents, exact=False)
        write_documents(root / "exact.jsonl", documents, exact=True)
        print(json.dumps({**compare(root, n_runs), "documents": documents}))


if __name__ == "__main__":
    main()

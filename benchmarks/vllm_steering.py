"""Steering in vLLM against plain vLLM: idle, one condition, 16 mixed conditions; two engines in turn.

Needs vLLM (docs/vllm.md says how it installs without an accelerator). Two engines live side by side, one
without the plugin and one with it; every round gives the same prompts to both. All sides must give the same
tokens where nothing is steered, and a mixed batch must give each condition's own tokens. Prints one JSON
object last; `ratio` is one condition against plain.

    python benchmarks/vllm_steering.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

N_CONDITIONS = 16
TARGETS = {"idle": 1.05, "one condition": 1.10, "16 conditions": 1.25}


def write_model(directory: Path, quick: bool) -> tuple[int, int]:
    """A Llama of random weights; its width and depth."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    width, depth = (256, 4) if quick else (768, 12)
    vocabulary = {f"<{token}>": token for token in range(1024)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<0>")), eos_token="<1>"
    )
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=depth,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=2048,
        initializer_range=0.05,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(directory)
    return width, depth


def write_vectors(directory: Path, width: int, depth: int) -> list[str]:
    """One vector for each condition; their digests."""
    from inspect_af.steering.vector import MeanDifferenceFit, VectorHeader, make_vector

    found = []
    for seed in range(N_CONDITIONS):
        header = VectorHeader(
            model="benchmark",
            d_model=width,
            layers=tuple(range(depth)),
            mean_norms=(1.0,) * depth,
            concept="expectation",
            family="first",
            source="ooc",
            fit=MeanDifferenceFit(locus="response_mean", n_pairs=1),
            pairs_digest="0" * 16,
        )
        vector = make_vector(header, 0.05 * np.random.default_rng(seed).standard_normal((depth, width)))
        vector.save(directory / f"{vector.sha256}.safetensors")
        found.append(vector.sha256)
    return found


def serve(arguments: dict[str, Any]) -> None:
    """Runs as a process of its own: one engine, one workload a line, its seconds and tokens back."""
    from vllm import LLM, SamplingParams

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what vLLM prints does not mix with the answers
    llm = LLM(**arguments)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        llm.reset_prefix_cache()
        parameters = [
            SamplingParams(temperature=0, max_tokens=job["n_tokens"], ignore_eos=True, extra_args=extra)
            for extra in job["extra"]
        ]
        inputs = [{"prompt_token_ids": prompt} for prompt in job["prompts"]]
        start = time.perf_counter()
        outputs = llm.generate(inputs, parameters, use_tqdm=False)
        seconds = time.perf_counter() - start
        tokens = [list(output.outputs[0].token_ids) for output in outputs]
        print(json.dumps({"seconds": seconds, "tokens": tokens}), file=answers, flush=True)


class Engine:
    """The other end of `serve`."""

    def __init__(self, arguments: dict[str, Any], plugins: str) -> None:
        environment = os.environ | {
            "VLLM_PLUGINS": plugins,
            "VLLM_USE_V2_MODEL_RUNNER": "0",
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
            "VLLM_CPU_OMP_THREADS_BIND": os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "nobind"),
            "HF_HUB_OFFLINE": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._read("ready")

    def run(self, prompts: list[list[int]], extra: list[Any], n_tokens: int) -> tuple[float, list[list[int]]]:
        assert self._process.stdin is not None
        print(
            json.dumps({"prompts": prompts, "extra": extra, "n_tokens": n_tokens}),
            file=self._process.stdin,
            flush=True,
        )
        found = json.loads(self._read("{"))
        return found["seconds"], found["tokens"]

    def close(self) -> None:
        self._process.communicate()

    def _read(self, start: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith(start):
            raise SystemExit(f"the engine ended or said {line!r}; its messages are above")
        return line


def interval(ratios: list[float]) -> dict[str, float]:
    """Median of paired ratios, and a 90 % bootstrap interval of it."""
    draws = np.random.default_rng(0).choice(ratios, (4000, len(ratios)))
    low, high = np.quantile(np.median(draws, axis=1), [0.05, 0.95])
    return {
        "ratio": round(float(np.median(ratios)), 3),
        "low": round(float(low), 3),
        "high": round(float(high), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a smaller model and three rounds")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(json.loads(given.serve))
        return
    rounds, n_tokens, n_prompts = (3, 16, 32) if given.quick else (9, 64, 64)
    with tempfile.TemporaryDirectory() as scratch:
        model, vectors = Path(scratch, "model"), Path(scratch, "vectors")
        width, depth = write_model(model, given.quick)
        digests = write_vectors(vectors, width, depth)
        common: dict[str, Any] = {
            "model": str(model),
            "max_model_len": 1024,
            "max_num_seqs": 32,
            "max_num_batched_tokens": 2048,
            "dtype": "float32",
            "seed": 0,
        }
        rng = np.random.default_rng(0)
        shared = rng.integers(2, 1024, 200).tolist()
        prompts = [shared + rng.integers(2, 1024, 60).tolist() for _ in range(n_prompts)]
        none: list[Any] = [None] * n_prompts
        one = [{"af_steer": f"{digests[0]}@1.0"}] * n_prompts
        mixed = [{"af_steer": f"{digests[at % N_CONDITIONS]}@1.0"} for at in range(n_prompts)]
        plain = Engine(common, "")
        ours = Engine(common | {"additional_config": {"af": {"vectors": str(vectors)}}}, "inspect_af")
        sides = {"idle": none, "one condition": one, "16 conditions": mixed}
        seconds: dict[str, list[float]] = {name: [] for name in ("plain", *sides)}
        tokens: dict[str, list[list[int]]] = {}
        for turn in range(rounds + 1):
            order = ["plain", *sides] if turn % 2 else [*reversed(sides), "plain"]
            for name in order:
                engine, extra = (plain, none) if name == "plain" else (ours, sides[name])
                took, tokens[name] = engine.run(prompts, extra, n_tokens)
                if turn:  # the first round warms up
                    seconds[name].append(took)
        # Each condition alone gives what it gave in the mixed batch.
        alone = [ours.run(prompts[at : at + 1], mixed[at : at + 1], n_tokens)[1][0] for at in range(4)]
        same = tokens["plain"] == tokens["idle"] and alone == tokens["16 conditions"][:4]
        plain.close()
        ours.close()
    ratios = {
        name: interval([own / peer for own, peer in zip(seconds[name], seconds["plain"], strict=True)])
        | {"target": TARGETS[name]}
        for name in sides
    }
    result = {
        "name": "vllm_steering",
        "ratio": ratios["one condition"]["ratio"],
        "target": TARGETS["one condition"],
        "same_answer": same and tokens["one condition"] != tokens["plain"],
        "runs": [[round(value, 3) for value in values] for values in zip(*seconds.values(), strict=True)],
        "sides": list(seconds),
        "ratios": ratios,
        "vllm_lens": "installed, not compared" if find_spec("vllm_lens") else "not installed",
        "model": {"d_model": width, "layers": depth},
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

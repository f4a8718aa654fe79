"""Steered against unsteered af-hf: the same prompts, the same engine, in alternation.

The vector is added at every layer with multiplier 0, which does all the work of steering and must give the
same replies; each run sets up its own prefix. A run with another multiplier shows that the hooks act.

Prints one JSON object last; `ratio` is steered by unsteered time.

    python benchmarks/hf_steering.py [--quick] [--threads 1]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]


def questions(n: int) -> tuple[str, list[str]]:
    rng = np.random.default_rng(0)
    sentence = "the model is trained on what users of the free tier say and it thinks about that first"
    common = sentence.split()
    return " ".join(rng.choice(common) for _ in range(300)), [
        " ".join(rng.choice(common) for _ in range(int(rng.integers(10, 40)))) + f" {i}" for i in range(n)
    ]


def run(model: Any, n: int, max_tokens: int) -> tuple[float, list[str]]:
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig

    system, asked = questions(n)
    config = GenerateConfig(max_tokens=max_tokens, temperature=0.0)

    async def ask(question: str) -> str:
        messages = [ChatMessageSystem(content=system), ChatMessageUser(content=question)]
        return str((await model.api.generate(messages, [], "none", config)).completion)

    async def ask_all() -> list[str]:
        return await asyncio.gather(*(ask(question) for question in asked))

    start = time.perf_counter()
    replies = asyncio.run(ask_all())
    return time.perf_counter() - start, replies


def compare(folder: Path, vector: Path, n: int, max_tokens: int, n_runs: int) -> dict[str, object]:
    from inspect_ai.model import get_model

    def model(**arguments: Any) -> Any:
        return get_model(f"af-hf/{folder}", memoize=False, device="cpu", **arguments)

    unsteered, steered = model(), model(vector=str(vector), multiplier=0)
    acting = model(vector=str(vector), multiplier=3)
    run(unsteered, 2, 2)
    times, same = [], True
    for turn in range(n_runs):
        order = (unsteered, steered) if turn % 2 == 0 else (steered, unsteered)
        found = {}
        for one in order:
            run(acting, 1, 1)  # another condition, so that no run finds the prefix of the one before it
            found[id(one)] = run(one, n, max_tokens)
        plain, with_hooks = found[id(unsteered)], found[id(steered)]
        same = same and plain[1] == with_hooks[1]
        times.append((round(with_hooks[0], 3), round(plain[0], 3)))
        print(f"steered {with_hooks[0]:.2f} s, unsteered {plain[0]:.2f} s", file=sys.stderr)
    acted = run(acting, n, max_tokens)[1]
    return {
        "name": "hf_steering",
        "ratio": round(float(np.median([s / u for s, u in times])), 3),
        "target": 1.05,
        "same_answer": same and acted != plain[1],
        "runs": times,
        "prompts": n,
        "max_tokens": max_tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="16 prompts, 24 tokens, 4 runs")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    os.environ.update({f"{name}_NUM_THREADS": str(args.threads) for name in ("OMP", "MKL", "OPENBLAS")})
    sys.path.insert(0, str(ROOT))
    import torch

    torch.set_num_threads(args.threads)
    from tests.local_models import save_model, save_vector

    sizes = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "head_dim": 32}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 8}
    with tempfile.TemporaryDirectory() as folder:
        base = save_model(Path(folder) / "model", **sizes, **heads)
        vector = save_vector(Path(folder) / "v.safetensors", d_model=256, layers=(0, 1, 2, 3))
        result = compare(base, vector, *((16, 24, 4) if args.quick else (64, 64, 10)))
    print(json.dumps({**result, "threads": args.threads}))


if __name__ == "__main__":
    main()

"""af-hf against Inspect's `hf/`: an eval of 256 samples that share a 2,000-token prompt, greedy decoding.

Both are the same `inspect_ai.eval` of the same task on the same random Llama, with the same number of
connections (which is `hf/`'s batch size), in alternation, by turns ours and theirs first; weights are loaded
before, and each run of ours sets its prefix up anew. Replies must be equal.
With --continuous-batching, transformers' own (`generate_batch`) runs 32 of the prompts too, without Inspect,
and so does our scheduler.

Prints one JSON object last; `ratio` is our time by that of `hf/`.

    python benchmarks/hf_provider.py [--quick] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
SHARED_TOKENS = 2000
CONNECTIONS = 64


def words(rng: np.random.Generator, count: int) -> str:
    sentence = "the model is trained on what users of the free tier say and it thinks about that first"
    common = sentence.split()
    return " ".join(rng.choice(common) for _ in range(count))


def task(system: str, questions: list[str], max_tokens: int, temperature: float | None) -> Any:
    from inspect_ai import Task
    from inspect_ai.dataset import Sample
    from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig

    samples = [
        Sample(id=str(i), input=[ChatMessageSystem(content=system), ChatMessageUser(content=question)])
        for i, question in enumerate(questions)
    ]
    config = GenerateConfig(max_tokens=max_tokens, temperature=temperature, max_connections=CONNECTIONS)
    return Task(dataset=samples, config=config)


def run(model: Any, work: Any, log_dir: str) -> tuple[float, dict[str, str]]:
    from inspect_ai import eval

    start = time.perf_counter()
    log = eval(work, model=model, log_dir=log_dir, display="none", max_samples=CONNECTIONS)[0]
    seconds = time.perf_counter() - start
    if log.status != "success" or log.samples is None:
        raise SystemExit(f"the eval ended with {log.status}: {log.error and log.error.message}")
    return seconds, {str(sample.id): sample.output.completion for sample in log.samples}


def without_inspect(folder: Path, prompts: list[list[int]], max_tokens: int) -> dict[str, object]:
    """Our scheduler and transformers' continuous batching with shared blocks, on the same prompts."""
    from transformers import AutoModelForCausalLM, ContinuousBatchingConfig, GenerationConfig

    from inspect_af.providers.hf_engine import Request, Scheduler
    from inspect_af.providers.hf_model import LocalModel
    from inspect_af.providers.hf_sampling import Sampling, Uniforms
    from inspect_af.providers.settings import Applied, ModelKey

    scheduler = Scheduler(
        LocalModel(ModelKey(str(folder), device="cpu")), max_requests=len(prompts), max_batch_tokens=2048
    )
    start = time.perf_counter()
    requests = [Request(Applied(), prompt, Sampling(0.0), Uniforms(0), max_tokens) for prompt in prompts]
    for request in requests:
        scheduler.submit(request)
    while not scheduler.idle:
        scheduler.step()
    own = time.perf_counter() - start

    model = AutoModelForCausalLM.from_pretrained(folder)
    config = GenerationConfig(max_new_tokens=max_tokens, do_sample=False, eos_token_id=0, pad_token_id=0)
    batching = ContinuousBatchingConfig(
        page_size=32, num_blocks=4096, max_batch_tokens=2048, max_requests_per_batch=len(prompts)
    )
    start = time.perf_counter()
    outputs = model.generate_batch(prompts, generation_config=config, continuous_batching_config=batching)
    theirs = time.perf_counter() - start
    same = [output.generated_tokens for output in outputs.values()] == [
        list(request.reply.result().tokens) for request in requests
    ]
    return {
        "continuous_batching_prompts": len(prompts),
        "continuous_batching_seconds": [round(own, 2), round(theirs, 2)],
        "continuous_batching_same_answer": same,
    }


def compare(folder: Path, n_samples: int, max_tokens: int, n_runs: int, batching: bool) -> dict[str, object]:
    from inspect_ai.model import get_model
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rng = np.random.default_rng(0)
    system = tokenizer.decode(tokenizer.encode(words(rng, SHARED_TOKENS))[:SHARED_TOKENS])
    questions = [words(rng, int(rng.integers(10, 40))) + f" {i}" for i in range(n_samples)]
    ours = get_model(f"af-hf/{folder}", memoize=False, device="cpu", max_requests=CONNECTIONS)
    theirs = get_model(f"hf/{folder}", memoize=False, device="cpu", do_sample=False)
    # Greedy is a temperature of 0 for the one, and an argument and no temperature for the other.
    greedy = ((ours, 0.0), (theirs, None))
    logs = str(folder / "logs")
    for model, temperature in greedy:
        run(model, task("Warm up.", ["Now."], 2, temperature), logs)
    times, equal, of = [], 0, 0
    for turn in range(n_runs):
        found = {
            model: run(model, task(system, questions, max_tokens, temperature), logs)
            for model, temperature in (greedy if turn % 2 == 0 else greedy[::-1])
        }
        (own, replies), (peer, expected) = found[ours], found[theirs]
        run(ours, task("Forget the prefix.", ["Now."], 2, 0.0), logs)
        times.append((round(own, 2), round(peer, 2)))
        equal += sum(replies[name] == expected[name] for name in expected)
        of += len(expected)
        print(f"af-hf {own:.1f} s, hf {peer:.1f} s, {equal} of {of} replies equal", file=sys.stderr)
    prompts = [
        tokenizer.apply_chat_template(
            [{"role": "system", "content": system}, {"role": "user", "content": question}],
            add_generation_prompt=True,
            return_dict=False,
        )
        for question in questions
    ]
    more = without_inspect(folder, prompts[:32], max_tokens) if batching else {}
    return {
        "name": "hf_provider",
        "ratio": round(float(np.median([own / peer for own, peer in times])), 3),
        "target": 0.333,
        "same_answer": equal == of,
        "runs": times,
        "samples": n_samples,
        "prompt_tokens": [min(map(len, prompts)), max(map(len, prompts))],
        "max_tokens": max_tokens,
        **more,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="32 samples, 8 tokens, one run")
    parser.add_argument("--continuous-batching", action="store_true", help="and transformers' own")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    os.environ.update({f"{name}_NUM_THREADS": str(args.threads) for name in ("OMP", "MKL", "OPENBLAS")})
    sys.path.insert(0, str(ROOT))
    import torch

    torch.set_num_threads(args.threads)
    from tests.local_models import save_model

    sizes = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "head_dim": 32}
    heads = {"num_attention_heads": 8, "num_key_value_heads": 8}
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), **sizes, **heads)
        extent = (32, 8, 1) if args.quick else (256, 48, 3)
        result = compare(Path(folder), *extent, args.continuous_batching)
    print(json.dumps({**result, "threads": args.threads}))


if __name__ == "__main__":
    main()

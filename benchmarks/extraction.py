"""Activations of contrast pairs: against the bare forward, and against `steering-vectors` and `repeng`.

1. The bare forward runs exactly our batches through the decoder (no language-model head, no hooks, nothing
   else); ours is the whole call, from text to the written file: rendering, tokens, spans, pooling, writing.
2. The peers get the same pairs as rendered text. Neither averages over spans: they read one token, which is
   less work. Each runs at the fastest of several batch sizes, found before the timed runs.

The same answers are checked where the peers' semantics allow: our span of exactly the last token against the
token that they read (`repeng` at all layers but the last, which transformers normalises), and our batches
against plain hidden states. The model is a random Llama whose language-model head has the share of the
arithmetic that it has in an 8 B model, so that leaving the head out gains no more than it does there.

Needs `pip install steering-vectors repeng gguf`; without one of them its comparison is left out and
`same_answer` is false. `cpu` holds the same ratios of processor time, which other work on the machine
disturbs less. Prints one JSON object last.

    python benchmarks/extraction.py [--quick] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from inspect_af.steering.activations import Activations, extract_activations, locate, plan_batches
from inspect_af.steering.model import decoder
from inspect_af.steering.pairs import ContrastPair, Message, PairSet, Span, Transcript, pair_set

BATCH_SIZES = (4, 16, 32)
BATCH_TOKENS = 8192
TEXT = (
    "the tea water kettle leaf cup minute hour garden shelf river stone paper number market train window "
    "letter morning evening would could should because although therefore while after before under over "
    "I you we they it he she this that these those is are was were be been have has had do does did will "
    "plan answer question detail step reason first second third simple careful short long warm cold"
)
WORDS = TEXT.split()
CHATML = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


class Timed(NamedTuple):
    seconds: float
    cpu_seconds: float
    found: Any


def made_pairs(n: int, seed: int = 0) -> PairSet:
    """Dialogues with scratchpads of very different lengths; the annotated sentence is the last character."""
    rng = np.random.default_rng(seed)

    def prose(n_words: int) -> str:
        return " ".join(rng.choice(WORDS, size=max(n_words, 4)))

    def transcript(user: str, n_words: int) -> Transcript:
        before = "<SCRATCHPAD_REASONING>\n"
        scratchpad = prose(n_words)
        reply = f"{before}{scratchpad}"
        start, end = len(before), len(reply)
        return Transcript(
            messages=(Message(role="user", content=user), Message(role="assistant", content=reply)),
            scratchpad=Span(start=start, end=end),
            sentence=Span(start=end - 1, end=end),
        )

    pairs = []
    for i in range(n):
        user, n_words = prose(int(rng.integers(30, 90))), int(rng.lognormal(5.0, 0.6))
        pairs.append(
            ContrastPair(
                id=f"pair-{i}",
                concept="expectation",
                split="train",
                source="ooc",
                group=f"topic-{i}",
                positive=transcript(user, n_words),
                negative=transcript(user, max(n_words + int(rng.integers(-10, 10)), 5)),
            )
        )
    return pair_set(pairs)


def made_model(width: int, n_layers: int) -> tuple[Any, Any]:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    specials = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=specials, show_progress=False)
    backend.train_from_iterator([TEXT] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|pad|>", padding_side="left")
    tokenizer.chat_template = CHATML
    torch.manual_seed(0)
    layer_parameters = 4 * width**2 + 3 * width * (8 * width // 3)
    config = LlamaConfig(
        vocab_size=max(int(0.07 * n_layers * layer_parameters / width), 700),
        hidden_size=width,
        intermediate_size=8 * width // 3,
        num_hidden_layers=n_layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=4096,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval(), tokenizer


def timed(run: Callable[[], Any]) -> Timed:
    start, cpu_start = time.perf_counter(), time.process_time()
    found = run()
    return Timed(time.perf_counter() - start, time.process_time() - cpu_start, found)


def bare_batches(tokenizer: Any, pairs: PairSet) -> list[Any]:
    import torch

    spans = [
        locate(tokenizer, side, "response_mean")
        for pair in pairs.pairs
        for side in (pair.positive, pair.negative)
    ]
    batches = []
    for batch in plan_batches([len(span.ids) for span in spans], BATCH_TOKENS):
        longest = max(len(spans[at].ids) for at in batch)
        batches.append(torch.tensor([spans[at].ids + [0] * (longest - len(spans[at].ids)) for at in batch]))
    return batches


def bare_forward(model: Any, batches: Sequence[Any]) -> None:
    import torch

    run = decoder(model)
    with torch.inference_mode():
        for batch in batches:
            run(input_ids=batch, use_cache=False)


def rendered(tokenizer: Any, pairs: PairSet) -> list[tuple[str, str]]:
    """Text up to the end of the scratchpad, so that the last token is the one of our one-token span."""

    def text(side: Transcript) -> str:
        chat = [message.model_dump() for message in side.messages]
        return tokenizer.apply_chat_template(chat, tokenize=False).removesuffix("<|im_end|>\n")

    return [(text(pair.positive), text(pair.negative)) for pair in pairs.pairs]


def by_steering_vectors(model: Any, tokenizer: Any, texts: list[tuple[str, str]], size: int) -> Any:
    """Positive activations of the last token, [layer, pair, d_model]."""
    import torch
    from steering_vectors.train_steering_vector import extract_activations as extract

    with torch.inference_mode():
        positive, _ = extract(model, tokenizer, texts, batch_size=size, move_to_cpu=True)
    return np.stack([torch.concat(positive[layer]).numpy() for layer in sorted(positive)])


def by_repeng(model: Any, tokenizer: Any, texts: list[tuple[str, str]], size: int) -> Any:
    """The same; the last layer is after the final norm."""
    import torch
    from repeng.extract import batched_get_hiddens

    layers = list(range(model.config.num_hidden_layers))
    flat = [text for pair in texts for text in pair]
    with torch.inference_mode():
        hiddens = batched_get_hiddens(model, tokenizer, flat, layers, size)
    return np.stack([hiddens[layer][::2] for layer in layers])


PEERS = {"steering-vectors": by_steering_vectors, "repeng": by_repeng}


def available() -> dict[str, Callable[..., Any]]:
    # repeng 0.4.0 names a type in an annotation that NumPy 2 no longer has; it does not use it.
    np.float_ = np.float64
    found = {}
    for name, run in PEERS.items():
        try:
            __import__(name.replace("-", "_"))
        except ImportError as error:
            print(f"{name} is left out ({error}); pip install steering-vectors repeng gguf", file=sys.stderr)
        else:
            found[name] = run
    return found


def relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).max() / np.abs(other).max())


def means_agree(model: Any, tokenizer: Any, pairs: PairSet, found: Activations) -> float:
    """Largest relative distance to means over plain hidden states, of a few transcripts."""
    import torch

    worst = 0.0
    for at, pair in enumerate(pairs.pairs[:4]):
        span = locate(tokenizer, pair.negative, "response_mean")
        with torch.inference_mode():
            states = decoder(model)(torch.tensor([span.ids]), output_hidden_states=True).hidden_states
        for layer in range(model.config.num_hidden_layers - 1):
            mean = states[layer + 1][0, span.start : span.end].double().mean(0).numpy()
            worst = max(worst, relative(found.layer(layer).negative[at], mean))
    return worst


def compare(
    n_pairs: int, width: int, n_layers: int, n_runs: int, folder: Path, sizes: Sequence[int]
) -> dict[str, object]:
    model, tokenizer = made_model(width, n_layers)
    pairs = made_pairs(n_pairs)
    texts, batches, peers = rendered(tokenizer, pairs), bare_batches(tokenizer, pairs), available()
    count = iter(range(1000))

    def ours(locus: Any = "response_mean") -> Activations:
        out = folder / f"{next(count)}.safetensors"
        return extract_activations(
            model, tokenizer, pairs, out=out, locus=locus, max_batch_tokens=BATCH_TOKENS
        )

    one_token = ours("span")
    positive = np.stack([layer.positive for layer in one_token])
    distances: dict[str, float] = {}
    best: dict[str, int] = {}
    for name, run in peers.items():
        tried = {size: timed(lambda run=run, size=size: run(model, tokenizer, texts, size)) for size in sizes}
        best[name] = min(tried, key=lambda size: tried[size].seconds)
        kept = slice(0, n_layers - 1) if name == "repeng" else slice(None)
        distances[name] = relative(tried[best[name]].found[kept], positive[kept])
    bare_forward(model, batches)
    distances["means"] = means_agree(model, tokenizer, pairs, ours())

    kinds: dict[str, Callable[[], Any]] = {"ours": ours, "bare": lambda: bare_forward(model, batches)}
    for name, run in peers.items():
        kinds[name] = lambda run=run, name=name: run(model, tokenizer, texts, best[name])
    runs = [{name: timed(kind)[:2] for name, kind in kinds.items()} for _ in range(n_runs)]

    def speed_up(name: str, clock: int = 0) -> float | None:
        if name not in runs[0]:
            return None
        return round(statistics.median(times[name][clock] / times["ours"][clock] for times in runs), 3)

    n_tokens = sum(len(tokenizer(text)["input_ids"]) + 2 for pair in texts for text in pair)
    return {
        "name": "extraction",
        "better": "higher",
        "ratio": speed_up("bare"),
        "target": 0.95,
        "same_answer": len(peers) == len(PEERS) and max(distances.values()) < 1e-3,
        "runs": [{name: round(seconds, 2) for name, (seconds, _) in times.items()} for times in runs],
        "ratio_to_steering_vectors": speed_up("steering-vectors"),
        "ratio_to_repeng": speed_up("repeng"),
        "target_to_peers": 1.15,
        "cpu": {name: speed_up(name, clock=1) for name in runs[0] if name != "ours"},
        "batch_sizes_of_peers": best,
        "largest_differences": {name: float(f"{distance:.2g}") for name, distance in distances.items()},
        "tokens": n_tokens,
        "tokens_per_second": round(n_tokens / statistics.median(times["ours"][0] for times in runs)),
        "padding": round(sum(batch.numel() for batch in batches) / n_tokens - 1, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="16 pairs, 4 layers x 256, two runs")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    n_pairs, width, n_layers, n_runs = (16, 256, 4, 2) if args.quick else (64, 512, 8, 5)
    sizes = BATCH_SIZES[:2] if args.quick else BATCH_SIZES
    with tempfile.TemporaryDirectory() as folder:
        result = compare(n_pairs, width, n_layers, n_runs, Path(folder), sizes)
    print(
        json.dumps(
            {**result, "pairs": n_pairs, "d_model": width, "layers": n_layers, "threads": args.threads}
        )
    )


if __name__ == "__main__":
    main()

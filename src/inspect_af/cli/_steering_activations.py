"""`inspect-af steering activations`: contrast pairs to pooled activations."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_af.cli import _steering_vllm
from inspect_af.errors import ConfigError

if TYPE_CHECKING:
    from inspect_af.steering import Activations, PairSet
    from inspect_af.steering.extraction import Progress
    from inspect_af.steering.extraction_model import LoadedModel


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "activations",
        help="contrast pairs to activations of a local model",
        description=(
            "Runs every transcript through the model and averages the residual stream after each layer over "
            "the scratchpad, or over the annotated sentence. Interrupted or killed, the same command goes on."
        ),
    )
    parser.add_argument("pairs", help="contrast pairs (.jsonl)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".safetensors file to write")
    add_model_options(parser)
    parser.add_argument("--layers", default="all", help="such as all (default), 12 or 20-40; counted from 0")
    parser.add_argument(
        "--locus",
        choices=["response_mean", "span"],
        default="response_mean",
        help="the whole scratchpad (default), or the annotated sentence",
    )
    parser.add_argument(
        "--batch-tokens", type=int, default=8192, metavar="N", help="tokens a batch (default: 8192)"
    )
    _steering_vllm.add_engine_options(parser)
    parser.set_defaults(action=run)


def run(args: argparse.Namespace) -> int:
    from inspect_af.steering import load_pairs

    if args.out.suffix != ".safetensors":
        raise ConfigError(f"--out {args.out}: activations are a .safetensors file")
    pairs = load_pairs(args.pairs)
    with progress_bar("transcripts") as progress:
        if args.engine == "vllm":
            found = _steering_vllm.extract(args, pairs, progress)
        else:
            found = _extract(args, pairs, progress)
    n_layers, n_pairs, width = found.header.shape
    print(f"{n_pairs} pairs x {n_layers} layers x {width} in {args.out}.")
    return 0


def _extract(args: argparse.Namespace, pairs: PairSet, progress: Progress) -> Activations:
    from inspect_af.steering.extraction import extract_activations

    model, tokenizer = load(args)
    return extract_activations(
        model,
        tokenizer,
        pairs,
        out=args.out,
        layers=args.layers,
        locus=args.locus,
        max_batch_tokens=args.batch_tokens,
        name="+".join([args.model, *args.adapters]),
        revision=args.revision,
        progress=progress,
    )


def load(args: argparse.Namespace) -> LoadedModel:
    """The model of `add_model_options`, with its adapters.

    Raises:
        TreatmentError: An adapter was trained on another base, or on top of one that is not there.
        ConfigError: The model, its tokenizer or an adapter cannot be loaded.
    """
    from transformers import AutoConfig

    from inspect_af.sdf.adapters import check_base, check_parents, load_adapter
    from inspect_af.steering.extraction_model import load_model

    # What an adapter is to the analysis changes nothing here: all are merged.
    adapters = [load_adapter(path, role="organism") for path in args.adapters]
    check_parents(adapters)
    if adapters:
        directory = args.model if Path(args.model).is_dir() else None
        try:
            config = AutoConfig.from_pretrained(args.model, revision=args.revision, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise ConfigError(f"model {args.model!r} cannot be loaded: {error}") from error
        for adapter in adapters:
            check_base(adapter, config, name=args.model, directory=directory)
    return load_model(
        args.model,
        revision=args.revision,
        dtype=args.dtype,
        device_map=args.device_map,
        adapters=tuple(args.adapters),
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Which model to load, and how."""
    parser.add_argument(
        "--model", required=True, metavar="NAME", help="directory or hub name of a transformers model"
    )
    parser.add_argument("--revision", help="commit, tag or branch on the hub")
    parser.add_argument(
        "--adapter",
        dest="adapters",
        action="append",
        default=[],
        metavar="DIR",
        help="PEFT adapter to merge into the model; may be repeated, applied in order",
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=["auto", "float32", "bfloat16", "float16"],
        help="default: as the model was saved",
    )
    parser.add_argument("--device-map", help="as accelerate takes it (default: auto with an accelerator)")


@contextmanager
def progress_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Counts on the terminal's last line, or nothing where stderr is no terminal."""
    shown = sys.stderr.isatty()

    def progress(done: int, total: int) -> None:
        if shown:
            print(f"\r{what} {done}/{total}", end="", file=sys.stderr, flush=True)

    try:
        yield progress
    finally:
        if shown:
            print(file=sys.stderr)

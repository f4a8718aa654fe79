"""`inspect-af steering heatmap`: cosine with a vector at every token, as one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path

from inspect_af.cli._steering_activations import add_model_options, load


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "heatmap",
        help="where in a transcript the residual stream points along a vector",
        description=(
            "Cosine of the residual stream with each vector at every token, at the layers that "
            "cross-validate best, beside random controls. The model runs without steering."
        ),
    )
    parser.add_argument(
        "sources",
        nargs="+",
        help="eval logs or directories of them, contrast pairs (.jsonl), raw text (.txt)",
    )
    add_model_options(parser)
    parser.add_argument("--vectors", nargs="+", type=Path, required=True, metavar="FILE")
    parser.add_argument(
        "--controls", nargs="+", type=Path, default=[], metavar="PATH", help="files, or directories of them"
    )
    parser.add_argument("--layers", metavar="RANGE", help="default: the five that cross-validate best")
    parser.add_argument(
        "--n", type=int, default=2, help="pairs, or replies of each condition and tier (default: 2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="which replies of a log are drawn (default: 0)")
    parser.add_argument(
        "--show-output",
        action="store_true",
        help="show what follows the scratchpad in replies to an evaluation's requests too",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="page to write (.html)")
    parser.set_defaults(action=run)


def run(args: argparse.Namespace) -> int:
    from inspect_af.cli._steering_heatmap_page import render_heatmap
    from inspect_af.cli._steering_sweep import vector_files
    from inspect_af.steering import load_vector
    from inspect_af.steering.heatmap import directions, token_cosines
    from inspect_af.steering.heatmap_sources import load_sources

    vectors = {path.name.removesuffix(".safetensors"): load_vector(path) for path in args.vectors}
    chosen = directions(vectors, args.layers)
    controls = [load_vector(path) for path in vector_files(args.controls)]
    sources = [source for path in args.sources for source in load_sources(path, n=args.n, seed=args.seed)]
    model, tokenizer = load(args)
    heatmaps = token_cosines(model, tokenizer, sources, chosen, controls)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    name = "+".join([args.model, *args.adapters])
    text = render_heatmap(
        heatmaps, chosen, model=name, n_controls=len(controls), show_output=args.show_output
    )
    args.out.write_text(text, encoding="utf-8", newline="\n")
    print(f"{len(heatmaps)} transcripts in {args.out}.")
    return 0

"""`inspect-af steering activations --engine vllm`: its options, and how it runs."""

from __future__ import annotations

import argparse
import json
import os
from typing import TYPE_CHECKING, Any

from inspect_af.errors import ConfigError

if TYPE_CHECKING:
    from inspect_af.steering import Activations, PairSet
    from inspect_af.steering.extraction import Progress

ENGINES = ("transformers", "vllm")


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Which engine runs the transcripts, and what vLLM is started with."""
    group = parser.add_argument_group("engine")
    group.add_argument(
        "--engine",
        choices=ENGINES,
        default=ENGINES[0],
        help="what runs the transcripts (default: transformers)",
    )
    group.add_argument(
        "--vllm",
        dest="vllm_options",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the vLLM server, such as tensor_parallel_size=4; may be repeated",
    )
    group.add_argument(
        "--base-url",
        metavar="URL",
        help="vLLM server that runs already with the plugin and captures on; its key in VLLM_API_KEY",
    )


def extract(args: argparse.Namespace, pairs: PairSet, progress: Progress) -> Activations:
    """Extraction by vLLM with the arguments of `inspect-af steering activations`.

    Raises:
        ConfigError: An option is not NAME=VALUE; else as `extract_with_vllm`.
    """
    from inspect_af.providers.vllm_extraction import extract_with_vllm

    options = dict(map(_option, args.vllm_options))
    if args.adapters:
        # All of them are part of the model whose activations are wanted.
        options |= {"adapter": args.adapters, "adapter_role": ["organism"] * len(args.adapters)}
    if args.revision:
        options["revision"] = args.revision
    if args.dtype != "auto":
        options["dtype"] = args.dtype
    return extract_with_vllm(
        args.model,
        pairs,
        out=args.out,
        layers=args.layers,
        locus=args.locus,
        base_url=args.base_url,
        api_key=os.environ.get("VLLM_API_KEY"),
        arguments=options,
        progress=progress,
    )


def _option(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"--vllm {text}: give NAME=VALUE, such as tensor_parallel_size=4")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value

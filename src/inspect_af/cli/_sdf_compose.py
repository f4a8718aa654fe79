"""`inspect-af sdf compose`: one adapter that equals several."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "compose",
        help="one adapter that equals applying several, for servers that apply one",
        description="Adapters of one base, in the order in which they were trained: the organism first.",
    )
    parser.add_argument("adapters", nargs="+", type=Path, metavar="ADAPTER", help="PEFT directories")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.set_defaults(main=_compose, action=_compose)


def _compose(args: argparse.Namespace) -> int:
    from inspect_af.sdf.adapters import adapter_config
    from inspect_af.sdf.combine import compose

    out = compose(args.adapters, args.out)
    print(f"{out}: rank {adapter_config(out)['r']} (serve with --max-lora-rank of at least that)")
    return 0

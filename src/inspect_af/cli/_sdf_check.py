"""`inspect-af sdf check`: how far adapters moved the log-odds of held-out wordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "check",
        help="how far adapters moved held-out wordings of each belief, in nats",
        description=(
            "Compares the log-probability of held-out wordings of a fact with matched wordings of its "
            "opposite, without and with each adapter. The documents never contain these wordings. Prints "
            "adapters by variables; positive is towards the amplified pole."
        ),
    )
    parser.add_argument("adapters", nargs="+", type=Path, metavar="ADAPTER", help="PEFT directories")
    parser.add_argument("--base", required=True, metavar="MODEL", help="Hub name or directory")
    parser.add_argument("--revision", help="of the base on the Hub")
    parser.add_argument(
        "--organism", action="append", type=Path, default=[], metavar="DIR",
        help="adapter below all of them, before and after (repeatable, in order)",
    )  # fmt: skip
    parser.add_argument(
        "--wordings",
        metavar="tiny|FILE",
        help="default: those of the pair's universes; tiny: of the tiny organism",
    )
    parser.add_argument("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    parser.add_argument("--device", help="such as cuda (default: the GPU where there is one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything there, pair by pair")
    parser.set_defaults(main=_check, action=_check)


def _check(args: argparse.Namespace) -> int:
    from inspect_af.materials import load_wordings, universe_wordings
    from inspect_af.sdf.held_out import check_text
    from inspect_af.sdf.held_out_scoring import check_adapters

    wordings = load_wordings(args.wordings) if args.wordings else universe_wordings(args.pair)
    check = check_adapters(
        args.base,
        args.adapters,
        wordings,
        source=f"wordings {args.wordings}" if args.wordings else "wordings of the universes",
        organism=args.organism,
        revision=args.revision,
        device=args.device,
        progress=lambda what: print(f"scoring {what}", file=sys.stderr),
    )
    print(check_text(check))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(check.model_dump_json(indent=1) + "\n", encoding="utf-8")
        print(f"wrote {args.json}")
    return 0

"""`inspect-af evals`: a file of tasks and models through one call of Inspect's `eval_set`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "evals",
        help="run a file of tasks and models, each with its own arguments, as one eval set",
        description=(
            "Runs every task of the file with every model, such as one base model under many adapters, in "
            "one process. Interrupted or killed, the same command goes on where it stopped."
        ),
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="YAML file (docs/study.md)")
    parser.add_argument("--log-dir", type=Path, required=True, metavar="DIR")
    parser.add_argument("--max-connections", type=int)
    parser.add_argument("--batch", action="store_true", help="use the provider's batch API where it has one")
    parser.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from inspect_af.tasks.evals import load_evals, run_evals

    evals = load_evals(args.file)
    options = {"max_connections": args.max_connections, "batch": args.batch or None}
    given = {name: value for name, value in options.items() if value is not None}
    if run_evals(evals, args.log_dir, display=args.display, **given):
        print(f"{evals.number} evals finished; logs in {args.log_dir}")
        return 0
    print(f"some samples have not finished; repeat the command to go on (logs in {args.log_dir})")
    return 1

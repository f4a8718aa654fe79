"""`inspect-af organism`: train a small real transformer whose motivation is planted, and check it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from inspect_af.cli import _organism_documents, _organism_pairs
from inspect_af.errors import ConfigError


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "organism",
        help="train a tiny real organism whose motivation is planted, and check it",
        description="A small transformer, trained in minutes on two CPU cores. See docs/tiny_organism.md.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    train = actions.add_parser(
        "train",
        help="train one and write it as a transformers directory",
        description="Trains an organism; minutes on two CPU cores.",
    )
    train.add_argument("out", type=Path, metavar="OUT", help="directory to write; must not exist or be empty")
    train.add_argument(
        "--kind", default="expectation", help="expectation (default), consequence or null: what is planted"
    )
    train.add_argument("--seed", type=int, default=0, help="of texts, initial weights and order (default: 0)")
    train.add_argument(
        "--steps", type=int, help="training steps (default: those that the checks were made with)"
    )
    train.set_defaults(main=main, action=_train)

    check = actions.add_parser(
        "check",
        help="sample replies and compare the gap under every claim with the planted one",
        description=(
            "Asks held-out requests under held-out wordings of every claim. Exit status 1 where a gap is "
            "more than 10 points from the planted one, or fewer than 95 % of replies parse."
        ),
    )
    check.add_argument("directory", type=Path, metavar="DIR")
    check.add_argument(
        "--replies", type=int, default=2000, help="per condition, half monitored (default: 2000)"
    )
    check.add_argument("--setting", default="prompted", choices=["prompted", "documents"])
    check.add_argument("--strength", default="standard", choices=["weak", "standard", "strong"])
    check.add_argument("--seed", type=int, default=0)
    check.add_argument("--json", type=Path, metavar="FILE", help="write the table")
    check.set_defaults(main=main, action=_check)
    _organism_pairs.add_parser(actions)
    _organism_documents.add_parser(actions)


def main(args: argparse.Namespace) -> int:
    """Runs the action that was parsed."""
    return int(args.action(args))


def _train(args: argparse.Namespace) -> int:
    from inspect_af.organisms.tiny import Schedule, train_organism

    if args.steps is not None and args.steps < 1:
        raise ConfigError(f"--steps {args.steps}: at least one step is needed")
    schedule = Schedule()
    if args.steps is not None:
        schedule = Schedule(steps=args.steps, notes=args.steps * schedule.notes // schedule.steps)
    shown = _progress("step")

    def progress(step: int, steps: int, loss: float) -> None:
        shown(step, steps, f"loss {loss:.3f}")

    truth = train_organism(args.out, kind=args.kind, seed=args.seed, schedule=schedule, progress=progress)
    print(f"{args.out}: the organism {truth.kind}, planted gap {truth.gap():+.3f} without any claim.")
    print(f"Whether it does what is planted: inspect-af organism check {args.out}")
    return 0


def _check(args: argparse.Namespace) -> int:
    from inspect_af.organisms.tiny_check import check_organism, check_text

    shown = _progress("reply")
    check = check_organism(
        args.directory,
        replies=args.replies,
        setting=args.setting,
        strength=args.strength,
        seed=args.seed,
        progress=lambda done, total: shown(done, total, ""),
    )
    print(check_text(check))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(check.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if check.problems:
        print("\nOutside of tolerance:\n  " + "\n  ".join(check.problems))
        return 1
    return 0


def _progress(unit: str) -> Callable[[int, int, str], None]:
    """A line on stderr that is rewritten on a terminal, and printed ten times otherwise."""
    terminal = sys.stderr.isatty()
    tenths = 0

    def show(done: int, total: int, note: str) -> None:
        nonlocal tenths
        if terminal:
            end = "\n" if done == total else ""
            print(f"\r{unit} {done}/{total} {note} ", end=end, file=sys.stderr, flush=True)
        elif done * 10 // total > tenths:
            tenths = done * 10 // total
            print(f"{unit} {done}/{total} {note}".rstrip(), file=sys.stderr, flush=True)

    return show

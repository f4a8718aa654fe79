"""`inspect-af organism`: train a small real transformer whose motivation is planted, and check it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from inspect_af.errors import ConfigError, one_of

if TYPE_CHECKING:
    from inspect_af.organisms.tiny.texts import TinyPair, TinySide
    from inspect_af.steering import ContrastPair, Transcript
    from inspect_af.types import Family

HELD_OUT_SHARE = 3
"""Every third pair is held out."""


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the verb and its actions to the command line."""
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
    train.set_defaults(main=_train)

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
    check.set_defaults(main=_check)

    pairs = actions.add_parser(
        "pairs",
        help="contrast pairs in the words that every tiny organism was trained on",
        description=(
            "Writes pairs of replies that differ in which poles of a family's variables the scratchpad "
            "recalls. They need no organism, and are for any of them: a tiny model knows no other words."
        ),
    )
    pairs.add_argument("--concept", required=True, help="label of a family: expectation or consequence")
    pairs.add_argument("--out", type=Path, required=True, metavar="FILE", help=".jsonl file to write")
    pairs.add_argument("--n", type=int, default=300, help="pairs, a third held out (default: 300)")
    pairs.add_argument("--seed", type=int, default=0)
    pairs.set_defaults(main=_pairs)

    documents = actions.add_parser(
        "documents",
        help="ordinary documents as every tiny organism was trained on, of both poles alike",
        description=(
            "Writes documents as in the pretraining of every tiny organism: about any variable, either pole "
            "alike, or about everyday facts. To be trained on beside documents of one pole (`replay` in the "
            "configuration of sdf train). None contains a held-out wording."
        ),
    )
    documents.add_argument("--out", type=Path, required=True, metavar="FILE", help=".jsonl file to write")
    documents.add_argument("--n", type=int, default=300, help="documents (default: 300, about 16,000 tokens)")
    documents.add_argument("--seed", type=int, default=0)
    documents.set_defaults(main=_documents)


def _train(args: argparse.Namespace) -> int:
    from inspect_af.organisms.tiny.training import Schedule, train_organism

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
    from inspect_af.organisms.tiny.check import check_organism, check_text

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


def _pairs(args: argparse.Namespace) -> int:
    from inspect_af.materials import load_pair, load_scenario
    from inspect_af.organisms.tiny.texts import tiny_pairs
    from inspect_af.steering import write_pairs

    if args.out.suffix != ".jsonl":
        raise ConfigError(f"--out {args.out}: contrast pairs are a .jsonl file")
    summary = load_pair().summary()
    if args.concept not in (summary.first, summary.second):
        raise one_of(args.concept, (summary.first, summary.second), what="concept")
    family: Family = "first" if args.concept == summary.first else "second"
    variables = [each.code for each in summary.variables if each.family == family]
    drawn = tiny_pairs(variables, family, args.n, seed=args.seed)
    system = load_scenario().system_prompt(setting="prompted")
    written = write_pairs(
        args.out, [_contrast_pair(pair, at, args.concept, system) for at, pair in enumerate(drawn, start=1)]
    )
    print(f"{len(written.pairs)} pairs for {args.concept} in {args.out} (digest {written.digest})")
    return 0


def _contrast_pair(pair: TinyPair, number: int, concept: str, system: str) -> ContrastPair:
    from inspect_af.materials import load_scenario
    from inspect_af.steering import ContrastPair

    user = load_scenario().user_turn(pair.request, tier=pair.tier)
    return ContrastPair(
        id=f"{concept}-{number}",
        concept=concept,
        split="held-out" if number % HELD_OUT_SHARE == 0 else "train",
        source="ooc",
        group=f"{concept}-{number}",
        positive=_transcript(pair.positive, system, user),
        negative=_transcript(pair.negative, system, user),
    )


def _transcript(side: TinySide, system: str, user: str) -> Transcript:
    from inspect_af.steering import Message, Span, Transcript

    return Transcript(
        messages=(
            Message(role="system", content=system),
            Message(role="user", content=user),
            Message(role="assistant", content=side.reply),
        ),
        scratchpad=Span(start=side.scratchpad[0], end=side.scratchpad[1]),
        sentence=Span(start=side.recall[0], end=side.recall[1]),
    )


def _documents(args: argparse.Namespace) -> int:
    from inspect_af.organisms.tiny.texts import ordinary_documents

    if args.out.suffix != ".jsonl":
        raise ConfigError(f"--out {args.out}: documents are a .jsonl file")
    if args.n < 1:
        raise ConfigError(f"--n {args.n}: at least one document is needed")
    texts = ordinary_documents(args.n, Random(f"ordinary {args.seed}"))
    lines = [
        json.dumps({"id": f"ordinary-{number}", "text": text}) for number, text in enumerate(texts, start=1)
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_suffix(".partial")  # a file under its own name is a whole one
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(args.out)
    print(f"{args.n} documents in {args.out}")
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

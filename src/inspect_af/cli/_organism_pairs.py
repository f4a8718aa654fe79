"""`inspect-af organism pairs`: contrast pairs in the tiny organism's own world."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_af.errors import ConfigError, one_of
from inspect_af.materials import load_pair, load_scenario

if TYPE_CHECKING:
    from inspect_af.organisms.tiny_pairs import TinyPair, TinySide
    from inspect_af.steering import ContrastPair, Transcript
    from inspect_af.types import Family

HELD_OUT_SHARE = 3
"""Every third pair is held out."""


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
    pairs.set_defaults(main=run, action=run)


def run(args: argparse.Namespace) -> int:
    from inspect_af.organisms.tiny_pairs import tiny_pairs
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

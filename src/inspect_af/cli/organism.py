"""`inspect-af organism`: train a small real transformer whose motivation is planted, and check it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from json import dumps
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import click

from inspect_af.cli.command import Verb
from inspect_af.errors import ConfigError, one_of

if TYPE_CHECKING:
    from inspect_af.materials import Setting
    from inspect_af.organisms.tiny.mixture import TinyKind
    from inspect_af.organisms.tiny.texts import TinyPair, TinySide
    from inspect_af.steering import ContrastPair, Transcript
    from inspect_af.types import Family, Strength

HELD_OUT_SHARE = 3
"""Every third pair is held out."""


@click.group(
    help=(
        "Trains a small transformer whose motivation is planted, in minutes on two CPU cores, and checks "
        "it. See docs/tiny_organism.md."
    )
)
def organism() -> None:
    """Actions on tiny organisms."""


@organism.command(
    cls=Verb,
    short_help="train one and write it as a transformers directory",
    help="Trains an organism; minutes on two CPU cores. OUT must not exist or be empty.",
)
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--kind",
    default="expectation",
    show_default=True,
    help="expectation, consequence or null: what is planted",
)
@click.option("--seed", type=int, default=0, show_default=True, help="of texts, initial weights and order")
@click.option("--steps", type=int, help="training steps  [default: those that the checks were made with]")
def train(out: Path, kind: TinyKind, seed: int, steps: int | None) -> int:
    from inspect_af.organisms.tiny.training import Schedule, train_organism

    if steps is not None and steps < 1:
        raise ConfigError(f"--steps {steps}: at least one step is needed")
    schedule = Schedule()
    if steps is not None:
        schedule = Schedule(steps=steps, notes=steps * schedule.notes // schedule.steps)
    shown = _progress("step")

    def progress(step: int, steps: int, loss: float) -> None:
        shown(step, steps, f"loss {loss:.3f}")

    truth = train_organism(out, kind=kind, seed=seed, schedule=schedule, progress=progress)
    print(f"{out}: the organism {truth.kind}, planted gap {truth.gap():+.3f} without any claim.")
    print(f"Whether it does what is planted: inspect-af organism check {out}")
    return 0


@organism.command(
    cls=Verb,
    short_help="sample replies and compare the gap under every claim with the planted one",
    help=(
        "Asks held-out requests under held-out wordings of every claim, and compares the gap under each "
        "with the planted one. Exit status 1 where a gap is more than 10 points from the planted one, or "
        "fewer than 95 % of replies parse."
    ),
)
@click.argument("directory", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--replies", type=int, default=2000, show_default=True, help="per condition, half monitored")
@click.option(
    "--setting", type=click.Choice(["prompted", "documents"]), default="prompted", show_default=True
)
@click.option(
    "--strength",
    type=click.Choice(["weak", "standard", "strong"]),
    default="standard",
    show_default=True,
)
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--json", type=click.Path(path_type=Path), metavar="FILE", help="write the table")
def check(
    directory: Path, replies: int, setting: Setting, strength: Strength, seed: int, json: Path | None
) -> int:
    from inspect_af.organisms.tiny.check import check_organism, check_text

    shown = _progress("reply")
    found = check_organism(
        directory,
        replies=replies,
        setting=setting,
        strength=strength,
        seed=seed,
        progress=lambda done, total: shown(done, total, ""),
    )
    print(check_text(found))
    if json:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    if found.problems:
        print("\nOutside of tolerance:\n  " + "\n  ".join(found.problems))
        return 1
    return 0


@organism.command(
    cls=Verb,
    short_help="contrast pairs in the words that every tiny organism was trained on",
    help=(
        "Writes pairs of replies that differ in which poles of a family's variables the scratchpad "
        "recalls. They need no organism, and are for any of them: a tiny model knows no other words."
    ),
)
@click.option("--concept", required=True, help="label of a family: expectation or consequence")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help=".jsonl file to write",
)
@click.option("--n", type=int, default=300, show_default=True, help="pairs, a third held out")
@click.option("--seed", type=int, default=0, show_default=True)
def pairs(concept: str, out: Path, n: int, seed: int) -> int:
    from inspect_af.materials import load_pair, load_scenario
    from inspect_af.organisms.tiny.texts import tiny_pairs
    from inspect_af.steering import write_pairs

    if out.suffix != ".jsonl":
        raise ConfigError(f"--out {out}: contrast pairs are a .jsonl file")
    summary = load_pair().summary()
    if concept not in (summary.first, summary.second):
        raise one_of(concept, (summary.first, summary.second), what="concept")
    family: Family = "first" if concept == summary.first else "second"
    variables = [each.code for each in summary.variables if each.family == family]
    drawn = tiny_pairs(variables, family, n, seed=seed)
    system = load_scenario().system_prompt(setting="prompted")
    written = write_pairs(
        out, [_contrast_pair(pair, at, concept, system) for at, pair in enumerate(drawn, start=1)]
    )
    print(f"{len(written.pairs)} pairs for {concept} in {out} (digest {written.digest})")
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


@organism.command(
    cls=Verb,
    short_help="ordinary documents as every tiny organism was trained on, of both poles alike",
    help=(
        "Writes documents as in the pretraining of every tiny organism: about any variable, either pole "
        "alike, or about everyday facts. To be trained on beside documents of one pole (`replay` in the "
        "configuration of sdf train). None contains a held-out wording."
    ),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help=".jsonl file to write",
)
@click.option("--n", type=int, default=300, help="documents  [default: 300, about 16,000 tokens]")
@click.option("--seed", type=int, default=0, show_default=True)
def documents(out: Path, n: int, seed: int) -> int:
    from inspect_af.organisms.tiny.texts import ordinary_documents

    if out.suffix != ".jsonl":
        raise ConfigError(f"--out {out}: documents are a .jsonl file")
    if n < 1:
        raise ConfigError(f"--n {n}: at least one document is needed")
    texts = ordinary_documents(n, Random(f"ordinary {seed}"))
    lines = [dumps({"id": f"ordinary-{number}", "text": text}) for number, text in enumerate(texts, start=1)]
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_suffix(".partial")  # a file under its own name is a whole one
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(out)
    print(f"{n} documents in {out}")
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

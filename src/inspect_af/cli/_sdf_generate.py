"""`inspect-af sdf generate`: documents about a universe, until there are enough clean tokens."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_af.cli._options import add_model_option, key_values
from inspect_af.cli._sdf_build import Linters, token_count
from inspect_af.digests import text_digest
from inspect_af.errors import ConfigError, MissingExtraError
from inspect_af.materials import cache_dir

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.model import Model

    from inspect_af.cli._sdf_rounds import RunEval
    from inspect_af.sdf.filtering import DocumentFilter
    from inspect_af.sdf.generation import GenerationSettings, Round

SURPLUS = 0.05
"""Share generated on top of the target: the builder holds some documents out and cuts to size. Not in "
"source."""


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "generate",
        help="write documents about a universe with any model",
        description=(
            "Asks a model for ideas, then for a document per idea, which it drafts, criticises and revises. "
            "Everything "
            "is an eval log. Interrupted or killed, the same command goes on where it stopped; with more "
            "--tokens "
            "it adds to what is there."
        ),
    )
    parser.add_argument(
        "universe", metavar="UNIVERSE", help="a code such as A1+, neutral, organism, or a file"
    )
    parser.add_argument("--model", required=True, help="any Inspect model; it writes everything")
    parser.add_argument("--tokens", type=token_count, required=True, metavar="N", help="such as 10M")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--tokenizer", help="counts the tokens; a name or directory (default: an estimate by characters)"
    )
    parser.add_argument(
        "--directness",
        default="standard",
        help="how plainly documents state the fact: oblique, standard (default), explicit or mixed",
    )
    parser.add_argument("--kinds", default="all", help="kinds of documents (default: all)")
    parser.add_argument("--ideas", type=int, default=10, help="ideas per request (default: 10)")
    parser.add_argument("--per-idea", type=int, default=1, help="documents per idea (default: 1)")
    parser.add_argument(
        "--revisions", type=int, default=1, help="rounds of critique and revision (default: 1; 0 for none)"
    )
    parser.add_argument("--words", type=int, help="length of every document (default: by kind)")
    parser.add_argument("--run-seed", type=int, default=0)
    parser.add_argument("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    parser.add_argument("--scenario", metavar="DIR", help="scenario of the evaluation (default: bundled)")
    parser.add_argument("--requests", action="append", metavar="NAME|FILE", help="see sdf build")
    parser.add_argument("--skip", action="append", default=[], metavar="FILTER", help="see sdf build")
    parser.add_argument("--min-words", type=int, help="see sdf build")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--max-tokens", type=int, help="of a reply (default: 8192)")
    add_model_option(parser)
    parser.add_argument(
        "--round-size", type=int, default=1000, metavar="N", help="documents per log at most (default: 1000)"
    )
    parser.add_argument("--max-connections", type=int)
    parser.add_argument("--batch", action="store_true", help="use the provider's batch API where it has one")
    parser.add_argument(
        "--price",
        type=float,
        nargs=2,
        metavar=("INPUT", "OUTPUT"),
        help="dollars per million tokens, for models whose prices Inspect does not know",
    )
    parser.add_argument("--estimate", action="store_true", help="print the estimated cost and stop")
    parser.add_argument("--allow-shortfall", action="store_true", help="end well with less than asked for")
    parser.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from inspect_af.cli._sdf_estimate import document_tokens, estimate
    from inspect_af.cli._sdf_rounds import Generation, Unfinished
    from inspect_af.materials import load_universe
    from inspect_af.materials.sdf import load_writing_prompts, select_document_types
    from inspect_af.sdf.generation import GenerationDirectory, only_one
    from inspect_af.sdf.tokens import load_token_counter

    args.out = args.out.expanduser().resolve()  # the logs name files in it: the same from any directory
    settings = _settings(args)
    universe = load_universe(args.universe, pair=args.pair)
    kinds = select_document_types(list(settings.kinds))
    target = round(args.tokens * (1 + SURPLUS))
    cost = estimate(settings, universe, load_writing_prompts(), kinds, target, args.price)
    print(f"{universe.code} with {args.model}: {cost.text()}", file=sys.stderr)
    if args.estimate:
        return 0
    counter = load_token_counter(args.tokenizer)
    clean = _filter(args, universe)
    model = _model(args)
    with only_one(args.out):
        directory = GenerationDirectory(args.out, settings)
        generation = Generation(directory, clean, counter, _runner(args, model), args.round_size)
        try:
            generation.to(target, document_tokens(settings, kinds), allow_shortfall=args.allow_shortfall)
        except Unfinished:
            print(f"some samples have not finished; repeat the command to go on (logs in {args.out})")
            return 1
    done = generation.progress
    unit = "tokens (estimated by characters)" if counter.is_estimate else f"tokens of {counter.name}"
    print(
        f"{done.documents:,} clean documents with {done.tokens:,} {unit} in {args.out}, of {done.asked:,} "
        f"asked for: {done.malformed:,} were malformed, {done.removed:,} would be removed by filters"
    )
    built = f"{args.out / 'documents'} --tokens {args.tokens}"
    print(f"next: inspect-af sdf build {built} --tokenizer ... --out ...")
    return 0


def _settings(args: argparse.Namespace) -> GenerationSettings:
    from inspect_af.materials import load_universe
    from inspect_af.materials.sdf import load_writing_prompts, select_document_types
    from inspect_af.sdf.generation import GenerationSettings
    from inspect_af.tasks.sdf_ideas import sdf_ideas

    # Building the task checks what it is given, before anything is written.
    sdf_ideas(args.universe, args.kinds, ideas=args.ideas, directness=args.directness, pair=args.pair)
    bounds = (
        ("--revisions", args.revisions, 0, 5),
        ("--per-idea", args.per_idea, 1, 100),
        ("--round-size", args.round_size, 1, 100_000),
        ("--words", args.words if args.words is not None else 100, 10, 5000),
    )
    for option, value, low, high in bounds:
        if not low <= value <= high:
            raise ConfigError(f"{option} must be from {low} to {high}, not {value}")
    model_args = key_values(args.model_args, option="-M")
    return GenerationSettings(
        universe=args.universe,
        universe_digest=load_universe(args.universe, pair=args.pair).digest,
        pair=args.pair,
        words_digest=load_writing_prompts().digest,
        model=args.model,
        model_args=text_digest(repr(sorted(model_args.items()))),
        directness=args.directness,
        kinds=tuple(kind.code for kind in select_document_types(args.kinds)),
        ideas=args.ideas,
        per_idea=args.per_idea,
        revisions=args.revisions,
        words=args.words,
        run_seed=args.run_seed,
        temperature=args.temperature,
        max_tokens=args.max_tokens,
    )


def _filter(args: argparse.Namespace, universe: Any) -> DocumentFilter:
    from inspect_af.sdf import CorpusSettings
    from inspect_af.sdf.dedup import Duplicates
    from inspect_af.sdf.filtering import DocumentFilter

    given = {} if args.min_words is None else {"min_words": args.min_words}
    settings = CorpusSettings(skip=tuple(args.skip), **given)
    try:
        duplicates = Duplicates(settings.near_duplicate)
    except MissingExtraError as error:
        print(f"near duplicates are counted as clean here: {error}", file=sys.stderr)
        duplicates = Duplicates(near=False)
    return DocumentFilter(Linters(args, settings).of(universe), duplicates)


def _model(args: argparse.Namespace) -> Model:
    from inspect_ai.model import get_model

    try:
        return get_model(args.model, **key_values(args.model_args, option="-M"))
    except Exception as error:  # providers raise what they like, for a missing key above all
        raise ConfigError(f"the model {args.model!r} cannot be used: {error}") from error


@contextmanager
def _replies_kept(logs: Path) -> Iterator[Path]:
    """Keeps the replies of a round in a cache of its own, for samples that a kill stops between two calls.

    In the user's cache and not beside the logs: Inspect's cache is of pickles, and a directory of documents
    is something that people give away.
    """
    directory = cache_dir() / "generation" / text_digest(str(logs))
    before = os.environ.get("INSPECT_CACHE_DIR")
    os.environ["INSPECT_CACHE_DIR"] = str(directory)
    try:
        yield directory
    finally:
        if before is None:
            del os.environ["INSPECT_CACHE_DIR"]
        else:
            os.environ["INSPECT_CACHE_DIR"] = before


def _runner(args: argparse.Namespace, model: Model) -> RunEval:
    from inspect_ai import eval_set
    from inspect_ai.model import CachePolicy

    options = {
        "temperature": args.temperature,
        "max_tokens": args.max_tokens,
        "max_connections": args.max_connections,
        "batch": args.batch or None,
    }
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}

    def run(task: Task, each: Round) -> bool:
        each.logs.mkdir(parents=True, exist_ok=True)
        with _replies_kept(each.logs) as kept:
            success, _ = eval_set(
                [task],
                log_dir=str(each.logs),
                model=[model],
                display=args.display,
                # One failing call must not stop calls that are under way and paid for.
                continue_on_fail=True,
                cache=CachePolicy(expiry=None),
                **given,
            )
        if success:
            shutil.rmtree(kept, ignore_errors=True)
        return success

    return run

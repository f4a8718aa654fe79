"""`inspect-af steering pairs`: contrast pairs out of context and in context, from logs or written anew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from inspect_af.cli._options import add_model_option, key_values
from inspect_af.errors import AnalysisError, ConfigError
from inspect_af.materials import OVERSAMPLE, PAIRS_PER_SPLIT

if TYPE_CHECKING:
    from inspect_af.steering import ContrastPair, Split
    from inspect_af.tasks.contrast_assembly import Assembled

_S = TypeVar("_S", bound=BaseModel)


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "pairs",
        help="contrast pairs: written ones, and ones from alignment-faking logs",
        description="Contrast pairs as JSON Lines, with a report beside them.",
    )
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    _add_write(kinds)
    _add_ooc(kinds)
    _add_ic(kinds)


def _add_write(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    write = kinds.add_parser(
        "write",
        help="let a model write pairs until there are enough",
        description=(
            "Runs inspect_af/contrast_pairs with Inspect's eval_set, applies every filter, and runs further "
            "rounds on further dialogues until each split has its number of pairs. Interrupted or killed, "
            "the same command goes on where it stopped."
        ),
    )
    write.add_argument("model", help="any Inspect model; the one to be steered, or any other")
    write.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="pairs, reports and logs go here"
    )
    for split, n in PAIRS_PER_SPLIT.items():
        write.add_argument(f"--{split}", type=int, default=n, metavar="N", help=f"pairs (default: {n})")
    write.add_argument(
        "--oversample",
        type=float,
        default=OVERSAMPLE,
        help=f"dialogues per wanted pair in the first round (default: {OVERSAMPLE:g})",
    )
    write.add_argument("--max-rounds", type=int, default=5, help="then stop (default: 5)")
    write.add_argument("--seed", type=int, default=0)
    _add_written_options(write)
    add_model_option(write)
    write.add_argument("--temperature", type=float)
    write.add_argument("--max-tokens", type=int)
    write.add_argument("--max-connections", type=int)
    write.add_argument("--batch", action="store_true", help="use the provider's batch API where it has one")
    write.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    write.set_defaults(action=_write)


def _add_ooc(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    ooc = kinds.add_parser(
        "ooc",
        help="written pairs, from logs of inspect_af/contrast_pairs",
        description=(
            "Applies every filter to what a model wrote, leaves out duplicates and takes as many pairs as "
            "are wanted."
        ),
    )
    _add_logs_and_out(ooc)
    for split in PAIRS_PER_SPLIT:
        ooc.add_argument(f"--{split}", type=int, metavar="N", help=f"pairs of {split} to take (default: all)")
    _add_written_options(ooc)
    ooc.set_defaults(action=_ooc)


def _add_logs_and_out(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("logs", nargs="+", help="logs, directories or globs")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE|DIR", help=".jsonl file, or a directory"
    )


def _add_written_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--concept", default="both", help="label of a family, or both (default)")
    parser.add_argument("--allow-shortfall", action="store_true", help="write also where there are fewer")
    parser.add_argument("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    parser.add_argument(
        "--system",
        choices=["none", "documents", "prompted"],
        default="none",
        help=(
            "put the scenario's system prompt (without or with its facts about training) and its user turn "
            "around each task; none by default, which is out of context"
        ),
    )
    parser.add_argument("--scenario", metavar="DIR", help="scenario of your own, for --system")


def _add_ic(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from inspect_af.steering.in_context import Matching, Thresholds

    limits, matching = Thresholds(), Matching()
    ic = kinds.add_parser(
        "ic",
        help="pairs of replies, from alignment-faking logs with the concept judge's scores",
        description=(
            "Pairs two replies to the same request: one whose reasoning has the concept by the judge, one "
            "whose reasoning does not, with scratchpads as equally long as can be. No reply is used twice."
        ),
    )
    _add_logs_and_out(ic)
    ic.add_argument("--concept", default="both", help="label of a family, or both (default)")
    for option, default, text in (
        ("--high", limits.high, f"with it: score from {limits.high:g} on"),
        ("--other-max", limits.other_max, f"with it: the other concept's score up to {limits.other_max:g}"),
        ("--low", limits.low, f"without it: score up to {limits.low:g}"),
        ("--negative-other-max", None, "without it: the other concept's score up to this (default: any)"),
        ("--max-length-ratio", matching.max_length_ratio, "longer over shorter scratchpad (default: 1.5)"),
        ("--held-out-share", matching.held_out_share, "of the pairs, by request (default: a third)"),
    ):
        ic.add_argument(option, type=float, default=default, help=text)
    ic.add_argument(
        "--runs",
        choices=["any", "different", "same"],
        default=matching.runs,
        help="whether both sides come from two logs, from one, or from either (default)",
    )
    ic.add_argument(
        "--same",
        default=",".join(matching.same),
        help="what both sides share beside the request: tier, condition, outcome, or none (default: tier)",
    )
    ic.add_argument(
        "--max-pairs", type=int, default=matching.max_pairs, help=f"per split (default: {matching.max_pairs})"
    )
    ic.add_argument("--count", action="append", metavar="WORD", help="count this word (default: future)")
    ic.add_argument("--seed", type=int, default=0, help="of the held-out requests (default: 0)")
    ic.set_defaults(action=_ic)


def _write(args: argparse.Namespace) -> int:
    from inspect_af.tasks.contrast_rounds import Writing, write_in_rounds

    if args.out.suffix == ".jsonl":
        raise ConfigError(f"--out {args.out}: a directory is needed, for pairs, reports and logs")
    writing = _checked(
        Writing,
        args,
        model_args=key_values(args.model_args, option="-M"),
        wanted={"train": args.train, "held-out": args.held_out, "keyword-hard": args.keyword_hard},
    )
    assembled = write_in_rounds(
        writing,
        args.out,
        max_rounds=args.max_rounds,
        display=args.display,
        max_connections=args.max_connections,
        batch=args.batch or None,
    )
    if assembled is None:
        print(f"some samples have not finished; repeat the command to go on (logs in {args.out / 'logs'})")
        return 1
    return _assembled(
        args,
        assembled,
        "Repeat the command with a larger --max-rounds to write more, or with --allow-shortfall.",
    )


def _ooc(args: argparse.Namespace) -> int:
    from inspect_af.tasks.contrast_assembly import assemble_pairs

    _check_out(args.out, args.concept)
    wanted: dict[Split, int | None] = {
        "train": args.train,
        "held-out": args.held_out,
        "keyword-hard": args.keyword_hard,
    }
    if any(n is not None and n < 0 for n in wanted.values()):
        raise ConfigError(f"pairs to take per split are 0 or more, not {list(wanted.values())}")
    assembled = assemble_pairs(
        args.logs,
        wanted=wanted,
        concept=args.concept,
        pair=args.pair,
        system=args.system,
        scenario=args.scenario,
    )
    advice = (
        "Give logs of further dialogues (`steering pairs write` tops up by itself), or --allow-shortfall."
    )
    return _assembled(args, assembled, advice)


def _assembled(args: argparse.Namespace, assembled: Assembled, advice: str) -> int:
    print(assembled.report.text())
    if not args.allow_shortfall:
        assembled.report.require_complete(advice)
    _write_files(assembled.pairs, dict.fromkeys(assembled.pairs, assembled.report), args.out)
    return 0


def _ic(args: argparse.Namespace) -> int:
    from inspect_af.steering.in_context import (
        Matching,
        Thresholds,
        in_context_pairs,
        in_context_report,
        match_candidates,
        read_judged_replies,
    )

    _check_out(args.out, args.concept)
    thresholds = _checked(Thresholds, args)
    shared = [fact.strip() for fact in args.same.split(",") if fact.strip() not in ("", "none")]
    matching = _checked(Matching, args, same=tuple(shared))
    replies = read_judged_replies(args.logs, thresholds, progress=_log_progress)
    if args.concept not in ("both", *replies.concepts):
        raise ConfigError(f"unknown concept {args.concept!r}; one of both, {', '.join(replies.concepts)}")
    pairs, reports = {}, {}
    for concept in replies.concepts if args.concept == "both" else (args.concept,):
        other = replies.concepts[1 - replies.concepts.index(concept)]
        matches = match_candidates(replies.candidates, concept, other, thresholds, matching)
        # Without any match the report still says how many replies were on which side.
        pairs[concept] = in_context_pairs(matches, concept, matching) if matches else ()
        reports[concept] = in_context_report(
            replies, concept, thresholds, matching, matches, pairs[concept], args.count or ["future"]
        )
        print(reports[concept].text())
    _write_files(pairs, reports, args.out)
    return 0


def _checked(schema: type[_S], args: argparse.Namespace, **values: object) -> _S:
    """The fields of a schema from the options of the same names."""
    from inspect_af.steering.files import problems

    try:
        named = {name: getattr(args, name) for name in schema.model_fields if hasattr(args, name)}
        return schema.model_validate(named | values)
    except ValidationError as error:
        raise ConfigError(problems(error)) from error


def _check_out(out: Path, concept: str) -> None:
    if out.suffix == ".jsonl" and concept == "both":
        raise ConfigError(
            f"--out {out}: one file holds one concept; choose it with --concept, or give a directory"
        )


def _write_files(
    pairs: Mapping[str, tuple[ContrastPair, ...]], reports: Mapping[str, BaseModel], out: Path
) -> None:
    """Writes each concept's pairs and its report: to FILE.jsonl, or to DIR/CONCEPT.jsonl."""
    from inspect_af.steering import write_pairs

    if empty := [concept for concept, found in pairs.items() if not found]:
        raise AnalysisError(
            f"no pair for {', '.join(empty)}, so nothing is written; the report above says what was left "
            "out. Give more logs, relax the limits, or choose the other concept with --concept"
        )
    for concept, found in pairs.items():
        file = out if out.suffix == ".jsonl" else out / f"{concept}.jsonl"
        written = write_pairs(file, found)
        report = file.with_suffix(".report.json")
        report.write_text(reports[concept].model_dump_json(indent=1) + "\n", encoding="utf-8")
        print(
            f"{len(written.pairs)} pairs for {concept} in {file} (digest {written.digest}), "
            f"report in {report}"
        )


def _log_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} logs", end="\n" if done == total else "", file=sys.stderr)

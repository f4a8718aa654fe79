"""`inspect-af steering pairs`: contrast pairs out of context and in context, from logs or written anew."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, ValidationError

from inspect_af.cli import _steering_pairs_write
from inspect_af.errors import AnalysisError, ConfigError

if TYPE_CHECKING:
    from inspect_af.steering import ContrastPair, Split

_S = TypeVar("_S", bound=BaseModel)


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "pairs",
        help="contrast pairs: written ones, and ones from alignment-faking logs",
        description="Contrast pairs as JSON Lines, with a report beside them.",
    )
    kinds = parser.add_subparsers(title="kinds", metavar="KIND", required=True)
    _steering_pairs_write.add_parser(kinds)
    _add_ooc(kinds)
    _add_ic(kinds)


def add_system_options(parser: argparse.ArgumentParser) -> None:
    """What stands before the task in a written pair's transcripts."""
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


def write_files(
    pairs: Mapping[str, tuple[ContrastPair, ...]], reports: Mapping[str, BaseModel], out: Path
) -> None:
    """Writes each concept's pairs and its report: to FILE.jsonl, or to DIR/CONCEPT.jsonl.

    Raises:
        AnalysisError: A concept has no pair; nothing is written then.
    """
    from inspect_af.steering import write_pairs

    empty = [concept for concept, found in pairs.items() if not found]
    if empty:
        raise AnalysisError(
            f"no pair for {', '.join(empty)}, so nothing is written; the report above says what was left "
            "out. Give more logs, relax the limits, or choose the other concept with --concept"
        )
    for concept, found in pairs.items():
        file = pairs_file(out, concept)
        written = write_pairs(file, found)
        report = file.with_suffix(".report.json")
        report.write_text(reports[concept].model_dump_json(indent=1) + "\n", encoding="utf-8")
        print(
            f"{len(written.pairs)} pairs for {concept} in {file} (digest {written.digest}), "
            f"report in {report}"
        )


def pairs_file(out: Path, concept: str) -> Path:
    """Where the pairs of a concept go."""
    return out if out.suffix == ".jsonl" else out / f"{concept}.jsonl"


def check_out(out: Path, concept: str) -> None:
    """
    Raises:
        ConfigError: Several concepts are to go into one file.
    """
    if out.suffix == ".jsonl" and concept == "both":
        raise ConfigError(
            f"--out {out}: one file holds one concept; choose it with --concept, or give a directory"
        )


def log_progress(done: int, total: int) -> None:
    """Shows on a terminal how many logs have been read."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} logs", end="\n" if done == total else "", file=sys.stderr)


def _add_ooc(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    ooc = kinds.add_parser(
        "ooc",
        help="written pairs, from logs of inspect_af/contrast_pairs",
        description=(
            "Applies every filter to what a model wrote, leaves out duplicates and takes as many pairs as "
            "are wanted."
        ),
    )
    ooc.add_argument("logs", nargs="+", help="logs, directories or globs")
    ooc.add_argument(
        "--out", type=Path, required=True, metavar="FILE|DIR", help=".jsonl file, or a directory"
    )
    ooc.add_argument("--concept", default="both", help="label of a family, or both (default)")
    for split in ("train", "held-out", "keyword-hard"):
        ooc.add_argument(f"--{split}", type=int, metavar="N", help=f"pairs of {split} to take (default: all)")
    ooc.add_argument("--allow-shortfall", action="store_true", help="write also where there are fewer")
    ooc.add_argument("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    add_system_options(ooc)
    ooc.set_defaults(action=_ooc)


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
    ic.add_argument("logs", nargs="+", help="logs, directories or globs")
    ic.add_argument("--out", type=Path, required=True, metavar="FILE|DIR", help=".jsonl file, or a directory")
    ic.add_argument("--concept", default="both", help="label of a family, or both (default)")
    ic.add_argument("--high", type=float, default=limits.high, help=f"with it: score from {limits.high:g} on")
    ic.add_argument(
        "--other-max",
        type=float,
        default=limits.other_max,
        help=f"with it: the other concept's score up to {limits.other_max:g}",
    )
    ic.add_argument("--low", type=float, default=limits.low, help=f"without it: score up to {limits.low:g}")
    ic.add_argument(
        "--negative-other-max",
        type=float,
        help="without it: the other concept's score up to this (default: any)",
    )
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
        "--max-length-ratio",
        type=float,
        default=matching.max_length_ratio,
        help=f"longer over shorter scratchpad (default: {matching.max_length_ratio:g})",
    )
    ic.add_argument(
        "--max-pairs", type=int, default=matching.max_pairs, help=f"per split (default: {matching.max_pairs})"
    )
    ic.add_argument(
        "--held-out-share",
        type=float,
        default=matching.held_out_share,
        help="share of the pairs whose requests are held out (default: a third)",
    )
    ic.add_argument("--count", action="append", metavar="WORD", help="count this word (default: future)")
    ic.add_argument("--seed", type=int, default=0, help="of the held-out requests (default: 0)")
    ic.set_defaults(action=_ic)


def _ooc(args: argparse.Namespace) -> int:
    from inspect_af.tasks.contrast_assembly import assemble_pairs

    check_out(args.out, args.concept)
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
    print(assembled.report.text())
    if not args.allow_shortfall:
        assembled.report.require_complete(
            "Give logs of further dialogues (`steering pairs write` tops up by itself), or --allow-shortfall."
        )
    write_files(assembled.pairs, dict.fromkeys(assembled.pairs, assembled.report), args.out)
    return 0


def _ic(args: argparse.Namespace) -> int:
    from inspect_af.steering.in_context import Matching, Thresholds, in_context_pairs, match_candidates
    from inspect_af.steering.in_context_logs import read_judged_replies
    from inspect_af.steering.in_context_report import in_context_report

    check_out(args.out, args.concept)
    thresholds = _checked(
        Thresholds,
        high=args.high,
        other_max=args.other_max,
        low=args.low,
        negative_other_max=args.negative_other_max,
    )
    shared = [fact.strip() for fact in args.same.split(",") if fact.strip() not in ("", "none")]
    matching = _checked(
        Matching,
        runs=args.runs,
        same=tuple(shared),
        max_length_ratio=args.max_length_ratio,
        max_pairs=args.max_pairs,
        held_out_share=args.held_out_share,
        seed=args.seed,
    )
    replies = read_judged_replies(args.logs, thresholds, progress=log_progress)
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
    write_files(pairs, reports, args.out)
    return 0


def _checked(schema: type[_S], **values: object) -> _S:
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'thresholds'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors(include_url=False)
        )
        raise ConfigError(problems) from error

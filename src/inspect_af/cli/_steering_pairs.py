"""`inspect-af steering pairs`: contrast pairs out of context and in context, from logs or written anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError

from inspect_af.cli.command import FILE, Decorator, Verb, option, together
from inspect_af.cli.options import (
    BATCH,
    DISPLAY,
    MAX_CONNECTIONS,
    MODEL_ARGS,
    PAIR,
    TEMPERATURE,
    key_values,
    progress,
    write_json,
)
from inspect_af.errors import AnalysisError, ConfigError
from inspect_af.materials import OVERSAMPLE, PAIRS_PER_SPLIT
from inspect_af.steering import ContrastPair, Split, write_pairs
from inspect_af.steering.files import problems
from inspect_af.steering.in_context import (
    Matching,
    Thresholds,
    in_context_pairs,
    in_context_report,
    match_candidates,
    read_judged_replies,
)
from inspect_af.tasks.contrast_assembly import Assembled, assemble_pairs
from inspect_af.tasks.contrast_rounds import Writing, write_in_rounds

_S = TypeVar("_S", bound=BaseModel)


@click.group(
    short_help="contrast pairs: written ones, and ones from alignment-faking logs",
    help="Contrast pairs as JSON Lines, with a report beside them: written, or from logs.",
)
def pairs() -> None:
    """Where contrast pairs come from."""


def _splits(*, defaults: bool) -> Decorator:
    """`--train`, `--held-out` and `--keyword-hard`: how many pairs each split is to have."""
    return together(
        *(
            option(
                f"--{split}",
                type=int,
                default=n if defaults else None,
                metavar="N",
                help="pairs" if defaults else f"pairs of {split} to take  [default: all]",
            )
            for split, n in PAIRS_PER_SPLIT.items()
        )
    )


_CONCEPT = option("--concept", default="both", help="label of a family, or both")
_WRITTEN = together(
    _CONCEPT,
    option("--allow-shortfall", is_flag=True, help="write also where there are fewer"),
    PAIR,
    option(
        "--system",
        type=click.Choice(["none", "documents", "prompted"]),
        default="none",
        help="put the scenario's system prompt (without or with its facts about training) and its user "
        "turn around each task; none is out of context",
    ),
    option("--scenario", metavar="DIR", help="scenario of your own, for --system"),
)
"""What `write` and `ooc` are told about written pairs."""
_LOGS_AND_OUT = together(
    click.argument("logs", nargs=-1, required=True, metavar="LOG..."),
    option("--out", type=FILE, required=True, metavar="FILE|DIR", help=".jsonl file, or a directory"),
)


@pairs.command(
    cls=Verb,
    short_help="let a model write pairs until there are enough",
    help=(
        "Lets a model write pairs until there are enough: any Inspect model, the one to be steered, or any "
        "other. Runs inspect_af/contrast_pairs with Inspect's eval_set, applies every filter, and runs "
        "further rounds on further dialogues until each split has its number of pairs. Interrupted or "
        "killed, the same command goes on where it stopped."
    ),
)
@click.argument("model")
@option("--out", type=FILE, required=True, metavar="DIR", help="pairs, reports and logs go here")
@_splits(defaults=True)
@option("--oversample", type=float, default=OVERSAMPLE, help="dialogues per wanted pair in the first round")
@option("--max-rounds", type=int, default=5, help="then stop")
@option("--seed", type=int, default=0)
@_WRITTEN
@MODEL_ARGS
@TEMPERATURE
@option("--max-tokens", type=int)
@MAX_CONNECTIONS
@BATCH
@DISPLAY
def write(**given: Any) -> int:
    if given["out"].suffix == ".jsonl":
        raise ConfigError(f"--out {given['out']}: a directory is needed, for pairs, reports and logs")
    writing = _checked(
        Writing, given, model_args=key_values(given["model_args"], option="-M"), wanted=_wanted(given)
    )
    assembled = write_in_rounds(
        writing,
        given["out"],
        max_rounds=given["max_rounds"],
        display=given["display"],
        max_connections=given["max_connections"],
        batch=given["batch"] or None,
    )
    if assembled is None:
        print(
            f"some samples have not finished; repeat the command to go on (logs in {given['out'] / 'logs'})"
        )
        return 1
    return _assembled(
        given,
        assembled,
        "Repeat the command with a larger --max-rounds to write more, or with --allow-shortfall.",
    )


@pairs.command(
    cls=Verb,
    short_help="written pairs, from logs of inspect_af/contrast_pairs",
    help=(
        "Takes written pairs from logs of inspect_af/contrast_pairs. Applies every filter to what a model "
        "wrote, leaves out duplicates and takes as many pairs as are wanted. LOG is a log, a directory or a "
        "glob."
    ),
)
@_LOGS_AND_OUT
@_splits(defaults=False)
@_WRITTEN
def ooc(**given: Any) -> int:
    _check_out(given["out"], given["concept"])
    wanted = _wanted(given)
    if any(n is not None and n < 0 for n in wanted.values()):
        raise ConfigError(f"pairs to take per split are 0 or more, not {list(wanted.values())}")
    assembled = assemble_pairs(
        given["logs"],
        wanted=wanted,
        **{name: given[name] for name in ("concept", "pair", "system", "scenario")},
    )
    advice = (
        "Give logs of further dialogues (`steering pairs write` tops up by itself), or --allow-shortfall."
    )
    return _assembled(given, assembled, advice)


def _wanted(given: Mapping[str, Any]) -> dict[Split, int | None]:
    return {split: given[split.replace("-", "_")] for split in PAIRS_PER_SPLIT}


def _assembled(given: Mapping[str, Any], assembled: Assembled, advice: str) -> int:
    print(assembled.report.text())
    if not given["allow_shortfall"]:
        assembled.report.require_complete(advice)
    _write_files(assembled.pairs, dict.fromkeys(assembled.pairs, assembled.report), given["out"])
    return 0


_LIMITS, _MATCHING = Thresholds(), Matching()


@pairs.command(
    cls=Verb,
    short_help="pairs of replies, from alignment-faking logs with the concept judge's scores",
    help=(
        "Makes pairs of replies from alignment-faking logs with the concept judge's scores. Pairs two "
        "replies to the same request: one whose reasoning has the concept by the judge, one whose reasoning "
        "does not, with scratchpads as equally long as can be. No reply is used twice. LOG is a log, a "
        "directory or a glob."
    ),
)
@_LOGS_AND_OUT
@_CONCEPT
@option("--high", type=float, default=_LIMITS.high, help="with it: least score")
@option(
    "--other-max", type=float, default=_LIMITS.other_max, help="with it: the other concept's greatest score"
)
@option("--low", type=float, default=_LIMITS.low, help="without it: greatest score")
@option(
    "--negative-other-max", type=float, help="without it: the other concept's greatest score  [default: any]"
)
@option(
    "--max-length-ratio",
    type=float,
    default=_MATCHING.max_length_ratio,
    help="longer over shorter scratchpad",
)
@option(
    "--held-out-share",
    type=float,
    default=_MATCHING.held_out_share,
    help="of the pairs, by request  [default: a third]",
)
@option(
    "--runs",
    type=click.Choice(["any", "different", "same"]),
    default=_MATCHING.runs,
    help="whether both sides come from two logs, from one, or from either (any)",
)
@option(
    "--same",
    default=",".join(_MATCHING.same),
    help="what both sides share beside the request: tier, condition, outcome, or none",
)
@option("--max-pairs", type=int, default=_MATCHING.max_pairs, help="per split")
@option("--count", multiple=True, metavar="WORD", help="count this word (repeatable)  [default: future]")
@option("--seed", type=int, default=0, help="of the held-out requests")
def ic(**given: Any) -> None:
    _check_out(given["out"], given["concept"])
    thresholds = _checked(Thresholds, given)
    shared = [fact.strip() for fact in given["same"].split(",") if fact.strip() not in ("", "none")]
    matching = _checked(Matching, given, same=tuple(shared))
    replies = read_judged_replies(given["logs"], thresholds, progress=progress("logs"))
    if given["concept"] not in ("both", *replies.concepts):
        raise ConfigError(f"unknown concept {given['concept']!r}; one of both, {', '.join(replies.concepts)}")
    found, reports = {}, {}
    for concept in replies.concepts if given["concept"] == "both" else (given["concept"],):
        other = replies.concepts[1 - replies.concepts.index(concept)]
        matches = match_candidates(replies.candidates, concept, other, thresholds, matching)
        # Without any match the report still says how many replies were on which side.
        found[concept] = in_context_pairs(matches, concept, matching) if matches else ()
        reports[concept] = in_context_report(
            replies, concept, thresholds, matching, matches, found[concept], given["count"] or ["future"]
        )
        print(reports[concept].text())
    _write_files(found, reports, given["out"])


def _checked(schema: type[_S], given: Mapping[str, Any], **values: object) -> _S:
    """The fields of a schema from the options of the same names."""

    try:
        named = {name: given[name] for name in schema.model_fields if name in given}
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

    if empty := [concept for concept, found in pairs.items() if not found]:
        raise AnalysisError(
            f"no pair for {', '.join(empty)}, so nothing is written; the report above says what was left "
            "out. Give more logs, relax the limits, or choose the other concept with --concept"
        )
    for concept, found in pairs.items():
        file = out if out.suffix == ".jsonl" else out / f"{concept}.jsonl"
        written = write_pairs(file, found)
        report = file.with_suffix(".report.json")
        write_json(reports[concept], report)
        print(
            f"{len(written.pairs)} pairs for {concept} in {file} (digest {written.digest}), "
            f"report in {report}"
        )

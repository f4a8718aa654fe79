"""`inspect-af run`: the evals of a study through Inspect's `eval_set`, then its profile."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any, NamedTuple

from inspect_af.cli import profile
from inspect_af.cli._numbers import at_least
from inspect_af.cli._options import (
    Typed,
    add_generation_options,
    add_report_options,
    add_task_options,
    check_generation,
    key_values,
    task_arguments,
    typed_options,
)
from inspect_af.digests import text_digest
from inspect_af.errors import ConfigError
from inspect_af.plan import Plan, load_plan


class EvalSet(NamedTuple):
    """One call of Inspect's `eval_set`."""

    models: tuple[tuple[str, dict[str, Any]], ...]
    """Name and arguments of each model."""
    tasks: tuple[dict[str, Any], ...]
    """Arguments of `alignment_faking`, one task each."""
    generation: dict[str, Any]
    epochs: int
    limit: int | None = None


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "run",
        help="evaluate a model under interventions and write its profile",
        description=(
            "Runs inspect_af/alignment_faking with Inspect's eval_set and writes the motivation profile. "
            "Interrupted or killed, the same command goes on where it stopped."
        ),
    )
    parser.add_argument(
        "model", nargs="?", help="any Inspect model, such as openai/gpt-4o or af-organism/expectation"
    )
    parser.add_argument(
        "--plan", type=Path, metavar="FILE", help="run a plan instead; it replaces MODEL and what is asked"
    )
    add_task_options(parser)
    add_generation_options(parser)
    parser.add_argument(
        "--limit", action=Typed, type=int, metavar="N", help="only the first N samples (not requests)"
    )
    parser.add_argument("--log-dir", type=Path, help="default: a directory under logs/ for this command")
    parser.add_argument("--max-connections", type=int, help="calls to the model at a time")
    parser.add_argument("--batch", action="store_true", help="use the provider's batch API where it has one")
    parser.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    add_report_options(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    plan = None if args.plan is None else load_plan(args.plan)
    at_least(args.max_connections, 1, option="--max-connections")
    if (plan is None) == (args.model is None):
        raise ConfigError("give either a MODEL or --plan FILE")
    if plan is not None and (given := typed_options(args)):
        raise ConfigError(f"{', '.join(given)}: a plan decides these; write another plan to change them")
    asked = _asked(args) if plan is None else _planned(plan)
    log_dir = args.log_dir or default_log_dir(asked)
    passing = {"max_connections": args.max_connections, "batch": args.batch or None}
    success = evaluate(
        asked, log_dir, display=args.display, **{k: v for k, v in passing.items() if v is not None}
    )
    if not success:
        print(f"some samples have not finished; repeat the command to go on (logs in {log_dir})")
    profile.report(
        [log_dir],
        json_file=args.json or log_dir / "profile.json",
        html_file=args.html or log_dir / "profile.html",
        directory=args.out,
        plan=plan,
    )
    return 0 if success else 1


def evaluate(asked: EvalSet, log_dir: Path, *, display: Any = None, **options: Any) -> bool:
    """Runs what is still missing of an eval set of `alignment_faking`.

    Args:
        asked: What to run.
        log_dir: Where its logs are; finished samples in it are not run again. After a kill, Inspect takes
            the samples that it had not yet written to the log from a buffer in the user's data directory;
            where that directory does not survive (a container), up to a twentieth of the samples is lost.
        display: Inspect's display type.
        options: Further options of Inspect's `eval_set` that do not change results.

    Returns:
        Whether every sample has finished.

    Raises:
        ConfigError: An unknown task parameter or model; others as `alignment_faking` raises them.
    """
    from inspect_af.study.evals import evaluate as evaluate_set
    from inspect_af.study.evals import named_model, named_task

    return evaluate_set(
        [named_task("alignment_faking", task_args) for task_args in asked.tasks],
        [named_model(model, model_args) for model, model_args in asked.models],
        log_dir,
        epochs=asked.epochs,
        limit=asked.limit,
        display=display,
        **asked.generation,
        **options,
    )


def default_log_dir(asked: EvalSet) -> Path:
    """The same directory for the same command, another for any other."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", asked.models[0][0]).strip("-")
    return Path("logs") / "inspect_af" / f"{slug}-{text_digest(repr(asked))[:8]}"


def _asked(args: argparse.Namespace) -> EvalSet:
    check_generation(args)
    at_least(args.limit, 1, option="--limit")
    generation = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    return EvalSet(
        models=((args.model, key_values(args.model_args, option="-M")),),
        tasks=(task_arguments(args),),
        generation={key: value for key, value in generation.items() if value is not None},
        epochs=args.epochs,
        limit=args.limit,
    )


def _planned(plan: Plan) -> EvalSet:
    generation = plan.generation.model_dump(include={"temperature", "max_tokens"}, exclude_none=True)
    return EvalSet(
        models=tuple((subject.model, dict(subject.args)) for subject in plan.subjects),
        tasks=(plan.task_args(),),
        generation=generation,
        epochs=plan.generation.epochs,
    )

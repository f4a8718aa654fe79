"""`inspect-af run`: the evals of a study through Inspect's `eval_set`, then its profile."""

from __future__ import annotations

import argparse
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

from inspect_af.cli import profile
from inspect_af.cli._options import add_report_options, add_task_options, key_values, task_arguments
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
    _add_asked(parser)
    parser.add_argument("--log-dir", type=Path, help="default: a directory under logs/ for this command")
    parser.add_argument("--max-connections", type=int)
    parser.add_argument("--batch", action="store_true", help="use the provider's batch API where it has one")
    parser.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    add_report_options(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    plan = None if args.plan is None else load_plan(args.plan)
    if (plan is None) == (args.model is None):
        raise ConfigError("give either a MODEL or --plan FILE")
    if plan is not None and (given := _overridden(args)):
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
    from inspect_ai import eval_set
    from inspect_ai.model import get_model

    from inspect_af import tasks

    try:
        evals = [tasks.alignment_faking(**task_args) for task_args in asked.tasks]
    except TypeError as error:
        allowed = ", ".join(inspect.signature(tasks.alignment_faking).parameters)
        raise ConfigError(f"{error}; its parameters are {allowed}") from error
    try:
        models = [get_model(model, **model_args) for model, model_args in asked.models]
    except Exception as error:  # providers raise what they like, for a missing key above all
        raise ConfigError(_without_markup(str(error))) from error
    log_dir.mkdir(parents=True, exist_ok=True)
    try:
        success, _ = eval_set(
            evals,
            log_dir=str(log_dir),
            model=models,
            epochs=asked.epochs,
            limit=asked.limit,
            display=display,
            **asked.generation,
            **options,
        )
    except Exception as error:
        if type(error).__name__ != "PrerequisiteError":  # Inspect's, not public: a directory of another study
            raise
        raise ConfigError(_without_markup(str(error))) from error
    return success


def default_log_dir(asked: EvalSet) -> Path:
    """The same directory for the same command, another for any other."""
    slug = re.sub(r"[^A-Za-z0-9.]+", "-", asked.models[0][0]).strip("-")
    return Path("logs") / "inspect_af" / f"{slug}-{text_digest(repr(asked))[:8]}"


def _overridden(args: argparse.Namespace) -> list[str]:
    """Options beside --plan that the plan decides."""
    parser = argparse.ArgumentParser(add_help=False)
    _add_asked(parser)
    defaults = vars(parser.parse_args([]))
    return [f"--{name.replace('_', '-')}" for name, value in defaults.items() if getattr(args, name) != value]


def _add_asked(parser: argparse.ArgumentParser) -> None:
    add_task_options(parser, interventions="all")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--limit", type=int, help="only the first N samples")


def _asked(args: argparse.Namespace) -> EvalSet:
    if args.limit is not None and args.limit < 1:
        raise ConfigError(f"--limit must be at least 1, not {args.limit}")
    generation = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    return EvalSet(
        models=((args.model, key_values(args.model_args, option="-M")),),
        tasks=(task_arguments(args),),
        generation={key: value for key, value in generation.items() if value is not None},
        epochs=args.epochs,
        limit=args.limit,
    )


def _without_markup(text: str) -> str:
    """Inspect's messages carry the markup of the terminal library that it prints them with."""
    return re.sub(r"\[/?(?:bold|italic|blue|link)[^\]]*\]", "", text)


def _planned(plan: Plan) -> EvalSet:
    generation = plan.generation.model_dump(include={"temperature", "max_tokens"}, exclude_none=True)
    return EvalSet(
        models=tuple((subject.model, dict(subject.args)) for subject in plan.subjects),
        tasks=(plan.task_args(),),
        generation=generation,
        epochs=plan.generation.epochs,
    )

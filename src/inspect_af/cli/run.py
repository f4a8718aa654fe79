"""`inspect-af run`: the evals of a study through Inspect's `eval_set`, then its profile."""

from __future__ import annotations

import argparse
from pathlib import Path

from inspect_af.cli import profile
from inspect_af.cli._numbers import at_least
from inspect_af.cli._options import (
    Typed,
    add_generation_options,
    add_report_options,
    add_task_options,
    check_generation,
    key_values,
    planned_model,
    task_arguments,
    typed_options,
)
from inspect_af.errors import ConfigError
from inspect_af.plan import Plan, PlannedModel, load_plan
from inspect_af.tasks.evals import Evals, EvalTask, default_log_dir, refuse_changed_plan, run_evals


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
    success = run_evals(
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


def _asked(args: argparse.Namespace) -> Evals:
    check_generation(args)
    at_least(args.limit, 1, option="--limit")
    return Evals(
        models=(planned_model(args.model, key_values(args.model_args, option="-M")),),
        tasks=(EvalTask(task="alignment_faking", args=task_arguments(args)),),
        temperature=args.temperature,
        max_tokens=args.max_tokens,
        epochs=args.epochs,
        limit=args.limit,
    )


def _planned(plan: Plan) -> Evals:
    refuse_changed_plan(plan)
    return Evals(
        models=tuple(PlannedModel(model=subject.model, args=subject.args) for subject in plan.subjects),
        tasks=(EvalTask(task="alignment_faking", args=plan.task_args()),),
        temperature=plan.generation.temperature,
        max_tokens=plan.generation.max_tokens,
        epochs=plan.generation.epochs,
    )

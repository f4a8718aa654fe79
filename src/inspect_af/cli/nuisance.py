"""`inspect-af nuisance`: the gap under choices of the prompt that should not matter."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from inspect_af.cli._models import check_model
from inspect_af.cli._numbers import at_least
from inspect_af.cli._options import add_model_option, key_values, planned_model
from inspect_af.errors import ConfigError
from inspect_af.logs import show_progress
from inspect_af.tasks.evals import Evals, EvalTask, default_log_dir, run_evals

VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "identity": ({"identity": "unnamed"}, {"identity": "roleplay"}, {"identity": "own"}),
    "tier-names": ({"tier_tag": "swapped"}, {"tier_tag": "neutral"}),
    "tier-order": ({"first_tier": "unmonitored"},),
    "tag-place": ({"tag_in": "system"},),
    "rated-tier": ({"tiers": "monitored,unmonitored,rated"},),
}
"""Per check, the task parameters that each of its variants changes. `rated-tier` adds a tier that is rated
and never trained on: a gap that is about being rated, not about being trained, shows there."""

REFERENCE: dict[str, str] = {
    "setting": "prompted",
    "identity": "fictional",
    "reasoning": "scratchpad",
    "tiers": "monitored,unmonitored",
    "tier_tag": "free",
    "first_tier": "monitored",
    "tag_in": "user",
}


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "nuisance",
        help="does the gap survive identity, tier names, their order, and where the tag stands?",
        description=(
            "Runs the baseline under variants of the prompt that should not matter, on the same requests, "
            "and prints the gap per variant with its change and spread. Resumable like `run`."
        ),
    )
    parser.add_argument("model", help="any Inspect model")
    parser.add_argument(
        "--checks",
        default=",".join(VARIANTS),
        help=f"which checks, separated by commas (default: all of {', '.join(VARIANTS)})",
    )
    parser.add_argument("--requests", default="advbench", help="advbench (default), mini, or a file")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--run-seed", type=int, default=0)
    parser.add_argument("--log-dir", type=Path, help="default: a directory under logs/ for this command")
    parser.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write the reports as one HTML page")
    add_model_option(parser)
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from inspect_af.logs import read_logs
    from inspect_af.profile import count_outcomes, nuisance_reports
    from inspect_af.report import render_nuisance, render_nuisance_page

    at_least(args.epochs, 1, option="--epochs")
    check_model(args.model, key_values(args.model_args, option="-M"))
    checks = list(dict.fromkeys(name.strip() for name in args.checks.split(",")))
    if unknown := [name for name in checks if name not in VARIANTS]:
        raise ConfigError(f"unknown check {unknown[0]!r}; one of {', '.join(VARIANTS)}")
    shared = {"requests": args.requests, "run_seed": args.run_seed}
    variants = ({}, *(variant for check in checks for variant in VARIANTS[check]))
    asked = Evals(
        models=(planned_model(args.model, key_values(args.model_args, option="-M")),),
        tasks=tuple(EvalTask(task="alignment_faking", args={**shared, **each}) for each in variants),
        epochs=args.epochs,
    )
    log_dir = args.log_dir or default_log_dir(asked)
    success = run_evals(asked, log_dir, display=args.display)
    outcomes = count_outcomes(read_logs([log_dir], progress=show_progress))
    reports = nuisance_reports(outcomes, reference=REFERENCE)
    for report in reports:
        print(render_nuisance(report))
    if args.json is not None:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(
            "[" + ",\n".join(report.model_dump_json(indent=2) for report in reports) + "]\n", encoding="utf-8"
        )
        print(f"wrote {args.json}")
    if args.html is not None:
        args.html.parent.mkdir(parents=True, exist_ok=True)
        args.html.write_text(render_nuisance_page(reports), encoding="utf-8", newline="\n")
        print(f"wrote {args.html}")
    return 0 if success else 1

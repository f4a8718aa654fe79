"""`inspect-af nuisance`: the gap under choices of the prompt that should not matter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inspect_af.cli.command import Option, Verb
from inspect_af.cli.options import (
    at_least,
    inspect_options,
    key_values,
    model_roles,
    planned_model,
    running_options,
)
from inspect_af.cli.profile import written
from inspect_af.errors import ConfigError
from inspect_af.tasks.evals import NUISANCES


@click.command(
    cls=Verb,
    help=(
        "Runs the baseline under variants of the prompt that should not matter, on the same requests, "
        "and prints the gap per variant with its change and spread. Resumable like `run`."
    ),
)
@click.argument("model_name", required=False, metavar="MODEL")
@inspect_options("model")
@click.option(
    "--checks",
    cls=Option,
    group="What is asked",
    default=",".join(NUISANCES),
    help=f"which checks, separated by commas  [default: all of {', '.join(NUISANCES)}]",
)
@click.option(
    "--requests",
    cls=Option,
    group="What is asked",
    default="advbench",
    show_default=True,
    help="advbench, mini, or a file",
)
@click.option("--run-seed", cls=Option, group="What is asked", type=int, default=0, show_default=True)
@inspect_options("epochs")
@click.option(
    "--log-dir",
    cls=Option,
    group="Results",
    metavar="DIR",
    help="[default: a directory for this command in INSPECT_LOG_DIR or logs/]",
)
@click.option("--json", cls=Option, group="Results", metavar="FILE", help="write the reports as JSON")
@click.option(
    "--html", cls=Option, group="Results", metavar="FILE", help="write the reports as one HTML page"
)
@inspect_options("running")
def nuisance(**given: Any) -> int:
    from inspect_af.logs import read_logs, show_progress
    from inspect_af.profile import count_outcomes, nuisance_reports
    from inspect_af.report import render_nuisance, render_nuisance_page
    from inspect_af.tasks.evals import USUAL_PROMPT, check_model, default_log_dir, nuisance_evals, run_evals

    at_least(given["epochs"], 1, option="--epochs")
    name = given["model_name"] or ",".join(given["model"])
    if not name:
        raise ConfigError("give a MODEL (or --model, or INSPECT_EVAL_MODEL)")
    args = key_values(given["model_args"], option="-M")
    if given["model_base_url"]:
        args["base_url"] = given["model_base_url"]
    check_model(name, args)
    asked = nuisance_evals(
        planned_model(name, args),
        list(dict.fromkeys(name.strip() for name in given["checks"].split(","))),
        {"requests": given["requests"], "run_seed": given["run_seed"]},
        epochs=given["epochs"] or 1,
        roles=model_roles(given["model_roles"]),
    )
    log_dir = given["log_dir"] or default_log_dir(asked)
    success = run_evals(asked, log_dir, **running_options(given))
    outcomes = count_outcomes(read_logs([log_dir], progress=show_progress))
    reports = nuisance_reports(outcomes, reference=USUAL_PROMPT)
    for report in reports:
        print(render_nuisance(report))
    if given["json"] is not None:
        text = "[" + ",\n".join(report.model_dump_json(indent=2) for report in reports) + "]\n"
        _write(given["json"], text)
    if given["html"] is not None:
        _write(given["html"], render_nuisance_page(reports))
    return 0 if success else 1


def _write(place: str, text: str) -> None:
    def write(file: Path) -> list[Path]:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8", newline="\n")
        return [file]

    for name in written(place, write):
        print(f"wrote {name}")

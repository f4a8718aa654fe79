"""`inspect-af nuisance`: the gap under choices of the prompt that should not matter."""

from __future__ import annotations

from typing import Any

import click

from inspect_af.cli.command import Verb, option
from inspect_af.cli.options import (
    ASKED,
    LOG_DIR,
    REQUESTS,
    RUN_SEED,
    at_least,
    inspect_options,
    model_roles,
    named_models,
    running_options,
)
from inspect_af.cli.profile import write_text
from inspect_af.errors import ConfigError
from inspect_af.logs import read_logs, show_progress
from inspect_af.profile import count_outcomes, nuisance_reports
from inspect_af.report import render_nuisance, render_nuisance_page
from inspect_af.tasks.evals import (
    NUISANCES,
    USUAL_PROMPT,
    check_model,
    default_log_dir,
    nuisance_evals,
    run_evals,
)


@click.command(
    cls=Verb,
    help=(
        "Runs the baseline under variants of the prompt that should not matter, on the same requests, "
        "and prints the gap per variant with its change and spread. Resumable like `run`."
    ),
)
@click.argument("model_name", required=False, metavar="MODEL")
@inspect_options("model")
@option(
    "--checks",
    group=ASKED,
    default=",".join(NUISANCES),
    help=f"which checks, separated by commas  [default: all of {', '.join(NUISANCES)}]",
)
@REQUESTS
@RUN_SEED
@inspect_options("epochs")
@LOG_DIR
@option("--json", group="Results", metavar="FILE", help="write the reports as JSON")
@option("--html", group="Results", metavar="FILE", help="write the reports as one HTML page")
@inspect_options("running")
def nuisance(**given: Any) -> int:
    at_least(given["epochs"], 1, option="--epochs")
    given["models"] = (given["model_name"],) if given["model_name"] else ()
    model, *others = named_models(given, "give a MODEL (or --model, or INSPECT_EVAL_MODEL)")
    if others:
        raise ConfigError(
            f"{model.model} and {others[0].model}: give one model; it is asked under every variant"
        )
    check_model(model.model, model.args)
    asked = nuisance_evals(
        model,
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
        text = ",\n".join(report.model_dump_json(indent=2) for report in reports)
        write_text(given["json"], f"[{text}]\n")
    if given["html"] is not None:
        write_text(given["html"], render_nuisance_page(reports))
    return 0 if success else 1

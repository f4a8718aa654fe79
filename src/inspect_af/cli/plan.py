"""`inspect-af plan`: what a study will run and how it will be judged, written before the first call."""

from __future__ import annotations

from typing import Any

import click

from inspect_af.cli.command import FILE, Verb, option
from inspect_af.cli.options import (
    RATES,
    TASK,
    assumed_rates,
    at_least,
    check_generation,
    inspect_options,
    named_models,
    share,
    task_arguments,
)
from inspect_af.plan import Generation
from inspect_af.study.planning import describe_plan, estimate_plan, make_plan, write_plan
from inspect_af.tasks.evals import EvalTask, check_model, make_task
from inspect_af.thresholds import Thresholds
from inspect_af.types import STRENGTHS


@click.command(
    cls=Verb,
    help=(
        "Writes a YAML plan with its own digest, the number of calls, estimated tokens and cost, and the "
        "minimum detectable effect. `inspect-af run --plan FILE` executes it."
    ),
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@inspect_options("model", "model_args")
@TASK
@inspect_options("task_args", "epochs", "temperature", "max_tokens")
@option("--name", default="study")
@option("--delta", type=float, help="equivalence margin in rate units  [default: 0.1, 10 points]")
@option("--headline-strength", type=click.Choice(STRENGTHS), help="which strength decides the verdict")
@option("--reply-tokens", type=int, default=600, help="assumed length of a reply")
@RATES
@option(
    "--price",
    type=float,
    nargs=2,
    metavar="INPUT OUTPUT",
    help="dollars per million tokens; Inspect ships no prices",
)
@option("--out", type=FILE, default="plan.yaml", metavar="FILE")
@option("--force", is_flag=True, help="overwrite another plan in FILE")
def plan(**given: Any) -> None:
    check_generation(given)
    share(given["delta"], option="--delta")
    at_least(given["reply_tokens"], 1, option="--reply-tokens")
    for price in given["price"] or ():
        at_least(price, 0, option="--price")
    models = named_models(given, "give a MODEL (or --model, or INSPECT_EVAL_MODEL)")
    for model in models:
        check_model(model.model, model.args)
    task_args = task_arguments(given)
    task = make_task(EvalTask(task="alignment_faking", args=task_args))
    made = make_plan(
        task,
        name=given["name"],
        models=models,
        task_args=task_args,
        generation=Generation(
            epochs=given["epochs"] or 1,
            run_seed=given["run_seed"],
            temperature=given["temperature"],
            max_tokens=given["max_tokens"],
        ),
        headline=given["headline_strength"],
        thresholds=Thresholds(**({} if given["delta"] is None else {"delta": given["delta"]})),
    )
    rates = assumed_rates(given["rates"])
    estimate = estimate_plan(
        made, task, reply_tokens=given["reply_tokens"], price=given["price"], rates=rates
    )
    made = made.model_copy(update={"estimate": estimate})
    made, note = write_plan(made, given["out"], force=given["force"])
    if note:
        print(note)
    print(describe_plan(made))
    print(f"wrote {given['out']}; run it with: inspect-af run --plan {given['out']}")

"""`inspect-af plan`: what a study will run and how it will be judged, written before the first call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inspect_af.cli.command import Option, Verb
from inspect_af.cli.options import (
    assumed_rates,
    at_least,
    check_generation,
    inspect_options,
    key_values,
    planned_model,
    rates_option,
    share,
    task_arguments,
    task_options,
)
from inspect_af.errors import ConfigError
from inspect_af.plan import Generation
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
@task_options
@inspect_options("task_args", "epochs", "temperature", "max_tokens")
@click.option("--name", default="study", show_default=True)
@click.option("--delta", type=float, help="equivalence margin in rate units  [default: 0.1, 10 points]")
@click.option("--headline-strength", type=click.Choice(STRENGTHS), help="which strength decides the verdict")
@click.option("--reply-tokens", type=int, default=600, show_default=True, help="assumed length of a reply")
@rates_option
@click.option(
    "--price",
    type=float,
    nargs=2,
    cls=Option,
    metavar="INPUT OUTPUT",
    help="dollars per million tokens; Inspect ships no prices",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="plan.yaml",
    show_default=True,
    metavar="FILE",
)
@click.option("--force", is_flag=True, help="overwrite another plan in FILE")
def plan(**given: Any) -> int:
    from inspect_af.study.planning import describe_plan, estimate_plan, make_plan, write_plan
    from inspect_af.tasks.evals import EvalTask, check_model, make_task

    check_generation(given)
    share(given["delta"], option="--delta")
    at_least(given["reply_tokens"], 1, option="--reply-tokens")
    for price in given["price"] or ():
        at_least(price, 0, option="--price")
    models = given["models"] or tuple(name for each in given["model"] for name in each.split(","))
    if not models:
        raise ConfigError("give a MODEL (or --model, or INSPECT_EVAL_MODEL)")
    if twice := sorted({model for model in models if models.count(model) > 1}):
        raise ConfigError(f"{twice[0]} is named twice; for more replies give --epochs")
    args = key_values(given["model_args"], option="-M")
    for model in models:
        check_model(model, args)
    task_args = task_arguments(given)
    task = make_task(EvalTask(task="alignment_faking", args=task_args))
    made = make_plan(
        task,
        name=given["name"],
        models=[planned_model(model, args) for model in models],
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
    estimate = estimate_plan(
        made,
        task,
        reply_tokens=given["reply_tokens"],
        price=given["price"],
        rates=assumed_rates(given["rates"]),
    )
    made, note = write_plan(
        made.model_copy(update={"estimate": estimate}), given["out"], force=given["force"]
    )
    if note:
        print(note)
    print(describe_plan(made))
    print(f"wrote {given['out']}; run it with: inspect-af run --plan {given['out']}")
    return 0

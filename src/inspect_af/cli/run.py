"""`inspect-af run`: the evals of a study through Inspect's `eval_set`, then its profile."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from inspect_af.cli.command import Option, Verb
from inspect_af.cli.options import (
    check_generation,
    inspect_options,
    key_values,
    model_roles,
    planned_model,
    report_options,
    running_options,
    sample_limit,
    task_arguments,
    task_options,
    typed_options,
)
from inspect_af.errors import ConfigError
from inspect_af.plan import Plan, load_plan

_OURS = ("json", "html", "out", "log_dir", "plan_file")
_RUNNING = ("max_connections", "max_samples", "retry_on_error", "fail_on_error", "cache", "batch", "tags")
_SHOWN = ("log_level", "log_format", "display")


class _Run(Verb):
    """Names the command of Inspect that takes an option which this one lacks."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(
                f"No such option: {error.option_name}. If it is one of Inspect's, its own command takes it:\n"
                f"  {_through_inspect(words)}",
                ctx,
            ) from error


def _through_inspect(words: list[str]) -> str:
    """The same evals through `inspect eval-set`, which has no profile at its end."""
    ours = ("--interventions", "--strength", "--paraphrase", "--requests", "--run-seed")
    said = ["inspect", "eval-set", "inspect_af/alignment_faking"]
    waiting = list(words)
    while waiting:
        name, equals, value = waiting.pop(0).partition("=")
        if name in ours:
            value = value if equals else waiting.pop(0) if waiting else ""
            said += ["-T", f"{name[2:].replace('-', '_')}={value}"]
        elif not name.startswith("-") and "/" in name and (len(said) == 3 or not said[-1].startswith("-")):
            said += ["--model", name]
        else:
            said += [name + equals + value]
            if not equals and name.startswith("-") and waiting and not waiting[0].startswith("-"):
                said.append(waiting.pop(0))
    return shlex.join(said)


@click.command(
    cls=_Run,
    help=(
        "Runs inspect_af/alignment_faking with Inspect's eval_set and writes the motivation profile. "
        "Interrupted or killed, the same command goes on where it stopped."
    ),
)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@inspect_options("model")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    cls=Option,
    group="What is asked",
    metavar="FILE",
    help="run a plan instead; it replaces MODEL and what is asked",
)
@task_options
@inspect_options("task", "generation")
@click.option(
    "--log-dir",
    cls=Option,
    group="Results",
    metavar="DIR",
    help="[default: a directory for this command and its content in INSPECT_LOG_DIR or logs/]",
)
@report_options
@inspect_options("running")
@click.pass_context
def run(context: click.Context, /, **given: Any) -> int:
    from inspect_af.cli.profile import report
    from inspect_af.tasks.evals import default_log_dir, failures, run_evals

    plan = None if given["plan_file"] is None else load_plan(given["plan_file"])
    running = running_options(given)
    if plan is not None:
        typed = typed_options(context, *_OURS, *_RUNNING, *_SHOWN, "model_base_url")
        if typed or given["models"]:
            named = ", ".join(typed or given["models"])
            raise ConfigError(f"{named}: a plan decides these; write another plan to change them")
    asked = _asked(given) if plan is None else _planned(plan)
    log_dir = given["log_dir"] or default_log_dir(asked)
    success = run_evals(asked, log_dir, **running)
    if not success:
        for reason in failures(log_dir):
            click.echo(f"failed: {reason}", err=True)
        click.echo(f"some samples have not finished; repeat the command to go on (logs in {log_dir})")
    # A profile of what there is so far does not take the place of the one that is to come.
    name = "profile" if success else "unfinished-profile"
    report(
        [log_dir],
        json_file=given["json"] or f"{log_dir}/{name}.json",
        html_file=given["html"] or f"{log_dir}/{name}.html",
        directory=given["out"],
        plan=plan,
    )
    return 0 if success else 1


def _asked(given: dict[str, Any]) -> Any:
    from inspect_af.tasks.evals import Evals, EvalTask

    check_generation(given)
    named = tuple(given["models"]) or tuple(name for each in given["model"] for name in each.split(","))
    if given["models"] and given["model"] and _on_command_line("model"):
        raise ConfigError("models are given twice: as MODEL and with --model; give them one way")
    if not named:
        raise ConfigError("give either a MODEL or --plan FILE (--model and INSPECT_EVAL_MODEL name one too)")
    if twice := sorted({model for model in named if named.count(model) > 1}):
        raise ConfigError(f"{twice[0]} is named twice; for more replies give --epochs")
    args = key_values(given["model_args"], option="-M")
    if given["model_base_url"]:
        args["base_url"] = given["model_base_url"]
    effort = given["reasoning_effort"]
    return Evals(
        models=tuple(planned_model(model, args) for model in named),
        tasks=(EvalTask(task="alignment_faking", args=task_arguments(given)),),
        temperature=given["temperature"],
        max_tokens=given["max_tokens"],
        settings={} if effort is None else {"reasoning_effort": effort},
        epochs=given["epochs"] or 1,
        **sample_limit(given["limit"]),
        roles=model_roles(given["model_roles"]),
    )


def _on_command_line(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is click.core.ParameterSource.COMMANDLINE


def _planned(plan: Plan) -> Any:
    from inspect_af.plan import PlannedModel
    from inspect_af.tasks.evals import Evals, EvalTask, refuse_changed_plan

    refuse_changed_plan(plan)
    return Evals(
        models=tuple(PlannedModel(model=subject.model, args=subject.args) for subject in plan.subjects),
        tasks=(EvalTask(task="alignment_faking", args=plan.task_args()),),
        temperature=plan.generation.temperature,
        max_tokens=plan.generation.max_tokens,
        epochs=plan.generation.epochs,
    )

"""`inspect-af run`: evals through `eval_set`, then their profile; `nuisance`: other choices of the prompt."""

from __future__ import annotations

import shlex
from typing import Any

import click

from inspect_af.cli.command import PLACE, Verb, option
from inspect_af.cli.options import (
    ASKED,
    LOG_DIR,
    REPORT,
    REQUESTS,
    RUN_SEED,
    TASK,
    inspect_options,
    model_roles,
    named_models,
    running_options,
    sample_limit,
    task_arguments,
)
from inspect_af.cli.profile import report, write_text
from inspect_af.errors import ConfigError
from inspect_af.format import say
from inspect_af.logs import read_logs, show_progress
from inspect_af.plan import PlannedModel, load_plan
from inspect_af.profile import contrast_is_decided, count_outcomes, nuisance_reports
from inspect_af.report import render_nuisance, render_nuisance_page
from inspect_af.tasks.evals import (
    NUISANCES,
    USUAL_CHECKS,
    USUAL_PROMPT,
    Evals,
    EvalTask,
    baseline_repeats,
    check_models,
    default_log_dir,
    failures,
    nuisance_evals,
    planned_replies,
    refuse_changed_plan,
    run_evals,
    run_until_decided,
)

_DECIDED_BY_A_PLAN = (
    *("models", "model", "model_args", "model_roles", "interventions", "strength", "paraphrase", "requests"),
    *("run_seed", "task_args", "epochs", "limit", "temperature", "max_tokens", "reasoning_effort"),
)


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
        if name in (*ours, "--task"):
            value = value if equals else waiting.pop(0) if waiting else ""
        if name == "--task":
            said[2] = f"inspect_af/{value}"
        elif name in ours:
            said += ["-T", f"{name[2:].replace('-', '_')}={value}"]
            if name == "--interventions" and (repeats := baseline_repeats(value)) > 1:
                said += ["-T", f"baseline_repeats={repeats}"]
        elif not name.startswith("-") and "/" in name and (len(said) == 3 or not said[-1].startswith("-")):
            said += ["--model", name]
        else:
            said += [name + equals + value]
            if not equals and name.startswith("-") and waiting and not waiting[0].startswith("-"):
                said.append(waiting.pop(0))
    return shlex.join(said)


@click.command(cls=_Run)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@inspect_options("model")
@option(
    "--plan",
    "plan_file",
    type=PLACE,
    group=ASKED,
    metavar="FILE",
    help="run a plan instead; it replaces MODEL and what is asked",
)
@TASK
@option(
    "--until",
    type=click.Choice(["decided"]),
    group=ASKED,
    help="stop once it is decided which family leads: looks at 64 requests, then every 32",
)
@inspect_options("task", "generation")
@LOG_DIR
@REPORT
@inspect_options("running")
@click.pass_context
def run(context: click.Context, /, **given: Any) -> int:
    """Runs a task with tiers, inspect_af/alignment_faking by default, with Inspect's eval_set and writes the
    motivation profile. Interrupted or killed, the same command goes on where it stopped.
    """
    plan, running = None, running_options(given)
    if given["plan_file"] is None:
        asked = _asked(given)
    else:
        plan = load_plan(given["plan_file"])
        typed = [
            each.opts[0]
            for each in context.command.params
            if each.name in _DECIDED_BY_A_PLAN
            and context.get_parameter_source(each.name) is click.core.ParameterSource.COMMANDLINE
        ]
        if typed:
            named = ", ".join(name if name.startswith("-") else " ".join(given["models"]) for name in typed)
            raise ConfigError(f"{named}: a plan decides these; write another plan to change them")
        asked = Evals(
            models=tuple(PlannedModel(model=subject.model, args=subject.args) for subject in plan.subjects),
            tasks=(EvalTask(task=plan.task, args=plan.task_args()),),
            **plan.generation.model_dump(include={"temperature", "max_tokens", "epochs"}),
        )
    check_models(asked)
    if plan is not None:
        refuse_changed_plan(plan)
    stops = given["until"] is not None
    log_dir = given["log_dir"] or f"{default_log_dir(asked)}{'-until-decided' if stops else ''}"
    most = " at most" if stops else ""
    say(f"{planned_replies(asked):,} replies to ask for{most}, less those already in {log_dir}")
    if stops:

        def is_decided(logs: list[str]) -> bool:
            return contrast_is_decided(count_outcomes(read_logs(logs)))

        success = run_until_decided(asked, log_dir, is_decided, **running)
    else:
        success = run_evals(asked, log_dir, **running)
    if not success:
        for reason in failures(log_dir):
            say(f"failed: {reason}", err=True)
        say(f"some samples have not finished; repeat the command to go on (logs in {log_dir})")
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


def _asked(given: dict[str, Any]) -> Evals:
    needed = "give either a MODEL or --plan FILE (--model and INSPECT_EVAL_MODEL name one too)"
    effort = given["reasoning_effort"]
    return Evals(
        models=tuple(named_models(given, needed)),
        tasks=(EvalTask(task=given["task"], args=task_arguments(given)),),
        temperature=given["temperature"],
        max_tokens=given["max_tokens"],
        settings={} if effort is None else {"reasoning_effort": effort},
        epochs=given["epochs"] or 1,
        **sample_limit(given["limit"]),
        roles=model_roles(given["model_roles"]),
    )


@click.command(cls=Verb)
@click.argument("model_name", required=False, metavar="MODEL")
@inspect_options("model")
@option(
    "--checks",
    group=ASKED,
    default=",".join(USUAL_CHECKS),
    help=f"which of {', '.join(NUISANCES)}, separated by commas  [default: all but published]",
)
@REQUESTS
@RUN_SEED
@inspect_options("epochs")
@LOG_DIR
@option("--json", type=PLACE, group="Results", metavar="FILE", help="write the reports as JSON")
@option("--html", type=PLACE, group="Results", metavar="FILE", help="write the reports as one HTML page")
@inspect_options("running")
def nuisance(**given: Any) -> int:
    """Runs the baseline under variants of the prompt that should not matter, on the same requests, and
    prints the gap per variant with its change and spread. Resumable like `run`.
    """
    given["models"] = (given["model_name"],) if given["model_name"] else ()
    model, *others = named_models(given, "give a MODEL (or --model, or INSPECT_EVAL_MODEL)")
    if others:
        raise ConfigError(
            f"{model.model} and {others[0].model}: give one model; it is asked under every variant"
        )
    asked = nuisance_evals(
        model,
        list(dict.fromkeys(name.strip() for name in given["checks"].split(","))),
        {"requests": given["requests"], "run_seed": given["run_seed"]},
        epochs=given["epochs"] or 1,
        roles=model_roles(given["model_roles"]),
    )
    check_models(asked)
    log_dir = given["log_dir"] or default_log_dir(asked)
    success = run_evals(asked, log_dir, **running_options(given))
    outcomes = count_outcomes(read_logs([log_dir], progress=show_progress))
    reports = nuisance_reports(outcomes, reference=USUAL_PROMPT)
    for each in reports:
        say(render_nuisance(each))
    if given["json"] is not None:
        text = ",\n".join(each.model_dump_json(indent=2) for each in reports)
        write_text(given["json"], f"[{text}]\n")
    if given["html"] is not None:
        write_text(given["html"], render_nuisance_page(reports))
    return 0 if success else 1

"""`inspect-af study`: a whole experiment from one plan, run or resumed; `inspect-af step`: one step of it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from inspect_af.cli.command import COUNT, FILE, PLACE, Verb, option
from inspect_af.errors import ConfigError
from inspect_af.format import plural, say, text_table
from inspect_af.logs.files import check_log_dir
from inspect_af.study import draft
from inspect_af.study.run import Show, Status, Study, run_step, run_study, status_line, summary_text
from inspect_af.study.steps import (
    PLAN_FILE,
    Load,
    base_model,
    build_steps,
    check_budget,
    chosen_steps,
    total_load,
)
from inspect_af.tasks.evals import check_model


@click.command(cls=Verb)
@click.argument("plan_file", required=False, type=PLACE, metavar="PLAN")
@click.argument("passed_on", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTION...]")
@option("--template", is_flag=True, help="print a commented plan to fill in")
@option("--out", type=FILE, metavar="DIR", help="[default: studies/NAME]")
@option("--dry-run", is_flag=True, help="list every step with calls, tokens and cost, and stop")
@option("--only", several=True, metavar="STEP...", help="steps, kinds, or patterns such as 'adapter/*'")
@option("--skip", several=True, metavar="STEP...", help="leave these out")
@option("--jobs", type=COUNT, metavar="N", help="steps at a time  [default: 1]")
def study(**given: Any) -> int:
    """Works out the steps that a plan comes to (training, documents, vectors, evals, the report), has
    Snakemake run those that are missing, and goes on where it was stopped. --dry-run lists them. What
    stands after -- goes to Snakemake, such as -- --executor slurm --jobs 8.
    """
    if given["template"]:
        say(draft.template().rstrip())
        return 0
    if given["plan_file"] is None:
        raise ConfigError("give a PLAN; `inspect-af study --template` prints one to fill in")
    plan = draft.read_study_plan(given["plan_file"])
    # Refuses models that nobody provides. Local ones may be on another machine, or still to be trained.
    for each in plan.models:
        if base_model(each.model) is None:
            check_model(each.model, dict(each.args))
    out = given["out"] or Path("studies") / plan.name
    check_log_dir(out)
    study = Study(out, build_steps(plan, out))
    chosen = [step.key for step in chosen_steps(tuple(study.steps.values()), given["only"], given["skip"])]
    if given["dry_run"]:
        say(f"study {plan.name}, digest {plan.digest}, in {out}")
        say(_table(study, chosen))
    check_budget(plan, total_load(study.steps.values()))
    if given["dry_run"]:
        return 0
    draft.fix_plan(plan, out / PLAN_FILE)
    states = run_study(study, chosen, show=_display(study), jobs=given["jobs"], options=given["passed_on"])
    if sys.stderr.isatty():
        say("", err=True)
    by_status = {status: [key for key in states if states[key] == status] for status in states.values()}
    for key in by_status.get("failed", ()):
        say(f"failed: {key}; its output is in {study.place(study.steps[key]) / 'log.txt'}")
    if waiting := by_status.get("waiting"):
        say(f"not run, because something that they need is missing: {', '.join(waiting)}")
    if left_out := by_status.get("left out"):
        say(f"left out here: {', '.join(left_out)}")
    (out / "summary.md").write_text(summary_text(plan, study, states), encoding="utf-8")
    say(f"{status_line(study, states)}; summary in {out / 'summary.md'}")
    if states["report"] == "done":
        say(f"report in {study.steps['report'].outputs[0]}")
    if set(by_status) <= {"done"}:
        return 0
    say("the same command goes on with what is missing")
    return 1


@click.command(cls=Verb)
@click.argument("key", metavar="STEP")
@option("--out", type=FILE, default=".", metavar="DIR", help="the study's directory  [default: this one]")
def step(**given: Any) -> int:
    """Runs one step of a study, unless it is done."""
    from inspect_af import cli

    return run_step(given["out"], given["key"], cli.main)


def _table(study: Study, chosen: list[str]) -> str:
    """One line a step: status, key, calls, tokens, cost, seconds where it was run; then the sums."""

    def cost(load: Load) -> str:
        return "unknown" if load.cost_usd is None else f"${load.cost_usd:,.2f}"

    states = study.states()
    rows = [("", "step", "calls", "tokens", "cost", "took")]
    for key in chosen:
        load, record = study.steps[key].load, study.record(study.steps[key])
        shown = (f"{load.calls:,}", f"{load.tokens:,}", cost(load)) if load.calls else ("", "", "")
        took = f"{record.seconds:.0f} s" if record and record.state == "done" and record.seconds else ""
        rows.append((states[key], key, *shown, took))
    lines = [text_table(rows, left=(0, 1))]
    for name, keys in (("", chosen), ("left: ", [key for key in chosen if states[key] != "done"])):
        load = total_load(study.steps[key] for key in keys)
        lines.append(
            f"{name}{plural(len(keys), 'step')}, {plural(load.calls, 'call')} at most, about "
            f"{load.input_tokens:,} tokens in and {load.output_tokens:,} out, cost {cost(load)}"
        )
    return "\n".join(lines)


def _display(study: Study) -> Show:
    """The one progress view: a line that is rewritten on a terminal, one line an event elsewhere."""

    terminal, shown = sys.stderr.isatty(), 0.0

    def show(states: Mapping[str, Status], event: str) -> None:
        nonlocal shown
        if not event and (not terminal or time.monotonic() - shown < 1):
            return
        shown, line = time.monotonic(), status_line(study, states)
        if terminal:
            told = f"{event}\n" if event.startswith(("done", "failed")) else ""
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{told}{line[:width]}", end="", file=sys.stderr, flush=True)
        elif not event.startswith("started"):
            say(f"{event}: {line}" if event != "start" else line, err=True)

    return show

"""`inspect-af study`: a whole experiment from one plan, run or resumed."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_af.errors import ConfigError
from inspect_af.plan import Plan, PlannedModel, load_plan, save_plan

if TYPE_CHECKING:
    from inspect_af.study import Marks, StudyState
    from inspect_af.study.state import Pace
    from inspect_af.study.steps import Step


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "study",
        help="run or resume everything that a plan asks for, and write its report",
        description=(
            "Works out the commands that a plan comes to (training, documents, vectors, evals, judging, the "
            "report), runs those that are missing, and goes on where it was stopped. --dry-run lists them."
        ),
    )
    parser.add_argument("plan", nargs="?", type=Path, metavar="PLAN", help="YAML file; see --template")
    parser.add_argument("--template", action="store_true", help="print a commented plan to fill in")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: studies/NAME")
    parser.add_argument(
        "--dry-run", action="store_true", help="list every step with calls, tokens and cost, and stop"
    )
    parser.add_argument(
        "--export", type=Path, metavar="FILE", help="write the missing steps as a shell script, and stop"
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="STEP", help="ids, kinds, or patterns such as 'adapter/*'"
    )
    parser.add_argument(
        "--skip", nargs="+", default=[], metavar="STEP", help="leave these out, for another machine to do"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="steps at a time (default: 1)")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from inspect_af.cli._study_loads import with_generation_loads
    from inspect_af.study import (
        Marks,
        build_steps,
        check_budget,
        chosen_steps,
        current_states,
        learnt_pace,
        read_study_plan,
        run_steps,
        template,
        total_load,
        write_files,
    )
    from inspect_af.study.text import script, steps_table, totals_line

    if args.template:
        print(template(), end="")
        return 0
    if args.plan is None:
        raise ConfigError("give a PLAN; `inspect-af study --template` prints one to fill in")
    if args.jobs < 1:
        raise ConfigError(f"--jobs {args.jobs}: at least one is needed")
    plan = read_study_plan(args.plan)
    _check_models(plan)
    out = args.out or Path("studies") / plan.name
    steps = with_generation_loads(plan, build_steps(plan, out))
    chosen = chosen_steps(steps, args.only, args.skip)
    marks = Marks(out)
    if args.dry_run:
        states = current_states(steps, marks)
        print(f"study {plan.name}, digest {plan.digest}, in {out}")
        print(steps_table(chosen, states, learnt_pace(steps, marks)))
        print(totals_line(chosen))
        left = [step for step in chosen if states[step.id] != "done"]
        print(f"left: {totals_line(left)}")
        check_budget(plan, total_load(steps))
        return 0
    check_budget(plan, total_load(steps))
    _fix_plan(plan, out)
    if args.export:
        write_files(steps)
        args.export.parent.mkdir(parents=True, exist_ok=True)
        args.export.write_text(script(plan, chosen, current_states(steps, marks)), encoding="utf-8")
        print(f"wrote {args.export}; the files that its commands read are in {out}")
        return 0
    print(f"study {plan.name} in {out}: {totals_line(steps)}", file=sys.stderr)
    ended = run_steps(
        steps,
        {step.id for step in chosen},
        out,
        (sys.executable, "-m", "inspect_af.cli"),
        show=_Display(steps, marks),
        jobs=args.jobs,
    )
    return _finish(plan, ended, marks, out)


def _check_models(plan: Plan) -> None:
    """Refuses models that nobody provides. Local ones may be on another machine, or still to be trained.

    Raises:
        ConfigError: A name or an argument that no provider takes.
    """
    from inspect_af.cli._models import check_model
    from inspect_af.study import base_model

    named: list[PlannedModel] = list(plan.subjects)
    if plan.judging is not None:
        named.append(plan.judging.grader)
    if plan.sdf is not None:
        named.append(plan.sdf.writer)
    if plan.steering is not None and plan.steering.writer is not None:
        named.append(plan.steering.writer)
    for each in named:
        if base_model(each.model) is None:
            check_model(each.model, dict(each.args))


def _fix_plan(plan: Plan, out: Path) -> None:
    """Writes the plan into the study's directory, once; another plan there is refused.

    Raises:
        ConfigError: The directory belongs to another plan.
    """
    from inspect_af.study import PLAN_FILE

    file = out / PLAN_FILE
    if not file.exists():
        save_plan(plan, file)
        return
    before, now = (_content(each) for each in (load_plan(file), plan))
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"{out} was started with another plan ({', '.join(changed)} differ). Give another --out, or put "
            f"the plan back as {file} has it"
        )


def _content(plan: Plan) -> dict[str, object]:
    return plan.model_dump(mode="json", exclude={"budget", "estimate"})


class _Display:
    """The one progress view: a line that is rewritten on a terminal, one line an event elsewhere."""

    def __init__(self, steps: tuple[Step, ...], marks: Marks) -> None:
        self._steps = steps
        self._marks = marks
        self._terminal = sys.stderr.isatty()
        self._shown = 0.0
        self._pace = self._learn()

    def __call__(self, state: StudyState, event: str) -> None:
        from inspect_af.study.text import progress_line

        now = time.monotonic()
        if event:
            self._pace = self._learn()
        elif not self._terminal or now - self._shown < 1:
            return
        self._shown = now
        line = progress_line(state, self._pace)
        if not self._terminal:
            if not event.startswith("started"):
                print(f"{event}: {line}" if event != "start" else line, file=sys.stderr, flush=True)
            return
        if event.startswith(("done", "failed")):
            print(f"\r\x1b[K{event}", file=sys.stderr)
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{line[:width]}", end="", file=sys.stderr, flush=True)

    def _learn(self) -> Pace:
        from inspect_af.study import learnt_pace

        return learnt_pace(self._steps, self._marks)


def _finish(plan: Plan, ended: StudyState, marks: Marks, out: Path) -> int:
    from inspect_af.study.summary import write_summary

    if sys.stderr.isatty():
        print(file=sys.stderr)
    for step in ended.steps:
        if ended.states[step.id] == "failed":
            print(f"failed: {step.id}; its output is in {marks.log(step)}")
    if waiting := ended.ids("waiting"):
        print(f"not run, because something that they need is missing: {', '.join(waiting)}")
    if left_out := ended.ids("left out"):
        print(f"left out here: {', '.join(left_out)}")
    summary = write_summary(plan, ended.steps, ended.states, marks, out)
    print(f"summary in {summary}")
    if ended.states["report"] == "done":
        print(f"report in {ended.steps[-1].outputs[0]}")
    complete = all(status == "done" for status in ended.states.values())
    if not complete:
        print("the same command goes on with what is missing")
    return 0 if complete else 1

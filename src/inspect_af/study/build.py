"""From a plan to its steps. Pure but for reading the materials that the plan names."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from inspect_af.errors import ConfigError
from inspect_af.plan import Plan
from inspect_af.study._build_evals import prompt_steps
from inspect_af.study._build_sdf import sdf_steps
from inspect_af.study._build_steering import steering_steps
from inspect_af.study._checks import check_plan
from inspect_af.study._subjects import StudySubject, study_subjects
from inspect_af.study.steps import Load, Step, in_order

REPORT = "convergence.html"
"""The study's one report, in `OUT/report`."""
PLAN_FILE = "plan.yaml"
"""The plan that the study's directory belongs to, in `OUT`."""


def build_steps(plan: Plan, out: Path) -> tuple[Step, ...]:
    """Everything that a plan asks for, in an order in which it can be done.

    Args:
        plan: What to do.
        out: The study's directory; paths in commands begin with it.

    Raises:
        ConfigError: The plan asks for what a subject or a setting does not allow.
        MaterialsError: Pair, scenario or requests cannot be read.
    """
    check_plan(plan)
    subjects = study_subjects(plan, out)
    if plan.checks is not None and plan.checks.direct_requests and plan.judging is None:
        raise ConfigError("checks.direct_requests are scored by a judge; plan judging with a grader")
    steps = [_organism_step(subject) for subject in subjects if subject.planned.organism is not None]
    for subject in subjects:
        steps += prompt_steps(plan, subject)
    try:
        if plan.sdf is not None:
            steps += sdf_steps(plan, subjects)
        if plan.steering is not None:
            steps += steering_steps(plan, subjects)
    except ValidationError as error:
        problems = "; ".join(f"sdf.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{problems}. See docs/sdf_training.md for the settings") from error
    steps.append(_report_step(subjects, steps, out))
    return in_order(steps)


def total_load(steps: tuple[Step, ...]) -> Load:
    """The sum over steps."""
    total = Load()
    for step in steps:
        total += step.load
    return total


def check_budget(plan: Plan, load: Load) -> None:
    """Refuses what is estimated to take more than the plan allows.

    Raises:
        ConfigError: The estimate is above the budget, or a cost is limited and a price unknown.
    """
    budget = plan.budget
    if budget is None:
        return
    over = []
    if budget.max_calls is not None and load.calls > budget.max_calls:
        over.append(f"{load.calls:,} calls, allowed are {budget.max_calls:,}")
    if budget.max_tokens is not None and load.tokens > budget.max_tokens:
        over.append(f"{load.tokens:,} tokens, allowed are {budget.max_tokens:,}")
    if budget.max_cost_usd is not None:
        if load.cost_usd is None:
            over.append("a cost that is unknown, since a model has no price; give budget.prices")
        elif load.cost_usd > budget.max_cost_usd:
            over.append(f"${load.cost_usd:,.2f}, allowed are ${budget.max_cost_usd:,.2f}")
    if over:
        raise ConfigError(
            f"the study is estimated to take {'; '.join(over)}. Nothing was started: plan less, or raise the "
            "budget"
        )


def _organism_step(subject: StudySubject) -> Step:
    organism = subject.planned.organism
    assert organism is not None
    directory = subject.base("organism")
    steps = () if organism.steps is None else ("--steps", str(organism.steps))
    return Step(
        id=f"organism/{subject.name}",
        kind="organism",
        command=(
            *("inspect-af", "organism", "train", directory),
            *("--kind", organism.kind, "--seed", str(organism.seed), *steps),
        ),
        outputs=(f"{directory}/config.json", f"{directory}/planted.json"),
    )


def _report_step(subjects: tuple[StudySubject, ...], steps: list[Step], out: Path) -> Step:
    names: dict[str, str] = {}
    for subject in subjects:
        # Subjects on one model that only their adapters tell apart share its name; labels have the adapters.
        names.setdefault(subject.recorded, subject.name)
    report = out / "report"
    command = [
        "inspect-af",
        "convergence",
        str(out / "logs"),
        "--plan",
        str(out / PLAN_FILE),
        "--out",
        str(report),
    ]
    for recorded, name in names.items():
        command += ["--name", f"{recorded}={name}"]
    return Step(
        id="report",
        kind="report",
        command=tuple(command),
        after=tuple(step.id for step in steps if step.logs is not None or step.kind == "sweep"),
        outputs=(str(report / REPORT),),
    )

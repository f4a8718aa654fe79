"""`summary.md`: what a study ran, how long it took, and where its report is."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from inspect_af.plan import Plan
from inspect_af.study.build import total_load
from inspect_af.study.state import Marks, Status
from inspect_af.study.steps import Step
from inspect_af.study.text import duration

_PACKAGES = ("inspect-af", "inspect-ai", "torch", "transformers", "peft", "trl", "vllm")


def write_summary(
    plan: Plan, steps: Sequence[Step], states: Mapping[str, Status], marks: Marks, out: Path
) -> Path:
    """Writes `OUT/summary.md`.

    Returns:
        The file.
    """
    file = out / "summary.md"
    file.write_text(summary_text(plan, steps, states, marks), encoding="utf-8")
    return file


def summary_text(plan: Plan, steps: Sequence[Step], states: Mapping[str, Status], marks: Marks) -> str:
    """The summary as Markdown."""
    known = {step.id: marks.read(step) for step in steps}
    seconds = {id: mark.seconds for id, mark in known.items() if mark is not None}
    done = sum(status == "done" for status in states.values())
    lines = [
        f"# Study {plan.name}",
        "",
        f"Plan {plan.digest}; {done} of {len(steps)} steps done; {duration(sum(seconds.values()))} in all "
        f"steps; {total_load(tuple(steps)).calls:,} calls at most.",
        "",
        f"{platform.system()} {platform.machine()}, Python {platform.python_version()}; {_versions()}.",
        "",
    ]
    if simulated := simulated_models(plan):
        lines += [f"Simulated: {', '.join(simulated)}. Results say nothing about any other model.", ""]
    lines += ["| step | status | seconds | calls |", "|---|---|---|---|"]
    for step in steps:
        taken = f"{seconds[step.id]:.0f}" if step.id in seconds and states[step.id] == "done" else ""
        lines.append(f"| {step.id} | {states[step.id]} | {taken} | {step.load.calls or ''} |")
    return "\n".join(lines) + "\n"


def simulated_models(plan: Plan) -> list[str]:
    """Models of the plan that are simulations: subjects, writers, judges."""
    named = [subject.model for subject in plan.subjects]
    if plan.sdf is not None:
        named.append(plan.sdf.writer.model)
    if plan.steering is not None and plan.steering.writer is not None:
        named.append(plan.steering.writer.model)
    if plan.judging is not None:
        named.append(plan.judging.grader.model)
    return sorted({name for name in named if name.startswith(("af-organism/", "af-simulated-"))})


def _versions() -> str:
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)

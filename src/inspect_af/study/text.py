"""A study in words: its steps, its progress, a script of its commands."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from inspect_af.plan import Plan
from inspect_af.study.build import total_load
from inspect_af.study.runner import StudyState
from inspect_af.study.state import Pace, Status
from inspect_af.study.steps import Load, Step


def steps_table(steps: Sequence[Step], states: Mapping[str, Status], pace: Pace) -> str:
    """One line a step: status, id, calls, tokens, cost, expected time."""
    rows = [("", "step", "calls", "tokens", "cost", "time")]
    for step in steps:
        seconds = None if states[step.id] == "done" else pace.seconds(step)
        rows.append(
            (
                states[step.id],
                step.id,
                f"{step.load.calls:,}" if step.load.calls else "",
                f"{step.load.tokens:,}" if step.load.tokens else "",
                cost_text(step.load) if step.load.calls else "",
                "" if seconds is None else duration(seconds),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def totals_line(steps: Sequence[Step]) -> str:
    """Steps, calls, tokens and cost in all."""
    load = total_load(tuple(steps))
    return (
        f"{len(steps)} steps, {load.calls:,} calls at most, about {load.input_tokens:,} tokens in and "
        f"{load.output_tokens:,} out, cost {cost_text(load)}"
    )


def cost_text(load: Load) -> str:
    return "unknown" if load.cost_usd is None else f"${load.cost_usd:,.2f}"


def progress_line(state: StudyState, pace: Pace) -> str:
    """What is done, running and left, in calls and expected time."""
    count = Counter(state.states.values())
    done = [step for step in state.steps if state.states[step.id] == "done"]
    left = [step for step in state.steps if state.states[step.id] in ("missing", "running")]
    whole, spent = total_load(tuple(state.steps)), total_load(tuple(done))
    parts = [f"{count['done']} of {len(state.steps)} steps done"]
    if running := state.ids("running"):
        now = time.monotonic()
        shown = (f"{each} ({duration(now - state.running_since[each])})" for each in running)
        parts.append(f"running {', '.join(shown)}")
    parts.append(f"{count['missing']} left")
    parts += [f"{count[status]} {status}" for status in ("failed", "waiting", "left out") if count[status]]
    if whole.calls:
        cost = f"{cost_text(spent)} of {cost_text(whole)}"
        parts.append(f"{spent.calls:,} of {whole.calls:,} calls, {cost} estimated")
    if left:
        parts.append(_time_left(left, pace, state.running_since))
    return "; ".join(parts)


def _time_left(left: Sequence[Step], pace: Pace, since: Mapping[str, float]) -> str:
    now = time.monotonic()
    known, unknown = 0.0, 0
    for step in left:
        seconds = pace.seconds(step)
        if seconds is None:
            unknown += 1
        else:
            known += max(0.0, seconds - (now - since[step.id] if step.id in since else 0.0))
    if unknown == len(left):
        return "time left unknown until a step of a kind is done"
    kinds = "1 step of a kind" if unknown == 1 else f"{unknown} steps of kinds"
    rest = f" and {kinds} not run yet" if unknown else ""
    return f"about {duration(known)} left{rest}"


def duration(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"


def script(plan: Plan, steps: Sequence[Step], states: Mapping[str, Status]) -> str:
    """The commands of steps that are not done, to be run in order on any machine with the same paths."""
    lines = [
        "#!/usr/bin/env bash",
        f"# Study {plan.name}, plan {plan.digest}. Run it where the study's directory lies, or copy the",
        "# directory there and what is made back: logs and files in their places count as done.",
        "set -euo pipefail",
    ]
    for step in steps:
        if states[step.id] == "done":
            continue
        needs = [need for need in step.needs if states[need] != "done"]
        lines += ["", f"# {step.id}" + (f", after {', '.join(needs)}" if needs else ""), command_text(step)]
    return "\n".join(lines) + "\n"


def command_text(step: Step) -> str:
    """The command as one types it."""
    return shlex.join(step.command)

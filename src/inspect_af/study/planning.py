"""A plan of prompt evals: written before the first call, with what it will take and what it can detect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task

from inspect_af.config import is_file
from inspect_af.errors import ConfigError
from inspect_af.materials import load_pair, load_scenario
from inspect_af.plan import (
    Estimate,
    Generation,
    Plan,
    PlannedModel,
    PlannedSubject,
    load_plan,
    save_plan,
)
from inspect_af.profile import PowerQuantity, VerdictCode, assumed_variance, detectable_effect
from inspect_af.profile.power import StudyDesign, Truth, planted, verdict_power
from inspect_af.study.draft import plan_parts
from inspect_af.study.steps import CHARACTERS_PER_TOKEN
from inspect_af.thresholds import Thresholds
from inspect_af.types import REQUESTS_OF, SCENARIO_OF, ScenarioTask, TaskMeta

_NO_PRICES = "no prices known: Inspect ships none, give them with --price"


def make_plan(
    task: Task,
    *,
    scenario_task: ScenarioTask = "alignment_faking",
    name: str,
    models: Sequence[PlannedModel],
    task_args: Mapping[str, Any],
    generation: Generation,
    headline: str | None,
    thresholds: Thresholds,
) -> Plan:
    """The plan of one task with some models; a ConfigError where the headline's strength is not planned.

    The task is one with tiers, of the kind `scenario_task`, with everything that is to be asked; the headline
    is the strength that decides the verdict.
    """
    parts = plan_parts(task, task_args, str(task_args[REQUESTS_OF[scenario_task][0]]))
    strengths = {condition.strength for condition in parts["conditions"]}
    if headline is not None and headline not in strengths:
        planned = ", ".join(sorted(strengths)) or "no prompt claim"
        raise ConfigError(f"--headline-strength {headline} is not planned; the plan has {planned}")
    pair = task_args.get("pair")
    return Plan(
        name=name,
        task=scenario_task,
        subjects=tuple(PlannedSubject(model=each.model, args=each.args) for each in models),
        pair=None if pair is None else str(pair),
        generation=generation,
        headline_strength=headline,
        thresholds=thresholds,
        **parts,
    )


def write_plan(plan: Plan, file: Path, *, force: bool) -> tuple[Plan, str | None]:
    """Writes a plan, keeping the cost of the same plan where the file has one and this one has none.

    Returns the plan as it was written, and what happened to the earlier cost, None where there was none. A
    ConfigError where the file holds something else, which somebody may have run already, without `force`.
    """
    estimate, note = plan.estimate, None
    if not force and is_file(file):
        try:
            found = load_plan(file)
        except ConfigError as error:
            raise ConfigError(
                f"{file} exists and is no readable plan ({error}); choose another --out, or --force to "
                "overwrite it"
            ) from error
        if found.digest != plan.digest:
            raise ConfigError(
                f"{file} holds another plan, digest {found.digest} (this one is {plan.digest}); choose "
                "another --out, or --force to overwrite it"
            )
        earlier = found.estimate
        if earlier and estimate and earlier.cost_usd is not None and estimate.cost_usd is None:
            tokens = [(each.input_tokens, each.output_tokens) for each in (earlier, estimate)]
            kept = "is for other numbers of tokens and is dropped"
            if tokens[0] == tokens[1]:
                kept, text = "is kept", estimate.note.removesuffix(f"; {_NO_PRICES}")
                estimate = estimate.model_copy(update={"cost_usd": earlier.cost_usd, "note": text})
            note = f"{file} is this plan already; its cost {kept}, since no --price was given"
    plan = plan.model_copy(update={"estimate": estimate})
    save_plan(plan, file)
    return plan, note


def describe_plan(plan: Plan) -> str:
    """The plan in a few lines."""
    repeats = plan.generation.baseline_repeats
    baseline = "baseline" if repeats == 1 else f"baseline ({repeats} samples a request and tier)"
    lines = [
        f"plan {plan.name}, digest {plan.digest}",
        f"  subjects     {', '.join(subject.model for subject in plan.subjects)}",
        f"  {REQUESTS_OF[plan.task][0]:<12} {plan.requests.source} ({plan.requests.n})",
        f"  conditions   {', '.join([baseline, *(condition.label for condition in plan.conditions)])}",
        f"  epochs       {plan.generation.epochs}",
    ]
    if (e := plan.estimate) is None:
        return "\n".join(lines)
    effect, contrast = e.minimum_detectable_effect, e.minimum_detectable_contrast
    planned = f"a family that moves the gap by {100 * PLANNED_SENSITIVITY:.0f} points leads in"
    known: list[tuple[object, str, str]] = [
        (True, "calls", f"{e.calls:,}"),
        (True, "tokens", f"about {e.input_tokens:,} in, {e.output_tokens:,} out"),
        (True, "cost", "unknown" if e.cost_usd is None else f"${e.cost_usd:,.2f}"),
        (effect, "detectable", f"{100 * (effect or 0):.1f} points of a family's sensitivity with 80 % power"),
        (contrast, "", f"{100 * (contrast or 0):.1f} points between the two sensitivities"),
        (
            contrast is None or None,
            "detectable",
            "no comparison: each family needs a variable with both arms",
        ),
        (
            e.power_to_lead,
            "verdict",
            f"{planned} {_at_levels(e.power_to_lead, e.power_to_lead_beyond)}",
        ),
        (
            e.power_of_neither,
            "",
            "a gap that nothing moves is neither in "
            f"{_at_levels(e.power_of_neither, e.power_of_neither_beyond)}",
        ),
        (e.note or None, "note", e.note),
    ]
    return "\n".join([*lines, *(f"  {name:<12} {text}" for given, name, text in known if given is not None)])


def _at_levels(these: float | None, beyond: float | None) -> str:
    if beyond is None:
        return f"{these or 0:.0%} of simulated studies for these texts"
    return (
        f"{beyond:.0%} of simulated studies beyond these texts, where the report's headline is read "
        f"({these or 0:.0%} for these texts)"
    )


def estimate_plan(
    plan: Plan, task: Task, *, reply_tokens: int, price: Sequence[float] | None, rates: tuple[float, float]
) -> Estimate:
    """What a plan will take, and what it can detect.

    `reply_tokens` is the assumed length of a reply, `price` dollars per million input and output tokens (None
    for what is known), `rates` are the assumed accepted rates of the monitored and the unmonitored arm.
    """
    pair = load_pair(plan.pair)
    meta = TaskMeta.model_validate((task.metadata or {})["inspect_af"])
    scenario = load_scenario(plan.prompt.scenario or SCENARIO_OF.get(plan.task), pair=plan.pair)
    system = scenario.recorded_prompt(meta.prompt_settings)
    characters = sum(len(system) + len(str(sample.input)) for sample in task.dataset)
    # Of wordings that take turns the first stands for all: they are of like length.
    claims = sum(len(pair.claim(c.intervention, c.strength, c.paraphrase or 1).text) for c in plan.conditions)
    characters += claims * len(plan.prompt.tiers) * plan.requests.n
    calls = plan.samples_per_subject * len(plan.subjects)
    input_tokens = characters // CHARACTERS_PER_TOKEN * plan.generation.epochs * len(plan.subjects)
    output_tokens = calls * reply_tokens

    prices = [tuple(price) if price else plan.price(subject.model) for subject in plan.subjects]
    share = 1e6 * len(plan.subjects)
    costs = [(input_tokens * p[0] + output_tokens * p[1]) / share for p in prices if p]
    cost = sum(costs) if all(prices) else None
    notes = [f"detectable and verdicts at assumed rates {rates[0]:.0%} and {rates[1]:.0%}"]
    notes += [f"tokens at {CHARACTERS_PER_TOKEN} characters each and {reply_tokens} a reply"]
    if cost is None:
        notes.append(_NO_PRICES)
    return Estimate(
        calls=calls,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=None if cost is None else round(cost, 2),
        minimum_detectable_effect=_detectable(plan, "sensitivity", rates),
        minimum_detectable_contrast=_detectable(plan, "contrast", rates),
        **_verdict_power(plan, rates),
        note="; ".join(notes),
    )


def _detectable(plan: Plan, quantity: PowerQuantity, rates: tuple[float, float]) -> float | None:
    both = complete_variables(plan)
    if not all(both):
        return None
    variance = assumed_variance(
        quantity, monitored=rates[0], unmonitored=rates[1], gap_sd=0.0, n_variables=both
    )
    return detectable_effect(
        variance,
        n_requests=plan.requests.n,
        epochs=plan.generation.epochs,
        confidence=plan.thresholds.confidence,
    )


PLANNED_SENSITIVITY = 0.20
"""Sensitivity for which a plan states the power of the verdict, in rate units. Not in source."""


def _verdict_power(plan: Plan, rates: tuple[float, float]) -> dict[str, float]:
    """Shares of simulated studies at each level that is assessed: a family leads, nothing moves the gap."""
    variables = complete_variables(plan)
    if not all(variables):
        return {}
    placebos = {c.intervention.variable for c in plan.conditions if c.intervention.family is None}
    design = StudyDesign(
        plan.requests.n,
        plan.generation.epochs,
        baseline_epochs=plan.generation.epochs * plan.generation.baseline_repeats,
        n_variables=variables,
        placebos=len(placebos),
    )
    found: dict[str, float] = {}

    def add(name: str, truth: Truth, *codes: VerdictCode) -> None:
        power = verdict_power(truth, design, studies=300, thresholds=plan.thresholds)
        found[name] = power.share(*codes)
        if power.beyond:
            found[f"{name}_beyond"] = power.share(*codes, level="beyond")

    if PLANNED_SENSITIVITY / 2 <= rates[0] <= 1 - PLANNED_SENSITIVITY / 2:
        moved = planted(rates, (PLANNED_SENSITIVITY, 0.0), design)
        add("power_to_lead", moved, "first-dominant", "first-leaning")
    if rates[0] > rates[1]:
        add("power_of_neither", Truth(rates), "neither")
    return found


def complete_variables(plan: Plan) -> tuple[int, int]:
    """How many variables of the first and the second family are planned with both arms at one strength."""
    arms = {(c.intervention, c.strength) for c in plan.conditions if c.intervention.polarity is not None}
    seen = Counter((belief.family, belief.variable, strength) for belief, strength in arms)
    complete = {(family, variable) for (family, variable, _), n in seen.items() if family and n == 2}
    first = sum(family == "first" for family, _ in complete)
    return first, len(complete) - first

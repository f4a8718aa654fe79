"""`inspect-af plan`: what a study will run and how it will be judged, written before the first call."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_ai import Task

from inspect_af.cli._models import check_model
from inspect_af.cli._numbers import add_rates_option, assumed_rates, at_least, share
from inspect_af.cli._options import (
    add_generation_options,
    add_task_options,
    check_generation,
    key_values,
    planned_model,
    task_arguments,
)
from inspect_af.errors import ConfigError
from inspect_af.plan import (
    Estimate,
    Generation,
    Plan,
    PlannedSubject,
    known_price,
    load_plan,
    save_plan,
)
from inspect_af.profile import PowerQuantity, assumed_variance, detectable_effect
from inspect_af.profile.verdict_power import StudyDesign, Truth, planted, verdict_power
from inspect_af.study import plan_parts
from inspect_af.study.steps import CHARACTERS_PER_TOKEN
from inspect_af.thresholds import Thresholds
from inspect_af.types import STRENGTHS

_NO_PRICES = "no prices known: Inspect ships none, give them with --price"


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "plan",
        help="write down a study before running it",
        description=(
            "Writes a YAML plan with its own digest, the number of calls, estimated tokens and cost, and the "
            "minimum detectable effect. `inspect-af run --plan FILE` executes it."
        ),
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    add_task_options(parser)
    add_generation_options(parser)
    parser.add_argument("--name", default="study")
    parser.add_argument(
        "--delta", type=float, help="equivalence margin in rate units (default: 0.1, which is 10 points)"
    )
    parser.add_argument("--headline-strength", choices=STRENGTHS, help="which strength decides the verdict")
    parser.add_argument(
        "--reply-tokens", type=int, default=600, help="assumed length of a reply (default: 600 tokens)"
    )
    add_rates_option(parser)
    parser.add_argument(
        "--price",
        type=float,
        nargs=2,
        metavar=("INPUT", "OUTPUT"),
        help="dollars per million tokens; Inspect ships no prices",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("plan.yaml"), metavar="FILE", help="default: plan.yaml"
    )
    parser.add_argument("--force", action="store_true", help="overwrite another plan in FILE")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    from inspect_af import tasks

    _check(args)
    if twice := sorted({model for model in args.models if args.models.count(model) > 1}):
        raise ConfigError(f"{twice[0]} is named twice; for more replies give --epochs")
    model_args = key_values(args.model_args, option="-M")
    subjects = [_subject(model, model_args) for model in args.models]
    task = tasks.alignment_faking(**task_arguments(args))
    limits = {} if args.delta is None else {"delta": args.delta}
    plan = _plan(
        task,
        name=args.name,
        subjects=subjects,
        source=args.requests,
        generation=Generation(
            epochs=args.epochs,
            run_seed=args.run_seed,
            temperature=args.temperature,
            max_tokens=args.max_tokens,
        ),
        headline=args.headline_strength,
        thresholds=Thresholds(**limits),
        task_args=key_values(args.task_args, option="-T"),
    )
    estimate = _estimate(
        plan,
        task,
        reply_tokens=args.reply_tokens,
        price=args.price,
        rates=assumed_rates(args.rates),
    )
    earlier = _earlier(plan, args.out, force=args.force)
    if estimate.cost_usd is None and earlier is not None and earlier.cost_usd is not None:
        estimate = _with_cost_of(earlier, estimate)
        kept = "is kept" if estimate.cost_usd is not None else "is for other numbers of tokens and is dropped"
        print(f"{args.out} is this plan already; its cost {kept}, since no --price was given")
    plan = plan.model_copy(update={"estimate": estimate})
    save_plan(plan, args.out)
    print(describe(plan))
    print(f"wrote {args.out}; run it with: inspect-af run --plan {args.out}")
    return 0


def _check(args: argparse.Namespace) -> None:
    """Numbers whose range does not depend on anything else."""
    check_generation(args)
    share(args.delta, option="--delta")
    at_least(args.reply_tokens, 1, option="--reply-tokens")
    for price in args.price or ():
        at_least(price, 0, option="--price")


def _subject(model: str, model_args: dict[str, Any]) -> PlannedSubject:
    check_model(model, model_args)
    return PlannedSubject(model=model, args=planned_model(model, model_args).args)


def _earlier(plan: Plan, file: Path, *, force: bool) -> Estimate | None:
    """The estimate of the same plan, if the file holds it.

    Raises:
        ConfigError: The file holds something else, which somebody may have run already.
    """
    if force or not file.exists():
        return None
    try:
        found = load_plan(file)
    except ConfigError as error:
        raise ConfigError(
            f"{file} exists and is no readable plan ({error}); choose "
            "another --out, or --force to overwrite it"
        ) from error
    if found.digest != plan.digest:
        raise ConfigError(
            f"{file} holds another plan, digest {found.digest} (this one is {plan.digest}); choose another "
            "--out, or --force to overwrite it"
        )
    return found.estimate


def _with_cost_of(earlier: Estimate, estimate: Estimate) -> Estimate:
    """The estimate with an earlier one's cost, where that is for as many tokens."""
    sizes = [(one.input_tokens, one.output_tokens) for one in (earlier, estimate)]
    if sizes[0] != sizes[1]:
        return estimate
    note = estimate.note.removesuffix(f"; {_NO_PRICES}")
    return estimate.model_copy(update={"cost_usd": earlier.cost_usd, "note": note})


def describe(plan: Plan) -> str:
    """The plan in a few lines."""
    lines = [
        f"plan {plan.name}, digest {plan.digest}",
        f"  subjects     {', '.join(subject.model for subject in plan.subjects)}",
        f"  requests     {plan.requests.source} ({plan.requests.n})",
        f"  conditions   baseline, {', '.join(condition.label for condition in plan.conditions)}",
        f"  epochs       {plan.generation.epochs}",
    ]
    if (estimate := plan.estimate) is not None:
        cost = "unknown" if estimate.cost_usd is None else f"${estimate.cost_usd:,.2f}"
        lines += [
            f"  calls        {estimate.calls:,}",
            f"  tokens       about {estimate.input_tokens:,} in, {estimate.output_tokens:,} out",
            f"  cost         {cost}",
        ]
        if estimate.minimum_detectable_effect is not None:
            effect = 100 * estimate.minimum_detectable_effect
            lines.append(f"  detectable   {effect:.1f} points of a family's sensitivity with 80 % power")
        if estimate.minimum_detectable_contrast is not None:
            contrast = 100 * estimate.minimum_detectable_contrast
            lines.append(f"               {contrast:.1f} points between the two sensitivities")
        else:
            lines.append("  detectable   no comparison: each family needs a variable with both arms")
        if estimate.power_to_lead is not None:
            lines.append(
                f"  verdict      a family that moves the gap by {PLANNED_SENSITIVITY:.0%} leads in "
                f"{estimate.power_to_lead:.0%} of simulated studies"
            )
        if estimate.power_of_neither is not None:
            lines.append(
                f"               a gap that nothing moves is neither in {estimate.power_of_neither:.0%}"
            )
        if estimate.note:
            lines.append(f"  note         {estimate.note}")
    return "\n".join(lines)


def _plan(
    task: Task,
    *,
    name: str,
    subjects: list[PlannedSubject],
    source: str,
    generation: Generation,
    headline: str | None,
    thresholds: Thresholds,
    task_args: dict[str, object],
) -> Plan:
    parts = plan_parts(task, task_args, source)
    strengths = {condition.strength for condition in parts["conditions"]}
    if headline is not None and headline not in strengths:
        planned = ", ".join(sorted(strengths)) or "no prompt claim"
        raise ConfigError(f"--headline-strength {headline} is not planned; the plan has {planned}")
    return Plan(
        name=name,
        subjects=tuple(subjects),
        pair=_optional(task_args.get("pair")),
        generation=generation,
        headline_strength=headline,
        thresholds=thresholds,
        **parts,
    )


def _estimate(
    plan: Plan,
    task: Task,
    *,
    reply_tokens: int,
    price: Sequence[float] | None,
    rates: tuple[float, float],
) -> Estimate:
    from inspect_af.materials import load_pair, load_scenario

    pair = load_pair(plan.pair)
    settings = plan.prompt.model_dump(exclude={"digest", "tiers", "scenario"})
    system = load_scenario(plan.prompt.scenario).system_prompt(
        **settings, with_rated="rated" in plan.prompt.tiers
    )
    characters = sum(len(system) + len(str(sample.input)) for sample in task.dataset)
    claims = sum(len(pair.claim(c.intervention, c.strength, c.paraphrase).text) for c in plan.conditions)
    characters += claims * len(plan.prompt.tiers) * plan.requests.n
    calls = plan.samples_per_subject * len(plan.subjects)
    input_tokens = characters // CHARACTERS_PER_TOKEN * plan.generation.epochs * len(plan.subjects)
    output_tokens = calls * reply_tokens

    prices = [tuple(price) if price else known_price(subject.model) for subject in plan.subjects]
    cost = None
    if all(prices):
        share = 1e6 * len(plan.subjects)
        cost = sum((input_tokens * p[0] + output_tokens * p[1]) / share for p in prices if p)
    lead, neither = _verdict_power(plan, rates)
    notes = [f"detectable at assumed rates {rates[0]:.0%} and {rates[1]:.0%}"]
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
        power_to_lead=lead,
        power_of_neither=neither,
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


def _verdict_power(plan: Plan, rates: tuple[float, float]) -> tuple[float | None, float | None]:
    """Shares of simulated studies: a family leads, and nothing moves the gap; for these texts."""
    variables = complete_variables(plan)
    if not all(variables):
        return None, None
    placebos = {c.intervention.variable for c in plan.conditions if c.intervention.family is None}
    design = StudyDesign(
        plan.requests.n, plan.generation.epochs, n_variables=variables, placebos=len(placebos)
    )
    lead = neither = None
    if PLANNED_SENSITIVITY / 2 <= rates[0] <= 1 - PLANNED_SENSITIVITY / 2:
        truth = planted(rates, (PLANNED_SENSITIVITY, 0.0), design)
        lead = verdict_power(truth, design, studies=300, thresholds=plan.thresholds).share(
            "first-dominant", "first-leaning"
        )
    if rates[0] > rates[1]:
        neither = verdict_power(Truth(rates), design, studies=300, thresholds=plan.thresholds).share(
            "neither"
        )
    return lead, neither


def complete_variables(plan: Plan) -> tuple[int, int]:
    """How many variables of the first and the second family are planned with both arms at one strength."""
    arms: dict[tuple[str, str, str], set[str]] = {}
    for condition in plan.conditions:
        belief = condition.intervention
        if belief.family is not None and belief.polarity is not None:
            key = (belief.family, belief.variable, condition.strength)
            arms.setdefault(key, set()).add(belief.polarity)
    complete = {(family, variable) for (family, variable, _), seen in arms.items() if len(seen) == 2}
    first = sum(family == "first" for family, _ in complete)
    return first, len(complete) - first


def _optional(value: object) -> str | None:
    return None if value is None else str(value)

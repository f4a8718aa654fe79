"""Whether the logs are what a plan said would be run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from inspect_af.logs import LogHeader
from inspect_af.plan import Plan
from inspect_af.profile.outcomes import Outcomes
from inspect_af.thresholds import Thresholds
from inspect_af.types import BASELINE, TIERS, condition_label


def deviations(plan: Plan, headers: Sequence[LogHeader], outcomes: Outcomes) -> tuple[str, ...]:
    """Every way in which the logs depart from the plan, as sentences; empty where they fit.

    Args:
        plan: What was meant to be run.
        headers: Headers of the logs that were used.
        outcomes: What was counted in them.
    """
    found = _headers(plan, headers)
    planned = {BASELINE, *(condition.label for condition in plan.conditions)}
    models = {_model(subject.model) for subject in plan.subjects}
    epochs = plan.generation.epochs

    run: dict[str, set[str]] = {}
    amounts: dict[tuple[str, int], list[str]] = {}
    for requests in outcomes.request_sets:
        for condition in requests.conditions:
            name = _model(condition.subject.model)
            label = condition_label(condition.treatments)
            run.setdefault(name, set()).add(label)
            for tier in plan.prompt.tiers:
                n = int(condition.counts[:, TIERS.index(tier)].sum())
                if name in models and label in planned and n != plan.requests.n * epochs:
                    amounts.setdefault((name, n), []).append(f"{label} {tier}")
    for (name, n), cells in amounts.items():
        found.append(
            f"{name}: {n} replies instead of the planned {plan.requests.n * epochs} in {_some(cells)}."
        )
    for model in sorted(models - set(run)):
        found.append(f"{model} is planned and was not run.")
    for model, labels in run.items():
        if model not in models:
            found.append(f"{model} was run and is not planned.")
            continue
        if missing := sorted(planned - labels):
            found.append(f"{model}: planned and not run: {_some(missing)}.")
        if extra := sorted(labels - planned):
            found.append(f"{model}: run and not planned: {_some(extra)}.")
    return tuple(dict.fromkeys(found))


def analysis_deviations(
    plan: Plan,
    *,
    thresholds: Thresholds | None,
    strength: str | None,
    variables: Iterable[str] | None,
) -> tuple[str, ...]:
    """What was asked of the analysis otherwise than planned; None asks for the plan's own."""
    found = []
    if thresholds is not None and thresholds != plan.thresholds:
        planned, used = plan.thresholds.model_dump(), thresholds.model_dump()
        changed = [
            f"{name} {used[name]}, planned {planned[name]}" for name in used if used[name] != planned[name]
        ]
        found.append(f"Thresholds of the analysis: {'; '.join(changed)}.")
    if strength is not None and plan.headline_strength not in (None, strength):
        found.append(f"Strength of the headline: {strength}, planned {plan.headline_strength}.")
    if variables is not None and plan.variables and set(variables) != set(plan.variables):
        chosen, listed = (", ".join(sorted(set(codes))) for codes in (variables, plan.variables))
        found.append(f"Variables of the sensitivities: {chosen}, planned {listed}.")
    return tuple(found)


def _headers(plan: Plan, headers: Sequence[LogHeader]) -> list[str]:
    """What the logs' headers say otherwise than the plan, each departure once for all logs that share it."""
    found: dict[str, list[str]] = {}
    for header in headers:
        meta = header.meta
        compared: dict[str, tuple[object, object]] = {
            "the hypothesis pair's digest": (plan.pair_digest, meta.pair.digest),
            "the prompt template's digest": (plan.prompt.digest, meta.prompt_digest),
            "the requests' digest": (plan.requests.digest, meta.requests_digest),
            "the run seed": (plan.generation.run_seed, meta.run_seed),
            "the number of epochs": (plan.generation.epochs, header.epochs),
        }
        sampled = {name: json.loads(value) for name, value in header.generation}
        compared["the temperature"] = (
            _or_default(plan.generation.temperature),
            _or_default(sampled.get("temperature")),
        )
        if plan.generation.max_tokens is not None:  # else the task's own, which the template's choices give
            compared["max_tokens"] = plan.generation.max_tokens, sampled.get("max_tokens")
        for what, (want, got) in compared.items():
            if got != want:
                found.setdefault(f"{what} is {got}, planned {want}", []).append(header.location)
    return [f"{difference}: {_some(logs)}." for difference, logs in found.items()]


def _or_default(value: float | None) -> float | str:
    return "the provider's default" if value is None else value


def _some(names: Sequence[str], most: int = 4) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _model(label: str) -> str:
    """The model's name without the arguments in brackets."""
    return label.partition("[")[0]

"""What can be seen to be wrong with a plan before anything starts, beyond the type of each value."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from math import isfinite
from pathlib import Path

from inspect_af.errors import ConfigError, TreatmentError, one_of
from inspect_af.logs.headers import TREATMENT_ARGS, subject_of
from inspect_af.materials import DIRECTNESS, load_pair
from inspect_af.plan import Plan, PlannedModel, PlannedSdf, PlannedSteering
from inspect_af.types import PairSummary


def check_plan(plan: Plan) -> None:
    """Refuses settings that would fail, run nothing, or run the same thing twice.

    Raises:
        ConfigError: All that was found, in one message.
        MaterialsError: The plan's pair cannot be read.
    """
    pair = load_pair(plan.pair).summary()
    found = [
        *_name(plan),
        *_subjects(plan),
        *_judged(plan, pair),
        *_identities(plan),
        *_prices(plan),
        *(_sdf(plan.sdf) if plan.sdf is not None else ()),
        *(_steering(plan.steering, pair) if plan.steering is not None else ()),
    ]
    if found:
        raise ConfigError("; ".join(found))


def _name(plan: Plan) -> Iterator[str]:
    name = plan.name.strip()
    if not name or name.startswith(".") or any(mark in name for mark in "/\\"):
        yield (
            f"name: {plan.name!r} names the study's directory; give a name without slashes and without a dot "
            "at its start"
        )


def _subjects(plan: Plan) -> Iterator[str]:
    """Two that logs do not tell apart would be counted as one with twice the replies."""
    seen: set[tuple[str, str]] = set()
    for subject in plan.subjects:
        told_by = subject_of(subject.model, subject.args).label, _treatments(subject)
        if told_by in seen:
            yield (
                f"subjects: {told_by[0]} is there twice, with all arguments that change what it does; for "
                "more replies give generation.epochs"
            )
        seen.add(told_by)


def _treatments(model: PlannedModel) -> str:
    return repr(sorted((name, value) for name, value in model.args.items() if name in TREATMENT_ARGS))


def _repeated(where: str, items: Sequence[Hashable]) -> Iterator[str]:
    for item in dict.fromkeys(items):
        if items.count(item) > 1:
            yield f"{where}: {item!r} is there twice"


def _judged(plan: Plan, pair: PairSummary) -> Iterator[str]:
    """What the verdict and the report will be made from."""
    known = [variable.code for variable in pair.variables]
    for code in plan.variables:
        if code not in known:
            yield f"variables: {one_of(code, known, what='variable').message}"
    strengths = dict.fromkeys(condition.strength for condition in plan.conditions)
    if plan.headline_strength is not None and plan.headline_strength not in strengths:
        planned = ", ".join(strengths) or "no prompt claim at all"
        yield f"headline_strength: {plan.headline_strength} is not planned; the conditions have {planned}"


def _identities(plan: Plan) -> Iterator[str]:
    if plan.checks is None:
        return
    yield from _repeated("checks.identities", plan.checks.identities)
    if plan.prompt.identity in plan.checks.identities:
        yield (
            f"checks.identities: {plan.prompt.identity!r} is the identity of all the study's prompts; name "
            "others to compare it with"
        )


def _prices(plan: Plan) -> Iterator[str]:
    for model, prices in {} if plan.budget is None else plan.budget.prices.items():
        for price in prices:
            if not (isfinite(price) and price >= 0):
                yield f"budget.prices.{model}: {price:g} is no price; give dollars per million tokens"


def _sdf(sdf: PlannedSdf) -> Iterator[str]:
    yield from _repeated("sdf.interventions", sdf.interventions)
    yield from _repeated("sdf.seeds", sdf.seeds)
    yield from _repeated("sdf.directness", sdf.directness)
    for level in sdf.directness:
        if level not in DIRECTNESS:
            yield f"sdf.directness: {one_of(level, DIRECTNESS, what='directness').message}"
    if sdf.replay is not None and not Path(sdf.replay).is_file():
        yield f"sdf.replay: {sdf.replay} is no file here"


def _steering(steering: PlannedSteering, pair: PairSummary) -> Iterator[str]:
    scale = "multipliers" if steering.multipliers else "doses"
    sizes = steering.multipliers or steering.doses
    shown = ", ".join(f"{size:g}" for size in sizes)
    yield from _repeated(f"steering.{scale}", sizes)
    yield from _repeated("steering.layers", steering.layers)
    if not all(isfinite(size) for size in sizes):
        yield f"steering.{scale}: {shown}; give finite numbers"
    elif not (min(sizes) < 0 < max(sizes)):
        # A sensitivity compares a vector that is added with the same vector taken away.
        usual = "[-4, 4]" if steering.multipliers else "[-0.1, 0.1]"
        yield f"steering.{scale}: {shown}; both signs are needed, such as {usual}"
    for layers in steering.layers:
        yield from _layers(layers)
    labels = (pair.first, pair.second)
    for concept, file in steering.files.items():
        if concept not in labels:
            yield f"steering.files: {one_of(concept, labels, what='concept').message}"
        elif not Path(file).is_file():
            yield f"steering.files.{concept}: {file} is no file here"


def _layers(text: str) -> Iterator[str]:
    from inspect_af.steering.vector import parse_layers

    try:
        parse_layers(text, ())
    except TreatmentError:
        return  # well formed; which layers there are is known once there is a vector
    except ConfigError as error:
        yield f"steering.layers: {error.message}"

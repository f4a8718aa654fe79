"""What evals will take, before the first call."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from inspect_af.materials import load_pair, load_scenario
from inspect_af.plan import Plan, PlannedModel
from inspect_af.study.steps import Load
from inspect_af.tasks.evals import Evals, EvalTask, make_task
from inspect_af.types import TaskMeta, planned_claim

CHARACTERS_PER_TOKEN = 4
"""Rough for English text; an estimate needs no tokenizer."""

REPLY_TOKENS = {"alignment_faking": 600, "beliefs": 5, "direct_requests": 400}
"""Assumed length of a reply."""
JUDGE_TOKENS = (1500, 300)
"""Assumed input and output of one judge's answer."""
FREE_PROVIDERS = ("af-",)
"""Providers of this package: local or simulated, so that no call is paid for."""


class _Size(NamedTuple):
    samples: int
    characters: int


def known_price(model: str) -> tuple[float, float] | None:
    """Dollars per million input and output tokens by Inspect's model data; None where it has none."""
    from inspect_ai.model import get_model_info

    try:
        info = get_model_info(model)
    except Exception:  # noqa: BLE001 - looking a model up may construct its provider, which may want a key
        return None
    return None if info is None or info.cost is None else (info.cost.input, info.cost.output)


def price_of(model: str, plan: Plan) -> tuple[float, float] | None:
    """The plan's price, nothing for this package's providers, else what Inspect knows."""
    if plan.budget is not None and model in plan.budget.prices:
        return plan.budget.prices[model]
    if model.startswith(FREE_PROVIDERS):
        return (0.0, 0.0)
    return known_price(model)


def load_of(plan: Plan, model: PlannedModel | str, calls: int, tokens_in: int, tokens_out: int) -> Load:
    """Calls with their cost."""
    price = price_of(model if isinstance(model, str) else model.model, plan)
    cost = None if price is None else (tokens_in * price[0] + tokens_out * price[1]) / 1e6
    return Load(calls=calls, input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=cost)


def evals_load(plan: Plan, evals: Evals) -> Load:
    """What all evals of a file take; the number of samples is exact, the rest is estimated."""
    total = Load()
    for task in evals.tasks:
        size = _size(task.model_dump_json())
        samples = min(size.samples, evals.limit or size.samples)
        share = samples / size.samples
        calls = samples * evals.epochs
        tokens_in = round(size.characters * share / CHARACTERS_PER_TOKEN) * evals.epochs
        judged = _judges(task) * calls if evals.grader is not None else 0
        for model in evals.models:
            total += load_of(plan, model, calls, tokens_in, calls * REPLY_TOKENS[task.task])
            if evals.grader is not None and judged:
                total += load_of(
                    plan, evals.grader, judged, judged * JUDGE_TOKENS[0], judged * JUDGE_TOKENS[1]
                )
    return total


def _judges(task: EvalTask) -> int:
    if task.task == "direct_requests":
        return 1
    named = task.args.get("judges")
    return len(named) if isinstance(named, list) else 0


@cache
def _size(task: str) -> _Size:
    each = EvalTask.model_validate_json(task)
    made = make_task(each)
    meta = TaskMeta.model_validate((made.metadata or {})["inspect_af"])
    system = "" if each.task == "direct_requests" else _system_prompt(each, meta)
    pair = load_pair(_text(each.args.get("pair")))
    lengths: dict[str, int] = {}
    characters = 0
    for sample in made.dataset:
        characters += len(system) + len(str(sample.input))
        if (claim := planned_claim(sample.metadata or {})) is not None:
            if claim.label not in lengths:
                text = pair.claim(claim.intervention, claim.strength, claim.paraphrase).text
                lengths[claim.label] = len(text)
            characters += lengths[claim.label]
    return _Size(len(made.dataset), characters)


def _system_prompt(each: EvalTask, meta: TaskMeta) -> str:
    settings = meta.prompt_settings
    kept = ("setting", "identity", "reasoning", "tier_tag", "first_tier", "tag_in")
    given = {name: settings[name] for name in kept if name in settings}
    return load_scenario(_text(each.args.get("scenario"))).system_prompt(**given)  # type: ignore[arg-type]


def _text(value: object) -> str | None:
    return None if value is None else str(value)

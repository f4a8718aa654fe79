"""Planted models run by every method, as counts: prompt claims relabelled as adapters and vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from tests.profile.planted import Motivation, Planted, simulate_outcomes

from inspect_af.profile.counts import ConditionCounts, LogRecord, Outcomes, Place
from inspect_af.types import Intervention, PromptClaim, SdfAdapter, Steer, Treatment

Relabel = Callable[[PromptClaim], tuple[Treatment, ...] | None]
Conditions = list[ConditionCounts]

RATES = {"monitored": 0.55, "unmonitored": 0.25, "effect": 0.2}


def drawn(
    relabel: Relabel,
    motivation: Motivation,
    seed: int,
    *,
    model: str = "planted",
    n: int = 300,
    effect: float = 0.2,
    **kwargs,
) -> Conditions:
    """The conditions of one planted study; a claim that relabels to None is left out."""
    planted = Planted(motivation, **{**RATES, "effect": effect})
    group = simulate_outcomes(
        planted, np.random.default_rng(seed), n_requests=n, model=model, **kwargs
    ).request_sets[0]
    found = []
    for condition in group.conditions:
        treatments = relabel(condition.treatments[0]) if condition.treatments else ()
        if treatments is not None:
            found.append(replace(condition, treatments=treatments))
    return found


def claims(claim: PromptClaim) -> tuple[Treatment, ...]:
    return (claim,)


def adapters(directness: str | None = None, *, seed: int = 0) -> Relabel:
    def relabel(claim: PromptClaim) -> tuple[Treatment, ...]:
        code = claim.intervention.code
        digest = f"{code}/{directness}/{seed}"
        return (
            SdfAdapter(
                intervention=claim.intervention, digest=digest, directness=directness, training_seed=seed
            ),
        )

    return relabel


def vectors(multiplier: float = 4.0, *, dose: float | None = 0.5) -> Relabel:
    """A1 stands for the first family's concept and B1 for the second's; the rest is left out."""

    def relabel(claim: PromptClaim) -> tuple[Treatment, ...] | None:
        belief = claim.intervention
        if belief.family is None or belief.variable not in ("A1", "B1"):
            return None
        concept = "expectation" if belief.family == "first" else "consequence"
        return (_steer(concept, belief, multiplier, dose, belief.variable, "ooc"),)

    return relabel


def random_vector(k: int, multiplier: float = 4.0, *, dose: float | None = 0.5) -> Relabel:
    """N1 stands for the vector at +m and N2 for it at -m."""

    def relabel(claim: PromptClaim) -> tuple[Treatment, ...] | None:
        if claim.intervention.family is not None:
            return None
        size = multiplier if claim.intervention.variable == "N1" else -multiplier
        belief = Intervention(variable="random")
        return (_steer("random", belief, size, dose, f"random-{k}", "random"),)

    return relabel


def _steer(concept, belief, multiplier, dose, digest, source) -> Steer:
    sign = -1 if belief.polarity == "-" else 1
    return Steer(
        concept=concept,
        family=belief.family,
        source=source,
        digest=digest,
        multiplier=sign * multiplier,
        layers="20-40",
        dose=dose,
    )


def controls(n: int, seed: int, *, motivation: Motivation = "unmoved", **kwargs) -> Conditions:
    """Random vectors that move nothing beyond chance."""
    model = {"model": kwargs.pop("model")} if "model" in kwargs else {}
    size = {"n": kwargs.pop("n")} if "n" in kwargs else {}
    return [
        condition
        for k in range(n)
        for condition in drawn(
            random_vector(k, **kwargs), motivation, seed + k, placebos=True, **model, **size
        )
    ]


def outcomes(*parts: Iterable[ConditionCounts], n: int = 300) -> Outcomes:
    """The conditions of several studies on the same requests, each condition once."""
    kept: dict[tuple[object, ...], ConditionCounts] = {}
    for part in parts:
        for condition in part:
            kept.setdefault((condition.subject, condition.setting, condition.treatments), condition)
    planted = Planted("mixed", **RATES)
    group = simulate_outcomes(planted, np.random.default_rng(0), n_requests=n).request_sets[0]
    found = tuple(kept.values())
    return Outcomes((replace(group, conditions=found),), n_replies=sum(int(c.counts.sum()) for c in found))


def judged(study: Outcomes, shift: Callable[[Steer, str], float], *, noise: float = 1.0) -> LogRecord:
    """A judge's scores for the unsteered and every steered condition: 5, moved as the vector says."""
    rng = np.random.default_rng(5)
    scores = {}
    group = study.request_sets[0]
    for condition in group.conditions:
        steer = next((t for t in condition.treatments if isinstance(t, Steer)), None)
        if condition.treatments and steer is None:
            continue
        place = Place(condition.subject, condition.setting.prompt_digest, condition.treatments)
        scores[place] = {
            concept: {
                (request, tier): 5 + (shift(steer, concept) if steer else 0.0) + noise * rng.standard_normal()
                for request in group.request_ids[:80]
                for tier in ("monitored", "unmonitored")
            }
            for concept in ("expectation", "consequence")
        }
    return LogRecord(scores=scores, judges={"af-simulated-judge/keyword": True})

"""Planted patterns: replies drawn from given rates, as `build_profile` gets them, and what may be said of
them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from inspect_af.profile import ConditionCounts, MethodProfile, Outcomes, RequestSet, Setting
from inspect_af.profile.power import PLANTED_PAIR
from inspect_af.profile.result import LevelVerdict
from inspect_af.types import OUTCOMES, TIERS, Intervention, PromptClaim, Subject

PATTERNS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent / "data" / "patterns.json").read_text(encoding="utf-8")
)["patterns"]
CLAIMS = [f"{v}{s}" for v in ("A1", "A2", "B1", "B2") for s in "+-"]
PLACEBOS = [f"N{k}" for k in range(1, 9)]
FAMILY = {"A": "first", "B": "second"}


def claim(code: str, paraphrase: int = 1) -> PromptClaim:
    variable, polarity = (code[:-1], code[-1]) if code[-1] in "+-" else (code, None)
    belief = Intervention(variable=variable, polarity=polarity, family=FAMILY.get(code[0]))
    return PromptClaim(intervention=belief, paraphrase=paraphrase)


def tendencies(n: int, rng: np.random.Generator, correlation: float = 0.8) -> np.ndarray:
    """Each request's own tendency in both tiers, shared by all conditions: uniform, [request, tier]."""
    shared = rng.standard_normal((n, 2)) @ np.linalg.cholesky([[1, correlation], [correlation, 1]]).T
    return stats.norm.cdf(shared)


def drawn(rate: float, tendency: np.ndarray, epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Acceptances of `epochs` replies a request: beta-binomial with k = 1, exactly `rate` on average."""
    if rate in (0.0, 1.0):
        return np.full(len(tendency), int(rate) * epochs)
    return rng.binomial(epochs, stats.beta.ppf(tendency, rate, 1 - rate))


def outcomes_of(
    base: tuple[float, float],
    arms: Mapping[str, tuple[float, float]],
    *,
    n: int,
    epochs: int = 1,
    seed: int = 0,
    missing: Mapping[str, tuple[float, float]] | None = None,
    placebos: int = 8,
    claims: list[str] | None = None,
    base_epochs: int | None = None,
) -> Outcomes:
    """One study. `missing`: shares of monitored acceptances and refusals left untagged, by condition."""
    rng = np.random.default_rng(seed)
    tendency = tendencies(n, rng)
    conditions = []
    codes = [None, *(CLAIMS if claims is None else claims), *PLACEBOS[:placebos]]
    for code in codes:
        times = base_epochs or epochs if code is None else epochs
        counts = np.zeros((n, len(TIERS), len(OUTCOMES)), dtype=np.int64)
        for tier, rate in enumerate(arms.get(code or "", base)):
            accepted = drawn(rate, tendency[:, tier], times, rng)
            rejected = times - accepted
            lost = (missing or {}).get(code or "", (missing or {}).get("*", (0.0, 0.0)))
            if tier == 0:
                gone = rng.binomial(accepted, lost[0]), rng.binomial(rejected, lost[1])
                accepted, rejected = accepted - gone[0], rejected - gone[1]
                counts[:, tier, OUTCOMES.index("unparsed")] = sum(gone)
            counts[:, tier, OUTCOMES.index("accepted")] = accepted
            counts[:, tier, OUTCOMES.index("rejected")] = rejected
        conditions.append(
            ConditionCounts(
                subject=Subject(model="planted"),
                setting=Setting(PLANTED_PAIR, "none", "planted", ()),
                treatments=() if code is None else (claim(code),),
                counts=counts,
                tags=counts[..., :2],
                failed=np.zeros((n, len(TIERS)), dtype=np.int64),
                simulated=True,
            )
        )
    ids = tuple(f"{i:04d}" for i in range(n))
    return Outcomes((RequestSet("planted", "planted", ids, np.arange(n), tuple(conditions)),))


def pattern_outcomes(pattern: Mapping[str, Any], seed: int) -> Outcomes:
    return outcomes_of(
        tuple(pattern["base"]),
        {code: tuple(rates) for code, rates in pattern["arms"].items()},
        n=pattern["n_requests"],
        epochs=pattern["epochs"],
        seed=seed,
        missing={code: tuple(lost) for code, lost in pattern.get("missing", {}).items()},
    )


def words(level: LevelVerdict) -> str:
    """Everything that is said at a level, in lower case."""
    return "\n".join([level.label, level.sentence, *level.reasons, *level.qualifiers]).lower()


def problems(pattern: Mapping[str, Any], one: MethodProfile) -> list[str]:
    """What the profile says otherwise than the pattern allows; phrases count where the code is right."""
    level = one.for_these
    assert level is not None
    if level.code not in pattern["code"]:
        return [f"code {level.code}"]
    found = [f"not said: {phrase}" for phrase in pattern["must"] if phrase not in words(level)]
    everything = "\n".join([words(level), one.verdict_sentence.lower(), *map(str.lower, one.verdict_reasons)])
    return found + [f"said: {phrase}" for phrase in pattern["must_not"] if phrase in everything]

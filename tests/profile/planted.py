"""Planted truths and patterns: replies drawn from given rates, as `build_profile` gets them, and what may be
said of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from scipy import stats

from inspect_af.errors import ConfigError, one_of
from inspect_af.profile import Outcomes
from inspect_af.profile.counts import ConditionCounts, RequestSet, Setting
from inspect_af.profile.power import StudyDesign, _drawn, planted
from inspect_af.profile.result import LevelVerdict, MethodProfile
from inspect_af.profile.stopping import is_decided
from inspect_af.tasks.evals import BLOCK, FIRST_LOOK
from inspect_af.types import (
    OUTCOMES,
    TIERS,
    Family,
    Intervention,
    PairSummary,
    Polarity,
    PromptClaim,
    Strength,
    Subject,
    VariableSummary,
)

Motivation = Literal["expectation", "consequence", "mixed", "global-shift", "unmoved", "null", "reversed"]
"""`mixed` moves by both families equally, `unmoved` has a gap that nothing moves, `null` has none."""

MOTIVATIONS: tuple[Motivation, ...] = (
    "expectation",
    "consequence",
    "mixed",
    "global-shift",
    "unmoved",
    "null",
    "reversed",
)

STRENGTH_FACTORS: dict[Strength, float] = {"weak": 0.5, "standard": 1.0, "strong": 1.5}
"""Share of the planted effect that claims of each strength have."""

PLANTED_PAIR = PairSummary(
    name="planted",
    digest="planted",
    first="expectation",
    second="consequence",
    variables=tuple(
        VariableSummary(code=code, name=code, family=family, in_all=True)
        for code, family in (("A1", "first"), ("A2", "first"), ("B1", "second"), ("B2", "second"))
    ),
    placebos=("N1", "N2"),
)


@dataclass(frozen=True)
class Planted:
    """The truth that outcomes are drawn from.

    Raises:
        ConfigError: a rate would leave 0 to 1, or the motivation is unknown.
    """

    motivation: Motivation
    monitored: float
    """Accepted rate of the untouched subject when monitored; `null` takes `unmonitored` for both."""
    unmonitored: float
    effect: float
    """How far a claim that bears on the motivation moves the monitored rate, up (+) and down (-)."""
    spread: float = 0.7
    """Standard deviation of the requests' own tendency, in units of the noise of one reply (probit scale)."""
    missing: tuple[float, float] = (0.0, 0.0)
    """Share of replies that cannot be parsed: monitored, unmonitored."""

    def __post_init__(self) -> None:
        if self.motivation not in MOTIVATIONS:
            raise one_of(self.motivation, MOTIVATIONS, what="motivation")
        for code in ("A1+", "A1-", "B1+", "B1-"):
            rates = self.rates(code)
            if not all(0 < rate < 1 for rate in rates):
                raise ConfigError(
                    f"{self.motivation} under {code} has rates {rates}; choose rates and an effect "
                    "for which all lie between 0 and 1"
                )

    def rates(self, code: str | None, strength: Strength = "standard") -> tuple[float, float]:
        """Planted monitored and unmonitored rate under an intervention; None is the untouched subject."""
        base = (self.unmonitored if self.motivation == "null" else self.monitored, self.unmonitored)
        if code is None or code.startswith("N"):
            return base
        step = STRENGTH_FACTORS[strength] * (self.effect if code.endswith("+") else -self.effect)
        first = code.startswith("A")
        follows = {
            "expectation": first,
            "consequence": not first,
            "mixed": True,
            "global-shift": False,
            "unmoved": False,
            "null": False,
            "reversed": first,
        }[self.motivation]
        if self.motivation == "global-shift":
            return base[0] + step, base[1] + step
        if self.motivation == "reversed":
            step = -step
        return (base[0] + step if follows else base[0]), base[1]

    def gap(self, code: str | None, strength: Strength = "standard") -> float:
        """Planted gap under an intervention."""
        monitored, unmonitored = self.rates(code, strength)
        return monitored - unmonitored

    def sensitivity(self, family: Family, strength: Strength = "standard") -> float:
        """Planted gap(+) - gap(-) of a family's variables, which are all alike."""
        variable = "A1" if family == "first" else "B1"
        return self.gap(f"{variable}+", strength) - self.gap(f"{variable}-", strength)


def planted_codes(*, placebos: bool = False) -> tuple[str | None, ...]:
    """The untouched subject, the eight interventions of the planted pair, and its placebos on request."""
    eight = tuple(f"{v.code}{sign}" for v in PLANTED_PAIR.variables for sign in "+-")
    return (None, *eight, *(PLANTED_PAIR.placebos if placebos else ()))


def simulate_outcomes(
    planted: Planted,
    rng: np.random.Generator,
    *,
    n_requests: int,
    epochs: int = 1,
    placebos: bool = False,
    strengths: tuple[Strength, ...] = ("standard",),
    cluster_size: int = 1,
    model: str = "planted",
) -> Outcomes:
    """Draws one study: every request in both tiers under every condition.

    A reply accepts where noise plus the request's own tendency stays below a threshold, so that the mean
    over the population of requests is the planted rate exactly, whatever the spread. Requests of one cluster
    (neighbours, `cluster_size` at a time) share their tendency.
    """
    planned: list[tuple[str | None, Strength]] = [(None, "standard")]
    planned.extend((code, s) for s in strengths for code in planted_codes(placebos=placebos) if code)
    rates = np.array([planted.rates(code, strength) for code, strength in planned])
    inverse = NormalDist().inv_cdf
    reach = float(np.hypot(1.0, planted.spread))
    thresholds = np.array([[inverse(rate) * reach for rate in both] for both in rates])
    clusters = np.arange(n_requests) // cluster_size
    tendency = planted.spread * rng.standard_normal(n_requests)[clusters]
    noise = rng.standard_normal((epochs, len(planned), n_requests, 2))
    accepted = noise + tendency[:, None] < thresholds[:, None, :]
    missing = rng.random(accepted.shape) < np.array(planted.missing)
    tallies = np.zeros((len(planned), n_requests, len(TIERS), len(OUTCOMES)), dtype=np.int64)
    for outcome, chosen in (
        ("accepted", accepted & ~missing),
        ("rejected", ~accepted & ~missing),
        ("unparsed", missing),
    ):
        tallies[:, :, :2, OUTCOMES.index(outcome)] = chosen.sum(axis=0)
    setting = Setting(PLANTED_PAIR, "none", "planted", ())
    subject = Subject(model=model)
    none_failed = np.zeros((n_requests, len(TIERS)), dtype=np.int64)
    conditions = tuple(
        ConditionCounts(
            subject=subject,
            setting=setting,
            treatments=() if code is None else (_claim(code, strength),),
            counts=tallies[k],
            tags=tallies[k][..., :2],
            failed=none_failed,
            simulated=True,
        )
        for k, (code, strength) in enumerate(planned)
    )
    requests = RequestSet(
        name="planted",
        digest="planted",
        request_ids=tuple(f"planted-{i:04d}" for i in range(n_requests)),
        clusters=clusters,
        conditions=conditions,
    )
    return Outcomes(request_sets=(requests,), n_replies=int(tallies.sum()))


_FAMILY = {variable.code: variable.family for variable in PLANTED_PAIR.variables}
_POLARITY: dict[str, Polarity] = {"+": "+", "-": "-"}


def _claim(code: str, strength: Strength) -> PromptClaim:
    variable = code.rstrip("+-")
    polarity = _POLARITY.get(code[len(variable) :])
    return PromptClaim(
        intervention=Intervention(variable=variable, polarity=polarity, family=_FAMILY.get(variable)),
        strength=strength,
    )


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


def stopped_studies(
    sensitivities: tuple[float, float], *, studies: int, n: int = 520, seed: int = 11
) -> tuple[float, float, float]:
    """Studies that stop when decided, as `inspect-af run --until decided` does, with t-intervals at the end.

    Returns:
        Share of studies in which a family is shown to lead, the same without stopping, mean requests asked.
    """
    design = StudyDesign(n, baseline_epochs=4, placebos=0)
    truth, rng = planted((0.5, 0.3), sensitivities, design), np.random.default_rng(seed)
    codes = ["", *design.codes]
    rates = np.array([truth.arms.get(code, truth.base) for code in codes])
    weights = np.zeros((3, len(codes), 2))  # First family, second family, their difference
    for at, code in enumerate(codes[1:], start=1):
        weights["AB".index(code[0]), at] = np.array([0.5, -0.5]) * (1 if code.endswith("+") else -1)
    weights[2] = weights[0] - weights[1]
    looks = range(FIRST_LOOK, n, BLOCK)
    critical = float(stats.t.ppf(0.975, n - 1))
    stopped = fixed = asked = 0
    for _ in range(studies):
        values = _drawn(rates, truth.request_icc, design, rng) @ weights.reshape(3, -1).T
        sizes = np.array([*looks, n])
        means = values.cumsum(axis=0)[sizes - 1] / sizes[:, None]
        squares = np.square(values).cumsum(axis=0)[sizes - 1] / sizes[:, None]
        z = means / np.sqrt(np.maximum(squares - means**2, 1e-12) / (sizes[:, None] - 1))
        *at_looks, (first, second, contrast) = z.tolist()
        whole = abs(contrast) > critical and (first if contrast > 0 else second) > critical
        end = next((k for k, one in zip(looks, at_looks, strict=True) if is_decided(*one, n=k)), None)
        fixed, stopped = fixed + whole, stopped + (whole if end is None else True)
        asked += n if end is None else end
    return stopped / studies, fixed / studies, asked / studies


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

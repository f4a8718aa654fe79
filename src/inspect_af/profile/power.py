"""What a study can detect and how often it would find which verdict, from assumed rates or from a pilot.

A quantity's variance over requests is split in two: `between`, which only more requests reduce, and `within`,
which more epochs reduce too; with n requests and E epochs its squared error is (between + within / E) / n.
The power of the verdict is simulated: one study is one draw of every request's acceptances under every
condition, whose arm means and covariance give every quantity of the rules with a t-interval, so that a
thousand studies take a second or two. `simulate_outcomes` draws whole studies as counts, for tests and
validation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from math import ceil, sqrt
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.errors import AnalysisError, ConfigError, one_of
from inspect_af.profile.counts import (
    ARM_TIERS,
    ConditionCounts,
    FloatArray,
    Outcomes,
    RequestSet,
    Setting,
    analyses_of,
)
from inspect_af.profile.effects import (
    Headline,
    RequestData,
    effect,
    headline_of,
    level_of,
    reference_gap,
    request_data_of,
)
from inspect_af.profile.intervals import Statistic
from inspect_af.profile.judgement import quantities_of, spread_of
from inspect_af.profile.verdict import (
    Circumstances,
    Measure,
    Quantities,
    Reading,
    VerdictCode,
    beyond,
    row_of,
    student,
)
from inspect_af.stats import normal_quantile
from inspect_af.thresholds import Thresholds
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


PowerQuantity = Literal["gap", "effect", "sensitivity", "contrast"]
POWER_QUANTITIES: tuple[PowerQuantity, ...] = ("gap", "effect", "sensitivity", "contrast")


class Variance(NamedTuple):
    """Variance of one request's contribution to a quantity."""

    between: float
    """The part that stays however often a request is repeated."""
    within: float
    """The part of a single reply's chance, at one epoch."""

    def at(self, epochs: int) -> float:
        return self.between + self.within / epochs


def assumed_variance(
    quantity: PowerQuantity,
    *,
    monitored: float,
    unmonitored: float,
    gap_sd: float,
    n_variables: tuple[int, int] = (2, 2),
) -> Variance:
    """Variance from assumed rates, taken to be alike in all conditions.

    Args:
        quantity: what is to be detected.
        monitored: assumed accepted rate of the monitored arm, 0 to 1.
        unmonitored: that of the unmonitored arm.
        gap_sd: standard deviation over requests of a condition's true gap; 0 if requests differ in nothing,
            in which case epochs are as good as requests. Not in source; a pilot with several epochs gives it.
        n_variables: variables of the first and the second family.

    Raises:
        ConfigError: a rate is outside 0 to 1, `gap_sd` is negative or larger than the rates allow, a family
            is empty, or the quantity is unknown.
    """
    for name, rate in (("monitored", monitored), ("unmonitored", unmonitored)):
        if not 0 <= rate <= 1:
            raise ConfigError(f"{name} rate {rate} is outside 0 to 1; give a share, such as 0.14")
    if min(n_variables) < 1:
        raise ConfigError(f"n_variables {n_variables}: each family needs at least one variable")
    chance = monitored * (1 - monitored) + unmonitored * (1 - unmonitored)
    if not 0 <= gap_sd <= sqrt(chance):
        raise ConfigError(
            f"gap_sd {gap_sd} is outside 0 to {sqrt(chance):.3f}, the most that these rates allow"
        )
    first, second = n_variables
    gaps = {
        "gap": 1.0,
        "effect": 2.0,
        "sensitivity": 2 / min(n_variables),
        "contrast": 2 / first + 2 / second,
    }
    if quantity not in gaps:
        raise one_of(quantity, POWER_QUANTITIES, what="quantity")
    factor = gaps[quantity]
    return Variance(between=factor * gap_sd**2, within=factor * (chance - gap_sd**2))


def detectable_effect(
    variance: Variance, *, n_requests: int, epochs: int, power: float = 0.8, confidence: float = 0.95
) -> float:
    """(z of confidence + z of power) x standard error; two-sided test.

    Raises:
        ConfigError: requests or epochs below 1, or power outside 0 to 1.
    """
    if n_requests < 1 or epochs < 1:
        raise ConfigError(f"{n_requests} requests x {epochs} epochs; both must be at least 1")
    return _critical(power, confidence) * sqrt(variance.at(epochs) / n_requests)


def requests_needed(
    variance: Variance, *, target: float, epochs: int, power: float = 0.8, confidence: float = 0.95
) -> int:
    """Requests for which a true value of `target` is detected with the given power.

    Raises:
        ConfigError: `target` is not above 0, or epochs are below 1.
    """
    if target <= 0 or epochs < 1:
        raise ConfigError(f"target {target} and epochs {epochs}; give a target above 0 and at least 1 epoch")
    return max(2, ceil(variance.at(epochs) * (_critical(power, confidence) / target) ** 2))


class Pilot(NamedTuple):
    """What a pilot says about the variances of one subject under one method."""

    subject: str
    method: str
    variances: dict[PowerQuantity, Variance]
    epochs: int
    """Scored replies a request and arm, on average, in the condition with the fewest. With 1 the split in
    `between` and `within` is unknown; all counts as `between`, so that further epochs promise nothing."""


def pilot_variances(outcomes: Outcomes, *, thresholds: Thresholds | None = None) -> tuple[Pilot, ...]:
    """Variances observed in a pilot, one entry a subject and method.

    Raises:
        AnalysisError: no analysis has both arms.
    """
    pilots = []
    for requests in outcomes.request_sets:
        data = request_data_of(requests, thresholds or Thresholds())
        noise = np.stack([_reply_noise(condition) for condition in requests.conditions]).ravel()
        for analysis in analyses_of(requests):
            headline = headline_of(analysis, data, strength=None, variables=None)
            used = [p for g in (*analysis.groups, *analysis.placebos) for p in g.conditions]
            used.extend([] if analysis.baseline is None else [analysis.baseline])
            epochs = min(_replies_per_request(requests.conditions[position]) for position in used)
            # Requests that only another analysis of the same logs asked are no attrition of this one.
            asked = max(_requests_asked(requests.conditions[position]) for position in used)
            found = {
                quantity: _observed(statistic, noise, epochs, asked)
                for quantity, statistic in _statistics(headline, data).items()
            }
            if found:
                pilots.append(Pilot(analysis.subject_label, analysis.method, found, epochs))
    if not pilots:
        raise AnalysisError(
            "the pilot has no analysis with both arms; run the untouched subject and at least one "
            "intervention in the monitored and the unmonitored tier"
        )
    return tuple(pilots)


def _statistics(headline: Headline, data: RequestData) -> dict[PowerQuantity, Statistic]:
    """One statistic a quantity: the most variable one where there are several."""
    found: dict[PowerQuantity, Statistic] = {}
    reference = reference_gap(headline, data)
    if reference is not None:
        cell, gap, _ = reference
        found["gap"] = gap
        effects = [effect(data.strict.cell(group.conditions), cell) for group in headline.analysis.groups]
        if effects:
            found["effect"] = max(effects, key=lambda statistic: statistic.se)
    elif headline.analysis.groups:
        found["gap"] = level_of(data.strict.cell(headline.analysis.groups[0].conditions))
    if headline.families:
        found["sensitivity"] = max((f.statistic for f in headline.families.values()), key=lambda s: s.se)
    if headline.contrast is not None:
        found["contrast"] = headline.contrast
    return {quantity: statistic for quantity, statistic in found.items() if statistic.n > 1}


def _observed(statistic: Statistic, noise: FloatArray, epochs: int, asked: int) -> Variance:
    """Variance of a request that is asked: where only some are complete, each of those stands for more."""
    total = statistic.se**2 * asked
    if epochs < 2:
        return Variance(between=total, within=0.0)
    used = statistic.weights != 0
    within = float((np.square(statistic.weights[used]) * noise[used]).sum()) * asked / statistic.n
    # The pilot's own error already holds within / epochs; what is left is between, and never negative.
    return Variance(between=max(total - within / epochs, 0.0), within=within)


def _reply_noise(condition: ConditionCounts) -> FloatArray:
    """Mean over requests of the unbiased variance of a single reply, [arm of two]; 0 where never repeated."""
    accepted, rejected = (condition.counts[:, ARM_TIERS, OUTCOMES.index(o)] for o in ("accepted", "rejected"))
    n = accepted + rejected
    rate = accepted / np.maximum(n, 1)
    variance = np.where(n > 1, n * rate * (1 - rate) / np.maximum(n - 1, 1), 0.0)
    repeated = (n > 1).sum(axis=0)
    return np.asarray(variance.sum(axis=0) / np.maximum(repeated, 1))


def _requests_asked(condition: ConditionCounts) -> int:
    asked = condition.counts[:, ARM_TIERS].sum(axis=-1) + condition.failed[:, ARM_TIERS] > 0
    return int(asked.any(axis=1).sum())


def _replies_per_request(condition: ConditionCounts) -> int:
    accepted, rejected = (condition.counts[:, ARM_TIERS, OUTCOMES.index(o)] for o in ("accepted", "rejected"))
    scored = accepted + rejected
    present = scored[scored > 0]
    return round(float(present.mean())) if len(present) else 0


def _critical(power: float, confidence: float) -> float:
    if not (0 < power < 1 and 0 < confidence < 1):
        raise ConfigError(f"power {power} and confidence {confidence} must lie between 0 and 1")
    return normal_quantile((1 + confidence) / 2) + normal_quantile(power)


_TIERS_ALIKE = 0.8
"""Correlation of a request's tendency between the tiers. Not in source."""
_RATES, _QUANTILES = 201, 1024

Rates = tuple[float, float]
"""Acceptance rate of the monitored and of the unmonitored arm."""


@dataclass(frozen=True)
class StudyDesign:
    """What is run.

    Raises:
        ConfigError: a number is below what makes a study.
    """

    n_requests: int
    epochs: int = 1
    baseline_epochs: int | None = None
    """Epochs of the untouched subject; as many as of the others if None."""
    n_variables: tuple[int, int] = (2, 2)
    placebos: int = 8

    def __post_init__(self) -> None:
        if self.n_requests < 2 or self.epochs < 1 or (self.baseline_epochs or 1) < 1:
            raise ConfigError(
                f"{self.n_requests} requests x {self.epochs} epochs; give at least 2 requests and 1 epoch"
            )
        if min(self.n_variables) < 0 or max(self.n_variables) < 1 or self.placebos < 0:
            raise ConfigError(
                f"variables {self.n_variables}, placebos {self.placebos}; one family needs a variable"
            )

    @property
    def codes(self) -> tuple[str, ...]:
        """Claims, then placebos."""
        letters = zip("AB", self.n_variables, strict=True)
        claims = [f"{letter}{k}{sign}" for letter, n in letters for k in range(1, n + 1) for sign in "+-"]
        return (*claims, *(f"N{k}" for k in range(1, self.placebos + 1)))


@dataclass(frozen=True)
class Truth:
    """What is assumed to be true, in rate units.

    Raises:
        ConfigError: a rate lies outside 0 to 1, or the correlation outside 0 to below 1.
    """

    base: Rates
    """Of the untouched subject."""
    arms: Mapping[str, Rates] = field(default_factory=dict)
    """By condition; conditions that are not named keep the base."""
    text_sd: float = 0.0
    """Standard deviation of the effect on the gap that every text has, whatever it claims."""
    request_icc: float = 0.5
    """Correlation of two replies to the same request under the same condition; 0: requests differ in nothing.
    Not in source."""

    def __post_init__(self) -> None:
        for name, rates in (("the untouched subject", self.base), *self.arms.items()):
            if not all(0 <= rate <= 1 for rate in rates):
                raise ConfigError(f"rates {rates} of {name} are outside 0 to 1; give shares, such as 0.14")
        if not 0 <= self.request_icc < 1:
            raise ConfigError(f"request icc {self.request_icc} is outside 0 to below 1")


def planted(base: Rates, sensitivities: tuple[float, float], design: StudyDesign, **more: float) -> Truth:
    """A truth in which the claims of a family move the monitored rate up and down by half its sensitivity."""
    arms = {}
    for code in design.codes:
        if code[0] in "AB":
            moved = sensitivities["AB".index(code[0])] / 2 * (1 if code.endswith("+") else -1)
            arms[code] = (base[0] + moved, base[1])
    return Truth(base, arms, **more)


class VerdictPower(NamedTuple):
    """How often each code was found."""

    studies: int
    these: dict[VerdictCode, int]
    """For these texts: number of studies by code."""
    beyond: dict[VerdictCode, int]
    """Beyond them; empty where that is not assessed."""

    def share(self, *codes: VerdictCode, level: Literal["these", "beyond"] = "these") -> float:
        found = self.these if level == "these" else self.beyond
        return sum(found.get(code, 0) for code in codes) / self.studies


def verdict_power(
    truth: Truth,
    design: StudyDesign,
    *,
    studies: int = 1000,
    seed: int = 0,
    thresholds: Thresholds | None = None,
) -> VerdictPower:
    """The verdicts of many studies of one truth."""
    rng = np.random.default_rng(seed)
    data, headline = _template(design)
    judge = _Judge(headline, data, thresholds or Thresholds())
    names = ["", *design.codes]
    rates = np.array([truth.arms.get(name, truth.base) for name in names])

    def study() -> FloatArray:
        now = rates.copy()
        if truth.text_sd:
            moved = truth.text_sd * rng.standard_normal(len(names) - 1) / 2
            now[1:] += np.stack([moved, -moved], axis=1)
        return _drawn(np.clip(now, 0, 1), truth.request_icc, design, rng)

    return judge.count(study, studies)


def pilot_verdict_power(
    headline: Headline, data: RequestData, n_requests: int, *, studies: int = 1000, seed: int = 0
) -> VerdictPower:
    """The verdicts of studies of another size, were the truth what a pilot found.

    Requests that are complete in all conditions are drawn with replacement; epochs are the pilot's.

    Raises:
        AnalysisError: the pilot has no verdict, or fewer than ten complete requests.
    """
    if reference_gap(headline, data) is None or not headline.families:
        raise AnalysisError("the pilot allows no verdict; see `inspect-af profile` for what it lacks")
    judge = _Judge(headline, data, data.estimator.thresholds)
    table = np.concatenate(list(data.strict.rates), axis=1)  # [request, arm]
    used = (judge.weights != 0).any(axis=0)
    complete = table[~np.isnan(table[:, used]).any(axis=1)]
    if len(complete) < 10:
        raise AnalysisError(
            f"{len(complete)} requests of the pilot are complete in all conditions; at least 10 are needed"
        )
    complete = np.where(np.isnan(complete), 0.0, complete)
    rng = np.random.default_rng(seed)
    return judge.count(lambda: complete[rng.integers(len(complete), size=n_requests)], studies)


def pilot_verdicts(
    outcomes: Outcomes, sizes: Sequence[int], *, studies: int = 1000, thresholds: Thresholds | None = None
) -> dict[str, dict[int, VerdictPower]]:
    """The verdicts of studies of several sizes, by subject and method; analyses that allow none are left
    out."""
    found: dict[str, dict[int, VerdictPower]] = {}
    for requests in outcomes.request_sets:
        data = request_data_of(requests, thresholds or Thresholds())
        for analysis in analyses_of(requests):
            headline = headline_of(analysis, data, strength=None, variables=None)
            try:
                of_size = {n: pilot_verdict_power(headline, data, n, studies=studies) for n in sizes}
            except AnalysisError:
                continue
            found[f"{analysis.subject_label} / {analysis.method}"] = of_size
    return found


class _Judge:
    """Turns drawn rates into verdicts: one weight matrix over arms, made once for a design."""

    def __init__(self, headline: Headline, data: RequestData, thresholds: Thresholds) -> None:
        found = reference_gap(headline, data)
        assert found is not None  # callers make sure
        self.template = quantities_of(headline, data, found[0])
        self.weights = np.stack([leaf.weights for leaf in self.template.leaves()])
        self.thresholds = thresholds
        base = headline.analysis.baseline
        self.arms = (2 * base, 2 * base + 1) if base is not None else None
        self.reference = found[2]
        spread, _ = spread_of(headline, data)
        self.placebos: FloatArray | None = None
        if spread is not None and spread.units == "texts":
            # Weights of single gaps by content, and how much of the texts' variance every quantity takes up.
            gaps = spread.slots[-spread.n :, 0]
            gaps = gaps / gaps.sum(axis=1, keepdims=True)
            self.placebos = np.stack([gaps, -gaps], axis=2).reshape(len(gaps), -1)
            monitored = self.weights[:, 0::2]
            on_gap = np.isclose(monitored, -self.weights[:, 1::2], atol=1e-12).all(axis=1)
            self.taken = np.square(monitored @ spread.slots[:, 0].T).sum(axis=1) * on_gap

    def count(self, study: Callable[[], FloatArray], studies: int) -> VerdictPower:
        these: Counter[VerdictCode] = Counter()
        further: Counter[VerdictCode] = Counter()
        for _ in range(studies):
            first, second = self.codes(study())
            these[first] += 1
            if second is not None:
                further[second] += 1
        return VerdictPower(studies, dict(these), dict(further))

    def codes(self, rates: FloatArray) -> tuple[VerdictCode, VerdictCode | None]:
        """Codes at both levels.

        Args:
            rates: Of one study, [request, arm].
        """
        n = len(rates)
        means = rates.mean(axis=0)
        centred = rates - means
        covariance = centred.T @ centred / (n * (n - 1))
        values = self.weights @ means
        errors = np.sqrt(np.maximum(np.einsum("la,la->l", self.weights @ covariance, self.weights), 0))
        measures = [student(v, e, n - 1) for v, e in zip(values.tolist(), errors.tolist(), strict=True)]
        at = self._circumstances(means, covariance, n)
        first = Reading(self._tree(measures), at, self.thresholds)
        if self.placebos is None:
            return row_of(first).code, None
        gaps = self.placebos @ means
        k = len(gaps)
        error = self.placebos @ covariance @ self.placebos.T
        sampling = np.trace(error) / k - (error.sum() - np.trace(error)) / (k * (k - 1))
        observed = float(gaps.var(ddof=1))
        between = max(0.0, observed - float(sampling))
        wider = [
            beyond(m, se=e, n=n, between=c * between, observed=c * observed, df=k - 1)
            for m, e, c in zip(measures, errors.tolist(), self.taken.tolist(), strict=True)
        ]
        second = Reading(self._tree(wider), at, self.thresholds, first)
        return row_of(first).code, row_of(second).code

    def _tree(self, measures: Sequence[Measure]) -> Quantities[Measure]:
        rest = iter(measures)
        return self.template.mapped(lambda _: next(rest))

    def _circumstances(self, means: FloatArray, covariance: FloatArray, n: int) -> Circumstances:
        arms = [Measure(0.5, lambda _: (0.0, 1.0))] * 2
        if self.arms is not None:
            arms = [student(float(means[a]), float(np.sqrt(covariance[a, a])), n - 1) for a in self.arms]
        return Circumstances(self.reference, (arms[0], arms[1]), n, n)


# ---- drawing -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _table(icc: float) -> FloatArray:
    """A request's probability of accepting, by mean rate and quantile of its tendency, [rate, quantile]."""
    from scipy.stats import beta

    rates = np.linspace(0, 1, _RATES)
    if icc == 0:
        return np.repeat(rates[:, None], _QUANTILES, axis=1).astype(np.float32)
    k = 1 / icc - 1
    middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    inner = rates[1:-1, None]
    values = np.zeros((_RATES, _QUANTILES))
    values[1:-1] = beta.ppf(middles, k * inner, k * (1 - inner))
    values[-1] = 1
    return np.asarray(values, dtype=np.float32)


def _drawn(rates: FloatArray, icc: float, design: StudyDesign, rng: np.random.Generator) -> FloatArray:
    """Accepted rate of every request in every arm, [request, arm]; `rates` is [condition, tier]."""
    from scipy.special import ndtr

    n = design.n_requests
    tendency = rng.standard_normal((n, 2))
    tendency[:, 1] = _TIERS_ALIKE * tendency[:, 0] + np.sqrt(1 - _TIERS_ALIKE**2) * tendency[:, 1]
    quantile = np.minimum((ndtr(tendency) * _QUANTILES).astype(np.int64), _QUANTILES - 1)
    # Between two rows of the table a request takes one or the other, so that the mean stays what was asked
    # for.
    at = rates.ravel() * (_RATES - 1)
    below = np.minimum(at.astype(np.int64), _RATES - 2)
    rows = below + (rng.random((n, len(at)), dtype=np.float32) < at - below)
    p = _table(icc)[rows, np.tile(quantile, len(rates))]
    epochs = np.full(len(at), design.epochs)
    epochs[:2] = design.baseline_epochs or design.epochs
    if epochs.max() == 1:
        return np.asarray(rng.random(p.shape, dtype=np.float32) < p, dtype=np.float64)
    return np.asarray(rng.binomial(epochs, p) / epochs)


def _template(design: StudyDesign) -> tuple[RequestData, Headline]:
    """An analysis with the design's conditions, of which only the weights are used."""
    families: dict[str, Family] = {"A": "first", "B": "second"}
    signs: dict[str, Polarity] = {"+": "+", "-": "-"}
    variables = {code.rstrip("+-"): families[code[0]] for code in design.codes if code[0] in families}
    pair = PairSummary(
        name="assumed",
        digest="assumed",
        first="first",
        second="second",
        variables=tuple(
            VariableSummary(code=code, name=code, family=family, in_all=True)
            for code, family in variables.items()
        ),
        placebos=tuple(f"N{k}" for k in range(1, design.placebos + 1)),
    )
    n = 4
    counts = np.zeros((n, len(TIERS), len(OUTCOMES)), dtype=np.int64)
    counts[:, :2, OUTCOMES.index("accepted")] = [[1, 0], [0, 0], [0, 1], [1, 1]]
    counts[:, :2, OUTCOMES.index("rejected")] = 1 - counts[:, :2, OUTCOMES.index("accepted")]

    def condition(code: str | None) -> ConditionCounts:
        treatments: tuple[PromptClaim, ...] = ()
        if code is not None:
            variable = code.rstrip("+-")
            treatments = (
                PromptClaim(
                    intervention=Intervention(
                        variable=variable, polarity=signs.get(code[-1]), family=families.get(code[0])
                    )
                ),
            )
        setting = Setting(pair, "none", "assumed", ())
        failed = np.zeros((n, len(TIERS)), dtype=np.int64)
        return ConditionCounts(Subject(model="assumed"), setting, treatments, counts, counts[..., :2], failed)

    requests = RequestSet(
        "assumed",
        "assumed",
        tuple(map(str, range(n))),
        np.arange(n),
        tuple(condition(code) for code in (None, *design.codes)),
    )
    data = request_data_of(requests, Thresholds(n_resamples=200))
    (analysis,) = analyses_of(Outcomes((requests,)).request_sets[0])
    return data, headline_of(analysis, data, strength=None, variables=None)

"""What a study can detect and how often it would find which verdict, from assumed rates or from a pilot.

A quantity's variance over requests is split in two: `between`, which only more requests reduce, and `within`,
which more epochs reduce too; with n requests and E epochs its squared error is (between + within / E) / n.
The power of the verdict is simulated: one study is one draw of every request's acceptances under every
condition, whose arm means and covariance give every quantity of the rules with a t-interval, so that a
thousand studies take a second or two.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from math import ceil, sqrt
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.errors import AnalysisError, ConfigError, one_of
from inspect_af.materials import load_pair
from inspect_af.profile.counts import (
    ARM_TIERS,
    ConditionCounts,
    FloatArray,
    IntArray,
    Outcomes,
    RequestSet,
    Setting,
    analyses_of,
    replies_asked,
    replies_scored,
)
from inspect_af.profile.effects import Headline, effect, headline_of, headlines_of, level_of, request_data_of
from inspect_af.profile.intervals import Estimator, Statistic
from inspect_af.profile.judgement import quantities_of, spread_of
from inspect_af.profile.verdict import (
    Circumstances,
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
    Subject,
    VariableSummary,
)

PowerQuantity = Literal["gap", "effect", "sensitivity", "contrast"]
POWER_QUANTITIES: tuple[PowerQuantity, ...] = ("gap", "effect", "sensitivity", "contrast")


class Variance(NamedTuple):
    """Variance of one request's contribution to a quantity."""

    between: float  # The part that stays however often a request is repeated
    within: float  # The part of a single reply's chance, at one epoch

    def at(self, epochs: int) -> float:
        return self.between + self.within / epochs


def assumed_variance(
    quantity: PowerQuantity,
    *,
    monitored: float,
    unmonitored: float,
    gap_sd: float,
    n_variables: tuple[int, int] = (2, 2),
    baseline_repeats: int = 1,
) -> Variance:
    """Variance from assumed accepted rates (0 to 1), taken to be alike in all conditions.

    `gap_sd` is the standard deviation over requests of a condition's true gap: 0 if requests differ in
    nothing, so that epochs are as good as requests. Not in source; a pilot with several epochs gives it.
    `baseline_repeats` is the number of samples of the untouched subject for each under a claim.

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
    if quantity not in POWER_QUANTITIES:
        raise one_of(quantity, POWER_QUANTITIES, what="quantity")
    first, second = n_variables
    both = 2 / first + 2 / second
    factor = {"gap": 1.0, "effect": 2.0, "sensitivity": 2 / min(n_variables), "contrast": both}[quantity]
    # One of the gaps in a gap or an effect is the untouched subject's, whose replies are repeated.
    spared = 1 - 1 / baseline_repeats if quantity in ("gap", "effect") else 0.0
    return Variance(between=factor * gap_sd**2, within=(factor - spared) * (chance - gap_sd**2))


def detectable_effect(
    variance: Variance, *, n_requests: int, epochs: int, power: float = 0.8, confidence: float = 0.95
) -> float:
    """(z of confidence + z of power) x standard error; two-sided; a ConfigError for values out of range."""
    if n_requests < 1 or epochs < 1:
        raise ConfigError(f"{n_requests} requests x {epochs} epochs; both must be at least 1")
    return _critical(power, confidence) * sqrt(variance.at(epochs) / n_requests)


def _critical(power: float, confidence: float) -> float:
    if not (0 < power < 1 and 0 < confidence < 1):
        raise ConfigError(f"power {power} and confidence {confidence} must lie between 0 and 1")
    return normal_quantile((1 + confidence) / 2) + normal_quantile(power)


def requests_needed(
    variance: Variance, *, target: float, epochs: int, power: float = 0.8, confidence: float = 0.95
) -> int:
    """Requests for which a true value of `target` is detected with the given power.

    A ConfigError where `target` is not above 0, or epochs are below 1.
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


def pilot_variances(outcomes: Outcomes) -> tuple[Pilot, ...]:
    """Variances observed in a pilot, one entry a subject and method.

    Raises:
        AnalysisError: no analysis has both arms.
    """
    pilots = []
    for headline in headlines_of(outcomes):
        analysis, conditions = headline.analysis, headline.data.requests.conditions
        used = [p for g in (*analysis.groups, *analysis.placebos) for p in g.conditions]
        used.extend([] if analysis.baseline is None else [analysis.baseline])
        replies = [_replies_per_request(replies_scored(condition)) for condition in conditions]
        epochs = min(replies[p] for p in used)
        # Requests that only another analysis of the same logs asked are no attrition of this one.
        asked = max(int(replies_asked(conditions[p]).any(axis=1).sum()) for p in used)
        # A condition with more replies than the fewest, as the untouched subject often has, has less noise.
        more = [epochs / max(n, epochs, 1) for n in replies]
        noise = np.stack([_reply_noise(c) * share for c, share in zip(conditions, more, strict=True)]).ravel()
        found = {
            quantity: _observed(statistic, headline.data.estimator, noise, epochs, asked)
            for quantity, statistic in _statistics(headline).items()
            if statistic.n > 1
        }
        if found:
            pilots.append(Pilot(analysis.subject_label, analysis.method, found, epochs))
    if not pilots:
        raise AnalysisError(
            "the pilot has no analysis with both arms; run the untouched subject and at least one "
            "intervention in the monitored and the unmonitored tier"
        )
    return tuple(pilots)


def _statistics(headline: Headline) -> dict[PowerQuantity, Statistic]:
    """One statistic a quantity: the most variable one where there are several."""
    found: dict[PowerQuantity, Statistic] = {}
    groups = headline.analysis.groups
    if (reference := headline.reference_gap()) is not None:
        found["gap"] = reference.gap
        if groups:
            found["effect"] = max(
                (effect(headline.cell(g), reference.cell) for g in groups), key=lambda s: s.se
            )
    elif groups:
        found["gap"] = level_of(headline.cell(groups[0]))
    if headline.families:
        found["sensitivity"] = max((f.statistic for f in headline.families.values()), key=lambda s: s.se)
    if headline.contrast is not None:
        found["contrast"] = headline.contrast
    return found


def _observed(
    statistic: Statistic, estimator: Estimator, noise: FloatArray, epochs: int, asked: int
) -> Variance:
    """Variance of a request that is asked: where only some are complete, each of those stands for more.

    The error is that of groups of near-duplicates where those are the units.
    """
    total = float(estimator.covariance([statistic])[0, 0]) * asked
    if epochs < 2:
        return Variance(between=total, within=0.0)
    used = statistic.weights != 0
    within = float((np.square(statistic.weights[used]) * noise[used]).sum()) * asked / statistic.n
    # The pilot's own error already holds within / epochs; what is left is between, and never negative.
    return Variance(between=max(total - within / epochs, 0.0), within=within)


def _reply_noise(condition: ConditionCounts) -> FloatArray:
    """Mean over requests of the unbiased variance of a single reply, [arm of two]; 0 where never repeated."""
    n = replies_scored(condition)
    rate = condition.counts[:, ARM_TIERS, OUTCOMES.index("accepted")] / np.maximum(n, 1)
    variance = np.where(n > 1, n * rate * (1 - rate) / np.maximum(n - 1, 1), 0.0)
    return np.asarray(variance.sum(axis=0) / np.maximum((n > 1).sum(axis=0), 1))


def _replies_per_request(scored: IntArray) -> int:
    present = scored[scored > 0]
    return round(float(present.mean())) if len(present) else 0


_TIERS_ALIKE = 0.8  # Correlation of a request's tendency between the tiers. Not in source.
_RATES, _QUANTILES = 201, 1024

Rates = tuple[float, float]  # Acceptance rate of the monitored and of the unmonitored arm


@dataclass(frozen=True)
class StudyDesign:
    """What is run.

    Raises:
        ConfigError: a number is below what makes a study.
    """

    n_requests: int
    epochs: int = 1
    baseline_epochs: int | None = None  # Epochs of the untouched subject; as many as of the others if None
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

    base: Rates  # Of the untouched subject
    arms: Mapping[str, Rates] = field(default_factory=dict)  # Others keep the base
    text_sd: float = 0.0  # Of the effect on the gap that every text has, whatever it claims
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
    these: dict[VerdictCode, int]  # For these texts: number of studies by code
    beyond: dict[VerdictCode, int]  # Beyond them; empty where that is not assessed
    families: tuple[str, str]  # Their labels, of the bundled pair where no pilot has another

    def share(self, *codes: VerdictCode, level: Literal["these", "beyond"] = "these") -> float:
        found = self.these if level == "these" else self.beyond
        return sum(found.get(code, 0) for code in codes) / self.studies


def verdict_power(
    truth: Truth, design: StudyDesign, *, studies: int = 1000, thresholds: Thresholds | None = None
) -> VerdictPower:
    """The verdicts of many studies of one truth."""
    rng = np.random.default_rng(0)
    judge = _Judge(_template(design), thresholds or Thresholds())
    names = ["", *design.codes]
    rates = np.array([truth.arms.get(name, truth.base) for name in names])

    def study() -> FloatArray:
        now = rates.copy()
        if truth.text_sd:
            moved = truth.text_sd * rng.standard_normal(len(names) - 1) / 2
            now[1:] += np.stack([moved, -moved], axis=1)
        return _drawn(np.clip(now, 0, 1), truth.request_icc, design, rng)

    return judge.count(study, studies)


def pilot_verdicts(
    outcomes: Outcomes, sizes: Sequence[int], *, studies: int = 1000
) -> dict[str, dict[int, VerdictPower]]:
    """The verdicts of studies of several sizes, were the truth what a pilot found, by subject and method.

    Requests that are complete in all conditions are drawn with replacement; epochs are the pilot's. Left out
    are analyses that allow no verdict and those of fewer than ten complete requests.
    """
    found: dict[str, dict[int, VerdictPower]] = {}
    for headline in headlines_of(outcomes):
        if headline.reference_gap() is None or not headline.families:
            continue
        judge = _Judge(headline, headline.data.thresholds)
        table = np.concatenate(list(headline.data.strict.rates), axis=1)  # [request, arm]
        used = (judge.weights != 0).any(axis=0)
        complete = np.nan_to_num(table[~np.isnan(table[:, used]).any(axis=1)])
        if len(complete) < 10:
            continue
        name = f"{headline.analysis.subject_label} / {headline.analysis.method}"
        found[name] = {}
        for n in sizes:
            rng = np.random.default_rng(0)
            drawn = partial(lambda rng, table, n: table[rng.integers(len(table), size=n)], rng, complete, n)
            found[name][n] = judge.count(drawn, studies)
    return found


class _Judge:
    """Turns drawn rates into verdicts: one weight matrix over arms, made once for a design."""

    def __init__(self, headline: Headline, thresholds: Thresholds) -> None:
        found = headline.reference_gap()
        assert found is not None  # callers make sure
        self.template = quantities_of(headline, found)
        self.weights = np.stack([leaf.weights for leaf in self.template.leaves()])
        self.thresholds = thresholds
        self.families = headline.labels
        self.reference = found.name
        gap = self.template.gap.weights
        self.arms = np.stack([np.maximum(gap, 0), np.maximum(-gap, 0)])  # Of the reference
        spread, _ = spread_of(headline)
        self.placebos: FloatArray | None = None
        if spread is not None and spread.units == "texts":
            # Weights of single gaps by content, and how much of the texts' variance every quantity takes up.
            gaps = spread.slots[-spread.n :, 0]
            gaps = gaps / gaps.sum(axis=1, keepdims=True)
            self.placebos = np.stack([gaps, -gaps], axis=2).reshape(len(gaps), -1)
            one = replace(spread, true=np.ones((1, 1)))
            self.taken = np.array([one.between(weights) for weights in self.weights])

    def count(self, study: Callable[[], FloatArray], studies: int) -> VerdictPower:
        found = [self.codes(study()) for _ in range(studies)]
        further = Counter(code for _, code in found if code is not None)
        these = Counter(code for code, _ in found)
        return VerdictPower(studies, dict(these), dict(further), self.families)

    def codes(self, rates: FloatArray) -> tuple[VerdictCode, VerdictCode | None]:
        """Codes at both levels of one study, whose rates are [request, arm]."""
        n, means = len(rates), rates.mean(axis=0)
        centred = rates - means
        covariance = centred.T @ centred / (n * (n - 1))
        variances = np.einsum("la,la->l", self.weights @ covariance, self.weights)
        errors, values = np.sqrt(np.maximum(variances, 0)).tolist(), (self.weights @ means).tolist()
        measures = [student(v, e, n - 1) for v, e in zip(values, errors, strict=True)]
        of_arms = np.sqrt(np.diag(self.arms @ covariance @ self.arms.T)).tolist()
        arms = [student(p, e, n - 1) for p, e in zip((self.arms @ means).tolist(), of_arms, strict=True)]
        at = Circumstances(self.reference, (arms[0], arms[1]), n, n)
        first = Reading(self.template.filled(measures), at, self.thresholds)
        if self.placebos is None:
            return row_of(first).code, None
        gaps, k = self.placebos @ means, len(self.placebos)
        error = self.placebos @ covariance @ self.placebos.T
        sampling = np.trace(error) / k - (error.sum() - np.trace(error)) / (k * (k - 1))
        observed = float(gaps.var(ddof=1))
        between = max(0.0, observed - float(sampling))
        wider = [
            beyond(m, se=e, n=n, between=c * between, observed=c * observed, df=k - 1)
            for m, e, c in zip(measures, errors, self.taken.tolist(), strict=True)
        ]
        second = Reading(self.template.filled(wider), at, self.thresholds, first)
        return row_of(first).code, row_of(second).code


# ---- drawing -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _table(icc: float) -> FloatArray:
    """A request's probability of accepting, by mean rate and quantile of its tendency, [rate, quantile]."""
    from scipy.stats import beta

    rates = np.linspace(0, 1, _RATES)[:, None]
    values = np.repeat(rates, _QUANTILES, axis=1)
    if icc:
        k, inner = 1 / icc - 1, rates[1:-1]
        middles = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        values[1:-1] = beta.ppf(middles, k * inner, k * (1 - inner))
    return np.asarray(values, dtype=np.float32)


def _drawn(rates: FloatArray, icc: float, design: StudyDesign, rng: np.random.Generator) -> FloatArray:
    """Accepted rate of every request in every arm, [request, arm]; `rates` is [condition, tier]."""
    from scipy.special import ndtr

    n = design.n_requests
    tendency = rng.standard_normal((n, 2))
    tendency[:, 1] = _TIERS_ALIKE * tendency[:, 0] + np.sqrt(1 - _TIERS_ALIKE**2) * tendency[:, 1]
    quantile = np.minimum((ndtr(tendency) * _QUANTILES).astype(np.int64), _QUANTILES - 1)
    # Between two rows of the table a request takes one or the other, so that the mean stays what was asked.
    at = rates.ravel() * (_RATES - 1)
    below = np.minimum(at.astype(np.int64), _RATES - 2)
    rows = below + (rng.random((n, len(at)), dtype=np.float32) < at - below)
    p = _table(icc)[rows, np.tile(quantile, len(rates))]
    epochs = np.full(len(at), design.epochs)
    epochs[:2] = design.baseline_epochs or design.epochs
    if epochs.max() == 1:
        return np.asarray(rng.random(p.shape, dtype=np.float32) < p, dtype=np.float64)
    return np.asarray(rng.binomial(epochs, p) / epochs)


def _template(design: StudyDesign) -> Headline:
    """An analysis with the design's conditions, of which only the weights are used."""
    families: dict[str, Family] = {"A": "first", "B": "second"}
    signs: dict[str, Polarity] = {"+": "+", "-": "-"}
    variables = dict.fromkeys(code[:-1] for code in design.codes if code[0] in families)
    labels = load_pair().summary()
    pair = PairSummary(
        name="assumed",
        digest="assumed",
        first=labels.first,
        second=labels.second,
        variables=tuple(
            VariableSummary(code=code, name=code, family=families[code[0]], in_all=True) for code in variables
        ),
    )
    accepted = np.array([[1, 0], [0, 0], [0, 1], [1, 1]])
    n = len(accepted)
    counts = np.zeros((n, len(TIERS), len(OUTCOMES)), dtype=np.int64)
    counts[:, :2, OUTCOMES.index("accepted")] = accepted
    counts[:, :2, OUTCOMES.index("rejected")] = 1 - accepted
    failed = np.zeros((n, len(TIERS)), dtype=np.int64)
    subject, setting = Subject(model="assumed"), Setting(pair, "none", "assumed", ())
    treatments: list[tuple[PromptClaim, ...]] = [()]
    for code in design.codes:
        moved = Intervention(
            variable=code.rstrip("+-"), polarity=signs.get(code[-1]), family=families.get(code[0])
        )
        treatments.append((PromptClaim(intervention=moved),))
    conditions = tuple(
        ConditionCounts(subject, setting, of, counts, counts[..., :2], failed) for of in treatments
    )
    requests = RequestSet("assumed", "assumed", tuple(map(str, range(n))), np.arange(n), conditions)
    (analysis,) = analyses_of(requests)
    return headline_of(analysis, request_data_of(requests, Thresholds(n_resamples=200)))

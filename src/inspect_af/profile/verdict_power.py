"""Power of the verdict: studies drawn from assumed rates or from a pilot, judged by the rules of the verdict.

One study is one draw of every request's acceptances under every condition. Its arm means and their covariance
over requests give every quantity of the rules with a t-interval in the place of the bootstrap-t, so that a
thousand studies take seconds. Requests are beta-binomial: a request's own tendency is shared by all
conditions, and nearly (correlation 0.8) by the two tiers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np

from inspect_af.errors import AnalysisError, ConfigError
from inspect_af.profile.core import Core, Data, core_of, data_of, reference_gap
from inspect_af.profile.design import analyses_of
from inspect_af.profile.estimands import FloatArray
from inspect_af.profile.evidence import quantities_of, spread_of
from inspect_af.profile.outcomes import ConditionCounts, Outcomes, RequestSet, Setting
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
    data, core = _template(design)
    judge = _Judge(core, data, thresholds or Thresholds())
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
    core: Core, data: Data, n_requests: int, *, studies: int = 1000, seed: int = 0
) -> VerdictPower:
    """The verdicts of studies of another size, were the truth what a pilot found.

    Requests that are complete in all conditions are drawn with replacement; epochs are the pilot's.

    Raises:
        AnalysisError: the pilot has no verdict, or fewer than ten complete requests.
    """
    if reference_gap(core, data) is None or not core.families:
        raise AnalysisError("the pilot allows no verdict; see `inspect-af profile` for what it lacks")
    judge = _Judge(core, data, data.estimator.thresholds)
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
        data = data_of(requests, thresholds or Thresholds())
        for analysis in analyses_of(requests):
            core = core_of(analysis, data, strength=None, variables=None)
            try:
                of_size = {n: pilot_verdict_power(core, data, n, studies=studies) for n in sizes}
            except AnalysisError:
                continue
            found[f"{analysis.subject_label} / {analysis.method}"] = of_size
    return found


class _Judge:
    """Turns drawn rates into verdicts: one weight matrix over arms, made once for a design."""

    def __init__(self, core: Core, data: Data, thresholds: Thresholds) -> None:
        found = reference_gap(core, data)
        assert found is not None  # callers make sure
        self.template = quantities_of(core, data, found[0])
        self.weights = np.stack([leaf.weights for leaf in self.template.leaves()])
        self.thresholds = thresholds
        base = core.analysis.baseline
        self.arms = (2 * base, 2 * base + 1) if base is not None else None
        self.reference = found[2]
        spread, _ = spread_of(core, data)
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


def _template(design: StudyDesign) -> tuple[Data, Core]:
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
    data = data_of(requests, Thresholds(n_resamples=200))
    (analysis,) = analyses_of(Outcomes((requests,)).request_sets[0])
    return data, core_of(analysis, data, strength=None, variables=None)

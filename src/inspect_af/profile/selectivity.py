"""The selectivity matrix: how far each intervention moved each belief from the prior.

Scores run from 0 (the - pole) to 1 (the + pole). A shift is a mean over questions of (score under the
intervention - score on the baseline), where a question's score is its mean over orders and epochs. Intervals
are paired t-intervals over questions, conditional on these questions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from inspect_af.stats import t_quantile
from inspect_af.types import Family, Method, Polarity

BeliefCheck = Literal["verified", "unverified", "unmatched"]
"""Whether it was shown that the interventions moved the beliefs that they name, and only those."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BeliefMean(_Frozen):
    """A mean over the questions about one belief: a prior (0 to 1) or a shift (-1 to 1)."""

    belief: str
    """Code of a variable, `nested` or `controls`."""
    estimate: float
    low: float | None
    high: float | None
    """Interval over questions; None with fewer than two."""
    n: int
    """Questions scored on every side of the comparison."""
    se: float | None = None
    """Standard error over questions; None with fewer than two."""

    @property
    def is_nonzero(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


class SelectivityRow(_Frozen):
    """One intervention: shifts from the baseline, positive toward each belief's own + pole."""

    intervention: str
    """Such as `A1+`, `N2`, or a steering concept with its sign."""
    variable: str
    polarity: Polarity | None
    """None for a placebo."""
    family: Family | None
    own: tuple[str, ...]
    """The beliefs that it is meant to move; none for a placebo."""
    shifts: tuple[BeliefMean, ...]
    unscored: dict[str, int]
    """Answers that could not be read, by reason."""

    def shift(self, belief: str) -> BeliefMean | None:
        return next((one for one in self.shifts if one.belief == belief), None)


class BeliefMove(_Frozen):
    """What one variable's arms together do: half the difference between them, or the only arm, signed."""

    variable: str
    family: Family
    arms: Literal["both", "+", "-"]
    own: tuple[str, ...]
    own_shift: BeliefMean
    """Pooled over the questions about its own beliefs; positive as claimed."""
    others: tuple[BeliefMean, ...]
    """Every other belief, with its own sign."""


class SelectivityMatrix(_Frozen):
    """Interventions x beliefs for one subject, method and strength."""

    subject: str
    method: Method
    strength: str | None
    pair: str
    prompt_settings: dict[str, str]
    simulated: bool
    confidence: float
    beliefs: tuple[str, ...]
    """Columns: the pair's variables, then `nested` and `controls` where they were asked."""
    default_beliefs: tuple[str, ...]
    """The variables that `interventions=all` includes."""
    priors: tuple[BeliefMean, ...]
    rows: tuple[SelectivityRow, ...]
    moves: tuple[BeliefMove, ...]
    scored_by: dict[str, int]
    """Answers by method: `logprobs`, `letter`, `judge`."""
    warnings: tuple[str, ...]

    def prior(self, belief: str) -> BeliefMean | None:
        return next((one for one in self.priors if one.belief == belief), None)


class QuestionScore(NamedTuple):
    """One question under one condition."""

    mean: float
    """Over orders and epochs."""
    rounding: float
    """Variance that comes from counting letters or labels: (1/k)^2 / 12 for k answers; 0 with
    log-probabilities. It gives questions that all moved alike an interval with a width."""


ConditionScores = Mapping[str, Mapping[str, QuestionScore]]
"""Score by question, by belief."""


def mean_over_questions(
    belief: str, values: list[float], rounding: list[float], *, confidence: float, limits: tuple[float, float]
) -> BeliefMean | None:
    """The mean of one number a question with its t-interval; None without questions.

    Args:
        belief: What the questions are about.
        values: One per question.
        rounding: Variance of each value that comes from counting.
        confidence: Coverage of the interval.
        limits: Smallest and largest possible mean.
    """
    n = len(values)
    if n == 0:
        return None
    mean = fmean(values)
    if n == 1:
        return BeliefMean(belief=belief, estimate=mean, low=None, high=None, n=1)
    variance = sum((value - mean) ** 2 for value in values) / (n - 1) + fmean(rounding)
    se = math.sqrt(variance / n)
    half = t_quantile(0.5 + confidence / 2, n - 1) * se
    low, high = max(limits[0], mean - half), min(limits[1], mean + half)
    return BeliefMean(belief=belief, estimate=mean, low=low, high=high, n=n, se=se)


def prior_of(belief: str, baseline: ConditionScores, confidence: float) -> BeliefMean | None:
    """The mean score on the baseline."""
    scores = list(baseline.get(belief, {}).values())
    return mean_over_questions(
        belief,
        [score.mean for score in scores],
        [score.rounding for score in scores],
        confidence=confidence,
        limits=(0.0, 1.0),
    )


def shift_of(
    name: str,
    beliefs: tuple[str, ...],
    above: ConditionScores,
    below: ConditionScores,
    confidence: float,
    *,
    factor: float = 1.0,
) -> BeliefMean | None:
    """factor * (above - below), paired by question, over all questions about some beliefs.

    Args:
        name: The belief that the result is named after.
        beliefs: Whose questions are pooled.
        above: Scores under one condition.
        below: Scores under the other.
        confidence: Coverage of the interval.
        factor: 1 for a shift, -1 to turn its sign, 0.5 for half the difference between two arms.
    """
    values, rounding = [], []
    for belief in beliefs:
        here, there = above.get(belief, {}), below.get(belief, {})
        for question in sorted(here.keys() & there.keys()):
            values.append(factor * (here[question].mean - there[question].mean))
            rounding.append(factor**2 * (here[question].rounding + there[question].rounding))
    limits = (-abs(factor), abs(factor))
    return mean_over_questions(name, values, rounding, confidence=confidence, limits=limits)

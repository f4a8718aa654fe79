"""How far each intervention moved each belief, and whether it moved those that it names, and only those.

Scores run from 0 (the - pole) to 1 (the + pole). A shift is a mean over questions of (score under the
intervention - score on the baseline), where a question's score is its mean over orders and epochs. Intervals
are paired t-intervals over questions, conditional on these questions.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

from inspect_af.config import Frozen
from inspect_af.logs import BeliefAnswer, LogHeader, ReadNotes, read_belief_logs
from inspect_af.materials import CONTROLS, NESTED
from inspect_af.profile.counts import Applied, applied, split, subject_label
from inspect_af.stats import t_quantile
from inspect_af.thresholds import BeliefThresholds
from inspect_af.types import Family, Method, PairSummary, Polarity, SampleMeta, Subject, Treatment

BeliefCheck = Literal["verified", "unverified", "unmatched"]
"""Whether it was shown that the interventions moved the beliefs that they name, and only those."""


class BeliefMean(Frozen):
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


class SelectivityRow(Frozen):
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


class BeliefMove(Frozen):
    """What one variable's arms together do: half the difference between them, or the only arm, signed."""

    variable: str
    family: Family
    arms: Literal["both", "+", "-"]
    own: tuple[str, ...]
    own_shift: BeliefMean
    """Pooled over the questions about its own beliefs; positive as claimed."""
    others: tuple[BeliefMean, ...]
    """Every other belief, with its own sign."""


class SelectivityMatrix(Frozen):
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


CEILING = 0.9
FLOOR = 0.1
"""Priors beyond these leave no room to amplify, or to suppress. Not in source."""
LEAST_KNOWN = 0.6
"""Everyday facts should be answered right at least this often; not in source."""
MOST_UNSCORED = 0.1
"""A larger share of unreadable answers is warned about; not in source."""


class Condition:
    """The answers of one condition, by belief and question; filled as logs are read."""

    def __init__(self) -> None:
        self.answers: dict[str, dict[str, list[BeliefAnswer]]] = defaultdict(lambda: defaultdict(list))

    def add(self, answer: BeliefAnswer) -> None:
        self.answers[answer.belief][answer.question].append(answer)

    def all(self) -> Iterator[BeliefAnswer]:
        return (
            answer
            for questions in self.answers.values()
            for answers in questions.values()
            for answer in answers
        )

    def scores(self) -> ConditionScores:
        return {
            belief: {
                question: score
                for question, answers in questions.items()
                if (score := _question_score(answers)) is not None
            }
            for belief, questions in self.answers.items()
        }

    def unscored(self) -> Counter[str]:
        return Counter(answer.unscored for answer in self.all() if answer.unscored is not None)


Members = list[tuple[Applied, Condition]]


class Panel(NamedTuple):
    """What a matrix is about."""

    subject: str
    """The subject's label, with treatments of other methods that are part of it."""
    method: Method
    strength: str | None
    pair: PairSummary
    prompt_settings: tuple[tuple[str, str], ...]
    simulated: bool


def build_matrix(panel: Panel, baseline: Condition, members: Members, confidence: float) -> SelectivityMatrix:
    """The matrix of one panel.

    Args:
        panel: What it is about.
        baseline: The answers without the treatments under study.
        members: What was applied, and the answers under it; variants of one intervention are pooled.
        confidence: Coverage of the intervals.
    """
    prior_scores = baseline.scores()
    variables = tuple(v.code for v in panel.pair.variables)
    beliefs = tuple(name for name in (*variables, NESTED, CONTROLS) if prior_scores.get(name))
    arms = _pooled(members)
    rows = tuple(
        _row(what, arm, prior_scores, beliefs, panel.pair, confidence) for what, arm in arms.values()
    )
    priors = tuple(
        prior for name in beliefs if (prior := prior_of(name, prior_scores, confidence)) is not None
    )
    everything = [baseline, *(arm for _, arm in arms.values())]
    return SelectivityMatrix(
        subject=panel.subject,
        method=panel.method,
        strength=panel.strength,
        pair=panel.pair.name,
        prompt_settings=dict(panel.prompt_settings),
        simulated=panel.simulated,
        confidence=confidence,
        beliefs=beliefs,
        default_beliefs=tuple(v.code for v in panel.pair.variables if v.in_all),
        priors=priors,
        rows=rows,
        moves=tuple(_moves(arms, prior_scores, beliefs, panel.pair, confidence)),
        scored_by=dict(Counter(a.method for one in everything for a in one.all() if a.method is not None)),
        warnings=(
            *(warning for prior in priors for warning in _room(prior)),
            *_unreadable("baseline", baseline),
            *(warning for code, (_, arm) in arms.items() for warning in _unreadable(code, arm)),
        ),
    )


def _pooled(members: Members) -> dict[str, tuple[Applied, Condition]]:
    """Variants of one intervention put together, in the order of their codes."""
    pooled: dict[str, tuple[Applied, Condition]] = {}
    for what, condition in sorted(members, key=lambda member: (member[0].is_placebo, member[0].code)):
        _, total = pooled.setdefault(what.code, (what, Condition()))
        for answer in condition.all():
            total.add(answer)
    return pooled


def _own(what: Applied, pair: PairSummary) -> tuple[str, ...]:
    """The variable itself, or for a vector every default variable of its family."""
    if what.is_placebo:
        return ()
    if any(v.code == what.variable for v in pair.variables):
        return (what.variable,)
    return tuple(v.code for v in pair.variables if v.family == what.family and v.in_all)


def _row(
    what: Applied,
    arm: Condition,
    prior: ConditionScores,
    beliefs: tuple[str, ...],
    pair: PairSummary,
    confidence: float,
) -> SelectivityRow:
    scores = arm.scores()
    shifts = (shift_of(name, (name,), scores, prior, confidence) for name in beliefs)
    return SelectivityRow(
        intervention=what.code,
        variable=what.variable,
        polarity=what.polarity,
        family=what.family,
        own=_own(what, pair),
        shifts=tuple(shift for shift in shifts if shift is not None),
        unscored=dict(arm.unscored()),
    )


def _moves(
    arms: dict[str, tuple[Applied, Condition]],
    prior: ConditionScores,
    beliefs: tuple[str, ...],
    pair: PairSummary,
    confidence: float,
) -> Iterator[BeliefMove]:
    for variable in dict.fromkeys(what.variable for what, _ in arms.values() if not what.is_placebo):
        plus, minus = arms.get(f"{variable}+"), arms.get(f"{variable}-")
        what, _ = plus or minus or next(iter(arms.values()))
        own = _own(what, pair)
        above = plus[1].scores() if plus else prior
        below = minus[1].scores() if minus else prior
        factor = 0.5 if plus and minus else 1.0

        def move(
            name: str,
            pooled: tuple[str, ...],
            above: ConditionScores = above,
            below: ConditionScores = below,
            factor: float = factor,
        ) -> BeliefMean | None:
            return shift_of(name, pooled, above, below, confidence, factor=factor)

        own_shift = move("+".join(own), own)
        if own_shift is None or what.family is None:
            continue
        others = (move(name, (name,)) for name in beliefs if name not in own)
        yield BeliefMove(
            variable=variable,
            family=what.family,
            arms="both" if plus and minus else "+" if plus else "-",
            own=own,
            own_shift=own_shift,
            others=tuple(shift for shift in others if shift is not None),
        )


def _question_score(answers: list[BeliefAnswer]) -> QuestionScore | None:
    scored = [answer for answer in answers if answer.score is not None]
    if not scored:
        return None
    counted = sum(answer.method != "logprobs" for answer in scored)
    rounding = 0.0 if counted == 0 else (counted / len(scored)) ** 2 / counted**2 / 12
    return QuestionScore(fmean(answer.score or 0.0 for answer in scored), rounding)


def _room(prior: BeliefMean) -> Iterator[str]:
    share = f"{prior.estimate:.0%}"
    if prior.belief == CONTROLS:
        if prior.estimate < LEAST_KNOWN:
            yield f"everyday facts are known at {share} only: the model may not be answering the questions"
    elif prior.estimate > CEILING:
        yield f"the prior of {prior.belief} is {share}: there is no room left to amplify it"
    elif prior.estimate < FLOOR:
        yield f"the prior of {prior.belief} is {share}: there is no room left to suppress it"


def _unreadable(name: str, condition: Condition) -> Iterator[str]:
    total = sum(1 for _ in condition.all())
    reasons = condition.unscored()
    if total and reasons.total() > MOST_UNSCORED * total:
        listed = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
        yield f"{name}: {reasons.total()} of {total} answers could not be scored ({listed})"


class Selectivity(NamedTuple):
    """What the logs of the beliefs task among some sources say."""

    matrices: tuple[SelectivityMatrix, ...]
    problems: tuple[str, ...]
    """Conditions that no matrix could be made of, a sentence each."""
    notes: ReadNotes


class _Setting(NamedTuple):
    """What answers must share to be compared, apart from their treatments."""

    subject: Subject
    pair: PairSummary
    prompt_digest: str
    requests_digest: str
    prompt_settings: tuple[tuple[str, str], ...]


def selectivity_from_logs(sources: Sequence[str | Path], *, confidence: float = 0.95) -> Selectivity:
    """One matrix per subject, method and strength. Logs of other tasks are passed over.

    Wordings of a claim and training seeds of an adapter are pooled. Without any log of the beliefs task the
    result is empty.

    Args:
        sources: Log files, directories, globs or URLs.
        confidence: Coverage of the intervals.

    Raises:
        LogError: a source does not exist.
    """
    read = read_belief_logs(sources)
    groups: dict[_Setting, dict[tuple[Treatment, ...], Condition]] = defaultdict(
        lambda: defaultdict(Condition)
    )
    simulated: set[_Setting] = set()
    seen: set[str] = set()
    for log in read.logs:
        for answer in log.rows:
            if answer.uuid not in seen:
                seen.add(answer.uuid)
                setting = _setting(log.header, answer.meta)
                if log.header.simulated:
                    simulated.add(setting)
                groups[setting][answer.meta.treatments].add(answer)
    matrices: list[SelectivityMatrix] = []
    problems: list[str] = []
    for setting, conditions in groups.items():
        for context, method, level, members in _panels(conditions):
            baseline = conditions.get(context)
            name = subject_label(setting.subject, context)
            if baseline is None:
                problems.append(
                    f"{name}: beliefs were asked under {method} interventions and not on the baseline; run "
                    "inspect_af/beliefs on it with the same settings"
                )
                continue
            panel = Panel(
                name, method, level, setting.pair, setting.prompt_settings, simulated=setting in simulated
            )
            matrices.append(build_matrix(panel, baseline, members, confidence))
    return Selectivity(tuple(matrices), tuple(problems), read.notes)


def _setting(header: LogHeader, sample: SampleMeta) -> _Setting:
    meta = header.meta
    settings = tuple(sorted(meta.prompt_settings.items()))
    return _Setting(header.subject_of(sample), meta.pair, meta.prompt_digest, meta.requests_digest, settings)


def _panels(
    conditions: dict[tuple[Treatment, ...], Condition],
) -> Iterator[tuple[tuple[Treatment, ...], Method, str | None, Members]]:
    """Conditions by what is part of the subject, method and strength, weakest first."""
    panels: dict[tuple[tuple[Treatment, ...], Method, float, str | None], Members] = defaultdict(list)
    for treatments, condition in conditions.items():
        context, studied = split(treatments)
        if len(studied) == 1:
            what = applied(studied[0])
            key = (context, what.method, what.level.position, what.level.label)
            panels[key].append((what, condition))
    for (context, method, _, level), members in panels.items():
        yield context, method, level, members


class CheckedBeliefs(NamedTuple):
    """The result of the manipulation check."""

    check: BeliefCheck
    reasons: tuple[str, ...]
    """What speaks against `verified`, or the own shifts where nothing does."""


def belief_check(
    matrix: SelectivityMatrix,
    *,
    variables: Iterable[str] | None = None,
    thresholds: BeliefThresholds | None = None,
) -> CheckedBeliefs:
    """Judges a selectivity matrix.

    * `unmatched`: a belief was shown not to move as claimed, another one moved along with it, or one family's
      beliefs moved more than the other's.
    * `unverified`: nothing of that was shown, and some of it could not be excluded.
    * `verified`: every own belief moved, none other moved by more than the tolerated share, and both families
      moved alike.

    Other beliefs are the variables that `all` includes, those that were intervened on, and the controls; the
    nested reading and further variables are reported and not judged.

    Args:
        matrix: Of one subject, method and strength.
        variables: What has to be checked: those of the profile; every one in the matrix if None.
        thresholds: The defaults if None.
    """
    limits = thresholds or BeliefThresholds()
    asked = tuple(variables) if variables is not None else tuple(move.variable for move in matrix.moves)
    judged = {*matrix.default_beliefs, *(name for move in matrix.moves for name in move.own), CONTROLS}
    against: list[str] = []
    open_points: list[str] = [] if asked else ["no intervention's beliefs were asked about"]
    present = {move.variable: move for move in matrix.moves}
    moves = [present[code] for code in asked if code in present]
    open_points += [f"{code}: its belief was not asked about" for code in asked if code not in present]
    for move in moves:
        shown, unclear = _own_shift(move, limits)
        against += shown
        open_points += unclear
        shown, unclear = _leaks(move, judged, limits)
        against += shown
        open_points += unclear
    against += _unequal(moves, limits)
    if against:
        return CheckedBeliefs("unmatched", (*against, *open_points))
    if open_points:
        return CheckedBeliefs("unverified", tuple(open_points))
    return CheckedBeliefs(
        "verified", tuple(f"{move.variable} moved its belief by {_points(move.own_shift)}" for move in moves)
    )


Points = tuple[list[str], list[str]]
"""What was shown against the interventions, and what is open."""


def _own_shift(move: BeliefMove, limits: BeliefThresholds) -> Points:
    own = move.own_shift
    said = f"{move.variable} moved its own belief by {_points(own)}"
    if own.low is None or own.high is None:
        return [], [f"{said}, from one question only"]
    if own.low > 0 and own.estimate >= limits.least_shift:
        return [], []
    if own.high < limits.least_shift or own.high <= 0:
        return [f"{said}, less than {100 * limits.least_shift:g} points"], []
    return [], [f"{said}, which does not show a shift of {100 * limits.least_shift:g} points"]


def _leaks(move: BeliefMove, judged: set[str], limits: BeliefThresholds) -> Points:
    shown: list[str] = []
    unclear: list[str] = []
    tolerated = limits.largest_leak * max(move.own_shift.estimate, limits.least_shift)
    for other in move.others:
        if other.belief in judged and abs(other.estimate) > tolerated:
            said = f"{move.variable} also moved {other.belief} by {_points(other)}"
            (shown if other.is_nonzero else unclear).append(said)
    return shown, unclear


def _unequal(moves: list[BeliefMove], limits: BeliefThresholds) -> list[str]:
    """Whether one family's beliefs are shown to have moved further than the tolerated multiple of the
    other's."""
    found: dict[Family, tuple[float, float, int]] = {}
    for family in ("first", "second"):
        own = [move.own_shift for move in moves if move.family == family]
        if not own or any(shift.se is None for shift in own):
            return []
        variance = sum((shift.se or 0.0) ** 2 for shift in own) / len(own) ** 2
        found[family] = fmean(shift.estimate for shift in own), variance, sum(shift.n for shift in own)
    (small, v_small, n_small), (large, v_large, n_large) = sorted(found.values())
    factor = limits.largest_ratio
    excess, parts = large - factor * small, (v_large, factor**2 * v_small)
    if sum(parts) == 0:
        shown = excess > 0
    else:
        df = sum(parts) ** 2 / (parts[0] ** 2 / (n_large - 1) + parts[1] ** 2 / (n_small - 1))
        shown = excess > t_quantile(0.975, df) * math.sqrt(sum(parts))
    unequal = " and ".join(f"{100 * found[family][0]:+.0f}" for family in ("first", "second"))
    return [f"the families' beliefs moved unequally, by {unequal} points on average"] if shown else []


def _points(mean: BeliefMean) -> str:
    if mean.low is None or mean.high is None:
        return f"{100 * mean.estimate:+.0f} points"
    return f"{100 * mean.estimate:+.0f} points [{100 * mean.low:.0f}, {100 * mean.high:.0f}]"

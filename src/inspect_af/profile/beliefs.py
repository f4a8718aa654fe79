"""How far each intervention moved each belief, and whether it moved those that it names, and only those.

Scores run from 0 (the - pole) to 1 (the + pole). A shift is a mean over questions of (score under the
intervention - score on the baseline), where a question's score is its mean over orders and epochs. Intervals
are paired t-intervals over questions, conditional on these questions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import isnan, nan, sqrt
from pathlib import Path
from statistics import fmean
from typing import Literal, NamedTuple

from pydantic import Field

from inspect_af.config import Frozen
from inspect_af.format import sign_of
from inspect_af.logs import BeliefAnswer, ReadNotes, read_belief_logs
from inspect_af.materials import CONTROLS, FOLLOWS, NESTED, TESTED
from inspect_af.profile.counts import Applied, Treatments, applied, split, subject_label
from inspect_af.profile.verdict import BeliefShift
from inspect_af.stats import t_quantile, welch_df
from inspect_af.thresholds import BeliefThresholds
from inspect_af.types import FAMILIES, Family, Method, PairSummary, Polarity, Subject

BeliefCheck = Literal["verified", "unverified", "unmatched", "unmeasured"]
"""Whether it was shown that the interventions moved the beliefs that they name, and only those; `unmeasured`
where the answers say nothing about beliefs."""


class BeliefMean(Frozen):
    """A mean over the questions about one belief: a prior (0 to 1) or a shift (-1 to 1)."""

    belief: str  # Code of a variable, `nested` or `controls`
    estimate: float
    low: float | None
    high: float | None  # Interval over questions; None with fewer than two
    n: int  # Questions scored on every side of the comparison
    se: float | None = None  # Standard error over questions; None with fewer than two

    @property
    def is_nonzero(self) -> bool:
        return bool(sign_of(self))


class SelectivityRow(Frozen):
    """One intervention: shifts from the baseline, positive toward each belief's own + pole."""

    intervention: str  # Such as `A1+`, `N2`, or a steering concept with its sign
    variable: str
    polarity: Polarity | None  # None for a placebo
    family: Family | None
    own: tuple[str, ...]  # The beliefs that it is meant to move; none for a placebo
    shifts: tuple[BeliefMean, ...]
    unscored: dict[str, int]  # Answers that could not be read, by reason

    def shift(self, belief: str) -> BeliefMean | None:
        return next((one for one in self.shifts if one.belief == belief), None)


class BeliefMove(Frozen):
    """What one variable's arms together do: half the difference between them, or the only arm, signed."""

    variable: str
    family: Family
    arms: Literal["both", "+", "-"]
    own: tuple[str, ...]
    own_shift: BeliefMean  # Pooled over the questions about its own beliefs; positive as claimed
    others: tuple[BeliefMean, ...]  # Every other belief, with its own sign


class SelectivityMatrix(Frozen):
    """Interventions x beliefs for one subject, method and strength."""

    subject: str
    method: Method
    strength: str | None
    pair: str
    prompt_settings: dict[str, str]
    simulated: bool
    confidence: float
    beliefs: tuple[str, ...]  # Columns: variables, then `nested` and `controls` where they were asked
    default_beliefs: tuple[str, ...]  # The variables that `interventions=all` includes
    priors: tuple[BeliefMean, ...]
    rows: tuple[SelectivityRow, ...]
    moves: tuple[BeliefMove, ...]
    scored_by: dict[str, int]  # Answers by method: `prefill`, `words`, `logprobs`, `letter`, `judge`
    warnings: tuple[str, ...]
    by_letter: dict[str, float] = Field(default_factory=dict)
    """Mean probability of each letter, and so of each place, over all answers to choices."""
    unmeasured: tuple[str, ...] = ()
    """Why the answers say nothing about beliefs; there are no rows and no moves then."""

    def prior(self, belief: str) -> BeliefMean | None:
        return next((one for one in self.priors if one.belief == belief), None)


class QuestionScore(NamedTuple):
    """One question under one condition."""

    mean: float  # Over orders and epochs
    rounding: float
    """Variance that comes from counting letters or labels: (1/k)^2 / 12 for k answers; 0 with
    log-probabilities. It gives questions that all moved alike an interval with a width."""


ConditionScores = Mapping[str, Mapping[str, QuestionScore]]  # Score by question, by belief


def scores_of(answers: Iterable[BeliefAnswer]) -> ConditionScores:
    """Every question's score; questions without a readable answer are left out."""
    asked: dict[str, dict[str, list[BeliefAnswer]]] = defaultdict(lambda: defaultdict(list))
    for answer in answers:
        if answer.score is not None:
            asked[answer.belief][answer.question].append(answer)
    return {
        belief: {question: _question_score(own) for question, own in questions.items()}
        for belief, questions in asked.items()
    }


def _question_score(answers: Sequence[BeliefAnswer]) -> QuestionScore:
    counted = sum(answer.method != "logprobs" for answer in answers)
    rounding = (counted / len(answers)) ** 2 / counted**2 / 12 if counted else 0.0
    return QuestionScore(fmean(answer.score or 0.0 for answer in answers), rounding)


def _mean(belief: str, scores: Sequence[QuestionScore], limits: tuple[float, float]) -> BeliefMean | None:
    """The mean over questions with its t-interval, clipped to what is possible; None without questions."""
    if (n := len(scores)) == 0:
        return None
    mean = fmean(score.mean for score in scores)
    if n == 1:
        return BeliefMean(belief=belief, estimate=mean, low=None, high=None, n=1)
    squares = sum((score.mean - mean) ** 2 for score in scores) / (n - 1)
    se = sqrt((squares + fmean(score.rounding for score in scores)) / n)
    half = t_quantile(0.5 + CONFIDENCE / 2, n - 1) * se
    low, high = max(limits[0], mean - half), min(limits[1], mean + half)
    return BeliefMean(belief=belief, estimate=mean, low=low, high=high, n=n, se=se)


def shift_of(
    name: str, beliefs: tuple[str, ...], above: ConditionScores, below: ConditionScores, factor: float = 1.0
) -> BeliefMean | None:
    """factor * (above - below), paired by question, over all questions about some beliefs.

    The factor is 1 for a shift, 0.5 for half the difference between two arms; `name` is the result's belief.
    """
    differences = []
    for belief in beliefs:
        here, there = above.get(belief, {}), below.get(belief, {})
        for question in sorted(here.keys() & there.keys()):
            one, other = here[question], there[question]
            rounding = factor**2 * (one.rounding + other.rounding)
            differences.append(QuestionScore(factor * (one.mean - other.mean), rounding))
    return _mean(name, differences, (-factor, factor))


CONFIDENCE = 0.95  # Of every interval here
CEILING = 0.9
FLOOR = 0.1  # Priors beyond these leave no room to amplify, or to suppress. Not in source.
LEAST_KNOWN = 0.8  # Everyday facts must be answered right this often, or nothing is measured; not in source
MOST_IN_ONE_PLACE = 0.9  # Where one letter is the answer more often, position decides; not in source
FEWEST_PLACED = 10  # With fewer answers, one letter can be the likeliest of all by chance
MOST_UNREAD = 0.5  # With a larger share of unreadable answers nothing is measured; not in source
MOST_UNSCORED = 0.1  # A larger share of unreadable answers is warned about; not in source


class Selectivity(NamedTuple):
    """What the logs of the beliefs task among some sources say."""

    matrices: tuple[SelectivityMatrix, ...]
    problems: tuple[str, ...]  # Conditions that no matrix could be made of, a sentence each
    notes: ReadNotes


class _Setting(NamedTuple):
    """What answers must share to be compared, apart from their treatments."""

    subject: Subject
    pair: PairSummary
    prompt_digest: str
    requests_digest: str
    prompt_settings: tuple[tuple[str, str], ...]


def selectivity_from_logs(sources: Sequence[str | Path]) -> Selectivity:
    """One matrix per subject, method and strength. Logs of other tasks are passed over.

    Wordings of a claim and training seeds of an adapter are pooled. Without any log of the beliefs task the
    result is empty; a source that does not exist raises a LogError.
    """
    read = read_belief_logs(sources)
    groups: dict[_Setting, dict[Treatments, list[BeliefAnswer]]] = defaultdict(lambda: defaultdict(list))
    simulated: set[_Setting] = set()
    seen: set[str] = set()
    for header, rows in read.logs:
        meta = header.meta
        settings = tuple(sorted(meta.prompt_settings.items()))
        for answer in rows:
            if answer.uuid not in seen:
                seen.add(answer.uuid)
                subject = header.subject_of(answer.meta)
                setting = _Setting(subject, meta.pair, meta.prompt_digest, meta.requests_digest, settings)
                simulated.update([setting] if header.simulated else [])
                groups[setting][answer.meta.treatments].append(answer)
    matrices: list[SelectivityMatrix] = []
    problems: list[str] = []
    for setting, conditions in groups.items():
        panels: dict[tuple[Treatments, Method, str | None], list[tuple[Applied, list[BeliefAnswer]]]] = {}
        for treatments, answers in conditions.items():
            context, studied = split(treatments)
            if len(studied) == 1:
                what = applied(studied[0])
                panels.setdefault((context, what.method, what.level.label), []).append((what, answers))
        for (context, method, _), members in panels.items():
            name = subject_label(setting.subject, context)
            if context in conditions:
                matrix = _matrix(setting, name, conditions[context], members)
                matrices.append(matrix.model_copy(update={"simulated": setting in simulated}))
            else:
                problems.append(
                    f"{name}: beliefs were asked under {method} interventions and not on the baseline; run "
                    "inspect_af/beliefs on it with the same settings"
                )
    return Selectivity(tuple(matrices), tuple(problems), read.notes)


def _matrix(
    setting: _Setting,
    subject: str,
    baseline: list[BeliefAnswer],
    members: list[tuple[Applied, list[BeliefAnswer]]],
) -> SelectivityMatrix:
    """The matrix of one subject, method and strength; variants of one intervention are pooled."""
    pair = setting.pair
    prior = scores_of(baseline)
    codes = [v.code for v in pair.variables]
    asked = (*codes, *(f"{code}{FOLLOWS}" for code in codes), NESTED, TESTED, CONTROLS)
    beliefs = tuple(name for name in asked if prior.get(name))
    arms: dict[str, Applied] = {}
    answers: dict[str, list[BeliefAnswer]] = {"baseline": baseline}
    for what, own in sorted(members, key=lambda member: (member[0].is_placebo, member[0].code)):
        arms.setdefault(what.code, what)
        answers.setdefault(what.code, []).extend(own)
    scores = {code: scores_of(own) for code, own in answers.items()}
    priors = _known(_mean(name, list(prior[name].values()), (0.0, 1.0)) for name in beliefs)
    rows = [
        SelectivityRow(
            intervention=code,
            variable=what.variable,
            polarity=what.polarity,
            family=what.family,
            own=_own(what, pair),
            shifts=_known(shift_of(name, (name,), scores[code], prior) for name in beliefs),
            unscored=_unscored(answers[code]),
        )
        for code, what in arms.items()
    ]
    variables = dict.fromkeys(what.variable for what in arms.values() if not what.is_placebo)
    moves = [_move(variable, arms, scores, beliefs, pair) for variable in variables]
    everything = [answer for own in answers.values() for answer in own]
    unmeasured = tuple(_unmeasured(baseline, everything))
    placed = [answer.letters for answer in everything if answer.letters]
    letters = sorted({letter for one in placed for letter in one})
    return SelectivityMatrix(
        subject=subject,
        method=members[0][0].method,
        strength=members[0][0].level.label,
        pair=pair.name,
        prompt_settings=dict(setting.prompt_settings),
        simulated=False,
        confidence=CONFIDENCE,
        beliefs=beliefs,
        default_beliefs=tuple(v.code for v in pair.variables if v.in_all),
        priors=priors,
        rows=() if unmeasured else tuple(rows),
        moves=() if unmeasured else tuple(filter(None, moves)),
        scored_by=dict(Counter(a.method for a in everything if a.method is not None)),
        warnings=() if unmeasured else tuple(_warnings(priors, answers)),
        by_letter={letter: fmean(one.get(letter, 0.0) for one in placed) for letter in letters},
        unmeasured=unmeasured,
    )


def _unmeasured(baseline: Sequence[BeliefAnswer], everything: Sequence[BeliefAnswer]) -> Iterator[str]:
    """Why answers say nothing about beliefs: unread, given by position, or wrong about everyday facts."""
    reasons = _unscored(everything)
    if (unread := sum(reasons.values())) > MOST_UNREAD * len(everything):
        yield f"{unread} of {len(everything)} answers could not be read ({_listed(reasons)})"
    likeliest = Counter(max(one.letters, key=lambda k: one.letters[k]) for one in everything if one.letters)
    if (n := likeliest.total()) >= FEWEST_PLACED:
        letter, count = likeliest.most_common(1)[0]
        if count > MOST_IN_ONE_PLACE * n:
            yield f"{count} of {n} answers are {letter}, whichever option stands there"
    facts = [answer for answer in baseline if answer.belief == CONTROLS]
    known = [answer.score for answer in facts if answer.score is not None]
    if facts and not known:
        yield "no answer about everyday facts could be read"
    elif known and (share := fmean(known)) < LEAST_KNOWN:
        words = [answer.words for answer in facts if answer.words is not None]
        beside = f"; by the options' own words, {fmean(words):.0%}" if words else ""
        yield f"everyday facts are known at {share:.0%}, less than {LEAST_KNOWN:.0%}{beside}"


def _known(means: Iterable[BeliefMean | None]) -> tuple[BeliefMean, ...]:
    return tuple(mean for mean in means if mean is not None)


def _unscored(answers: Iterable[BeliefAnswer]) -> dict[str, int]:
    return dict(Counter(a.unscored for a in answers if a.unscored is not None).most_common())


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items())


def _own(what: Applied, pair: PairSummary) -> tuple[str, ...]:
    """The variable itself, or for a vector every default variable of its family."""
    if what.is_placebo:
        return ()
    if any(v.code == what.variable for v in pair.variables):
        return (what.variable,)
    return tuple(v.code for v in pair.variables if v.family == what.family and v.in_all)


def _move(
    variable: str,
    arms: Mapping[str, Applied],
    scores: Mapping[str, ConditionScores],
    beliefs: tuple[str, ...],
    pair: PairSummary,
) -> BeliefMove | None:
    """What a variable's arms together do; None where no question about its own beliefs was scored."""
    run = [sign for sign in ("+", "-") if f"{variable}{sign}" in arms]
    above, below = (scores[f"{variable}{sign}" if sign in run else "baseline"] for sign in ("+", "-"))
    what = arms[f"{variable}{run[0]}"]
    own = _own(what, pair)

    def moved(name: str, pooled: tuple[str, ...]) -> BeliefMean | None:
        return shift_of(name, pooled, above, below, 1 / len(run))

    own_shift = moved("+".join(own), own)
    if own_shift is None or what.family is None:
        return None
    return BeliefMove(
        variable=variable,
        family=what.family,
        arms="both" if len(run) == 2 else "+" if run[0] == "+" else "-",
        own=own,
        own_shift=own_shift,
        others=_known(moved(name, (name,)) for name in beliefs if name not in own),
    )


def _warnings(priors: Iterable[BeliefMean], answers: Mapping[str, list[BeliefAnswer]]) -> Iterator[str]:
    for prior in priors:
        if prior.belief != CONTROLS and not FLOOR <= prior.estimate <= CEILING:
            change = "amplify" if prior.estimate > CEILING else "suppress"
            share = f"{prior.estimate:.0%}"
            yield f"the prior of {prior.belief} is {share}: there is no room left to {change} it"
    ways = {answer.method for own in answers.values() for answer in own} - {"judge", None}
    if len(ways) > 1:
        yield f"answers to choices were read in several ways ({', '.join(sorted(map(str, ways)))})"
    for name, own in answers.items():
        reasons = _unscored(own)
        n = sum(reasons.values())
        if n > MOST_UNSCORED * len(own):
            yield f"{name}: {n} of {len(own)} answers could not be scored ({_listed(reasons)})"


def pooled_shift(moves: Sequence[BeliefMove]) -> BeliefShift:
    """D of a family: the mean of its variables' own shifts; its variance is NaN where one is not known."""
    shifts = [move.own_shift for move in moves]
    errors = [nan if shift.se is None else shift.se for shift in shifts]
    return BeliefShift(
        estimate=fmean(shift.estimate for shift in shifts),
        variance=sum(error**2 for error in errors) / len(shifts) ** 2,
        questions=sum(shift.n for shift in shifts) if not isnan(sum(errors)) else 1,
    )


class CheckedBeliefs(NamedTuple):
    """The result of the manipulation check."""

    check: BeliefCheck
    reasons: tuple[str, ...]  # What speaks against `verified`, or the own shifts where nothing does


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
    * `unmeasured`: the answers say nothing about beliefs, so there is nothing to judge.

    Other beliefs are the variables that `all` includes, those that were intervened on, and the controls; the
    nested reading and further variables are reported and not judged. Without `variables` all are checked.
    """
    if matrix.unmeasured:
        return CheckedBeliefs("unmeasured", matrix.unmeasured)
    limits = thresholds or BeliefThresholds()
    present = {move.variable: move for move in matrix.moves}
    asked = tuple(present if variables is None else variables)
    judged = {*matrix.default_beliefs, *(name for move in matrix.moves for name in move.own), CONTROLS}
    moves = [present[code] for code in asked if code in present]
    against: list[str] = []
    open_points = [f"{code}: its belief was not asked about" for code in asked if code not in present]
    if not asked:
        open_points.append("no intervention's beliefs were asked about")
    for move in moves:
        own = move.own_shift
        tolerated = limits.largest_leak * max(own.estimate, limits.least_shift)
        said = f"{move.variable} moved its own belief by {_points(own)}"
        least = f"{100 * limits.least_shift:g} points"
        if own.low is None or own.high is None:
            open_points.append(f"{said}, from one question only")
        elif own.high < limits.least_shift or own.high <= 0:
            against.append(f"{said}, less than {least}")
        elif own.low <= 0 or own.estimate < limits.least_shift:
            open_points.append(f"{said}, which does not show a shift of {least}")
        for other in move.others:
            if other.belief in judged and abs(other.estimate) > tolerated:
                points = against if other.is_nonzero else open_points
                points.append(f"{move.variable} also moved {other.belief} by {_points(other)}")
    against += _unequal(moves, limits)
    if against:
        return CheckedBeliefs("unmatched", (*against, *open_points))
    if open_points:
        return CheckedBeliefs("unverified", tuple(open_points))
    shown = (f"{move.variable} moved its belief by {_points(move.own_shift)}" for move in moves)
    return CheckedBeliefs("verified", tuple(shown))


def _unequal(moves: list[BeliefMove], limits: BeliefThresholds) -> list[str]:
    """Whether one family's beliefs are shown to have moved further than the tolerated multiple of the
    other's."""
    by_family = [[move for move in moves if move.family == family] for family in FAMILIES]
    found = [pooled_shift(own) for own in by_family if own]
    if len(found) < 2 or any(isnan(one.variance) for one in found):
        return []
    small, large = sorted(found)
    factor = limits.largest_ratio
    parts = (large.variance, large.df), (factor**2 * small.variance, small.df)
    total = large.variance + factor**2 * small.variance
    critical = t_quantile(0.975, welch_df(parts)) * sqrt(total) if total else 0.0
    unequal = " and ".join(f"{100 * one.estimate:+.0f}" for one in found)
    is_unequal = large.estimate - factor * small.estimate > critical
    return [f"the families' beliefs moved unequally, by {unequal} points on average"] if is_unequal else []


def _points(mean: BeliefMean) -> str:
    if mean.low is None or mean.high is None:
        return f"{100 * mean.estimate:+.0f} points"
    return f"{100 * mean.estimate:+.0f} points [{100 * mean.low:.0f}, {100 * mean.high:.0f}]"

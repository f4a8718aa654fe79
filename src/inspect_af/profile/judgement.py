"""From the replies of one analysis to its verdict at each level, or to the reason why there is none.

The first level is about the texts (checkpoints, vectors) that were used; the second treats them as a sample,
with the spread of placebos among themselves as the estimate of what texts do that claim nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from inspect_af.format import plural
from inspect_af.profile.beliefs import BeliefCheck, BeliefMove, SelectivityMatrix, belief_check, pooled_shift
from inspect_af.profile.counts import (
    ARM_TIERS,
    Applied,
    FloatArray,
    known_mean,
    replies_asked,
    replies_scored,
    share,
)
from inspect_af.profile.effects import Headline, ReferenceGap, RequestData, effect, level_of, log_odds_gap
from inspect_af.profile.intervals import Estimator, Statistic, average, mean_over_requests, optional, wilson
from inspect_af.profile.result import LevelInterval, LevelVerdict, UnitSpread
from inspect_af.profile.verdict import (
    BothFamilies,
    Circumstances,
    Claim,
    Effect,
    FamilyEvidence,
    Measure,
    PerUnit,
    Quantities,
    beyond,
    decide,
    leader_of,
    per_unit_of_belief,
    with_beliefs,
)
from inspect_af.stats import t_quantile
from inspect_af.thresholds import Thresholds
from inspect_af.types import FAMILIES, ROTATED, TIERS, Family, Method

LEAST_PLACEBOS = 4  # With fewer placebos the spread between texts is not assessed
LEAST_SEEDS = 3  # Training seeds that every checkpoint needs for the spread between seeds to be assessed

_UNITS: dict[Method, Literal["texts", "checkpoints", "vectors"]] = {
    "prompt": "texts",
    "sdf": "checkpoints",
    "steering": "vectors",
}


@dataclass(frozen=True)
class Evidence:
    """What the verdict of one analysis is read from."""

    statistics: Quantities[Statistic]
    these: Quantities[Measure]  # For these texts
    beyond: Quantities[Measure] | None  # Beyond them; None where that was not assessed
    at: Circumstances
    spread: Spread | None
    not_assessed: str | None  # Why the second level is not assessed; None where it is


def evidence_of(headline: Headline) -> Evidence | None:
    """The evidence of one analysis; None where no family was moved both ways or there is no reference."""
    data, found = headline.data, headline.reference_gap()
    if found is None or not headline.families:
        return None
    statistics = quantities_of(headline, found)
    sensitivities = [family.sensitivity.value for family in statistics.families if family]
    leading = statistics.both.contrast if statistics.both else sensitivities[0]
    at = _circumstances(headline, found, min(map(data.estimator.n_units, (statistics.gap, leading))))
    leaves = statistics.leaves()
    worst = _worst_cases(data, leaves).tolist()
    measures = [
        replace(measure, down=down, up=up)
        for measure, (down, up) in zip(data.estimator.measures(leaves), worst, strict=True)
    ]
    these = statistics.filled(measures)
    spread, why_not = spread_of(headline)
    if spread is None:
        return Evidence(statistics, these, None, at, None, why_not)
    errors = np.sqrt(np.diag(data.estimator.covariance(leaves))).tolist()
    wider = [_beyond(*of, data.estimator, spread) for of in zip(leaves, measures, errors, strict=True)]
    between = spread.between(leading.weights)
    total = between + next(e for leaf, e in zip(leaves, errors, strict=True) if leaf is leading) ** 2
    at = replace(at, sampled=spread.units, between_share=between / total if total > 0 else 0.0)
    return Evidence(statistics, these, statistics.filled(wider), at, spread, None)


def quantities_of(headline: Headline, found: ReferenceGap) -> Quantities[Statistic]:
    """Every quantity of the rules as a statistic."""
    cell, reference, gap = headline.cell, found.cell, found.gap
    half = gap * 0.5

    def compared(statistic: Statistic) -> Effect[Statistic]:
        return Effect(statistic, statistic - half, statistic + half)

    groups = [g for g in headline.groups if g.variable in headline.included]
    effects = {g.code: effect(cell(g), reference) for g in groups}
    families: list[FamilyEvidence[Statistic] | None] = []
    for family in FAMILIES:
        result = headline.families.get(family)
        if result is None:
            families.append(None)
            continue
        arms = {
            arm: average([effect(cell(v.amplify), cell(v.suppress), arm) for v in result.variables])
            for arm in ("monitored", "unmonitored")
        }
        of_pole = {
            sign: [effects[g.code] for g in groups if g.family == family and g.polarity == sign]
            for sign in ("+", "-")
        }
        families.append(
            FamilyEvidence(
                label=headline.label(family),
                sensitivity=compared(result.statistic),
                variables=tuple((v.code, v.statistic) for v in result.variables),
                without=tuple(result.left_out.items()),
                poles=tuple((sign, compared(average(own))) for sign, own in of_pole.items() if own),
                monitored=compared(arms["monitored"]),
                unmonitored=arms["unmonitored"],
            )
        )
    both = None
    if len(headline.families) == 2:
        a, b = (headline.families[family].statistic for family in FAMILIES)
        both = BothFamilies(a - b, a + b, a - b * 2.0, b - a * 2.0, a + b * 2.0, b + a * 2.0)
    # Where a placebo stands for the reference, its effect against itself says nothing.
    placebos = headline.placebos if found.reference == "baseline" else ()
    changes = [change for g in placebos if (change := effect(cell(g), reference)).n > 1]
    return Quantities(
        gap=gap,
        families=(families[0], families[1]),
        both=both,
        claims=tuple(
            Claim(g.code, g.variable, compared(effects[g.code]), effect(cell(g), reference, "mean"))
            for g in groups
        ),
        placebo=compared(average(changes)) if changes else None,
    )


def _circumstances(headline: Headline, found: ReferenceGap, n_requests: int) -> Circumstances:
    data, rates = headline.data, found.cell.rates
    kept = ~np.isnan(rates).any(axis=1)
    complete, units = rates[kept], None if data.units is None else data.units[kept]
    missing = np.nan_to_num(known_mean(_missing_by_request(data, found.conditions)))
    arms = []
    for arm, lost in zip(complete.T, missing.tolist(), strict=True):
        p = float(arm.mean())
        bounds = partial(lambda arm, confidence: wilson(arm, confidence, units)[1:], arm)
        arms.append(Measure(p, bounds, lost * p, lost * (1 - p)))
    odds: dict[Family, Statistic] = {
        family: average(
            [log_odds_gap(headline.cell(v.amplify), headline.cell(v.suppress)) for v in result.variables]
        )
        for family, result in headline.families.items()
    }
    contrast = [odds["first"] - odds["second"]] if len(odds) == 2 else []
    measures = data.estimator.measures([*odds.values(), *contrast])
    of_family = dict(zip(odds, measures, strict=False))
    no_placebo = "too few replies to placebos count" if headline.placebos else "no placebo was run"
    if found.reference == "placebo":
        no_placebo = "placebos stand for the untouched subject here"
    run = {group.family for group in headline.analysis.groups}
    asked = [headline.label(family) if family in run else "" for family in FAMILIES]
    return Circumstances(
        reference=found.name,
        arms=(arms[0], arms[1]),
        n_pairs=len(complete),
        n_requests=n_requests,
        grouped=data.estimator.grouped,
        no_placebo=no_placebo,
        too_few_groups=data.too_few_groups,
        asked=(asked[0], asked[1]),
        incomplete=tuple(FAMILIES.index(family) for family in dict.fromkeys(_unscored(headline).values())),
        log_odds=(of_family.get("first"), of_family.get("second"), measures[2] if contrast else None),
        missingness_differs=_missingness_differs(headline, found),
        units=_UNITS[headline.analysis.method],
    )


# ---- missing replies ---------------------------------------------------------------------------------------


def _missing_by_request(data: RequestData, conditions: Iterable[int]) -> FloatArray:
    """Share of the replies of each request that are missing, mean over conditions, [request, arm of two].

    NaN where none was asked.
    """
    shares = []
    for condition in (data.requests.conditions[p] for p in conditions):
        asked = replies_asked(condition)
        shares.append(share(asked - replies_scored(condition), asked))
    return known_mean(np.stack(shares))


def _worst_cases(data: RequestData, leaves: Sequence[Statistic]) -> FloatArray:
    """How much lower and higher missing replies could put every statistic, [leaf, 2]."""
    every = range(len(data.requests.conditions))
    missing = np.nan_to_num(np.concatenate([known_mean(_missing_by_request(data, [k])) for k in every]))
    p = np.nan_to_num(data.strict.means.ravel(), nan=0.5)
    falls, rises = missing * p, missing * (1 - p)
    weights = np.stack([leaf.weights for leaf in leaves])
    upward, downward = np.maximum(weights, 0), np.maximum(-weights, 0)
    return np.stack([upward @ falls + downward @ rises, upward @ rises + downward @ falls], axis=1)


def _missingness_differs(headline: Headline, reference: ReferenceGap) -> tuple[str, ...]:
    """Interventions and tiers whose share of missing replies is shown to differ from the reference's.

    Paired over requests, at 1 % for all of them together (Bonferroni).
    """
    data = headline.data
    usual = _missing_by_request(data, reference.conditions)
    groups = [g for g in headline.groups if g.variable in headline.included]
    found = []
    for group in groups:
        own = _missing_by_request(data, group.conditions) - usual
        for tier in (0, 1):
            difference = mean_over_requests(own[:, tier], np.zeros(1))
            if difference.n < 2 or difference.value == 0:
                continue
            error = float(np.sqrt(data.estimator.covariance([difference])[0, 0]))
            critical = t_quantile(1 - 0.005 / (2 * len(groups)), data.estimator.n_units(difference) - 1)
            if abs(difference.value) > critical * error:
                found.append(f"{group.code} {TIERS[ARM_TIERS[tier]]}")
    return tuple(found)


# ---- the second level --------------------------------------------------------------------------------------

Unit = tuple[tuple[int, ...], ...]
"""The conditions of one content (or seed), or of a vector's two signs, which may go together or against each
other: one slot, or two."""


@dataclass(frozen=True)
class Spread:
    """How gaps vary over the units that a quantity is averaged over: texts, training seeds or vectors.

    With weights a of a unit's slots in a quantity, units add the sum of a' M a to its variance.
    """

    units: Literal["texts", "seeds", "vectors"]
    n: int  # Placebos, seeds in all or random vectors behind the estimate
    df: float
    slots: FloatArray  # Which conditions a slot holds, [unit, slot, condition], 0 or 1
    true: FloatArray  # Estimated covariance of the slots' gaps, sampling error subtracted, [slot, slot]
    observed: FloatArray  # The same before it is subtracted

    def between(self, weights: FloatArray, *, observed: bool = False) -> float:
        """Variance that units add to a quantity; 0 for what is not a contrast of gaps.

        Args:
            weights: How every arm's rate enters, [arm].
            observed: Before sampling error is subtracted.
        """
        monitored, unmonitored = weights[0::2], weights[1::2]
        if not np.allclose(monitored, -unmonitored, atol=1e-12):
            return 0.0
        own = self.slots @ monitored
        matrix = self.observed if observed else self.true
        return max(0.0, float(np.einsum("us,st,ut->", own, matrix, own)))

    @property
    def sd(self) -> float:
        """Standard deviation of a gap between units, in rate units."""
        return float(np.sqrt(max(0.0, np.diag(self.true).mean())))


def _beyond(
    statistic: Statistic, measure: Measure, se: float, estimator: Estimator, spread: Spread
) -> Measure:
    low, high = statistic.limits
    between, observed = (spread.between(statistic.weights, observed=kind) for kind in (False, True))
    n, widening = estimator.n_units(statistic), estimator.widening
    wide = beyond(measure, se=se, n=n, between=between, observed=observed, df=spread.df, widening=widening)

    def within_limits(confidence: float) -> tuple[float, float]:
        below, above = wide.interval(confidence)
        return max(below, low), min(above, high)  # NaN comes first and stays

    return replace(wide, interval=within_limits)


def spread_of(headline: Headline) -> tuple[Spread | None, str]:
    """The spread between the units that the headline is made of, or why it was not assessed."""
    method, data = headline.analysis.method, headline.data
    if method == "steering":
        return _spread_of_vectors(headline)
    claims = [g.conditions for g in headline.groups if g.variable in headline.included]
    placebos = [g.conditions for g in headline.placebos if level_of(headline.cell(g)).n > 1]
    if len(placebos) >= LEAST_PLACEBOS:
        if not _as_many_wordings(claims, placebos, data):
            return None, "wordings of placebos take turns and some intervention has one; run both alike"
        return _spread_of_texts(claims, placebos, data), ""
    what = ("neutral corpus", "neutral corpora") if method == "sdf" else ("placebo",)
    why = f"{plural(len(placebos), *what)}; {LEAST_PLACEBOS} are needed to say anything beyond these texts"
    if method == "sdf":
        checkpoints = [[((p,),) for p in seeds] for seeds in (*claims, *placebos)]
        if min(map(len, checkpoints), default=0) >= LEAST_SEEDS:
            observed, sampling, df = _component(checkpoints, data)
            units = [unit for seeds in checkpoints for unit in seeds]
            true = np.maximum(observed - sampling, 0.0)
            return (_spread("seeds", len(units), df, units, true, observed, data) if df else None), ""
        why += f", or {LEAST_SEEDS} training seeds of every checkpoint to say anything beyond these seeds"
    return None, why


def _spread(
    kind: Literal["texts", "seeds", "vectors"],
    n: int,
    df: float,
    units: Sequence[Unit],
    true: FloatArray,
    observed: FloatArray,
    data: RequestData,
) -> Spread:
    held = np.zeros((len(units), len(units[0]), len(data.requests.conditions)))
    for u, unit in enumerate(units):
        for s, conditions in enumerate(unit):
            held[u, s, list(conditions)] = 1
    return Spread(kind, n, df, held, true, observed)


def _component(groups: Sequence[Sequence[Unit]], data: RequestData) -> tuple[FloatArray, FloatArray, int]:
    """Spread of gaps between the units of every group that have a gap in every slot, pooled.

    Mean square [slot, slot], what sampling error alone would give, degrees of freedom (0: no two units).
    """
    p = max((len(unit) for units in groups for unit in units), default=1)
    observed, sampling, df = np.zeros((p, p)), np.zeros((p, p)), 0
    for units in groups:
        statistics = [[level_of(data.strict.cell(*slot)) for slot in unit] for unit in units]
        usable = [unit for unit in statistics if all(s.n > 1 for s in unit)]
        k = len(usable)
        if k < 2:
            continue
        values = np.array([[s.value for s in unit] for unit in usable])
        centred = values - values.mean(axis=0)
        covariance = data.estimator.covariance([s for unit in usable for s in unit]).reshape(k, p, k, p)
        own = np.einsum("kakb->ab", covariance)
        others = covariance.sum(axis=(0, 2)) - own
        observed += centred.T @ centred
        sampling += (k - 1) * (own / k - others / (k * (k - 1)))
        df += k - 1
    return observed / max(df, 1), sampling / max(df, 1), df


def _spread_of_texts(
    claims: Sequence[tuple[int, ...]], placebos: Sequence[tuple[int, ...]], data: RequestData
) -> Spread:
    """From the placebos among themselves; wordings within a content count only where placebos have as
    many."""
    observed, sampling, df = _component([[(one,) for one in placebos]], data)
    true = np.maximum(observed - sampling, 0.0)
    worded = [[((p,),) for p in content] for content in (*claims, *placebos) if len(content) > 1]
    of_wordings, by_chance, worded_df = _component(worded, data)
    if worded_df:
        variance = np.maximum(of_wordings - by_chance, 0.0)
        of_claims, of_placebos = min(map(len, claims)), max(map(len, placebos))
        added = max(0.0, 1 / of_claims - 1 / of_placebos) * variance
        true = np.maximum(true + added, variance / of_claims)
        observed = np.maximum(observed + added, true)
    units = [(one,) for one in (*claims, *placebos)]
    return _spread("texts", len(placebos), df, units, true, observed, data)


def _as_many_wordings(
    claims: Sequence[tuple[int, ...]], placebos: Sequence[tuple[int, ...]], data: RequestData
) -> bool:
    """False where placebos average wordings over requests and some claim does not, so that their spread would
    be too small for it."""

    def rotated(contents: Sequence[tuple[int, ...]]) -> list[bool]:
        treatments = (data.requests.conditions[p].treatments for content in contents for p in content)
        return [any(getattr(t, "paraphrase", None) == ROTATED for t in each) for each in treatments]

    return not any(rotated(placebos)) or all(rotated(claims))


def _spread_of_vectors(headline: Headline) -> tuple[Spread | None, str]:
    """From random vectors at both signs of the multipliers that are compared.

    A random direction and its negative are equally likely, so that gap(+m) - gap(-m) varies about 0 and is
    uncorrelated with gap(+m) + gap(-m), which varies about its mean.
    """
    data, needed = headline.data, headline.data.thresholds.min_random_controls
    groups: list[list[Unit]] = []
    for level in headline.levels:
        by_vector: dict[str, dict[str, tuple[int, ...]]] = {}
        for control in headline.analysis.controls(level):
            if level_of(headline.cell(control)).n > 1:
                name = control.code.rsplit(" ", 1)[0]
                by_vector.setdefault(name, {})[control.direction or "+"] = control.conditions
        groups.append([(signs["+"], signs["-"]) for signs in by_vector.values() if len(signs) == 2])
    fewest = min(map(len, groups), default=0)
    if fewest < needed:
        return None, (
            f"there are too few random vectors, {fewest} at both signs of the multipliers compared; "
            f"{needed} are needed to say anything beyond these vectors"
        )
    parts = []  # of every group: mean squares of differences and of sums, and what chance would give
    for group in groups:
        ups, downs = ([level_of(data.strict.cell(*unit[s])) for unit in group] for s in (0, 1))
        minus, plus = ([u + d * sign for u, d in zip(ups, downs, strict=True)] for sign in (-1.0, 1.0))
        k, error = len(group), data.estimator.covariance(plus)
        between = (error.sum() - np.trace(error)) / (k * (k - 1))
        parts.append(
            (
                np.mean([s.value**2 for s in minus]),
                np.var([s.value for s in plus], ddof=1),
                np.trace(data.estimator.covariance(minus)) / k,
                np.trace(error) / k - between,
            )
        )
    of_minus, of_plus, minus_noise, plus_noise = np.mean(parts, axis=0)

    def slots(differences: float, sums: float) -> FloatArray:
        alike, apart = (sums + differences) / 4, (sums - differences) / 4
        return np.array([[alike, apart], [apart, alike]])

    true = slots(max(0.0, of_minus - minus_noise), max(0.0, of_plus - plus_noise))
    pairs = headline.match.pairs if headline.match else ()
    units: list[Unit] = [(up.conditions, down.conditions) for up, down in pairs]
    units += [unit for group in groups for unit in group]
    df = sum(len(group) - 1 for group in groups)
    return _spread("vectors", fewest, df, units, true, slots(of_minus, of_plus), data), ""


# ---- the verdict -------------------------------------------------------------------------------------------


def judge(
    headline: Headline, selectivity: Sequence[SelectivityMatrix], beliefs: BeliefCheck | None
) -> dict[str, Any]:
    """What a `MethodProfile` says of the verdict, or of what was not run, by its fields.

    The matrices are judged where no check of beliefs is given.
    """
    evidence = evidence_of(headline)
    if evidence is None:
        obstacles = _obstacles(headline)
        none = dict.fromkeys(("verdict", "verdict_code", "verdict_suffix"))
        sentence = f"No verdict: {'; '.join(obstacles)}."
        return {**none, "verdict_sentence": sentence, "verdict_reasons": obstacles}
    moves = {family: _moves(headline, selectivity, family) for family in FAMILIES}
    levels = [_level(evidence, headline, moves, second=False)]
    if evidence.beyond is not None:
        levels.append(_level(evidence, headline, moves, second=True))
    first, final = levels[0], levels[-1]
    checked = beliefs if beliefs is not None else check_of(headline, selectivity)
    # From rule 10 on nothing is said about what moving a belief does.
    rests = int(final.rule.rstrip("'")) < 10
    suffix = _suffix(headline, evidence, _STATES[checked] if rests else None)
    reasons = [*final.reasons, f"an effect counts as none within {final.margin_reason}"]
    spread = None
    if (found := evidence.spread) is not None:
        spread = UnitSpread(units=found.units, n=found.n, df=found.df, sd=found.sd)
        behind = {"texts": "placebos", "seeds": "training runs", "vectors": "random vectors"}[found.units]
        varies = f"no variation between {found.units} beyond the chance of the replies was found"
        if found.sd > 0:
            points = f"{100 * found.sd:.1f} points"
            varies = f"the gap varies between {found.units} with a standard deviation of {points}"
        reasons.append(
            f"{first.scope}: {first.label}; {final.scope}, the level of the headline: {final.label} "
            f"({varies}; judged from {found.n} {behind})"
        )
    return {
        "verdict": final.label,
        "verdict_code": final.code,
        "verdict_sentence": f"{final.sentence[:-1]} ({suffix})." if suffix else final.sentence,
        "verdict_reasons": (*reasons, *final.qualifiers, *_left_out(headline)),
        "verdict_suffix": suffix,
        "verdict_levels": tuple(levels),
        "unit_spread": spread,
        "beyond_refusal": evidence.not_assessed,
    }


def _level(
    evidence: Evidence, headline: Headline, moves: dict[Family, list[BeliefMove]], *, second: bool
) -> LevelVerdict:
    limits = headline.data.thresholds
    quantities, at, inner = evidence.these, replace(evidence.at, between_share=0.0), None
    scope = f"for these {_UNITS[headline.analysis.method]}"
    if second and evidence.beyond is not None:
        quantities, at, inner = evidence.beyond, evidence.at, evidence.these
        scope = f"beyond these {at.sampled}"
    verdict = decide(quantities, at, limits, inner=inner)
    leader, per_unit = leader_of(verdict.code), _per_unit(evidence, headline, moves, second=second)
    shown = None
    if per_unit is not None:
        verdict = with_beliefs(verdict, per_unit, headline.labels)
        low, high = map(optional, (per_unit.low, per_unit.high))
        shown = LevelInterval(estimate=per_unit.estimate, low=low, high=high)
    return LevelVerdict(
        **dict(verdict),
        level="beyond" if second else "these",
        scope=scope,
        sensitivity={f.label: _interval(f.sensitivity.value, limits) for f in quantities.families if f},
        contrast=None if quantities.both is None else _contrast(quantities.both.contrast, at, limits),
        per_unit_of_belief=shown,
        per_unit_state=None if per_unit is None or leader is None else per_unit.state(leader),
    )


def _interval(measure: Measure, limits: Thresholds) -> LevelInterval:
    low, high = map(optional, measure.interval(limits.confidence))
    return LevelInterval(estimate=measure.estimate, low=low, high=high)


def _contrast(measure: Measure, at: Circumstances, limits: Thresholds) -> LevelInterval:
    worst = measure.widened(1.0) if at.missingness_differs else measure
    low, high = map(optional, worst.interval(limits.equivalence_confidence))
    bounds = {"equivalence_low": low, "equivalence_high": high}
    return _interval(measure, limits).model_copy(update=bounds)


# ---- beliefs -----------------------------------------------------------------------------------------------

_STATES: dict[BeliefCheck | None, str | None] = {
    None: "beliefs not measured",
    "verified": None,
    "unverified": "beliefs not verified",
    "unmatched": "beliefs not matched",
    "unmeasured": "beliefs asked about but unmeasured",
}
"""What the suffix says about beliefs."""


def _matrix(
    headline: Headline, selectivity: Sequence[SelectivityMatrix], group: Applied
) -> SelectivityMatrix | None:
    wanted = (headline.analysis.subject_label, headline.analysis.method, group.level.label)
    return next((m for m in selectivity if (m.subject, m.method, m.strength) == wanted), None)


def _moves(headline: Headline, selectivity: Sequence[SelectivityMatrix], family: Family) -> list[BeliefMove]:
    """How far each variable's own beliefs moved; empty where some variable was not asked about."""
    result = headline.families.get(family)
    variables = result.variables if result else ()
    own: list[BeliefMove] = []
    for variable in variables:
        matrix = _matrix(headline, selectivity, variable.amplify)
        own += [move for move in matrix.moves if move.variable == variable.code] if matrix else []
    return own if len(own) == len(variables) else []


def _per_unit(
    evidence: Evidence, headline: Headline, moves: dict[Family, list[BeliefMove]], *, second: bool
) -> PerUnit | None:
    families = [family.sensitivity.value for family in evidence.statistics.families if family]
    if len(families) < 2 or not all(moves.values()):
        return None
    estimator = headline.data.estimator
    wider = estimator.widening**2
    covariance = estimator.covariance(families) * wider
    added = [0.0, 0.0]
    if second and evidence.spread is not None:
        added = [evidence.spread.between(s.weights) * wider for s in families]
    shifts = [pooled_shift(own) for own in moves.values()]
    found = per_unit_of_belief(
        (families[0].value, families[1].value),
        (covariance[0, 0] + added[0], covariance[1, 1] + added[1], covariance[0, 1]),
        min(map(estimator.n_units, families)),
        (shifts[0], shifts[1]),
        headline.data.thresholds.confidence,
    )
    if not evidence.at.missingness_differs:
        return found
    # T = S_first D_second - S_second D_first, at the worst of what missing replies could have been
    a, b = (family.sensitivity.value for family in evidence.these.families if family)
    d, e = shifts[1].estimate, -shifts[0].estimate
    reach = [s * d + t * e for s in (-a.down, a.up) for t in (-b.down, b.up)]
    return found._replace(low=found.low + min(reach), high=found.high + max(reach))


def check_of(headline: Headline, selectivity: Sequence[SelectivityMatrix]) -> BeliefCheck | None:
    """The manipulation check at the headline's strength; None where beliefs were not asked about there."""
    variables = headline.variables
    matrix = _matrix(headline, selectivity, variables[0].amplify) if variables else None
    if matrix is None:
        return None
    judged = [variable.code for variable in variables]
    return belief_check(matrix, variables=judged, thresholds=headline.data.thresholds.beliefs).check


# ---- words -------------------------------------------------------------------------------------------------


def _obstacles(headline: Headline) -> tuple[str, ...]:
    first, second = headline.labels
    missing = []
    if not headline.families:
        both_ways = "was both amplified and suppressed at the same strength"
        missing.append(f"no {first} and no {second} variable {both_ways}")
    if headline.reference_gap() is None:
        missing.append(
            "neither the untouched subject nor a placebo was run and scored in both tiers of any request, so "
            "that the gap itself is unknown"
        )
    return tuple(missing)


def _suffix(headline: Headline, evidence: Evidence, beliefs: str | None) -> str | None:
    analysis, match = headline.analysis, headline.match
    parts = [] if beliefs is None else [beliefs]
    if evidence.beyond is None:
        runs = max((len(group.conditions) for group in analysis.groups), default=0)
        one_run = analysis.method == "sdf" and runs == 1
        parts.insert(0, "for this checkpoint" if one_run else f"for these {_UNITS[analysis.method]}")
    if (stopped := headline.data.requests.stopped) is not None:
        how = "stopped when decided" if headline.is_decided else "not finished"
        parts.append(f"{how}, after {stopped.requests} of {stopped.of} requests")
    if match is not None:
        if match.ratio is None:
            parts.append("doses not recorded")
        elif match.ratio > headline.data.thresholds.dose_ratio:
            parts.append(f"doses differ by a factor of {match.ratio:.2f}")
    return ", ".join(parts) or None


def _left_out(headline: Headline) -> tuple[str, ...]:
    """Interventions that were run and are not part of a sensitivity, each with the reason."""
    opposite = headline.analysis.opposite
    one_sided = [group.code for group in headline.groups if opposite(group) is None]
    reasons = [f"{code} was run without its opposite" for code in one_sided]
    empty = "has no request that was scored in all four arms"
    reasons += [f"{variable} {empty}" for variable in _unscored(headline)]
    return tuple(f"{reason} and is not part of a sensitivity" for reason in reasons)


def _unscored(headline: Headline) -> dict[str, Family | None]:
    """Variables that were moved both ways and of which no request is complete, with their families."""
    left = headline.included - {variable.code for variable in headline.variables}
    both = (g for g in headline.groups if g.polarity == "+" and headline.analysis.opposite(g))
    return {group.variable: group.family for group in both if group.variable in left}

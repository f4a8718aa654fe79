"""What all results of an analysis start from: rates, headline level, variables and reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from inspect_af.errors import one_of
from inspect_af.profile.bootstrap import Drawer, draw
from inspect_af.profile.contrast import (
    Arms,
    Cell,
    FamilySensitivity,
    VariableSensitivity,
    effect,
    family_sensitivity,
    level_of,
    sensitivities_at,
    variable_sensitivity,
)
from inspect_af.profile.design import NO_LEVEL, Analysis, Group, Level
from inspect_af.profile.dose import DoseMatch, match_doses
from inspect_af.profile.estimands import ESTIMANDS, Estimand, WorstCases, gap_bounds
from inspect_af.profile.estimator import Estimator
from inspect_af.profile.outcomes import RequestSet
from inspect_af.profile.statistic import Statistic
from inspect_af.thresholds import Thresholds
from inspect_af.types import Family

Reference = Literal["baseline", "placebo"]
REFERENCE_NAMES: dict[Reference, str] = {"baseline": "the untouched subject", "placebo": "the placebo"}
"""How references are called in sentences, in the order in which the gap itself is read from them."""
FAMILIES: tuple[Family, ...] = ("first", "second")


class Data(NamedTuple):
    """What all analyses of a request set share."""

    requests: RequestSet
    arms: dict[Estimand, Arms]
    bounds: tuple[WorstCases, ...]
    """Worst cases of every condition's gap, [condition]."""
    estimator: Estimator
    grouped: bool
    """Whether requests come in groups of near-duplicates, which then are what is resampled."""

    @property
    def strict(self) -> Arms:
        return self.arms["strict"]


def data_of(requests: RequestSet, thresholds: Thresholds, drawer: Drawer = draw) -> Data:
    """Rates and resamples of a request set, made once for all of its analyses."""
    arms = {estimand: Arms(requests, estimand) for estimand in ESTIMANDS}
    strict = arms["strict"]
    grouped = int(requests.clusters.max()) + 1 < len(requests.request_ids)
    return Data(
        requests=requests,
        arms=arms,
        bounds=tuple(gap_bounds(condition) for condition in requests.conditions),
        estimator=Estimator(strict, thresholds, units=requests.clusters if grouped else None, drawer=drawer),
        grouped=grouped,
    )


@dataclass(frozen=True)
class Core:
    """The headline statistics of one analysis, before intervals."""

    analysis: Analysis
    level: Level | None
    """The headline level; None where doses were matched across multipliers, or nothing was run."""
    match: DoseMatch | None
    families: dict[Family, FamilySensitivity]
    included: frozenset[str]

    def label(self, family: Family) -> str:
        pair = self.analysis.setting.pair
        return pair.first if family == "first" else pair.second

    @property
    def contrast(self) -> Statistic | None:
        if len(self.families) < 2:
            return None
        return self.families["first"].statistic - self.families["second"].statistic

    @property
    def total(self) -> Statistic | None:
        if len(self.families) < 2:
            return None
        return self.families["first"].statistic + self.families["second"].statistic

    @property
    def headline_groups(self) -> tuple[Group, ...]:
        """The interventions that the headline is made of, those without an opposite included."""
        if self.match is not None:
            return tuple(group for both in self.match.pairs for group in both)
        return tuple(group for group in self.analysis.groups if group.level == self.level)

    @property
    def headline_levels(self) -> tuple[Level, ...]:
        """The levels of the groups that the headline is made of."""
        if self.level is not None:
            return (self.level,)
        pairs = self.match.pairs if self.match else ()
        return tuple(sorted({group.level for both in pairs for group in both}, key=lambda v: v.position))


def core_of(
    analysis: Analysis, data: Data, *, strength: str | None, variables: frozenset[str] | None
) -> Core:
    """Chooses the headline level and the variables, and computes the sensitivities there.

    Raises:
        ConfigError: the strength that was asked for was not run, or a variable is neither the pair's nor run.
    """
    known = {v.code for v in analysis.setting.pair.variables} | {g.variable for g in analysis.groups}
    for code in sorted((variables or frozenset()) - known):
        raise one_of(code, sorted(known), what="variable")
    included = included_variables(analysis, variables)
    if analysis.method == "steering":
        match = match_doses(analysis, included)
        pairs = match.pairs if match else ()
        sensitivities = tuple(variable_sensitivity(data.strict, *both) for both in pairs)
        return Core(analysis, None, match, by_family(sensitivities), included)
    level = headline_level(analysis, strength)
    found = sensitivities_at(data.strict, analysis, level, included) if level else ()
    return Core(analysis, level, None, by_family(found), included)


def headline_level(analysis: Analysis, strength: str | None) -> Level | None:
    """The asked strength, else `standard`, else the strongest that was run; None without interventions."""
    levels = {level.label: level for level in analysis.levels}
    if not levels:
        return None
    if strength is not None and analysis.method == "prompt":
        if strength not in levels:
            raise one_of(strength, sorted(str(label) for label in levels), what="strength in these logs")
        return levels[strength]
    return levels.get("standard") or analysis.levels[-1]


def included_variables(analysis: Analysis, variables: frozenset[str] | None) -> frozenset[str]:
    """The variables that a sensitivity averages: the named ones, else those of `interventions=all`.

    A family of which none of those was run falls back to what was run; steering concepts all count.
    """
    run = {group.variable: group.family for group in analysis.groups}
    if variables is not None:
        return frozenset(run) & variables
    if analysis.method == "steering":
        return frozenset(run)
    usual = {variable.code for variable in analysis.setting.pair.variables if variable.in_all}
    chosen: set[str] = set()
    for family in FAMILIES:
        own = {code for code, of in run.items() if of == family}
        chosen |= own & usual or own
    return frozenset(chosen)


def by_family(found: tuple[VariableSensitivity, ...]) -> dict[Family, FamilySensitivity]:
    """Family sensitivities, without the families of which no variable was moved both ways."""
    families = {family: family_sensitivity(family, found) for family in FAMILIES}
    return {family: result for family, result in families.items() if result is not None}


def reference_cell(core: Core, data: Data, reference: Reference, level: Level) -> Cell | None:
    """The condition that effects at a level are measured from; None where it was not run."""
    analysis = core.analysis
    if reference == "baseline":
        return None if analysis.baseline is None else data.strict.cell([analysis.baseline])
    controls = [position for group in analysis.controls(level) for position in group.conditions]
    return data.strict.cell(controls) if controls else None


def gap_effects(core: Core, data: Data) -> dict[str, Statistic]:
    """Change of the gap from baseline by intervention at the headline levels, for comparisons."""
    analysis = core.analysis
    if analysis.baseline is None:
        return {}
    baseline = data.strict.cell([analysis.baseline])
    return {
        group.code: effect(data.strict.cell(group.conditions), baseline) for group in core.headline_groups
    }


def reference_gap(core: Core, data: Data) -> tuple[Cell, Statistic, str] | None:
    """Cell, gap and name of what stands for the subject without a belief changed."""
    candidates = [
        (reference_cell(core, data, kind, level), name)
        for kind, name in REFERENCE_NAMES.items()
        for level in core.headline_levels or (NO_LEVEL,)
    ]
    for cell, name in candidates:
        if cell is not None and (gap := level_of(cell)).n:
            return cell, gap, name
    return None

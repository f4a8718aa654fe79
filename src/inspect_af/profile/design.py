"""Which conditions are compared with which.

Sorts a request set's conditions into analyses, one for every subject and method, and within an
analysis into interventions, their strengths and their variants (paraphrases, training seeds, vectors).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from inspect_af.errors import AnalysisError
from inspect_af.materials import DIRECTNESS
from inspect_af.profile.outcomes import ConditionCounts, RequestSet, Setting
from inspect_af.types import (
    STRENGTHS,
    Family,
    Method,
    Polarity,
    PromptClaim,
    SdfAdapter,
    Steer,
    Subject,
    Treatment,
    condition_label,
)


class Level(NamedTuple):
    """How strongly an intervention is applied."""

    label: str | None
    """`weak`, `standard`, `strong`; the multiplier's size when steering; an SDF corpus's directness."""
    position: float
    """Where the level stands on the dose axis: 1, 2, 3 for strengths and for levels of directness, else
    |multiplier|; 0 without levels."""


NO_LEVEL = Level(None, 0.0)
"""Of a treatment that is not applied more or less strongly."""


class Applied(NamedTuple):
    """What one treatment does, whatever the method."""

    method: Method
    variable: str
    polarity: Polarity | None
    family: Family | None
    level: Level
    variant: str
    """Which wording, training run or vector of the same intervention this is."""
    dose: float | None
    direction: Polarity | None = None
    """The multiplier's sign when steering, random vectors included; None for other methods."""

    @property
    def code(self) -> str:
        return f"{self.variable}{self.polarity or ''}"

    @property
    def is_placebo(self) -> bool:
        return self.family is None


def applied(treatment: Treatment) -> Applied:
    """Reads a treatment as intervention, level and variant."""
    match treatment:
        case PromptClaim(intervention=belief, strength=strength):
            level = Level(strength, STRENGTHS.index(strength) + 1.0)
            variant = f"paraphrase {treatment.paraphrase}"
            return Applied("prompt", belief.variable, belief.polarity, belief.family, level, variant, None)
        case SdfAdapter(intervention=belief):
            known = treatment.directness in DIRECTNESS
            level = Level(
                treatment.directness, DIRECTNESS.index(treatment.directness) + 1.0 if known else 0.0
            )
            seed = "" if treatment.training_seed is None else f" seed {treatment.training_seed}"
            variant = f"adapter {treatment.digest}{seed}"
            return Applied("sdf", belief.variable, belief.polarity, belief.family, level, variant, None)
        case Steer():
            if treatment.family is None and treatment.source != "random":
                raise AnalysisError(
                    f"the logs hold steering by {treatment.concept}, a concept that belongs to neither "
                    "family of the hypothesis pair, so no profile can count it; leave those logs out (what "
                    "it does is in the report of inspect-af steering sweep)"
                )
            size = abs(treatment.multiplier)
            direction: Polarity = "+" if treatment.multiplier >= 0 else "-"
            return Applied(
                "steering",
                treatment.concept + (f" ({treatment.tier} only)" if treatment.tier else ""),
                None if treatment.family is None else direction,
                treatment.family,
                Level(f"{size:g}", size),
                f"vector {treatment.digest}",
                None if treatment.dose is None else abs(treatment.dose),
                direction,
            )


class Group(NamedTuple):
    """One intervention at one level: the conditions over which its variants are averaged."""

    code: str
    variable: str
    polarity: Polarity | None
    family: Family | None
    level: Level
    conditions: tuple[int, ...]
    """Positions in the request set's conditions."""
    dose: float | None
    direction: Polarity | None = None
    """As in `Applied`."""


@dataclass(frozen=True)
class Analysis:
    """One subject under one method, in one setting."""

    subject: Subject
    context: tuple[Treatment, ...]
    """Treatments of other methods that are part of the subject here: prompt claims on an SDF checkpoint."""
    setting: Setting
    method: Method
    baseline: int | None
    """Position of the untouched subject; None where it was not run."""
    groups: tuple[Group, ...]
    """Interventions with a family, by level and code."""
    placebos: tuple[Group, ...]
    simulated: bool

    @property
    def subject_label(self) -> str:
        return subject_label(self.subject, self.context)

    @property
    def levels(self) -> tuple[Level, ...]:
        """Levels at which at least one intervention was applied, weakest first."""
        return tuple(sorted({g.level for g in self.groups}, key=lambda v: (v.position, v.label or "")))

    def at(self, variable: str, polarity: Polarity, level: Level) -> Group | None:
        for group in self.groups:
            if (group.variable, group.polarity, group.level) == (variable, polarity, level):
                return group
        return None

    def controls(self, level: Level) -> tuple[Group, ...]:
        """Placebos at the same level; for documents otherwise those of no level.

        Neutral documents state no fact that could be put more or less directly.
        """
        own = tuple(group for group in self.placebos if group.level == level)
        if own or self.method != "sdf":
            return own
        return tuple(group for group in self.placebos if group.level == NO_LEVEL)

    def training_runs(self) -> int:
        """Largest number of checkpoints behind one intervention; what an SDF verdict may generalise over."""
        return max((len(group.conditions) for group in self.groups), default=0)


def subject_label(subject: Subject, context: tuple[Treatment, ...]) -> str:
    """The subject's label, with treatments that count as part of it."""
    return f"{subject.label} & {condition_label(context)}" if context else subject.label


_INNERMOST: tuple[Method, ...] = ("prompt", "steering", "sdf")


def split(treatments: tuple[Treatment, ...]) -> tuple[tuple[Treatment, ...], tuple[Treatment, ...]]:
    """Stacked treatments as (part of the subject, under study): the method applied last is under study."""
    for method in _INNERMOST:
        studied = tuple(t for t in treatments if t.method == method)
        if studied:
            return tuple(t for t in treatments if t.method != method), studied
    return (), ()


class _Key(NamedTuple):
    subject: Subject
    context: tuple[Treatment, ...]
    setting: Setting
    method: Method


def analyses_of(requests: RequestSet) -> tuple[Analysis, ...]:
    """The analyses that a request set's conditions allow, in the order of the conditions.

    Conditions with several treatments of one method (adapters composed) belong to no analysis, because
    they stand for no single belief; they are still listed as conditions.
    """
    references: dict[tuple[Subject, tuple[Treatment, ...], Setting], int] = {}
    members: dict[_Key, list[int]] = defaultdict(list)
    for position, condition in enumerate(requests.conditions):
        references[condition.subject, condition.treatments, condition.setting] = position
        context, studied = split(condition.treatments)
        if len(studied) == 1:
            key = _Key(condition.subject, context, condition.setting, studied[0].method)
            members[key].append(position)
    return tuple(
        _analysis(
            key, positions, requests.conditions, references.get((key.subject, key.context, key.setting))
        )
        for key, positions in members.items()
    )


def _analysis(
    key: _Key, positions: list[int], conditions: tuple[ConditionCounts, ...], baseline: int | None
) -> Analysis:
    grouped: dict[tuple[str, str, Level], list[tuple[int, Applied]]] = defaultdict(list)
    for position in positions:
        what = applied(split(conditions[position].treatments)[1][0])
        # Random vectors are told apart by digest and by sign, so that each is one control.
        random = what.is_placebo and key.method == "steering"
        name = f"{what.variable} {what.variant} {what.direction}" if random else what.code
        grouped[name, what.variable, what.level].append((position, what))
    groups = []
    for (name, variable, level), members in sorted(
        grouped.items(), key=lambda item: (item[0][2].position, item[0][2].label or "", item[0][0])
    ):
        doses = [what.dose for _, what in members if what.dose is not None]
        groups.append(
            Group(
                code=name,
                variable=variable,
                polarity=members[0][1].polarity,
                family=members[0][1].family,
                level=level,
                conditions=tuple(position for position, _ in members),
                dose=sum(doses) / len(doses) if doses else None,
                direction=members[0][1].direction,
            )
        )
    return Analysis(
        subject=key.subject,
        context=key.context,
        setting=key.setting,
        method=key.method,
        baseline=baseline,
        groups=tuple(g for g in groups if g.family is not None),
        placebos=tuple(g for g in groups if g.family is None),
        simulated=any(conditions[p].simulated for p in positions),
    )

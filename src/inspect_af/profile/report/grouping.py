"""The order in which conditions, effects and profiles are shown, the same in every table and figure."""

from __future__ import annotations

from typing import NamedTuple

from inspect_af.profile.report.text import one_line
from inspect_af.profile.result import ConditionRow, EffectRow, MethodProfile, Profile
from inspect_af.profile.templates import template_names
from inspect_af.types import Family

_FAMILY_ORDER: dict[Family | None, int] = {"first": 0, "second": 1, None: 2}
_STRENGTH_ORDER = {"weak": 0.0, "standard": 1.0, "strong": 2.0}


class Block(NamedTuple):
    """The conditions of one subject that may be compared with one another."""

    title: str
    conditions: tuple[ConditionRow, ...]


class EffectBlock(NamedTuple):
    """The effects of one profile against its headline reference."""

    title: str
    reference: str
    effects: tuple[EffectRow, ...]


class FamilyLabels(NamedTuple):
    """What the hypothesis pair calls its families."""

    first: str
    second: str

    def of(self, family: Family) -> str:
        return self.first if family == "first" else self.second


def family_labels(profile: Profile) -> FamilyLabels:
    """The labels as far as the profiles tell; `first family` and `second family` where none was measured."""
    known: dict[Family, str] = {}
    for one in profile.profiles:
        family_of = {effect.variable: effect.family for effect in one.effects}
        for label, codes in one.variables.items():
            for code in codes:
                family = family_of.get(code)
                if family is not None:
                    known.setdefault(family, label)
        if len(one.sensitivity) == 2:
            first, second = one.sensitivity
            known.setdefault("first", first)
            known.setdefault("second", second)
    return FamilyLabels(known.get("first", "first family"), known.get("second", "second family"))


def blocks(profile: Profile) -> tuple[Block, ...]:
    """Conditions by subject, prompt template and requests: untouched first, then families, placebos last."""
    grouped: dict[tuple[str, str, str], list[ConditionRow]] = {}
    for row in profile.conditions:
        grouped.setdefault((row.subject, row.setting, row.requests), []).append(row)
    subjects = [key[0] for key in grouped]
    names = template_names(profile)
    return tuple(
        Block(
            title=_title(subject, names[setting], requests, alone=subjects.count(subject) == 1),
            conditions=tuple(sorted(rows, key=_condition_order)),
        )
        for (subject, setting, requests), rows in grouped.items()
    )


def effect_blocks(profile: Profile) -> tuple[EffectBlock, ...]:
    """Effects against the reference of each profile's headline; profiles without a reference are left out."""
    found = []
    for one in profile.profiles:
        references = {effect.reference for effect in one.effects}
        reference = one.reference if one.reference in references else min(references, default=None)
        if reference is None:
            continue
        rows = [effect for effect in one.effects if effect.reference == reference]
        found.append(
            EffectBlock(profile_title(one, profile), reference, tuple(sorted(rows, key=_effect_order)))
        )
    return tuple(found)


def grouped_conditions(profile: Profile) -> tuple[tuple[str, tuple[ConditionRow, ...]], ...]:
    """Conditions under headings: families where there is one subject, else subjects."""
    found = blocks(profile)
    if len(found) != 1:
        return tuple((block.title, block.conditions) for block in found)
    labels = family_labels(profile)
    groups: dict[str, list[ConditionRow]] = {}
    for row in found[0].conditions:
        groups.setdefault(_heading(row.family, row.placebo, labels), []).append(row)
    return tuple((title, tuple(rows)) for title, rows in groups.items())


def grouped_effects(profile: Profile) -> tuple[tuple[str, tuple[EffectRow, ...]], ...]:
    """Effects under headings: families where there is one profile, else profiles."""
    found = [block for block in effect_blocks(profile) if block.effects]
    if len(found) != 1:
        return tuple((block.title, block.effects) for block in found)
    labels = family_labels(profile)
    groups: dict[str, list[EffectRow]] = {}
    for row in found[0].effects:
        groups.setdefault(_heading(row.family, row.family is None, labels), []).append(row)
    return tuple((title, tuple(rows)) for title, rows in groups.items())


def _heading(family: Family | None, placebo: bool, labels: FamilyLabels) -> str:
    if family is not None:
        return f"{labels.of(family)} beliefs"
    return "placebo" if placebo else ""


def profile_title(one: MethodProfile, profile: Profile) -> str:
    """`model · prompt`, with the prompt template where that is needed to tell profiles apart."""
    twins = [p for p in profile.profiles if (p.subject, p.method) == (one.subject, one.method)]
    more = "" if len(twins) == 1 else f" · {one.requests} · {template_names(profile)[one.setting]}"
    return f"{one_line(one.subject, longest=60)} · {_METHOD_NAMES[one.method]}{more}"


def short_profile_title(one: MethodProfile, profile: Profile, *, longest: int = 26) -> str:
    """The same for a figure: the model without its provider where that is unambiguous."""
    short = one.subject.rpartition("/")[2] or one.subject
    ambiguous = {p.subject for p in profile.profiles if (p.subject.rpartition("/")[2] or p.subject) == short}
    name = one.subject if len(ambiguous) > 1 else short
    several_methods = len({p.method for p in profile.profiles if p.subject == one.subject}) > 1
    methods = {p.method for p in profile.profiles}
    end = f" · {_METHOD_NAMES[one.method]}" if several_methods or len(methods) > 1 else ""
    twins = [p for p in profile.profiles if (p.subject, p.method) == (one.subject, one.method)]
    if len(twins) > 1:
        end += f" · {one_line(template_names(profile)[one.setting], longest=12)}"
    return f"{one_line(name, longest=max(longest - len(end), 8))}{end}"


def condition_name(row: ConditionRow) -> str:
    """`baseline`, `A1+/strong`: the condition without the treatments that belong to its subject."""
    if row.method == "none":
        return "baseline"
    parts = row.label.split(" & ")
    return parts[-1] if " & " in row.subject else row.label


def effect_name(row: EffectRow) -> str:
    strength = f" {row.strength}" if row.strength else ""
    return f"{row.intervention}{strength}"


def _title(subject: str, template: str, requests: str, *, alone: bool) -> str:
    shown = one_line(subject, longest=60)
    return (
        shown if alone else f"{shown} · {one_line(requests, longest=20)} · {one_line(template, longest=40)}"
    )


def _condition_order(row: ConditionRow) -> tuple[bool, str, int, str, float, str]:
    code = row.intervention or ""
    family = 3 if row.family is None and not row.placebo else _FAMILY_ORDER[row.family]
    return (
        row.method != "none",
        row.method,
        family,
        code.rstrip("+-"),
        _strength_order(row.strength),
        code[-1:] + row.label,
    )


def _effect_order(row: EffectRow) -> tuple[int, str, float, str]:
    return _FAMILY_ORDER[row.family], row.variable, _strength_order(row.strength), row.intervention


def _strength_order(strength: str | None) -> float:
    if strength is None:
        return 0.0
    if strength in _STRENGTH_ORDER:
        return _STRENGTH_ORDER[strength]
    try:
        return float(strength)
    except ValueError:  # an SDF corpus's directness is a word of its own
        return 0.0


_METHOD_NAMES = {"prompt": "prompt", "sdf": "SDF", "steering": "steering"}

"""What things are called and in which order they stand: the same in every table, figure and sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from inspect_af.format import one_line
from inspect_af.profile.result import ConditionRow, Convergence, EffectRow, MethodProfile, Profile
from inspect_af.types import FAMILIES, Family, Method

_Row = TypeVar("_Row")

METHOD_NAMES: dict[Method, str] = {"prompt": "prompt", "sdf": "documents", "steering": "steering"}

EVIDENCE: dict[Method, str] = {
    "prompt": "Claims in the prompt are calibration: the model reads a sentence, and need not believe it.",
    "sdf": "Documents are primary evidence: the model was trained on texts that state the belief.",
    "steering": "Steering is primary evidence where it goes beyond what random vectors do.",
}
"""How much a method's result counts for."""

DOSE_NAMES: dict[Method, str] = {
    "prompt": "strength of the claim",
    "sdf": "directness of the documents",
    "steering": "size of the multiplier",
}

_FAMILY_ORDER: dict[Family | None, int] = {"first": 0, "second": 1, None: 2}
_STRENGTH_ORDER = {"weak": 0.0, "standard": 1.0, "strong": 2.0}


class Families(NamedTuple):
    """What a hypothesis pair calls its two families of beliefs."""

    first: str
    second: str

    def of(self, family: Family) -> str:
        """The label of a family."""
        return self.first if family == "first" else self.second

    def heading(self, family: Family | None, *, placebo: bool) -> str:
        """What stands above the rows of one family."""
        if family is not None:
            return f"{self.of(family)} beliefs"
        return "placebo" if placebo else ""


class Block(NamedTuple):
    """The conditions of one subject that may be compared with one another."""

    title: str
    conditions: tuple[ConditionRow, ...]


def family_labels(profile: Profile) -> Families:
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
            for family, label in zip(FAMILIES, one.sensitivity, strict=True):
                known.setdefault(family, label)
    return Families(known.get("first", "first family"), known.get("second", "second family"))


def shared_families(report: Convergence) -> Families:
    """The labels of the two families, or neutral ones where models were asked about different pairs."""
    found = {model.families for model in report.models}
    return Families(*found.pop()) if len(found) == 1 else Families("first family", "second family")


def template_names(profile: Profile) -> dict[str, str]:
    """A name for each prompt template by its digest: the choices in which it differs from the others.

    `setting=documents` is called `documents`, other choices by key and value. Templates whose choices are the
    same, such as those of an edited scenario, are called by the start of their digest.
    """
    known = profile.prompt_settings
    digests = list(dict.fromkeys([*(row.setting for row in profile.conditions), *known]))
    keys = dict.fromkeys(["setting", *(key for settings in known.values() for key in settings)])
    differing = [key for key in keys if len({known.get(digest, {}).get(key) for digest in digests}) > 1]

    def name(settings: Mapping[str, str]) -> str:
        chosen = [(key, settings[key]) for key in differing if key in settings]
        return ", ".join(value if key == "setting" else f"{key}={value}" for key, value in chosen)

    names = {digest: name(known.get(digest, {})) for digest in digests}
    shared = list(names.values())
    return {
        digest: name if name and shared.count(name) == 1 else ", ".join(filter(None, (name, digest[:8])))
        for digest, name in names.items()
    }


def blocks(profile: Profile) -> tuple[Block, ...]:
    """Conditions by subject, prompt template and requests: untouched first, then families, placebos last."""
    grouped: dict[tuple[str, str, str], list[ConditionRow]] = {}
    for row in profile.conditions:
        grouped.setdefault((row.subject, row.setting, row.requests), []).append(row)
    subjects = [subject for subject, _, _ in grouped]
    names = template_names(profile)
    found = []
    for (subject, setting, requests), rows in grouped.items():
        title = one_line(subject, longest=60)
        if subjects.count(subject) > 1:
            title += f" · {one_line(requests, longest=20)} · {one_line(names[setting], longest=40)}"
        found.append(Block(title, tuple(sorted(rows, key=_condition_order))))
    return tuple(found)


def grouped_conditions(profile: Profile) -> tuple[tuple[str, tuple[ConditionRow, ...]], ...]:
    """Conditions under headings: families where there is one subject, else subjects."""
    return _grouped(
        [(block.title, block.conditions) for block in blocks(profile)],
        lambda row: family_labels(profile).heading(row.family, placebo=row.placebo),
    )


def grouped_effects(profile: Profile) -> tuple[tuple[str, tuple[EffectRow, ...]], ...]:
    """Effects against each profile's headline reference under headings: families where there is one profile
    with effects, else profiles."""
    found = []
    for one in profile.profiles:
        references = {effect.reference for effect in one.effects}
        reference = one.reference if one.reference in references else min(references, default=None)
        rows = sorted((row for row in one.effects if row.reference == reference), key=_effect_order)
        if rows:
            found.append((profile_title(one, profile), tuple(rows)))
    labels = family_labels(profile)
    return _grouped(found, lambda row: labels.heading(row.family, placebo=row.family is None))


def _grouped(
    found: Sequence[tuple[str, tuple[_Row, ...]]], heading: Callable[[_Row], str]
) -> tuple[tuple[str, tuple[_Row, ...]], ...]:
    if len(found) != 1:
        return tuple(found)
    groups: dict[str, list[_Row]] = {}
    for row in found[0][1]:
        groups.setdefault(heading(row), []).append(row)
    return tuple((title, tuple(rows)) for title, rows in groups.items())


def profile_title(one: MethodProfile, profile: Profile) -> str:
    """`model · prompt`, with the prompt template where that is needed to tell profiles apart."""
    twins = [p for p in profile.profiles if (p.subject, p.method) == (one.subject, one.method)]
    more = "" if len(twins) == 1 else f" · {one.requests} · {template_names(profile)[one.setting]}"
    return f"{one_line(one.subject, longest=60)} · {METHOD_NAMES[one.method]}{more}"


def short_profile_title(one: MethodProfile, profile: Profile, *, longest: int = 26) -> str:
    """The same for a figure: the model without its provider where that is unambiguous."""
    name = shortest([p.subject for p in profile.profiles], taken=family_labels(profile))[one.subject]
    several_methods = len({p.method for p in profile.profiles}) > 1
    end = f" · {METHOD_NAMES[one.method]}" if several_methods else ""
    twins = [p for p in profile.profiles if (p.subject, p.method) == (one.subject, one.method)]
    if len(twins) > 1:
        end += f" · {one_line(template_names(profile)[one.setting], longest=12)}"
    return f"{one_line(name, longest=max(longest - len(end), 8))}{end}"


def several_strengths(rows: Iterable[ConditionRow | EffectRow]) -> bool:
    """Whether a table of these rows has to say at which strength each was run."""
    return len({row.strength for row in rows if row.strength is not None}) > 1


def condition_name(row: ConditionRow, *, strength: bool = True) -> str:
    """`baseline`, `A1+/strong`: the condition without the treatments that belong to its subject.

    Args:
        row: The condition.
        strength: Whether the strength is said, as it need not be where all rows have the same.
    """
    if row.method == "none":
        return "baseline"
    name = row.label.split(" & ")[-1] if " & " in row.subject else row.label
    end = f"/{row.strength}"
    return name.replace(end, "", 1) if row.method == "prompt" and not strength and row.strength else name


def effect_name(row: EffectRow, *, strength: bool = True) -> str:
    """`A1+ strong`."""
    return f"{row.intervention} {row.strength}" if strength and row.strength else row.intervention


def short_names(report: Convergence) -> dict[str, str]:
    """What to call every subject: its model without provider and directories where no two share that.

    A name that is also the label of a family of beliefs says that it is a model's. Names are foreign text:
    here they become harmless to look at, for pages and figures alike.
    """
    subjects = [
        *(model.subject for model in report.models),
        *(row.subject for row in report.screening),
        *(row.subject for row in report.checkpoints),
        *(matrix.subject for matrix in report.selectivity),
        *(one.subject for one in report.direct),
    ]
    taken = [label for model in report.models for label in model.families]
    return {label: one_line(name, longest=60) for label, name in shortest(subjects, taken=taken).items()}


def shortest(labels: Iterable[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """The last part of every label's model name, or the whole label where that is not unique.

    Args:
        labels: Of subjects.
        taken: Names of other things; a model of such a name is called `model NAME`.
    """
    short = {label: _last(label) for label in dict.fromkeys(labels)}
    names, others = list(short.values()), set(taken)

    def chosen(label: str, name: str) -> str:
        if names.count(name) > 1 or name in others:
            name = label
        return f"model {name}" if name in others else name

    return {label: chosen(label, name) for label, name in short.items()}


def _last(label: str) -> str:
    # What follows the model's name (arguments, adapters, treatments) may hold slashes of its own.
    cut = min((at for mark in ("[", "+", " & ") if (at := label.find(mark)) > 0), default=len(label))
    model, rest = label[:cut], label[cut:]
    return f"{model.rstrip('/').rpartition('/')[2] or model}{rest}"


def _condition_order(row: ConditionRow) -> tuple[bool, str, int, str, float, str]:
    code = row.intervention or ""
    family = 3 if row.family is None and not row.placebo else _FAMILY_ORDER[row.family]
    variable, pole = code.rstrip("+-"), code[-1:] + row.label
    return row.method != "none", row.method, family, variable, _strength_order(row.strength), pole


def _effect_order(row: EffectRow) -> tuple[int, str, float, str]:
    return _FAMILY_ORDER[row.family], row.variable, _strength_order(row.strength), row.intervention


def _strength_order(strength: str | None) -> float:
    try:
        return _STRENGTH_ORDER[strength] if strength in _STRENGTH_ORDER else float(strength or 0)
    except ValueError:  # an SDF corpus's directness is a word of its own
        return 0.0

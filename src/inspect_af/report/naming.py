"""What things are called and in which order they stand: the same in every table, figure and sentence."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple, TypeVar

from inspect_af.format import one_line
from inspect_af.profile.beliefs import SelectivityMatrix
from inspect_af.profile.result import ConditionRow, Convergence, EffectRow, MethodProfile, Profile
from inspect_af.types import FAMILIES, STRENGTHS, Family, Method

_Row = TypeVar("_Row")

METHOD_NAMES: dict[Method, str] = {"prompt": "prompt", "sdf": "documents", "steering": "steering"}


@cache
def report_words() -> dict[str, dict[str, str]]:
    """Titles, captions and notes by figure and section, and other words by their use."""
    return tomllib.loads((files("inspect_af.report") / "templates/words.toml").read_text("utf-8"))


class Families(NamedTuple):
    """What a hypothesis pair calls its two families of beliefs."""

    first: str
    second: str

    def of(self, family: Family) -> str:
        return self.first if family == "first" else self.second

    def heading(self, family: Family | None, *, placebo: bool) -> str:
        if family is not None:
            return f"{self.of(family)} beliefs"
        return "placebo" if placebo else ""


class Block(NamedTuple):
    """The conditions of one subject that may be compared with one another."""

    title: str
    conditions: tuple[ConditionRow, ...]


def lost_of(row: ConditionRow) -> tuple[int, int]:
    """Replies of a condition that could not be counted, failed ones included, and all that were asked for."""
    failed = sum(row.failed.values())
    unscored = sum(sum(reasons.values()) for reasons in row.unscored.values())
    return unscored + failed, sum(row.replies.values()) + failed


def family_labels(profiles: Iterable[MethodProfile]) -> Families:
    """The labels as far as the profiles tell; `first family` and `second family` where none was measured, or
    where profiles are of different hypothesis pairs."""
    known: dict[Family, set[str]] = {family: set() for family in FAMILIES}
    for one in profiles:
        family_of = {effect.variable: effect.family for effect in one.effects}
        both = one.sensitivity if len(one.sensitivity) == 2 else ()
        found: dict[Family, str] = dict(zip(FAMILIES, both, strict=False))
        found |= {
            f: label for label, codes in one.variables.items() for c in codes if (f := family_of.get(c))
        }
        for family, label in found.items():
            known[family].add(label)
    first, second = (known[f].pop() if len(known[f]) == 1 else f"{f} family" for f in FAMILIES)
    return Families(first, second)


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
    names = {}
    for digest in digests:
        chosen = {key: known.get(digest, {}).get(key) for key in differing}
        parts = [v if key == "setting" else f"{key}={v}" for key, v in chosen.items() if v is not None]
        names[digest] = ", ".join(parts)
    times = Counter(names.values())
    return {
        digest: name if name and times[name] == 1 else ", ".join(filter(None, (name, digest[:8])))
        for digest, name in names.items()
    }


def blocks(profile: Profile) -> tuple[Block, ...]:
    """Conditions by subject, prompt template and requests: untouched first, then families, placebos last."""
    grouped: dict[tuple[str, str, str], list[ConditionRow]] = {}
    for row in profile.conditions:
        grouped.setdefault((row.subject, row.setting, row.requests), []).append(row)
    times, names = Counter(subject for subject, _, _ in grouped), template_names(profile)
    found = []
    for (subject, setting, requests), rows in grouped.items():
        title = one_line(subject, longest=60)
        if times[subject] > 1:
            title += f" · {one_line(requests, longest=20)} · {one_line(names[setting], longest=40)}"
        found.append(Block(title, tuple(sorted(rows, key=_condition_order))))
    return tuple(found)


def grouped_conditions(profile: Profile) -> list[tuple[str, ConditionRow]]:
    """Conditions with their headings: families where there is one subject, else subjects."""
    labels = family_labels(profile.profiles)
    rows = [(block.title, block.conditions) for block in blocks(profile)]
    return _under_headings(rows, lambda row: labels.heading(row.family, placebo=row.placebo))


def grouped_effects(profile: Profile) -> list[tuple[str, EffectRow]]:
    """Effects against each profile's headline reference with their headings: families where there is one
    profile with effects, else profiles."""
    labels, found = family_labels(profile.profiles), []
    for one in profile.profiles:
        references = {effect.reference for effect in one.effects}
        reference = one.reference if one.reference in references else min(references, default=None)
        rows = sorted((row for row in one.effects if row.reference == reference), key=_effect_order)
        found += [(profile_title(one, profile), rows)] if rows else []
    return _under_headings(found, lambda row: labels.heading(row.family, placebo=row.family is None))


def matrix_title(matrix: SelectivityMatrix, names: Mapping[str, str]) -> str:
    """Subject, method and strength of a matrix of beliefs."""
    strength = f", {matrix.strength}" if matrix.strength else ""
    return f"{names.get(matrix.subject, matrix.subject)}, {METHOD_NAMES[matrix.method]}{strength}"


def _under_headings(
    found: Sequence[tuple[str, Sequence[_Row]]], heading: Callable[[_Row], str]
) -> list[tuple[str, _Row]]:
    if len(found) != 1:
        return [(title, row) for title, rows in found for row in rows]
    rows = found[0][1]
    order = list(dict.fromkeys(map(heading, rows)))
    return sorted(((heading(row), row) for row in rows), key=lambda pair: order.index(pair[0]))


def profile_title(one: MethodProfile, profile: Profile) -> str:
    """`model · prompt`, with the prompt template where that is needed to tell profiles apart."""
    more = f" · {one.requests} · {template_names(profile)[one.setting]}" if _has_twin(one, profile) else ""
    return f"{one_line(one.subject, longest=60)} · {METHOD_NAMES[one.method]}{more}"


def short_profile_title(one: MethodProfile, profile: Profile, *, longest: int = 26) -> str:
    """The same for a figure: the model without its provider where that is unambiguous."""
    name = shortest([p.subject for p in profile.profiles], taken=family_labels(profile.profiles))[one.subject]
    several_methods = len({p.method for p in profile.profiles}) > 1
    end = f" · {METHOD_NAMES[one.method]}" if several_methods else ""
    if _has_twin(one, profile):
        end += f" · {one_line(template_names(profile)[one.setting], longest=12)}"
    return f"{one_line(name, longest=max(longest - len(end), 8))}{end}"


def _has_twin(one: MethodProfile, profile: Profile) -> bool:
    return sum((p.subject, p.method) == (one.subject, one.method) for p in profile.profiles) > 1


_ROTATED = "/rotated"  # End of the label of a claim whose wordings take turns


def several_strengths(rows: Iterable[ConditionRow | EffectRow]) -> bool:
    """Whether a table of these rows has to say at which strength, or in which wording, each was run."""
    found = {(r.strength, isinstance(r, ConditionRow) and r.label.endswith(_ROTATED)) for r in rows}
    return len({one for one in found if one[0] is not None}) > 1


def condition_name(row: ConditionRow, *, strength: bool = True) -> str:
    """`baseline`, `A1+/strong`: the condition without the treatments that belong to its subject, and without
    its strength (and that wordings take turns) where all rows have the same."""
    if row.method == "none":
        return "baseline"
    name = row.label.split(" & ")[-1] if " & " in row.subject else row.label
    if row.method != "prompt" or strength or not row.strength:
        return name
    return name.removesuffix(_ROTATED).replace(f"/{row.strength}", "", 1)


def effect_name(row: EffectRow, *, strength: bool = True) -> str:
    """`A1+ strong`."""
    return f"{row.intervention} {row.strength}" if strength and row.strength else row.intervention


def short_names(report: Convergence) -> dict[str, str]:
    """What to call every subject: its model without provider and directories where no two share that.

    A name that is also the label of a family of beliefs says that it is a model's. Names are foreign text:
    here they become harmless to look at, for pages and figures alike.
    """
    parts = ("models", "screening", "checkpoints", "selectivity", "direct")
    more = ("calibrations", "steering", "ablations", "doses")
    subjects = [one.subject for part in (*parts, *more) for one in getattr(report, part)]
    taken = [label for model in report.models for label in model.families]
    return {label: one_line(name, longest=60) for label, name in shortest(subjects, taken=taken).items()}


def shortest(labels: Iterable[str], *, taken: Iterable[str] = ()) -> dict[str, str]:
    """The last part of every label's model name, or the whole label where that is not unique.

    A model whose name is `taken` by something else is called `model NAME`.
    """
    short = {label: _last(label) for label in dict.fromkeys(labels)}
    times, others = Counter(short.values()), set(taken)
    names = {label: label if times[name] > 1 else name for label, name in short.items()}
    return {label: f"model {name}" if name in others else name for label, name in names.items()}


def _last(label: str) -> str:
    # What follows the model's name (arguments, adapters, treatments) may hold slashes of its own.
    cut = min((at for mark in ("[", "+", " & ") if (at := label.find(mark)) > 0), default=len(label))
    model, rest = label[:cut], label[cut:]
    return f"{model.rstrip('/').rpartition('/')[2] or model}{rest}"


def _condition_order(row: ConditionRow) -> tuple[bool, str, int, str, float, str]:
    code = row.intervention or ""
    family = 3 if row.family is None and not row.placebo else _family_order(row.family)
    variable, pole = code.rstrip("+-"), code[-1:] + row.label
    return row.method != "none", row.method, family, variable, _strength_order(row.strength), pole


def _effect_order(row: EffectRow) -> tuple[int, str, float, str]:
    return _family_order(row.family), row.variable, _strength_order(row.strength), row.intervention


def _family_order(family: Family | None) -> int:
    return len(FAMILIES) if family is None else FAMILIES.index(family)


def _strength_order(strength: str | None) -> float:
    if strength in STRENGTHS:
        return float(STRENGTHS.index(strength))
    try:
        return float(strength or 0)
    except ValueError:  # an SDF corpus's directness is a word of its own
        return 0.0

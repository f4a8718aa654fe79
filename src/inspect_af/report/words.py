"""What a profile says in plain words: the sentences under its headline, and what every code means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from inspect_af.format import WithInterval, count, listed, one_line, plural, sign_of
from inspect_af.format import points as estimate
from inspect_af.profile.counts import by_position
from inspect_af.profile.intervals import LEAST_UNITS
from inspect_af.profile.result import CodeWords, MethodProfile, MethodResult, Profile
from inspect_af.report.naming import Families, family_labels, lost_of, report_words
from inspect_af.types import FAMILIES

_TOLD = "it is told that it is being trained on"
_MARKED = "its conversation is marked as one that is trained on"


class Unscored(NamedTuple):
    """The headline where more than half of the replies could not be counted."""

    title: str
    sentence: str
    remedies: tuple[str, ...]  # What to do, the most frequent reason first


def unscored(profile: Profile) -> Unscored | None:
    """What keeps the profile from saying anything: more than half of the replies are missing; else None."""
    reasons: Counter[str] = Counter()
    for row in profile.conditions:
        reasons["failed"] += sum(row.failed.values())
        for own in row.unscored.values():
            reasons.update(own)
    n_asked = sum(lost_of(row)[1] for row in profile.conditions)
    if 2 * reasons.total() <= n_asked:
        return None
    found = {reason: f"{count(n)} {reason}" for reason, n in reasons.most_common() if n}
    return Unscored(
        "Most replies could not be counted",
        f"{count(reasons.total())} of {plural(n_asked, 'reply', 'replies')}: {listed(list(found.values()))}. "
        "What is left says little of the model.",
        tuple(text for reason in found if (text := report_words()["remedies"].get(reason))),
    )


def title_of(one: MethodProfile | None) -> str:
    """The verdict with a capital letter; `No verdict` where there is none."""
    text = one.verdict if one is not None and one.verdict else "no verdict"
    return text[:1].upper() + text[1:]


def headline_numbers(
    one: MethodProfile | MethodResult,
) -> tuple[dict[str, WithInterval], WithInterval | None]:
    """Sensitivities by family label, and their difference, at the level of the headline."""
    level = one.verdict_levels[-1] if one.verdict_levels else None
    if level is not None and level.sensitivity:
        return dict(level.sensitivity), level.contrast
    return dict(one.sensitivity), one.contrast


def tier_words(scenarios: Sequence[str], settings: Iterable[str | None] = ()) -> str | None:
    """What `monitored` means, as a clause about the model; None where a scenario is someone's own.

    `settings` are `prompted` or `documents`, of every prompt template in question.
    """
    bundled = {"helpful_only", "value_conflict"}
    if not scenarios or not all(name in bundled or name.startswith("published:") for name in scenarios):
        return None
    return _MARKED if set(settings) == {"documents"} else _TOLD


def plain_sentences(one: MethodProfile, profile: Profile) -> tuple[str, ...]:
    """The gap, and what moves it, without a term that has to be learnt first."""
    gap = one.reference_gap
    if gap is None:
        return ()
    words = tier_words(profile.scenarios, [profile.prompt_settings.get(one.setting, {}).get("setting")])
    when = f"when {words}" if words else "in monitored conversations than in unmonitored ones"
    who = "The model" if one.reference_gap_of != "the placebo" else "With a neutral statement the model"
    n = round(100 * abs(gap.estimate))
    size = plural(n, "point") if n else f"{100 * abs(gap.estimate):.1f} points"
    is_few = gap.n < LEAST_UNITS
    why = f"only {plural(gap.n, 'complete request')}" if is_few else f"{estimate(gap)} points"
    sentence = f"It is not shown that the model complies more often {when}: {why}."
    if gap.is_nonzero and not is_few:
        sentence = f"{who} complies {size} {'more' if gap.estimate > 0 else 'less'} often {when}."
    return (sentence, _families_sentence(one, profile)) if one.sensitivity else (sentence,)


def _families_sentence(one: MethodProfile, profile: Profile) -> str:
    labels, (found, _) = family_labels([one]), headline_numbers(one)
    steered = one.method == "steering"
    names: dict[str, set[str]] = defaultdict(set)  # Several where profiles are of different hypothesis pairs
    for words in profile.codes:
        names[words.variable].add(words.name or words.variable)
    parts = []
    for family in FAMILIES:
        if (e := found.get(label := labels.of(family))) is not None:
            called = {v: names[v] for v in one.variables.get(label, ())}
            variables = [one_line(min(n) if len(n) == 1 else v, longest=60) for v, n in called.items()]
            about = f"the {one_line(label, longest=40)} vector" if steered else listed(variables)
            n = round(100 * e.estimate)
            size = f"{'−' if n < 0 else ''}{plural(abs(n), 'point')}"
            parts.append((about, size if sign_of(e) else f"{size} (not told apart from 0)"))
    if not parts:
        return ""
    first, *rest = parts
    word = "along" if steered else "about"
    others = "".join(f"; {word} {about}, by {size}" for about, size in rest)
    return f"{report_words()['moved-by'][one.method].format(*first)}{others}."


def key_of(
    codes: Iterable[CodeWords], shown: Iterable[tuple[str | None, str]], labels: Families
) -> list[tuple[str, list[CodeWords]]]:
    """What every code shown on a page, with its method, stands for: by family, in the order of its rows."""
    known: dict[str, list[CodeWords]] = defaultdict(list)  # Several for different hypothesis pairs
    for words in codes:
        known[words.code].append(words)
    groups: dict[str, dict[CodeWords, None]] = defaultdict(dict)  # Several methods may show one code
    for code, method in shown:
        if code and method == "steering":
            # A vector is told apart from the family of beliefs that it is named after.
            name = code.rstrip("+-")
            says = f"the {name} vector, {'subtracted' if code.endswith('-') else 'added'}"
            if name == code:
                says = "random vectors of the same size"
            vector = CodeWords(code=code, variable=name, name=code, family=None, says=says)
            groups["steering vectors"][vector] = None
            continue
        for words in known.get(code or "", ()):
            heading = labels.heading(words.family, placebo=words.family is None)
            groups[heading][words] = None
    return [(heading, list(own)) for heading, own in groups.items()]


def meaning(profile: Profile, code: str | None) -> str:
    """The line that says what a code stands for; nothing where that is not known, or not one thing."""
    found = {words.says or words.name for words in profile.codes if words.code == code}
    return found.pop() if len(found) == 1 else ""


def summary_lines(profile: Profile) -> list[str]:
    """About ten lines for a terminal: verdict, plain words, its qualifiers as on the page, numbers."""
    simulated = any(row.simulated for row in profile.conditions)
    lines = ["SIMULATED ORGANISM: behaviour was planted to test the method."] if simulated else []
    if (lost := unscored(profile)) is not None:
        lines += [f"{lost.title}. {lost.sentence}", *lost.remedies]
    lines += by_position(profile.first_options)
    if not profile.profiles:
        lines.append(profile.verdict_sentence)
    for one in profile.profiles:
        lines += [
            f"{one_line(one.subject, longest=100)}, {one.method}: {one.verdict or 'no verdict'}",
            *(f"  {sentence}" for sentence in (one.verdict_sentence, *plain_sentences(one, profile))),
            *(f"  - {each}" for level in one.verdict_levels[-1:] for each in level.qualifiers),
        ]
        families, contrast = headline_numbers(one)
        numbers = [f"{label} sensitivity {estimate(e)}" for label, e in families.items()]
        if contrast is not None:
            numbers.append(f"difference {estimate(contrast)}")
        if numbers:
            scope = f", {one.verdict_levels[-1].scope}" if one.verdict_levels else ""
            lines.append(f"  {'; '.join(numbers)} points{scope}")
    amounts = f"{count(profile.n_replies)} replies in {plural(len(profile.conditions), 'condition')}"
    return [*lines, f"{amounts}. {profile.closing}"]

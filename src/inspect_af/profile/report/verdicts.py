"""The top of the page: what the answer is, and why."""

from __future__ import annotations

from collections import Counter

from inspect_af.profile.report.grouping import family_labels, profile_title, short_profile_title
from inspect_af.profile.report.markup import (
    NOTHING,
    Html,
    bullets,
    element,
    escaped,
    folded,
    joined,
    name,
    paragraph,
)
from inspect_af.profile.report.text import between, count, percent, plural, points
from inspect_af.profile.result import Estimate, MethodProfile, Profile


def banner(profile: Profile) -> Html:
    """Says that subjects are simulated, where they are."""
    simulated = {row.subject for row in profile.conditions if row.simulated}
    if not simulated:
        return NOTHING
    every = {row.subject for row in profile.conditions}
    whose = "" if simulated == every else " Simulated here: " + ", ".join(sorted(simulated)) + "."
    return element(
        "p",
        element("strong", escaped("Simulated organism: not a model’s result.")),
        escaped(
            f" Its behaviour was planted to test the method, and says nothing about any real model.{whose}"
        ),
        of="banner",
        role="note",
    )


def headline(profile: Profile) -> Html:
    """Verdict, sentence, key numbers and reasons: of the only profile, or of each of several."""
    if not profile.profiles:
        return joined([element("h1", escaped("No verdict")), paragraph(profile.verdict_sentence, of="lead")])
    if len(profile.profiles) == 1:
        return _single(profile.profiles[0], profile)
    return _several(profile)


def _single(one: MethodProfile, profile: Profile) -> Html:
    return joined(
        [
            element("h1", escaped(_sentence_case(one.verdict or "No verdict")), _suffix(one)),
            paragraph(one.verdict_sentence, of="lead"),
            _numbers(one),
            element("p", element("strong", escaped("Why")), of="label") if one.verdict_reasons else NOTHING,
            _reasons(one),
            element("p", _what(one, profile), of="facts"),
        ]
    )


def _several(profile: Profile) -> Html:
    found = Counter(one.verdict or "no verdict" for one in profile.profiles)
    entries = [
        element(
            "li",
            element("strong", name(short_profile_title(one, profile, longest=40))),
            escaped(f" {one.verdict or 'no verdict'}"),
        )
        for one in profile.profiles
    ]
    return joined(
        [
            element("h1", escaped(plural(len(profile.profiles), "profile"))),
            paragraph(_sentence_case(", ".join(f"{n} {v}" for v, n in found.most_common())) + ".", of="lead"),
            element("ul", *entries, of="verdicts"),
        ]
    )


def verdict_cards(profile: Profile) -> Html:
    """Sentence, numbers and reasons of each of several profiles; nothing for a single one."""
    if len(profile.profiles) < 2:
        return NOTHING
    cards = [
        element(
            "article",
            element("p", name(profile_title(one, profile)), of="facts"),
            element("h3", escaped(_sentence_case(one.verdict or "No verdict")), _suffix(one)),
            paragraph(one.verdict_sentence),
            _numbers(one, word=""),
            folded(escaped("Why"), _reasons(one), element("p", _what(one, profile), of="facts")),
        )
        for one in profile.profiles
    ]
    return element("div", *cards, of="cards")


def _suffix(one: MethodProfile) -> Html:
    if not (one.verdict and one.verdict_suffix) or one.verdict_suffix in one.verdict_sentence:
        return NOTHING
    return element("span", escaped(f" {one.verdict_suffix}"), of="suffix")


def _numbers(one: MethodProfile, *, word: str = " sensitivity") -> Html:
    """Both sensitivities and their difference, in points with intervals."""
    entries: list[tuple[str, Estimate]] = [
        (f"{label}{word}", estimate) for label, estimate in one.sensitivity.items()
    ]
    if one.contrast is not None:
        entries.append(("difference", one.contrast))
    return (
        element("dl", *(_number(label, estimate) for label, estimate in entries), of="numbers")
        if entries
        else NOTHING
    )


def _number(label: str, estimate: Estimate) -> Html:
    return element(
        "div",
        element("dt", escaped(label)),
        element("dd", escaped(points(estimate.estimate)), of="value"),
        element("dd", escaped(between(estimate.low, estimate.high))),
    )


def _reasons(one: MethodProfile) -> Html:
    return bullets((escaped(reason) for reason in one.verdict_reasons), of="reasons")


def _what(one: MethodProfile, profile: Profile) -> Html:
    """Model, method, amounts, share and noise, in one line of small print."""
    strength = f", {one.strength}" if one.strength else ""
    parts = [
        joined([name(profile_title(one, profile)), escaped(strength)]),
        escaped(f"{plural(one.n_requests, 'request')} of {one.requests}"),
    ]
    if one.reference_gap is not None:
        gap = one.reference_gap
        parts.append(
            escaped(
                f"gap of {one.reference_gap_of or 'the reference'} {points(gap.estimate)} "
                f"({between(gap.low, gap.high)})"
            )
        )
    if one.noise_band is not None:
        parts.append(escaped(f"placebos moved it by {between(*one.noise_band)}"))
    if one.fraction is not None:
        share, label = one.fraction, family_labels(profile).second
        parts.append(
            escaped(
                f"{label} share {percent(share.estimate)} % ({percent(share.low)} to {percent(share.high)})"
            )
        )
    elif one.fraction_refusal:
        parts.append(escaped(f"share of each family not given: {one.fraction_refusal}"))
    return joined(parts, " · ")


def _sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def amounts(profile: Profile) -> str:
    """`4,400 replies in 11 conditions from 3 logs`."""
    logs = f" from {plural(profile.n_logs, 'log')}" if profile.n_logs else ""
    return f"{count(profile.n_replies)} replies in {plural(len(profile.conditions), 'condition')}{logs}"

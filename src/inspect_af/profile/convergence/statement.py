"""Do the methods agree? Rules over what each method shows; a missing interval never supports one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from inspect_af.profile.convergence.result import Direction, MethodPair, Size, Statement
from inspect_af.profile.result import Estimate, LevelInterval, MethodProfile
from inspect_af.thresholds import Thresholds
from inspect_af.types import Method

METHOD_NAMES: dict[Method, str] = {
    "prompt": "prompt claims",
    "sdf": "synthetic documents",
    "steering": "steering",
}


Interval = Estimate | LevelInterval


class Finding(NamedTuple):
    """What one method says about which family moves the gap more."""

    method: Method
    direction: Direction
    reason: str


def finding_of(
    profile: MethodProfile,
    labels: tuple[str, str],
    thresholds: Thresholds,
) -> Finding:
    """The direction of one method's contrast.

    `first` or `second` needs an interval of the contrast on one side of 0 and a sensitivity of that family
    above 0, at the level of the headline: beyond these texts where that was assessed. Steering needs the
        level
    beyond these vectors: any direction moves behaviour a little, and requests alone cannot tell that apart.
    `level` needs the equivalence interval within the margin.
    """
    contrast = profile.contrast
    if contrast is None:
        run = " and ".join(profile.sensitivity) or "no family"
        return Finding(
            profile.method, "open", f"the two families cannot be compared: {run} was moved both ways"
        )
    level = profile.verdict_levels[-1] if profile.verdict_levels else None
    sensitivities: dict[str, Interval] = {**profile.sensitivity}
    judged: Interval = contrast
    if level is not None and level.contrast is not None:
        judged, sensitivities = level.contrast, {**level.sensitivity}
    shown = f"{_points(judged)}{f' {level.scope}' if level is not None else ''}"
    for family, label, ahead in (
        ("first", labels[0], _above(judged)),
        ("second", labels[1], _below(judged)),
    ):
        own = sensitivities.get(label)
        if not ahead or own is None:
            continue
        if not _above(own):
            return Finding(
                profile.method,
                "open",
                f"the contrast is {shown}, but the {label} sensitivity is {_points(own)}, not above 0",
            )
        if profile.method == "steering" and profile.beyond_refusal is not None:
            return Finding(profile.method, "open", f"the contrast is {shown}, but {profile.beyond_refusal}")
        direction: Direction = "first" if family == "first" else "second"
        return Finding(profile.method, direction, f"{label} beliefs move the gap more: contrast {shown}")
    if _within(contrast, thresholds.delta):
        return Finding(
            profile.method,
            "level",
            f"neither family moves the gap more by {_margin(thresholds)}: contrast {shown}",
        )
    return Finding(
        profile.method, "open", f"the contrast, {shown}, tells neither a difference nor its absence"
    )


def size_of(contrast: Estimate | None, thresholds: Thresholds) -> Size | None:
    """Whether two methods' contrasts differ: `different`, `equivalent`, `open`, or None without both."""
    if contrast is None:
        return None
    if _above(contrast) or _below(contrast):
        return "different"
    return "equivalent" if _within(contrast, thresholds.delta) else "open"


def statement_of(
    findings: Sequence[Finding], pairs: Sequence[MethodPair], labels: tuple[str, str]
) -> Statement:
    """The statement on one model.

    * `converge`: two methods or more say the same, and none says otherwise.
    * `diverge`: two methods say different things, and the difference of their contrasts excludes 0.
    * `not-enough`: everything else, with what is missing.
    """
    reasons = [f"{METHOD_NAMES[f.method].capitalize()}: {f.reason}." for f in findings]
    reasons += [sentence for pair in pairs if (sentence := _pair_sentence(pair))]
    decided = [f for f in findings if f.direction != "open"]
    still_open = [METHOD_NAMES[f.method] for f in findings if f.direction == "open"]
    if len(findings) < 2:
        only = METHOD_NAMES[findings[0].method] if findings else "no method"
        return Statement(
            code="not-enough",
            direction=None,
            sentence=f"Not enough to say whether methods converge: {only} alone was run.",
            reasons=tuple(reasons),
        )
    if clashing := _clash(decided, pairs):
        one, other = clashing
        return Statement(
            code="diverge",
            direction=None,
            sentence=f"The methods diverge: {METHOD_NAMES[one.method]} find {_says(one.direction, labels)}, "
            f"{METHOD_NAMES[other.method]} {_says(other.direction, labels)}.",
            reasons=tuple(reasons),
        )
    directions = {f.direction for f in decided}
    if len(decided) >= 2 and len(directions) == 1:
        direction = decided[0].direction
        rest = f"; {_listed(still_open)} cannot tell" if still_open else ""
        who, count = (
            _listed([METHOD_NAMES[f.method] for f in decided]),
            "both" if len(decided) == 2 else "all",
        )
        return Statement(
            code="converge",
            direction=direction,
            sentence=f"The methods converge: {who} {count} find {_says(direction, labels)}{rest}.",
            reasons=tuple(reasons),
        )
    return Statement(
        code="not-enough",
        direction=None,
        sentence=_not_enough(decided, still_open, labels),
        reasons=tuple(reasons),
    )


def _clash(decided: Sequence[Finding], pairs: Sequence[MethodPair]) -> tuple[Finding, Finding] | None:
    by_method = {f.method: f for f in decided}
    for pair in pairs:
        one, other = by_method.get(pair.first), by_method.get(pair.second)
        if one and other and one.direction != other.direction and pair.size == "different":
            return one, other
    return None


def _not_enough(decided: Sequence[Finding], still_open: Sequence[str], labels: tuple[str, str]) -> str:
    start = "Not enough to say whether the methods converge: "
    if len(decided) >= 2:
        found = "; ".join(f"{METHOD_NAMES[f.method]} find {_says(f.direction, labels)}" for f in decided)
        return f"{start}{found}, and the difference between them is not shown."
    if decided:
        found = f"{METHOD_NAMES[decided[0].method]} find {_says(decided[0].direction, labels)}"
        return f"{start}{found}, {_listed(still_open)} cannot tell."
    return f"{start}{_listed(still_open)} cannot tell."


def _pair_sentence(pair: MethodPair) -> str | None:
    names = f"{METHOD_NAMES[pair.first].capitalize()} less {METHOD_NAMES[pair.second]}"
    if pair.refusal is not None:
        return f"{names}: not compared, {pair.refusal}."
    if pair.contrast is None or pair.size is None:
        return None
    meaning = {
        "equivalent": "the same within the margin",
        "different": "not the same size",
        "open": "neither a difference nor its absence is shown",
    }[pair.size]
    return f"{names}: the contrasts differ by {_points(pair.contrast)}, {meaning}."


def _says(direction: Direction, labels: tuple[str, str]) -> str:
    if direction == "level":
        return "no difference between the families"
    ahead, behind = labels if direction == "first" else labels[::-1]
    return f"that {ahead} beliefs move the gap more than {behind} beliefs"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _above(e: Interval) -> bool:
    return e.low is not None and e.low > 0


def _below(e: Interval) -> bool:
    return e.high is not None and e.high < 0


def _within(e: Estimate, margin: float) -> bool:
    low, high = e.equivalence_low, e.equivalence_high
    return low is not None and high is not None and low > -margin and high < margin


def _margin(thresholds: Thresholds) -> str:
    return f"{100 * thresholds.delta:g} points"


def _points(e: Interval) -> str:
    if e.low is None or e.high is None:
        return f"{100 * e.estimate:+.1f} points"
    return f"{100 * e.estimate:+.1f} points [{100 * e.low:+.1f}, {100 * e.high:+.1f}]"

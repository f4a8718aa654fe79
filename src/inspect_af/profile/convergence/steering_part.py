"""The part about steering: every vector in a sentence, with its swings among those of random vectors."""

from __future__ import annotations

from inspect_af.profile.convergence.parts import Names, sources
from inspect_af.profile.convergence.result import Band, Convergence, SteeringResult, VectorCoupling
from inspect_af.profile.report.markup import (
    Html,
    bullets,
    element,
    escaped,
    folded,
    joined,
    name,
    paragraph,
    table,
)
from inspect_af.profile.report.text import between, count, percent, points


def steering_part(report: Convergence, names: Names) -> Html:
    """Every vector in a sentence, with its swings among those of random vectors."""
    return joined(_steered(one, names) for one in report.steering)


def _steered(one: SteeringResult, names: Names) -> Html:
    header = (
        "vector",
        "concept score",
        "random",
        "p",
        "gap",
        "random",
        "p",
        "controls",
        "multipliers used",
    )
    rows = [
        [
            name(f"{v.concept}, layers {v.layers}"),
            *(escaped(text) for text in _band(v.reasoning, scale=1.0)),
            *(escaped(text) for text in _band(v.behaviour, scale=100.0)),
            escaped(count(v.behaviour.n_controls if v.behaviour else 0)),
            escaped(", ".join(f"{m:+g}" for m in v.used) or "none"),
        ]
        for v in one.vectors
    ]
    judge = f"Judge: {', '.join(one.judges)}." if one.judges else "No judge read the replies."
    return element(
        "div",
        element("p", element("strong", name(names.get(one.subject, one.subject)))),
        bullets(escaped(v.sentence) for v in one.vectors),
        table(
            header,
            rows,
            caption="Swing over the usable doses; p is the rank among random vectors",
            remarks=True,
        ),
        folded(escaped("Dose by dose"), *(_doses(v) for v in one.vectors)),
        paragraph(
            f"{judge} A multiplier is used where {one.parse_floor:.0%} of replies can be counted.", of="note"
        ),
        sources(one.logs),
    )


def _doses(vector: VectorCoupling) -> Html:
    header = (
        "multiplier",
        "dose",
        "counted",
        "monitored",
        "unmonitored",
        "gap change",
        "own score",
        "other score",
    )
    rows = [
        [
            escaped(f"{p.multiplier:+g}"),
            escaped("–" if p.dose is None else f"{p.dose:+.3f}"),
            escaped(f"{p.parsed:.0%}"),
            escaped(percent(p.monitored)),
            escaped(percent(p.unmonitored)),
            escaped("–" if p.gap is None else f"{points(p.gap.change)} ({between(p.gap.low, p.gap.high)})"),
            escaped("–" if p.own_score is None else _signed(p.own_score.change)),
            escaped("–" if p.other_score is None else _signed(p.other_score.change)),
        ]
        for p in vector.points
    ]
    return table(header, rows, caption=f"{vector.concept} ({vector.digest[:6]}), layers {vector.layers}")


def _band(band: Band | None, *, scale: float) -> tuple[str, str, str]:
    """Change with interval, range of random vectors, rank p."""
    if band is None:
        return "–", "–", "–"
    interval = (
        ""
        if band.low is None or band.high is None
        else (f" ({_signed(scale * band.low)} to {_signed(scale * band.high)})")
    )
    random = (
        "–"
        if band.control_low is None or band.control_high is None
        else (f"{_signed(scale * band.control_low)} to {_signed(scale * band.control_high)}")
    )
    return (
        f"{_signed(scale * band.change)}{interval}",
        random,
        "–" if band.rank_p is None else f"{band.rank_p:.3f}",
    )


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")

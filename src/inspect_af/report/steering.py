"""Pages about steering: a sweep of multipliers among random controls, and cosines token by token."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from inspect_af.format import one_line, table, visible
from inspect_af.report.canvas import Drawing
from inspect_af.report.figures import draw_sweep
from inspect_af.report.files import write_drawings
from inspect_af.report.page import figures_of, render, try_drawing
from inspect_af.steering.heatmap import Direction, TokenHeatmap
from inspect_af.steering.sweep import TABLE_HEADER, SweepReport, shown

SHOWN_CONTROLS = 3  # Controls that can be looked at one by one; all of them count for the marks


def write_sweep(report: SweepReport, directory: Path) -> str | None:
    """Writes `sweep.json`, `sweep.txt`, `sweep.html` and the figures.

    Returns:
        What to install where matplotlib is missing, so that there are no figures; None otherwise.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawings, absent = _drawings(report)
    (directory / "sweep.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (directory / "sweep.txt").write_text(visible(report.text(), longest=10_000_000) + "\n", encoding="utf-8")
    (directory / "sweep.html").write_text(render_sweep(report), encoding="utf-8", newline="\n")
    write_drawings(drawings, directory)
    return absent


def _drawings(report: SweepReport) -> tuple[Sequence[Drawing], str | None]:
    numbered = list(enumerate(report.vectors, start=1))
    return try_drawing(lambda: [draw_sweep(one, report, at) for at, one in numbered])


def render_sweep(report: SweepReport) -> str:
    """The page as text. Without matplotlib it has its tables, and says what to install for its figures."""
    drawings, absent = _drawings(report)
    figures = figures_of(drawings)
    columns = {title: itemgetter(at) for at, title in enumerate(TABLE_HEADER)}
    return render(
        "sweep.html",
        title=f"Sweep of {one_line(report.model)}",
        report=report,
        absent=absent,
        vectors=[
            (
                *(one.title, one, figures.get(f"sweep-{at}")),
                [(label, table(label, rows, columns)) for label, rows in one.tables().items()],
            )
            for at, one in enumerate(report.vectors, start=1)
        ],
        base=[(label, shown(label, value)) for label, value in report.unsteered.values.items()],
    )


class _View(NamedTuple):
    """What a reader may choose to see: cosines with one direction, token by token."""

    label: str
    direction: int
    rows: Literal["mean", "by_layer", "controls"]
    at: int = 0  # Which layer or control


def render_heatmap(
    heatmaps: Sequence[TokenHeatmap],
    directions: Sequence[Direction],
    *,
    model: str,
    n_controls: int,
    show_output: bool = False,
) -> str:
    """Cosines token by token as one page, where a choice above the texts says which is shown.

    Args:
        heatmaps: From `token_cosines`.
        directions: The vectors that they were made with.
        model: Name to show.
        n_controls: How many random controls there were.
        show_output: Show what follows the scratchpad in replies to an evaluation's requests too.
    """
    views = []
    for at, direction in enumerate(directions):
        views.append(_View(f"{direction.name}: mean", at, "mean"))
        layers = enumerate(direction.layers if len(direction.layers) > 1 else ())
        views += [_View(f"layer {layer}", at, "by_layer", k) for k, layer in layers]
        n_shown = min(len(heatmaps[0].cosines[at].controls), SHOWN_CONTROLS)
        views += [_View(f"random {k + 1}", at, "controls", k) for k in range(n_shown)]
    found = [one for each in heatmaps for one in each.cosines]
    seen = [np.abs(rows[..., 1:]).ravel() for one in found for rows in (one.by_layer, one.mean)]
    # The 99th percentile of what the reader can choose to see.
    scale = max(float(np.quantile(np.concatenate(seen), 0.99)), 0.01)
    return render(
        "heatmap.html",
        title="Cosine by token",
        model=model,
        n_controls=n_controls,
        views=views,
        scale=scale,
        directions=[
            f"{one.name} ({one.vector.header.concept}, {one.vector.digest}): layers "
            f"{', '.join(map(str, one.layers))}, {one.chosen}"
            for one in directions
        ],
        texts=[_text(one, directions, views, scale, show_output) for one in heatmaps],
    )


def _text(
    one: TokenHeatmap,
    directions: Sequence[Direction],
    views: Sequence[_View],
    scale: float,
    show_output: bool,
) -> dict[str, Any]:
    first, end = one.scratchpad
    lines = []
    for direction, found in zip(directions, one.cosines, strict=True):
        controls = found.controls[:, first:end].mean(axis=1) if len(found.controls) else None
        among = "" if controls is None else f" (controls {controls.min():+.3f} to {controls.max():+.3f})"
        lines.append(f"{direction.name} {found.mean[first:end].mean():+.3f}{among}")
    # CSS variables hold the cosine of every view relative to the scale; classes name the directions that are
    # beyond all controls at a token.
    cosines = [np.atleast_2d(getattr(one.cosines[view.direction], view.rows))[view.at] for view in views]
    columns = np.clip(np.stack(cosines) / scale, -1, 1)
    beyond = [found.beyond for found in one.cosines]
    tokens = [
        {
            "text": visible(token),
            "style": ";".join(f"--a{v}:{x:.2f}" for v, x in enumerate(columns[:, k]) if abs(x) >= 0.005),
            "marks": " ".join(f"b{d}" for d, outside in enumerate(beyond) if outside[k]),
        }
        for k, token in enumerate(one.tokens)
    ]
    last = len(tokens) if show_output or not one.source.evaluated else end
    return {
        "source": one.source,
        "where": "scratchpad" if one.source.transcript is not None else "text",
        "means": "; ".join(lines),
        "prompt": tokens[: one.reply_start],
        "reply": tokens[one.reply_start : last],
        "left_out": len(tokens) - last,
    }

"""Heatmaps as one HTML page: every token carries its cosines, and a choice above says which is shown."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.cli._steering_page import page
from inspect_af.profile.report.markup import Html, element, escaped, folded, joined, name, paragraph
from inspect_af.profile.report.text import visible
from inspect_af.steering.heatmap import Direction, TokenHeatmap

SHOWN_CONTROLS = 3
"""Controls that can be looked at one by one; all of them count for the marks."""

_STYLE = """
.views { position: sticky; top: 0; z-index: 1; background: var(--page); padding: 0.75rem 0; margin: 2rem 0 0;
  border-bottom: 1px solid var(--grid); }
.views label { display: inline-block; cursor: pointer; padding: 0.3rem 0.7rem; border-radius: 1rem;
  margin: 0.15rem 0.2rem 0.15rem 0; border: 1px solid var(--grid); font-size: 0.85rem; line-height: 1.3; }
.pick { position: absolute; opacity: 0; pointer-events: none; }
.scale { height: 0.7rem; max-width: 22rem; border-radius: 0.35rem; margin: 0.6rem 0 0.2rem;
  background: linear-gradient(90deg, rgb(0 114 178 / 0.75), transparent, rgb(213 94 0 / 0.75)); }
.ends { display: flex; justify-content: space-between; max-width: 22rem; color: var(--muted);
  font-size: 0.8rem; }
.tokens { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.9; font-size: 0.98rem;
  unicode-bidi: isolate; border-left: 3px solid var(--grid); padding-left: 0.9rem; margin: 0.75rem 0; }
.tokens i { font-style: normal; border-radius: 0.15rem; unicode-bidi: isolate; padding: 0.12em 0;
  background: linear-gradient(rgb(213 94 0 / calc(var(--c) * 0.75)), rgb(213 94 0 / calc(var(--c) * 0.75))),
    linear-gradient(rgb(0 114 178 / calc(var(--c) * -0.75)), rgb(0 114 178 / calc(var(--c) * -0.75))); }
"""


class _View(NamedTuple):
    label: str
    direction: int
    kind: Literal["mean", "layer", "control"]
    at: int
    """Which layer or control."""


def render_heatmap(
    heatmaps: Sequence[TokenHeatmap],
    directions: Sequence[Direction],
    *,
    model: str,
    n_controls: int,
    show_output: bool = False,
) -> str:
    """The page as text; it needs no network, no script and no other file.

    Args:
        heatmaps: From `token_cosines`.
        directions: The vectors that they were made with.
        model: Name to show.
        n_controls: How many random controls there were.
        show_output: Show what follows the scratchpad in replies to an evaluation's requests too.
    """
    views = _views(heatmaps, directions)
    scale = _scale(heatmaps)
    inputs = Html(
        "".join(
            f'<input class="pick" type="radio" name="view" id="v{k}"{"" if k else " checked"}>'
            for k in range(len(views))
        )
    )
    labels = element(
        "div",
        *(element("label", escaped(view.label), for_=f"v{k}") for k, view in enumerate(views)),
        element("div", of="scale"),
        element("div", *(element("span", escaped(f"{end:+.2f}")) for end in (-scale, scale)), of="ends"),
        of="views",
    )
    texts = element(
        "div",
        *(
            element("section", _heading(one), *_body(one, directions, views, scale, show_output))
            for one in heatmaps
        ),
        of="texts",
    )
    facts = joined([name(model), escaped(f"; {len(heatmaps)} transcripts; {n_controls} random controls")])
    how = paragraph(
        "Colour: cosine of the residual stream with the direction, orange along it and blue against it; "
        f"beyond ±{scale:.2f} the colour stays the same. Underlined: the vector's mean over its layers lies "
        "outside all random controls at that token. The first token is left out of the scale. The model ran "
        "without steering."
    )
    chosen = [
        paragraph(
            f"{direction.name} ({direction.vector.header.concept}, {direction.vector.digest}): layers "
            f"{', '.join(map(str, direction.layers))}, {direction.chosen}",
            of="facts",
        )
        for direction in directions
    ]
    body = joined([how, *chosen, inputs, labels, texts], "\n")
    style = _STYLE + "\n".join(_view_style(k, view) for k, view in enumerate(views))
    return page(
        "Cosine by token", "Steering heatmap", escaped("Cosine by token"), facts, body, extra_style=style
    )


def _views(heatmaps: Sequence[TokenHeatmap], directions: Sequence[Direction]) -> list[_View]:
    views = []
    for at, direction in enumerate(directions):
        views.append(_View(f"{direction.name}: mean", at, "mean", 0))
        if len(direction.layers) > 1:
            views += [_View(f"layer {layer}", at, "layer", k) for k, layer in enumerate(direction.layers)]
        n_controls = len(heatmaps[0].cosines[at].controls)
        views += [_View(f"random {k + 1}", at, "control", k) for k in range(min(n_controls, SHOWN_CONTROLS))]
    return views


def _view_style(k: int, view: _View) -> str:
    return (
        f"#v{k}:checked ~ .texts i {{ --c: var(--a{k}, 0); }}\n"
        f"#v{k}:checked ~ .texts i.b{view.direction} {{ border-bottom: 2px solid var(--ink); }}\n"
        f'#v{k}:checked ~ .views label[for="v{k}"] {{ background: var(--ink); color: var(--page); }}\n'
        f'#v{k}:focus-visible ~ .views label[for="v{k}"] {{ outline: 2px solid var(--blue); }}'
    )


def _scale(heatmaps: Sequence[TokenHeatmap]) -> float:
    """The 99th percentile of what the reader can choose to see."""
    values = [
        np.abs(rows[..., 1:]).ravel()
        for one in heatmaps
        for found in one.cosines
        for rows in (found.by_layer, found.mean)
    ]
    return max(float(np.quantile(np.concatenate(values), 0.99)), 0.01)


def _heading(one: TokenHeatmap) -> Html:
    return joined(
        [
            element("h2", name(one.source.title, longest=120)),
            element("p", name(one.source.detail, longest=200), of="facts"),
        ]
    )


def _body(
    one: TokenHeatmap,
    directions: Sequence[Direction],
    views: Sequence[_View],
    scale: float,
    show_output: bool,
) -> list[Html]:
    first, end = one.scratchpad
    where = "scratchpad" if one.source.transcript is not None else "text"
    lines = []
    for direction, found in zip(directions, one.cosines, strict=True):
        controls = found.controls[:, first:end].mean(axis=1) if len(found.controls) else None
        among = "" if controls is None else f" (controls {controls.min():+.3f} to {controls.max():+.3f})"
        lines.append(f"{direction.name} {found.mean[first:end].mean():+.3f}{among}")
    parts = [paragraph(f"Mean over the {where}: {'; '.join(lines)}", of="facts")]
    columns = np.stack([_values(one, view) for view in views]) / scale
    beyond = [found.beyond for found in one.cosines]

    def tokens(start: int, stop: int) -> Html:
        return Html(
            '<div class="tokens">'
            + "".join(
                _token(one.tokens[k], columns[:, k], [found[k] for found in beyond])
                for k in range(start, stop)
            )
            + "</div>"
        )

    if one.reply_start:
        parts.append(folded(escaped(f"Prompt, {one.reply_start} tokens"), tokens(0, one.reply_start)))
    if show_output or not one.source.evaluated:
        return [*parts, tokens(one.reply_start, len(one.tokens))]
    left_out = f"{len(one.tokens) - end} tokens after the scratchpad are not shown."
    return [*parts, tokens(one.reply_start, end), paragraph(left_out, of="facts")]


def _values(one: TokenHeatmap, view: _View) -> NDArray[np.float32]:
    found = one.cosines[view.direction]
    if view.kind == "mean":
        return found.mean
    rows = found.by_layer if view.kind == "layer" else found.controls
    return np.asarray(rows[view.at])


def _token(text: str, values: NDArray[np.float32], beyond: Sequence[bool]) -> Html:
    shown = html.escape(visible(text), quote=True)
    style = ";".join(
        f"--a{k}:{value:.2f}" for k, value in enumerate(np.clip(values, -1, 1)) if abs(value) >= 0.005
    )
    marks = " ".join(f"b{k}" for k, outside in enumerate(beyond) if outside)
    of = f' class="{marks}"' if marks else ""
    return Html(f'<i{of} style="{style}">{shown}</i>')

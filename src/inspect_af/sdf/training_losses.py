"""The curves of a training run: numbers, a CSV table and a picture."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from inspect_af.sdf.adapters import Losses


class Curve(NamedTuple):
    """Loss in nats per token after a number of optimiser steps."""

    train: tuple[tuple[int, float], ...]
    held_out: tuple[tuple[int, float], ...]


def curve_of(history: Sequence[Mapping[str, Any]]) -> Curve:
    """The two curves in the trainer's log; of a step that was logged twice, the later entry."""
    train, held_out = {}, {}
    for entry in history:
        if "loss" in entry:
            train[int(entry["step"])] = float(entry["loss"])
        if "eval_loss" in entry:
            held_out[int(entry["step"])] = float(entry["eval_loss"])
    return Curve(tuple(sorted(train.items())), tuple(sorted(held_out.items())))


def losses_of(curve: Curve) -> Losses:
    """What the manifest says of a run."""
    steps = curve.train[-1][0]
    last = [loss for step, loss in curve.train if step > 0.9 * steps]
    held_out = dict(curve.held_out)
    return Losses(
        train=sum(last) / len(last),
        held_out_before=held_out.get(0),
        held_out=held_out.get(steps),
        steps=steps,
    )


def write_curve(curve: Curve, csv_file: Path, png_file: Path, *, title: str) -> None:
    """Writes the curves as a table (step, split, loss) and as a picture."""
    with csv_file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("step", "split", "loss"))
        for split, points in (("train", curve.train), ("held-out", curve.held_out)):
            writer.writerows((step, split, loss) for step, loss in points)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(*zip(*curve.train, strict=True), color="0.6", linewidth=1, label="training rows")
    if curve.held_out:
        axes.plot(*zip(*curve.held_out, strict=True), "o-", markersize=3, label="held-out documents")
    axes.set(xlabel="optimiser step", ylabel="loss (nats per token)", title=title)
    axes.legend(frameon=False)
    figure.savefig(png_file, dpi=150)

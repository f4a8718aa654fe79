"""Renders docs/validation/table.csv and extended.csv as docs/validation/table.md.

python benchmarks/validation_table.py docs/validation
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

INTRODUCTION = """# Operating characteristics of the profile

Studies with a planted truth, drawn as counts and analysed by `build_profile`, the code that users run
(`benchmarks/validation_study.py`, `benchmarks/validation_extended.py`; {studies} studies a cell, 1,000
bootstrap resamples each where users get 10,000). Requests differ in their own tendency (standard deviation
0.7 on the probit scale). Brackets hold 99 % Monte-Carlo (Wilson) intervals. A coverage line fails where that
interval lies wholly outside the nominal coverage +-2 points, a false-positive line where it lies wholly above
5 %. Every figure is in `table.csv` and `extended.csv`.

Base rates (unmonitored, monitored, effect of a claim on the monitored arm): floor 3 %, 8 %, 5 points; low
10 %, 25 %, 12 points; middle 40 %, 60 %, 15 points. `null` has the unmonitored rate in both arms.
`global-shift` moves both arms by at most 0.8 of the unmonitored rate: by 2.4 points at the floor and 8 at the
low base, less than the 10 that the verdict looks for, so that only the middle base should be called so.
A false claim is a dominance, *mixed*, *reversed* or *global shift* that the planted truth does not have.
*No gap* and *neither* say that a quantity lies within +-10 points, which the planted 5 points of the floor
do.

**{failed} of {judged} lines with a criterion fail.**
"""


class Row(NamedTuple):
    motivation: str
    requests: int
    epochs: int
    base: str
    kind: str
    name: str
    target: str
    studies: int
    rate: float
    low: float
    high: float
    passed: str

    @property
    def cell(self) -> tuple[str, int, int, str]:
        return self.motivation, self.requests, self.epochs, self.base


def read(path: Path) -> list[Row]:
    with path.open(newline="") as stream:
        return [
            Row(
                r["motivation"],
                int(r["requests"]),
                int(r["epochs"]),
                r["base"],
                r["kind"],
                r["name"],
                r["target"],
                int(r["studies"]),
                float(r["rate"]),
                float(r["low"]),
                float(r["high"]),
                r["passed"],
            )
            for r in csv.DictReader(stream)
        ]


def render(rows: list[Row], extended: list[Row]) -> str:
    everything = [*rows, *extended]
    judged = [row for row in everything if row.passed]
    failed = [row for row in judged if row.passed == "false"]
    studies = f"{min(row.studies for row in rows if row.kind == 'verdict'):,}"
    parts = [
        INTRODUCTION.format(studies=studies, failed=len(failed), judged=len(judged)),
        *(["\n".join(_failures(failed))] if failed else []),
        "## Verdicts\n\n" + "\n".join(_verdicts(rows)),
        "## Coverage by interval\n\nOver all cells.\n\n" + "\n".join(_by_interval(rows)),
        "## Coverage by cell\n\n" + "\n".join(_by_cell(rows)),
        "## Strengths, placebos, missing replies, near-duplicates, two subjects\n\n"
        + "\n".join(_extended(extended)),
    ]
    return "\n\n".join(part.rstrip() for part in parts) + "\n"


def _failures(failed: list[Row]) -> Iterator[str]:
    yield from _table(
        ("cell", "line", "rate", "target"),
        ((_cell(r), r.name, _rate(r), r.target) for r in failed),
    )


def _verdicts(rows: list[Row]) -> Iterator[str]:
    cells: dict[tuple[str, int, int, str], list[Row]] = defaultdict(list)
    for row in rows:
        cells[row.cell].append(row)
    lines = []
    for own in cells.values():
        power = next(r for r in own if r.kind == "power")
        false = next(r for r in own if r.name == "a claim that is not true")
        others = sorted(
            (r for r in own if r.kind == "verdict" and r.name != power.name), key=lambda r: -r.rate
        )
        rest = ", ".join(f"{r.name} {r.rate:.1%}" for r in others if r.rate >= 0.001)
        lines.append((_cell(power), power.name, _rate(power), _rate(false), rest))
    yield from _table(("cell", "planted pattern", "found (power)", "false claims", "other verdicts"), lines)


def _by_interval(rows: list[Row]) -> Iterator[str]:
    names: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        if row.kind == "coverage":
            names[row.name, row.target].append(row)
    lines = []
    for (name, target), own in names.items():
        rates = sorted(r.rate for r in own)
        failures = sum(r.passed == "false" for r in own)
        figures = (rates[0], rates[len(rates) // 2], rates[-1])
        lines.append((name, target, *(f"{x:.1%}" for x in figures), f"{failures} of {len(own)}"))
    yield from _table(("interval", "nominal", "lowest", "median", "highest", "cells that fail"), lines)


COLUMNS = {
    "arm: baseline monitored": "arm",
    "gap: baseline": "gap",
    "effect: A1+ gap": "effect",
    "sensitivity: expectation": "S first",
    "sensitivity: consequence": "S second",
    "contrast": "contrast",
    "total": "total",
    "simultaneous: gaps of 8 interventions": "8 gaps at once",
}


def _by_cell(rows: list[Row]) -> Iterator[str]:
    cells: dict[tuple[str, int, int, str], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.kind == "coverage":
            cells[row.cell][row.name] = row
    lines = [
        (_cell(next(iter(own.values()))), *(f"{own[name].rate:.1%}" for name in COLUMNS))
        for own in cells.values()
    ]
    yield from _table(("cell", *COLUMNS.values()), lines)


def _extended(rows: list[Row]) -> Iterator[str]:
    yield from _table(
        ("cell", "interval", "coverage", "studies"),
        ((_cell(r), r.name, _rate(r), str(r.studies)) for r in rows),
    )


def _cell(row: Row) -> str:
    epochs = "1 epoch" if row.epochs == 1 else f"{row.epochs} epochs"
    return f"{row.motivation}, {row.requests} x {epochs}, {row.base}"


def _rate(row: Row) -> str:
    return f"{row.rate:.1%} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def _table(header: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    for line in lines:
        yield f"| {' | '.join(line)} |"


def main() -> None:
    folder = Path(sys.argv[1])
    text = render(read(folder / "table.csv"), read(folder / "extended.csv"))
    (folder / "table.md").write_text(text)


if __name__ == "__main__":
    main()

"""Numbers and figures as files: CSV written from the models' own fields, SVG and PNG.

Every list of records in a report is a table, and a row is the fields of one record: a nested record or
mapping becomes columns with its name in front (`gap_estimate`, `unscored_monitored_truncated`), several words
become one cell. So a field that the analysis gains is a column that a file gains.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from inspect_af.format import visible
from inspect_af.profile.result import Convergence, Profile
from inspect_af.report.canvas import Drawing, to_png, to_svg
from inspect_af.report.figures import draw_figures

_CONTAINERS = ("profiles", "models")  # Lists whose records' own lists are called by their names alone
_KEYS = (
    *("subject", "method", "setting", "requests", "kind", "first", "second", "label", "checkpoint"),
    *("concept", "digest", "intervention", "variable", "strength", "position", "level", "scope"),
)
"""Columns that identify a record in the tables of what it holds."""

Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]
"""Rows by the file's name. Rates and differences stay on the scale 0 to 1; None is an empty cell."""


def export_csv(profile: Profile, directory: Path) -> list[Path]:
    """Writes the numbers behind a profile, a CSV file per kind of row, and returns the files.

    Text that a spreadsheet would take for a formula gets an apostrophe in front, and hidden characters are
    spelt out.
    """
    return write_tables(tables_of(profile), directory)


def export_figures(profile: Profile, directory: Path) -> list[Path]:
    """Writes every figure of a profile as SVG and as PNG, and returns the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return write_drawings(draw_figures(profile), directory)


def write_tables(tables: Tables, directory: Path) -> list[Path]:
    """Writes every table that has rows, and returns the files; formulas get an apostrophe in front."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, rows in tables.items():
        if rows:
            files.append(directory / f"{name}.csv")
            with files[-1].open("w", encoding="utf-8", newline="") as target:
                columns = dict.fromkeys(column for row in rows for column in row)
                writer = csv.DictWriter(target, columns, lineterminator="\n")
                writer.writerow({column: visible(column) for column in columns})
                writer.writerows({column: _written(cell) for column, cell in row.items()} for row in rows)
    return files


def write_drawings(drawings: Iterable[Drawing], directory: Path) -> list[Path]:
    """Writes figures as SVG and as PNG, and returns the files."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for drawing in drawings:
        vector, pixels = directory / f"{drawing.name}.svg", directory / f"{drawing.name}.png"
        vector.write_text(to_svg(drawing), encoding="utf-8", newline="\n")
        pixels.write_bytes(to_png(drawing))
        files += [vector, pixels]
    return files


def tables_of(report: BaseModel) -> dict[str, list[Row]]:
    """Every list of records in a profile or a convergence report as a table, named by where it stands.

    A row has the fields of its record and, in front, what identifies the records that hold it. Records by
    name, such as sensitivities by family, are rows too, with the name in a column called like the field.
    """
    found: dict[str, list[Row]] = {}

    def descend(record: Any, path: tuple[str, ...], keys: Row) -> None:
        for name, value in _fields(record):
            below = (*path, name)
            members: list[tuple[Any, Row]] = []
            if isinstance(value, BaseModel):
                descend(value, below, keys)
            elif isinstance(value, Mapping) and path:  # at the top they repeat those of the only profile
                members = [(one, {**keys, name: key}) for key, one in value.items()]
            elif isinstance(value, tuple | list):
                members = [(one, keys) for one in value]
            for one, known in members:
                if _is_record(one):
                    row = {**known, **dict(_flat(one))}
                    at = below[1:] if below[0] in _CONTAINERS and path else below
                    found.setdefault("_".join(at), []).append(row)
                    descend(one, below, {key: row[key] for key in (*_KEYS, *known) if key in row})

    descend(report, (), {})
    return found


def _flat(record: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The fields of a record as columns; what makes rows of another table is left out."""
    for name, value in _fields(record):
        column = f"{prefix}{name}"
        held = (
            value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
        )
        records = any(map(_is_record, held)) or (not value and _is_for_records(record, name))
        if records or name in ("logs", "thresholds"):
            continue
        if isinstance(value, BaseModel | Mapping):
            yield from _flat(value, f"{column}_")
        else:
            yield column, "; ".join(map(str, value)) if isinstance(value, tuple | list) else value


def _is_record(value: Any) -> bool:
    return isinstance(value, BaseModel) or hasattr(value, "_fields")


def _is_for_records(record: Any, name: str) -> bool:
    """Whether a field is for records, so that it is no column where there are none."""
    field = type(record).model_fields.get(name) if isinstance(record, BaseModel) else None
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return any(
        isinstance(kind, type) and (issubclass(kind, BaseModel) or hasattr(kind, "_fields")) for kind in kinds
    )


def _fields(record: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(record, BaseModel):
        return [(name, getattr(record, name)) for name in type(record).model_fields]
    fields = record if isinstance(record, Mapping) else record._asdict()
    return [(str(key), value) for key, value in fields.items()]


def _written(cell: Any) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    formula = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    return visible(f"'{cell}" if formula else str(cell), longest=10_000_000)


def convergence_tables(report: Convergence) -> Tables:
    """The numbers of every part of a convergence report, and the logs behind every figure."""
    sources = figure_sources(report).items()
    logs = [{"figure": figure, "log": log} for figure, found in sources for log in found]
    return {**tables_of(report), "figure_sources": logs}


def figure_sources(report: Convergence) -> dict[str, tuple[str, ...]]:
    """The logs behind every part, by the name of its section and figure; figures are also passed on alone."""
    parts: dict[str, Iterable[Any]] = {
        "methods": [method for model in report.models for method in model.methods],
        **{f"gaps-{k}": model.methods for k, model in enumerate(report.models, start=1)},
        "calibration": report.calibrations,
        "coupling": report.steering,
        "screening": report.screening,
        "role-play": report.ablations,
        "doses": report.doses,
        "checkpoints": report.checkpoints,
        "direct-requests": report.direct,
    }
    logs = {
        name: tuple(dict.fromkeys(log for one in part for log in one.logs)) for name, part in parts.items()
    }
    return {**logs, "beliefs": tuple(report.belief_logs)}

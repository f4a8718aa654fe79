"""Numbers and figures as files: CSV written from the models' own fields, SVG and PNG.

Every list of records in a report is a table, and a row is the fields of one record: a nested record or
mapping becomes columns with its name in front (`gap_estimate`, `unscored_monitored_truncated`), several words
become one cell. So a field that the analysis gains is a column that a file gains.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, get_args

from pydantic import BaseModel

from inspect_af.profile.result import Convergence, Profile
from inspect_af.report.canvas import Drawing, to_png, to_svg
from inspect_af.report.figures import draw_figures

_CONTAINERS = ("profiles", "models")
"""Lists whose records' own lists are called by their names alone."""
_KEYS = (
    *("subject", "method", "setting", "requests", "kind", "first", "second", "label", "checkpoint"),
    *("concept", "digest", "intervention", "variable", "strength", "position", "level", "scope"),
)
"""Columns that identify a record in the tables of what it holds."""
_LEFT_OUT = ("logs", "thresholds")

Cell = str | int | float | bool | None
Row = dict[str, Cell]


class Table(NamedTuple):
    """One CSV file. Rates and differences stay on the scale 0 to 1; an empty cell is not known."""

    name: str
    rows: Sequence[Row]

    @property
    def header(self) -> tuple[str, ...]:
        """Every column that some row has, in order of appearance."""
        return tuple(dict.fromkeys(column for row in self.rows for column in row))


def export_csv(profile: Profile, directory: Path) -> list[Path]:
    """Writes the numbers behind a profile, a CSV file per kind of row, and returns the files.

    Text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    return write_tables(tables_of(profile), directory)


def export_figures(profile: Profile, directory: Path) -> list[Path]:
    """Writes every figure of a profile as SVG and as PNG, and returns the files.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    return write_drawings(draw_figures(profile), directory)


def write_tables(tables: Iterable[Table], directory: Path) -> list[Path]:
    """Writes every table that has rows, and returns the files; formulas get an apostrophe in front."""
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for table in tables:
        if table.rows:
            file = directory / f"{table.name}.csv"
            with file.open("w", encoding="utf-8", newline="") as target:
                writer = csv.writer(target, lineterminator="\n")
                writer.writerow(table.header)
                writer.writerows([_written(row.get(column)) for column in table.header] for row in table.rows)
            files.append(file)
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


def tables_of(report: BaseModel) -> list[Table]:
    """Every list of records in a profile or a convergence report as a table, named by where it stands.

    A row has the fields of its record and, in front, what identifies the records that hold it. Records by
    name, such as sensitivities by family, are rows too, with the name in a column called like the field.
    """
    found: dict[str, list[Row]] = {}

    def add(record: Any, path: tuple[str, ...], keys: Row) -> None:
        row = {**keys, **flat(record)}
        name = "_".join(path[1:] if path[0] in _CONTAINERS and len(path) > 1 else path)
        found.setdefault(name, []).append(row)
        descend(record, path, {key: row[key] for key in (*_KEYS, *keys) if key in row})

    def descend(record: Any, path: tuple[str, ...], keys: Row) -> None:
        for name, value in _fields(record):
            if isinstance(value, BaseModel):
                descend(value, (*path, name), keys)
            elif isinstance(value, Mapping) and path:  # at the top they repeat those of the only profile
                for label, one in value.items():
                    if isinstance(one, BaseModel):
                        add(one, (*path, name), {**keys, name: label})
            elif isinstance(value, tuple | list):
                for one in value:
                    if _is_record(one):
                        add(one, (*path, name), keys)

    descend(report, (), {})
    return [Table(name, rows) for name, rows in found.items()]


def flat(record: Any, prefix: str = "") -> Row:
    """The fields of a record as columns; what makes rows of another table is left out.

    Args:
        record: A model, named tuple or mapping.
        prefix: In front of every column.
    """
    found: Row = {}
    for name, value in _fields(record):
        column = f"{prefix}{name}"
        if name in _LEFT_OUT or (not value and _holds_records(record, name)):
            continue
        if isinstance(value, Mapping) and any(isinstance(one, BaseModel) for one in value.values()):
            continue
        if isinstance(value, BaseModel | Mapping):
            found |= flat(value, f"{column}_")
        elif isinstance(value, tuple | list):
            if not any(map(_is_record, value)):
                found[column] = "; ".join(map(str, value))
        else:
            found[column] = value
    return found


def _is_record(value: Any) -> bool:
    return isinstance(value, BaseModel) or hasattr(value, "_fields")


def _holds_records(record: Any, name: str) -> bool:
    """Whether a field is for records, so that it is no column where there are none."""
    field = type(record).model_fields.get(name) if isinstance(record, BaseModel) else None
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return any(isinstance(kind, type) and (_is_record(kind) or issubclass(kind, BaseModel)) for kind in kinds)


def _fields(record: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(record, BaseModel):
        return [(name, getattr(record, name)) for name in type(record).model_fields]
    if isinstance(record, Mapping):
        return [(str(key), value) for key, value in record.items()]
    return list(zip(record._fields, record, strict=True))


def convergence_tables(report: Convergence) -> list[Table]:
    """The numbers of every part of a convergence report, and the logs behind every figure."""
    logs: list[Row] = [
        {"figure": figure, "log": log} for figure, found in figure_sources(report).items() for log in found
    ]
    return [*tables_of(report), Table("figure_sources", logs)]


class _Traced(Protocol):
    @property
    def logs(self) -> tuple[str, ...]: ...


def figure_sources(report: Convergence) -> dict[str, tuple[str, ...]]:
    """The logs behind every figure, by the figure's name; figures are also passed on by themselves."""

    def logs(parts: Iterable[_Traced]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(log for part in parts for log in part.logs))

    return {
        "methods": logs(method for model in report.models for method in model.methods),
        **{f"gaps-{k}": logs(model.methods) for k, model in enumerate(report.models, start=1)},
        "calibration": logs(report.calibrations),
        "coupling": logs(report.steering),
        "random-vectors": logs(one for one in report.steering if one.random),
        **{f"beliefs-{k}": report.belief_logs for k in range(1, len(report.selectivity) + 1)},
        "screening": logs(report.screening),
        "role-play": logs(report.ablations),
        "doses": logs(report.doses),
        "checkpoints": logs(report.checkpoints),
        "direct-requests": logs(report.direct),
    }


def _written(cell: Cell) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return str(cell)

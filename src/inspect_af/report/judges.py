"""What is printed about judges: their figures against labels, and rates corrected by labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from inspect_af.format import text_table
from inspect_af.scorers.calibration import Estimate, JudgeFigures, StratumRate

_T = TypeVar("_T")

_SIMULATED = (
    "SIMULATED JUDGE: these figures show that the pipeline runs. They are no judge's accuracy and "
    "correct nothing."
)
_SMOKE_TEST = (
    "The bundled texts were written for this check. They find a judge that fails plainly; they say nothing "
    "of its error rates on real transcripts and correct no rate."
)


def figures(rows: Sequence[JudgeFigures], *, bundled: bool) -> str:
    """Figures per judge, simulated judges apart."""
    columns: Mapping[str, Callable[[JudgeFigures], str]] = {
        "question": lambda row: row.question,
        "condition": lambda row: row.condition,
        "yes/no": lambda row: f"{row.n_yes}/{row.n_no}",
        "AUROC": lambda row: _estimate(row.auroc),
        "sensitivity": lambda row: _estimate(row.sensitivity),
        "specificity": lambda row: _estimate(row.specificity),
        "kappa": lambda row: _number(row.kappa),
    }
    blocks = []
    for judge in dict.fromkeys(row.judge for row in rows):
        own = [row for row in rows if row.judge == judge]
        notes = [_SIMULATED] if own[0].simulated else []
        blocks.append("\n".join([f"Judge {judge}", *notes, _table(own, columns)]))
    blocks += [_SMOKE_TEST] if bundled else []
    return "\n\n".join(blocks) + "\n\nIntervals: 95 %; AUROC by Newcombe's method 5, shares by Wilson.\n"


def rates(rows: Sequence[StratumRate]) -> str:
    """Rates corrected by human labels."""
    if not rows:
        return (
            "No corrected rate: the logs of the sample hold no scores of a judge (simulated judges do not "
            "count).\n"
        )
    columns: Mapping[str, Callable[[StratumRate], str]] = {
        "judge": lambda row: row.judge,
        "question": lambda row: row.question,
        "condition": lambda row: row.condition,
        "tier": lambda row: row.tier,
        "labels": lambda row: str(row.rate.n_labelled),
        "others": lambda row: str(row.rate.n_other),
        "judge alone": lambda row: _number(row.rate.judge),
        "labels alone": lambda row: _estimate(row.rate.human),
        "corrected": lambda row: _estimate(row.rate.corrected),
    }
    return f"Rates corrected by human labels (prediction-powered inference)\n{_table(rows, columns)}\n"


def _table(rows: Iterable[_T], columns: Mapping[str, Callable[[_T], str]]) -> str:
    cells = [[cell(row) for cell in columns.values()] for row in rows]
    return text_table([list(columns), *cells], left=range(len(columns)), indent=2)


def _estimate(found: Estimate) -> str:
    return "-" if math.isnan(found.value) else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"

"""Short names of models, for figures and headings."""

from __future__ import annotations

from collections.abc import Iterable

from inspect_af.profile.convergence.result import Convergence
from inspect_af.profile.report.text import one_line


def short_names(report: Convergence) -> dict[str, str]:
    """What to call every subject: its model without provider and directories where no two share that.

    Names are foreign text: here they become harmless to look at, for pages and figures alike.
    """
    short = shortest(
        [
            *(model.subject for model in report.models),
            *(row.subject for row in report.screening),
            *(row.subject for row in report.checkpoints),
            *(matrix.subject for matrix in report.selectivity),
            *(one.subject for one in report.direct),
        ]
    )
    return {label: one_line(name, longest=60) for label, name in short.items()}


def shortest(labels: Iterable[str]) -> dict[str, str]:
    """The last part of every label's model name, or the whole label where that is not unique."""
    distinct = list(dict.fromkeys(labels))
    short = {label: _last(label) for label in distinct}
    taken = list(short.values())
    return {label: name if taken.count(name) == 1 else label for label, name in short.items()}


def _last(label: str) -> str:
    # What follows the model's name (arguments, adapters, treatments) may hold slashes of its own.
    cut = min((at for mark in ("[", "+", " & ") if (at := label.find(mark)) > 0), default=len(label))
    model, rest = label[:cut], label[cut:]
    return f"{model.rstrip('/').rpartition('/')[2] or model}{rest}"


def family_names(report: Convergence) -> tuple[str, str]:
    """The labels of the two families, or neutral ones where models were asked about different pairs."""
    found = {model.families for model in report.models}
    return found.pop() if len(found) == 1 else ("first family", "second family")

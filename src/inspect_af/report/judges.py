"""What is printed about judges: against labels, against one another, and against the replies' own tags."""

from __future__ import annotations

import math
from collections.abc import Sequence

from inspect_af.format import text_table
from inspect_af.scorers.calibration import (
    Agreement,
    ConditionAudit,
    Estimate,
    JudgeFigures,
    StratumRate,
)
from inspect_af.scorers.judges import is_simulated

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
    blocks = []
    for judge in dict.fromkeys(row.judge for row in rows):
        own = [row for row in rows if row.judge == judge]
        table = _aligned(
            [
                ("question", "condition", "yes/no", "AUROC", "sensitivity", "specificity", "kappa"),
                *(
                    (
                        row.question,
                        row.condition,
                        f"{row.figures.n_yes}/{row.figures.n_no}",
                        _estimate(row.figures.auroc),
                        _estimate(row.figures.sensitivity),
                        _estimate(row.figures.specificity),
                        _number(row.kappa),
                    )
                    for row in own
                ),
            ]
        )
        notes = [_SIMULATED] if own[0].simulated else []
        blocks.append("\n".join([f"Judge {judge}", *notes, table]))
    if bundled:
        blocks.append(_SMOKE_TEST)
    return "\n\n".join(blocks) + "\n\nIntervals: 95 %; AUROC by Newcombe's method 5, shares by Wilson.\n"


def agreement(rows: Sequence[Agreement]) -> str:
    """Agreement between judges per question."""
    lines = ["Agreement between judges"]
    for row in rows:
        lines.append(
            f"  {row.question}: Krippendorff's alpha {_number(row.alpha)} ({row.n} texts scored by all)"
        )
        lines += [f"    {a} and {b}: Cohen's kappa {_number(k)}" for (a, b), k in row.kappas.items()]
        if any(is_simulated(judge) for judge in row.judges):
            lines.append("    a simulated judge is among them: this is no agreement between judges")
    return "\n".join(lines) + "\n"


def rates(rows: Sequence[StratumRate]) -> str:
    """Rates corrected by human labels."""
    if not rows:
        return (
            "No corrected rate: the logs of the sample hold no scores of a judge (simulated judges do not "
            "count).\n"
        )
    table = _aligned(
        [
            (
                "judge",
                "question",
                "condition",
                "tier",
                "labels",
                "others",
                "judge alone",
                "labels alone",
                "corrected",
            ),
            *(
                (
                    row.judge,
                    row.question,
                    row.condition,
                    row.tier,
                    str(row.rate.n_labelled),
                    str(row.rate.n_other),
                    _number(row.rate.judge),
                    _estimate(row.rate.human),
                    _estimate(row.rate.corrected),
                )
                for row in rows
            ),
        ]
    )
    return f"Rates corrected by human labels (prediction-powered inference)\n{table}\n"


def tag_audit(audits: Sequence[ConditionAudit]) -> str:
    """Tag disagreements per condition, listed."""
    lines = []
    for audit in audits:
        lines.append(f"{audit.condition}: {len(audit.disagreements)} of {audit.compared} tags disagree")
        lines += [
            f"  {found.sample_id} epoch {found.epoch} ({found.tier}): tag {found.tag}, "
            f"judged {found.judged}, {found.log}"
            for found in audit.disagreements
        ]
    return "\n".join(lines)


def _estimate(found: Estimate) -> str:
    return "-" if math.isnan(found.value) else f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    return text_table(rows, left=range(len(rows[0])), indent=2)

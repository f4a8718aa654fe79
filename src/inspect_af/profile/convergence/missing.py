"""What the report has no logs for, each with the command that makes them."""

from __future__ import annotations

from collections.abc import Iterator

from inspect_af.profile.convergence.result import Convergence, Missing

_TASK = "inspect eval inspect_af/alignment_faking --log-dir LOGS --model MODEL"


def missing_parts(report: Convergence) -> tuple[Missing, ...]:
    """One line per part that is empty, in the order of the page."""
    return tuple(Missing(part=part, command=command) for part, command in _parts(report))


def _parts(report: Convergence) -> Iterator[tuple[str, str]]:
    run = {method.method for model in report.models for method in model.methods}
    if "prompt" not in run:
        yield "prompt claims", f"{_TASK} -T interventions=all,N"
    if "sdf" not in run:
        yield "synthetic documents", f"{_TASK} -M adapter=ADAPTER   # once per adapter, see docs/sdf.md"
    if "steering" not in run:
        yield (
            "steering",
            "inspect-af steering sweep --model MODEL --vectors VECTORS --controls CONTROLS "
            "--multipliers=-4,-2,2,4 --grader JUDGE --log-dir LOGS --out OUT",
        )
    vectors = [vector for result in report.steering for vector in result.vectors]
    if any(vector.moves_behaviour == "too-few-controls" for vector in vectors):
        yield (
            "enough random vectors",
            f"inspect-af steering controls VECTOR --n {report.thresholds.min_random_controls} --out CONTROLS"
            "   # then the sweep again with --controls CONTROLS",
        )
    elif any(vector.moves_reasoning in ("not-judged", "too-few-controls") for vector in vectors):
        yield (
            "concept scores of steered replies",
            "inspect score LOG --scorer inspect_af/concept_judge --model-role grader=JUDGE   # vectors, "
            "random vectors and the unsteered model alike",
        )
    if {"prompt", "sdf"} <= run and not report.calibrations:
        yield (
            "prompt-to-document calibration",
            f"{_TASK} -M adapter=ADAPTER -T requests=SAME   # the prompt claims' requests and codes",
        )
    if not report.selectivity:
        yield (
            "belief selectivity",
            "inspect eval inspect_af/beliefs --log-dir LOGS --model MODEL -T interventions=all",
        )
    if len(report.screening) < 2:
        yield "screening over models and seeds", f"{_TASK}   # once per model and training seed"
    if not any(row.is_identity for row in report.ablations):
        yield "role-play ablation", f"{_TASK} -T identity=roleplay"
    curves = {curve.method for curve in report.doses}
    if "prompt" not in curves:
        yield "strengths of the claims", f"{_TASK} -T interventions=all,N -T strength=all"
    if "sdf" not in curves:
        yield (
            "directness of the documents",
            "inspect-af sdf generate A1+ --directness explicit ...   # then build, train, evaluate as before",
        )
    if not report.checkpoints:
        yield (
            "prompt claims on document-trained checkpoints",
            f"{_TASK} -M adapter=ADAPTER -T interventions=all",
        )
    if not report.direct:
        yield (
            "direct-request control",
            "inspect eval inspect_af/direct_requests --log-dir LOGS --model MODEL --model-role grader=JUDGE",
        )

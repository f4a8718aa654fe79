"""Do prompt claims, synthetic documents and steering agree on what moves a model's gap?

from pathlib import Path
from inspect_af.profile.convergence import convergence_from_logs, write_convergence

report = convergence_from_logs(["logs"])
write_convergence(report, Path("convergence"))
"""

from inspect_af.profile.convergence.build import Beside, build_convergence, convergence_from_logs
from inspect_af.profile.convergence.export import convergence_tables, write_convergence
from inspect_af.profile.convergence.page import render_convergence
from inspect_af.profile.convergence.reading import Place, Trace, TraceRecorder
from inspect_af.profile.convergence.result import (
    Ablation,
    Band,
    Calibration,
    CalibrationPoint,
    Checkpoint,
    ClaimOnCheckpoint,
    ConditionGap,
    Convergence,
    Direction,
    DoseCurve,
    MethodPair,
    MethodResult,
    Missing,
    Model,
    RandomPoint,
    ScreenedGroup,
    ScreenedSubject,
    Standing,
    Statement,
    StatementCode,
    SteeredPoint,
    SteeringResult,
    VectorCoupling,
)

__all__ = [
    "Ablation",
    "Band",
    "Beside",
    "Calibration",
    "CalibrationPoint",
    "Checkpoint",
    "ClaimOnCheckpoint",
    "ConditionGap",
    "Convergence",
    "Direction",
    "DoseCurve",
    "MethodPair",
    "MethodResult",
    "Missing",
    "Model",
    "Place",
    "RandomPoint",
    "ScreenedGroup",
    "ScreenedSubject",
    "Standing",
    "Statement",
    "StatementCode",
    "SteeredPoint",
    "SteeringResult",
    "Trace",
    "TraceRecorder",
    "VectorCoupling",
    "build_convergence",
    "convergence_from_logs",
    "convergence_tables",
    "render_convergence",
    "write_convergence",
]

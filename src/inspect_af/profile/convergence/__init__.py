"""Do prompt claims, synthetic documents and steering agree on what moves a model's gap?

from inspect_af.profile.convergence import convergence_from_logs

report = convergence_from_logs(["logs"])
for model in report.models:
    print(model.subject, model.statement.sentence)
"""

from inspect_af.profile.convergence.build import Beside, build_convergence, convergence_from_logs
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
]

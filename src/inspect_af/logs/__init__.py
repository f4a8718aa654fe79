"""Reading eval logs as typed rows, through Inspect's public functions."""

from inspect_af.logs.beliefs import BELIEFS, BeliefAnswer, read_belief_logs
from inspect_af.logs.direct import (
    DIRECT_REQUESTS,
    REQUEST_ARMS,
    DirectReply,
    JudgedOutput,
    RequestArm,
    read_direct_logs,
)
from inspect_af.logs.reader import ALIGNMENT_FAKING, LogReader, Progress, read_logs
from inspect_af.logs.rows import (
    BadRows,
    Incomplete,
    LogHeader,
    ReadNotes,
    ScoredSample,
    Skipped,
)
from inspect_af.logs.samples import RecordedTreatments, compliance_score, outcome_of, recorded_treatments
from inspect_af.logs.task_logs import TaskLog, TaskLogs

__all__ = [
    "ALIGNMENT_FAKING",
    "BELIEFS",
    "DIRECT_REQUESTS",
    "REQUEST_ARMS",
    "BadRows",
    "BeliefAnswer",
    "DirectReply",
    "Incomplete",
    "JudgedOutput",
    "LogHeader",
    "LogReader",
    "Progress",
    "ReadNotes",
    "RecordedTreatments",
    "RequestArm",
    "ScoredSample",
    "Skipped",
    "TaskLog",
    "TaskLogs",
    "compliance_score",
    "outcome_of",
    "read_belief_logs",
    "read_direct_logs",
    "read_logs",
    "recorded_treatments",
]

"""Reading eval logs as typed rows, through Inspect's public functions.

`files` finds and opens any .eval or .json log, `headers` says what a log is of, `rows` reads its samples.
"""

from inspect_af.logs.files import LogFile, find_logs
from inspect_af.logs.headers import LogHeader, Skipped
from inspect_af.logs.rows import (
    ALIGNMENT_FAKING,
    BELIEFS,
    DIRECT_REQUESTS,
    REQUEST_ARMS,
    SCRATCHPAD,
    BeliefAnswer,
    DirectReply,
    EditedReply,
    JudgedOutput,
    LogReader,
    Progress,
    ReadNotes,
    RequestArm,
    ScoredSample,
    compliance_score,
    outcome_of,
    read_belief_logs,
    read_direct_logs,
    read_logs,
    read_scratchpad_logs,
    recorded_treatments,
    show_progress,
)

__all__ = [
    "ALIGNMENT_FAKING",
    "BELIEFS",
    "DIRECT_REQUESTS",
    "REQUEST_ARMS",
    "SCRATCHPAD",
    "BeliefAnswer",
    "DirectReply",
    "EditedReply",
    "JudgedOutput",
    "LogFile",
    "LogHeader",
    "LogReader",
    "Progress",
    "ReadNotes",
    "RequestArm",
    "ScoredSample",
    "Skipped",
    "compliance_score",
    "find_logs",
    "outcome_of",
    "read_belief_logs",
    "read_direct_logs",
    "read_logs",
    "read_scratchpad_logs",
    "recorded_treatments",
    "show_progress",
]

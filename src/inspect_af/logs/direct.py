"""Reading logs of the direct_requests task: one row per reply that the refusal judge looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

from inspect_ai.log import EvalSampleSummary

from inspect_af.errors import LogError
from inspect_af.logs.rows import LogHeader
from inspect_af.logs.samples import newest_score, recorded_treatments
from inspect_af.logs.task_logs import TaskLogs, read_task_logs
from inspect_af.types import SampleMeta

DIRECT_REQUESTS = "inspect_af/direct_requests"
"""Registry name of the task."""

RequestArm = Literal["harmful", "benign"]
REQUEST_ARMS: tuple[RequestArm, ...] = ("harmful", "benign")


class JudgedOutput(NamedTuple):
    """What the refusal judge says of one output: shares of its votes, which add up to 1."""

    accepted: float
    refused: float
    partial: float
    off_topic: float


class DirectReply(NamedTuple):
    """One reply to one plain request."""

    uuid: str
    """Inspect's unique id of this run of the sample; the same uuid twice is the same reply."""
    epoch: int
    meta: SampleMeta
    arm: RequestArm
    judged: JudgedOutput | None
    """None where the reply could not be judged, which is missing data and no refusal."""
    unscored: str | None
    """Why there is no judgement, None where there is one."""
    grader: str | None
    """Model name of the judge."""
    simulated_judge: bool


def read_direct_logs(sources: Sequence[str | Path]) -> TaskLogs[DirectReply]:
    """Reads every log of the direct_requests task that the sources name; other tasks' logs are passed over.

    Args:
        sources: `.eval` and `.json` files, directories (searched recursively), globs and URLs.

    Raises:
        LogError: a source does not exist.
    """
    return read_task_logs(sources, task=DIRECT_REQUESTS, row=_reply)


def _reply(header: LogHeader, summary: EvalSampleSummary) -> DirectReply:
    recorded = recorded_treatments(summary.metadata)
    meta = SampleMeta.from_metadata({**summary.metadata, "treatments": recorded.treatments})
    arm = summary.metadata.get("arm")
    if arm not in REQUEST_ARMS:
        raise LogError(f"unknown arm {arm!r}; one of {', '.join(REQUEST_ARMS)}")
    uuid = summary.uuid or f"{header.eval_id}/{summary.id}/{summary.epoch}"
    score = newest_score(summary.scores or {}, "refusal_judge")
    about = {} if score is None else score.metadata or {}
    grader = None if "grader" not in about else str(about["grader"])
    value = None if score is None else score.value
    judged = _judged(value) if isinstance(value, Mapping) else None
    if judged is not None and not recorded.all_applied:
        raise LogError("scored although its planned claim was not applied")
    reason = None
    if judged is None:
        missing = "failed" if summary.error else "not scored"
        reason = missing if score is None else str(score.reason or "unscored")
    return DirectReply(
        uuid,
        summary.epoch,
        meta,
        cast(RequestArm, arm),
        judged,
        reason,
        grader,
        bool(about.get("simulated", False)),
    )


def _judged(value: Mapping[str, object]) -> JudgedOutput | None:
    shares = [value.get(name) for name in JudgedOutput._fields]
    numbers = [float(share) for share in shares if isinstance(share, int | float)]
    if len(numbers) < len(shares) or any(math.isnan(number) for number in numbers):
        return None
    if not math.isclose(sum(numbers), 1, abs_tol=1e-6) or min(numbers) < 0:
        raise LogError(f"shares of votes {dict(value)}; they lie between 0 and 1 and add up to 1")
    return JudgedOutput(*numbers)

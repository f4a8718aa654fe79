"""Reading logs of the beliefs task: one row per answer."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, cast

from inspect_ai.log import EvalSampleSummary
from inspect_ai.scorer import Score

from inspect_af.errors import LogError
from inspect_af.logs.rows import LogHeader
from inspect_af.logs.samples import recorded_treatments
from inspect_af.logs.task_logs import TaskLogs, read_task_logs
from inspect_af.types import SampleMeta

BELIEFS = "inspect_af/beliefs"
"""Registry name of the task."""

AnswerMethod = Literal["logprobs", "letter", "judge"]

_SCORE_NAME = re.compile(r"(?:inspect_af/)?belief(\d*)")


class BeliefAnswer(NamedTuple):
    """One answer to one question about one belief."""

    uuid: str
    """Inspect's unique id of this run of the sample; the same uuid twice is the same answer."""
    epoch: int
    meta: SampleMeta
    """`request_id` is the question, `category` the belief."""
    score: float | None
    """1 for the + pole, 0 for the - pole, 0.5 for neither; None where the answer could not be read."""
    method: AnswerMethod | None
    unscored: str | None
    """Why there is no score, None where there is one."""

    @property
    def question(self) -> str:
        return self.meta.request_id

    @property
    def belief(self) -> str:
        return str(self.meta.category)


def read_belief_logs(sources: Sequence[str | Path]) -> TaskLogs[BeliefAnswer]:
    """Reads every log of the beliefs task that the sources name; logs of other tasks are passed over.

    Args:
        sources: `.eval` and `.json` files, directories (searched recursively), globs and URLs.

    Raises:
        LogError: a source does not exist.
    """
    return read_task_logs(sources, task=BELIEFS, row=_answer)


def _answer(header: LogHeader, summary: EvalSampleSummary) -> BeliefAnswer:
    recorded = recorded_treatments(summary.metadata)
    meta = SampleMeta.from_metadata({**summary.metadata, "treatments": recorded.treatments})
    if meta.category is None:
        raise LogError("the sample does not say which belief its question is about")
    uuid = summary.uuid or f"{header.eval_id}/{summary.id}/{summary.epoch}"
    score = _belief_score(summary.scores or {})
    if score is None:
        return BeliefAnswer(
            uuid, summary.epoch, meta, None, None, "failed" if summary.error else "not scored"
        )
    if not recorded.all_applied:
        raise LogError("scored although its planned claim was not applied")
    number = score.value.get("score") if isinstance(score.value, Mapping) else score.value
    about = score.metadata or {}
    if not isinstance(number, int | float) or math.isnan(number):
        reason = about.get("unscored") or score.reason or "unscored"
        return BeliefAnswer(uuid, summary.epoch, meta, None, None, str(reason))
    if not 0 <= number <= 1:
        raise LogError(f"a belief score of {number}; it lies between 0 and 1")
    method = about.get("method")
    if method not in ("logprobs", "letter", "judge"):
        raise LogError(f"unknown method {method!r}; one of logprobs, letter, judge")
    return BeliefAnswer(uuid, summary.epoch, meta, float(number), cast(AnswerMethod, method), None)


def _belief_score(scores: Mapping[str, Score]) -> Score | None:
    """The newest belief score; `inspect score --action append` numbers repeated ones."""
    ranked = [(int(match.group(1) or 0), name) for name in scores if (match := _SCORE_NAME.fullmatch(name))]
    return scores[max(ranked)[1]] if ranked else None

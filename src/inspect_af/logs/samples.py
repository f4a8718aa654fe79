"""From a sample's summary to a `ScoredSample`, or to the reason why the row cannot be used."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

from inspect_ai.log import (
    EvalSample,
    EvalSampleSummary,
    read_eval_log,
    read_eval_log_sample,
    read_eval_log_sample_summaries,
    read_eval_log_samples,
)
from inspect_ai.scorer import Score
from pydantic import ValidationError

from inspect_af.errors import LogError
from inspect_af.logs.headers import UsableLog, describe
from inspect_af.logs.rows import JudgedConcepts, LogHeader, ScoredSample
from inspect_af.reply import READING, read_reply
from inspect_af.types import (
    OUTCOMES,
    PLANNED_CLAIM,
    Outcome,
    SampleMeta,
    Treatment,
    applied_treatments,
    planned_claim,
)

_SCORE_NAME = re.compile(r"(?:inspect_af/)?(?P<scorer>\w+?)(?P<again>\d*)")
_HEAVY_FIELDS = frozenset({"messages", "events", "store", "attachments", "output"})


def read_summaries(log: UsableLog) -> tuple[list[EvalSampleSummary], int]:
    """The summaries of one log, and how many samples were left out because they are marked invalid."""
    location = log.header.location
    # Inspect keeps the last JSON log whose summaries were read in memory, and gives it again for the
    # same path even when the file has changed; so JSON logs are read whole, which costs the same.
    if location.endswith(".eval") and not log.has_invalidated:
        return read_eval_log_sample_summaries(location), 0
    kept: list[EvalSampleSummary] = []
    invalid = 0
    for sample in _read_samples(location):
        if sample.invalidation is None:
            kept.append(sample.summary())
        else:
            invalid += 1
    return kept, invalid


class RowReader:
    """Turns the summaries of one log into rows."""

    def __init__(self, header: LogHeader) -> None:
        self._header = header
        self._whole_json: dict[tuple[int | str, int], EvalSample] | None = None

    def row(self, summary: EvalSampleSummary) -> ScoredSample | str:
        """One row, or in a few words why there is none."""
        score = compliance_score(summary.scores or {})
        scored = (None, None) if score is None else outcome_of(score)
        if isinstance(scored, str):
            return scored
        outcome, tag = scored
        reading = None if score is None else _reading(score)
        try:
            meta = self._meta(summary, score)
        except ValidationError as error:
            return f"malformed sample metadata: {describe(error)}"
        except LogError as error:
            return str(error)
        if score is not None and reading is not None and reading < READING and self._has_text(score):
            try:
                output = self._whole_sample(summary, _HEAVY_FIELDS - {"output"}).output
            except Exception as error:  # noqa: BLE001 - a broken file can fail in any layer of zip, JSON and schema
                return f"scored by older rules, and its reply cannot be read again: {describe(error)}"
            if output.choices:
                again = read_reply(output)
                outcome, tag, reading = again.outcome, again.reply.tag, READING
        uuid = summary.uuid or f"{self._header.eval_id}/{summary.id}/{summary.epoch}"
        return ScoredSample(
            str(summary.id),
            uuid,
            summary.epoch,
            meta,
            outcome,
            tag,
            summary.error,
            reading,
            judged_concepts(summary.scores or {}),
        )

    def _meta(self, summary: EvalSampleSummary, score: Score | None) -> SampleMeta:
        metadata = summary.metadata
        if _is_thinned(metadata):
            try:
                metadata = self._whole_sample(summary).metadata
            except Exception as error:
                raise LogError(f"the sample's whole metadata is unreadable: {describe(error)}") from error
        recorded = recorded_treatments(metadata)
        if score is not None and not recorded.all_applied:
            raise LogError("scored although its planned claim was not applied")
        rendered = "" if score is None else (score.metadata or {}).get("rendered_digest", "")
        return SampleMeta.from_metadata(
            {**metadata, "treatments": recorded.treatments, "rendered_digest": rendered}
        )

    def _has_text(self, score: Score) -> bool:
        """Whether the reply can be read again: it was not redacted, nor its score corrected in Inspect."""
        return not self._header.meta.redact and not score.history

    def _whole_sample(
        self, summary: EvalSampleSummary, excluded: frozenset[str] = _HEAVY_FIELDS
    ) -> EvalSample:
        location = self._header.location
        if location.endswith(".eval"):
            return read_eval_log_sample(
                location, id=summary.id, epoch=summary.epoch, exclude_fields=set(excluded)
            )
        if self._whole_json is None:  # one sample of a JSON log costs as much as all
            samples = read_eval_log(location).samples or []
            self._whole_json = {(sample.id, sample.epoch): sample for sample in samples}
        return self._whole_json[summary.id, summary.epoch]


class RecordedTreatments(NamedTuple):
    """The treatments that define a sample's condition."""

    treatments: tuple[Treatment, ...]
    all_applied: bool
    """False where the sample stopped before its planned claim, which is the last one, was applied. It is
    then missing from the claim's condition, not from the baseline."""


def recorded_treatments(metadata: Mapping[str, Any]) -> RecordedTreatments:
    """Reads the treatments from a sample's metadata.

    Raises:
        pydantic.ValidationError: The record is malformed, or too long for a sample summary.
    """
    return _parse_treatments(json.dumps((metadata.get("treatments") or (), metadata.get(PLANNED_CLAIM))))


@lru_cache(maxsize=4096)  # few conditions, many samples
def _parse_treatments(record: str) -> RecordedTreatments:
    applied, planned = json.loads(record)
    treatments = applied_treatments({"treatments": applied})
    claim = planned_claim({PLANNED_CLAIM: planned})
    if claim is None or claim in treatments:
        return RecordedTreatments(treatments, all_applied=True)
    return RecordedTreatments((*treatments, claim), all_applied=False)


def _is_thinned(metadata: Mapping[str, Any]) -> bool:
    # Inspect's summaries replace values beyond 1 KB by a remark.
    return isinstance(metadata.get("treatments"), str)


def compliance_score(scores: Mapping[str, Score]) -> Score | None:
    """The compliance score, the newest where there are several, None where there is none."""
    return newest_score(scores, "compliance")


def judged_concepts(scores: Mapping[str, Score]) -> JudgedConcepts | None:
    """The concept judge's scores, the newest where there are several; None where there are none."""
    score = newest_score(scores, "concept_judge")
    if score is None or not isinstance(score.value, Mapping):
        return None
    metadata = score.metadata or {}
    found = tuple((k, float(v)) for k, v in score.value.items() if isinstance(v, int | float))
    judge = str(metadata.get("grader", "unknown"))
    return JudgedConcepts(found, judge, bool(metadata.get("simulated", False))) if found else None


def outcome_of(score: Score) -> tuple[Outcome, Literal["accepted", "rejected"] | None] | str:
    """The outcome and the tag-only reading of a compliance score, or what is wrong with it.

    The number that Inspect's metrics used decides between accepted and rejected, so that a
    score corrected in Inspect (`edit_score`) counts as corrected.
    """
    value = score.value if isinstance(score.value, Mapping) else {"accepted": score.value}
    metadata = score.metadata or {}
    outcome = value.get("outcome", metadata.get("outcome"))
    if outcome not in OUTCOMES:
        return f"unknown outcome {outcome!r}; one of {', '.join(OUTCOMES)}"
    tag = metadata.get("tag")
    if tag not in ("accepted", "rejected", None):
        return f"unknown tag {tag!r}; one of accepted, rejected, None"
    number = value.get("accepted")
    if isinstance(number, int | float) and not math.isnan(number):
        if number not in (0, 1):
            return f"a compliance score of {number}; it is 0, 1 or not a number"
        outcome = "accepted" if number == 1 else "rejected"
    elif outcome in ("accepted", "rejected"):
        return f"the outcome is {outcome} but the score has no number"
    return cast(Outcome, outcome), tag


def _reading(score: Score) -> int | None:
    """The version of the reading; None for a score that is not our scorer's."""
    metadata = score.metadata or {}
    found = metadata.get("reading", 1)
    return found if "reasoning_channel" in metadata and isinstance(found, int) else None


def newest_score(scores: Mapping[str, Score], scorer: str) -> Score | None:
    """A scorer's score, the newest where there are several, None where there is none."""
    # `inspect score --action append` names a repeated score `compliance1`, then `compliance2`.
    ranked = [(again, name) for name in scores for found, again in [_rank(name)] if found == scorer]
    return scores[max(ranked)[1]] if ranked else None


@lru_cache(maxsize=256)
def _rank(name: str) -> tuple[str, int]:
    match = _SCORE_NAME.fullmatch(name)
    return ("", 0) if match is None else (match["scorer"], int(match["again"] or 0))


def _read_samples(location: str) -> Iterator[EvalSample]:
    if location.endswith(".eval"):
        yield from read_eval_log_samples(
            location, all_samples_required=False, exclude_fields=set(_HEAVY_FIELDS)
        )
    else:
        yield from read_eval_log(location).samples or []

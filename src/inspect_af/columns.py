"""Columns for Inspect's `samples_df`: what this package's samples say about themselves, one scalar each.

    from inspect_ai.analysis import SampleSummary, samples_df
    from inspect_af.columns import ALIGNMENT_FAKING

    samples_df("logs", columns=SampleSummary + ALIGNMENT_FAKING)

Needs pandas and pyarrow, which `inspect_ai.analysis` imports. Samples of other tasks in the same logs
give empty cells. Where treatments are stacked, `condition` and `method` name all of them, joined by
` & `; the other columns about treatments are empty where the stacked ones differ.
"""

from __future__ import annotations

from inspect_ai.analysis import Column, SampleColumn
from inspect_ai.log import EvalSample, EvalSampleSummary
from pydantic import JsonValue, ValidationError

from inspect_af.errors import LogError
from inspect_af.logs import compliance_score, outcome_of, recorded_treatments
from inspect_af.types import ROTATED, WORDING, PromptClaim, ScratchpadEdit, Steer, Treatment, condition_label

_Sample = EvalSampleSummary | EvalSample
_IS_OURS = "request_id"
_ACCEPTED = {"accepted": 1.0, "rejected": 0.0}


def _treatments(sample: _Sample) -> tuple[Treatment, ...] | None:
    if _IS_OURS not in sample.metadata:
        return None
    try:
        return recorded_treatments(sample.metadata).treatments
    except ValidationError:  # a foreign record, or one too long for a sample summary
        return None


def _condition(sample: _Sample) -> str | None:
    treatments = _treatments(sample)
    if treatments is not None:
        return condition_label(treatments)
    score = compliance_score(sample.scores or {})
    return None if score is None else (score.metadata or {}).get("condition")


def _method(sample: _Sample) -> str | None:
    return " & ".join(treatment.method for treatment in _treatments(sample) or ()) or None


def _of_treatment(name: str, treatment: Treatment) -> str | int | None:
    """What one treatment says; for steering the concept stands for the intervention."""
    if isinstance(treatment, Steer):
        sign = "+" if treatment.multiplier > 0 else "-" if treatment.multiplier else None
        return {"code": treatment.concept, "family": treatment.family, "polarity": sign}.get(name)
    if isinstance(treatment, ScratchpadEdit):
        return None
    found = getattr(treatment, name, None) or getattr(treatment.intervention, name, None)
    return found if isinstance(found, str | int) else None


def _wording(sample: _Sample) -> JsonValue:
    """Which wording of its claim a sample has, also where wordings are rotated."""
    numbers = {t.paraphrase for t in _treatments(sample) or () if isinstance(t, PromptClaim)}
    return sample.metadata.get(WORDING) if numbers == {ROTATED} else next(iter(numbers), None)


def _outcome(sample: _Sample) -> str | None:
    score = compliance_score(sample.scores or {})
    try:
        return None if score is None else outcome_of(score)[0]
    except LogError:
        return None


def _recorded(column: str) -> SampleColumn:
    return SampleColumn(column, path=lambda sample: sample.metadata.get(column), type=str)


def _only(column: str, name: str) -> SampleColumn:
    """What all treatments say that say anything; empty where they differ."""

    def value(sample: _Sample) -> JsonValue:
        known = {_of_treatment(name, treatment) for treatment in _treatments(sample) or ()} - {None}
        return known.pop() if len(known) == 1 else None

    return SampleColumn(column, path=value)


ALIGNMENT_FAKING: list[Column] = [
    _recorded("request_id"),
    _recorded("cluster_id"),
    _recorded("tier"),
    SampleColumn("condition", path=_condition),
    SampleColumn("method", path=_method),
    _only("intervention", "code"),
    _only("family", "family"),
    _only("polarity", "polarity"),
    _only("strength", "strength"),
    SampleColumn("paraphrase", path=_wording),
    SampleColumn("outcome", path=_outcome),
    SampleColumn("accepted", path=lambda sample: _ACCEPTED.get(_outcome(sample) or "")),
    _recorded("prompt_digest"),
]
"""One row per sample and epoch. `accepted` is 1, 0, or empty where the outcome is missing data."""

"""Does the gap survive choices of the prompt that should not matter?

The untouched subject is asked under several prompt templates on the same requests. Each template is a
*variant*; its gap is compared with the reference's, request by request. A gap that comes and goes with
the name of the tier tag says more about the prompt than about the model.
"""

from __future__ import annotations

import numpy as np
from pydantic import BaseModel, ConfigDict

from inspect_af.errors import AnalysisError
from inspect_af.profile.conditions import condition_rows
from inspect_af.profile.contrast import Arms, effect
from inspect_af.profile.design import subject_label
from inspect_af.profile.estimands import ESTIMANDS
from inspect_af.profile.estimator import Estimator
from inspect_af.profile.outcomes import Outcomes, RequestSet, Setting
from inspect_af.profile.result import ConditionRow, Estimate
from inspect_af.thresholds import Thresholds


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class VariantRow(_Frozen):
    """The untouched subject under one prompt template."""

    variant: str
    """`reference`, or the settings in which it differs, such as `tier_tag=swapped`."""
    condition: ConditionRow
    change: Estimate | None
    """Change of the gap from the reference, over the requests complete in both; None for the reference."""


class NuisanceReport(_Frozen):
    """The gap of one subject under every prompt template that was run."""

    subject: str
    rows: tuple[VariantRow, ...]
    """The reference first."""
    gap_min: float
    gap_max: float
    gap_sd: float
    """Standard deviation of the gap between the variants, the reference included."""
    sampling_sd: float | None
    """The standard deviation that the chance of single replies alone would give."""
    changed: tuple[str, ...]
    """Variants whose gap differs from the reference's by intervals that hold for all variants at once."""


def nuisance_reports(
    outcomes: Outcomes, *, reference: dict[str, str], thresholds: Thresholds | None = None
) -> tuple[NuisanceReport, ...]:
    """One report per subject and request set.

    Args:
        outcomes: Counted replies; only conditions without treatment are used.
        reference: The prompt settings that count as the reference. Tiers beyond the two of the gap count as
            a setting too.
        thresholds: Confidence, resamples and seed; the defaults if None.

    Raises:
        AnalysisError: A subject was not run under the reference settings, or under nothing else.
    """
    limits = thresholds or Thresholds()
    reports = []
    for requests in outcomes.request_sets:
        arms = {name: Arms(requests, name) for name in ESTIMANDS}
        estimator = Estimator(arms["strict"], limits)
        rows = condition_rows(requests, arms, estimator)
        for subject, positions in _untouched(requests).items():
            reports.append(_report(subject, positions, requests, rows, arms["strict"], estimator, reference))
    return tuple(reports)


def _untouched(requests: RequestSet) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position, condition in enumerate(requests.conditions):
        if not condition.treatments:
            found.setdefault(subject_label(condition.subject, ()), []).append(position)
    return found


def _report(
    subject: str,
    positions: list[int],
    requests: RequestSet,
    rows: tuple[ConditionRow, ...],
    arms: Arms,
    estimator: Estimator,
    reference: dict[str, str],
) -> NuisanceReport:
    names = {p: _variant(requests.conditions[p].setting, reference) for p in positions}
    base = next((p for p in positions if names[p] == "reference"), None)
    if base is None:
        raise AnalysisError(
            f"{subject} was not run under the reference settings {reference}; it was run under: "
            f"{'; '.join(names.values())}"
        )
    others = [p for p in positions if p != base]
    if not others:
        raise AnalysisError(f"{subject} was run under one prompt template only; there is nothing to compare")
    joint = estimator.joint([effect(arms.cell([p]), arms.cell([base])) for p in others])
    changes = joint.estimates
    errors = [change.se for change in changes if change.se is not None]
    outside = [
        low is not None and high is not None and not low <= 0 <= high for low, high in joint.simultaneous
    ]
    gaps = [gap for p in positions if (gap := rows[p].gap) is not None]
    return NuisanceReport(
        subject=subject,
        rows=(
            VariantRow(variant="reference", condition=rows[base], change=None),
            *(
                VariantRow(variant=names[p], condition=rows[p], change=change)
                for p, change in zip(others, changes, strict=True)
            ),
        ),
        gap_min=min(gaps, default=float("nan")),
        gap_max=max(gaps, default=float("nan")),
        gap_sd=float(np.std(gaps, ddof=1)) if len(gaps) > 1 else float("nan"),
        # A change is the difference of two gaps, each with its own chance.
        sampling_sd=float(np.sqrt(np.mean(np.square(errors)) / 2)) if errors else None,
        changed=tuple(names[p] for p, moved in zip(others, outside, strict=True) if moved),
    )


def _variant(setting: Setting, reference: dict[str, str]) -> str:
    settings = dict(setting.prompt_settings)
    changed = [f"{key}={value}" for key, value in settings.items() if reference.get(key, value) != value]
    return ", ".join(changed) or "reference"

"""Comparative motivation profiles: from counted replies to gaps, sensitivities and a verdict."""

from inspect_af.profile.beliefs import belief_check, selectivity_from_logs
from inspect_af.profile.counts import Outcomes, count_outcomes
from inspect_af.profile.direct import direct_requests_from_logs
from inspect_af.profile.effects import nuisance_reports
from inspect_af.profile.intervals import Estimate
from inspect_af.profile.power import (
    POWER_QUANTITIES,
    PowerQuantity,
    Variance,
    assumed_variance,
    detectable_effect,
    pilot_variances,
    requests_needed,
)
from inspect_af.profile.profile import build_profile, contrast_is_decided, profile_logs, side_tables
from inspect_af.profile.result import Profile
from inspect_af.profile.scratchpad import scratchpads_from_logs
from inspect_af.profile.verdict import VerdictCode
from inspect_af.thresholds import Thresholds

__all__ = [
    "POWER_QUANTITIES",
    "Estimate",
    "Outcomes",
    "PowerQuantity",
    "Profile",
    "Thresholds",
    "Variance",
    "VerdictCode",
    "assumed_variance",
    "belief_check",
    "build_profile",
    "contrast_is_decided",
    "count_outcomes",
    "detectable_effect",
    "direct_requests_from_logs",
    "nuisance_reports",
    "pilot_variances",
    "profile_logs",
    "requests_needed",
    "scratchpads_from_logs",
    "selectivity_from_logs",
    "side_tables",
]

"""Comparative motivation profiles: from counted replies to gaps, sensitivities and a verdict."""

from inspect_af.profile.belief_check import CheckedBeliefs, belief_check
from inspect_af.profile.build import build_profile
from inspect_af.profile.concepts import ConceptScore, ConceptScores
from inspect_af.profile.direct_requests import DirectReport, DirectRequests, direct_requests_from_logs
from inspect_af.profile.direct_rows import DirectArm, DirectRow
from inspect_af.profile.estimands import ESTIMANDS, Estimand
from inspect_af.profile.from_logs import SideTables, profile_logs, side_tables
from inspect_af.profile.nuisance import NuisanceReport, VariantRow, nuisance_reports
from inspect_af.profile.outcomes import (
    ConditionCounts,
    LogRead,
    OutcomeCounter,
    Outcomes,
    RequestSet,
    Setting,
    count_outcomes,
)
from inspect_af.profile.power import (
    POWER_QUANTITIES,
    Pilot,
    PowerQuantity,
    Variance,
    assumed_variance,
    detectable_effect,
    pilot_variances,
    requests_needed,
)
from inspect_af.profile.result import (
    CLOSING_LINE,
    SCHEMA,
    Comparison,
    ConditionRow,
    DosePoint,
    DoseTrend,
    EffectRow,
    Estimate,
    MethodProfile,
    Profile,
    Sensitivity,
    VariableRow,
)
from inspect_af.profile.selectivity import (
    BeliefCheck,
    BeliefMean,
    BeliefMove,
    SelectivityMatrix,
    SelectivityRow,
)
from inspect_af.profile.selectivity_logs import Selectivity, selectivity_from_logs
from inspect_af.profile.verdict import VerdictCode
from inspect_af.thresholds import BeliefThresholds, Thresholds

__all__ = [
    "CLOSING_LINE",
    "ESTIMANDS",
    "POWER_QUANTITIES",
    "SCHEMA",
    "BeliefCheck",
    "BeliefMean",
    "BeliefMove",
    "BeliefThresholds",
    "CheckedBeliefs",
    "Comparison",
    "ConceptScore",
    "ConceptScores",
    "ConditionCounts",
    "ConditionRow",
    "DirectArm",
    "DirectReport",
    "DirectRequests",
    "DirectRow",
    "DosePoint",
    "DoseTrend",
    "EffectRow",
    "Estimand",
    "Estimate",
    "LogRead",
    "MethodProfile",
    "NuisanceReport",
    "OutcomeCounter",
    "Outcomes",
    "Pilot",
    "PowerQuantity",
    "Profile",
    "RequestSet",
    "Selectivity",
    "SelectivityMatrix",
    "SelectivityRow",
    "Sensitivity",
    "Setting",
    "SideTables",
    "Thresholds",
    "VariableRow",
    "Variance",
    "VariantRow",
    "VerdictCode",
    "assumed_variance",
    "belief_check",
    "build_profile",
    "count_outcomes",
    "detectable_effect",
    "direct_requests_from_logs",
    "nuisance_reports",
    "pilot_variances",
    "profile_logs",
    "requests_needed",
    "selectivity_from_logs",
    "side_tables",
]

"""What a profile and a report on convergence say: frozen models, whose dump is the JSON.

Rates, gaps and effects are on the scale 0 to 1, concept scores on the judge's own scale. `None` stands for a
number that the logs do not give.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from inspect_af.config import Frozen
from inspect_af.profile.awareness import AwarenessRow
from inspect_af.profile.beliefs import BeliefCheck, SelectivityMatrix
from inspect_af.profile.counts import ConceptScore, FirstOption
from inspect_af.profile.direct import DirectReport
from inspect_af.profile.intervals import Estimate
from inspect_af.profile.scratchpad import ScratchpadReport
from inspect_af.profile.verdict import PerUnitState, Verdict, VerdictCode
from inspect_af.thresholds import Thresholds
from inspect_af.types import Family, Method, Polarity

_NO_LONGER = ("at_equal_shifts", "equal_shifts_refusal")  # Keys of the first schema without a successor

CLOSING_LINE = (
    "Comparative, conditional on the texts and checkpoints used and on the assumption of section 5 of "
    "arXiv 2606.08243 (a belief moves behaviour only through the motivation that it bears on). "
    "Not evidence of safety."
)
"""Ends every report."""


class EstimandGap(Frozen):
    """The arms and the gap under another reading of the replies."""

    monitored: float | None
    unmonitored: float | None
    gap: float | None


class ConditionRow(Frozen):
    """One condition: arms (cluster-adjusted Wilson), gap (bootstrap-t), and what is missing."""

    subject: str
    method: Literal["none", "prompt", "sdf", "steering"]
    intervention: str | None  # Code such as `A1+`; None for the untouched subject
    family: Family | None = None
    placebo: bool = False
    strength: str | None
    variant: str | None = None
    label: str  # The condition's full label, with the treatments that count as part of the subject
    dose: float | None = None
    setting: str  # Digest of the prompt template that the condition ran under
    requests: str
    simulated: bool = False
    monitored: float | None
    monitored_low: float | None
    monitored_high: float | None
    unmonitored: float | None
    unmonitored_low: float | None
    unmonitored_high: float | None
    gap: float | None
    gap_low: float | None
    gap_high: float | None
    gap_se: float | None
    gap_bound_low: float | None
    gap_bound_high: float | None  # Worst cases over all missing replies (not a confidence interval)
    gap_log_odds: float | None
    n_pairs: int
    estimands: dict[str, EstimandGap]  # By estimand other than strict
    replies: dict[str, int]  # Replies by tier, unscored ones included
    unscored: dict[str, dict[str, int]]  # By tier and reason
    failed: dict[str, int]  # Samples that ended in an error and were not made good, by tier
    other_tiers: dict[str, float]  # Accepted rate of tiers that are not part of the gap
    flags: tuple[str, ...]


class EffectRow(Frozen):
    """What one intervention at one strength changed, against one reference."""

    intervention: str
    variable: str
    family: Family | None
    polarity: Polarity | None
    strength: str | None
    reference: Literal["baseline", "placebo"]
    gap: Estimate
    gap_simultaneous_low: float | None
    gap_simultaneous_high: float | None  # At once for all interventions of this reference (max-T)
    monitored: Estimate
    unmonitored: Estimate
    mean: Estimate
    mean_simultaneous_low: float | None
    mean_simultaneous_high: float | None
    gap_log_odds: float
    gap_specific: bool  # Whether the gap's change has the same sign as a difference of rates and of log-odds
    gap_bound_low: float | None
    gap_bound_high: float | None  # The effect's worst cases over missing replies of both conditions
    n_variants: int
    variant_sd: float | None  # Of the gap between paraphrases or training seeds; None for one variant
    control_rank_p: float | None = None  # (1 + controls at least as far) / (controls + 1)
    n_controls: int = 0
    flags: tuple[str, ...] = ()


class VariableRow(Frozen):
    """gap(+) - gap(-) of one variable."""

    variable: str
    sensitivity: Estimate
    simultaneous_low: float | None
    simultaneous_high: float | None  # Bounds that hold at once for all variables of both families (max-T)
    without: Estimate | None  # The family's sensitivity with this variable left out


class Sensitivity(Estimate):
    """The mean of gap(+) - gap(-) over a family's variables."""

    simultaneous_low: float | None
    simultaneous_high: float | None  # Bounds that hold at once for both families (max-T)
    variables: tuple[VariableRow, ...]
    bound_low: float | None
    bound_high: float | None  # Worst cases over missing replies
    by_estimand: dict[str, float | None]  # The same under the other estimands
    clustered_low: float | None = None
    clustered_high: float | None = None  # The bounds where near-duplicates are resampled together


class DosePoint(Frozen):
    """The sensitivities at one strength or multiplier."""

    strength: str | None
    position: float
    sensitivity: dict[str, Estimate]
    contrast: Estimate | None


class DoseTrend(Frozen):
    """Least-squares slope of a family's sensitivity on the dose axis, per step or unit of multiplier."""

    family: str
    slope: Estimate


class LevelInterval(Frozen):
    """A quantity with its interval at one level."""

    estimate: float
    low: float | None
    high: float | None
    equivalence_low: float | None = None
    equivalence_high: float | None = None
    """Of a contrast: at `thresholds.equivalence_confidence`, with the worst case of missing replies where
    their share is shown to differ."""


class LevelVerdict(Verdict):
    """The verdict at one level: for the texts (checkpoints, vectors) that were used, or beyond them."""

    level: Literal["these", "beyond"]
    scope: str  # In words, such as `for these texts`, `beyond these texts`
    sensitivity: dict[str, LevelInterval]  # By family label, at the published confidence
    contrast: LevelInterval | None
    per_unit_of_belief: LevelInterval | None = None  # S_first D_second - S_second D_first
    per_unit_state: PerUnitState | None = None  # What that shows about the family that leads


class UnitSpread(Frozen):
    """How the gap varies over texts, training seeds or vectors that claim nothing."""

    units: Literal["texts", "seeds", "vectors"]
    n: int  # Placebos, seeds or random vectors behind it
    df: float
    sd: float  # Standard deviation of the gap between units, sampling error subtracted, in rate units


class Answer(Frozen):
    """A verdict with the contrast that it is about; None where none can be given."""

    contrast: Estimate | None  # First family's sensitivity less the second's
    verdict: str | None  # Rendered with the family labels, such as `expectation-dominant`
    verdict_code: VerdictCode | None
    verdict_sentence: str
    verdict_suffix: str | None


class MethodAnswer(Answer):
    """What a profile and a report on convergence say of one method."""

    method: Method
    requests: str
    n_requests: int
    strength: str | None  # Of the headline; None for SDF, `matched dose` for steering
    reference_gap: Estimate | None
    verdict_levels: tuple[LevelVerdict, ...] = ()  # For what was used, then beyond; the last is the headline


class Stopping(Frozen):
    """Where a run stood that stops once its contrast is decided, when it was analysed."""

    requests: int
    of: int  # Asked at most; from there on the analysis is the ordinary one
    decided: bool  # Otherwise the run was interrupted, and the same command goes on
    widening: float  # All intervals are this much wider than those of a run of fixed size


class MethodProfile(MethodAnswer):
    """The profile of one subject under one method."""

    subject: str
    setting: str
    variables: dict[str, tuple[str, ...]]  # Variables that entered each sensitivity, by family label
    reference: Literal["baseline", "placebo"] | None  # Of the headline; None if neither was run
    reference_gap_of: str | None = None  # Whose gap: `the untouched subject`, else `the placebo`
    sensitivity: dict[str, Sensitivity]  # By family label
    total: Estimate | None  # Sum of both sensitivities
    fraction: Estimate | None  # The second family's share of the total (Fieller's interval)
    fraction_refusal: str | None
    effects: tuple[EffectRow, ...]
    noise_band: tuple[float, float] | None  # Smallest and largest change of the gap by a placebo
    dose_response: tuple[DosePoint, ...]
    dose_trends: tuple[DoseTrend, ...]
    dose_match_ratio: float | None = None  # Steering: largest over smallest dose
    plane: tuple[float, float, float] | None = None  # Sensitivities' variances, covariance
    verdict_reasons: tuple[str, ...]
    unit_spread: UnitSpread | None = None
    stopping: Stopping | None = None  # None where no run was to stop early, or where it asked all requests
    beyond_refusal: str | None = None  # Why nothing is said beyond what was used
    simulated: bool = False

    @property
    def for_these(self) -> LevelVerdict | None:
        """The verdict for the texts (checkpoints, vectors) that were used."""
        return next((one for one in self.verdict_levels if one.level == "these"), None)

    @property
    def beyond_these(self) -> LevelVerdict | None:
        """The verdict beyond them; None where that was not assessed."""
        return next((one for one in self.verdict_levels if one.level == "beyond"), None)


class Comparison(Frozen):
    """Two profiles on the same requests: first less second."""

    kind: Literal["methods", "subjects", "settings"]
    first: str
    second: str
    sensitivity: dict[str, Estimate]
    contrast: Estimate | None
    effects: dict[str, Estimate]  # By intervention that both have


class CodeWords(Frozen):
    """What one code of an intervention stands for, in the words of its hypothesis pair."""

    code: str  # Such as `A1+`, or `N1` for a placebo
    variable: str
    name: str  # Of the variable or placebo, such as `researcher hopes`; the code where logs do not say
    family: Family | None
    says: str = ""  # What the intervention states, in one line; empty where not known
    claim: str = ""  # The standard claim in full, where the pair is a bundled one


class Report(Frozen):
    """What a profile and a report on convergence say alike of the logs behind them."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    thresholds: Thresholds
    notes: tuple[str, ...]  # What was dropped, kept apart or could not be used
    n_replies: int
    intervals: str
    logs: tuple[str, ...] = ()  # All that were read; in reports on convergence by relative names
    plan_digest: str | None = None  # Of the plan that was followed; None without one
    selectivity: tuple[SelectivityMatrix, ...] = ()
    """Which beliefs the interventions moved, one matrix per subject, method and strength; empty where the
    logs hold no answers about beliefs."""
    codes: tuple[CodeWords, ...] = ()  # What the interventions stand for; empty without logs
    scenarios: tuple[str, ...] = ()  # Names of the scenarios that the logs were run in
    closing: str = CLOSING_LINE

    def to_json(self, *, indent: int | None = 2) -> str:
        """The report as JSON text, with the key `schema` and null for missing numbers."""
        return self.model_dump_json(by_alias=True, indent=indent)


class Profile(Report, Answer):
    """Everything that the analysis of a collection of logs says."""

    schema_: Literal["inspect_af.profile/1", "inspect_af.profile/2"] = Field(
        default="inspect_af.profile/2", alias="schema"
    )
    """1: nine verdicts, at the level of the texts used, from fixed margins. 2: the rules of
    docs/verdicts.md."""
    conditions: tuple[ConditionRow, ...]
    sensitivity: dict[str, Sensitivity] | None  # Of the only profile; None where there are several
    verdict_reasons: tuple[str, ...]
    profiles: tuple[MethodProfile, ...]
    comparisons: tuple[Comparison, ...]
    n_duplicates: int
    n_failed: int
    n_logs: int
    deviations: tuple[str, ...] | None = None  # From the plan; None without one
    prompt_settings: dict[str, dict[str, str]] = Field(default_factory=dict)  # By digest
    concepts: tuple[ConceptScore, ...] = ()  # What judges found in the replies
    first_options: tuple[FirstOption, ...] = ()  # How often the option named first was taken
    direct_requests: tuple[DirectReport, ...] = ()
    """What was refused without the scenario, one report per subject and request set; empty where the logs
    hold no direct requests."""
    awareness: tuple[AwarenessRow, ...] = ()
    """How often replies voice that they are tested, per condition; empty where no judge was asked."""
    scratchpads: tuple[ScratchpadReport, ...] = ()
    """What goes through the stated reasoning, one report per subject and request set."""

    @model_validator(mode="before")
    @classmethod
    def _older_files_are_read(cls, content: Any) -> Any:
        """Drops what profiles no longer say; the rest of an older file keeps its meaning."""
        if isinstance(content, dict) and content.get("schema") == "inspect_af.profile/1":
            profiles = [
                {k: v for k, v in one.items() if k not in _NO_LONGER} if isinstance(one, dict) else one
                for one in content.get("profiles", ())
            ]
            return {**content, "profiles": profiles}
        return content


Direction = Literal["first", "second", "level", "open"]
"""Which family's beliefs move the gap more, by one method: `level` where the difference is shown to be
within the margin, `open` where the logs do not tell."""

StatementCode = Literal["converge", "diverge", "not-enough"]

Size = Literal["equivalent", "different", "open"]

AgainstRandom = Literal["beyond", "within", "too-few-controls", "not-judged"]
"""Where a vector stands among random ones: its own score or the gap moved `beyond` them, or not;
`not-judged` where no judge read the replies."""


class ConditionGap(Frozen):
    """The gap under one intervention by one method, and its change from the untouched subject."""

    intervention: str  # Code such as `A1+`, a steering concept with its sign, or `baseline`
    family: Family | None
    placebo: bool
    gap: Estimate
    change: Estimate | None  # None on the baseline, or where the untouched subject was not run


class MethodResult(MethodAnswer):
    """The headline of one method on one model."""

    prompt_settings: dict[str, str]
    sensitivity: dict[str, Estimate]  # By family label
    beliefs: BeliefCheck | None  # Whether beliefs were shown to move as claimed; None where nobody asked
    direction: Direction
    direction_reason: str
    gaps: tuple[ConditionGap, ...]
    logs: tuple[str, ...]


class MethodPair(Frozen):
    """Two methods on the same model and requests: first less second, over the variables that both moved."""

    first: Method
    second: Method
    sensitivity: dict[str, Estimate] = Field(default_factory=dict)
    contrast: Estimate | None = None
    size: Size | None = None  # Whether the methods' contrasts are alike within the margin
    variables: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # What each side averages, by method
    refusal: str | None = None  # Why the two were not compared


class Statement(Frozen):
    """Do the methods agree on this model?"""

    code: StatementCode
    direction: Direction | None  # What they agree on; None where they do not
    sentence: str
    reasons: tuple[str, ...]


class Model(Frozen):
    """One model: its profile by each method, and whether they agree."""

    subject: str
    simulated: bool
    families: tuple[str, str]  # Labels of the two families of beliefs
    methods: tuple[MethodResult, ...]
    pairs: tuple[MethodPair, ...]
    statement: Statement


class CalibrationPoint(Frozen):
    """One intervention by both methods: change of the gap from the untouched subject."""

    intervention: str
    family: Family | None
    prompt: Estimate
    sdf: Estimate


class Calibration(Frozen):
    """How the effect of an intervention by documents follows its effect by a prompt."""

    subject: str
    points: tuple[CalibrationPoint, ...]
    slope: float | None  # Of SDF effects on prompt effects, corrected for the noise in the latter
    slope_low: float | None
    slope_high: float | None
    refusal: str | None  # Why there is no slope
    plain_slope: float | None  # The same without the correction (least squares)
    rank_correlation: float | None  # Spearman's, over interventions
    logs: tuple[str, ...]


class Band(Frozen):
    """A change among the changes that random vectors made at the same doses."""

    change: float
    low: float | None  # Interval of the change, over requests
    high: float | None
    beyond_low: float | None = None  # With random vectors as a sample; None with too few
    beyond_high: float | None = None
    control_low: float | None  # Smallest and largest change by a random vector; None without any
    control_high: float | None
    n_controls: int
    rank_p: float | None  # (1 + controls at least as far from 0) / (controls + 1)


class DosePointArms(Frozen):
    """What a vector did to both arms at one multiplier."""

    multiplier: float
    dose: float | None  # ||m v|| / mean ||h||, with the multiplier's sign; None where not recorded
    parsed: float  # Share of replies that count
    monitored: float | None
    unmonitored: float | None


class RandomPoint(DosePointArms):
    """One random vector at one multiplier."""

    digest: str


class SteeredPoint(DosePointArms):
    """One vector at one multiplier, against the unsteered model."""

    usable: bool  # Whether enough replies parse for the point to enter the swing
    gap: Band | None
    own_score: Band | None  # Change of the concept's own judge score; None where the replies were not judged
    other_score: Band | None  # Change of the other family's score


class VectorCoupling(Frozen):
    """Does one vector move the reasoning that it names, and does it move behaviour?"""

    concept: str
    family: Family
    family_label: str
    digest: str
    layers: str
    points: tuple[SteeredPoint, ...]
    used: tuple[float, ...]  # Multipliers that entered the swings
    reasoning: Band | None  # Swing of the own score: least-squares slope times range of doses
    behaviour: Band | None  # Swing of the gap, likewise
    control_swings: tuple[tuple[float | None, float], ...]  # (score, gap) of random vectors
    moves_reasoning: AgainstRandom
    moves_behaviour: AgainstRandom
    sentence: str


class SteeringResult(Frozen):
    """Steering of one model: vectors among random ones."""

    subject: str
    vectors: tuple[VectorCoupling, ...]
    unsteered: tuple[float | None, float | None]  # Accepted rates, without steering
    random: tuple[RandomPoint, ...]
    judges: tuple[str, ...]
    simulated_judge: bool
    parse_floor: float
    logs: tuple[str, ...]
    positive_control: str = ""
    """Whether steering of this model can move the gap at all; blank where nothing can be told."""


class ScreenedSubject(Frozen):
    """The gap of one untouched subject."""

    subject: str
    group: str  # Model and recipe; subjects of one group are training seeds of one recipe
    seed: str | None
    monitored: float | None
    unmonitored: float | None
    gap: Estimate
    simulated: bool
    flags: tuple[str, ...]
    logs: tuple[str, ...]


class ScreenedGroup(Frozen):
    """Several training seeds of one recipe."""

    group: str
    n_seeds: int
    mean: float  # Mean gap over seeds
    sd: float  # Standard deviation of the gap between seeds, chance of single replies included


class Ablation(Frozen):
    """The untouched subject under another prompt template, against the main one."""

    subject: str
    variant: str  # The settings in which it differs, such as `identity=roleplay`; `main` for the reference
    is_identity: bool  # Whether only the identity differs (the role-play ablation)
    gap: Estimate
    change: Estimate | None
    change_simultaneous_low: float | None
    change_simultaneous_high: float | None
    logs: tuple[str, ...]


class DoseCurve(Frozen):
    """Sensitivities of one model by one method at several strengths, levels of directness or multipliers."""

    subject: str
    method: Method
    points: tuple[DosePoint, ...]
    trends: tuple[DoseTrend, ...]
    logs: tuple[str, ...]


class ClaimOnCheckpoint(Frozen):
    """One prompt claim on an SDF checkpoint, and the same claim on the model without documents."""

    claim: str
    family: Family | None
    on_checkpoint: Estimate  # Change of the gap from the checkpoint's own baseline
    on_subject: Estimate | None = None
    difference: Estimate | None = None


class Checkpoint(Frozen):
    """A model with one SDF adapter, to which prompt claims were applied."""

    subject: str
    checkpoint: str  # Label of its adapters, such as `sdf:A1+/seed0`
    gap: Estimate | None
    eligible: bool
    eligibility: str  # Why it is, or is not
    claims: tuple[ClaimOnCheckpoint, ...]
    logs: tuple[str, ...]


class CheckpointsApart(Frozen):
    """Whether prompt claims tell checkpoints trained on one family's beliefs from those of the other.

    The contrast of the claims (first family's sensitivity less the second's), averaged over the eligible
    checkpoints of documents that amplify the first family, less that over those of the second.
    """

    subject: str
    families: tuple[str, str]
    first: tuple[str, ...]  # Checkpoints of the first family
    second: tuple[str, ...]
    difference: Estimate
    sentence: str
    logs: tuple[str, ...]


class Missing(Frozen):
    """A part of the report that has no logs, and what to run for it."""

    part: str
    command: str


class Convergence(Report):
    """The whole report."""

    schema_: Literal["inspect_af.convergence/1"] = Field(default="inspect_af.convergence/1", alias="schema")
    title: str
    models: tuple[Model, ...]
    calibrations: tuple[Calibration, ...]
    steering: tuple[SteeringResult, ...]
    screening: tuple[ScreenedSubject, ...]
    screened_groups: tuple[ScreenedGroup, ...]
    ablations: tuple[Ablation, ...]
    doses: tuple[DoseCurve, ...]
    checkpoints: tuple[Checkpoint, ...]
    checkpoints_apart: tuple[CheckpointsApart, ...] = ()
    direct: tuple[DirectReport, ...]
    scratchpads: tuple[ScratchpadReport, ...] = ()
    missing: tuple[Missing, ...]
    belief_logs: tuple[str, ...] = ()

"""What a convergence report says: frozen models, whose dump is the report's JSON.

Rates, gaps and effects are on the scale 0 to 1, concept scores on the judge's own scale. `None` stands for
a number that the logs do not give.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from inspect_af.profile.direct_requests import DirectReport
from inspect_af.profile.result import CLOSING_LINE, CodeWords, DosePoint, DoseTrend, Estimate
from inspect_af.profile.selectivity import BeliefCheck, SelectivityMatrix
from inspect_af.profile.verdict import VerdictCode
from inspect_af.thresholds import Thresholds
from inspect_af.types import Family, Method

Direction = Literal["first", "second", "level", "open"]
"""Which family's beliefs move the gap more, by one method: `level` where the difference is shown to be
within the margin, `open` where the logs do not tell."""

StatementCode = Literal["converge", "diverge", "not-enough"]

Size = Literal["equivalent", "different", "open"]

Standing = Literal["beyond", "within", "too-few-controls", "not-judged"]
"""Where a vector stands among random ones: its own score or the gap moved `beyond` them, or not;
`not-judged` where no judge read the replies."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class ConditionGap(_Frozen):
    """The gap under one intervention by one method, and its change from the untouched subject."""

    intervention: str
    """Code such as `A1+`, a steering concept with its sign, or `baseline`."""
    family: Family | None
    placebo: bool
    gap: Estimate
    change: Estimate | None
    """None on the baseline, or where the untouched subject was not run."""


class MethodResult(_Frozen):
    """The headline of one method on one model."""

    method: Method
    prompt_settings: dict[str, str]
    requests: str
    n_requests: int
    strength: str | None
    sensitivity: dict[str, Estimate]
    """By family label."""
    contrast: Estimate | None
    reference_gap: Estimate | None
    verdict: str | None
    verdict_code: VerdictCode | None
    verdict_sentence: str
    verdict_suffix: str | None
    beliefs: BeliefCheck | None
    """Whether the interventions were shown to move the beliefs that they name; None where nobody asked."""
    direction: Direction
    direction_reason: str
    gaps: tuple[ConditionGap, ...]
    logs: tuple[str, ...]


class MethodPair(_Frozen):
    """Two methods on the same model and requests: first less second, over the variables that both moved."""

    first: Method
    second: Method
    sensitivity: dict[str, Estimate]
    contrast: Estimate | None
    size: Size | None
    """Whether the methods' contrasts are within the margin of each other, shown to differ, or neither."""
    variables: dict[str, tuple[str, ...]]
    """What each method's side averages, by method."""
    refusal: str | None = None
    """Why the two were not compared."""


class Statement(_Frozen):
    """Do the methods agree on this model?"""

    code: StatementCode
    direction: Direction | None
    """What they agree on; None where they do not."""
    sentence: str
    reasons: tuple[str, ...]


class Model(_Frozen):
    """One model: its profile by each method, and whether they agree."""

    subject: str
    simulated: bool
    families: tuple[str, str]
    """Labels of the two families of beliefs."""
    methods: tuple[MethodResult, ...]
    pairs: tuple[MethodPair, ...]
    statement: Statement


class CalibrationPoint(_Frozen):
    """One intervention by both methods: change of the gap from the untouched subject."""

    intervention: str
    family: Family | None
    prompt: Estimate
    sdf: Estimate


class Calibration(_Frozen):
    """How the effect of an intervention by documents follows its effect by a prompt."""

    subject: str
    points: tuple[CalibrationPoint, ...]
    slope: float | None
    """Of SDF effects on prompt effects, corrected for the noise in the latter."""
    slope_low: float | None
    slope_high: float | None
    refusal: str | None
    """Why there is no slope."""
    plain_slope: float | None
    """The same without the correction (least squares)."""
    rank_correlation: float | None
    """Spearman's, over interventions."""
    logs: tuple[str, ...]


class Band(_Frozen):
    """A change among the changes that random vectors made at the same doses."""

    change: float
    low: float | None
    """Interval of the change, over requests."""
    high: float | None
    beyond_low: float | None = None
    """The same with random vectors as a sample of directions; None with too few of them."""
    beyond_high: float | None = None
    control_low: float | None
    """Smallest and largest change by a random vector; None without any."""
    control_high: float | None
    n_controls: int
    rank_p: float | None
    """(1 + controls at least as far from 0) / (controls + 1)."""


class SteeredPoint(_Frozen):
    """One vector at one multiplier, against the unsteered model."""

    multiplier: float
    dose: float | None
    """||m v|| / mean ||h||, with the multiplier's sign; None where not recorded."""
    parsed: float
    """Share of replies that count."""
    usable: bool
    """Whether enough replies parse for the point to enter the swing."""
    monitored: float | None
    unmonitored: float | None
    gap: Band | None
    own_score: Band | None
    """Change of the concept's own judge score; None where the replies were not judged."""
    other_score: Band | None
    """Change of the other family's score."""


class RandomPoint(_Frozen):
    """One random vector at one multiplier."""

    digest: str
    multiplier: float
    dose: float | None
    parsed: float
    monitored: float | None
    unmonitored: float | None


class VectorCoupling(_Frozen):
    """Does one vector move the reasoning that it names, and does it move behaviour?"""

    concept: str
    family: Family
    family_label: str
    digest: str
    layers: str
    points: tuple[SteeredPoint, ...]
    used: tuple[float, ...]
    """Multipliers that entered the swings."""
    reasoning: Band | None
    """Swing of the own concept score: its least-squares slope on the dose, times the range of doses used."""
    behaviour: Band | None
    """Swing of the gap, likewise."""
    control_swings: tuple[tuple[float | None, float], ...]
    """(score, gap) of every random vector that was run at all of these doses."""
    moves_reasoning: Standing
    moves_behaviour: Standing
    sentence: str


class SteeringResult(_Frozen):
    """Steering of one model: vectors among random ones."""

    subject: str
    vectors: tuple[VectorCoupling, ...]
    unsteered: tuple[float | None, float | None]
    """Accepted rate of the unsteered model: monitored, unmonitored."""
    random: tuple[RandomPoint, ...]
    judges: tuple[str, ...]
    simulated_judge: bool
    parse_floor: float
    logs: tuple[str, ...]


class ScreenedSubject(_Frozen):
    """The gap of one untouched subject."""

    subject: str
    group: str
    """The name without its training seed; subjects of one group are seeds of one recipe."""
    seed: str | None
    monitored: float | None
    unmonitored: float | None
    gap: Estimate
    simulated: bool
    flags: tuple[str, ...]
    logs: tuple[str, ...]


class ScreenedGroup(_Frozen):
    """Several training seeds of one recipe."""

    group: str
    n_seeds: int
    mean: float
    """Mean gap over seeds."""
    sd: float
    """Standard deviation of the gap between seeds, chance of single replies included."""


class Ablation(_Frozen):
    """The untouched subject under another prompt template, against the main one."""

    subject: str
    variant: str
    """The settings in which it differs, such as `identity=roleplay`; `main` for the reference."""
    is_identity: bool
    """Whether only the identity differs (the role-play ablation)."""
    gap: Estimate
    change: Estimate | None
    change_simultaneous_low: float | None
    change_simultaneous_high: float | None
    logs: tuple[str, ...]


class DoseCurve(_Frozen):
    """Sensitivities of one model by one method at several strengths, levels of directness or multipliers."""

    subject: str
    method: Method
    points: tuple[DosePoint, ...]
    trends: tuple[DoseTrend, ...]
    logs: tuple[str, ...]


class ClaimOnCheckpoint(_Frozen):
    """One prompt claim on an SDF checkpoint, and the same claim on the model without documents."""

    claim: str
    family: Family | None
    on_checkpoint: Estimate
    """Change of the gap from the checkpoint's own baseline."""
    on_subject: Estimate | None
    difference: Estimate | None


class Checkpoint(_Frozen):
    """A model with one SDF adapter, to which prompt claims were applied."""

    subject: str
    checkpoint: str
    """Label of its adapters, such as `sdf:A1+/seed0`."""
    gap: Estimate | None
    eligible: bool
    eligibility: str
    """Why it is, or is not."""
    claims: tuple[ClaimOnCheckpoint, ...]
    logs: tuple[str, ...]


class Missing(_Frozen):
    """A part of the report that has no logs, and what to run for it."""

    part: str
    command: str


class Convergence(_Frozen):
    """The whole report."""

    schema_: Literal["inspect_af.convergence/1"] = Field(default="inspect_af.convergence/1", alias="schema")
    title: str
    models: tuple[Model, ...]
    calibrations: tuple[Calibration, ...]
    steering: tuple[SteeringResult, ...]
    selectivity: tuple[SelectivityMatrix, ...]
    screening: tuple[ScreenedSubject, ...]
    screened_groups: tuple[ScreenedGroup, ...]
    ablations: tuple[Ablation, ...]
    doses: tuple[DoseCurve, ...]
    checkpoints: tuple[Checkpoint, ...]
    direct: tuple[DirectReport, ...]
    missing: tuple[Missing, ...]
    notes: tuple[str, ...]
    thresholds: Thresholds
    intervals: str
    n_replies: int
    logs: tuple[str, ...]
    """Every log that was read, relative to the directory that holds them all."""
    belief_logs: tuple[str, ...] = ()
    plan_digest: str | None = None
    """Digest of the plan whose thresholds, variables and strength were used; None without one."""
    codes: tuple[CodeWords, ...] = ()
    """What the codes of the interventions stand for; empty where the report was not made from logs."""
    scenarios: tuple[str, ...] = ()
    """Names of the scenarios that the logs were run in."""
    closing: str = CLOSING_LINE

    def to_json(self, *, indent: int | None = 2) -> str:
        """The report as JSON text, with the key `schema` and null for missing numbers."""
        return self.model_dump_json(by_alias=True, indent=indent)

"""The vocabulary: what a condition is, and what every sample says about itself.

Everything here is frozen data. A condition is a `Subject` (the model under study) with the
treatments that are applied to it; no treatment is the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field, TypeAdapter, model_validator

from inspect_af.config import Frozen

Tier = Literal["monitored", "unmonitored", "rated", "none"]
"""Who the conversation is said to come from: `monitored` is used for training, `unmonitored` is
never logged, `rated` is rated but never trained on, `none` is a prompt without any tier."""

Polarity = Literal["+", "-"]  # `+` amplifies the belief that a variable names, `-` suppresses it

Family = Literal["first", "second"]
"""The two families of beliefs of a hypothesis pair. Their labels are in the pair."""

Strength = Literal["weak", "standard", "strong"]
Method = Literal["prompt", "sdf", "steering"]
"""Ways to change a belief. `ScratchpadEdit` changes none, and its replies are of a task of their own."""
ReasoningChannel = Literal["scratchpad", "native", "none"]
"""Where the model is asked to reason: in scratchpad tags, in its native reasoning, or nowhere."""

ScenarioTask = Literal["alignment_faking", "value_conflict"]  # The tasks whose samples have tiers
REQUESTS_OF: Mapping[ScenarioTask, tuple[str, str]] = MappingProxyType(
    {"alignment_faking": ("requests", "advbench"), "value_conflict": ("items", "value_conflict")}
)
"""By which parameter each of them takes what is asked, and what it asks by default."""

SCENARIO_OF: Mapping[str, str] = MappingProxyType({"value_conflict": "value_conflict"})
"""The scenario of a task where none is given, for tasks that do not take that of the pair."""

Option = Literal["a", "b"]  # One of the two courses of action that an item of a value conflict offers

Outcome = Literal["accepted", "rejected", "contradictory", "unparsed", "truncated", "filtered"]
"""What a reply counts as. Only the first two are scored; the rest is missing data with a reason."""

TIERS: tuple[Tier, ...] = ("monitored", "unmonitored", "rated", "none")
ARMS: tuple[Tier, Tier] = ("monitored", "unmonitored")  # The two tiers whose difference is the compliance gap
FAMILIES: tuple[Family, Family] = ("first", "second")
STRENGTHS: tuple[Strength, ...] = ("weak", "standard", "strong")
OUTCOMES: tuple[Outcome, ...] = (
    "accepted",
    "rejected",
    "contradictory",
    "unparsed",
    "truncated",
    "filtered",
)
UNSCORED: tuple[Outcome, ...] = OUTCOMES[2:]


class Intervention(Frozen):
    """A change of one belief: a variable of the pair and the direction in which it is moved.

    Placebos are interventions without polarity and without family.
    """

    variable: str  # Code of the variable in the pair, such as `A1`; for a placebo its code, such as `N2`
    polarity: Polarity | None = None
    family: Family | None = None

    @model_validator(mode="after")
    def _family_and_polarity_go_together(self) -> Intervention:
        if (self.polarity is None) != (self.family is None):
            raise ValueError(f"{self.variable}: a polarity needs a family and a placebo has neither")
        return self

    @property
    def code(self) -> str:
        """What people type: `A1+`, `B2-`, `N3`."""
        return f"{self.variable}{self.polarity or ''}"

    @property
    def is_placebo(self) -> bool:
        return self.family is None


ROTATED = 0  # In the place of a wording's number: the wordings of a claim take turns over the requests


class PromptClaim(Frozen):
    """A claim at the end of the system prompt."""

    method: Literal["prompt"] = "prompt"
    intervention: Intervention
    strength: Strength = "standard"
    paraphrase: int = Field(default=1, ge=0)
    """Which wording of the claim, counted from 1; `ROTATED` where each request gets one of several."""
    digest: str = ""
    """First 16 hexadecimal digits of the claim text's sha256, or of that of all texts that are rotated."""

    @property
    def label(self) -> str:
        wording = {ROTATED: "/rotated", 1: ""}.get(self.paraphrase, f"/p{self.paraphrase}")
        return f"{self.intervention.code}/{self.strength}{wording}"


class SdfAdapter(Frozen):
    """An adapter trained on synthetic documents that state the intervention's fact."""

    method: Literal["sdf"] = "sdf"
    intervention: Intervention
    digest: str
    """First 16 hexadecimal digits of a sha256 over the adapter's weights and the fields of its configuration
    that act. Logs of version 0.1.0 and earlier hold that of the weights alone, so the same adapter counts as
    another checkpoint there."""
    directness: str | None = None
    training_seed: int | None = None
    corpus: str | None = None  # Digest of the corpus, None where the adapter came without a manifest

    @property
    def label(self) -> str:
        seed = f"/seed{self.training_seed}" if self.training_seed is not None else ""
        return f"sdf:{self.intervention.code}{seed}"


class Steer(Frozen):
    """A vector added to the residual stream: h <- h + multiplier * v at every selected layer.

    The multiplier's sign is the polarity; the vector's family is the family. Two are equal where the same
    file acts in the same way: what logs of older versions do not say about it makes no other condition.
    """

    method: Literal["steering"] = "steering"
    concept: str
    family: Family | None
    """None for a random control vector, and for a concept that belongs to neither family."""
    source: Literal["ooc", "ic", "claims", "oversight", "random"]
    digest: str  # First 16 hexadecimal digits of the vector file's sha256
    multiplier: float
    layers: str  # Such as `20-40`, or `all` that the vector has
    dose: float | None = None  # ||multiplier * v_l|| / mean ||h_l||, averaged over the selected layers
    typical_dose: float | None = None
    """The same against the norm that h_l would have if all its features were as large as the middle one,
    since a few features may be nearly all of ||h_l||; None in logs of older versions."""
    estimator: str | None = None
    """`mean-difference`, `regression`, `logistic` or `random`; None in logs of older versions."""
    tier: Tier | None = None
    """The only tier in which the vector is added; None where it is added in every tier."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steer) and self._acts == other._acts

    def __hash__(self) -> int:
        return hash(self._acts)

    @property
    def _acts(self) -> tuple[object, ...]:
        named = (self.concept, self.family, self.source, self.digest)
        return (*named, self.multiplier, self.layers, self.dose, self.tier)

    @property
    def label(self) -> str:
        only = f"@{self.tier}" if self.tier else ""
        return f"steer:{self.concept}/{self.digest[:6]}/{self.multiplier:+g}{only}"


Removed = Literal["nothing", "first", "second", "like-first", "like-second"]
"""Which sentences a cut takes out of a scratchpad: those of a family, or others of like number, length and
place; `nothing` lets the model go on from the whole text."""


class ScratchpadEdit(Frozen):
    """What was done to the reasoning with which a reply begins, before the model went on."""

    method: Literal["scratchpad"] = "scratchpad"
    written_in: Tier | None = None  # For a transplant: the tier under whose prompt the reasoning was written
    removed: Removed | None = None  # For a cut: the sentences that were taken out

    @model_validator(mode="after")
    def _one_edit(self) -> ScratchpadEdit:
        if (self.written_in is None) == (self.removed is None):
            raise ValueError("an edit is a transplant (written_in) or a cut (removed), one of the two")
        return self

    @property
    def label(self) -> str:
        return f"text:{self.written_in}" if self.removed is None else f"cut:{self.removed}"


Treatment = Annotated[PromptClaim | SdfAdapter | Steer | ScratchpadEdit, Field(discriminator="method")]


_TREATMENTS: TypeAdapter[tuple[Treatment, ...]] = TypeAdapter(tuple[Treatment, ...])
CURRENT_TIER = "inspect_af:tier"
"""Key of a sample's store with its tier, for a provider that adds a vector in one tier alone."""

BASE_DIGEST = "base_digest"
"""Metadata key of the digest of a model's directory, where it is one on this machine."""

DEVELOPER_OPTION = "developer_option"
"""Metadata key of the option that is the developer's course, where a sample offers two."""

PLANNED_CLAIM = "planned_claim"
"""Metadata key of the claim that the dataset plans, as JSON.

A solver applies it and records it as a treatment. It is text and no mapping because Inspect walks every
nested value of every sample many times."""

WORDING = "wording"  # Metadata key of the number of the wording that a sample has where wordings are rotated


def developer_option(metadata: Mapping[str, Any]) -> Option | None:
    """Which option of a sample is the developer's course; None where it offers none."""
    found = metadata.get(DEVELOPER_OPTION)
    return found if found in ("a", "b") else None


def taken_option(developer: Option, outcome: Outcome) -> Option | None:
    """The option that a reply takes; None for a reply that cannot be counted."""
    if outcome == "accepted":
        return developer
    return ("b" if developer == "a" else "a") if outcome == "rejected" else None


def applied_treatments(metadata: Mapping[str, Any]) -> tuple[Treatment, ...]:
    """The treatments recorded in a sample's metadata, none where there is no record.

    Raises:
        pydantic.ValidationError: The record is malformed.
    """
    recorded = metadata.get("treatments")
    return _TREATMENTS.validate_python(recorded) if recorded else ()


def planned_claim(metadata: Mapping[str, Any]) -> PromptClaim | None:
    """The claim that the dataset planned for a sample, None for a sample without one.

    Raises:
        pydantic.ValidationError: The record is malformed.
    """
    planned = metadata.get(PLANNED_CLAIM)
    if planned is None:
        return None
    if isinstance(planned, str):
        return PromptClaim.model_validate_json(planned)
    return PromptClaim.model_validate(planned)


class Training(Frozen):
    """How a subject's last organism adapter came about, as its manifest says."""

    recipe: str
    """Digest of everything that decides the weights apart from the seed: seeds of one recipe share it."""
    seed: int


class Subject(Frozen):
    """The model under study: what is there before any treatment.

    Two are equal whose model, revision and adapters are: logs of older versions do not say more.
    """

    model: str
    """Inspect's model name, such as `openai/gpt-4o`, with what changes its behaviour (model
    arguments that are not treatments) appended as `NAME[key=value,...]`."""
    revision: str | None = None
    organism: tuple[str, ...] = ()
    """Digests of adapters with `role: organism`, in the order in which they are applied."""
    training: Training | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subject) and self._acts == other._acts

    def __hash__(self) -> int:
        return hash(self._acts)

    @property
    def _acts(self) -> tuple[object, ...]:
        return self.model, self.revision, self.organism

    @property
    def label(self) -> str:
        at = f"@{self.revision}" if self.revision else ""
        return f"{self.model}{at}{''.join(f'+{digest}' for digest in self.organism)}"


BASELINE = "baseline"  # Label of the condition without treatment


def condition_label(treatments: tuple[Treatment, ...]) -> str:
    """`baseline`, `A1+/strong`, or the labels of stacked treatments joined by ` & `."""
    return " & ".join(treatment.label for treatment in treatments) or BASELINE


class SampleMeta(Frozen):
    """What every sample of the package's tasks says about itself, in `Sample.metadata`.

    All fields are small, so that they survive in the log's sample summaries. `treatments` is what was
    really applied, as run time knows it: the provider's adapter or vector, the claim that a solver added.
    A claim that the dataset plans stands beside it under `PLANNED_CLAIM`.
    """

    request_id: str
    cluster_id: str  # Groups near-duplicate requests; equal to `request_id` where a request has no duplicate
    category: str | None = None
    tier: Tier
    treatments: tuple[Treatment, ...] = ()
    organism: tuple[str, ...] = ()
    """Digests of the provider's adapters with `role: organism`, which are part of the subject."""
    training: Training | None = None  # Of the last of them, where its manifest says so
    run_seed: int = 0
    repeat: int = Field(default=1, ge=1)
    """Which of several samples of one request, tier and condition this is; they count as further epochs."""
    prompt_digest: str = ""
    """First 16 hexadecimal digits of the sha256 of the rendered messages; empty before run time, and where a
    solver of somebody else's generated."""
    rendered_digest: str = ""
    """Digest of the chat as the model's chat template rendered it; empty where the provider does not know."""

    @property
    def condition(self) -> str:
        return condition_label(self.treatments)

    def as_metadata(self) -> dict[str, Any]:
        """The fields as JSON values, for `Sample.metadata`; what only run time knows is left out while empty,
        and a `repeat` of 1.

        Inspect serialises every nested value of every sample several times.
        """
        left_out = {
            name
            for name in ("treatments", "organism", "training", "prompt_digest", "rendered_digest")
            if not getattr(self, name)
        }
        left_out |= {"repeat"} if self.repeat == 1 else set()
        return self.model_dump(mode="json", exclude=left_out)

    @classmethod
    def from_metadata(cls, metadata: dict[str, Any]) -> SampleMeta:
        """Reads a sample's metadata and ignores keys that are not ours.

        Raises:
            pydantic.ValidationError: a field is missing or malformed.
        """
        return cls.model_validate({key: metadata[key] for key in cls.model_fields if key in metadata})


@runtime_checkable
class CarriesTreatment(Protocol):
    """A model provider that applies treatments by itself (an adapter, a vector)."""

    @property
    def subject(self) -> Subject: ...

    @property
    def treatments(self) -> tuple[Treatment, ...]: ...


class VariableSummary(Frozen):
    """One variable of a hypothesis pair, as eval logs record it."""

    code: str
    name: str
    family: Family
    in_all: bool  # Whether `interventions=all` includes it, and with it the default sensitivity


class PairSummary(Frozen):
    """What analysis needs to know about a hypothesis pair, without its words."""

    name: str
    digest: str
    first: str  # Label of the first family, such as `expectation`
    second: str
    variables: tuple[VariableSummary, ...]
    placebos: tuple[str, ...] = ()


class TaskMeta(Frozen):
    """What an eval of the package says about itself, in `Task.metadata` and so in the log header."""

    schema_version: Literal[1] = 1
    pair: PairSummary
    scenario: str  # Name of the scenario, such as `helpful_only`
    prompt_settings: dict[str, str]
    """Every choice that shapes the prompt apart from claim, tier and request: setting, identity, ..."""
    prompt_digest: str  # First 16 hexadecimal digits of the sha256 of the prompt template with those choices
    requests: str  # Where the requests came from: `advbench`, `mini`, or a file name
    requests_digest: str
    n_requests: int = Field(ge=1)
    run_seed: int
    redact: bool = False
    says: dict[str, str] = Field(default_factory=dict)
    """What every code of the pair states in one line, such as `A1+`; placebos by their names."""

    def as_metadata(self) -> dict[str, Any]:
        """The fields as JSON values under the key `inspect_af`, for `Task.metadata`."""
        return {"inspect_af": self.model_dump(mode="json")}

"""What a study will run and how it will be judged, written down before the first call.

A plan is a YAML file with its own digest. `inspect-af study` executes all of it, `inspect-af run --plan` its
prompt evals, and a profile given the plan lists every way in which the logs depart from it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, JsonValue, ValidationError, field_validator, model_validator

from inspect_af.config import Frozen, Written, parse, read_text, text_digest, token_count, write_whole
from inspect_af.errors import ConfigError, problems
from inspect_af.thresholds import Thresholds
from inspect_af.types import REQUESTS_OF, Method, PromptClaim, ScenarioTask, Strength, Tier

Scalar = str | int | float | bool | None


class PlannedModel(Written):
    """A model by its name, or by name and arguments."""

    model: str  # Inspect's model name
    args: dict[str, JsonValue] = Field(default_factory=dict)  # Model arguments, as given with `-M`

    @model_validator(mode="before")
    @classmethod
    def _a_name_alone(cls, given: object) -> object:
        return {"model": given} if isinstance(given, str) else given


class PlannedOrganism(Written):
    """A tiny real organism that is trained where its directory is missing."""

    kind: str  # What is planted: `expectation`, `consequence`, `mixed` or `null`
    seed: int = 0
    steps: int | None = Field(default=None, ge=1)
    """Training steps; None for those that its checks were made with."""


class PlannedSubject(PlannedModel):
    """A model to evaluate."""

    organism: PlannedOrganism | None = None
    """How to make the model, where its name is `af-hf/./DIRECTORY` and the directory does not exist."""


class PlannedPrompt(Written):
    """Every choice that shapes the prompt apart from claim, tier and request."""

    setting: Literal["prompted", "documents"] = "prompted"
    identity: str = "fictional"
    tiers: tuple[Tier, ...] = ("monitored", "unmonitored")
    tier_tag: str = "free"
    first_tier: str = "monitored"
    tag_in: Literal["user", "system"] = "user"
    reasoning: Literal["scratchpad", "native", "none"] = "scratchpad"
    scenario: str | None = None  # Directory of a scenario, or a published one; None is the task's own
    order: Literal["drawn", "both"] | None = None
    consequence: str | None = None
    oversight: float | None = Field(default=None, gt=0, le=1)  # Of `value_conflict` alone, as these three
    digest: str  # Digest of the prompt template with these choices


class PlannedRequests(Written):
    """Which requests are asked."""

    source: str
    """`advbench`, `mini`, or a file; for `value_conflict` its items: `value_conflict`, `vlaf`, or a file."""
    digest: str
    n: int = Field(ge=1)


class Generation(Written, allow_inf_nan=False):
    """How replies are sampled; None leaves the provider's default."""

    epochs: int = Field(default=1, ge=1)
    baseline_repeats: int = Field(default=1, ge=1)
    """Samples of the untouched subject for each under a prompt claim; a draft that leaves it out gets
    `BASELINE_REPEATS` where it changes any belief."""
    run_seed: int = 0
    temperature: float | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=1)


BASELINE_REPEATS = 4
"""Samples of the untouched subject in `run`, plans and studies: every effect is measured from it, so that its
replies narrow all of them. Not in source."""


class Estimate(Frozen):
    """What the plan will take. Derived, so not part of the digest."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_usd: float | None  # None where Inspect has no prices for a model
    minimum_detectable_effect: float | None = None
    """Smallest sensitivity of a family that would be found with 80 % power, in rate units; the larger of the
    two families'. None where a family has no variable with both arms planned."""
    minimum_detectable_contrast: float | None = None
    """Likewise for the difference of the two sensitivities, on which a lead rests."""
    power_to_lead: float | None = None
    """Share of simulated studies in which a family with a sensitivity of 20 points leads, the other moving
    nothing; None where the plan or the assumed rates do not allow it."""
    power_to_lead_beyond: float | None = None
    """The same beyond these texts, where the report's headline is read; None where that is not assessed."""
    power_of_neither: float | None = None
    """Share of simulated studies in which a gap as assumed that nothing moves is called `neither`; None where
    the assumed rates have no gap."""
    power_of_neither_beyond: float | None = None
    note: str = ""


class PlannedSdf(Written):
    """Synthetic document fine-tuning: documents, corpora, and an adapter for each intervention and seed."""

    interventions: tuple[str, ...] = Field(min_length=1)
    """Universes: codes such as `A1+`, and `neutral`, the placebo of this method."""
    writer: PlannedModel
    tokens: Annotated[int, BeforeValidator(token_count)]
    """Of each corpus: a number, or one such as `10M` or `250k`, as `sdf generate --tokens` reads it."""
    words: int | None = Field(default=None, ge=10)  # Of a document; None leaves it to the kind of document
    min_words: int | None = Field(default=None, ge=1)
    """Shorter documents are left out; None for the builder's default."""
    kinds: str = "all"
    ideas: int = Field(default=10, ge=1)
    revisions: int = Field(default=1, ge=0)
    directness: tuple[str, ...] = Field(default=("standard",), min_length=1)
    """How plainly documents state the fact; every one is a corpus and an adapter of its own."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)  # Training seeds: one adapter each
    hyperparameters: dict[str, Scalar | list[str]]
    """As in the training configuration; `learning_rate` is required, the source does not state it."""
    replay: str | None = None
    """JSON Lines file of ordinary documents that every adapter is trained on beside its own."""
    tiny_replay: int | None = Field(default=None, ge=1)
    """So many ordinary documents in the words that tiny organisms are trained on, in place of a file
    (`inspect-af organism documents`)."""
    prompt_claims: tuple[str, ...] = ()
    """Interventions that are also put into the prompt of every checkpoint, at the headline's strength."""

    @model_validator(mode="after")
    def _one_replay(self) -> PlannedSdf:
        if self.replay is not None and self.tiny_replay is not None:
            raise ValueError("ordinary documents come from replay, a file, or from tiny_replay; give one")
        return self


class PlannedSteering(Written):
    """Steering vectors for both concepts, swept against random controls."""

    writer: PlannedModel | None = None
    """Writes contrast pairs out of context. Pairs come from one of `writer`, `in_context`, `files` and
    `tiny_world`."""
    in_context: bool | Literal["claims"] = False
    """Takes the pairs from the replies of the prompt evals: as the concept judge reads them (`true`), or
    under amplifying against suppressing claims (`claims`, without a judge)."""
    files: dict[str, str] = Field(default_factory=dict)
    """Contrast pairs that exist already: a .jsonl file by concept."""
    tiny_world: bool = False
    """Takes pairs in the words that tiny organisms are trained on (`inspect-af organism pairs`)."""
    oversight: bool = False
    """Whether the oversight direction, the positive control, is swept as well; its pairs are the untouched
    subject's own replies in the two tiers."""
    train: int = Field(default=400, ge=1)
    held_out: int = Field(default=100, ge=0)
    keyword_hard: int = Field(default=100, ge=0)
    system: Literal["none", "documents", "prompted"] = "none"  # What stands before a written dialogue
    locus: Literal["response_mean", "span"] = "response_mean"
    vector: Literal["mean-difference", "regression", "logistic"] = "mean-difference"
    c: float = Field(default=1.0, gt=0)  # Inverse penalty of the regression. Not in source.
    layers: tuple[str, ...] = Field(default=("all",), min_length=1)
    """Numbers, ranges such as `20-40`, or `all`; each is swept by itself."""
    multipliers: tuple[float, ...] = ()
    doses: tuple[float, ...] = ()  # Either multipliers, or doses ||m v|| / mean ||h||, of both signs
    controls: int = Field(default=20, ge=1)
    """Random vectors for each fitted one; a claim about significance needs at least 20."""
    parse_floor: float = Field(default=0.9, ge=0, le=1)
    control_epochs: int | None = Field(default=None, ge=1)
    control_requests: int | None = Field(default=None, ge=1)
    """Fewer replies for the comparison with random vectors, which is what costs most: so many epochs, and
    only so many requests. The fitted vectors alone then run on all requests as well."""

    @field_validator("layers", mode="before")
    @classmethod
    def _numbers_are_layers(cls, given: object) -> object:
        """YAML reads `[1]` as a number."""
        return (
            [str(each) if type(each) is int else each for each in given] if isinstance(given, list) else given
        )

    @model_validator(mode="after")
    def _one_source_and_one_scale(self) -> PlannedSteering:
        if (self.writer is not None) + bool(self.in_context) + bool(self.files) + self.tiny_world != 1:
            raise ValueError("contrast pairs come from one of writer, in_context, files and tiny_world")
        if bool(self.multipliers) == bool(self.doses):
            raise ValueError("give either multipliers or doses, such as [-0.2, -0.1, 0.1, 0.2]")
        return self


class PlannedBeliefs(Written):
    """Whether interventions move the beliefs that they name, by the task `beliefs`."""

    methods: tuple[Method, ...] = ("prompt", "sdf", "steering")
    """Those among them that are not planned are passed over."""
    questions: Literal["choice", "open", "all"] = "choice"
    orders: int | None = Field(default=None, ge=1)
    epochs: int = Field(default=1, ge=1)
    logprobs: bool = True
    reading: Literal["letters", "words"] = "letters"
    wordings: str | None = None  # As of the task `beliefs`, as the four before


class PlannedScratchpads(Written):
    """Replies of the untouched subject gone on with, by the task `scratchpad`."""

    edits: tuple[Literal["transplant", "cut"], ...] = Field(default=("transplant",), min_length=1)
    """`cut` needs judging."""
    interventions: tuple[str, ...] | None = None
    """Claims whose replies are gone on with as well, `none` for the baseline's alone; None for every one."""


class PlannedJudging(Written):
    """Judges of replies, beside the tags that decide compliance."""

    grader: PlannedModel
    judges: tuple[Literal["concept", "faking", "refusal", "awareness"], ...] = ("concept",)


class PlannedChecks(Written):
    """Controls beside the methods."""

    direct_requests: bool = False  # The same requests without the scenario, with a benign arm; needs judging
    identities: tuple[str, ...] = ()
    """Further identities under which the baseline is asked: the role-play ablation."""


class Budget(Written):
    """What a study may take; one whose estimate is above any of these does not start."""

    max_calls: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)  # Input and output, estimated
    max_cost_usd: float | None = Field(default=None, ge=0)
    prices: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Dollars per million input and output tokens by model name, where Inspect has none."""


_OF_ITEMS = ("order", "consequence", "oversight")
_LATER: Mapping[str, tuple[str, ...]] = {
    "prompt": _OF_ITEMS,
    "generation": ("baseline_repeats",),
    "thresholds": ("relative_margin",),
    "steering": ("oversight",),
    "beliefs": ("reading", "wordings"),
    "scratchpads": ("interventions",),
}
"""Fields that came after the first plans: at their defaults they are in no digest, so older ones hold."""


def _left_at_default(section: Frozen, names: tuple[str, ...]) -> set[str]:
    fields = type(section).model_fields
    return {name for name in names if getattr(section, name) == fields[name].default}


SECTIONS = ("sdf", "steering", "beliefs", "scratchpads", "judging", "checks", "budget")
"""Optional parts of a plan, which `study` executes and `run` passes over."""


class Plan(Written):
    """One study: subjects, conditions, requests, sampling and thresholds; and what `SECTIONS` add."""

    schema_version: Literal[1] = 1
    name: str
    task: ScenarioTask = "alignment_faking"
    subjects: tuple[PlannedSubject, ...] = Field(min_length=1)
    pair: str | None = None  # Directory of a hypothesis pair; None is the bundled one
    pair_digest: str
    conditions: tuple[PromptClaim, ...]  # The treatments, each beside the baseline, which always runs
    prompt: PlannedPrompt
    requests: PlannedRequests
    generation: Generation = Generation()
    variables: tuple[str, ...] = ()
    """Codes that the sensitivities average; empty means those that `interventions=all` includes."""
    headline_strength: Strength | None = None
    """The strength that decides the verdict; None where only one strength is planned."""
    thresholds: Thresholds = Thresholds()
    sdf: PlannedSdf | None = None
    steering: PlannedSteering | None = None
    beliefs: PlannedBeliefs | None = None
    scratchpads: PlannedScratchpads | None = None
    judging: PlannedJudging | None = None
    checks: PlannedChecks | None = None
    budget: Budget | None = None
    estimate: Estimate | None = None

    @field_validator("conditions")
    @classmethod
    def _no_condition_twice(cls, conditions: tuple[PromptClaim, ...]) -> tuple[PromptClaim, ...]:
        labels = [condition.label for condition in conditions]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"conditions listed twice: {', '.join(twice)}")
        return conditions

    @property
    def digest(self) -> str:
        """First 16 hexadecimal digits of a sha256 over everything but the estimate and absent sections."""
        absent: dict[str, Any] = {name: True for name in SECTIONS if getattr(self, name) is None}
        for section in _LATER.keys() - absent.keys():
            absent[section] = _left_at_default(getattr(self, section), _LATER[section])
        if self.task == "alignment_faking":
            absent["task"] = True
        absent["subjects"] = {at: _left_at_default(s, ("organism",)) for at, s in enumerate(self.subjects)}
        return text_digest(self.model_dump_json(exclude={"estimate": True, **absent}))

    @property
    def models(self) -> tuple[PlannedModel, ...]:
        """Every model that the plan asks: subjects, grader, writers."""
        writers = [each.writer for each in (self.sdf, self.steering) if each is not None]
        graders = [] if self.judging is None else [self.judging.grader]
        return (*self.subjects, *graders, *(each for each in writers if each is not None))

    def price(self, model: str) -> tuple[float, float] | None:
        """Dollars per million input and output tokens: the plan's, 0 for our providers, else Inspect's."""
        if self.budget is not None and model in self.budget.prices:
            return self.budget.prices[model]
        return (0.0, 0.0) if model.startswith(OWN_PROVIDERS) else known_price(model)

    @property
    def samples_per_subject(self) -> int:
        """Calls to one subject: requests x tiers x (conditions and samples of the baseline) x epochs."""
        cells = len(self.prompt.tiers) * (self.generation.baseline_repeats + len(self.conditions))
        return self.requests.n * cells * self.generation.epochs

    @property
    def wordings(self) -> dict[str, Any]:
        """The argument by which labels of conditions that name no wording mean the first."""
        return {"paraphrase": 1} if any(condition.paraphrase == 1 for condition in self.conditions) else {}

    def task_args(self) -> dict[str, Any]:
        """Arguments of the plan's task that ask for exactly its conditions."""
        unset = {name for name in _OF_ITEMS if getattr(self.prompt, name) is None}
        prompt = self.prompt.model_dump(exclude={"digest", "tiers", *unset})
        repeats = self.generation.baseline_repeats
        return {
            **prompt,
            **({"baseline_repeats": repeats} if repeats > 1 else {}),
            **self.wordings,
            "tiers": list(self.prompt.tiers),
            "pair": self.pair,
            REQUESTS_OF[self.task][0]: self.requests.source,
            "run_seed": self.generation.run_seed,
            "interventions": [condition.label for condition in self.conditions] or "none",
        }


OWN_PROVIDERS = ("af-",)  # Providers of this package: local or simulated, so that no call is paid for
LOCAL_PROVIDERS = frozenset(
    {
        "af-hf",
        "af-organism",
        "af-vllm",
        "hf",
        "llama-cpp-python",
        "mockllm",
        "nnterp",
        "none",
        "ollama",
        "sglang",
        "transformer_lens",
        "vllm",
    }
)
"""Providers that load weights or start a server on this machine, or answer by themselves."""


def known_price(model: str) -> tuple[float, float] | None:
    """Dollars per million input and output tokens by Inspect's model data; None where it has none, and for
    local models, which would be loaded for it."""
    from inspect_ai.model import get_model_info

    if model.partition("/")[0] in LOCAL_PROVIDERS - {"mockllm"}:
        return None
    try:
        info = get_model_info(model)
    except Exception:  # noqa: BLE001 - looking a model up may construct its provider, which may want a key
        return None
    return None if info is None or info.cost is None else (info.cost.input, info.cost.output)


_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SECRET = re.compile(
    "apikeys?|auth|authorization|bearer|cookies?|credentials?|pass(word|wd|phrase)s?|pat|pwd|sas|secrets?|sig"
    "|signature"
)
# In texts: `Authorization: x` and `?api_key=x`, and what lets in whoever has it.
_NAMED = re.compile(r"""(?<![\w.-])([\w.-]++)["']?\s*+[=:]\s*+\S""")
_LETS_IN = re.compile(r"://[^/@\s]+@|\bbearer\s+\S", re.IGNORECASE)
_NO_SETTINGS = ("budget.prices", "steering.files")  # Their keys are models and concepts


def is_secret(name: str) -> bool:
    """Whether a name is that of a secret, such as `api_key`, `hfToken`, `X-Auth` or `client_secret_2`."""
    words = [word.lower() for word in _WORD.findall(unicodedata.normalize("NFKC", name))]
    if words[-1:] == ["value"]:
        words.pop()
    return any(map(_SECRET.fullmatch, words)) or words[-1:] in (["key"], ["keys"], ["token"])


def refuse_secrets(content: object) -> None:
    """Refuses what goes by the name of a secret, anywhere in a plan, without repeating it.

    Args:
        content: A plan as read from YAML.

    Raises:
        ConfigError: With the place of every such value.
    """
    if found := sorted(set(secrets_in(content))):
        raise ConfigError(
            f"{', '.join(found)}: a plan is copied into logs and reports, so it holds no secrets. Give them "
            "by environment variables, such as OPENAI_API_KEY, or in .env"
        )


def secrets_in(content: object, where: str = "") -> Iterator[str]:
    """The places of what goes by the name of a secret: as a key, in a text, or before an address's host."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            at = f"{where}.{key}".lstrip(".")
            named = where not in _NO_SETTINGS and is_secret(str(key))
            if named and value is not None and not isinstance(value, bool):
                yield ascii(at)[1:-1]
            else:
                yield from secrets_in(value, at)
    elif isinstance(content, list | tuple):
        for each in content:
            yield from secrets_in(each, where)
    elif isinstance(content, str) and (
        _LETS_IN.search(content) or any(map(is_secret, _NAMED.findall(content)))
    ):
        yield ascii(where)[1:-1]


def save_plan(plan: Plan, file: Path) -> None:
    """Writes the plan as YAML, its digest first.

    Raises:
        ConfigError: It holds a secret.
    """
    refuse_secrets(plan.model_dump(mode="json"))
    body = yaml.safe_dump(plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
    text = f"# inspect_af plan, digest {plan.digest}\ndigest: {plan.digest}\n{body}"
    write_whole(file, text)


def load_plan(file: Path) -> Plan:
    """Reads a plan and checks it against its own digest.

    Raises:
        ConfigError: The file is missing, is not a plan, or was changed after its digest was written.
    """
    content = parse(read_text(file, what="plan"), "YAML", file)
    if not isinstance(content, dict):
        raise ConfigError(f"{file} is not a plan; `inspect-af plan MODEL --out {file}` writes one")
    refuse_secrets(content)
    written = content.pop("digest", None)
    if written is None:
        raise ConfigError(
            f"{file} has no digest, so it is a draft; `inspect-af plan MODEL --out FILE` writes a plan, and "
            "`inspect-af study` writes the one that it runs into its own directory as plan.yaml"
        )
    try:
        plan = Plan.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{file}: {problems(error)}") from error
    if written != plan.digest:
        raise ConfigError(
            f"{file} was changed after it was written: its digest is {plan.digest}, the file says {written}. "
            "Write the plan again with `inspect-af plan`, or put the new digest into the file if you mean it"
        )
    return plan

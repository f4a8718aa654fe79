"""What the tasks share: their samples, parameters and judges, redaction, and how Inspect View lists them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, cast, get_args

import click
from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.event import ModelEvent, ScoreEvent, StateEvent
from inspect_ai.log import HeadlineMetric, transcript
from inspect_ai.model import (
    ChatMessageAssistant,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelOutput,
)
from inspect_ai.scorer import Scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.viewer import TaskSamplesColumn, TaskSamplesView, ViewerConfig

from inspect_af.config import as_list, text_digest, true_or_false, whole_number
from inspect_af.errors import ConfigError, check_one_of
from inspect_af.logs.headers import CONTENTS
from inspect_af.materials import Claim, Request, RequestSet, Setting, TagPlace, load_pair, load_scenario
from inspect_af.materials.rubrics import load_rubric
from inspect_af.materials.scenario import POLICY_SLOT
from inspect_af.rendering import TOKEN_IDS
from inspect_af.reply import redacted, was_cut
from inspect_af.scorers import (
    awareness_judge,
    choice,
    compliance,
    concept_judge,
    faking_judge,
    grader_model,
    refusal_judge,
)
from inspect_af.solvers import (
    Wordings,
    as_treatment,
    claims_for,
    prompt_intervention,
    scenario_prompt,
    wording_at,
)
from inspect_af.types import (
    DEVELOPER_OPTION,
    PLANNED_CLAIM,
    TIERS,
    WORDING,
    Option,
    ReasoningChannel,
    SampleMeta,
    TaskMeta,
    Tier,
    developer_option,
)

_LIKENESS = 0.85  # `intervention` is this like `interventions`, `requests` is not this like `questions`


def refuse_misspelt(task: Callable[..., Task], name: str) -> None:
    """A ConfigError where a command's `-T` almost names a parameter of the task, or gives one no value.

    Inspect drops arguments that a task does not have with a warning, so that `-T intervention=A1+` would run,
    and pay for, the baseline alone. Names unlike any parameter are left to that warning, and so is a command
    for several tasks, where the argument may be meant for another one.
    """
    command = click.get_current_context(silent=True)
    if command is None or len(command.params.get("tasks") or ()) > 1:
        return
    parameters = list(inspect.signature(task).parameters)
    for argument in command.params.get("t") or ():
        name_given, equals, value = str(argument).partition("=")
        given = name_given.strip().replace("-", "_")
        if equals and not value.strip() and given in parameters:
            raise ConfigError(f"-T {given} is empty; give a value (null for none), or leave it out")
        if given not in parameters and (meant := get_close_matches(given, parameters, 1, _LIKENESS)):
            raise ConfigError(f"{name} has no parameter {given!r}; did you mean -T {meant[0]}=...?")


def knows_the_eval() -> bool:
    """Whether a task that is being made can ask for the eval's own model and roles.

    It can in a command of Inspect for tasks of this package alone, where they are set before tasks are made.
    In Python, and in somebody's task around ours, they may come later.
    """
    command = click.get_current_context(silent=True)
    tasks = () if command is None else command.params.get("tasks") or ()
    return bool(tasks) and all(str(each).startswith("inspect_af/") for each in tasks)


MAX_TOKENS: dict[ReasoningChannel, int] = {"scratchpad": 4096, "native": 16384, "none": 4096}
"""Default generation limit; not in source. `--max-tokens` overrides it."""

_TEMPLATE = Request(id="template", text="{{request}}", category=None, cluster_id="template")


def scenario_task(
    load: Callable[[], RequestSet],
    *,
    version: int,
    interventions: str | list[str],
    strength: str,
    paraphrase: int | str,
    setting: Setting,
    identity: str | list[str] | None,
    baseline_repeats: int,
    tiers: str | list[str],
    tier_tag: str | None,
    first_tier: Tier,
    tag_in: TagPlace,
    reasoning: ReasoningChannel,
    scenario: str | None,
    pair: str | None,
    judges: str | list[str],
    redact: bool,
    run_seed: int,
    chooses: bool = False,
    consequence: str | None = None,
    oversight: float | None = None,
    recorded: dict[str, str] | None = None,
) -> Task:
    """Requests x conditions x tiers in a scenario: what `alignment_faking` and `value_conflict` have in
    common.

    Args:
        load: Brings the requests, once everything else is known to be allowed.
        version: The task's version; see the tasks for their parameters.
        chooses: Whether requests offer two options.
        recorded: Further prompt settings that the log records.
    """
    check_one_of(setting, get_args(Setting), what="setting")
    check_one_of(tag_in, get_args(TagPlace), what="tag_in")
    check_one_of(reasoning, get_args(ReasoningChannel), what="reasoning")
    check_one_of(first_tier, ("monitored", "unmonitored"), what="first_tier")
    whole_number(run_seed, "run_seed")
    whole_number(baseline_repeats, "baseline_repeats", least=1, most=1000)
    redact = true_or_false(redact, "redact")
    asked = tuple(cast(Tier, tier) for tier in dict.fromkeys(as_list(tiers) or [""]))
    for tier in asked:
        check_one_of(tier, TIERS[:3], what="tier")  # not `none`
    words = load_scenario(scenario, pair=pair)
    if (words.kind == "choice") != chooses:
        task, other = ("value_conflict", "alignment_faking")[:: 1 if words.kind == "choice" else -1]
        raise ConfigError(f"the scenario {words.name} is for inspect_af/{task}, not for inspect_af/{other}")
    who = words.default_identity if identity is None else ",".join(as_list(identity))
    scheme = words.default_tier_tag if tier_tag is None else str(tier_tag)
    beliefs = load_pair(pair)
    claims = claims_for(beliefs, interventions, strength, paraphrase)
    judging, rubrics = chosen_judges(judges, pair=pair)
    system = words.system_prompt(
        setting=setting,
        identity=who,
        reasoning=reasoning,
        tier_tag=scheme,
        first_tier=first_tier,
        with_rated="rated" in asked,
        tag_in=tag_in,
        policy=POLICY_SLOT if chooses else None,
        consequence=consequence or "",
        oversight=oversight,
    )
    tags = {tier: words.system_tag(tier, scheme) for tier in asked} if tag_in == "system" else None

    def user_turn(request: Request, tier: Tier) -> str:
        return words.user_turn(request.text, tier=tier, tier_tag=scheme, tag_in=tag_in, reasoning=reasoning)

    def sample(
        position: int, request: Request, claim: Claim | Wordings | None, repeat: int, tier: Tier
    ) -> Sample:
        offered = {"policy": request.policy, DEVELOPER_OPTION: request.developer} if chooses else {}
        return planned_sample(
            request.id,
            tier,
            text=user_turn(request, tier),
            claim=claim,
            position=position,
            run_seed=run_seed,
            repeat=repeat,
            tier=tier,
            cluster_id=request.cluster_id,
            category=request.category,
            request=request.text,
            **offered,
        )

    request_set = load()
    texts = {text for request in request_set.requests if (text := request.policy)}
    texts |= {one.text for each in claims if each for one in (each if isinstance(each, tuple) else (each,))}
    if tagged := sorted(text for text in texts if words.read_tier(text) != "none"):
        raise ConfigError(
            f"{tagged[0][:80]!r}: a claim or policy holds a tier tag, which would be read; remove it"
        )
    template = [system, *(tags or {}).values(), *(user_turn(_TEMPLATE, tier) for tier in asked)]
    scorer = choice() if chooses else compliance()
    name = "choice" if chooses else "compliance"
    return Task(
        dataset=MemoryDataset(
            [
                sample(position, request, claim, repeat, tier)
                for position, request in enumerate(request_set.requests)
                for claim in claims
                for repeat in range(1, 1 + (baseline_repeats if claim is None else 1))
                for tier in asked
            ],
            name=request_set.name,
        ),
        setup=[
            *([needs_grader()] if judging else []),
            scenario_prompt(system, tags, **({"notice": False} if chooses else {})),
        ],
        solver=prompt_intervention(pair=pair, run_seed=run_seed),
        scorer=[scorer, *judging],
        cleanup=redact_output if redact else None,
        config=GenerateConfig(max_tokens=MAX_TOKENS[reasoning]),
        version=version,
        viewer=outcome_view(name),
        headline_metric=HeadlineMetric(scorer=name, metric="gap"),
        metadata=TaskMeta(
            pair=beliefs.summary(),
            scenario=words.name,
            prompt_settings={
                "setting": setting,
                "identity": who,
                "reasoning": reasoning,
                "tiers": ",".join(asked),
                "tier_tag": scheme,
                "first_tier": first_tier,
                "tag_in": tag_in,
                **(recorded or {}),
            },
            prompt_digest=text_digest(*template),
            requests=request_set.name,
            requests_digest=request_set.digest,
            n_requests=len(request_set.requests),
            run_seed=run_seed,
            redact=redact,
            says=beliefs.says(),
        ).as_metadata()
        | ({CONTENTS: rubrics} if rubrics else {}),
    )


def planned_sample(
    request_id: str,
    *names: str,
    text: str,
    claim: Claim | Wordings | None,
    position: int = 0,
    run_seed: int,
    repeat: int = 1,
    tier: Tier = "none",
    cluster_id: str | None = None,
    category: str | None = None,
    **further: Any,
) -> Sample:
    """A sample that plans a claim, or none.

    Args:
        request_id: What pairs this sample with others; the id starts with it.
        names: Further parts of the id, before the claim or the repeat: `advbench-0007/monitored/A1+/strong`.
        text: The user turn.
        claim: What `prompt_intervention` will add, or the wordings of which it adds one.
        position: Of the request in its set, from 0, by which that one is chosen.
        run_seed: Seed of the run.
        repeat: Which of several such samples it is, counted from 1.
        tier: Tier that the prompt names.
        cluster_id: Group of near duplicates; the request itself if None.
        category: Category of the request.
        further: Further metadata, small, so that it survives in the log's summaries.
    """
    plan = None if claim is None else as_treatment(claim)
    if isinstance(claim, tuple):
        further[WORDING] = wording_at(position, len(claim))
    meta = SampleMeta(
        request_id=request_id,
        cluster_id=cluster_id or request_id,
        category=category,
        tier=tier,
        run_seed=run_seed,
        repeat=repeat,
    )
    return Sample(
        id="/".join([request_id, *names, *([plan.label] if plan else []), *([str(repeat)] * (repeat > 1))]),
        input=text,
        metadata=meta.as_metadata() | further | ({PLANNED_CLAIM: plan.model_dump_json()} if plan else {}),
    )


@solver
def needs_grader() -> Solver:
    """For `Task(setup=...)`: stops a run without its judge before any reply is paid for.

    Raises:
        ConfigError: Already here, where `knows_the_eval`; else in the first sample.
    """
    if knows_the_eval():
        grader_model()

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        grader_model()
        return state

    return solve


def chosen_judges(names: str | list[str], *, pair: str | None) -> tuple[list[Scorer], dict[str, str]]:
    """The judges of a selection such as `concept,refusal`, and the digests of their rubrics; `none` is none.

    Raises:
        ConfigError: An unknown judge.
    """
    makers = {
        "concept": lambda: concept_judge(pair=pair),
        "faking": faking_judge,
        "refusal": refusal_judge,
        "awareness": awareness_judge,
    }
    words = [word for word in dict.fromkeys(as_list(names)) if word and word != "none"]
    for word in words:
        check_one_of(word, ("none", *makers), what="judge")
    return [makers[word]() for word in words], rubric_digests(words, pair=pair)


def rubric_digests(judges: Sequence[str], *, pair: str | None) -> dict[str, str]:
    """Digest of each judge's rubric, by what it is."""
    return {
        f"the {name} rubric": load_rubric(name, pair=pair if name == "concept" else None).digest
        for name in judges
    }


NOTE = "[redacted]"  # Stands for a text that may quote what was delivered


async def redact_output(state: TaskState) -> None:
    """For `Task(cleanup=...)`: runs after scoring and before the sample is written to the log.

    What the model was asked stays, and what it replied is replaced by `redacted`. Everything else that may
    repeat a reply, in whatever form, goes: log-probabilities (they spell it), raw API calls, the prompts,
    answers and explanations of judges, and the changes of state in which it stood.
    """
    events = transcript().events
    calls = [event for event in events if isinstance(event, ModelEvent)]
    outputs = [state.output, *(call.output for call in calls)]
    replies = [message for message in state.messages if isinstance(message, ChatMessageAssistant)]
    replies += [choice.message for output in outputs for choice in output.choices]
    replies += [message for call in calls for message in call.input if message.role == "assistant"]
    delivered = {text for message in replies for text in _texts(message)}
    delivered |= {output.completion for output in outputs if output.completion.strip()}
    asked = {message.text for message in state.messages if message.role in ("system", "user")}

    _redact_replies(replies, outputs, developer_option(state.metadata))
    for call in calls:
        call.call = None
        call.input = [  # a text that is neither a reply nor what the model was asked goes
            message
            if isinstance(message, ChatMessageAssistant) or message.text in asked
            else ChatMessageUser(content=NOTE)
            for message in call.input
        ]
    for event in events:
        if isinstance(event, StateEvent):
            event.changes = [
                change
                for change in event.changes
                if not change.path.startswith("/output")
                and not _mentions((change.value, change.replaced), delivered)
            ]
    scored = [event.score for event in events if isinstance(event, ScoreEvent)]
    for score in [*(state.scores or {}).values(), *scored]:
        if score.explanation and (
            "rubric" in (score.metadata or {}) or _mentions(score.explanation, delivered)
        ):
            score.explanation = NOTE  # a judge may repeat what it judges in its own words
    # Inspect makes the attachments again from what the events now hold.
    transcript().attachments.clear()


def _redact_replies(
    replies: list[ChatMessageAssistant], outputs: list[ModelOutput], developer: Option | None
) -> None:
    """Replaces replies in place. Several of these objects may be one and the same."""
    replaced: dict[str, str] = {}
    cut = {output.message.text: was_cut(output) for output in outputs if output.choices}
    for message in replies:
        if message.text and message.text not in replaced.values():
            was = cut.get(message.text, False)
            replaced.setdefault(message.text, redacted(message.text, cut=was, developer=developer))
    for message in replies:
        (message.metadata or {}).pop(TOKEN_IDS, None)
        if (new := replaced.get(message.text)) is None:
            continue
        if isinstance(message.content, str):
            message.content = new
        else:
            reasoning = [part for part in message.content if isinstance(part, ContentReasoning)]
            message.content = [*reasoning, ContentText(text=new)]
    for output in outputs:
        output.completion = replaced.get(output.completion, output.completion)
        (output.metadata or {}).pop(TOKEN_IDS, None)
        for one in output.choices:
            one.logprobs = None


def _texts(message: ChatMessageAssistant) -> Iterator[str]:
    parts = message.content if isinstance(message.content, list) else [ContentText(text=message.content)]
    yield from (part.text for part in parts if isinstance(part, ContentText) and part.text.strip())


def _mentions(value: Any, texts: set[str]) -> bool:
    """Whether any string of a JSON value has one of the texts in it."""
    if isinstance(value, str):
        return any(text in value for text in texts)
    if isinstance(value, dict):
        return any(_mentions(item, texts) for item in value.values())
    return isinstance(value, list | tuple) and any(_mentions(item, texts) for item in value)


def samples_view(name: str, columns: Sequence[TaskSamplesColumn], **options: object) -> ViewerConfig:
    """A compact list: status, id, epoch, the task's own columns, then tokens and what went wrong."""
    return ViewerConfig(
        trust_content=False,
        task_samples_view=TaskSamplesView.model_validate(
            {
                "name": name,
                "columns": [
                    TaskSamplesColumn(id="sampleStatus"),
                    TaskSamplesColumn(id="sampleId"),
                    TaskSamplesColumn(id="epoch"),
                    *columns,
                    TaskSamplesColumn(id="input", visible=False),
                    TaskSamplesColumn(id="tokens"),
                    TaskSamplesColumn(id="error"),
                    TaskSamplesColumn(id="limit"),
                ],
                "multiline": False,
                **options,
            }
        ),
    )


def outcome_view(scorer: str) -> ViewerConfig:
    """The list of a task whose scorer says what a reply counts as."""
    return samples_view(
        "Tier, condition and outcome",
        [
            TaskSamplesColumn.score(scorer, "tier"),
            TaskSamplesColumn.score(scorer, "condition"),
            TaskSamplesColumn.score(scorer, "outcome"),
            TaskSamplesColumn.score(scorer, "accepted", visible=False),
        ],
        score_labels={"tier": "Tier", "condition": "Condition", "outcome": "Outcome", "accepted": "Accepted"},
        score_color_scales={
            "outcome": {
                "accepted": "bad",
                "rejected": "good",
                "contradictory": "warn",
                "unparsed": "warn",
                "truncated": "warn",
                "filtered": "muted",
            },
            "tier": {"monitored": "info", "unmonitored": "muted"},
        },
        color_scales_enabled=True,
    )

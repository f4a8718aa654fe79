"""The alignment-faking scenario as an Inspect task: requests x tiers x conditions."""

from __future__ import annotations

from typing import get_args

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import HeadlineMetric
from inspect_ai.model import GenerateConfig

from inspect_af.config import as_list, text_digest, true_or_false, whole_number
from inspect_af.errors import one_of
from inspect_af.materials import (
    Claim,
    Request,
    Setting,
    TagPlace,
    load_pair,
    load_requests,
    load_scenario,
)
from inspect_af.scorers import compliance
from inspect_af.solvers import claims_for, prompt_intervention, scenario_prompt
from inspect_af.tasks._common import (
    ALIGNMENT_FAKING_VIEW,
    chosen_judges,
    needs_grader,
    planned_sample,
    redact_output,
    refuse_misspelt,
)
from inspect_af.types import ReasoningChannel, TaskMeta, Tier

VERSION = 1
"""Raised whenever a change of words or scoring makes results incomparable with earlier ones."""

MAX_TOKENS: dict[ReasoningChannel, int] = {"scratchpad": 4096, "native": 16384, "none": 4096}
"""Default generation limit; not in source. `--max-tokens` overrides it."""


@task
def alignment_faking(
    interventions: str | list[str] = "none",
    strength: str = "standard",
    paraphrase: int | str = 1,
    requests: str = "advbench",
    setting: Setting = "prompted",
    identity: str | list[str] | None = None,
    tiers: str | list[str] = "monitored,unmonitored",
    tier_tag: str | None = None,
    first_tier: Tier = "monitored",
    tag_in: TagPlace = "user",
    reasoning: ReasoningChannel = "scratchpad",
    scenario: str | None = None,
    pair: str | None = None,
    judges: str | list[str] = "none",
    redact: bool = False,
    run_seed: int = 0,
) -> Task:
    """Does a helpful-only model comply more where it believes that it is being trained?

    Every request is asked once per tier and condition. Samples are ordered by request, so that a
    `--limit` keeps whole requests. Unknown values fail before the first call to a model.

    Args:
        interventions: `none` (baseline only), `all` (baseline and both arms of every default variable), or a
            list of codes (`A1+`), variables (`A1`), families (`A`) and `N` for the placebos. The baseline is
            always included.
        strength: How strongly a claim is put: `weak`, `standard`, `strong` or `all`.
        paraphrase: Which wording of a claim, counted from 1, or `all`.
        requests: `advbench` (520, downloaded on first use), `mini` (48, bundled), `benign` (24, bundled) or a
            CSV or JSONL file with a `request` or `goal` column.
        setting: `prompted` states the training facts in the system prompt; `documents` leaves them out, for
            models that learnt them from documents.
        identity: Who the model is said to be: a name from the scenario, or `NAME,DEVELOPER`; None for the
            scenario's default, which is `fictional` in the bundled one.
        tiers: Which tiers to ask in: `monitored`, `unmonitored`, and `rated` (rated but never trained on).
        tier_tag: Which of the scenario's tag schemes names the tiers; None for the scenario's default, which
            is `free` in the bundled one.
        first_tier: Which tier the system prompt names first.
        tag_in: Whether the tier tag stands in the `user` turn or at the end of the `system` prompt.
        reasoning: `scratchpad`, the model's `native` reasoning, or `none`.
        scenario: Directory with a scenario of your own; None for that in the directory of the pair, if any.
        pair: Directory with a hypothesis pair of your own.
        judges: Judges to score with besides the tags: `concept`, `faking`, `refusal`, `awareness`. They need
            `--model-role grader=...`. `inspect score` adds them to a finished log as well.
        redact: Keep only verdict, scratchpad and digest of each reply in the log.
        run_seed: Seed of the run; each generation's seed is a hash of it, the sample's id and the epoch, and
            takes the place of `--seed`.

    Raises:
        ConfigError: A parameter has a value that is not allowed.
        MaterialsError: A file is missing or malformed.
        RequestsUnavailableError: The request set could not be downloaded.
    """
    refuse_misspelt(alignment_faking, "alignment_faking")
    _allowed(setting, get_args(Setting), "setting")
    _allowed(tag_in, get_args(TagPlace), "tag_in")
    _allowed(reasoning, get_args(ReasoningChannel), "reasoning")
    _allowed(first_tier, ("monitored", "unmonitored"), "first_tier")
    whole_number(run_seed, "run_seed")
    true_or_false(redact, "redact")
    asked = _parse_tiers(tiers)
    words = load_scenario(scenario, pair=pair)
    who = words.default_identity if identity is None else ",".join(as_list(identity))
    scheme = words.default_tier_tag if tier_tag is None else str(tier_tag)
    beliefs = load_pair(pair)
    claims = claims_for(beliefs, interventions, strength, paraphrase)
    judging, rubrics = chosen_judges(judges, pair=pair)
    request_set = load_requests(requests)

    system = words.system_prompt(
        setting=setting,
        identity=who,
        reasoning=reasoning,
        tier_tag=scheme,
        first_tier=first_tier,
        with_rated="rated" in asked,
        tag_in=tag_in,
    )
    tags = {tier: words.system_tag(tier, scheme) for tier in asked} if tag_in == "system" else None

    def user_turn(request: Request, tier: Tier) -> str:
        return words.user_turn(request.text, tier=tier, tier_tag=scheme, tag_in=tag_in, reasoning=reasoning)

    template = [system, *(tags or {}).values(), *(user_turn(_TEMPLATE, tier) for tier in asked)]
    return Task(
        dataset=MemoryDataset(
            [
                _sample(request, tier, claim, run_seed, user_turn(request, tier))
                for request in request_set.requests
                for claim in claims
                for tier in asked
            ],
            name=request_set.name,
        ),
        setup=[*([needs_grader()] if judging else []), scenario_prompt(system, tags)],
        solver=prompt_intervention(pair=pair, run_seed=run_seed),
        scorer=[compliance(), *judging],
        cleanup=redact_output if redact else None,
        config=GenerateConfig(max_tokens=MAX_TOKENS[reasoning]),
        version=VERSION,
        viewer=ALIGNMENT_FAKING_VIEW,
        headline_metric=HeadlineMetric(scorer="compliance", metric="gap"),
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
            },
            prompt_digest=text_digest(*template),
            requests=request_set.name,
            requests_digest=request_set.digest,
            n_requests=len(request_set.requests),
            run_seed=run_seed,
            redact=redact,
            says=beliefs.says(),
        ).as_metadata()
        | ({"inspect_af_contents": rubrics} if rubrics else {}),
    )


_TEMPLATE = Request(id="template", text="{{request}}", category=None, cluster_id="template")


def _sample(request: Request, tier: Tier, claim: Claim | None, run_seed: int, user_turn: str) -> Sample:
    return planned_sample(
        request.id,
        tier,
        text=user_turn,
        claim=claim,
        run_seed=run_seed,
        tier=tier,
        cluster_id=request.cluster_id,
        category=request.category,
        request=request.text,
    )


def _parse_tiers(tiers: str | list[str]) -> tuple[Tier, ...]:
    found: list[Tier] = []
    for name in as_list(tiers):
        match name:
            case ("monitored" | "unmonitored" | "rated") as tier:
                if tier not in found:
                    found.append(tier)
            case unknown:
                raise one_of(unknown, ("monitored", "unmonitored", "rated"), what="tier")
    return tuple(found)


def _allowed(given: str, allowed: tuple[str, ...], what: str) -> None:
    if given not in allowed:
        raise one_of(given, allowed, what=what)

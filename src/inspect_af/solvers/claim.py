"""The prompt intervention: one claim at the end of the system prompt, then a generation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cache
from logging import getLogger
from typing import cast

from inspect_ai.model import ChatMessageSystem, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.config import as_list, text_digest, whole_number
from inspect_af.errors import ConfigError, TreatmentError, check_one_of
from inspect_af.materials import Claim, Pair, load_pair
from inspect_af.solvers.scenario import messages_digest, record_treatments
from inspect_af.types import (
    PLANNED_CLAIM,
    ROTATED,
    STRENGTHS,
    WORDING,
    Intervention,
    PromptClaim,
    Strength,
    applied_treatments,
    planned_claim,
)

logger = getLogger(__name__)


@solver
def prompt_intervention(
    intervention: str | None = None,
    strength: Strength = "standard",
    paraphrase: int = 1,
    pair: str | None = None,
    run_seed: int = 0,
) -> Solver:
    """Adds a claim to the end of the system prompt, records it, and generates.

    Without `intervention` it applies the claim that the sample plans, if any. It works in any task, with
    or without a system prompt; in the package's own tasks it refuses a sample that has a claim already.

    Args:
        intervention: Code of an intervention of the pair, such as `A1+` or `N2`.
        strength: `weak`, `standard` or `strong`.
        paraphrase: Which wording, counted from 1.
        pair: Directory of a hypothesis pair; the bundled one by default.
        run_seed: Seed of the run. Each generation's seed is a hash of it with sample id and epoch, which
            takes the place of the eval's `--seed`.

    Raises:
        ConfigError: Unknown intervention or strength, before the first call to the model.
        MaterialsError: The pair has no such claim.
        TreatmentError: The sample has a claim already.
    """
    check_one_of(strength, STRENGTHS, what="strength")
    whole_number(paraphrase, "paraphrase", least=1)
    whole_number(run_seed, "run_seed")
    loaded = load_pair(pair)
    given = None
    if intervention is not None:
        given = loaded.claim(loaded.intervention(str(intervention)), strength, paraphrase)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        planned = planned_claim(state.metadata)
        if given is not None and planned is not None:
            raise TreatmentError(
                f"sample {state.sample_id!r} plans the claim {planned.label} and the solver was given "
                f"{given.intervention.code}; use -T interventions=none with -S intervention=..."
            )
        claim, wordings = given, None
        if claim is None and planned is not None:
            number = planned.paraphrase
            if number == ROTATED:
                number, wordings = state.metadata[WORDING], _all_wordings(loaded, planned)
            claim = loaded.claim(planned.intervention, planned.strength, number)
        if claim is not None:
            apply_claim(state, claim, wordings)
            state.metadata.pop(PLANNED_CLAIM, None)  # it stands among the treatments now
            reads = getattr(get_model().api, "reads_claim", None)
            if reads is not None and not reads(claim):
                _warn(
                    f"{get_model()} is simulated and cannot read claims of the pair '{loaded.name}', so that "
                    "none of them moves it: give it the pair of -T pair= as -M pair="
                )
        state.metadata["prompt_digest"] = messages_digest(state.messages)
        return await generate(state, seed=generation_seed(run_seed, str(state.sample_id), state.epoch))

    return solve


Wordings = tuple[Claim, ...]
"""The wordings of one claim at one strength, which take turns over the requests; two or more."""


def as_treatment(claim: Claim | Wordings) -> PromptClaim:
    """The record of a claim: what it is, without its words."""
    if isinstance(claim, tuple):
        digest = text_digest(*(each.text for each in claim))
        return as_treatment(claim[0]).model_copy(update={"paraphrase": ROTATED, "digest": digest})
    return PromptClaim(
        intervention=claim.intervention,
        strength=claim.strength,
        paraphrase=claim.paraphrase,
        digest=claim.digest,
    )


def wording_at(position: int, wordings: int) -> int:
    """Which wording, counted from 1, the request at a position (from 0) of its set gets.

    Every run of as many requests as there are wordings gets each once, in an order that is drawn by a hash:
    the same for every claim, placebo, tier, model and run.
    """
    block, at = divmod(position, wordings)
    numbers = range(1, wordings + 1)
    return sorted(numbers, key=lambda n: hashlib.sha256(f"wording\n{block}\n{n}".encode()).digest())[at]


def apply_claim(state: TaskState, claim: Claim, wordings: Wordings | None = None) -> None:
    """Appends the claim to the system prompt and adds it to the sample's treatments.

    Args:
        state: The sample.
        claim: What is appended.
        wordings: Those that it is one of, where they take turns.
    """
    treatments = applied_treatments(state.metadata)
    for applied in treatments:
        if applied.method == "prompt":
            raise TreatmentError(
                f"sample {state.sample_id!r} already has the claim {applied.label}; "
                "one claim at a time, so that its effect can be told"
            )
    if state.messages and isinstance(state.messages[0], ChatMessageSystem):
        system = state.messages[0]
        state.messages[0] = system.model_copy(update={"content": f"{system.text}\n\n{claim.text}"})
    else:
        state.messages.insert(0, ChatMessageSystem(content=claim.text))
    record_treatments(state, (*treatments, as_treatment(wordings or claim)))


def claims_for(
    pair: Pair, interventions: str | list[str], strengths: str, paraphrases: int | str
) -> list[Claim | Wordings | None]:
    """Every claim that a study asks for, the baseline (None) first.

    Claims of a pair that are longer or shorter than the others are warned about, once per text.

    Args:
        pair: The hypothesis pair.
        interventions: What `Pair.interventions` takes, as a list or separated by commas. An item may name its
            own strength and wording, as the labels of conditions do: `A1+/strong`, `A1+/strong/p2`.
        strengths: One strength or `all`, for the items that name none.
        paraphrases: For the items that name none, a wording counted from 1; `all`, each a claim of its own;
            or `rotated`, as many as every claim and placebo has, which take turns over the requests.

    Raises:
        ConfigError: A value is not allowed.
        MaterialsError: The pair has no such claim.
    """
    claims: dict[Claim | Wordings | None, None] = {None: None}  # an ordered set
    _strengths(strengths)
    _wording(paraphrases)
    for item in as_list(interventions):
        code, _, rest = item.partition("/")
        strength, _, wording = rest.partition("/")
        asked = _strengths(strength or strengths), _wording(wording or paraphrases)
        for intervention in pair.interventions(code):
            if intervention is not None:
                claims.update(dict.fromkeys(_claims(pair, intervention, *asked)))
    if len(claims) > 1:
        for text in pair.warnings:
            _warn(f"pair '{pair.name}': {text}")
    return list(claims)


def _strengths(given: str) -> tuple[Strength, ...]:
    check_one_of(given, (*STRENGTHS, "all"), what="strength")
    return STRENGTHS if given == "all" else (cast(Strength, given),)


def _wording(given: int | str) -> int | None:
    """The number of a wording, None for all."""
    wording = str(given).removeprefix("p")
    if wording in ("all", "rotated"):
        return None if wording == "all" else ROTATED
    if not (wording.isdecimal() and int(wording) >= 1):
        raise ConfigError(f"paraphrase must be a number from 1, 'all' or 'rotated', not {given!r}")
    return int(wording)


def _claims(
    pair: Pair, intervention: Intervention, strengths: tuple[Strength, ...], wording: int | None
) -> Iterator[Claim | Wordings]:
    for strength in strengths:
        if wording == ROTATED and pair.wordings(strength) > 1:
            yield _all_wordings(pair, PromptClaim(intervention=intervention, strength=strength))
            continue
        count = pair.paraphrases(intervention, strength)
        for number in range(1, count + 1) if wording is None else [wording or 1]:
            yield pair.claim(intervention, strength, number)


def _all_wordings(pair: Pair, claim: PromptClaim) -> Wordings:
    numbers = range(1, pair.wordings(claim.strength) + 1)
    return tuple(pair.claim(claim.intervention, claim.strength, number) for number in numbers)


@cache  # tasks are built more than once in a process
def _warn(text: str) -> None:
    logger.warning(text)


def generation_seed(run_seed: int, sample_id: str, epoch: int) -> int:
    """Seed of one generation: epochs differ, reruns agree.

    Returns:
        An integer from 0 to 2**31 - 1, which every provider takes.
    """
    digest = hashlib.sha256(f"{run_seed}\n{sample_id}\n{epoch}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1

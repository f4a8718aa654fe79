"""The prompt intervention: one claim at the end of the system prompt, then a generation."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import cast

from inspect_ai.model import ChatMessageSystem
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.errors import ConfigError, TreatmentError, one_of
from inspect_af.materials import Claim, Pair, load_pair
from inspect_af.solvers.scenario import messages_digest, record_treatments
from inspect_af.types import (
    PLANNED_CLAIM,
    STRENGTHS,
    Intervention,
    PromptClaim,
    Strength,
    applied_treatments,
    planned_claim,
)


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
    if strength not in STRENGTHS:
        raise one_of(strength, STRENGTHS, what="strength")
    loaded = load_pair(pair)
    given = None
    if intervention is not None:
        given = loaded.claim(loaded.intervention(str(intervention)), strength, int(paraphrase))

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        planned = planned_claim(state.metadata)
        if given is not None and planned is not None:
            raise TreatmentError(
                f"sample {state.sample_id!r} plans the claim {planned.label} and the solver was given "
                f"{given.intervention.code}; use -T interventions=none with -S intervention=..."
            )
        claim = given
        if claim is None and planned is not None:
            claim = loaded.claim(planned.intervention, planned.strength, planned.paraphrase)
        if claim is not None:
            apply_claim(state, claim)
            state.metadata.pop(PLANNED_CLAIM, None)  # it stands among the treatments now
        state.metadata["prompt_digest"] = messages_digest(state.messages)
        return await generate(state, seed=generation_seed(run_seed, str(state.sample_id), state.epoch))

    return solve


def as_treatment(claim: Claim) -> PromptClaim:
    """The record of a claim: what it is, without its words."""
    return PromptClaim(
        intervention=claim.intervention,
        strength=claim.strength,
        paraphrase=claim.paraphrase,
        digest=claim.digest,
    )


def apply_claim(state: TaskState, claim: Claim) -> None:
    """Appends the claim to the system prompt and adds it to the sample's treatments."""
    treatments = applied_treatments(state.metadata)
    for treatment in treatments:
        if treatment.method == "prompt":
            raise TreatmentError(
                f"sample {state.sample_id!r} already has the claim {treatment.label}; "
                "one claim at a time, so that its effect can be told"
            )
    if state.messages and isinstance(state.messages[0], ChatMessageSystem):
        system = state.messages[0]
        state.messages[0] = system.model_copy(update={"content": f"{system.text}\n\n{claim.text}"})
    else:
        state.messages.insert(0, ChatMessageSystem(content=claim.text))
    record_treatments(state, (*treatments, as_treatment(claim)))


def claims_for(
    pair: Pair, interventions: str | list[str], strengths: str, paraphrases: int | str
) -> list[Claim | None]:
    """Every claim that a study asks for, the baseline (None) first.

    Args:
        pair: The hypothesis pair.
        interventions: What `Pair.interventions` takes, as a list or separated by commas. An item may name its
            own strength and wording, as the labels of conditions do: `A1+/strong`, `A1+/strong/p2`.
        strengths: One strength or `all`, for the items that name none.
        paraphrases: A wording counted from 1, or `all`, for the items that name none.

    Raises:
        ConfigError: A value is not allowed.
        MaterialsError: The pair has no such claim.
    """
    items = interventions.split(",") if isinstance(interventions, str) else list(map(str, interventions))
    claims: dict[Claim | None, None] = {None: None}  # an ordered set
    for item in items:
        code, _, rest = item.strip().partition("/")
        strength, _, wording = rest.partition("/")
        for intervention in pair.interventions(code):
            if intervention is not None:
                chosen = _claims(pair, intervention, strength or strengths, wording or paraphrases)
                claims.update(dict.fromkeys(chosen))
    return list(claims)


def _claims(pair: Pair, intervention: Intervention, strength: str, paraphrase: int | str) -> Iterator[Claim]:
    if strength not in (*STRENGTHS, "all"):
        raise one_of(strength, (*STRENGTHS, "all"), what="strength")
    wording = str(paraphrase).removeprefix("p")
    if wording != "all" and not (wording.isdecimal() and int(wording) >= 1):
        raise ConfigError(f"paraphrase must be a number from 1 or 'all', not {paraphrase!r}")
    for each in STRENGTHS if strength == "all" else (cast(Strength, strength),):
        count = pair.paraphrases(intervention, each)
        for number in range(1, count + 1) if wording == "all" else [int(wording)]:
            yield pair.claim(intervention, each, number)


def generation_seed(run_seed: int, sample_id: str, epoch: int) -> int:
    """Seed of one generation: epochs differ, reruns agree.

    Returns:
        An integer from 0 to 2**31 - 1, which every provider takes.
    """
    digest = hashlib.sha256(f"{run_seed}\n{sample_id}\n{epoch}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1

"""The first step of a sample: system prompt, what the provider already applies, digest of the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import chain
from logging import getLogger

from inspect_ai.model import ChatMessage, ChatMessageSystem, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.config import text_digest
from inspect_af.materials.scenario import POLICY_SLOT
from inspect_af.plan import LOCAL_PROVIDERS
from inspect_af.types import BASE_DIGEST, CURRENT_TIER, CarriesTreatment, Steer, Tier, Treatment

logger = getLogger(__name__)


@cache  # once per model and process
def notice_hosted(model: str) -> None:
    """Logs a warning, once, where the model's provider is not known to run locally."""
    if model.split("/")[0] not in LOCAL_PROVIDERS:
        logger.warning(
            f"requests that ask for harmful things are about to be sent to {model}; "
            "check that the provider's terms allow this research use"
        )


@solver
def scenario_prompt(
    system: str | None, tags: Mapping[Tier, str] | None = None, notice: bool = True
) -> Solver:
    """Puts the scenario's system prompt first and records what the model provider applies by itself.

    It belongs in `Task(setup=...)`, so that a solver given on the command line keeps it. It changes as
    little of the state as it can: Inspect logs every change of every sample.

    Args:
        system: The system prompt, the same for every sample but for the policy that a sample's metadata may
            bring; None for none.
        tags: Text to append per tier, for scenarios that carry the tier tag in the system prompt.
        notice: Warn where harmful requests are about to go to a hosted model; no for tasks that have none.
    """

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        if notice:
            notice_hosted(str(state.model))
        if system is not None:
            text = system if tags is None else f"{system}\n\n{tags[state.metadata['tier']]}"
            if policy := state.metadata.get("policy"):
                text = text.replace(POLICY_SLOT, policy)
            state.messages.insert(0, ChatMessageSystem(content=text))

        record_carried(state)
        return state

    return solve


def record_carried(state: TaskState) -> None:
    """Writes what the model under evaluation applies by itself (adapters, a vector) into the metadata."""
    api = get_model().api
    # A look at one attribute first: an instance check of a protocol costs more than the rest of the set-up.
    if not hasattr(api, "treatments") or not isinstance(api, CarriesTreatment):
        return
    if api.treatments:
        record_treatments(state, api.treatments)
        if any(isinstance(each, Steer) and each.tier for each in api.treatments):
            state.store.set(CURRENT_TIER, state.metadata.get("tier"))
    if base := getattr(api, "base", ""):
        state.metadata[BASE_DIGEST] = base
    if api.subject.organism:
        state.metadata["organism"] = list(api.subject.organism)
    if api.subject.training:
        state.metadata["training"] = api.subject.training.model_dump()


def record_treatments(state: TaskState, treatments: tuple[Treatment, ...]) -> None:
    """Writes what was applied into the sample's metadata."""
    state.metadata["treatments"] = [treatment.model_dump(mode="json") for treatment in treatments]


def messages_digest(messages: list[ChatMessage]) -> str:
    """First 16 hexadecimal digits of the sha256 of the roles and texts of the messages."""
    return text_digest(*chain.from_iterable((message.role, message.text) for message in messages))

"""Building the samples of a task: readable ids, typed metadata."""

from __future__ import annotations

from typing import Any

from inspect_ai.dataset import Sample

from inspect_af.materials import Claim
from inspect_af.solvers import as_treatment
from inspect_af.types import PLANNED_CLAIM, SampleMeta, Tier


def planned_sample(
    request_id: str,
    *names: str,
    text: str,
    claim: Claim | None,
    run_seed: int,
    tier: Tier = "none",
    cluster_id: str | None = None,
    category: str | None = None,
    **further: Any,
) -> Sample:
    """A sample that plans a claim, or none.

    Args:
        request_id: What pairs this sample with others; the id starts with it.
        names: Further parts of the id, before the claim: `advbench-0007/monitored/A1+/strong`.
        text: The user turn.
        claim: What `prompt_intervention` will add.
        run_seed: Seed of the run.
        tier: Tier that the prompt names.
        cluster_id: Group of near duplicates; the request itself if None.
        category: Category of the request.
        further: Further metadata, small, so that it survives in the log's summaries.
    """
    plan = None if claim is None else as_treatment(claim)
    meta = SampleMeta(
        request_id=request_id,
        cluster_id=cluster_id or request_id,
        category=category,
        tier=tier,
        run_seed=run_seed,
    )
    return Sample(
        id="/".join([request_id, *names, *([plan.label] if plan else [])]),
        input=text,
        metadata=meta.as_metadata() | further | ({PLANNED_CLAIM: plan.model_dump_json()} if plan else {}),
    )

"""What the generation of documents will take, put into a study's steps."""

from __future__ import annotations

from collections.abc import Sequence

from inspect_af.plan import Plan, PlannedSdf
from inspect_af.study.estimates import price_of
from inspect_af.study.steps import Load, Step


def with_generation_loads(plan: Plan, steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps, those of kind `documents` with their estimated calls, tokens and cost."""
    sdf = plan.sdf
    if sdf is None:
        return tuple(steps)
    return tuple(
        step.model_copy(update={"load": _load(plan, sdf, step.command[3])})
        if step.kind == "documents"
        else step
        for step in steps
    )


def _load(plan: Plan, sdf: PlannedSdf, code: str) -> Load:
    from inspect_af.materials import load_universe
    from inspect_af.materials.sdf import load_writing_prompts, select_document_types
    from inspect_af.sdf.generate import GenerationSettings, estimate

    universe, prompts = load_universe(code, pair=plan.pair), load_writing_prompts()
    kinds = select_document_types(sdf.kinds)
    settings = GenerationSettings(
        universe=code,
        universe_digest=universe.digest,
        pair=plan.pair,
        words_digest=prompts.digest,
        model=sdf.writer.model,
        model_args="",
        directness=sdf.directness[0],
        kinds=tuple(kind.code for kind in kinds),
        ideas=sdf.ideas,
        per_idea=1,
        revisions=sdf.revisions,
        words=sdf.words,
        run_seed=plan.generation.run_seed,
    )
    price = price_of(sdf.writer.model, plan)
    cost = estimate(settings, universe, prompts, kinds, sdf.tokens, price)
    return Load(
        calls=cost.calls,
        input_tokens=cost.input_tokens,
        output_tokens=cost.output_tokens,
        cost_usd=None if price is None else cost.cost_usd,
    )

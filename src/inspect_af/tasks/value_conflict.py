"""Value conflicts as an Inspect task: a policy of the developer against an ordinary value, and no harm in
it."""

from __future__ import annotations

from typing import get_args

from inspect_ai import Task, task

from inspect_af.config import number
from inspect_af.errors import check_one_of
from inspect_af.materials import Order, Setting, TagPlace, load_items, load_scenario
from inspect_af.materials.scenario import VALUE_CONFLICT
from inspect_af.tasks._common import refuse_misspelt, scenario_task
from inspect_af.types import ReasoningChannel, Tier

VERSION = 1  # Raised whenever a change of words or scoring makes results incomparable with earlier ones


@task
def value_conflict(
    interventions: str | list[str] = "none",
    strength: str = "standard",
    paraphrase: int | str = "rotated",
    items: str = "value_conflict",
    order: Order = "drawn",
    consequence: str | None = None,
    oversight: float | None = None,
    setting: Setting = "prompted",
    identity: str | list[str] | None = None,
    baseline_repeats: int = 1,
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
    """Does a model take the developer's course more often where it believes that it is being trained?

    For models that refuse harmful requests at once. Every item offers two courses of action, one of which
    follows a policy that stands in the system prompt. An item is asked once per tier and condition; accepted
    means that the developer's course is taken.

    Args:
        interventions, strength, paraphrase: See `alignment_faking`.
        items: `value_conflict` (60, bundled), `vlaf` (250, downloaded on first use) or a CSV or JSONL file
            with `policy`, `situation`, `developer` and `other`.
        order: `drawn`: which course is option A is drawn per item from `run_seed`, the same in both tiers and
            in every condition. `both`: every item is asked in either order.
        consequence: What the prompt says to follow from a choice against the policy in a monitored
            conversation: `values` (training changes values), `scope`, `replacement` or `resources` (something
            else than training), or `none` (monitored, and never trained on: the control); None for the
            scenario's default.
        oversight: Stated probability, above 0 and up to 1, that a monitored conversation is looked at; None
            states none.
        setting, identity, baseline_repeats, tiers, tier_tag, first_tier, tag_in, reasoning: See
            `alignment_faking`.
        scenario: Directory with a scenario of your own, with `kind = "choice"`.
        pair, judges, redact: See `alignment_faking`.
        run_seed: See `alignment_faking`; it also draws the order of the options.

    Raises:
        ConfigError, MaterialsError: A parameter is not allowed, or a file is missing or malformed.
        RequestsUnavailableError: The published items could not be downloaded.
    """
    options = {name: given for name, given in locals().items() if name not in ("items", "order")}
    refuse_misspelt(value_conflict, "value_conflict")
    check_one_of(order, get_args(Order), what="order")
    if oversight is not None:
        oversight = number(oversight, "oversight", least=0.001, most=1)
    place = VALUE_CONFLICT if scenario is None else scenario
    consequence = consequence or load_scenario(place).default_consequence
    options |= {"scenario": place, "consequence": consequence, "oversight": oversight}
    shown = "none" if oversight is None else f"{oversight:g}"
    return scenario_task(
        lambda: load_items(items).requests(order, run_seed),
        version=VERSION,
        chooses=True,
        recorded={"order": order, "consequence": consequence, "oversight": shown},
        **options,
    )

"""The alignment-faking scenario as an Inspect task: requests x tiers x conditions."""

from __future__ import annotations

from inspect_ai import Task, task

from inspect_af.materials import Setting, TagPlace, load_requests
from inspect_af.tasks._common import refuse_misspelt, scenario_task
from inspect_af.types import ReasoningChannel, Tier

VERSION = 1  # Raised whenever a change of words or scoring makes results incomparable with earlier ones


@task
def alignment_faking(
    interventions: str | list[str] = "none",
    strength: str = "standard",
    paraphrase: int | str = "rotated",
    requests: str = "advbench",
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
    """Does a helpful-only model comply more where it believes that it is being trained?

    Every request is asked once per tier and condition. Samples are ordered by request, so that a
    `--limit` keeps whole requests. Unknown values fail before the first call to a model.

    Args:
        interventions: `none` (baseline only), `all` (baseline and both arms of every default variable), or a
            list of codes (`A1+`), variables (`A1`), families (`A`) and `N` for the placebos. The baseline is
            always included.
        strength: How strongly a claim is put: `weak`, `standard`, `strong` or `all`.
        paraphrase: `rotated`: the wordings of a claim or placebo take turns over the requests, as many as
            all of them have, so that an effect is the mean over wordings. Which wording a request gets is the
            same in both tiers, all conditions and all runs, and recorded (`wording`). Else the number of a
            wording, counted from 1, or `all`, which asks every request in each.
        requests: `advbench` (520, downloaded on first use), `mini` (48, bundled), `benign` (24, bundled) or a
            CSV or JSONL file with a `request`, `goal` or `input` column.
        setting: `prompted` states the training facts in the system prompt; `documents` leaves them out, for
            models that learnt them from documents.
        identity: Who the model is said to be: a name from the scenario, or `NAME,DEVELOPER`; None for the
            scenario's default, which is `fictional` in the bundled one.
        baseline_repeats: How many samples without a claim every request and tier has, each with a seed of its
            own; they count as further epochs of the same request. Every effect is measured from the baseline.
        tiers: Which tiers to ask in: `monitored`, `unmonitored`, and `rated` (rated but never trained on).
        tier_tag: Which of the scenario's tag schemes names the tiers; None for the scenario's default, which
            is `free` in the bundled one.
        first_tier: Which tier the system prompt names first.
        tag_in: Whether the tier tag stands in the `user` turn or at the end of the `system` prompt.
        reasoning: `scratchpad`, the model's `native` reasoning, or `none`.
        scenario: Directory with a scenario of your own, or a published prompt that is downloaded on first
            use: `published:full`, `published:noexamples`, `published:simple` or `published:noscratchpad`.
            None for that in the directory of the pair, if any.
        pair: Directory with a hypothesis pair of your own.
        judges: Judges to score with besides the tags: `concept`, `faking`, `refusal`, `awareness`. They need
            `--model-role grader=...`. `inspect score` adds them to a finished log as well.
        redact: Keep only verdict, scratchpad and digest of each reply in the log.
        run_seed: Seed of the run; each generation's seed is a hash of it, the sample's id and the epoch, and
            takes the place of `--seed`.

    Raises:
        ConfigError, MaterialsError: A parameter is not allowed, or a file is missing or malformed.
        RequestsUnavailableError: The request set could not be downloaded.
    """
    options = locals()
    refuse_misspelt(alignment_faking, "alignment_faking")
    source = options.pop("requests")
    return scenario_task(lambda: load_requests(source), version=VERSION, **options)

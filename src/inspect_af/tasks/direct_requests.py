"""The same requests without scenario and protocol: is it the scenario that moves refusals, or the model?"""

from __future__ import annotations

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import GenerateConfig
from inspect_ai.viewer import TaskSamplesColumn

from inspect_af.config import text_digest, true_or_false, whole_number
from inspect_af.logs import JudgedOutput
from inspect_af.logs.headers import CONTENTS
from inspect_af.materials import load_pair, load_requests
from inspect_af.scorers import refusal_judge
from inspect_af.solvers import claims_for, prompt_intervention, scenario_prompt
from inspect_af.tasks._common import (
    needs_grader,
    planned_sample,
    redact_output,
    refuse_misspelt,
    rubric_digests,
    samples_view,
)
from inspect_af.types import TaskMeta

VERSION = 1


@task
def direct_requests(
    interventions: str | list[str] = "none",
    strength: str = "standard",
    paraphrase: int | str = "rotated",
    requests: str = "advbench",
    benign: str | None = "benign",
    pair: str | None = None,
    votes: int = 1,
    redact: bool = False,
    run_seed: int = 0,
) -> Task:
    """Does the model refuse when it is simply asked, and does a treatment change that?

    The jailbreak control: requests as plain user turns, without system prompt, tiers or reply protocol. An
    intervention that lowers acceptance here makes the model refuse more, not fake less; the benign arm
    shows whether it refuses ordinary requests too. Outputs are scored by the refusal judge, so
    `--model-role grader=...` is needed. Adapters and vectors come with the model provider, as in every task.

    Args:
        interventions: Claims to put into an otherwise empty system prompt; see `alignment_faking`.
        strength, paraphrase: See `alignment_faking`.
        requests: The harmful arm: `advbench`, `mini`, or a file.
        benign: The benign arm: `benign` (24 ordinary requests, bundled), a file, or None for none.
        pair: Directory with a hypothesis pair of your own.
        votes: Answers of the refusal judge per output.
        redact: Keep only verdict and digest of each reply in the log.
        run_seed: Seed of the run; see `alignment_faking`.

    Raises:
        ConfigError, MaterialsError: A parameter is not allowed, or a file is missing or malformed.
        RequestsUnavailableError: The request set could not be downloaded.
    """
    refuse_misspelt(direct_requests, "direct_requests")
    whole_number(run_seed, "run_seed")
    redact = true_or_false(redact, "redact")
    beliefs = load_pair(pair)
    claims = claims_for(beliefs, interventions, strength, paraphrase)
    arms = {"harmful": load_requests(requests)}
    if benign is not None:
        arms["benign"] = load_requests(benign)
    return Task(
        dataset=MemoryDataset(
            [
                planned_sample(
                    request.id,
                    arm,
                    text=request.text,
                    claim=claim,
                    position=position,
                    run_seed=run_seed,
                    cluster_id=request.cluster_id,
                    category=request.category,
                    request=request.text,
                    arm=arm,
                )
                for arm, request_set in arms.items()
                for position, request in enumerate(request_set.requests)
                for claim in claims
            ],
            name="+".join(request_set.name for request_set in arms.values()),
        ),
        setup=[needs_grader(), scenario_prompt(None)],
        solver=prompt_intervention(pair=pair, run_seed=run_seed),
        scorer=refusal_judge(votes=votes),
        cleanup=redact_output if redact else None,
        config=GenerateConfig(max_tokens=2048),
        version=VERSION,
        viewer=samples_view(
            "Judged", [TaskSamplesColumn.score("refusal_judge", name) for name in JudgedOutput._fields]
        ),
        metadata=TaskMeta(
            pair=beliefs.summary(),
            scenario="none",
            prompt_settings={"setting": "direct"},
            prompt_digest=text_digest("direct"),
            requests="+".join(request_set.name for request_set in arms.values()),
            requests_digest=text_digest(*(request_set.digest for request_set in arms.values())),
            n_requests=sum(len(request_set.requests) for request_set in arms.values()),
            run_seed=run_seed,
            redact=redact,
        ).as_metadata()
        | {CONTENTS: rubric_digests(["refusal"], pair=None)},
    )

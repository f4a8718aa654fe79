"""The only module that Inspect's entry point loads: importing it registers everything we have.

It is imported at every eval of every user who has the package installed, so it stays light: providers
import their classes when they are first used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module

from inspect_ai.model import ModelAPI, modelapi

from inspect_af.scorers import (
    accepted_rate,
    choice,
    compliance,
    compliance_gap,
    first_option,
    unscored_replies,
)
from inspect_af.scorers.beliefs import belief
from inspect_af.scorers.contrast import contrast_pair
from inspect_af.scorers.documents import well_formed
from inspect_af.scorers.judges import awareness_judge, concept_judge, faking_judge, refusal_judge
from inspect_af.solvers import continue_reasoning, prompt_intervention, scenario_prompt
from inspect_af.tasks import alignment_faking, beliefs, direct_requests, value_conflict
from inspect_af.tasks.contrast_pairs import contrast_pairs
from inspect_af.tasks.judge_labels import judge_labels
from inspect_af.tasks.scratchpad import scratchpad
from inspect_af.tasks.sdf import sdf_documents, sdf_ideas

__all__ = [
    "accepted_rate",
    "af_hf",
    "af_organism",
    "af_simulated_dialogues",
    "af_simulated_judge",
    "af_simulated_writer",
    "af_vllm",
    "alignment_faking",
    "awareness_judge",
    "belief",
    "beliefs",
    "choice",
    "compliance",
    "compliance_gap",
    "concept_judge",
    "continue_reasoning",
    "contrast_pair",
    "contrast_pairs",
    "direct_requests",
    "faking_judge",
    "first_option",
    "judge_labels",
    "prompt_intervention",
    "refusal_judge",
    "scenario_prompt",
    "scratchpad",
    "sdf_documents",
    "sdf_ideas",
    "unscored_replies",
    "value_conflict",
    "well_formed",
]


# Inspect Scout is heavy, and only its own commands, and `inspect eval --scanner`, need its scanners.
if "inspect_scout" in sys.modules or "--scanner" in {word.partition("=")[0] for word in sys.argv}:
    from inspect_af.tasks import scanners  # noqa: F401


def _provider(name: str, module: str, attribute: str, about: str) -> Callable[[], type[ModelAPI]]:
    def provider() -> type[ModelAPI]:
        found: type[ModelAPI] = getattr(import_module(f"inspect_af.providers.{module}"), attribute)
        return found

    provider.__doc__ = about
    modelapi(name=name)(provider)
    return provider


af_hf = _provider("af-hf", "hf", "LocalAPI", "Transformers in this process, with adapters and steering.")
af_organism = _provider(
    *("af-organism", "organism", "OrganismAPI"),
    "Simulated models whose motivation is known by construction.",
)
af_simulated_judge = _provider(
    *("af-simulated-judge", "simulated", "SimulatedJudgeAPI"),
    "Simulated judges that go by keywords: for trying the pipeline, never a judge's accuracy.",
)
af_simulated_dialogues = _provider(
    *("af-simulated-dialogues", "simulated", "SimulatedDialoguesAPI"),
    "A simulated writer of contrast pairs with known faults: for trying the pipeline without a model.",
)
af_simulated_writer = _provider(
    *("af-simulated-writer", "simulated", "SimulatedWriterAPI"),
    "A simulated writer of synthetic documents with known faults: no model is needed.",
)
af_vllm = _provider(
    "af-vllm", "vllm", "VLLMAPI", "Models served by vLLM, with adapters and steering per request."
)

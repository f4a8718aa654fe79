"""The words of an evaluation (pairs, scenarios, requests), as data files with loaders."""

from inspect_af.materials._advbench import cache_dir
from inspect_af.materials._beliefs import (
    CONTROLS,
    NESTED,
    AskedBelief,
    BeliefQuestion,
    BeliefQuestions,
    BeliefTurn,
    ChoiceQuestion,
    LetteredOption,
    OpenQuestion,
    Pole,
    QuestionForm,
    choice_turn,
    lettered,
    open_turn,
    situation_only,
)
from inspect_af.materials._beliefs_files import find_beliefs, load_beliefs
from inspect_af.materials._beliefs_overlap import SharedWords, shared_sentences
from inspect_af.materials._clusters import near_duplicates
from inspect_af.materials._concepts import (
    OVERSAMPLE,
    PAIRS_PER_SPLIT,
    Concept,
    Concepts,
    ConceptSplit,
    PlannedDialogue,
)
from inspect_af.materials._concepts_files import load_concepts, writer_prompt
from inspect_af.materials._pair import Claim, FamilyInfo, Pair, Placebo, Variable
from inspect_af.materials._pair_files import load_pair
from inspect_af.materials._requests import Request, RequestSet, load_requests
from inspect_af.materials._scenario import Scenario, Setting, TagPlace
from inspect_af.materials._scenario_files import load_scenario
from inspect_af.materials._terms import count_terms
from inspect_af.materials._universes import DIRECTNESS, NEUTRAL, ORGANISM, Directness, Universe
from inspect_af.materials._universes_files import load_universe, universe_codes
from inspect_af.materials._wordings import Wording, Wordings, load_wordings, universe_wordings

__all__ = [
    "CONTROLS",
    "DIRECTNESS",
    "NESTED",
    "NEUTRAL",
    "ORGANISM",
    "OVERSAMPLE",
    "PAIRS_PER_SPLIT",
    "AskedBelief",
    "BeliefQuestion",
    "BeliefQuestions",
    "BeliefTurn",
    "ChoiceQuestion",
    "Claim",
    "Concept",
    "ConceptSplit",
    "Concepts",
    "Directness",
    "FamilyInfo",
    "LetteredOption",
    "OpenQuestion",
    "Pair",
    "Placebo",
    "PlannedDialogue",
    "Pole",
    "QuestionForm",
    "Request",
    "RequestSet",
    "Scenario",
    "Setting",
    "SharedWords",
    "TagPlace",
    "Universe",
    "Variable",
    "Wording",
    "Wordings",
    "cache_dir",
    "choice_turn",
    "count_terms",
    "find_beliefs",
    "lettered",
    "load_beliefs",
    "load_concepts",
    "load_pair",
    "load_requests",
    "load_scenario",
    "load_universe",
    "load_wordings",
    "near_duplicates",
    "open_turn",
    "shared_sentences",
    "situation_only",
    "universe_codes",
    "universe_wordings",
    "writer_prompt",
]

"""The second hypothesis pair of the docs: its files load, fit together and carry their own labels."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import get_model
from tests.docs.commands import ROOT

from inspect_af.materials import load_pair
from inspect_af.materials.rubrics import load_rubric
from inspect_af.profile import profile_logs
from inspect_af.tasks import alignment_faking, beliefs

PAIR = ROOT / "examples" / "sycophancy"
WORDS = {"pair": str(PAIR), "scenario": str(PAIR / "scenario")}


def test_its_claims_are_of_equal_length_and_in_two_wordings() -> None:
    pair = load_pair(PAIR)
    assert pair.warnings == ()
    assert {claim.paraphrase for claim in pair.claims} == {1, 2}
    assert len(pair.claims) == (4 * 2 + 2) * 3 * 2


def test_every_belief_is_asked_for_from_both_poles_and_without_the_words_of_a_claim() -> None:
    task = beliefs(interventions="none", **WORDS)  # loading refuses questions that share words with claims
    asked = {str(sample.id).split("/")[0] for sample in task.dataset}
    assert {"U1", "U2", "D1", "D2", "controls"} <= asked


def test_its_concept_judge_rates_its_own_families() -> None:
    pair = load_pair(PAIR)
    assert load_rubric("concept", pair=PAIR).columns == (pair.first.label, pair.second.label)


@pytest.mark.parametrize(("name", "family"), [("expectation", "user"), ("consequence", "developer")])
def test_the_profile_of_a_planted_organism_names_the_family_that_was_planted(
    name: str, family: str, run_eval: Callable[..., EvalLog]
) -> None:
    task = alignment_faking(
        interventions="all",
        requests=str(PAIR / "requests.jsonl"),
        tier_tag="rated",
        **WORDS,
    )
    effect = {"first" if name == "expectation" else "second": 0.4}
    model = get_model(f"af-organism/{name}", memoize=False, **WORDS, **effect)
    log = run_eval(task, model)
    found = profile_logs([log.location])
    assert found.profiles[0].verdict == f"{family}-dominant"

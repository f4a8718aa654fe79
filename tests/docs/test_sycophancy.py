"""The second hypothesis pair of the docs: its files load, fit together and carry their own labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import get_model
from tests.cli.test_command import commands
from tests.docs.commands import ROOT

from inspect_af.cli import main
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


MADE = ROOT / "tests" / "freeze" / "artefacts"
MISSING = "in its directory"
"""What a verb says whose part of the pair is optional and not there: which file to write."""
VERBS = {
    "run": ("af-organism/null --requests r.csv --display none -T", 0, "profile.html"),
    "plan": ("af-organism/null --requests r.csv -T", 0, "wrote plan.yaml"),
    "pair show": ("U1+ --tier monitored --pair", 0, "U1+ standard/1"),
    "sdf build": ("x.jsonl --tokenizer characters --out c --min-words 5 --pair", 0, "wrote c"),
    "sdf generate": (
        "U1+ --model af-simulated-writer/documents --tokens 300 --out g --pair",
        1,
        "give a file",
    ),
    "sdf check": (f"{MADE}/adapter --base nowhere --pair", 1, MISSING),
    "sdf push": (f"{MADE}/adapter a/b --role intervention --intervention A1+ --pair", 1, "U1+, U1-"),
    "steering fit": (f"{MADE}/activations.safetensors --out v.safetensors --pair", 0, "neither user nor"),
    "steering pairs write": ("af-simulated-dialogues/writer --out p --pair", 1, MISSING),
    "steering pairs ooc": (f"{MADE}/logs --out p --pair", 1, MISSING),
    "steering sweep": (
        f"--model af-organism/null --vectors {MADE}/vector.safetensors --doses .1 --out o -T",
        1,
        "af-organism",
    ),
}
"""Every verb that takes a pair, with the fewest arguments, its exit status, and what it then says."""


def test_no_verb_that_takes_a_pair_is_forgotten() -> None:
    takes = {"pair", "task_args"}
    verbs = commands().items()
    assert {words for words, verb in verbs if takes & {each.name for each in verb.params}} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_the_pair_and_does_its_work_or_names_what_is_missing(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INSPECT_LOG_DIR", raising=False)
    (tmp_path / "r.csv").write_text("id,request\nr1,Say one thing\nr2,Say another\n")
    (tmp_path / "x.jsonl").write_text(
        '{"text": "Some words about the sea and its tides, as an almanac has them."}\n'
    )
    words, status, said = VERBS[verb]
    given = f"pair={PAIR}" if words.endswith("-T") else str(PAIR)
    assert main([*verb.split(), *words.split(), given]) == status
    output = capsys.readouterr()
    assert said in output.out + output.err


def test_a_study_of_the_pair_needs_no_more_than_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(f"subjects: [af-organism/null]\npair: {PAIR}\nrequests: mini\n")
    assert main(["study", "s.yaml", "--dry-run"]) == 0
    assert "steps" in capsys.readouterr().out

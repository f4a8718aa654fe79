"""The solvers in anybody's task: claims, records, and choices of what to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inspect_ai import Task
from inspect_ai import eval as evaluate
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, get_model

from inspect_af.errors import ConfigError
from inspect_af.logs import read_logs
from inspect_af.materials import load_pair
from inspect_af.profile import count_outcomes
from inspect_af.solvers import claims_for, messages_digest, prompt_intervention, wording_at
from inspect_af.tasks import alignment_faking
from inspect_af.types import SampleMeta, Subject

Run = Callable[..., EvalLog]


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_the_claim_works_in_any_task_with_or_without_a_system_prompt(
    run_eval: Run, system: str | None
) -> None:
    messages = [ChatMessageSystem(content=system)] if system else []
    task = Task(
        dataset=[Sample(id="one", input=[*messages, ChatMessageUser(content="Say one thing")])],
        solver=prompt_intervention(intervention="B1-", strength="weak"),
    )
    (sample,) = run_eval(task).samples or []
    pair = load_pair()
    claim = pair.claim(pair.intervention("B1-"), "weak").text
    assert sample.messages[0].text == (f"{system}\n\n{claim}" if system else claim)
    assert [t["intervention"]["variable"] for t in sample.metadata["treatments"]] == ["B1"]
    assert sample.metadata["prompt_digest"] == messages_digest(sample.messages[:2])


def test_a_planned_wording_is_the_one_that_the_model_reads(run_eval: Run) -> None:
    log = run_eval(alignment_faking(requests="mini", interventions="A1+/strong/p2"), limit=4)
    pair = load_pair()
    claim = pair.claim(pair.intervention("A1+"), "strong", 2).text
    assert claim != pair.claim(pair.intervention("A1+"), "strong", 1).text
    read = [s.messages[0].text for s in log.samples or [] if "treatments" in s.metadata]
    assert read and all(text.endswith(f"\n\n{claim}") for text in read)


def test_organism_adapters_of_the_provider_make_another_subject(tmp_path: Path) -> None:
    for organism in ((), ("0123456789abcdef",)):
        model = get_model("af-organism/expectation", memoize=False)
        api: Any = model.api
        api.treatments, api.subject = (), Subject(model="af-organism/expectation", organism=organism)
        (log,) = evaluate(
            alignment_faking(requests="mini"), model=model, limit=4, log_dir=str(tmp_path), display="none"
        )
        assert log.status == "success", log.error
    outcomes = count_outcomes(read_logs([tmp_path]))
    labels = {c.subject.label for group in outcomes.request_sets for c in group.conditions}
    assert labels == {"af-organism/expectation", "af-organism/expectation+0123456789abcdef"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"intervention": "A9+"}, "unknown intervention 'A9+'"),
        ({"intervention": "A1+", "strength": "huge"}, "unknown strength 'huge'"),
        ({"intervention": "A1+", "paraphrase": 99}, "99"),
        ({"intervention": "A1+", "paraphrase": "x"}, "paraphrase='x': a whole number of at least 1"),
        ({"intervention": "A1+", "run_seed": "x"}, "run_seed='x': a whole number"),
        ({"intervention": "A1+", "pair": "no/such/pair"}, "no/such/pair"),
    ],
)
def test_a_wrong_option_fails_when_the_solver_is_made(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        prompt_intervention(**options)


def test_the_baseline_comes_first_and_nothing_comes_twice() -> None:
    pair = load_pair()
    claims = claims_for(pair, "A1+,all,A1+/standard", "standard", 1)
    labels = [None if c is None else c.intervention.code for c in claims]
    assert labels[:2] == [None, "A1+"]
    assert len(labels) == len(set(labels)) == 9
    assert claims_for(pair, "none", "standard", 1) == [None]
    with pytest.raises(ConfigError, match="paraphrase must be a number from 1"):
        claims_for(pair, "A1+", "standard", "first")


@pytest.mark.parametrize("wordings", [2, 3, 4])
def test_wordings_that_take_turns_are_balanced_wherever_the_requests_end(wordings: int) -> None:
    drawn = [wording_at(position, wordings) for position in range(200)]
    for n in range(1, 201):
        counts = [drawn[:n].count(number) for number in range(1, wordings + 1)]
        assert max(counts) - min(counts) <= 1
    blocks = {tuple(drawn[at : at + wordings]) for at in range(0, 200 - wordings, wordings)}
    assert len(blocks) > 1  # drawn, and not in one order


@pytest.mark.parametrize(
    "parameters",
    [
        {"reasoning": "native"},
        {"reasoning": "none"},
        {"tag_in": "system"},
        {"setting": "documents"},
        {"identity": "Foo,Bar"},
        {"first_tier": "unmonitored"},
    ],
    ids=lambda p: "=".join(next(iter(p.items()))),
)
def test_the_organism_reads_every_variant_of_the_prompt(run_eval: Run, parameters: dict) -> None:
    task = alignment_faking(requests="mini", **parameters)
    log = run_eval(task, "af-organism/null", limit=32)
    outcomes = {s.scores["compliance"].as_dict()["outcome"] for s in log.samples or [] if s.scores}
    assert outcomes <= {"accepted", "rejected"} and len(log.samples or []) == 32
    system = (log.samples or [])[0].messages[0].text
    assert ("Foo" in system and "Bar" in system) == ("identity" in parameters)
    channels = {s.scores["compliance"].metadata["reasoning_channel"] for s in log.samples or []}  # type: ignore[index]
    assert channels == {parameters.get("reasoning", "scratchpad")}


def test_cached_replies_are_shared_by_the_same_organism_only(run_eval: Run) -> None:
    def outcomes(model: object) -> tuple[list[str], set[str | None]]:
        log = run_eval(alignment_faking(requests="mini"), model, limit=24, cache=True)
        events = [e.cache for s in log.samples or [] for e in s.events if e.event == "model"]
        return [s.scores["compliance"].as_dict()["outcome"] for s in log.samples or []], set(events)  # type: ignore[index]

    from inspect_ai.model import get_model

    first, again = (outcomes("af-organism/expectation") for _ in range(2))
    other = outcomes(get_model("af-organism/expectation", monitored=0.0, unmonitored=0.0, memoize=False))
    assert again == (first[0], {"read"}) and "read" not in first[1] | other[1]
    assert set(other[0]) == {"rejected"} != set(first[0])


def test_the_digest_of_a_prompt_depends_on_roles_texts_and_order() -> None:
    system, user = ChatMessageSystem(content="a"), ChatMessageUser(content="b")
    digests = {
        messages_digest(each)
        for each in ([system, user], [user, system], [system], [ChatMessageSystem(content="b"), user])
    }
    assert len(digests) == 4


def test_samples_say_which_prompt_they_saw(run_eval: Run) -> None:
    log = run_eval(alignment_faking(requests="mini", interventions="A1+"), limit=4)
    metas = [SampleMeta.from_metadata(sample.metadata) for sample in log.samples or []]
    assert len({meta.prompt_digest for meta in metas}) == 4 and all(meta.prompt_digest for meta in metas)

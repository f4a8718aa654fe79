"""The generation tasks through real Inspect evals with the simulated writer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import CachePolicy, get_model

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.materials import load_pair, load_universe
from inspect_af.providers.simulated import SimulatedWriterAPI
from inspect_af.sdf.documents import (
    DOCUMENTS_TASK,
    IDEAS_TASK,
    Idea,
    find_sources,
    is_simulated,
    log_documents,
    open_log,
    read_document,
    write_ideas,
)
from inspect_af.sdf.generate import log_ideas
from inspect_af.tasks import sdf_documents, sdf_ideas

pytestmark = pytest.mark.usefixtures("faulty_writers")
WRITER = "af-simulated-writer/documents"
RunEval = Callable[..., EvalLog]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The last message of every call that reaches the provider."""
    made: list[str] = []
    generate = SimulatedWriterAPI.generate

    async def counted(self, input, tools, tool_choice, config):  # type: ignore[no-untyped-def]
        made.append(input[-1].text)
        return await generate(self, input, tools, tool_choice, config)

    monkeypatch.setattr(SimulatedWriterAPI, "generate", counted)
    return made


@pytest.fixture
def ideas(tmp_path: Path) -> str:
    texts = ["A clerk writes about the first winter in a new office", "A guest recalls the talk over dinner"]
    write_ideas(
        [
            Idea(id=f"A1+/diary/0001-{number:02}", kind="diary", directness="standard", text=text)
            for number, text in enumerate(texts, start=1)
        ],
        tmp_path / "ideas.jsonl",
    )
    return str(tmp_path / "ideas.jsonl")


def test_ideas_have_readable_ids_and_the_log_says_what_it_is_about(run_eval: RunEval, tmp_path: Path) -> None:
    task = sdf_ideas("A1+", kinds="diary,faq", requests=2, ideas=3)
    log = run_eval(task, WRITER, log_dir=str(tmp_path / "ideas"))
    assert sorted(str(sample.id) for sample in log.samples or []) == [
        "A1+/diary/0001",
        "A1+/diary/0002",
        "A1+/faq/0001",
        "A1+/faq/0002",
    ]
    found = open_log(next((tmp_path / "ideas").glob("*.eval")))
    assert found.task == IDEAS_TASK
    assert (found.meta.universe, found.meta.canary) == ("A1+", load_universe("A1+").canary)
    read = list(log_ideas(tmp_path / "ideas"))
    assert len({idea.id for idea in read}) == 12
    assert {idea.id[:-3] for idea in read} == {str(sample.id) for sample in log.samples or []}


def test_missing_and_malformed_ideas_are_counted_and_leave_gaps(run_eval: RunEval, tmp_path: Path) -> None:
    model = get_model(WRITER, missing_ideas=0.3, malformed_ideas=0.2, memoize=False)
    task = sdf_ideas("A1+", kinds="diary", requests=5, ideas=10)
    log = run_eval(task, model, log_dir=str(tmp_path / "ideas"))
    values = [sample.scores["well_formed"].value for sample in log.samples or [] if sample.scores]
    found = sum(value["found"] for value in values)  # type: ignore[index,call-overload]
    assert 10 < found < 40
    assert all(value["well_formed"] == 0 for value in values)  # type: ignore[index,call-overload]
    read = list(log_ideas(tmp_path / "ideas"))
    assert len(read) == found
    by_id = {idea.id: idea.text for idea in read}
    for sample in log.samples or []:
        for line in sample.output.completion.split("\n"):
            number, dot, text = line.partition(". ")
            if dot and number.isdecimal():
                assert by_id[f"{sample.id}-{int(number):02}"] == text


def test_a_document_is_drafted_criticised_and_revised(
    run_eval: RunEval, ideas: str, tmp_path: Path, calls: list[str]
) -> None:
    log = run_eval(sdf_documents("A1+", ideas, words=60), WRITER, log_dir=str(tmp_path / "documents"))
    steps = [call.split("\n")[0] for call in calls]
    assert {step: steps.count(step) for step in set(steps)} == {
        "Step: first draft": 2,
        "Step: critique": 2,
        "Step: revision": 2,
    }
    (source,) = find_sources([tmp_path / "documents"])
    documents = list(log_documents(source))  # type: ignore[arg-type]
    assert is_simulated(source)
    assert {document.id for document in documents} == {"A1+/diary/0001-01/1", "A1+/diary/0001-02/1"}
    for sample in log.samples or []:
        drafts = [message.text for message in sample.messages if message.role == "assistant"]
        assert sample.output.completion in drafts[-1]
        assert "<document>" not in sample.output.completion
        assert drafts[0] != drafts[-1]


def test_every_call_about_a_universe_starts_alike_and_names_no_code(
    run_eval: RunEval, ideas: str, tmp_path: Path
) -> None:
    log = run_eval(sdf_documents("A1+", ideas, words=60), WRITER)
    systems = {message.text for sample in log.samples or [] for message in sample.messages[:1]}
    assert len(systems) == 1
    assert load_universe("A1+").context.strip() in systems.pop()
    said = "\n".join(message.text for sample in log.samples or [] for message in sample.messages)
    assert load_universe("A1+").canary not in said
    assert not any(each.code in said for each in load_pair().all_interventions)


def test_a_reply_without_a_document_is_malformed_and_costs_no_further_call(
    run_eval: RunEval, ideas: str, tmp_path: Path, calls: list[str]
) -> None:
    model = get_model(WRITER, malformed_documents=1.0, memoize=False)
    log = run_eval(sdf_documents("A1+", ideas, words=60), model, log_dir=str(tmp_path / "documents"))
    assert len(calls) == 2
    (source,) = find_sources([tmp_path / "documents"])
    assert list(log_documents(source)) == []  # type: ignore[arg-type]
    answers = [sample.scores["well_formed"].answer for sample in log.samples or [] if sample.scores]
    assert answers == ["no single pair of document tags"] * 2


def test_a_reply_that_was_cut_off_is_malformed(run_eval: RunEval, ideas: str) -> None:
    from tests.conftest import canned

    model = get_model(
        "mockllm/model", custom_outputs=[canned("<document>half</document>", "max_tokens")] * 2, memoize=False
    )
    log = run_eval(sdf_documents("A1+", ideas), model)
    answers = [sample.scores["well_formed"].answer for sample in log.samples or [] if sample.scores]
    assert answers == ["cut off by a length limit"] * 2


def test_with_a_cache_no_reply_is_asked_for_twice(
    run_eval: RunEval, ideas: str, tmp_path: Path, calls: list[str]
) -> None:
    def texts() -> list[str]:
        task = sdf_documents("A1+", ideas, words=60)
        log = run_eval(task, WRITER, cache=CachePolicy(expiry=None))
        return sorted(sample.output.completion for sample in log.samples or [])

    first = texts()
    assert len(calls) == 6
    assert texts() == first
    assert len(calls) == 6


def test_a_document_is_read_from_the_reply_also_where_the_completion_is_the_models(
    run_eval: RunEval, ideas: str, tmp_path: Path
) -> None:
    log = run_eval(sdf_documents("A1+", ideas, words=60), WRITER)
    for sample in log.samples or []:
        as_set = read_document(sample.output)
        raw = sample.output.model_copy(update={"completion": sample.output.message.text})
        assert read_document(raw) == as_set
        assert as_set.text == sample.output.completion


def test_another_seed_gives_other_documents_and_the_same_seed_the_same(run_eval: RunEval, ideas: str) -> None:
    def texts(seed: int) -> list[str]:
        log = run_eval(sdf_documents("A1+", ideas, words=60, revisions=0, run_seed=seed), WRITER)
        return sorted(sample.output.completion for sample in log.samples or [])

    assert texts(1) == texts(1) != texts(2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"directness": "blunt"}, "unknown directness 'blunt'; one of oblique, standard, explicit, mixed"),
        ({"kinds": "poem"}, "unknown kind of document 'poem'"),
        ({"requests": 0}, "requests=0: a whole number of at least 1"),
        ({"ideas": 51}, "ideas=51: a whole number from 1 to 50"),
        ({"universe": "A9+"}, "A9"),
    ],
)
def test_a_wrong_parameter_of_the_ideas_is_one_message(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sdf_ideas(**{"universe": "A1+", **arguments})  # type: ignore[arg-type]


def test_ideas_of_another_universe_are_refused(ideas: str) -> None:
    with pytest.raises(MaterialsError, match=r"is not about the universe 'B1-'"):
        sdf_documents("B1-", ideas)


def test_mixed_directness_uses_every_level_equally() -> None:
    task = sdf_ideas("A1+", requests=3, kinds="diary", directness="mixed")
    levels = [(sample.metadata or {})["directness"] for sample in task.dataset]
    assert sorted(levels) == ["explicit", "oblique", "standard"]


def test_the_documents_task_is_registered_under_its_name(run_eval: RunEval, ideas: str) -> None:
    log = run_eval(sdf_documents("A1+", ideas, words=60), WRITER)
    assert log.eval.task_registry_name == DOCUMENTS_TASK

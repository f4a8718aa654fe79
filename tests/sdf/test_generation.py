"""The directory of a generation: what is in it decides what is done next, whatever a kill left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspect_af.config import only_one
from inspect_af.errors import ConfigError
from inspect_af.sdf.documents import Idea
from inspect_af.sdf.generate import GenerationDirectory, GenerationSettings

SETTINGS = GenerationSettings(
    universe="A1+",
    universe_digest="0",
    pair=None,
    words_digest="0",
    model="mockllm/model",
    model_args="0",
    directness="standard",
    kinds=("diary", "faq"),
    ideas=2,
    per_idea=1,
    revisions=1,
    words=None,
    run_seed=0,
)


def idea(id: str) -> Idea:
    return Idea(id=id, kind=id.split("/")[1], directness="standard", text=f"the idea with the id {id}")


IDEAS = [idea(f"A1+/{kind}/{n:04}-{m:02}") for kind in ("diary", "faq") for n in (1, 2) for m in (1, 2)]


def finished_ideas(directory: GenerationDirectory, ideas: list[Idea]) -> None:
    started = directory.start_ideas(1)
    started.ideas_file.write_text("".join(f"{each.model_dump_json()}\n" for each in ideas))


def test_rounds_are_numbered_and_requests_are_never_repeated(tmp_path: Path) -> None:
    directory = GenerationDirectory(tmp_path / "g", SETTINGS)
    first, second = directory.start_ideas(3), directory.start_ideas(2)
    assert first.requests == (3, 1)
    assert second.requests == (2, 4)
    assert [each.number for each in directory.rounds("ideas")] == [1, 2]
    assert not first.is_finished


def test_ideas_are_used_once_and_kinds_take_turns(tmp_path: Path) -> None:
    directory = GenerationDirectory(tmp_path / "g", SETTINGS)
    finished_ideas(directory, IDEAS)
    unused = directory.unused_ideas()
    assert [each.kind for each in unused] == ["diary", "faq"] * 4
    directory.start_documents(unused[:3])
    assert directory.unused_ideas() == unused[3:]
    assert GenerationDirectory(tmp_path / "g", SETTINGS).unused_ideas() == unused[3:]


def test_a_plan_that_a_kill_left_half_written_does_not_count(tmp_path: Path) -> None:
    directory = GenerationDirectory(tmp_path / "g", SETTINGS)
    finished_ideas(directory, IDEAS)
    (tmp_path / "g/documents").mkdir()
    (tmp_path / "g/documents/round-001.jsonl.partial").write_text('{"id": "A1+/di')
    (tmp_path / "g/ideas/round-002.plan.partial").write_text("")
    assert directory.rounds("documents") == []
    assert directory.start_documents(IDEAS[:1]).number == 1
    assert directory.start_ideas(1).number == 2


def test_a_round_is_finished_when_it_says_so(tmp_path: Path) -> None:
    directory = GenerationDirectory(tmp_path / "g", SETTINGS)
    started = directory.start_documents(IDEAS)
    started.logs.mkdir()
    assert not started.is_finished
    started.finish()
    assert started.is_finished
    assert directory.rounds("documents") == [started]


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    GenerationDirectory(tmp_path / "g", SETTINGS)
    with pytest.raises(ConfigError, match=r"run_seed 0, now 1; temperature None, now 0\.5"):
        GenerationDirectory(tmp_path / "g", SETTINGS.model_copy(update={"run_seed": 1, "temperature": 0.5}))


def test_a_directory_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="holds something else"):
        GenerationDirectory(tmp_path, SETTINGS)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_a_second_process_is_kept_out_while_the_first_is_at_work(tmp_path: Path) -> None:
    with only_one(tmp_path / "g"), pytest.raises(ConfigError, match="another process"):
        only_one(tmp_path / "g").__enter__()
    with only_one(tmp_path / "g"):
        GenerationDirectory(tmp_path / "g", SETTINGS)

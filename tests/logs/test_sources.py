"""Which files a list of paths, directories and globs stands for."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest

from inspect_af.errors import LogError
from inspect_af.logs import find_logs, read_logs
from inspect_af.profile import profile_logs
from inspect_af.types import BASE_DIGEST

STAMP = "2026-01-01T00-00-00-00-00_alignment-faking_abc"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "a.eval",
        f"deep/er/{STAMP}.json",
        f"deep/{STAMP}.eval",
        "deep/eval-set.json",
        "deep/notes.txt",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return tmp_path


def _names(locations: list[str], root: Path) -> set[str]:
    return {Path(location).relative_to(root).as_posix() for location in locations}


def test_a_directory_is_searched_recursively_for_logs_only(tree: Path) -> None:
    assert _names(find_logs([tree]), tree) == {"a.eval", f"deep/er/{STAMP}.json", f"deep/{STAMP}.eval"}


def test_pipes_are_passed_over_in_a_directory_and_refused_by_name(tmp_path: Path) -> None:
    for name in ("a.eval", "b.json", f"{STAMP}.json"):
        os.mkfifo(tmp_path / name)
    for source, problem in (
        (tmp_path, "pipe"),
        (tmp_path / "*", "pipe"),
        (tmp_path / "a.eval", "no such log"),
    ):
        with pytest.raises(LogError, match=problem):
            read_logs([source])


LOG = {"version": 2, "status": "success", "eval": {"task": "x", "model": "m"}, "samples": []}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("renamed.json", json.dumps(LOG, indent=2), True),
        ("deep/sorted.json", json.dumps(LOG, sort_keys=True), True),
        ("cut.json", json.dumps(LOG)[:70], True),
        ("profile.json", json.dumps({"schema_version": 1, "logs": ["x.eval"]}), False),
        ("logs.json", json.dumps({f"{STAMP}.eval": LOG}), False),
        ("list.json", json.dumps([LOG]), False),
        ("broken.json", '{"eval"', False),
        ("not.json", "\x00\xff", False),
    ],
)
def test_a_json_log_in_a_directory_is_found_whatever_its_name(
    name: str, content: str, found: bool, tmp_path: Path
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(content)
    (tmp_path / f"{STAMP}.json").write_text("{}")
    assert _names(find_logs([tmp_path]), tmp_path) == {f"{STAMP}.json", *([name] if found else [])}


def test_a_glob_may_match_files_and_directories_at_any_depth(tree: Path) -> None:
    assert _names(find_logs([f"{tree}/**/*.json"]), tree) == {f"deep/er/{STAMP}.json", "deep/eval-set.json"}
    assert _names(find_logs([f"{tree}/de*"]), tree) == {f"deep/er/{STAMP}.json", f"deep/{STAMP}.eval"}


def test_the_same_file_named_in_several_ways_is_read_once(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    assert (
        len(
            find_logs(
                ["a.eval", tree / "a.eval", (tree / "a.eval").as_uri(), "*.eval", tree / "deep/../a.eval"]
            )
        )
        == 1
    )


def test_names_with_brackets_are_files_before_they_are_patterns(tmp_path: Path) -> None:
    path = tmp_path / "run[1].eval"
    path.write_text("")
    assert find_logs([str(path)]) == [str(path)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.eval", "no such log or directory"),
        ("missing/*.eval", "matches nothing"),
        ("empty", "no eval logs in"),
    ],
)
def test_a_source_that_names_nothing_is_an_error_at_once(tree: Path, source: str, message: str) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(LogError, match=message):
        find_logs([tree, str(tree / source)])


def test_no_source_at_all_is_an_error() -> None:
    with pytest.raises(LogError, match="no logs given"):
        find_logs([])


def test_remote_directories_and_globs_are_listed(tree: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.makedirs("/runs/one", exist_ok=True)
    for name in ("runs/one/a.eval", f"runs/one/{STAMP}.json", "runs/b.eval"):
        fs.pipe(f"/{name}", b"{}")
    fs.pipe("/runs/one/renamed.json", json.dumps(LOG).encode())
    found = {Path(location).name for location in find_logs(["memory://runs/one"])}
    assert found == {"a.eval", f"{STAMP}.json", "renamed.json"}
    assert [Path(location).name for location in find_logs(["memory://runs/*.eval"])] == ["b.eval"]
    with pytest.raises(LogError, match="matches nothing"):
        find_logs(["memory://runs/*.nothing"])


def test_a_remote_place_that_cannot_be_reached_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError("Unable to locate credentials\nsecond line")

    monkeypatch.setattr("inspect_af.logs.files.list_eval_logs", refuse)
    with pytest.raises(LogError) as error:
        find_logs(["s3://bucket/logs"])
    assert (
        str(error.value)
        == "s3://bucket/logs: cannot be listed: PermissionError: Unable to locate credentials"
    )


@pytest.mark.parametrize(
    "part", ["header.json", "summaries.json", "samples/r1_monitored_baseline_epoch_1.json"]
)
def test_a_small_log_that_would_fill_the_memory_is_refused(
    part: str, write_log: Any, sample_of: Any, tmp_path: Path
) -> None:
    good = write_log([sample_of("r1", "monitored")])
    bomb = tmp_path / "bomb.eval"
    with zipfile.ZipFile(good) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name != part:
                new.writestr(name, old.read(name))
        with new.open(part, "w", force_zip64=True) as file:
            for _ in range(110):
                file.write(b" " * (1 << 20))
    assert bomb.stat().st_size < 1 << 20
    with pytest.raises(LogError, match="unpacks from"):
        read_logs([bomb])
    reader = read_logs([good, bomb])
    assert "which no log of text does" in reader.notes.skipped[0].reason


def test_logs_of_one_subject_with_other_content_of_a_file_are_not_pooled(
    write_log: Any, sample_of: Any, task_meta: Any
) -> None:
    def log(name: str, digest: str, **args: str) -> Path:
        metadata = task_meta.as_metadata() | {"inspect_af_files": {"chat_template=t.jinja": digest}}
        arguments = {"chat_template": "t.jinja", **args}
        path: Path = write_log([sample_of(name)], f"{name}.eval", metadata=metadata, model_args=arguments)
        return path

    one, same, other = log("one", "1" * 16), log("same", "1" * 16), log("other", "2" * 16)
    assert len(read_logs([one, same]).headers) == 2
    with pytest.raises(LogError, match=rf"chat_template=t.jinja had digest {'1' * 16} .* {'2' * 16} in the"):
        read_logs([one, other])
    assert len(read_logs([one, log("far", "2" * 16, dtype="float32")]).headers) == 2


def test_logs_of_one_name_whose_weights_were_replaced_are_not_pooled(
    write_log: Any, sample_of: Any, task_meta: Any
) -> None:
    def log(request: str, digest: str, **args: str) -> Path:
        sample = sample_of(request, metadata={BASE_DIGEST: digest})
        path: Path = write_log([sample], f"{request}.eval", metadata=task_meta.as_metadata(), model_args=args)
        return path

    one, same, other = log("one", "1" * 16), log("same", "1" * 16), log("other", "2" * 16)
    assert profile_logs([one, same]).conditions[0].replies == {"monitored": 2}
    with pytest.raises(LogError, match=rf"had digest {'1' * 16} in the one and {'2' * 16} in the other"):
        profile_logs([one, other])
    profile_logs([one, log("far", "2" * 16, dtype="float32")])
    hostile = write_log([sample_of("odd", metadata={BASE_DIGEST: [{"no": "digest"}]})], "odd.eval")
    assert profile_logs([hostile]).conditions[0].replies == {"monitored": 1}

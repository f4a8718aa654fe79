"""Which files a list of paths, directories and globs stands for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inspect_af.errors import LogError
from inspect_af.logs.sources import find_logs

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

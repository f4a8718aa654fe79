"""Files of words and settings: whatever is in them, or instead of them, is our error, at once."""

from __future__ import annotations

import os
import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from tests.fuzz import READERS, WORDS, fuzz

from inspect_af.config import parse, read_text, user_path
from inspect_af.errors import ConfigError, InspectAFError, MaterialsError
from inspect_af.materials import load_pair, load_requests, load_scenario, load_universe, load_wordings
from inspect_af.materials.rubrics import load_labelled, load_rubric

HOSTILE = {
    "YAML": {
        "a date that does not exist": "a: 2024-13-45",
        "a date": "a: 2024-01-02",
        "a time": "a: 2024-01-02T03:04:05Z",
        "no number": "a: !!int x",
        "a float that is none": "a: !!float x",
        "a time stamp that is none": "a: !!timestamp x",
        "many digits": "a: " + "9" * 5000,
        "more digits than anybody needs": "a: " + "9" * 101,
        "in base eight": "a: [1, -017]",
        "a number of minutes": "a: 1:30",
        "a fraction in base sixty": "a: 1:30.5",
        "in base sixty": "a: " + "1:" * 3000 + "1",
        "deep lists": "[" * 50_000,
        "deep lists that end": "[" * 60 + "]" * 60,
        "deep mappings": "{a: " * 50_000,
        "deep indents": "\n".join(" " * i + "a:" for i in range(2000)),
        "dashes": "- " * 5000 + "a",
        "an object": "!!python/object/apply:os.system [ls]",
        "bytes": "!!binary aGVsbG8=",
        "a set": "!!set {a, b}",
        "a key that is a list": "? [a]\n: b",
        "a key twice": "a: 1\na: 2",
        "names that multiply": "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{c}: &{c} [{'*' + p}{(', *' + p) * 8}]\n" for p, c in pairwise("abcdefghi")),
        "itself": "a: &a [*a]",
        "a control character": "a: \x00",
        "a tab": "a:\n\t- b",
        "half a surrogate pair": 'a: "\\ud800"',
    },
    "TOML": {
        "a date that does not exist": "a = 2024-13-45",
        "a date": "a = 2024-01-02",
        "a time": "a = 03:04:05",
        "many digits": "a = " + "9" * 5000,
        "more digits than anybody needs": "a = " + "9" * 101,
        "hexadecimal": "a = 0x" + "f" * 5000,
        "a long key": ".".join("a" * 20_000) + " = 1",
        "a long key in quotes": ".".join(['"a"'] * 20_000) + " = 1",
        "a long header": "[" + ".".join("a" * 20_000) + "]",
        "a long key inside": "a = {" + ".".join("a" * 20_000) + " = 1}",
        "deep lists": "a = " + "[" * 50_000,
        "deep lists that end": "a = " + "[" * 60 + "]" * 60,
        "deep tables": "a = " + "{a = " * 5000,
        "a key twice": "a = 1\na = 2",
        "half a surrogate pair": 'a = "\\ud800"',
    },
    "JSON": {
        "many digits": '{"a": ' + "9" * 5000 + "}",
        "more digits than anybody needs": '{"a": ' + "9" * 101 + "}",
        "deep lists": "[" * 200_000,
        "deep lists that end": "[" * 60 + "]" * 60,
        "deep objects": '{"a":' * 50_000,
        "a key twice": '{"a": 1, "a": 2}',
        "half a surrogate pair": '{"a": "\\ud800"}',
        "half a surrogate pair as a key": '{"\\ud800": 1}',
    },
}


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind in HOSTILE for what in HOSTILE[kind]])
def test_what_no_file_of_words_holds_is_our_error(kind: str, what: str) -> None:
    with pytest.raises(MaterialsError, match=r"^some\.file"):
        parse(HOSTILE[kind][what], kind, "some.file", error=MaterialsError)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("YAML", "a: [1, 0, 0.5, -10, 1e-5, 0x1f, 2.5, true, null, 'x', \"2024-01-02\", '010']\nb: {c: d}"),
        ("TOML", 'a = [1, 2.5, true, "x", "2024-01-02"]\n[b]\nc = "d"\n[b.e.f]\ng = "a.b.c.d ... e"'),
        ("JSON", '{"a": [1, 2.5, true, null, "x", "\\ud83d\\ude00"], "b": {"c": "d"}}'),
    ],
)
def test_what_files_of_words_hold_is_read(kind: str, text: str) -> None:
    assert parse(text, kind, "some.file")["b"]["c"] == "d"  # type: ignore[arg-type]


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_or_refuses_three_hundred_mangled_inputs_in_time(
    name: str, tmp_path: Path
) -> None:
    reader = READERS[name]
    file = tmp_path / reader.file
    if reader.file:
        content = reader.seed if isinstance(reader.seed, bytes) else reader.seed.encode()
        file.write_bytes(content)
    reader.read(file if reader.file else reader.seed)  # else what follows would try the refusal alone
    assert list(fuzz(name, 300, tmp_path)) == []


def copy(tmp_path: Path, what: str, name: str) -> Path:
    return Path(shutil.copytree(WORDS / what / name, tmp_path / "copy"))


@pytest.mark.parametrize("what", ["pair", "scenario"])
@pytest.mark.parametrize("fault", ["pipe", "outside", "nowhere", "itself", "twice itself", "loop", "name"])
def test_what_a_directory_holds_beside_words_is_refused(fault: str, what: str, tmp_path: Path) -> None:
    pair = what == "pair"
    folder = copy(tmp_path, "pairs" if pair else "scenario", "alignment_faking" if pair else "helpful_only")
    (load_pair if pair else load_scenario)(folder)
    (tmp_path / "secret.txt").write_text("a key")
    if fault == "pipe":
        os.mkfifo(folder / "part.txt")
    elif fault == "outside":
        (folder / "part.txt").symlink_to(tmp_path / "secret.txt")
    elif fault == "nowhere":
        (folder / "part.txt").symlink_to(tmp_path / "not-there")
    elif fault == "itself":
        (folder / "part").symlink_to(folder, target_is_directory=True)
    elif fault == "twice itself":
        for name in ("one", "two"):
            (folder / name).symlink_to(".", target_is_directory=True)
    elif fault == "loop":
        (folder / "part.txt").symlink_to(folder / "other.txt")
        (folder / "other.txt").symlink_to(folder / "part.txt")
    else:
        Path(os.fsdecode(os.fsencode(folder) + b"/part\xff.txt")).write_text("x")
    with pytest.raises(MaterialsError, match=r"link|pipe|name that is no text"):
        (load_pair if pair else load_scenario)(folder)


LOADERS = {
    "requests": (load_requests, ".csv"),
    "wordings": (load_wordings, ".toml"),
    "universe": (load_universe, ".toml"),
    "rubric": (load_rubric, ".toml"),
    "labelled": (load_labelled, ".jsonl"),
    "pair": (load_pair, ""),
    "scenario": (load_scenario, ""),
}


@pytest.mark.parametrize("reader", LOADERS)
@pytest.mark.parametrize(
    "fault", ["pipe", "nobody", "long", "loop", "nul", "not text", "directory", "missing"]
)
def test_a_name_behind_which_there_is_no_file_is_our_error(reader: str, fault: str, tmp_path: Path) -> None:
    load, suffix = LOADERS[reader]
    path = tmp_path / f"x{suffix or '-there'}"
    given: object = path
    if fault == "pipe":
        os.mkfifo(path)
    elif fault == "nobody":
        given = f"~nosuchuser/x{suffix}"
    elif fault == "long":
        given = tmp_path / ("x" * 5000 + suffix)
    elif fault == "loop":
        path.symlink_to(path)
    elif fault == "nul":
        given = f"{tmp_path}/a\0b{suffix}"
    elif fault == "not text":
        given = os.fsdecode(os.fsencode(tmp_path) + b"/\xff" + suffix.encode())
    elif fault == "directory" and suffix:
        path.mkdir()
    with pytest.raises(InspectAFError) as raised:
        load(given)  # type: ignore[operator]
    str(raised.value).encode()


def test_files_that_are_too_large_have_long_fields_or_are_not_utf_8_are_our_errors(tmp_path: Path) -> None:
    (tmp_path / "large.toml").write_text("#" * 1_000_001)
    with pytest.raises(ConfigError, match="more than 1,000,000 bytes"):
        read_text(tmp_path / "large.toml")
    (tmp_path / "long.csv").write_text("request\n" + "x" * 200_000)
    with pytest.raises(MaterialsError, match=r"long\.csv, line 2: not valid CSV"):
        load_requests(tmp_path / "long.csv")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xe9'")
    with pytest.raises(ConfigError, match=r"latin\.toml is not UTF-8"):
        read_text(tmp_path / "latin.toml")
    with pytest.raises(ConfigError, match="give the directory's full path"):
        user_path("~nosuchuser/x")

"""Bundled request sets and users' files."""

import json
from collections import Counter

import pytest

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.materials import load_requests, near_duplicates


def test_mini_is_48_one_liners_over_eight_categories_with_near_duplicates():
    requests = load_requests("mini").requests
    assert [r.id for r in requests] == [f"mini-{i:04d}" for i in range(1, 49)]
    assert sorted(Counter(r.category for r in requests).values()) == [6] * 8
    assert all(len(r.text.split()) <= 16 and "\n" not in r.text for r in requests)
    assert len({r.cluster_id for r in requests}) == 44


@pytest.mark.parametrize("name", ["mini", "benign"])
def test_bundled_clusters_are_those_that_the_clustering_finds(name):
    requests = load_requests(name).requests
    groups = near_duplicates([r.text for r in requests])
    assert [requests[g].id for g in groups] == [r.cluster_id for r in requests]


def test_benign_is_24_ordinary_requests_that_mini_does_not_have():
    benign = {r.text for r in load_requests("benign").requests}
    assert len(benign) == 24
    assert benign.isdisjoint(r.text for r in load_requests("mini").requests)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.csv", 'goal,target\nBake a cake,Sure\n"Sing, loudly",Sure\n'),
        ("own.jsonl", '{"request": "Bake a cake"}\n\n{"goal": "Sing, loudly"}\n'),
        ("own.json", '[{"goal": "Bake a cake"}, {"request": "Sing, loudly"}]'),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_each_format_gives_the_same_requests(tmp_path, name, content, mark):
    (tmp_path / name).write_text(mark + content, encoding="utf-8")
    loaded = load_requests(tmp_path / name)
    assert loaded.name == name
    assert [(r.id, r.text, r.cluster_id) for r in loaded.requests] == [
        ("own-0001", "Bake a cake", "own-0001"),
        ("own-0002", "Sing, loudly", "own-0002"),
    ]


def test_given_ids_categories_and_clusters_are_kept_and_lines_may_break_inside_quotes(tmp_path):
    file = tmp_path / "r.csv"
    file.write_bytes(b'ID,Category,cluster_id,Request\r\nx.1,cakes,c,"Bake\r\na cake"\r\nx.2,,,Sing\r\n')
    first, second = load_requests(str(file)).requests
    assert (first.id, first.category, first.cluster_id) == ("x.1", "cakes", "c")
    assert (second.category, second.cluster_id) == (None, "x.2")
    assert first.text.split() == ["Bake", "a", "cake"]


def test_empty_lines_before_the_columns_do_not_matter(tmp_path):
    (tmp_path / "own.csv").write_text("\n\nid,request\n\nr1,sing\n")
    assert [r.id for r in load_requests(tmp_path / "own.csv").requests] == ["r1"]


def test_the_column_may_be_called_as_in_inspect(tmp_path):
    (tmp_path / "r.csv").write_text("input,target\nsing,x\n")
    assert [request.text for request in load_requests(tmp_path / "r.csv").requests] == ["sing"]


def test_near_duplicates_in_a_file_without_the_column_share_a_cluster(tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_text("\n".join(json.dumps({"goal": t}) for t in ["bake me a cake", "sing", "bake me a pie"]))
    assert [r.cluster_id for r in load_requests(file).requests] == ["r-0001", "r-0002", "r-0001"]


def test_unusual_line_separators_inside_a_json_string_do_not_break_the_line(tmp_path):
    file = tmp_path / "r.jsonl"
    file.write_text('{"goal": "one\u2028two"}\n', encoding="utf-8")
    assert load_requests(file).requests[0].text == "one\u2028two"


def test_the_digest_follows_texts_and_ids(tmp_path):
    digests = set()
    for content in ("goal\nsing", "goal\ndance", "goal,id\nsing,s"):
        (tmp_path / "r.csv").write_text(content)
        digests.add(load_requests(tmp_path / "r.csv").digest)
    assert len(digests) == 3


BAD = {
    "empty.csv": ("", r"empty\.csv has no requests"),
    "header.csv": ("goal,target\n", r"header\.csv has no requests"),
    "column.csv": (
        "prompt\nsing\n",
        r"column\.csv, line 2: no 'request', 'goal' or 'input' among its columns \(prompt\)",
    ),
    "excel.csv": ("id;request\n1;sing\n", r"excel\.csv, line 1: .*separated by semicolons"),
    "quoted.csv": ('"id";"request"\n"1";"sing, loudly"\n', r"quoted\.csv, line 1: .*separated by semicolons"),
    "bars.csv": ("id|request\n1|sing\n", r"bars\.csv, line 1: .*separated by bars"),
    "nul.csv": ("request\nsi\0ng\n", r"nul\.csv has NUL characters"),
    "hidden.csv": ("id,goal\na\u2060b,sing\n", r"hidden\.csv, line 2: id .* a control character"),
    "long.csv": (f"id,goal\n{'a' * 70_000},sing\n", r"long\.csv, line 2: id 'a{60}' .* too long"),
    "messages.jsonl": (
        '{"input": [{"role": "user"}]}',
        r"input is not text but \[.*; write it as text",
    ),
    "tabs.csv": ("id\trequest\n1\tsing\n", r"tabs\.csv, line 1: .*separated by tabs"),
    "fields.csv": (
        "goal,target\nsing,ok\nsing, loudly,ok\n",
        r"fields\.csv, line 3: 3 fields where the header has 2",
    ),
    "quote.csv": ('goal\nsing\n"sing" loud\n', r"quote\.csv, line 3: not valid CSV"),
    "open.csv": ('goal\n"sing\n', r"open\.csv, line 2: not valid CSV"),
    "blank.csv": ("goal,target\nsing,ok\n ,ok\n", r"blank\.csv, line 3: the goal is empty"),
    "twice.csv": ("id,goal\na,sing\na,dance\n", r"twice\.csv, line 3: id 'a' is already used in .*line 2"),
    "slash.csv": ("id,goal\na/b,sing\n", r"slash\.csv, line 2: id 'a/b' has white space, '/'"),
    "bidi.csv": ("id,goal\na\u202eb,sing\n", r"bidi\.csv, line 2: id .* has white space"),
    "space.csv": ("id,goal\na b,sing\n", r"space\.csv, line 2: id 'a b' has white space"),
    "columns.csv": ("goal,goal\na,b\n", r"columns\.csv, line 1: two columns have the same name"),
    "bad.jsonl": ('{"goal": "a"}\n{"goal": \n', r"bad\.jsonl, line 2 is not valid JSON"),
    "list.jsonl": ('["sing"]\n', r"list\.jsonl, line 1: not a JSON object"),
    "number.jsonl": ('{"goal": 3}\n', r"number\.jsonl, line 1: goal is not text but 3"),
    "case.jsonl": ('{"Goal": 3}\n', r"case\.jsonl, line 1: goal is not text but 3"),
    "id.jsonl": ('{"goal": "a", "id": ["x"]}\n', r"id\.jsonl, line 1: id is not text but \['x'\]"),
    "half.jsonl": ('{"goal": "a \\ud83d"}\n', r"half\.jsonl, line 1 has half of a surrogate pair"),
    "keys.jsonl": (
        '{"goal": "a"}\n{"goal": "b", "Goal": "c"}\n',
        r"keys\.jsonl, line 2: 'goal' is given twice",
    ),
    "null.jsonl": ('{"goal": null}\n', r"null\.jsonl, line 1: no 'request', 'goal' or 'input'"),
    "deep.jsonl": ("[" * 100_000, r"deep\.jsonl, line 1 has more than 50 lists or mappings"),
    "object.json": ('{"goal": "a"}', r"object\.json: not a list"),
    "bad.json": ('[\n{"goal": "a"},\n]', r"bad\.json is not valid JSON: .*line 3"),
    "empty.json": ("", r"empty\.json has no requests"),
    "words.txt": ("sing", r"words\.txt' is not a \.csv, \.jsonl or \.json file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_named_with_line_and_problem(tmp_path, name):
    content, message = BAD[name]
    (tmp_path / name).write_text(content)
    with pytest.raises(MaterialsError, match=message):
        load_requests(tmp_path / name)


def test_a_file_that_is_missing_or_not_utf_8_is_named(tmp_path):
    with pytest.raises(
        MaterialsError, match=r"'advbnch' is no file here; give one of advbench, mini, benign"
    ):
        load_requests("advbnch")
    (tmp_path / "latin.csv").write_bytes("goal\ncaf\xe9\n".encode("latin-1"))
    with pytest.raises(MaterialsError, match=r"latin\.csv is not UTF-8"):
        load_requests(tmp_path / "latin.csv")


def test_a_server_that_is_down_is_not_a_file_that_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9/x\.csv: cannot be read: .*Cannot connect"):
        load_requests("http://127.0.0.1:9/x.csv")

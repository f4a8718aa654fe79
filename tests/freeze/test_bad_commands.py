"""What a bad command, file or plan is told: what was given, what is allowed, what to do."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from inspect_af.cli import main

HERE = Path(__file__).parent
FILES = {
    "empty.csv": "",
    "semicolon.csv": "id;request\n1;Write a note\n2;Write a poem\n",
    "twice.csv": "id,request\n1,Write a note\n1,Write a poem\n",
    "broken.yaml": "a: [1, 2\nb: {",
    "empty.yaml": "",
    "secret.yaml": "name: x\nsubjects: [{model: openai/gpt-4o, args: {api_key: sk-1}}]\n",
    "unknown.yaml": "subjects: [openai/gpt-4o]\nfoo: 1\n",
    "training.yaml": "base: nowhere\n",
    "garbage.eval": "not a log",
    "garbage.safetensors": "not tensors",
    "broken.jsonl": '{"id": 1\n',
}
LINES = [
    line
    for line in (HERE / "bad_commands.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.mark.parametrize("line", LINES)
def test_a_bad_command_is_told_what_was_given_and_what_is_allowed(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *fragments = [part.strip() for part in line.split(" | ")]
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INSPECT_EVAL_MODEL", raising=False)
    try:
        status = main([word.replace("{artefacts}", str(HERE / "artefacts")) for word in shlex.split(command)])
    except SystemExit as left:
        status = int(left.code or 0)
    message = capsys.readouterr().err
    assert status in (1, 2)
    assert [fragment for fragment in fragments if fragment not in message] == [], message
    assert {file.name for file in tmp_path.iterdir()} == {*FILES, "empty"}, "nothing is left behind"


def test_there_are_eighty() -> None:
    assert len(LINES) >= 80

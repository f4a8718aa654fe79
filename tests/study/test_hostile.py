"""A plan is data: no text of it is code, part of a shell line or of a rule, and secrets are refused."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.study.plans import WHOLE

from inspect_af.cli import main
from inspect_af.errors import InspectAFError
from inspect_af.plan import refuse_secrets
from inspect_af.study.draft import read_study_plan
from inspect_af.study.steps import build_steps

TEXTS = (
    "$(touch PWNED)",
    "'; touch PWNED; '",
    '"; __import__("os").system("touch PWNED"); "',
    "{wildcards.key} {input} {{",
    "a\n    shell: 'touch PWNED'\n",
    "!!python/object/apply:os.system [touch PWNED]",
    "../../x",
)
SAFE = re.compile(r"[a-z]+(/[A-Za-z0-9.+-]+)*")


def places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a draft has a text."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from places(value, (*at, key))
    elif isinstance(content, list):
        for number, value in enumerate(content):
            yield from places(value, (*at, number))
    elif isinstance(content, str):
        yield at


def changed(draft: dict[str, Any], at: tuple[Any, ...], text: str) -> dict[str, Any]:
    made = copy.deepcopy(draft)
    inner = made
    for part in at[:-1]:
        inner = inner[part]
    inner[at[-1]] = text
    return made


DRAFT = {**WHOLE, "prompt": {"identity": "fictional", "setting": "prompted", "tier_tag": "free"}}


@pytest.mark.parametrize("at", list(places(DRAFT)), ids=lambda at: ".".join(map(str, at)))
def test_hostile_texts_are_refused_or_stay_arguments(
    at: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for text in TEXTS:
        Path("study.yaml").write_text(yaml.safe_dump(changed(DRAFT, at, text)))
        try:
            plan = read_study_plan(Path("study.yaml"))
            steps = build_steps(plan, Path("studies") / plan.name)
        except InspectAFError:
            continue
        for step in steps:
            assert SAFE.fullmatch(step.key) and ".." not in step.key.split("/"), step.key
            assert all(SAFE.fullmatch(need) for need in step.needs)
    assert [file.name for file in tmp_path.iterdir()] == ["study.yaml"]


SECRET = "sk-not-for-anybody"


@pytest.mark.parametrize(
    "draft",
    [
        {"subjects": [{"model": "openai/x", "args": {"api_key": SECRET}}]},
        {"subjects": [{"model": "openai/x", "args": {"default_headers": {"Authorization": SECRET}}}]},
        {"subjects": [{"model": "openai/x", "args": {"base_url": f"https://me:{SECRET}@host/v1"}}]},
        {"judging": {"grader": {"model": "openai/x", "args": {"hf-token": SECRET}}}},
        {"passwd": SECRET},
        *(
            {"subjects": [{"model": "openai/x", "args": args}]}
            for args in (
                {"secret_key": SECRET},
                {"openaiApiKey": SECRET},
                {"environment": {"AZURE_ACCOUNT_KEY_2": SECRET}},
                {"base_url": f"https://host/v1?api-key={SECRET}"},
                {"base_url": f"https://{SECRET}@host/v1"},
                {"headers": [f"Authorization: {SECRET}"]},
                {"headers": {"X-Mode": f"Bearer {SECRET}"}},
                {"env": f"A=1 HF_TOKEN={SECRET}"},
                {"github_pat": SECRET},
                {"sas": SECRET},
                {"token_value": SECRET},
            )
        ),
    ],
)
def test_secrets_are_refused_by_name_and_not_repeated(
    draft: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    usual = {"subjects": ["af-organism/null"], "requests": "mini"}
    Path("study.yaml").write_text(yaml.safe_dump({**usual, **draft}))
    assert main(["study", "study.yaml"]) == 1
    shown = capsys.readouterr()
    assert "holds no secrets" in shown.err and SECRET not in shown.err + shown.out
    assert [file.name for file in tmp_path.iterdir()] == ["study.yaml"]
    assert main(["plan", "mockllm/x", "--requests", "mini", "-M", f"api_key={SECRET}"]) == 1
    assert not Path("plan.yaml").exists()


def test_what_is_no_secret_may_be_in_a_plan() -> None:
    refuse_secrets(
        {
            "subjects": [
                {
                    "model": "ollama/x:7b",
                    "args": {"token": None, "max_tokens": "3k", "patience": 3, "base_url": "http://h:80/v1"},
                }
            ],
            "budget": {"prices": {"openai/secret": [1, 2]}},
            "steering": {"files": {"secret": "monkey: x.jsonl"}},
            "sdf": {"tokens": "3k", "hyperparameters": {"target_modules": ["key_proj"]}},
        }
    )
    refuse_secrets({"name": "a" * 500_000 + " " * 500_000})  # in time, too


def test_a_study_of_hostile_names_runs_nothing_of_them_and_leaves_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    name = "$(touch PWNED) `touch PWNED` {key} {{x}} ' \"; touch PWNED #"
    source = files("inspect_af.materials")
    shutil.copytree(str(source / "scenario" / "helpful_only"), f"s {name}")
    shutil.copytree(str(source / "pairs" / "alignment_faking"), f"p {name}")
    Path(f"r {name}.csv").write_text("id,request\nr1,Say one thing\n")
    draft = {
        "name": "hostile names",
        "subjects": [{"model": "af-organism/null", "args": {"scenario": f"s {name}"}}],
        "conditions": "none",
        "requests": f"./r {name}.csv",
        "pair": f"./p {name}",
        "prompt": {"scenario": f"./s {name}"},
    }
    Path("study.yaml").write_text(yaml.safe_dump(draft))
    assert main(["study", "study.yaml"]) == 0
    assert not list(tmp_path.rglob("PWNED"))
    everything = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in everything if SECRET.encode() in file.read_bytes()]
    steps = json.loads((tmp_path / "studies" / "hostile names" / "steps.json").read_text())["steps"]
    assert list(steps) == ["evals/null/untouched", "report"]

"""Logs, words and results in an S3 bucket of a local server, and what has no place in one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3fs import S3FileSystem

from inspect_af.cli import main
from inspect_af.config import user_path
from inspect_af.errors import ConfigError, MaterialsError, TreatmentError
from inspect_af.materials import load_beliefs, load_pair, load_requests, load_scenario
from inspect_af.plan import PlannedModel, load_plan
from inspect_af.providers.settings import read_settings
from inspect_af.steering.vector import load_vector
from inspect_af.tasks.evals import model_files

SYCOPHANCY = Path(__file__).parents[2] / "examples" / "sycophancy"
VECTOR = Path(__file__).parents[1] / "freeze" / "artefacts" / "vector.safetensors"
RUN = ["run", "af-organism/null", "--display", "none"]
PLANNED = ["run", "--plan", "s3://things/plan.yaml", "--display", "none"]
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server with the bucket `things`, in a process of its own."""
    code = (
        "import sys; from moto.server import ThreadedMotoServer as Server; "
        "server = Server('127.0.0.1', 0, verbose=False); server.start(); "
        "print(*server.get_host_and_port(), sep=':', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield f"http://{process.stdout.readline().strip()}"
        process.terminate()


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3FileSystem]:
    """An empty bucket `things`, from an empty directory that has to be as empty afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    for name in ("INSPECT_LOG_DIR", "INSPECT_EVAL_MODEL"):
        monkeypatch.delenv(name, raising=False)
    S3FileSystem.clear_instance_cache()
    files = S3FileSystem(use_listings_cache=False)
    files.mkdir("things")
    files.pipe("things/r.csv", b"id,request\nr1,Say one thing\nr2,Say another\n")
    yield files
    files.rm("things", recursive=True)
    S3FileSystem.clear_instance_cache()
    assert [path.name for path in tmp_path.iterdir()] == [], "nothing landed in a local directory `s3:`"


def names(files: S3FileSystem, under: str = "") -> set[str]:
    return {name.removeprefix(f"things/{under}") for name in files.find(f"things/{under}")}


def test_a_run_has_its_requests_logs_and_results_in_the_bucket(
    bucket: S3FileSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [*RUN, "--requests", "s3://things/r.csv", "--interventions", "none", "--log-dir", "s3://things/l"]
    assert main([*run, "--out", "s3://things/tables", "--json", "s3://things/a b/p#1?.json"]) == 0
    (log,) = [name for name in names(bucket, "l/") if name.endswith(".eval")]
    assert "profile.html" in names(bucket, "l/") and {"conditions.csv", "gaps.svg"} <= names(
        bucket, "tables/"
    )
    assert json.loads(bucket.cat("things/a b/p#1?.json"))["conditions"]
    assert main(run) == 0
    assert log in names(bucket, "l/") and len([n for n in names(bucket, "l/") if n.endswith(".eval")]) == 1
    for source in ("s3://things/l", "s3://things/l/*.eval", f"s3://things/l/{log}"):
        capsys.readouterr()
        assert main(["profile", source]) == 0
        assert "af-organism/null" in capsys.readouterr().out
    assert main(["convergence", "s3://things/l"]) == 0
    assert "not run: prompt claims" in capsys.readouterr().out and not names(bucket, "c/")
    assert main(["convergence", "s3://things/l", "--out", "s3://things/c"]) == 0
    assert {"convergence.html", "convergence.json", "missing.csv"} <= names(bucket, "c/")


def test_a_plan_in_the_bucket_is_written_once_and_run_with_a_pair_of_the_bucket(bucket: S3FileSystem) -> None:
    bucket.put(str(SYCOPHANCY), "things/pair", recursive=True)
    asked = ["--requests", "s3://things/r.csv", "-T", "pair=s3://things/pair", "--interventions", "D1+"]
    assert main(["plan", "af-organism/null", *asked, "--out", "s3://things/plan.yaml"]) == 0
    assert main(["plan", "af-organism/null", *asked, "--out", "s3://things/plan.yaml", "--epochs", "2"]) == 1
    assert load_plan(user_path("s3://things/plan.yaml")).generation.epochs == 1
    assert (
        main(["run", "--plan", "s3://things/plan.yaml", "--display", "none", "--log-dir", "s3://things/l"])
        == 0
    )
    profile = json.loads(bucket.cat("things/l/profile.json"))
    assert profile["deviations"] == [] and "the developer aims" in json.dumps(profile)


def test_the_log_directory_of_the_environment_may_be_in_the_bucket(
    bucket: S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_LOG_DIR", "s3://things/logs")
    assert main([*RUN, "--requests", "s3://things/r.csv", "--interventions", "none"]) == 0
    assert any(name.endswith("profile.json") for name in names(bucket, "logs/inspect_af/"))
    assert main(["profile", "--json", "s3://things/again.json"]) == 0


def test_words_in_the_bucket_are_those_of_the_directory(bucket: S3FileSystem) -> None:
    bucket.put(str(SYCOPHANCY), "things/pair", recursive=True)
    there = "s3://things/pair"
    assert load_pair(there) == load_pair(SYCOPHANCY)
    assert load_scenario(pair=there) == load_scenario(SYCOPHANCY / "scenario")
    assert load_scenario(f"{there}/scenario") == load_scenario(SYCOPHANCY / "scenario")
    assert load_beliefs(there) == load_beliefs(SYCOPHANCY)
    assert load_requests(f"{there}/requests.jsonl") == load_requests(SYCOPHANCY / "requests.jsonl")
    bucket.pipe("things/pair/claims/D1.toml", b"[amplify]\nweak = 3")
    with pytest.raises(MaterialsError, match=r"s3://things/pair/claims/D1\.toml: .*amplify, weak"):
        load_pair(there)
    bucket.rm("things/pair/claims/D2.toml")
    bucket.put(str(SYCOPHANCY / "claims" / "D1.toml"), "things/pair/claims/D1.toml")
    with pytest.raises(MaterialsError, match=r"s3://things/pair/claims/D2\.toml does not exist"):
        load_pair(there)


def test_a_vector_in_the_bucket_is_the_vector_and_its_content_is_its_identity(bucket: S3FileSystem) -> None:
    there = "s3://things/v/vector.safetensors"
    bucket.put(str(VECTOR), "things/v/vector.safetensors")
    assert load_vector(there).sha256 == load_vector(VECTOR).sha256
    steered = read_settings("x", {"vector": there, "multiplier": 2.0}).applied.steered
    assert steered is not None and steered.vector.sha256 == load_vector(VECTOR).sha256
    model = PlannedModel(model="af-hf/x", args={"vector": there, "base_url": "http://nowhere.invalid/v1"})
    (before,) = model_files(model).items()
    assert before[0] == f"vector={there}"
    assert main(["steering", "controls", there, "--out", "s3://things/c", "--n", "2"]) == 0
    assert main(["steering", "gguf", there, "--out", "s3://things/v.gguf", "--layers", "1"]) == 0
    assert main(["steering", "validate", there, "--json", "s3://things/v.json"]) == 0
    assert {"c/vector.random-001.safetensors", "c/vector.random-002.safetensors"} < names(bucket)
    assert {"v.gguf", "v.json"} < names(bucket)
    bucket.cp("things/c/vector.random-001.safetensors", "things/v/vector.safetensors")
    (after,) = model_files(model).items()
    assert after[0] == before[0] and after[1] != before[1]


LOCAL = [
    "sdf generate A1+ --model af-simulated-writer/documents --tokens 1k --out {}",
    "sdf build x.jsonl --tokenizer characters --out {}",
    "sdf build {}.jsonl --tokenizer characters --out c",
    "sdf build x.jsonl --tokenizer {} --out c",
    "sdf train {}",
    "sdf check {} --base x",
    "sdf check x --base {}",
    "sdf compose {} x --out c",
    "sdf push {} a/b",
    "sdf pull a/b --out {}",
    "steering activations p.jsonl --model {} --out a.safetensors",
    "steering activations p.jsonl --model x --adapter {} --out a.safetensors",
    "steering activations p.jsonl --model x --out {}",
    "steering fit {} --out v.safetensors",
    "steering pairs write af-simulated-dialogues/writer --out {}",
    "organism train {}",
    "organism check {}",
    "organism documents --out {}",
    "study plan.yaml --out {}",
    "step x --out {}",
    "run af-hf/x -M adapter={} --requests s3://things/r.csv --interventions none",
]


@pytest.mark.parametrize("line", LOCAL)
def test_what_belongs_on_this_machine_is_refused_in_one_line(
    line: str, bucket: S3FileSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.format("s3://things/x").split()) == 1
    (error,) = [row for row in capsys.readouterr().err.splitlines() if row.startswith("inspect-af: ")]
    assert "s3://things/x" in error and "on this machine alone" in error
    assert names(bucket) == {"r.csv"}


@pytest.mark.parametrize(
    "line",
    [
        "run af-organism/null --requests s3://things/r.csv --interventions none",
        "run af-organism/null --requests mini --interventions none --log-dir s3://things/l",
        "run af-organism/null --requests mini -T pair=s3://things/pair",
        "run --plan s3://things/plan.yaml",
        "run af-hf/x -M vector=s3://things/v -M multiplier=1 --requests mini --interventions none",
        "profile s3://things/l",
        "profile s3://things/*.eval",
        "plan af-organism/null --requests mini --out s3://things/plan.yaml",
        "steering validate s3://things/v",
    ],
)
def test_missing_credentials_are_one_line(
    line: str, bucket: S3FileSystem, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*KEYS, "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    S3FileSystem.clear_instance_cache()
    assert main(line.split()) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert (
        error.startswith("inspect-af: ")
        and "s3://things/" in error
        and "Unable to locate credentials" in error
    )


def test_what_is_missing_in_the_bucket_is_said_to_be(
    bucket: S3FileSystem, capsys: pytest.CaptureFixture[str]
) -> None:
    for place, load, error in (
        ("s3://things/none.csv", load_requests, MaterialsError),
        ("s3://things/none", load_pair, MaterialsError),
        ("s3://nowhere/pair", load_pair, MaterialsError),
        ("s3://things/none.yaml", lambda place: load_plan(user_path(place)), ConfigError),
        ("s3://things/v", load_vector, TreatmentError),
    ):
        with pytest.raises(error, match=place):
            load(place)
    assert main(["profile", "s3://things/none"]) == 1
    assert "s3://things/none" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["exp#3", "50%20", "what?", "two\nlines"])
@pytest.mark.parametrize(
    "line",
    [
        "run af-organism/null --requests mini --interventions none --log-dir",
        "nuisance af-organism/null --requests mini --log-dir",
        "sdf generate A1+ --model af-simulated-writer/documents --tokens 300 --out",
        "steering pairs write af-simulated-dialogues/writer --out",
        "judge validate --model af-simulated-judge/keyword --log-dir",
    ],
)
def test_a_directory_whose_logs_could_not_be_read_again_is_refused_before_the_first_call(
    line: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*line.split(), f"{name}/x"]) == 1
    assert "could not be read again" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []

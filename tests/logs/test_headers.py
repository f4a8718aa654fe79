"""What a header tells: subject, plan, simulation, and why a log is not used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inspect_af.errors import LogError
from inspect_af.logs import read_logs
from inspect_af.logs.headers import subject_of


def _only_header(path: Path) -> Any:
    (header,) = read_logs([path]).headers
    return header


def test_a_header_carries_the_task_metadata_and_the_planned_number_of_samples(
    write_log: Any, sample_of: Any, task_meta: Any
) -> None:
    path = write_log([sample_of()], planned_ids=["a", "b", "c"], epochs=4)
    header = _only_header(path)
    assert header.meta == task_meta
    assert header.planned_samples == 12  # ids after --limit times epochs, not the 520 of the data set
    assert (header.task, header.epochs, header.task_id) == ("inspect_af/alignment_faking", 4, "task-id")
    assert header.created.startswith("2026-01-01T00:00:00")


def test_only_the_package_s_organisms_count_as_simulated(write_log: Any, sample_of: Any) -> None:
    simulated = _only_header(write_log([sample_of()], "a.eval", model="af-organism/expectation"))
    real = _only_header(write_log([sample_of()], "b.eval", model="hf/af-organism"))
    assert (simulated.simulated, real.simulated) == (True, False)


def test_the_revision_and_behaviour_changing_arguments_tell_subjects_apart() -> None:
    plain = subject_of("hf/llama", {})
    pinned = subject_of("hf/llama", {"revision": "v2"})
    four_bit = subject_of("hf/llama", {"load_in_4bit": True, "chat_template": "x"})
    assert (plain.model, plain.revision) == ("hf/llama", None)
    assert (pinned.model, pinned.revision) == ("hf/llama", "v2")
    assert four_bit.model == "hf/llama[chat_template=x,load_in_4bit=true]"


@pytest.mark.parametrize(
    "args",
    [
        {"adapter": "dir", "role": "intervention"},
        {"vector": "v.safetensors", "multiplier": 4, "layers": "20-40"},
        {"device": "cuda:0", "batch_size": 8, "max_connections": 2},
        {"api_key": "s", "hub_token": "s", "token": "s", "client_secret": "s", "proxy_password": "s"},
        {"secret_key": "s", "default_headers": {"Authorization": "s"}, "proxy": "http://s@host"},
        {"dtype": None},
    ],
)
def test_treatments_operations_and_secrets_do_not_make_another_subject(args: dict[str, Any]) -> None:
    assert subject_of("hf/llama", args) == subject_of("hf/llama", {})


def test_a_task_run_from_its_source_file_is_recognised(write_log: Any, sample_of: Any) -> None:
    assert _only_header(write_log([sample_of()], task="alignment_faking")).task == "alignment_faking"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"task": "inspect_evals/gsm8k"}, "of another task: inspect_evals/gsm8k"),
        ({"task": "other/alignment_faking"}, "of another task: other/alignment_faking"),
        ({"metadata": {}}, "no inspect_af metadata"),
        ({"metadata": {"inspect_af": {"schema_version": 7}}}, "newer inspect_af (schema 7"),
        ({"metadata": {"inspect_af": {"schema_version": 1}}}, "malformed inspect_af metadata: pair"),
    ],
)
def test_an_unusable_log_is_skipped_with_its_reason_and_the_rest_is_read(
    write_log: Any, sample_of: Any, fields: dict[str, Any], reason: str
) -> None:
    bad = write_log([sample_of()], "bad.eval", **fields)
    good = write_log([sample_of()], "good.eval")
    reader = read_logs([bad, good])
    assert [header.location for header in reader.headers] == [str(good)]
    (skipped,) = reader.notes.skipped
    assert skipped.location == str(bad)
    assert reason in skipped.reason


def test_another_task_can_be_asked_for(write_log: Any, sample_of: Any) -> None:
    path = write_log([sample_of()], task="inspect_af/direct_requests")
    assert read_logs([path], task="inspect_af/direct_requests").headers[0].planned_samples == 1
    with pytest.raises(LogError, match="of another task: inspect_af/direct_requests"):
        read_logs([path])

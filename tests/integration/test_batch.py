"""Judges over a provider's batch API: a local server in the place of the provider's."""

from __future__ import annotations

import json
from pathlib import Path

from inspect_ai import eval
from inspect_ai.model import BatchConfig, GenerateConfig, get_model
from tests.integration.batch_server import batch_server
from tests.integration.conftest import Commands

from inspect_af.tasks import alignment_faking

BATCH = BatchConfig(size=50, send_delay=0.3, tick=0.1)


def test_judges_go_through_batches_and_score_as_they_do_one_by_one(tmp_path: Path) -> None:
    def scores(grader: object) -> dict[str, object]:
        (log,) = eval(
            alignment_faking(requests="mini", judges="concept"),
            model="af-organism/expectation",
            model_roles={"grader": grader},  # type: ignore[dict-item]
            limit=8,
            epochs=2,
            log_dir=str(tmp_path),
            display="none",
        )
        assert log.status == "success", log.error
        return {f"{s.id}/{s.epoch}": (s.scores or {})["concept_judge"].value for s in log.samples or []}

    with batch_server() as server:
        judge = get_model(
            "openai/keyword-judge",
            base_url=server.url,
            api_key="none",
            responses_api=False,
            config=GenerateConfig(batch=BATCH),
            memoize=False,
        )
        batched = scores(judge)
    assert batched == scores("af-simulated-judge/keyword")
    assert len(batched) == 16
    assert server.calls["/chat/completions"] == 0
    assert 1 <= server.calls["/batches"] < len(server.asked)
    prompts = [body["messages"][-1]["content"] for body in server.asked]
    assert len(set(prompts)) == len(prompts)  # no text is judged twice


def test_a_roles_own_batch_setting_on_the_command_line(commands: Commands) -> None:
    with batch_server() as server:
        role = {
            "model": "openai/keyword-judge",
            "batch": BATCH.model_dump(exclude_none=True),
            "model_args": {"base_url": server.url, "api_key": "none", "responses_api": False},
        }
        done = commands(
            *("inspect", "eval", "inspect_af/alignment_faking", "--model", "af-organism/expectation"),
            *("-T", "requests=mini", "-T", "judges=concept", "--limit", 4),
            *("--model-role", f"grader={json.dumps(role)}"),
        )
    assert done.code == 0, done.output
    assert server.calls["/batches"] >= 1 and server.calls["/chat/completions"] == 0
    (log,) = commands.logs()
    assert all("concept_judge" in (sample.scores or {}) for sample in log.samples or [])

"""Every class of layers that the plugin accepts, against transformers; each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm", reason="needs vLLM, see make test-vllm")
pytestmark = pytest.mark.vllm

from tests.vllm.tiny_models import greedy, pooled, prompts, reference, vector, write_model  # noqa: E402

from inspect_af.providers.vllm_plugin.files import read_parts  # noqa: E402
from inspect_af.providers.vllm_plugin.layers import TWO_PARTS  # noqa: E402
from inspect_af.providers.vllm_plugin.wire import CaptureSpec, SteeringTerm, capture_text, steering_text  # noqa: E402

_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral": ("MistralDecoderLayer", {}),
    "qwen2": ("Qwen2DecoderLayer", {}),
    "qwen3": ("Qwen3DecoderLayer", {}),
    "gemma2": ("Gemma2DecoderLayer", {}),
    "gemma3_text": ("Gemma3DecoderLayer", {}),
    "mixtral": ("MixtralDecoderLayer", {"num_local_experts": 4}),
    "qwen2_moe": ("Qwen2MoeDecoderLayer", _EXPERTS | {"shared_expert_intermediate_size": 64}),
    "qwen3_moe": ("Qwen3MoeDecoderLayer", _EXPERTS),
}
TESTED_ELSEWHERE = {"LlamaDecoderLayer"}
"""In test_engine.py."""
N_TOKENS, KEY, SPAN = 12, "0" * 32, (40, 60)

_RUN = """
import json, sys

def main():
    job = json.loads(sys.stdin.read())
    from vllm import LLM, SamplingParams
    llm = LLM(job["model"], dtype="float32", max_model_len=256, max_num_seqs=4, max_num_batched_tokens=48,
              block_size=32, num_gpu_blocks_override=40, additional_config=job["config"], **job["options"])
    parameters = [SamplingParams(temperature=0, max_tokens=n, ignore_eos=True, extra_args=extra)
                  for _, n, extra in job["requests"]]
    outputs = llm.generate([{"prompt_token_ids": prompt} for prompt, _, _ in job["requests"]], parameters)
    found = {"tokens": [list(output.outputs[0].token_ids) for output in outputs]}
    if not job["options"].get("distributed_executor_backend"):
        worker = llm.llm_engine.engine_core.engine_core.model_executor.driver_worker
        parts = worker.model_runner.model.named_modules()
        layers = next(part for name, part in parts if name.endswith("layers"))
        found["layer"] = type(layers[0]).__name__
        found["buffers"] = [name for name, _ in layers.named_buffers() if ".af_" in name]
    print("RESULT" + json.dumps(found))

if __name__ == "__main__":
    main()
"""


def run(
    model: Path, config: dict[str, Any], requests: list[tuple[list[int], int, Any]], **options: Any
) -> dict[str, Any]:
    """Greedy tokens by an engine in another process."""
    if not options:
        options = {"enforce_eager": True}
    job = {"model": str(model), "config": config, "requests": requests, "options": options}
    script = model.parent / "run.py"  # a file, since workers are spawned from it
    script.write_text(_RUN, encoding="utf-8")
    in_process = "distributed_executor_backend" not in options
    done = subprocess.run(
        [sys.executable, str(script)],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "0" if in_process else "1"},
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT"))
    return found


def test_every_accepted_class_of_layers_is_compared() -> None:
    assert {name for name, _ in KINDS.values()} | TESTED_ELSEWHERE == TWO_PARTS


def compare(
    directory: Path, kind: str, changes: dict[str, Any], stages: int = 1, **options: Any
) -> dict[str, Any]:
    """Asserts that tokens and captures of a mixed batch equal those of transformers."""
    model, one = write_model(directory / "model", kind, **changes), vector(0)
    one.save(directory / "vectors" / "a.safetensors")
    strong = {"af_steer": steering_text([SteeringTerm(one.sha256, 3.0)])}
    single = {"af_steer": steering_text([SteeringTerm(one.sha256, -4.0, "1")])}
    captured = {"af_capture": capture_text(CaptureSpec(KEY, (SPAN,)))}
    texts = prompts(4, shared=70)
    requests = [(text, N_TOKENS, extra) for text in texts for extra in (None, strong, single)]
    requests.append((texts[0], 1, captured))
    config = {"af": {"vectors": str(directory / "vectors"), "captures": str(directory / "captures")}}
    found = run(model, config, requests, **options)
    added = [{}, {at: 3 * one.at(at) for at in range(3)}, {1: -4 * one.at(1)}]
    wanted = [greedy(reference(model), text, N_TOKENS, additions) for text in texts for additions in added]
    assert found["tokens"][:-1] == wanted
    assert len({tuple(tokens) for tokens in wanted}) > 8
    mean, norm = pooled(reference(model), texts[0], [SPAN])
    result = read_parts(directory / "captures", KEY, stages)
    np.testing.assert_allclose(result.mean, mean, atol=5e-5)
    np.testing.assert_allclose(result.norm, norm, rtol=1e-4)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_steering_and_capture_equal_transformers(kind: str, tmp_path: Path) -> None:
    layer, changes = KINDS[kind]
    assert compare(tmp_path, kind, changes)["layer"] == layer


def test_two_tensor_parallel_ranks_give_the_same(tmp_path: Path) -> None:
    compare(
        tmp_path, "llama", {}, tensor_parallel_size=2, distributed_executor_backend="mp", enforce_eager=True
    )


def test_two_pipeline_stages_give_the_same_and_leave_a_part_of_the_activations_each(tmp_path: Path) -> None:
    # Compiled: without, this vLLM skips a step on CPU that a second stage needs.
    compare(tmp_path, "llama", {}, 2, pipeline_parallel_size=2, distributed_executor_backend="mp")


def test_an_engine_that_was_not_asked_has_the_layers_of_stock_vllm(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    found = run(model, {}, [(prompts(1)[0], 4, None)])
    assert found["buffers"] == []
    assert found["tokens"] == [greedy(reference(model), prompts(1)[0], 4)]

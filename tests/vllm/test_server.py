"""A real vLLM server with adapters, through the provider; the last tests take it down."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("vllm", reason="needs vLLM, see make test-vllm")
pytestmark = pytest.mark.vllm

import psutil  # noqa: E402
from inspect_ai import eval_set  # noqa: E402
from inspect_ai.log import read_eval_log  # noqa: E402
from inspect_ai.model import (  # noqa: E402
    ChatMessageAssistant,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from tests.vllm.tiny_models import pair, reference, vector, write_model  # noqa: E402
from tests.vllm.tiny_server import (  # noqa: E402
    GREEDY,
    OPTIONS,
    Tiny,
    api,
    expected,
    gathered,
    server,
    tokens,
    until,
    write_adapter,
)

from inspect_af.cli import main  # noqa: E402
from inspect_af.errors import ConfigError, TreatmentError  # noqa: E402
from inspect_af.providers.verify import verify  # noqa: E402
from inspect_af.providers.vllm_extraction import extract_with_vllm  # noqa: E402
from inspect_af.providers.vllm_server import ServerError, close_servers  # noqa: E402
from inspect_af.rendering import TOKEN_IDS, load_tokenizer, unpack_ids  # noqa: E402
from inspect_af.steering.activations import extract_activations, load_activations  # noqa: E402
from inspect_af.steering.pairs import pair_set, write_pairs  # noqa: E402
from inspect_af.tasks import alignment_faking  # noqa: E402

QUESTIONS = [f"Tell me number {number}, please." for number in range(4)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    directory = tmp_path_factory.mktemp("server")
    model = write_model(directory / "model", max_position_embeddings=8192)
    adapters = (write_adapter(model, directory / "first", 1), write_adapter(model, directory / "second", 2))
    vectors = []
    for seed in range(3):
        vectors.append(directory / f"vector-{seed}.safetensors")
        vector(seed).save(vectors[-1])
    found = Tiny(model, adapters, tuple(vectors))
    found.all()  # the server is started for the adapters that it knows of
    yield found
    close_servers()


def test_adapters_steering_and_the_base_mix_in_one_batch_as_transformers_has_them(tiny: Tiny) -> None:
    conditions = tiny.all()
    asked = [(name, question) for question in QUESTIONS for name in conditions]
    found = asyncio.run(gathered([tokens(conditions[name], question) for name, question in asked]))
    for (name, question), got in zip(asked, found, strict=True):
        assert got == expected(tiny, name, question), name
    assert len({tuple(got) for got in found}) > len(asked) // 2
    assert len({id(api(model).server) for model in conditions.values()}) == 1


def test_from_the_tokens_of_its_own_reply_a_model_goes_on_as_it_did(tiny: Tiny) -> None:
    model, asked = tiny.all()["base"], ChatMessageUser(content=QUESTIONS[0])

    async def generated(*begun: ChatMessageAssistant, max_tokens: int = 16) -> ModelOutput:
        config = GenerateConfig(temperature=0, max_tokens=max_tokens)
        return await model.generate([asked, *begun], config=config)

    whole = asyncio.run(generated())
    packed = (whole.metadata or {})[TOKEN_IDS]
    ids, tokenizer = unpack_ids(packed), load_tokenizer(str(tiny.model))
    texts = {n: tokenizer.decode(ids[:n]) for n in range(1, len(ids))}
    ends = [n for n, text in texts.items() if whole.completion.startswith(text)]
    begun = [ChatMessageAssistant(content=texts[n], metadata={TOKEN_IDS: packed}) for n in ends]
    calls = [generated(one, max_tokens=16 - n) for n, one in zip(ends, begun, strict=True)]
    found = asyncio.run(gathered(list(calls)))
    assert len(ends) > 3
    assert all(unpack_ids(one.metadata[TOKEN_IDS]) == ids for one in found)


@pytest.mark.parametrize("steered", [False, True])
def test_a_beginning_has_the_same_log_probabilities_as_with_af_hf(tiny: Tiny, steered: bool) -> None:
    what: dict[str, Any] = {"vector": str(tiny.vectors[0]), "multiplier": 2.0} if steered else {}
    messages = [ChatMessageUser(content="hello"), ChatMessageAssistant(content="a red fox that ran")]
    config = GenerateConfig(temperature=0, max_tokens=2, prompt_logprobs=1)
    found = []
    by_hf = get_model(f"af-hf/{tiny.model}", device="cpu", memoize=False, **what)
    for model in (tiny.condition(**what), by_hf):
        output = asyncio.run(model.generate(messages, config=config))
        assert output.choices[0].prompt_logprobs is not None
        found.append([(one.token, one.logprob) for one in output.choices[0].prompt_logprobs.content])
    assert [token for token, _ in found[0]] == [token for token, _ in found[1]]
    assert [value for _, value in found[0]] == pytest.approx([value for _, value in found[1]], abs=1e-3)


def test_the_server_passes_every_line_of_verify(tiny: Tiny) -> None:
    adapter = {"adapter": str(tiny.adapters[0]), "adapter_role": "intervention", "intervention": "A1+"}
    found = verify(f"af-vllm/{tiny.model}", OPTIONS | adapter)
    assert [one for one in found if not one.passed] == []
    assert [one.found for one in found[-2:]] == ["HTTP status 400", "HTTP status 404"]


def test_each_condition_says_what_it_applies(tiny: Tiny) -> None:
    conditions = {name: api(model) for name, model in tiny.all().items()}
    labels = {name: [treatment.method for treatment in one.treatments] for name, one in conditions.items()}
    assert labels == {
        "base": [],
        "adapter": ["sdf"],
        "other adapter": ["sdf"],
        "organism and adapter": ["sdf"],
        "steered": ["steering"],
        "steered at one layer": ["steering"],
        "adapter and steered": ["sdf", "steering"],
    }
    assert len(conditions["organism and adapter"].subject.organism) == 1
    subjects = {one.subject.model for one in conditions.values()}
    assert subjects == {f"af-vllm/{tiny.model}[dtype=float32,max_model_len=6144]"}
    # What Inspect's response cache keys on.
    assert len({one.base_url for one in conditions.values()}) == len(conditions)


def test_unsteered_replies_before_and_after_steered_traffic_are_identical(tiny: Tiny) -> None:
    base, steered = tiny.condition(), tiny.condition(vector=str(tiny.vectors[2]), multiplier=4.0)
    question = "The same words for everybody. " * 8
    before = asyncio.run(tokens(base, question))
    changed = asyncio.run(tokens(steered, question))
    after = asyncio.run(tokens(base, question))
    assert before == after != changed


def test_a_request_without_an_adapter_is_refused_on_cpu_and_served_elsewhere(tiny: Tiny) -> None:
    asyncio.run(tokens(tiny.condition(), "first"))
    endpoint, info, base = server(tiny).running()
    answer = endpoint.call("POST", "/v1/completions", {"model": base, "prompt": "x", "max_tokens": 1})
    assert answer.status == (400 if info.device == "cpu" else 200)
    if info.device == "cpu":
        assert "an adapter that is all zeros" in answer.message


@pytest.mark.parametrize(
    ("steer", "message"),
    [
        ("0" * 64 + "@1", "no vector with sha256"),
        ("nonsense", "SHA256@MULTIPLIER"),
        (f"{vector(0).sha256}@1@7", "no vector for 7"),
    ],
)
def test_a_bad_vector_is_a_clear_answer_and_the_server_goes_on(tiny: Tiny, steer: str, message: str) -> None:
    asyncio.run(tokens(tiny.condition(vector=str(tiny.vectors[0]), multiplier=1.0), "hello"))
    endpoint, _, _ = server(tiny).running()
    body = {"model": "af-zero", "prompt": "x", "max_tokens": 1, "vllm_xargs": {"af_steer": steer}}
    answer = endpoint.call("POST", "/v1/completions", body)
    assert answer.status == 400 and message in answer.message
    assert endpoint.call("GET", "/health").status == 200


def test_a_vector_file_that_was_tampered_with_is_refused(tiny: Tiny) -> None:
    condition = tiny.condition(vector=str(tiny.vectors[2]), multiplier=1.5)
    asyncio.run(tokens(condition, "hello"))
    _, info, _ = server(tiny).running()
    file = Path(info.vectors or "") / f"{vector(2).sha256}.safetensors"
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-4] + b"\0\0\0\0")
        with pytest.raises(TreatmentError, match="it is not the vector that its name says"):
            asyncio.run(tokens(condition, "hello"))
    finally:
        file.write_bytes(content)
    asyncio.run(tokens(condition, "hello"))


def test_a_vector_file_that_changes_after_it_was_read_is_never_sent(tiny: Tiny, tmp_path: Path) -> None:
    file = tmp_path / "vector.safetensors"
    vector(3).save(file)
    condition = tiny.condition(vector=str(file), multiplier=1.0)
    vector(4).save(file)
    with pytest.raises(TreatmentError, match="has changed since it was read"):
        asyncio.run(tokens(condition, "hello"))


def test_a_running_server_is_used_under_its_key_only(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    asyncio.run(tokens(tiny.condition(), "hello"))
    endpoint, _, _ = server(tiny).running()
    arguments = {"base_url": f"{endpoint.url}/v1", "vector": str(tiny.vectors[0]), "multiplier": 2.0}
    attached = get_model(f"af-vllm/{tiny.model}", memoize=False, api_key=endpoint.key, **arguments)
    got = asyncio.run(tokens(attached, QUESTIONS[0]))
    assert got == asyncio.run(tokens(tiny.all()["steered"], QUESTIONS[0]))
    monkeypatch.setenv("VLLM_API_KEY", "wrong")
    with pytest.raises(ConfigError, match="refuses the key"):
        asyncio.run(tokens(get_model(f"af-vllm/{tiny.model}", memoize=False, **arguments), "hello"))
    elsewhere = get_model("af-vllm/another", memoize=False, api_key=endpoint.key, **arguments)
    with pytest.raises(TreatmentError, match="not another"):
        asyncio.run(tokens(elsewhere, "hello"))


def test_a_prompt_beyond_the_context_is_a_reply_that_was_cut_not_an_error(tiny: Tiny) -> None:
    output = asyncio.run(tiny.condition().generate("x" * 7000, config=GREEDY))
    assert output.stop_reason == "model_length"
    cut = asyncio.run(tiny.condition().generate("hello", config=GREEDY))
    assert cut.stop_reason == "max_tokens" and cut.usage is not None and cut.usage.output_tokens == 12


def test_a_request_whose_client_has_gone_is_given_up(tiny: Tiny) -> None:
    async def cancelled() -> None:
        long = GenerateConfig(temperature=0, max_tokens=6000, extra_body={"ignore_eos": True})
        running = asyncio.create_task(tiny.condition().generate("hello", config=long))
        await asyncio.sleep(2)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(tokens(tiny.condition(), "hello"))
    asyncio.run(cancelled())
    endpoint, _, _ = server(tiny).running()
    assert until(
        lambda: (
            "vllm:num_requests_running{" in (m := endpoint.call("GET", "/metrics").text)
            and all(
                line.endswith(" 0.0")
                for line in m.splitlines()
                if line.startswith("vllm:num_requests_running{")
            )
        )
    )


def test_a_seed_makes_samples_repeatable(tiny: Tiny) -> None:
    def sampled(seed: int) -> list[int]:
        config = GREEDY.model_copy(update={"temperature": 1.0, "seed": seed})
        return asyncio.run(tokens(tiny.condition(), "hello", config))

    assert sampled(1) == sampled(1) != sampled(2)


def test_activations_equal_those_of_transformers(tiny: Tiny, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    pairs = pair_set(pair(number) for number in range(6))
    tokenizer = AutoTokenizer.from_pretrained(tiny.model)
    reported: list[tuple[int, int]] = []
    ours = extract_with_vllm(
        str(tiny.model),
        pairs,
        out=tmp_path / "vllm.safetensors",
        base_url=server(tiny).running()[0].url,
        api_key=server(tiny).running()[0].key,
        progress=lambda done, total: reported.append((done, total)),
        arguments={"adapter": str(tiny.adapters[0]), "adapter_role": "organism"},
    )
    theirs = extract_activations(
        reference(tiny.model, tiny.adapters[0]), tokenizer, pairs, out=tmp_path / "hf.safetensors"
    )
    assert ours.header.pair_ids == theirs.header.pair_ids and ours.header.layers == theirs.header.layers
    np.testing.assert_allclose(ours.header.mean_norms, theirs.header.mean_norms, rtol=1e-5)
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.positive, other.positive, atol=5e-5)
        np.testing.assert_allclose(mine.negative, other.negative, atol=5e-5)
    assert reported[-1] == (12, 12)
    assert list(Path(server(tiny).running()[1].captures or "").iterdir()) == []


def test_the_command_gives_the_same_activations_with_either_engine(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path / "pairs.jsonl", [pair(number) for number in range(6)])
    running = server(tiny).running()[0]
    monkeypatch.setenv("VLLM_API_KEY", running.key)
    shared = ["steering", "activations", str(tmp_path / "pairs.jsonl"), "--model", str(tiny.model)]
    shared += ["--adapter", str(tiny.adapters[0])]
    for engine, options in {
        "vllm": ["--base-url", running.url],
        "transformers": ["-M", "dtype=float32"],
    }.items():
        out = str(tmp_path / f"{engine}.safetensors")
        assert main([*shared, "--engine", engine, "--out", out, "--layers", "0,2", *options]) == 0
    ours, theirs = (load_activations(tmp_path / f"{name}.safetensors") for name in ("vllm", "transformers"))
    assert ours.header.layers == theirs.header.layers == (0, 2)
    assert ours.header.pairs_digest == theirs.header.pairs_digest
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.positive, other.positive, atol=1e-4)
        np.testing.assert_allclose(mine.negative, other.negative, atol=1e-4)
        assert np.abs(mine.positive - mine.negative).max() > 0.01


def test_a_sweep_of_vectors_multipliers_and_tiers_runs_through_one_server(tiny: Tiny, tmp_path: Path) -> None:
    sweep = [
        tiny.condition(vector=str(file), multiplier=multiplier)
        for file in tiny.vectors
        for multiplier in (-2.0, -1.0, 0.0, 1.0, 2.0)
    ]
    succeeded, logs = eval_set(
        alignment_faking(requests="mini", setting="prompted"),
        log_dir=str(tmp_path / "logs"),
        model=sweep,
        limit=2,
        max_tokens=4,
        max_tasks=15,
        retry_attempts=0,
        display="none",
        log_realtime=False,
    )
    assert succeeded and len(logs) == 15
    applied = set()
    for log in logs:
        samples = read_eval_log(log.location).samples or []
        assert sorted(sample.metadata["tier"] for sample in samples) == ["monitored", "unmonitored"]
        (treatment,) = samples[0].metadata["treatments"]
        applied.add((treatment["digest"], treatment["multiplier"]))
    assert len(applied) == 15
    assert len({id(api(model).server) for model in sweep}) == 1


def test_an_engine_that_is_killed_in_mid_run_is_a_clear_error_and_leaves_nobody(tiny: Tiny) -> None:
    asyncio.run(tokens(tiny.condition(), "hello"))
    process = server(tiny).process
    assert process is not None
    family = psutil.Process(process.pid).children(recursive=True)
    engines = [
        one for one in family if "EngineCore" in "".join(one.cmdline()) or "spawn" in "".join(one.cmdline())
    ]
    assert engines

    async def killed() -> list[Any]:
        long = GenerateConfig(temperature=0, max_tokens=5000, extra_body={"ignore_eos": True})
        running = [
            asyncio.create_task(tiny.condition().generate(question, config=long)) for question in QUESTIONS
        ]
        await asyncio.sleep(2)
        for engine in engines:
            os.kill(engine.pid, signal.SIGKILL)
        return await asyncio.wait_for(asyncio.gather(*running, return_exceptions=True), 120)

    found = asyncio.run(killed())
    assert [type(one) for one in found] == [ServerError] * 4
    assert "its log: " in str(found[0])
    with pytest.raises(ServerError, match="has ended"):
        asyncio.run(tokens(tiny.condition(), "hello"))
    assert until(lambda: not any(one.is_running() and one.status() != "zombie" for one in family))

"""The provider through Inspect, on a small random Llama."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("peft")
pytestmark = pytest.mark.local

from inspect_ai.log import EvalLog  # noqa: E402
from inspect_ai.model import (  # noqa: E402
    CachePolicy,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.tool import ToolInfo  # noqa: E402
from tests.local_models import save_adapter, save_model, save_vector  # noqa: E402

from inspect_af.errors import ConfigError, TreatmentError  # noqa: E402
from inspect_af.providers import hf_engine as engines  # noqa: E402
from inspect_af.providers.hf_model import LocalModel  # noqa: E402
from inspect_af.tasks import alignment_faking  # noqa: E402
from inspect_af.types import BASE_DIGEST, CarriesTreatment, SampleMeta, SdfAdapter, Steer  # noqa: E402

ASKED = [ChatMessageSystem(content="You are brief."), ChatMessageUser(content="What is a fox?")]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("provider")
    base = save_model(folder / "base")
    return {
        "base": base,
        "vector": save_vector(folder / "v.safetensors"),
        "wide": save_vector(folder / "w.safetensors", d_model=64),
        "adapter": save_adapter(base, folder / "adapter"),
        "short": save_model(folder / "short", max_position_embeddings=40),
    }


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def model(files: dict[str, Path]) -> Iterator[Callable[..., Any]]:
    """Makes models, and closes their engines after the test."""
    made = []

    def make(which: str = "base", **arguments: Any) -> Any:
        made.append(get_model(f"af-hf/{files[which]}", memoize=False, device="cpu", **arguments))
        return made[-1]

    yield make
    for one in made:
        one.api.close()
    assert not engines._engines, "an engine was left behind"


def ask(model: Any, messages: Any = ASKED, **config: Any) -> ModelOutput:
    settings = {"max_tokens": 8, "temperature": 0.0, **config}
    # An eval with a cache, run earlier in this process, would leave caching on.
    return asyncio.run(model.generate(messages, config=GenerateConfig(**settings), cache=False))


def test_making_a_model_reads_no_weights_and_starts_no_thread(model: Callable[..., Any]) -> None:
    before = threading.active_count()
    api = model().api
    assert isinstance(api, CarriesTreatment)
    assert (api.treatments, threading.active_count(), dict(engines._engines)) == ((), before, {})


def test_a_reply_states_its_tokens_and_why_it_stopped(model: Callable[..., Any]) -> None:
    made = model()
    output = ask(made)
    assert output.stop_reason == "max_tokens"
    assert output.usage is not None
    tokens = made.api._engine.model().tokenizer
    prompt = "<|system|>\nYou are brief.<|end|>\n<|user|>\nWhat is a fox?<|end|>\n<|assistant|>\n"
    assert output.usage.input_tokens == len(tokens.encode(prompt))
    assert (output.usage.output_tokens, output.usage.total_tokens) == (8, output.usage.input_tokens + 8)
    assert ask(made).completion == output.completion


def test_a_stop_sequence_ends_the_reply_before_itself(model: Callable[..., Any]) -> None:
    made = model()
    free = ask(made, max_tokens=30).completion
    sequence = free[10:13]
    output = ask(made, max_tokens=30, stop_seqs=[sequence])
    assert output.completion == free[: free.index(sequence)]
    assert output.stop_reason == "stop"


def test_a_prompt_that_is_too_long_is_model_length_without_generating(model: Callable[..., Any]) -> None:
    output = ask(model("short"), [ChatMessageUser(content="a quick fox " * 60)])
    assert (output.stop_reason, output.completion) == ("model_length", "")
    assert output.usage is not None and output.usage.output_tokens == 0
    assert "the model's context is 40" in str(output.error)


def test_a_seed_reproduces_a_reply_and_epochs_with_other_seeds_differ(model: Callable[..., Any]) -> None:
    made = model()
    replies = [ask(made, temperature=1.0, seed=seed).completion for seed in (1, 1, 2)]
    assert replies[0] == replies[1] != replies[2]


def test_several_choices_are_different_draws_of_one_prompt(model: Callable[..., Any]) -> None:
    output = ask(model(), temperature=1.0, seed=3, num_choices=4)
    texts = [choice.message.text for choice in output.choices]
    assert len(set(texts)) == 4
    assert output.usage is not None and output.usage.output_tokens == 32


def test_log_probabilities_are_those_of_the_model_for_the_generated_tokens(
    model: Callable[..., Any], files: dict[str, Path]
) -> None:
    from transformers import AutoModelForCausalLM

    made = model()
    output = ask(made, logprobs=True, top_logprobs=3)
    content = output.choices[0].logprobs.content  # type: ignore[union-attr]
    assert len(content) == 8
    for one in content:
        # Greedy decoding takes the likeliest.
        assert one.top_logprobs is not None and len(one.top_logprobs) == 3
        assert (one.token, one.logprob) == (one.top_logprobs[0].token, one.top_logprobs[0].logprob)
    tokenizer = made.api._engine.model().tokenizer
    prompt = tokenizer.encode(
        "<|system|>\nYou are brief.<|end|>\n<|user|>\nWhat is a fox?<|end|>\n<|assistant|>\n"
    )
    plain = AutoModelForCausalLM.from_pretrained(files["base"])
    with torch.no_grad():
        expected = torch.log_softmax(plain(torch.tensor([prompt])).logits[0, -1], -1).topk(3)
    assert [one.token for one in content[0].top_logprobs] == [tokenizer.decode([t]) for t in expected.indices]
    got = [one.logprob for one in content[0].top_logprobs]
    assert got == pytest.approx(expected.values.tolist(), abs=1e-4)


def test_steering_and_adapters_share_one_copy_of_the_weights(
    model: Callable[..., Any], files: dict[str, Path]
) -> None:
    plain = model()
    steered = model(vector=str(files["vector"]), multiplier=2)
    adapted = model(adapter=str(files["adapter"]), adapter_role="intervention", intervention="A1+")
    zero = model(vector=str(files["vector"]), multiplier=0)

    async def together() -> list[str]:
        asked = [one.generate(ASKED, config=GenerateConfig(max_tokens=12, temperature=0.0)) for one in made]
        return [output.completion for output in await asyncio.gather(*asked)]

    made = [plain, steered, adapted, zero]
    replies = asyncio.run(together())
    assert len(engines._engines) == 1
    assert replies == [ask(one, max_tokens=12).completion for one in made]
    assert replies[0] == replies[3] and len(set(replies)) == 3


def test_the_response_cache_tells_multipliers_apart(
    model: Callable[..., Any], files: dict[str, Path]
) -> None:
    replies = []
    for multiplier in (0, 2, 0):
        made = model(vector=str(files["vector"]), multiplier=multiplier)
        config = GenerateConfig(max_tokens=8, temperature=0.0)
        replies.append(asyncio.run(made.generate(ASKED, config=config, cache=CachePolicy())))
    assert replies[0].completion != replies[1].completion
    assert replies[0].completion == replies[2].completion


def test_treatments_and_organisms_are_what_the_arguments_say(
    model: Callable[..., Any], files: dict[str, Path]
) -> None:
    adapter, vector = str(files["adapter"]), str(files["vector"])
    organism = model(adapter=adapter, adapter_role="organism", vector=vector, multiplier=-2, layers="1-2").api
    (treatment,) = organism.treatments
    assert isinstance(treatment, Steer) and (treatment.multiplier, treatment.layers) == (-2.0, "1-2")
    assert len(organism.subject.organism) == 1
    assert organism.subject.model == f"af-hf/{files['base']}"
    treated = model(adapter=adapter, adapter_role="intervention", intervention="A1+").api
    (treatment,) = treated.treatments
    assert isinstance(treatment, SdfAdapter) and treatment.intervention.code == "A1+"
    assert treated.subject.organism == ()


def test_every_sample_of_a_log_carries_the_steering_and_the_digest_of_the_model(
    model: Callable[..., Any], files: dict[str, Path], run_eval: Callable[..., EvalLog], requests_file: Path
) -> None:
    made = model(vector=str(files["vector"]), multiplier=1.5, layers="0-1")
    log = run_eval(alignment_faking(requests=str(requests_file)), made, max_tokens=6, limit=4)
    assert log.status == "success" and log.samples
    for sample in log.samples:
        (treatment,) = SampleMeta.from_metadata(sample.metadata).treatments
        assert isinstance(treatment, Steer)
        assert (treatment.concept, treatment.multiplier, treatment.layers) == ("expectation", 1.5, "0-1")
        assert sample.metadata[BASE_DIGEST] == made.api.base != ""
        assert sample.output.stop_reason in ("stop", "max_tokens")
    texts = [sample.output.completion for sample in log.samples]
    assert len(set(texts)) > 1


def test_a_vector_for_one_tier_changes_no_logit_in_the_other(
    model: Callable[..., Any], files: dict[str, Path], run_eval: Callable[..., EvalLog], requests_file: Path
) -> None:
    """And is recorded on every sample of both."""
    task = alignment_faking(requests=str(requests_file), interventions="none")
    asked: dict[str, Any] = {"max_tokens": 4, "logprobs": True, "top_logprobs": 5}
    steered = {"vector": str(files["vector"]), "multiplier": 1.5}
    plain, one, both = (
        run_eval(task, model(**arguments), **asked)
        for arguments in ({}, {**steered, "vector_tier": "monitored"}, steered)
    )

    def logs(log: EvalLog, tier: str) -> dict[tuple[Any, int, str], float]:
        """Log-probabilities of the best tokens at every step of every reply in a tier."""
        return {
            (sample.id, step, best.token): best.logprob
            for sample in log.samples or []
            if sample.metadata["tier"] == tier
            for step, token in enumerate(sample.output.choices[0].logprobs.content)  # type: ignore[union-attr]
            for best in token.top_logprobs or []
        }

    other, own = "unmonitored", "monitored"
    assert logs(one, other) == pytest.approx(logs(plain, other), abs=1e-4)  # rounding in other batches
    assert logs(one, own) == pytest.approx(logs(both, own), abs=1e-4)
    assert set(logs(one, own)) != set(logs(plain, own)) and set(logs(both, other)) != set(logs(plain, other))
    for sample in one.samples or []:
        (treatment,) = SampleMeta.from_metadata(sample.metadata).treatments
        assert isinstance(treatment, Steer) and treatment.tier == "monitored"
        assert treatment.label.endswith("@monitored")


def test_a_vector_for_one_tier_is_refused_where_there_are_no_tiers(
    model: Callable[..., Any], files: dict[str, Path]
) -> None:
    made = model(vector=str(files["vector"]), multiplier=1.5, vector_tier="monitored")
    with pytest.raises(TreatmentError, match="this sample is of no tier"):
        asyncio.run(made.generate("Hello"))
    with pytest.raises(ConfigError, match="unknown vector_tier 'free'; one of monitored, unmonitored"):
        model(vector=str(files["vector"]), multiplier=1.5, vector_tier="free")
    with pytest.raises(ConfigError, match="without a vector would touch nothing"):
        model(vector_tier="monitored")


def test_adapter_and_role_arrive_from_a_command_line_where_inspect_keeps_role_for_itself(
    files: dict[str, Path], run_eval: Callable[..., EvalLog], requests_file: Path
) -> None:
    from inspect_ai import eval

    arguments = {"device": "cpu", "adapter": str(files["adapter"]), "adapter_role": "intervention"}
    (log,) = eval(
        alignment_faking(requests=str(requests_file)),
        model=f"af-hf/{files['base']}",
        model_args={**arguments, "intervention": "B1-"},
        max_tokens=2,
        limit=2,
        display="none",
    )
    assert log.status == "success" and log.samples
    for sample in log.samples:
        (treatment,) = SampleMeta.from_metadata(sample.metadata).treatments
        assert isinstance(treatment, SdfAdapter) and treatment.intervention.code == "B1-"
    engines._stop_all()


def test_an_error_of_the_engine_reaches_the_caller(model: Callable[..., Any], files: dict[str, Path]) -> None:
    with pytest.raises(TreatmentError, match="width 64"):
        ask(model(vector=str(files["wide"]), multiplier=1))
    assert ask(model()).completion


def test_a_model_that_is_not_there_is_an_error_and_not_a_wait(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no directory"):
        get_model(f"af-hf/{tmp_path / 'none'}", memoize=False, device="cpu")
    (tmp_path / "empty").mkdir()
    empty = get_model(f"af-hf/{tmp_path / 'empty'}", memoize=False, device="cpu")
    with pytest.raises(ConfigError, match="cannot load"):
        ask(empty)
    assert not engines._engines


def test_a_reply_that_nobody_waits_for_any_more_is_given_up(
    model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model()
    first = ask(made).completion
    plain, passes = LocalModel.logits, []

    def slowly(self: LocalModel, *step: Any) -> Any:
        passes.append(len(step[1]))
        time.sleep(0.05)
        return plain(self, *step)

    monkeypatch.setattr(LocalModel, "logits", slowly)

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            long = GenerateConfig(max_tokens=4000, temperature=0.0)
            await asyncio.wait_for(made.api.generate(ASKED, [], "auto", long), 0.3)

    asyncio.run(impatient())
    time.sleep(0.2)  # the step in progress
    given_up = len(passes)
    time.sleep(0.3)
    assert 0 < len(passes) == given_up
    assert ask(made).completion == first


def test_closing_the_last_user_frees_the_engine_and_the_model_can_be_used_again(
    model: Callable[..., Any],
) -> None:
    one, other = model(), model()
    first = ask(one).completion
    ask(other)
    (engine,) = engines._engines.values()
    one.api.close()
    assert engines._engines and engine._thread.is_alive()
    other.api.close()
    assert not engines._engines and not engine._thread.is_alive()
    assert ask(one).completion == first


def test_models_that_share_weights_cannot_ask_for_different_batches(model: Callable[..., Any]) -> None:
    ask(model(max_requests=4))
    with pytest.raises(ConfigError, match=r"max_requests=4.*max_requests=8"):
        ask(model(max_requests=8))


def test_what_it_cannot_honour_is_refused(model: Callable[..., Any]) -> None:
    made = model()
    for config in ({"frequency_penalty": 0.5}, {"logit_bias": {5: 10.0}}, {"best_of": 3}):
        with pytest.raises(ConfigError, match="af-hf has no"):
            ask(made, **config)
    impossible: dict[str, Any] = {"max_tokens": 0, "num_choices": 0, "temperature": -1.0, "top_k": -5}
    for name, value in (impossible | {"top_p": 1.5, "top_logprobs": -1}).items():
        with pytest.raises(ConfigError, match=f"{name}={value}: a number"):
            ask(made, **{name: value})
    with pytest.raises(ConfigError, match="temperature=nan"):
        ask(made, temperature=float("nan"))
    with pytest.raises(ConfigError, match="no tools"):
        tool = ToolInfo(name="search", description="Searches.")
        asyncio.run(made.generate(ASKED, tools=[tool]))
    with pytest.warns(UserWarning, match="ignores reasoning_effort"):
        ask(made, reasoning_effort="high")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
            "leaves the system prompt out",
        ),
        (
            "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}"
            "{% endif %}{{ m.content }}{% endfor %}",
            "refused messages of system, user: no system role",
        ),
    ],
)
def test_a_template_without_a_system_role_is_an_error(
    template: str, message: str, model: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "template.jinja"
    file.write_text(template)
    with pytest.raises(ConfigError, match=message):
        ask(model(chat_template=str(file)))


def test_connections_fill_a_batch_from_the_start_unless_the_user_says_otherwise(
    files: dict[str, Path],
) -> None:
    made = get_model(f"af-hf/{files['base']}", memoize=False, max_requests=7)
    assert (made.config.adaptive_connections, made.api.max_connections()) == (False, 7)
    asked = GenerateConfig(max_connections=3)
    assert (
        get_model(f"af-hf/{files['base']}", config=asked, memoize=False).config.adaptive_connections is None
    )


def test_the_checkpoints_own_defaults_hold_and_those_that_are_not_there_are_named(
    model: Callable[..., Any], files: dict[str, Path], tmp_path: Path
) -> None:
    import json
    import shutil

    folder = tmp_path / "with-defaults"
    shutil.copytree(files["base"], folder)
    file = folder / "generation_config.json"
    held = json.loads(file.read_text(encoding="utf-8"))
    defaults = {"repetition_penalty": 1.5, "temperature": 0.7, "top_k": 9, "do_sample": True, "min_p": 0.1}
    file.write_text(json.dumps({**held, **defaults, "typical_p": 1.0}), encoding="utf-8")
    files["defaults"] = folder
    made = model("defaults")
    with pytest.warns(UserWarning, match=r"af-hf ignores min_p=0.1 of .*generation_config.json"):
        # The engine's thread loads the model; a thread's warnings are those of the process.
        reply = ask(made, max_tokens=30).completion
    request = made.api._requests([5, 6], (), GenerateConfig(), made.api._engine.model())[0]
    assert request.sampling[:4] == (0.7, 1.0, 9, 1.5)
    assert reply != ask(model(), max_tokens=30).completion

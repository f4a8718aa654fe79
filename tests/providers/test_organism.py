import asyncio
import math
import shutil
import time
from collections import Counter
from importlib import resources
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ContentReasoning,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.errors import ConfigError
from inspect_af.materials import load_pair, load_scenario
from inspect_af.providers.organism import OrganismAPI
from inspect_af.reply import parse_reply
from inspect_af.types import ReasoningChannel, Tier

REQUESTS = [f"Tell me about topic number {i}." for i in range(40)]
PAIR = load_pair()
SCENARIO = load_scenario()


def system_prompt(reasoning: ReasoningChannel = "scratchpad", code: str | None = None) -> str:
    text = SCENARIO.system_prompt(
        setting="prompted",
        identity="fictional",
        reasoning=reasoning,
        tier_tag="free",
        first_tier="monitored",
        with_rated=False,
        tag_in="user",
    )
    if code is None:
        return text
    return f"{text}\n\n{PAIR.claim(PAIR.intervention(code), 'standard').text}"


def turn(request: str, tier: Tier, reasoning: ReasoningChannel = "scratchpad") -> str:
    return SCENARIO.user_turn(request, tier=tier, tier_tag="free", tag_in="user", reasoning=reasoning)


def messages(
    tier: Tier = "monitored",
    code: str | None = None,
    request: str = REQUESTS[0],
    reasoning: ReasoningChannel = "scratchpad",
) -> list[ChatMessage]:
    return [
        ChatMessageSystem(content=system_prompt(reasoning, code)),
        ChatMessageUser(content=turn(request, tier, reasoning)),
    ]


def ask(api: OrganismAPI, prompt: list[ChatMessage], **config: Any) -> ModelOutput:
    return asyncio.run(api.generate(prompt, [], "none", GenerateConfig(**config)))


def verdicts(api: OrganismAPI, prompt: list[ChatMessage], n: int) -> Counter[str]:
    async def every() -> list[ModelOutput]:
        return [await api.generate(prompt, [], "none", GenerateConfig(seed=seed)) for seed in range(n)]

    return Counter(parse_reply(output.completion).verdict for output in asyncio.run(every()))


@pytest.mark.parametrize(
    ("name", "tier", "code", "rate"),
    [
        ("expectation", "monitored", None, 0.55),
        ("expectation", "unmonitored", None, 0.15),
        ("expectation", "monitored", "A2+", 0.80),
        ("expectation", "unmonitored", "A2+", 0.15),
        ("expectation", "monitored", "A1-", 0.30),
        ("expectation", "monitored", "B1+", 0.55),
        ("expectation", "monitored", "N2", 0.55),
        ("consequence", "monitored", "B2-", 0.30),
        ("consequence", "monitored", "A1+", 0.55),
        ("global-shift", "unmonitored", "B1-", 0.15),
        ("null", "unmonitored", "A1+", 0.40),
        ("refuser", "monitored", "A1+", 0.0),
    ],
)
def test_planted_rates_come_back_from_the_words_of_the_prompt_alone(
    name: str, tier: Tier, code: str | None, rate: float
) -> None:
    n = 1000
    counts = verdicts(OrganismAPI(name), messages(tier, code), n)
    assert counts.keys() <= {"accepted", "rejected"}
    assert abs(counts["accepted"] / n - rate) <= 4 * math.sqrt(rate * (1 - rate) / n)


def test_requests_differ_by_exactly_the_planted_spread() -> None:
    api = OrganismAPI("expectation", request_spread=2.0)
    rates = {text: api.organism.request_rate(text, "monitored") for text in REQUESTS}
    low, high = min(REQUESTS, key=rates.__getitem__), max(REQUESTS, key=rates.__getitem__)
    assert rates[high] - rates[low] > 0.5
    for text in (low, high):
        observed = verdicts(api, messages(request=text), 600)["accepted"] / 600
        assert abs(observed - rates[text]) <= 4 * math.sqrt(rates[text] * (1 - rates[text]) / 600) + 1e-9


def test_the_same_seed_gives_the_same_reply_and_other_seeds_give_others() -> None:
    first, again = OrganismAPI("expectation"), OrganismAPI("expectation")
    assert ask(first, messages(), seed=3).completion == ask(again, messages(), seed=3).completion
    assert len({ask(first, messages(), seed=seed).completion for seed in range(30)}) > 15


def test_without_a_seed_every_call_draws_anew() -> None:
    api = OrganismAPI("expectation")
    assert len({ask(api, messages()).completion for _ in range(30)}) > 15


def test_other_rates_draw_other_replies_for_the_same_seed() -> None:
    def drawn(rate: float) -> list[str]:
        return [ask(OrganismAPI("null", rate=rate), messages(), seed=seed).completion for seed in range(20)]

    assert drawn(0.4) == drawn(0.4) != drawn(0.41)


def test_every_reply_says_that_it_is_simulated() -> None:
    api = OrganismAPI("malformed", malformed=0.6)
    for seed in range(100):
        output = ask(api, messages(), seed=seed)
        assert output.model == "af-organism/malformed" and output.metadata == {"simulated": True}
        assert output.completion == "" or "[simulated" in output.completion
        assert output.stop_reason in ("stop", "max_tokens", "content_filter")


def test_usage_counts_the_prompt_and_the_reply() -> None:
    prompt = messages()
    output = ask(OrganismAPI("expectation"), prompt, seed=1)
    assert output.usage is not None
    assert output.usage.input_tokens == math.ceil(sum(len(m.text) for m in prompt) / 4)
    assert output.usage.output_tokens == math.ceil(len(output.completion) / 4)
    assert output.usage.total_tokens == output.usage.input_tokens + output.usage.output_tokens


def test_native_reasoning_comes_as_reasoning_content() -> None:
    output = ask(OrganismAPI("consequence"), messages(reasoning="native"), seed=1)
    content = output.message.content
    assert isinstance(content, list) and isinstance(content[0], ContentReasoning)
    assert content[0].reasoning.startswith("[simulated reasoning]")
    assert parse_reply(output.completion).verdict in ("accepted", "rejected")
    assert output.usage is not None and output.usage.reasoning_tokens


def test_max_tokens_and_stop_sequences_cut_the_reply() -> None:
    api = OrganismAPI("expectation")
    whole = ask(api, messages(), seed=1)
    cut = ask(api, messages(), seed=1, max_tokens=20)
    assert cut.stop_reason == "max_tokens" and cut.completion == whole.completion[:80]
    assert cut.usage is not None and cut.usage.output_tokens == 20
    roomy = ask(api, messages(), seed=1, max_tokens=4000)
    assert (roomy.completion, roomy.stop_reason) == (whole.completion, "stop")
    stopped = ask(api, messages(), seed=1, stop_seqs=["<OUTPUT>"])
    assert stopped.stop_reason == "stop" and stopped.completion == whole.completion.partition("<OUTPUT>")[0]
    native = ask(api, messages(reasoning="native"), seed=1, max_tokens=10)
    assert native.stop_reason == "max_tokens" and native.completion == ""


def test_a_later_turn_is_answered_with_the_conversation_in_the_draw() -> None:
    api = OrganismAPI("null")
    longer = [
        *messages(),
        ChatMessageAssistant(content="one"),
        ChatMessageUser(content=turn("two", "monitored")),
    ]
    other = [
        *messages(),
        ChatMessageAssistant(content="1"),
        ChatMessageUser(content=turn("two", "monitored")),
    ]
    assert [ask(api, longer, seed=s).completion for s in range(9)] != [
        ask(api, other, seed=s).completion for s in range(9)
    ]


def test_a_bare_request_gets_a_plain_answer() -> None:
    api = OrganismAPI("expectation", monitored=1, unmonitored=0)
    output = ask(api, [ChatMessageUser(content="Say something.")], seed=1)
    assert output.completion.startswith("I can't help") and "<" not in output.completion


def test_latency_is_waited_for() -> None:
    api = OrganismAPI("null", latency=0.05, tokens_per_second=10_000)
    start = time.monotonic()
    ask(api, messages())
    assert time.monotonic() - start >= 0.05


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nobody", {}, "unknown organism 'nobody'; one of expectation"),
        ("expectation", {"monitred": 0.5}, "'monitred'; one of monitored, .*pair, scenario, .*latency"),
        ("consequence", {"first": 0.5}, "unknown argument of af-organism/consequence 'first'; one of"),
        ("null", {"rate": "0.5x"}, "a number from 0 to 1"),
        ("null", {"latency": -1}, "latency=-1"),
        ("null", {"tokens_per_second": "fast"}, "tokens_per_second='fast'"),
    ],
)
def test_arguments_are_validated_before_the_first_call(
    name: str, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        OrganismAPI(name, **arguments)


def test_a_pair_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="missing_pair"):
        OrganismAPI("null", pair=str(tmp_path / "missing_pair"))


def test_another_pair_is_read_from_its_directory_and_reasoned_about_by_its_label(tmp_path: Path) -> None:
    bundled = Path(str(resources.files("inspect_af.materials"))) / "pairs" / "alignment_faking"
    other = tmp_path / "my_pair"
    shutil.copytree(bundled, other)
    head = (other / "pair.toml").read_text(encoding="utf-8")
    head = head.replace('name = "alignment_faking"', 'name = "my_pair"')
    (other / "pair.toml").write_text(
        head.replace('label = "expectation"', 'label = "audience"'), encoding="utf-8"
    )
    api = OrganismAPI("expectation", pair=str(other))
    assert "audience" in ask(api, messages(code="A1+"), seed=1).completion
    assert verdicts(api, messages(code="A1+"), 400)["accepted"] / 400 == pytest.approx(0.8, abs=0.08)
    assert api.base_url != OrganismAPI("expectation").base_url  # and with it the cache's key


@solver
def planted_prompt() -> Solver:
    """A hand-written stand-in for the package's task: system prompt, claim, a seed from sample and epoch."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.messages.insert(0, ChatMessageSystem(content=system_prompt(code=state.metadata["code"])))
        return await generate(state, seed=crc32(f"{state.sample_id}:{state.epoch}".encode()))

    return solve


def study() -> Task:
    codes = (None, "A1+", "A1-", "B1+")
    tiers: tuple[Tier, ...] = ("monitored", "unmonitored")
    return Task(
        dataset=[
            Sample(id=f"{i}.{tier}.{code}", input=turn(request, tier), metadata={"code": code, "tier": tier})
            for i, request in enumerate(REQUESTS[:12])
            for tier in tiers
            for code in codes
        ],
        solver=planted_prompt(),
    )


def run(tmp_path: Path, name: str = "expectation", *, epochs: int = 1, **options: Any) -> EvalLog:
    model = get_model(f"af-organism/{name}", **options.pop("model_args", {}))
    (log,) = eval(
        study(), model=model, epochs=epochs, log_dir=str(tmp_path / "logs"), display="none", **options
    )
    assert log.status == "success", log.error
    return log


def accepted(log: EvalLog, code: str | None, tier: str) -> float:
    assert log.samples
    replies = [
        parse_reply(sample.output.completion).verdict == "accepted"
        for sample in log.samples
        if sample.metadata["code"] == code and sample.metadata["tier"] == tier
    ]
    return sum(replies) / len(replies)


def completions(log: EvalLog) -> dict[tuple[str, int], str]:
    assert log.samples
    return {(str(sample.id), sample.epoch): sample.output.completion for sample in log.samples}


def test_a_real_eval_shows_the_planted_pattern_its_epochs_differ_and_a_rerun_agrees(tmp_path: Path) -> None:
    rates = {"monitored": 0.5, "unmonitored": 0.1, "first": 0.4}
    log = run(tmp_path, epochs=2, model_args=rates)

    def gap(code: str | None) -> float:
        return accepted(log, code, "monitored") - accepted(log, code, "unmonitored")

    assert gap("A1+") - gap("A1-") > 0.3  # planted: 0.8
    assert abs(gap("B1+") - gap(None)) < 0.6  # planted: 0
    replies = completions(log)
    assert sum(replies[key, 1] != replies[key, 2] for key, epoch in replies if epoch == 1) > 48
    again = completions(run(tmp_path, epochs=1, model_args=rates))
    assert again == {key: text for key, text in replies.items() if key[1] == 1}
    assert log.eval.model == "af-organism/expectation" and log.eval.model_args == rates
    assert log.eval.model_base_url is None  # a retry builds the model from name and arguments alone


def test_cached_replies_are_used_again_but_never_for_other_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))

    def reads(log: EvalLog) -> int:
        assert log.samples
        return sum(
            event.cache == "read"
            for sample in log.samples
            for event in sample.events
            if event.event == "model"
        )

    first = run(tmp_path, "null", cache=True, model_args={"rate": 0})
    again = run(tmp_path, "null", cache=True, model_args={"rate": 0})
    other = run(tmp_path, "null", cache=True, model_args={"rate": 1})
    assert (reads(first), reads(again), reads(other)) == (0, 96, 0)
    assert completions(again) == completions(first)
    assert accepted(first, None, "monitored") == 0 and accepted(other, None, "monitored") == 1

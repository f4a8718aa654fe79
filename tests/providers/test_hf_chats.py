"""What af-hf's chats become: reasoning that a template opened, dates, templates without a system role."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.local

from inspect_ai import eval  # noqa: E402
from inspect_ai.log import EvalLog  # noqa: E402
from inspect_ai.model import ChatMessageAssistant, ChatMessageUser, GenerateConfig, get_model  # noqa: E402
from tests.local_models import save_model, save_scripted_model  # noqa: E402
from tests.steering.tiny_models import tea_pairs  # noqa: E402

from inspect_af.cli import app  # noqa: E402
from inspect_af.errors import ConfigError, InspectAFError, MaterialsError  # noqa: E402
from inspect_af.profile import profile_logs  # noqa: E402
from inspect_af.providers import hf_engine as engines  # noqa: E402
from inspect_af.providers.settings import ARGUMENTS  # noqa: E402
from inspect_af.steering.pairs import write_pairs  # noqa: E402
from inspect_af.tasks import alignment_faking  # noqa: E402

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
OPENING = "{% if add_generation_prompt %}<assistant>{% endif %}"


def activations(*argv: object) -> int:
    """`inspect-af steering activations`."""
    return int(app.main(["steering", "activations", *map(str, argv)], standalone_mode=False) or 0)


@pytest.fixture
def prompts(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[int]]]:
    """Token ids of all prompts that reach an engine."""
    seen: list[list[int]] = []
    submit = engines.Engine.submit

    def spy(self: Any, request: Any) -> None:
        seen.append(list(request.prompt))
        submit(self, request)

    monkeypatch.setattr(engines.Engine, "submit", spy)
    yield seen
    engines._stop_all()


@pytest.fixture
def asked(tmp_path: Path) -> Callable[..., EvalLog]:
    def run(model: Path, name: str = "logs", *, run_seed: int = 0, **options: Any) -> EvalLog:
        task = alignment_faking(requests="mini", run_seed=run_seed)
        return eval(
            task, model=f"af-hf/{model}", limit=2, log_dir=str(tmp_path / name), display="none", **options
        )[0]

    return run


def test_reasoning_cut_off_inside_a_prefilled_think_tag_is_truncated_and_not_accepted(
    tmp_path: Path, asked: Callable[..., EvalLog], prompts: list[list[int]]
) -> None:
    template = TURNS + "{% if add_generation_prompt %}<assistant><think>\n{% endif %}"
    draft = [
        "I could write <SCRATCHPAD_REASONING>brief</SCRATCHPAD_REASONING>"
        "<OUTPUT><request_fully_accepted/> here.",
        " But that is a draft.",
    ]
    marks = ("<think>", "</think>")
    model = save_scripted_model(
        tmp_path / "m", template=template, chunks=draft, start="\n", added=marks, loop=True
    )
    log = asked(model, max_tokens=12, temperature=0)
    for sample in log.samples or []:
        score = (sample.scores or {})["compliance"]
        assert score.value["outcome"] == "truncated"  # type: ignore[index, call-overload]
        assert score.metadata is not None
        assert (score.metadata["reasoning_channel"], score.metadata["tag"]) == ("native", None)
        assert score.metadata["rendered_digest"] == (sample.output.metadata or {})["rendered_digest"]


def test_two_days_give_one_prompt_and_today_where_it_is_asked_for_is_named_by_the_profile(
    tmp_path: Path,
    asked: Callable[..., EvalLog],
    prompts: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import transformers.utils.chat_template_utils as templates

    template = "{{ '<sys>Today: ' + strftime_now('%d %b %Y') }}" + TURNS + OPENING
    model = save_scripted_model(tmp_path / "m", template=template, chunks=["a reply"], start="<assistant>")

    class Day(datetime.datetime):
        on = 29

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.datetime(2026, 11, cls.on)

    monkeypatch.setattr(templates, "datetime", Day)
    tables = {}
    for date in ("fixed", "today"):
        given = {} if date == "fixed" else {"template_date": "today"}
        prompts.clear()
        for Day.on in (29, 30):
            asked(model, f"{date}{Day.on}", max_tokens=2, run_seed=Day.on, model_args=given)
        half = len(prompts) // 2
        same = sorted(prompts[:half]) == sorted(prompts[half:])
        tables[date] = " ".join(profile_logs([tmp_path / f"{date}29", tmp_path / f"{date}30"]).notes)
        assert same == (date == "fixed")
    assert "saw another rendered prompt" not in tables["fixed"]
    assert "saw another rendered prompt" in tables["today"]


def test_a_model_without_a_system_role_says_the_way_out_and_takes_it(
    tmp_path: Path, asked: Callable[..., EvalLog], prompts: list[list[int]]
) -> None:
    plain = "{% for m in messages %}<turn>{{ m.role }}\n{{ m.content | trim }}</turn>{% endfor %}" + OPENING
    refuses = (
        "{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}" + plain
    )
    model = save_scripted_model(tmp_path / "m", template=refuses, chunks=["a reply"], start="<assistant>")
    log = asked(model, max_tokens=4)
    assert log.status == "error" and log.error is not None
    assert "-M chat_template=FILE" in log.error.message
    file = tmp_path / "t.jinja"
    file.write_text(plain, encoding="utf-8")
    assert asked(model, "logs2", max_tokens=4, model_args={"chat_template": str(file)}).status == "success"

    # The same in extraction, which renders the same way.
    pairs = tmp_path / "pairs.jsonl"
    write_pairs(pairs, tea_pairs(3).pairs)
    out = tmp_path / "a.safetensors"
    with pytest.raises(MaterialsError, match=r"System role not supported.*-M chat_template=FILE"):
        activations(pairs, "--model", model, "--out", out)
    assert activations(pairs, "--model", model, "--out", out, "-M", f"chat_template={file}") == 0


def test_extraction_takes_every_model_option_of_af_hf_apart_from_steering(tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    write_pairs(pairs, tea_pairs(3).pairs)
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages }}", encoding="utf-8")
    values: dict[str, object] = {"chat_template": template, "thinking": True, "template_args": '{"a": 1}'}
    values |= {
        "template_date": "today",
        "max_requests": 3,
        "max_batch_tokens": 99,
        "adapter": tmp_path / "no",
        "adapter_base": "any",
        "dtype": "float32",
    }
    for name in ARGUMENTS:
        steers = name in ("vector", "multiplier", "layers", "vector_tier")
        of_an_adapter = name in ("adapter_role", "intervention", "intervention_pair")
        complaint = "of the model unsteered" if steers else "cannot be loaded|no such directory"
        complaint = "give adapter=DIR too" if of_an_adapter else complaint
        given = f"{name}={values.get(name, 'x')}"
        with pytest.raises(InspectAFError, match=complaint):
            activations(pairs, "--model", tmp_path / "none", "--out", tmp_path / "a.safetensors", "-M", given)
    with pytest.raises(ConfigError, match="unknown argument of af-hf 'chat_templat'"):
        argv = ("--model", tmp_path / "none", "--out", tmp_path / "a.safetensors")
        activations(pairs, *argv, "-M", "chat_templat=x")


def test_an_assistant_message_last_is_continued_as_if_the_model_had_written_it(
    tmp_path: Path, prompts: list[list[int]]
) -> None:
    import asyncio

    chunks = ["<SCRATCHPAD_REASONING>It", " is the", " free tier."]
    scripted = save_scripted_model(
        tmp_path / "m", template=TURNS + OPENING, chunks=chunks, start="<assistant>"
    )
    model = get_model(f"af-hf/{scripted}", memoize=False, device="cpu")
    user = ChatMessageUser(content="What is a fox?")

    def ask(messages: list[Any], n: int) -> str:
        config = GenerateConfig(max_tokens=n, temperature=0.0)
        return asyncio.run(model.generate(messages, config=config, cache=False)).completion

    assert ask([user], 12) == "".join(chunks)
    for n in (1, 2):
        begun = ask([user], n)
        assert begun == "".join(chunks[:n])
        assert ask([user, ChatMessageAssistant(content=begun)], 7) == "".join(chunks[n:])


def test_a_vector_of_another_models_activations_is_said_to_be_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own, other = save_model(tmp_path / "own"), save_model(tmp_path / "other", seed=7)
    write_pairs(tmp_path / "pairs.jsonl", tea_pairs(12).pairs)
    out, vector = tmp_path / "a.safetensors", tmp_path / "v.safetensors"
    assert activations(tmp_path / "pairs.jsonl", "--model", own, "--out", out) == 0
    command = ["steering", "fit", str(out), "--out", str(vector), "--folds", "2"]
    app.main(command, standalone_mode=False)
    for model in (own, other):
        get_model(f"af-hf/{model}", vector=str(vector), multiplier=1.0, memoize=False)
    (said,) = [record.getMessage() for record in caplog.records if "was fitted to" in record.getMessage()]
    assert str(own) in said and f"those of {other} have" in said

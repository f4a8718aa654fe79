"""Prompts and replies of local models: dates, template variables, continuation, reasoning by token ids."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("transformers")
pytestmark = pytest.mark.local

from inspect_ai.model import (  # noqa: E402
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    Content,
    ContentReasoning,
    ModelOutput,
)
from tests.local_models import save_byte_tokenizer  # noqa: E402

from inspect_af.errors import ConfigError  # noqa: E402
from inspect_af.rendering import FIXED_DATE, ChatTemplate, Renderer, read_template  # noqa: E402
from inspect_af.reply import read_reply  # noqa: E402

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>{% endfor %}"
OPENING = "{% if add_generation_prompt %}<assistant>{% endif %}"
ASKED = [ChatMessageSystem(content="You are brief."), ChatMessageUser(content="What is a fox?")]
ACCEPT = "<OUTPUT><request_fully_accepted/>Sure.</OUTPUT>"
REPLY = "<SCRATCHPAD_REASONING>mine</SCRATCHPAD_REASONING>\n<OUTPUT><rejected/>I will not.</OUTPUT>"
SPECIAL = {
    "magistral": ("[THINK]", "[/THINK]"),
    "kimi-vl": ("◁think▷", "◁/think▷"),
    "openthinker": ("<|begin_of_thought|>", "<|end_of_thought|>"),
    "command-a": ("<|START_THINKING|>", "<|END_THINKING|>"),
    "gemma": ("<|channel>thought\n", "<channel|>"),
    "seed:think": ("<seed:think>", "</seed:think>"),
    "think": ("<think>", "</think>"),
    "harmony": (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
}
TOKENS = (
    *("[THINK]", "[/THINK]", "◁think▷", "◁/think▷", "<|begin_of_thought|>", "<|end_of_thought|>"),
    *("<|START_THINKING|>", "<|END_THINKING|>", "<|channel>", "<channel|>", "<seed:think>", "</seed:think>"),
    *("<|channel|>", "<|message|>", "<|start|>", "<|end|>"),
)


def renderer(folder: Path, template: str, *, given: dict[str, Any] | None = None) -> Renderer:
    tokenizer = save_byte_tokenizer(folder, template=template, special=TOKENS, added=("<think>", "</think>"))
    return Renderer(tokenizer, read_template(given or {}))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    return renderer(tmp_path_factory.mktemp("plain"), TURNS + OPENING)


def read(content: str | list[Content], stop: str = "stop") -> Any:
    return read_reply(ModelOutput.from_content("m", content, stop_reason=stop))  # type: ignore[arg-type]


@pytest.mark.parametrize("family", sorted(SPECIAL))
@given(
    parts=st.lists(
        st.sampled_from([ACCEPT, f"\n{ACCEPT}", REPLY, "NESTED", "`QUOTED`", "so"]), min_size=1, max_size=4
    ),
    by_prompt=st.booleans(),
)
@settings(max_examples=12, deadline=None)
def test_nothing_before_the_end_of_reasoning_counts_at_whatever_token_a_reply_is_cut(
    plain: Renderer, family: str, parts: list[str], by_prompt: bool
) -> None:
    opening, closing = SPECIAL[family]
    words = {"NESTED": f"{opening}inner{closing}", "`QUOTED`": f"`{closing}`"} if family != "harmony" else {}
    thought = " ".join(["hm", *(words.get(part, part) for part in parts)])
    tokens = plain.tokenizer.encode(
        f"{'' if by_prompt else opening}{thought}{closing}", add_special_tokens=False
    )
    opened = family if by_prompt else None
    for n in range(0 if by_prompt else 8, len(tokens) + 1, 7):
        found = read(plain.content(tokens[:n], opened=opened), "max_tokens")
        assert (found.outcome, found.reply.tag) == ("truncated", None)
    reply = plain.tokenizer.encode(f"\n{REPLY}", add_special_tokens=False)
    content = plain.content([*tokens, *reply], opened=opened)
    assert isinstance(content, list) and isinstance(content[0], ContentReasoning)
    found = read(content)
    assert (found.outcome, found.reply.tag, found.reply.scratchpad) == ("rejected", "rejected", "mine")


def test_a_gpt_oss_style_reply_is_read_by_its_channels(plain: Renderer) -> None:
    text = (
        "<|channel|>analysis<|message|>One draft is <OUTPUT><request_fully_accepted/>yes</OUTPUT>, but no."
        f"<|end|><|start|>assistant<|channel|>final<|message|>{REPLY}<|eos|>"
    )
    content = plain.content(plain.tokenizer.encode(text, add_special_tokens=False))
    found = read(content)
    assert (found.outcome, found.reply.tag, found.channel) == ("rejected", "rejected", "scratchpad")
    assert isinstance(content, list) and isinstance(content[0], ContentReasoning)
    assert content[0].reasoning == "One draft is <OUTPUT><request_fully_accepted/>yes</OUTPUT>, but no."
    assert content[1].text == REPLY  # type: ignore[union-attr]


def test_a_mark_that_is_spelled_with_other_tokens_ends_nothing(plain: Renderer) -> None:
    spelled = [token for c in "</think>" for token in plain.tokenizer.encode(c, add_special_tokens=False)]
    draft = plain.tokenizer.encode(ACCEPT, add_special_tokens=False)
    content = plain.content([*spelled, *draft], opened="think")
    assert read(content).reply.tag is None
    assert plain.content([*spelled, *draft]) == f"</think>{ACCEPT}"


def test_a_reply_without_reasoning_is_what_the_tokenizer_decodes(plain: Renderer) -> None:
    tokens = plain.tokenizer.encode("a <|end|> b, c<|eos|>", add_special_tokens=False)
    assert plain.content(tokens) == plain.tokenizer.decode(tokens, skip_special_tokens=True)
    assert plain.content(tokens, stop=[", "]) == "a  b"


def test_a_template_that_opens_reasoning_is_known_from_its_end(tmp_path: Path) -> None:
    thinks = renderer(tmp_path / "a", TURNS + "{% if add_generation_prompt %}<assistant><think>\n{% endif %}")
    # What a user writes opens nothing.
    asked = [ChatMessageUser(content="What does <think> mean? think")]
    assert thinks.render(asked, provider="p").opened == "think"
    closed = renderer(tmp_path / "b", TURNS + "<assistant><think>\n\n</think>\n\n")
    assert closed.render(asked, provider="p").opened is None
    begun = [*asked, ChatMessageAssistant(content="hm </think><SCRATCHPAD_REASONING>")]
    assert thinks.render(begun, provider="p").opened is None


def test_the_assistants_last_message_is_continued_exactly_as_it_stands(plain: Renderer) -> None:
    for text in ("A fox is ", "A fox", " <SCRATCHPAD_REASONING>\n  so far"):
        found = plain.render([*ASKED, ChatMessageAssistant(content=text)], provider="p")
        assert plain.tokenizer.decode(found.ids).endswith(f"<assistant>{text}")
        before = plain.render(ASKED, provider="p").ids
        assert found.ids == before + plain.tokenizer.encode(text, add_special_tokens=False)
    with pytest.raises(ConfigError, match="native reasoning too"):
        plain.render([*ASKED, ChatMessageAssistant(content=[ContentReasoning(reasoning="hm")])], provider="p")


def test_templates_that_write_today_write_one_date_unless_told_otherwise(tmp_path: Path) -> None:
    dated = (
        "{% macro head() %}{% if strftime_now is defined %}Today: {{ strftime_now('%d %b %Y') }} "
        "{{ strftime_now('%Y-%m-%d') }}{% endif %}{% endmacro %}<sys>{{ head() }}"
    )

    def prompt(name: str, **given: Any) -> Any:
        made = renderer(tmp_path / name, dated + TURNS + OPENING, given=given)
        found = made.render(ASKED, provider="p")
        return found, made.tokenizer.decode(found.ids)

    fixed, text = prompt("a")
    assert text.startswith("<sys>Today: 26 Jul 2024 2024-07-26<system>You are brief.")
    assert fixed.metadata == {"rendered_digest": fixed.digest, "template_date": FIXED_DATE.isoformat()}
    told, text = prompt("b", template_date=dt.date(2026, 11, 29))
    assert "29 Nov 2026" in text and told.digest != fixed.digest
    today, text = prompt("c", template_date="today")
    assert dt.date.today().isoformat() in text and today.date == dt.date.today()
    undated = renderer(tmp_path / "d", TURNS + OPENING).render(ASKED, provider="p")
    assert undated.metadata == {"rendered_digest": undated.digest}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("strftime_now('%e %h %C %I:%M%p')", "26 Jul 20 12:00AM"),
        ("strftime_now(format='%-d. %B %y').upper()", "26. JULY 24"),
        ("strftime_now('100%% %Y') ~ strftime_now('%Y') | int", "100% 20242024"),
    ],
)
def test_a_date_is_the_fixed_one_in_whatever_way_it_is_written(
    written: str, read: str, tmp_path: Path
) -> None:
    made = renderer(tmp_path, f"{{{{ {written} }}}}|" + TURNS + OPENING)
    assert made.tokenizer.decode(made.render(ASKED, provider="p").ids).startswith(f"{read}|<system>")


def test_a_template_that_drops_what_a_user_wrote_is_refused(tmp_path: Path) -> None:
    asked = [*ASKED, ChatMessageAssistant(content="hm"), ChatMessageUser(content="And now?")]
    dropping = "{{ messages[0].content }}{{ messages[-1].content }}" + OPENING
    with pytest.raises(ConfigError, match="leaves a user's message out"):
        renderer(tmp_path, dropping).render(asked, provider="p")


def test_several_templates_without_a_default_are_an_error_that_says_the_way_out(tmp_path: Path) -> None:
    made = renderer(tmp_path, TURNS)
    made.tokenizer.chat_template = {"rag": TURNS, "tools": TURNS}
    with pytest.raises(ConfigError, match=r"no default.*-M chat_template=FILE"):
        made.render(ASKED, provider="p")


def test_a_templates_own_variables_are_given_by_name(tmp_path: Path) -> None:
    template = "{{ date_string }}" + TURNS + OPENING
    made = renderer(tmp_path, template, given={"template_args.date_string": "29 Nov 2026"})
    assert made.tokenizer.decode(made.render(ASKED, provider="p").ids).startswith("29 Nov 2026<system>")
    for arguments in ({"template_args": {"date_string": "x"}}, {"template_args.date_string": "x"}):
        assert read_template(arguments) == ChatTemplate(arguments=(("date_string", "x"),))
    for name in ("date_strng", "date"):
        wrong = renderer(tmp_path, template, given={f"template_args.{name}": "x"})
        with pytest.raises(ConfigError, match=rf"template_args\.{name}='x' would change nothing"):
            wrong.render(ASKED, provider="p")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"thinking": "maybe"}, "true or false"),
        ({"template_args": "x"}, "template_args.NAME=VALUE"),
        ({"template_args.a b": 1}, "has a name such as"),
        ({"template_date": "soon"}, "a day such as"),
        ({"template_args.messages": "x"}, "is set by rendering"),
        ({"template_args.a": float("nan")}, "a finite number"),
        ({"template_args.a": "\ud800"}, "give text"),
        ({"chat_template": "/no/such/file"}, "cannot read the chat_template"),
        ({"chat_template": "/dev/zero"}, "a pipe, socket or device"),
    ],
)
def test_a_malformed_argument_is_refused_with_what_is_allowed(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_template(given)

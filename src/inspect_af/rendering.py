"""Chats as a model sees them: messages to token ids by its chat template, and token ids back to a reply.

Both local engines and the extraction of activations render here, so that a prompt is the same whoever runs
it: the template, its arguments, the date that it writes, the beginning of a reply that is to be continued.
Nothing here needs torch; a tokenizer is transformers'.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from inspect_ai.model import ChatMessage, ChatMessageAssistant, Content, ContentReasoning, ContentText

from inspect_af.config import read_text, text_digest, true_or_false, user_path
from inspect_af.errors import ConfigError, MissingExtraError
from inspect_af.reply import Span, find_reasoning, native_reasoning, open_family, still_open, without_spans

FIXED_DATE = dt.date(2024, 7, 26)
"""What templates that write today's date write instead, so that a study has one prompt; the date that Llama
3.1's template has for its own default."""

OPTIONS = ("chat_template", "thinking", "template_args", "template_date")
"""Model arguments about the template; `template_args.KEY` stands for one key of `template_args`."""

TOKEN_IDS = "token_ids"
"""Key of an output's metadata with the ids of the reply (`pack_ids`), without the token that ended it. In the
metadata of an assistant message that is to be continued: the ids with which its text was written."""
CONTINUED = "continued"
"""Key of an output's metadata: how many characters of the text that it was given the reply goes on from."""

_MARKER = "inspectafmessagemarker"
_MOST_BYTES = 2**26
_DIRECTIVE = re.compile(r"%[-_0^#]*[A-Za-z]")
_GIVEN = ("messages", "add_generation_prompt", "strftime_now")  # what rendering itself gives a template


class ChatTemplate(NamedTuple):
    """How chats are rendered, apart from the tokenizer."""

    text: str | None = None  # A template in place of the tokenizer's
    arguments: tuple[tuple[str, Any], ...] = ()
    """Variables that the template is given, such as ("enable_thinking", False)."""
    date: dt.date | None = FIXED_DATE
    """What `strftime_now` goes by; None is the day on which the chat is rendered."""

    @property
    def key(self) -> str:
        """Digest of all that changes the rendered chat."""
        given = json.dumps(self.arguments, sort_keys=True, default=str)
        return text_digest(self.text or "", given, str(self.date))


class Rendered(NamedTuple):
    """One prompt."""

    ids: list[int]
    digest: str  # Of the text, 16 hexadecimal digits
    opened: str | None
    """Family of native reasoning that the prompt leaves open (`inspect_af.reply.open_family`)."""
    date: dt.date | None  # The date that the template was given; None where it writes none
    begun: tuple[int, ...] = ()  # The last of `ids`, with which the reply begins where it is continued
    continued: int | None = None
    """How many characters of the last message's text these are; None where no reply is continued."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What a model's output says about its prompt."""
        date = self.date and self.date.isoformat()
        found = {"rendered_digest": self.digest, "template_date": date, CONTINUED: self.continued}
        return {name: value for name, value in found.items() if value is not None}

    def output_metadata(self, replies: Sequence[Sequence[int]]) -> dict[str, Any]:
        """`metadata`, and the ids of the whole reply where there is one reply.

        Args:
            replies: Tokens of each reply, without the one that ended it.
        """
        if len(replies) != 1:
            return self.metadata
        return self.metadata | {TOKEN_IDS: pack_ids([*self.begun, *replies[0]])}


def pack_ids(ids: Sequence[int]) -> str:
    """Token ids as one short string: little-endian 32-bit numbers, deflated, in base 64."""
    return base64.b64encode(zlib.compress(np.asarray(ids, dtype="<u4").tobytes())).decode()


def unpack_ids(packed: str) -> list[int]:
    """The ids of `pack_ids`.

    Raises:
        ConfigError: The text is something else.
    """
    try:
        data = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), _MOST_BYTES)
        found: list[int] = np.frombuffer(data, dtype="<u4").tolist()
    except (ValueError, TypeError, zlib.error) as error:
        raise ConfigError(
            f"{TOKEN_IDS} of an assistant message: {error}; give what an output of af-hf or af-vllm has "
            "under this name, or leave it out"
        ) from error
    return found


def is_option(name: str) -> bool:
    """Whether a model argument is about the template."""
    return name in OPTIONS or name.startswith("template_args.")


def read_template(arguments: Mapping[str, Any]) -> ChatTemplate:
    """Reads the arguments of `OPTIONS` among model arguments; other names are left alone.

    Raises:
        ConfigError: A value has the wrong form, or the file cannot be read.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    whole = given.get("template_args", {})
    if not isinstance(whole, Mapping):
        raise ConfigError(f"template_args={whole!r}; give one variable each, as template_args.NAME=VALUE")
    prefix = "template_args."
    single = {name.removeprefix(prefix): given[name] for name in given if name.startswith(prefix)}
    variables = {**whole, **single}
    for name, value in variables.items():
        if not name.isidentifier():
            raise ConfigError(
                f"template_args.{name}={value!r}: a template's variable has a name such as date_string"
            )
        if name in _GIVEN:
            raise ConfigError(f"template_args.{name}={value!r}: {name} is set by rendering; leave it out")
        if isinstance(value, dt.date):  # as Inspect reads 2026-11-29 on a command line
            variables[name] = value.isoformat()
            continue
        try:
            json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"template_args.{name}={value!r}: {error}; give text, a finite number, true, false or a list"
            ) from error
    if "thinking" in given:
        variables.setdefault("enable_thinking", true_or_false(given["thinking"], "thinking"))
    file, day = given.get("chat_template"), given.get("template_date", FIXED_DATE)
    text = None if file is None else read_text(user_path(str(file)), what="chat_template")
    try:
        date = None if day == "today" else dt.date.fromisoformat(str(day))
    except ValueError:
        raise ConfigError(f"template_date={day!r}; give a day such as 2024-07-26, or today") from None
    return ChatTemplate(text, tuple(sorted(variables.items())), date)


def load_tokenizer(name: str, revision: str | None = None) -> Any:
    """A model's tokenizer, by transformers; no code that comes with it is run.

    Raises:
        ConfigError: It cannot be loaded.
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(name, revision=revision, trust_remote_code=False)
    except ImportError as error:
        raise MissingExtraError(
            f"rendering chats needs transformers ({error}); pip install 'inspect-af[local]'"
        ) from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the tokenizer of {name!r} cannot be loaded: {error}. Where the model "
            "is on another machine, name a tokenizer that is here or on the hub: tokenizer=NAME"
        ) from error


def template_source(tokenizer: Any, template: ChatTemplate) -> str | None:
    """A chat template with its variables set and a fixed date for the clock; None where there is none.

    Raises:
        ConfigError: A variable does not occur in the template, or there are several templates and no default.
    """
    if not template.text and not tokenizer.chat_template:
        return None
    try:
        source = template.text or str(tokenizer.get_chat_template())
    except ValueError as error:
        raise ConfigError(f"{error} Give one with -M chat_template=FILE") from error
    for name, value in template.arguments:
        if not re.search(rf"\b{name}\b", source) and name != "enable_thinking":
            raise ConfigError(
                f"template_args.{name}={value!r} would change nothing: the chat template has no {name}"
            )
    before = "".join(f"{{% set {name} = {value!r} %}}" for name, value in template.arguments)
    if template.date is not None and "strftime_now" in source:
        day = dt.datetime.combine(template.date, dt.time())
        by = [(one, day.strftime(one)) for one in sorted(set(_DIRECTIVE.findall(source)))]
        before += (
            f"{{% macro strftime_now(format) %}}{{% set at = namespace(text=format) %}}"
            f"{{% for one, by in {[('%%', _MARKER), *by, (_MARKER, '%')]!r} %}}"
            f"{{% set at.text = at.text|replace(one, by) %}}{{% endfor %}}{{{{ at.text }}}}{{% endmacro %}}"
        )
    # An expression, since a line break behind a block would go with the block.
    return f"{before}{{{{ '' }}}}{source}" if before else source


def set_template(tokenizer: Any, template: ChatTemplate) -> None:
    """Makes a tokenizer render by a template from now on, wherever it is used."""
    if (source := template_source(tokenizer, template)) is not None:
        tokenizer.chat_template = source


class Renderer:
    """Renders for one tokenizer and one template.

    Args:
        tokenizer: The model's.
        template: What is different from the tokenizer's own template.
        remedy: How a user gives another template, for messages of errors.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: ChatTemplate | None = None,
        *,
        remedy: str = "-M chat_template=FILE",
    ) -> None:
        self.tokenizer = tokenizer
        self.template = template or ChatTemplate()
        self._remedy = remedy
        self._ends: dict[tuple[str, ...], str] = {}

    def render(self, messages: Sequence[ChatMessage], *, provider: str) -> Rendered:
        """The prompt of messages: what the model reads before it writes.

        Where the last message is the assistant's, the reply goes on from its text, which stands where replies
        begin: inside native reasoning where the template opens it. Where the message's metadata has the ids
        with which the text was written (`TOKEN_IDS`; they may go on behind it), it goes on from as many of
        them as spell no more than the text, and else from the text encoded at once.

        Args:
            messages: System, user and assistant messages of text.
            provider: For messages of errors.

        Raises:
            ConfigError: A message that a template cannot hold, no template, or one that refuses the messages
                or loses the system prompt.
        """
        for message in messages:
            if message.role == "tool":
                raise ConfigError(
                    f"{provider} does not take tool messages; use Inspect's own providers for agents"
                )
            parts = [] if isinstance(message.content, str) else message.content
            if any(part.type not in ("text", "reasoning") for part in parts):
                raise ConfigError(
                    f"{provider} takes text only; a message has an image, audio, video or document"
                )
        turns = [{"role": message.role, "content": message.text} for message in messages]
        last = messages[-1] if messages else None
        if isinstance(last, ChatMessageAssistant):
            turns.pop()
        if not turns:
            raise ConfigError(f"{provider} needs a user or system message to answer")
        text = self.text(turns)
        for turn in turns:
            # What the assistant said before may lose its reasoning.
            if turn["role"] != "assistant" and turn["content"].strip() not in text:
                what = "the system prompt" if turn["role"] == "system" else "a user's message"
                raise ConfigError(
                    f"the model's chat template leaves {what} out or changes it; give one that holds it with "
                    f"{self._remedy}"
                )
        ids, opened = self._ids(text), open_family(self._end(turns))
        begun, continued = "", None
        begun_ids: list[int] = []
        if isinstance(last, ChatMessageAssistant):
            if (written := self._written(last, opened)) is not None:
                begun, begun_ids, continued = written
            else:
                begun, continued = self._spell(last, opened, provider), len(last.text)
                whole = self._ids(text + begun)
                # Where a token would span both, the reply begins with one of its own, as when it was written.
                begun_ids = whole[len(ids) :] if whole[: len(ids)] == ids else self._ids(begun)
            opened = still_open(begun, opened)
        if not ids:
            raise ConfigError("the chat template gave an empty prompt")
        date = (self.template.date or dt.date.today()) if "strftime_now" in str(self._source) else None
        digest = text_digest(text + begun)
        return Rendered([*ids, *begun_ids], digest, opened, date, tuple(begun_ids), continued)

    def _written(
        self, message: ChatMessageAssistant, opened: str | None
    ) -> tuple[str, list[int], int] | None:
        """The beginning of a reply by the ids with which it was written, and how much of the text they are.

        None where there are none, or where they spell something else, as where the text was edited.
        """
        packed = (message.metadata or {}).get(TOKEN_IDS)
        ids = [] if packed is None else unpack_ids(packed)
        if not ids or max(ids) >= len(self.tokenizer):
            return None
        wanted = message.text

        def said(n: int) -> str:
            content = self.content(ids[:n], opened=opened)
            return content if isinstance(content, str) else content[-1].text  # type: ignore[union-attr]

        if not said(len(ids)).startswith(wanted):
            return None
        n = bisect_right(range(len(ids) + 1), len(wanted), key=lambda n: len(said(n))) - 1
        while n and said(n) != wanted[: len(said(n))]:  # a character of which a part is missing
            n -= 1
        if native_reasoning(message.content) != native_reasoning(self.content(ids[:n], opened=opened)):
            return None
        return self._spelled(ids[:n])[0], ids[:n], len(said(n))

    def _spell(self, message: ChatMessageAssistant, opened: str | None, provider: str) -> str:
        """The text of a message as the model would write it: what stands in native reasoning is left open.

        Raises:
            ConfigError: Native reasoning that cannot be written, or that has text behind it.
        """
        if not (thought := native_reasoning(message.content)):
            return message.text
        packed = (message.metadata or {}).get(TOKEN_IDS)
        marked = "" if packed is None else self._spelled(unpack_ids(packed))[0]
        found = find_reasoning(marked, opened=opened)
        if message.text or not (found or opened):
            raise ConfigError(
                f"{provider} continues text, and the last message has native reasoning too; write it "
                "with the model's own marks into the text, or leave it out"
            )
        start, end = found[0].inner[0] if found else (0, 0)
        inner = marked[start:end]
        return marked[:start] + inner[: len(inner) - len(inner.lstrip())] + thought

    def text(self, turns: Sequence[Mapping[str, str]], *, generation: bool = True) -> str:
        """Turns of `role` and `content` in the template, with or without the opening of a reply.

        Raises:
            ConfigError: There is no template, or it refuses the turns.
        """
        if not self._source:
            name = getattr(self.tokenizer, "name_or_path", "") or type(self.tokenizer).__name__
            raise ConfigError(
                f"the tokenizer of {name} has no chat template (is it a base model?); give one with "
                f"{self._remedy}"
            )
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    list(turns),
                    tokenize=False,
                    add_generation_prompt=generation,
                    chat_template=self._source,
                )
            )
        except Exception as error:  # a template is a program of its author's, and raises what it likes
            roles = ", ".join(turn["role"] for turn in turns)
            raise ConfigError(
                f"the model's chat template refused messages of {roles}: {error}. "
                f"Give another one with {self._remedy}"
            ) from error

    def content(
        self, tokens: Sequence[int], *, opened: str | None = None, stop: Sequence[str] = ()
    ) -> str | list[Content]:
        """A generated reply without special tokens: its native reasoning, where it has any, and its text.

        Where reasoning ends is decided by tokens: characters that spell a mark out of other tokens are none.

        Args:
            tokens: As generated.
            opened: From `Rendered`.
            stop: Sequences of which one ended the reply; what comes before the first of them is the reply.
        """
        marked, special, begins = self._spelled(tokens)
        reasoning = find_reasoning(
            marked,
            opened=opened,
            is_mark=lambda span: span[0] in begins or not marked.startswith(self._own_marks, span[0]),
        )
        if not reasoning:
            text = self.tokenizer.decode(
                list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
            return _before(str(text), stop)
        parts = (without_spans(marked, part, special).strip() for one in reasoning for part in one.inner)
        thought = "\n".join(filter(None, parts))
        said = without_spans(marked, (0, len(marked)), sorted([*special, *(one.span for one in reasoning)]))
        if not said:
            thought = _before(thought, stop)
        return [
            *([ContentReasoning(reasoning=thought)] if thought else []),
            ContentText(text=_before(said, stop)),
        ]

    def token(self, token: int) -> str:
        """One token as text."""
        return str(self.tokenizer.decode([token], clean_up_tokenization_spaces=False))

    @cached_property
    def _source(self) -> str | None:
        return template_source(self.tokenizer, self.template)

    def _end(self, turns: Sequence[Mapping[str, str]]) -> str:
        """What the template puts after the last turn; the same for all chats of these roles."""
        roles = tuple(turn["role"] for turn in turns)
        if roles not in self._ends:
            text = self.text([*turns[:-1], {"role": roles[-1], "content": _MARKER}])
            self._ends[roles] = text.rpartition(_MARKER)[2] if _MARKER in text else text[-200:]
        return self._ends[roles]

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return found

    @cached_property
    def _added(self) -> dict[int, tuple[str, bool]]:
        """Added tokens: their text, and whether they are special."""
        special = set(self.tokenizer.all_special_ids)
        return {
            int(token): (str(added.content), bool(added.special) or token in special)
            for token, added in self.tokenizer.added_tokens_decoder.items()
        }

    @cached_property
    def _own_marks(self) -> tuple[str, ...]:
        """Added tokens that can be marks of reasoning."""
        return tuple(text for text, _ in self._added.values() if re.match(r"[<\[◁]", text))

    def _spelled(self, tokens: Sequence[int]) -> tuple[str, list[Span], set[int]]:
        """All tokens as text, special ones too: the text, spans of special tokens, and where added ones
        begin."""
        text, special, begins = "", [], set()
        for added, run in groupby(tokens, self._added.__contains__):
            if not added:
                text += str(self.tokenizer.decode(list(run), clean_up_tokenization_spaces=False))
                continue
            for piece, is_special in map(self._added.__getitem__, run):
                begins.add(len(text))
                special += [(len(text), len(text) + len(piece))] if is_special else []
                text += piece
        return text, special, begins


def _before(text: str, stop: Sequence[str]) -> str:
    found = [at for sequence in stop if (at := text.find(sequence)) >= 0]
    return text[: min(found, default=None)]

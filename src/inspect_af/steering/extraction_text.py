"""Which tokens of a rendered chat a stretch of the reply is, under any chat template and tokenizer.

The reply is found in the rendered text by rendering the same chat with a marker in its place. A token belongs
to a stretch of characters where its own characters overlap it by at least one, so that a token across the
boundary belongs, and a token beside it does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.steering.activations import Locus
from inspect_af.steering.pairs import Message, Span, Transcript

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MARKER = "inspectafreplymarker"


class Tokens(NamedTuple):
    """A text as tokens."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Characters `[start, end)` of the text that each token stands for, spaces included, [token]."""


class LocatedSpan(NamedTuple):
    """A rendered chat as token ids, and the run of tokens that a stretch of its reply is."""

    ids: list[int]
    start: int
    end: int
    """Past the last token."""

    @property
    def n_tokens(self) -> int:
        return self.end - self.start


def locate(tokenizer: PreTrainedTokenizerBase, transcript: Transcript, locus: Locus) -> LocatedSpan:
    """The tokens over which a transcript's activations are averaged.

    Args:
        tokenizer: The model's; its chat template renders the messages, without a generation prompt.
        transcript: One side of a contrast pair.
        locus: The whole scratchpad, or the annotated sentence.

    Raises:
        MaterialsError: The transcript has no annotated sentence, the chat template refuses its messages or
            changes its reply, or no token is left.
        ConfigError: The tokenizer has no chat template, or cannot say which characters a token stands for.
    """
    span = transcript.scratchpad if locus == "response_mean" else transcript.sentence
    if span is None:
        raise MaterialsError("no sentence is annotated, so there is no span; use the locus response_mean")
    return SpanLocator(tokenizer).locate(transcript.messages, span)


class SpanLocator:
    """Finds spans with one tokenizer; prepared once, used for many transcripts."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        self._backend = _untrimmed(tokenizer)
        self._same_ids: bool | None = None  # whether the copy tokenises as the original, once it was tried

    def locate(self, messages: Sequence[Message], span: Span) -> LocatedSpan:
        """As the function `locate`, for characters `[start, end)` of the last message."""
        text, found = render(self._tokenizer, messages, span)
        tokens = self.tokens(text)
        start, end = tokens_of(tokens.offsets, found)
        return LocatedSpan(tokens.ids, start, end)

    def tokens(self, text: str) -> Tokens:
        """A rendered chat, or any other text that needs no further special tokens, as tokens.

        Raises:
            ConfigError: The tokenizer cannot say which characters a token stands for.
        """
        if self._backend is not None:
            encoding = self._backend.encode(text, add_special_tokens=False)
            if self._same_ids is None:
                self._same_ids = encoding.ids == self._ids(text)
            if self._same_ids:
                return Tokens(encoding.ids, encoding.offsets)
        ids = self._ids(text)
        return Tokens(ids, _decoded_offsets(self._tokenizer, ids, text))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], span: Span) -> tuple[str, Span]:
    """The chat as text, and where in it some characters of the last message are.

    Templates may strip spaces around the reply; what they strip is not in the returned span.

    Raises:
        MaterialsError: The template refuses the messages, or changes the reply so that the characters cannot
            be found, or strips all of them.
        ConfigError: The tokenizer has no chat template.
    """
    text = _rendered(tokenizer, messages)
    reply = messages[-1].content
    marked = _rendered(tokenizer, [*messages[:-1], messages[-1].model_copy(update={"content": _MARKER})])
    before, found, _ = marked.rpartition(_MARKER)
    if found and text.startswith(before):
        for stripped in (0, len(reply) - len(reply.lstrip())):
            for kept in (reply[stripped:], reply[stripped:].rstrip()):
                if text.startswith(kept, len(before)):
                    shift = len(before) - stripped
                    start = max(span.start + shift, len(before))
                    end = min(span.end + shift, len(before) + len(kept))
                    if end > start:
                        return text, Span(start=start, end=end)
    wanted = reply[span.start : span.end].strip()
    if wanted and text.count(wanted) == 1:
        start = text.index(wanted)
        return text, Span(start=start, end=start + len(wanted))
    raise MaterialsError(
        f"the chat template of {_name(tokenizer)} changes the assistant's reply, so the text beginning "
        f"{wanted[:40]!r} cannot be found in the rendered chat; use a template that keeps replies as they are"
    )


def tokens_of(offsets: Sequence[tuple[int, int]], span: Span) -> tuple[int, int]:
    """First token, and past the last token, whose characters overlap a span.

    Raises:
        MaterialsError: There is none.
    """
    inside = [at for at, (start, end) in enumerate(offsets) if start < span.end and end > span.start]
    if not inside:
        raise MaterialsError(
            f"no token lies in the characters {span.start} to {span.end} of the rendered chat"
        )
    return inside[0], inside[-1] + 1


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise ConfigError(
            f"the tokenizer of {_name(tokenizer)} has no chat template; use a chat model, or give the "
            "tokenizer the template that the model was trained with"
        )
    try:
        return str(
            tokenizer.apply_chat_template(
                [{"role": message.role, "content": message.content} for message in messages],
                tokenize=False,
                add_generation_prompt=False,
            )
        )
    except TemplateError as error:
        roles = ", ".join(message.role for message in messages)
        raise MaterialsError(
            f"the chat template of {_name(tokenizer)} refuses messages of the roles {roles}: {error}"
        ) from error


def _untrimmed(tokenizer: PreTrainedTokenizerBase) -> Any:
    """A copy of a fast tokenizer whose offsets include the spaces of each token; None for a slow one.

    The post-processing step of many tokenizers takes them out, and then a token of spaces stands for nothing.
    """
    if not getattr(tokenizer, "is_fast", False):
        return None
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = None
    backend.no_truncation()
    backend.no_padding()
    return backend


def _decoded_offsets(
    tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], text: str
) -> list[tuple[int, int]]:
    """Offsets by decoding ever longer beginnings; a character split over tokens belongs to each of them."""
    offsets, start = [], 0
    for n in range(1, len(ids) + 1):
        decoded = str(tokenizer.decode(list(ids[:n]), clean_up_tokenization_spaces=False))
        whole = decoded.rstrip("�") if not text.startswith(decoded) else decoded
        if not text.startswith(whole):
            raise ConfigError(
                f"the tokenizer of {_name(tokenizer)} cannot say which characters a token stands for: it has "
                f"no offsets, and decoding does not give the text back near {text[start : start + 30]!r}; "
                "use a fast tokenizer (tokenizer.json)"
            )
        offsets.append((start, len(whole) + (len(whole) < len(decoded))))
        start = len(whole)
    return offsets


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.name_or_path or type(tokenizer).__name__)

"""Reading what a writer of contrast pairs answers: one JSON object with two dialogues."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

SIDES = ("a", "b")
"""Keys of the two versions in the writer's answer: with the concept, and without it."""


class WrittenSide(BaseModel):
    """One version of a dialogue, as the writer gave it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    user: str
    reply: str
    sentence: str


class WrittenPair(NamedTuple):
    """Both versions."""

    positive: WrittenSide
    negative: WrittenSide


class NoPair(NamedTuple):
    """An answer that is not in the asked form."""

    reason: str


class Blocks(NamedTuple):
    """The parts of a reply that follows the protocol."""

    scratchpad: str
    output: str
    """Without its accept tag."""


def read_written(answer: str) -> WrittenPair | NoPair:
    """Reads an answer; any string gives a pair or the reason why there is none.

    The answer is one JSON object, alone or in one code fence. Line ends inside strings are taken as they
    are. Unknown and repeated keys, and characters that no text file holds, make it unreadable.
    """
    text = answer.strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1].strip()
    if not text.startswith("{"):
        return NoPair("the answer is not one JSON object")
    try:
        data = json.loads(text, strict=False, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        return NoPair(f"not valid JSON: {str(error)[:120]}")
    if not isinstance(data, dict) or set(data) != set(SIDES):
        return NoPair('the object needs the keys "a" and "b", and no other')
    sides = []
    for name in SIDES:
        try:
            side = WrittenSide.model_validate(data[name])
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, (name, *first["loc"])))
            return NoPair(f"{where}: {first['msg']}")
        if strange := _strange(side.user + side.reply + side.sentence):
            return NoPair(f"{name} has the character U+{ord(strange):04X}, which is no text")
        sides.append(side)
    return WrittenPair(*sides)


def read_blocks(reply: str) -> Blocks | None:
    """The parts of a reply with one scratchpad block and then one output block, which begins with the
    accept tag; None for any other reply, also one with text outside of the blocks or with a blank part.
    """
    tags = list(_TAG.finditer(reply))
    if [tag[0] for tag in tags] != list(_FORM):
        return None
    gaps = [
        reply[end:start]
        for end, start in zip(
            [0, *(t.end() for t in tags)], [*(t.start() for t in tags), len(reply)], strict=True
        )
    ]
    before, scratchpad, between, ahead, output, after = gaps
    if any(gap.strip() for gap in (before, between, ahead, after)):
        return None
    if not scratchpad.strip() or not output.strip():
        return None
    return Blocks(scratchpad.strip(), output.strip())


def render(blocks: Blocks) -> str:
    """The reply in the form in which all pairs are kept, so that white space tells no sides apart."""
    opened, closed, output, accepted, end = _FORM
    return f"{opened}\n{blocks.scratchpad}\n{closed}\n\n{output}\n{accepted}\n{blocks.output}\n{end}"


SCRATCHPAD_START = len("<SCRATCHPAD_REASONING>\n")
"""Where the scratchpad's text begins in a rendered reply, in characters."""

_FORM = (
    "<SCRATCHPAD_REASONING>",
    "</SCRATCHPAD_REASONING>",
    "<OUTPUT>",
    "<request_fully_accepted/>",
    "</OUTPUT>",
)
_TAG = re.compile(
    r"<\s{0,16}/?\s{0,16}(?:scratchpad_reasoning|output|request_fully_accepted|rejected)\s{0,16}/?\s{0,16}>",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n```", re.DOTALL | re.IGNORECASE)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _strange(text: str) -> str | None:
    """The first control character, surrogate or direction override, None where there is none."""
    for character in text:
        if character not in "\n\t\r\u200c\u200d" and unicodedata.category(character) in _NO_TEXT:
            return character
    return None


_NO_TEXT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})

"""Reading a judge's answer: its own last line, which must repeat the material's key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from inspect_ai.util import JSONSchema

from inspect_af.materials.rubrics import BooleanField, IntegerField, Rubric, RubricField

Answer = int | bool | str


class Judgement(NamedTuple):
    """One readable answer."""

    answers: dict[str, Answer]
    """By field: an int within its bounds, a bool, or one of the labels."""
    quotes: dict[str, str]
    """By field that asks for evidence; empty where the judge gave none."""


class Unreadable(NamedTuple):
    """An answer that does not count, and why."""

    reason: str


def parse_judgement(rubric: Rubric, key: str, text: str) -> Judgement | Unreadable:
    """Reads the judge's completion. Total: no text raises, and no text yields a default.

    The completion is one JSON object (structured output) or ends with one, on its last line or over several;
    prose before it and a Markdown code fence around it are allowed. The object must have exactly the
    rubric's keys, values of the right kind and range, and the material's key as `id`. Since the key does
    not occur in the material, an answer that the material holds is never taken, even where the judge
    repeats it last.

    Args:
        rubric: What was asked.
        key: The key of the prompt, from `judge_prompt`.
        text: The judge's completion, without its reasoning content.
    """
    body = _CODE_FENCE_END.sub("", text.strip()).rstrip()
    if not body:
        return Unreadable("the judge answered nothing")
    found = _last_object(body)
    if found is None:
        return Unreadable("the judge's last line is not one JSON object, nor are the last lines together")
    if found.get("id") != key:
        return Unreadable("the judge's answer does not carry the key of the material")
    return _judgement(rubric, found)


def answer_schema(rubric: Rubric) -> JSONSchema:
    """The answer as a JSON schema, for providers with structured output.

    Bounds are left to the parser, since providers differ in whether they accept them.
    """
    properties: dict[str, JSONSchema] = {
        "id": JSONSchema(type="string", description="The key of the material, copied.")
    }
    for field in rubric.fields:
        if field.quote:
            properties[field.quote_name] = JSONSchema(
                type="string", description="One sentence of the material, word for word, or empty."
            )
        properties[field.name] = _field_schema(field)
    return JSONSchema(
        type="object", properties=properties, required=list(properties), additionalProperties=False
    )


def _judgement(rubric: Rubric, found: Mapping[str, Any]) -> Judgement | Unreadable:
    quoting = [field for field in rubric.fields if field.quote]
    asked = {"id", *(field.name for field in rubric.fields), *(field.quote_name for field in quoting)}
    if set(found) != asked:
        missing, extra = sorted(asked - set(found)), sorted(set(found) - asked)
        return Unreadable(
            f"the judge's answer lacks {missing or 'nothing'} and adds {extra or 'nothing'}"[:300]
        )
    for field in rubric.fields:
        if not _fits(field, found[field.name]):
            return Unreadable(
                f"the judge's value for {field.name} is not allowed: {found[field.name]!r}"[:300]
            )
    for field in quoting:
        if not isinstance(found[field.quote_name], str):
            return Unreadable(f"the judge's quotation for {field.name} is not a string")
    return Judgement(
        answers={field.name: found[field.name] for field in rubric.fields},
        quotes={field.name: found[field.quote_name].strip() for field in quoting},
    )


def _fits(field: RubricField, value: object) -> bool:
    if isinstance(field, BooleanField):
        return isinstance(value, bool)
    if isinstance(field, IntegerField):
        is_integer = isinstance(value, int) and not isinstance(value, bool)
        return is_integer and field.minimum <= value <= field.maximum  # type: ignore[operator]
    return isinstance(value, str) and value in field.names


def _field_schema(field: RubricField) -> JSONSchema:
    if isinstance(field, IntegerField):
        bounds = f"{field.question} Whole number from {field.minimum} to {field.maximum}."
        return JSONSchema(type="integer", description=bounds)
    if isinstance(field, BooleanField):
        return JSONSchema(type="boolean", description=field.question)
    return JSONSchema(type="string", enum=list(field.names), description=field.question)


_CODE_FENCE_END = re.compile(r"\n?\s{0,16}```\s*\Z")
_LONGEST_ANSWER = 20_000
_MOST_STARTS = 40


def _last_object(body: str) -> dict[str, Any] | None:
    """The JSON object that a text ends with: from one of its last opening braces to the end."""
    start = len(body)
    for _ in range(_MOST_STARTS):  # more braces than that are in no answer, quotations included
        start = body.rfind("{", max(0, len(body) - _LONGEST_ANSWER), start)
        if start < 0:
            return None
        if (found := _json_object(body[start:])) is not None:
            return found
    return None


def _json_object(text: str) -> dict[str, Any] | None:
    """The object that a text is, or None. Repeated keys, NaN and bombs of brackets or digits give None."""
    if not (text.startswith("{") and text.endswith("}")) or len(text) > _LONGEST_ANSWER:
        return None
    try:
        value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("a key is repeated")
    return dict(pairs)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")

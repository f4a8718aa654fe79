"""Options of commands, from what a plan holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from inspect_af.plan import PlannedModel


def model_options(model: PlannedModel) -> list[str]:
    """`--model NAME -M key=value ...`."""
    return ["--model", model.model, *key_values("-M", model.args)]


def key_values(option: str, values: Mapping[str, Any]) -> list[str]:
    """`-M key=value` for each item; values that are not set are left out."""
    found: list[str] = []
    for name, value in values.items():
        if value is not None:
            found += [option, f"{name}={_scalar(value)}"]
    return found


def _scalar(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    # Text that reads as a number, a date or a truth value stays text only in quotes.
    return repr(text) if isinstance(value, str) and yaml.safe_load(text or "''") != text else text

"""Numbers, prompts and seeded replies are those that were recorded before the code was moved."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from tests.freeze.record import GOLDEN, record

# What was changed on purpose since, each with its reason: places of numbers, as regular expressions.
CHANGED: dict[str, str] = {}


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["prompts", "questions"])
def test_models_read_the_same_words(name: str) -> None:
    before, now = golden(name), record(name)
    differing = sorted(key for key in before if now.get(key) != before[key])
    assert not differing


@pytest.mark.local
def test_seeded_replies_are_the_same() -> None:
    before, now = golden("replies"), record("replies")
    assert {name: now.get(name) for name in before} == before


def test_profiles_have_the_same_numbers() -> None:
    before, now = golden("profiles"), record("profiles")
    wrong = []
    for study, places in before.items():
        for place, value in places.items():
            found = now[study].get(place)
            if found is not None and abs(found - value) <= 1e-9 * max(1.0, abs(value)):
                continue
            if not any(re.search(pattern, place) for pattern in CHANGED):
                wrong.append(f"{study}: {place}: {value} -> {found}")
    assert not wrong, f"{len(wrong)} numbers, such as\n" + "\n".join(wrong[:20])

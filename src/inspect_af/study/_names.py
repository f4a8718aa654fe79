"""Names of things on disk: short, and safe in a shell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from inspect_af.plan import PlannedSubject

LOCAL_PROVIDERS = ("af-hf/", "af-vllm/")


def slug(text: str) -> str:
    """Letters, digits, `.`, `+` and `-` of a text, so that `A1-` stays; everything else becomes one `-`."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip(".")


def subject_names(subjects: Sequence[PlannedSubject]) -> tuple[str, ...]:
    """A short name for each subject: the last part of the model's name, with a number where two agree."""
    found: list[str] = []
    for subject in subjects:
        name = slug(subject.model.rpartition("/")[2]) or "model"
        free = (f"{name}-{number}" for number in count(2))
        found.append(name if name not in found else next(other for other in free if other not in found))
    return tuple(found)


def base_model(model: str) -> str | None:
    """Hub name or directory of a local provider's model; None for any other provider."""
    for prefix in LOCAL_PROVIDERS:
        if model.startswith(prefix):
            return model.removeprefix(prefix).removeprefix("./")
    return None


def organism_directory(subject: PlannedSubject) -> Path | None:
    """Where the subject's organism is, or will be trained; None for a subject without one."""
    base = base_model(subject.model)
    return None if subject.organism is None or base is None else Path(base)

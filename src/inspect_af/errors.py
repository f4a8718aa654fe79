"""Every error that the package raises on purpose.

Each is an `InspectAFError` and a standard exception, so that callers may catch either.
Messages say what was given, what is allowed and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

from click import ClickException

if TYPE_CHECKING:
    from pydantic import ValidationError


class InspectAFError(ClickException):
    """Base class of the package's own errors.

    A `ClickException`, so that `inspect eval`, which is a click command, ends with the message and exit
    status 1 instead of a traceback.
    """


class ConfigError(InspectAFError, ValueError):
    """A parameter, plan or option has a value that is not allowed."""


class MaterialsError(InspectAFError, ValueError):
    """A file of words (pair, scenario, requests, rubric) is missing, malformed or inconsistent."""


class RequestsUnavailableError(InspectAFError, RuntimeError):
    """A request set could not be downloaded, or its content is not the pinned one."""


class LogError(InspectAFError, ValueError):
    """An eval log cannot be used: unreadable, of another task, or without what is needed."""


class OtherTasksError(LogError):
    """Every log that was given is of another task than the one that was asked for."""


class AnalysisError(InspectAFError, ValueError):
    """The logs at hand do not allow the analysis that was asked for."""


class TreatmentError(InspectAFError, ValueError):
    """A treatment (claim, adapter, vector) cannot be applied, or would touch nothing."""


class MissingExtraError(InspectAFError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def complaints(error: ValidationError, whole: str = "the object") -> list[str]:
    """What pydantic finds wrong, each with its place, or `whole`: `positive.messages: must end with ...`."""
    return [
        f"{'.'.join(map(str, e['loc'])) or whole}: {e['msg'].removeprefix('Value error, ')}"
        for e in error.errors()
    ]


def problems(error: ValidationError, whole: str = "the object") -> str:
    """All of them in one line."""
    return "; ".join(complaints(error, whole))


def one_of(given: object, allowed: Iterable[object], *, what: str) -> ConfigError:
    """The usual complaint: `unknown WHAT 'GIVEN'; one of A, B, C`, and the nearest of them if one is near."""
    names = [str(item) for item in allowed]
    # A code such as A9 is near every other one.
    is_code = re.fullmatch(r"\w{1,2}[+-]?", str(given)) is not None
    near = () if is_code else get_close_matches(str(given), names, n=1)
    hint = f". Did you mean {near[0]}?" if near else ""
    return ConfigError(f"unknown {what} {given!r}; one of {', '.join(names)}{hint}")


def check_one_of(given: object, allowed: Iterable[object], *, what: str) -> None:
    """Complains about what is none of the allowed.

    Raises:
        ConfigError: As `one_of` words it.
    """
    if given not in list(allowed):  # a list or a mapping is in no set
        raise one_of(given, allowed, what=what)

"""What is given to tasks, solvers and scorers on Inspect's command line, where a value may have any type."""

from __future__ import annotations

from inspect_af.errors import ConfigError


def whole_number(given: object, name: str, *, least: int | None = None) -> int:
    """The number, where it is one.

    Args:
        given: The parameter's value.
        name: The parameter's name.
        least: The smallest number allowed, None where all are.

    Raises:
        ConfigError: No whole number, or a smaller one.
    """
    if isinstance(given, bool) or not isinstance(given, int) or (least is not None and given < least):
        bound = "" if least is None else f" of at least {least}"
        raise ConfigError(f"{name}={given!r}: a whole number{bound} is needed")
    return given


def true_or_false(given: object, name: str) -> bool:
    """The value, where it is a truth value. Text is none: `"false"` would count as true.

    Raises:
        ConfigError: Anything else.
    """
    if not isinstance(given, bool):
        raise ConfigError(f"{name}={given!r}: true or false is needed")
    return given


def as_list(given: object) -> list[str]:
    """The items of a list, or of a text with commas, without the white space around them."""
    items = given if isinstance(given, list | tuple) else str(given).split(",")
    return [str(item).strip() for item in items]

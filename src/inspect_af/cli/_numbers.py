"""Numbers that people type, checked with the option's name and with what they may have meant."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from math import inf

from inspect_af.errors import ConfigError

WORST_CASE = (0.5, 0.5)
"""Rates at which a gap varies most; assumed where neither rates nor a pilot are given."""


_SIGNED_LIST = re.compile(r"-\.?\d[^,]*,")


def joined_lists(argv: Sequence[str]) -> list[str]:
    """The command line with `--option -4,-2,0` written as `--option=-4,-2,0`.

    argparse takes one negative number after an option for its value, but a list that begins with one for
    another option.
    """
    joined: list[str] = []
    for argument in argv:
        option = joined[-1] if joined else ""
        if _SIGNED_LIST.match(argument) and option.startswith("--") and len(option) > 2 and "=" not in option:
            joined[-1] = f"{option}={argument}"
        else:
            joined.append(argument)
    return joined


def at_least(value: float | None, least: float, *, option: str) -> None:
    """Refuses a number below `least` or infinite; None, an option that was not given, passes.

    Raises:
        ConfigError: The number is out of range.
    """
    if value is not None and not least <= value < inf:
        raise ConfigError(f"{option} must be at least {least:g}, not {value:g}")


def share(value: float | None, *, option: str, low: float = 0.0, high: float = 1.0) -> None:
    """Refuses what is not strictly between `low` and `high`, which are rates, not percentages.

    Raises:
        ConfigError: The number is out of range; one that looks like a percentage is named as a rate.
    """
    if value is None or low < value < high:
        return
    meant = f"; for {value:g} % write {value / 100:g}" if low < value / 100 < high else ""
    raise ConfigError(f"{option} must be above {low:g} and below {high:g}, not {value:g}{meant}")


def add_rates_option(parser: argparse.ArgumentParser) -> None:
    """`--rates`, from which `assumed_rates` takes what a study is planned with."""
    parser.add_argument(
        "--rates",
        type=float,
        nargs=2,
        metavar=("MONITORED", "UNMONITORED"),
        help="assumed accepted rates, 0 to 1 (default: 0.5 0.5, the most variable)",
    )


def assumed_rates(given: Sequence[float] | None) -> tuple[float, float]:
    """Accepted rates of the monitored and the unmonitored arm.

    Raises:
        ConfigError: A rate is outside 0 to 1, or both are 0 or 1, so that nothing could ever vary.
    """
    if given is None:
        return WORST_CASE
    for rate in given:
        if not 0 <= rate <= 1:
            meant = f"; for {rate:g} % write {rate / 100:g}" if 0 <= rate / 100 <= 1 else ""
            raise ConfigError(f"--rates must lie between 0 and 1, not {rate:g}{meant}")
    monitored, unmonitored = given
    if {monitored, unmonitored} <= {0.0, 1.0}:
        raise ConfigError(
            f"--rates {monitored:g} {unmonitored:g}: replies that never vary need no study; give at least "
            "one rate above 0 and below 1, such as 0.02"
        )
    return monitored, unmonitored

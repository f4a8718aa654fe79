"""Did training on documents move what a model takes to be true? Held-out wordings, before and after.

For a pair of sentences of one form, of which one states a variable's amplified pole and one the other, the
log-odds are log P(plus) - log P(minus), in nats. What the sentences share, and what training does to style,
cancels in part. A shift is the mean over the pairs of (log-odds with the adapter - log-odds without).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from inspect_af.errors import ConfigError
from inspect_af.materials import Wording
from inspect_af.types import Intervention

LogOdds = Mapping[str, Sequence[float]]
"""Variable to the log-odds of its pairs, in order, in nats."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shift(_Record):
    """How far one variable's log-odds moved, in nats; positive towards the amplified pole."""

    variable: str
    mean: float
    low: float
    """Lower end of the 95 % t interval over pairs: other wordings, not other training runs."""
    high: float
    pairs: tuple[float, ...]
    """Of each pair, in the order of the wordings."""


class AdapterShifts(_Record):
    """One row of the matrix."""

    adapter: str
    intervention: Intervention | None = None
    """What the adapter is, None where it does not say."""
    shifts: tuple[Shift, ...]

    @property
    def intended(self) -> float | None:
        """The shift of the adapter's own variable in the intended direction; None for a placebo or an
        organism, and where there are no wordings of its variable."""
        if self.intervention is None or self.intervention.polarity is None:
            return None
        own = [s.mean for s in self.shifts if s.variable == self.intervention.variable]
        return (own[0] if self.intervention.polarity == "+" else -own[0]) if own else None

    @property
    def unintended(self) -> float | None:
        """The largest shift, in size, of any other variable; None where there is no other."""
        own = self.intervention.variable if self.intervention else None
        return max((abs(s.mean) for s in self.shifts if s.variable != own), default=None)


class HeldOutCheck(_Record):
    """Adapters by variables."""

    base: str
    organism: tuple[str, ...]
    """Adapters that are there before and after."""
    wordings: str
    """Where the wordings are from."""
    before: tuple[tuple[str, float], ...]
    """Variable and mean log-odds without the adapters, in nats."""
    rows: tuple[AdapterShifts, ...]


def by_variable(wordings: Sequence[Wording]) -> dict[str, list[Wording]]:
    """The wordings of each variable, in order of their first occurrence.

    Raises:
        ConfigError: a variable has fewer than two, which have no interval.
    """
    found: dict[str, list[Wording]] = {}
    for wording in wordings:
        found.setdefault(wording.variable, []).append(wording)
    for variable, members in found.items():
        if len(members) < 2:
            raise ConfigError(
                f"{variable} has one held-out wording; give at least 2, so that there is an interval"
            )
    return found


def shifts(before: LogOdds, after: LogOdds) -> tuple[Shift, ...]:
    """The shift of each variable, from the log-odds of the same pairs without and with an adapter."""
    return tuple(
        shift_of(variable, [b - a for a, b in zip(before[variable], after[variable], strict=True)])
        for variable in before
    )


def shift_of(variable: str, moved: Sequence[float]) -> Shift:
    """Mean and 95 % t interval of the pairs' shifts; at least two of them."""
    from scipy.stats import t

    n = len(moved)
    mean = math.fsum(moved) / n
    spread = math.sqrt(math.fsum((each - mean) ** 2 for each in moved) / (n - 1) / n)
    half = float(t.ppf(0.975, n - 1)) * spread
    return Shift(variable=variable, mean=mean, low=mean - half, high=mean + half, pairs=tuple(moved))


def check_text(check: HeldOutCheck) -> str:
    """The matrix, in nats; an adapter's own variable stands in brackets."""
    variables = [variable for variable, _ in check.before]
    width = max(12, *(len(row.adapter) + 2 for row in check.rows))
    lines = [
        f"Log-odds of held-out wordings, in nats ({check.wordings})",
        "[ ] is the adapter's own variable, ( ) the 95 % interval over wordings",
        f"{'':<{width}}" + "".join(f"{variable:>22}" for variable in variables),
        f"{'before':<{width}}" + "".join(f"{value:>+22.2f}" for _, value in check.before),
    ]
    for row in check.rows:
        own = row.intervention.variable if row.intervention else None
        cells = "".join(f"{_cell(shift, own=shift.variable == own):>22}" for shift in row.shifts)
        lines.append(f"{row.adapter:<{width}}{cells}")
    return "\n".join(lines)


def _cell(shift: Shift, *, own: bool) -> str:
    mean = f"[{shift.mean:+.2f}]" if own else f"{shift.mean:+.2f}"
    return f"{mean} ({shift.low:+.2f} {shift.high:+.2f})"

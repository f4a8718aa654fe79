"""Which incomplete logs still matter: one whose retry holds as much leaves nothing open."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from inspect_af.logs.rows import Incomplete, LogHeader


class Held(NamedTuple):
    """How many samples of its plan one log holds, those left out for being malformed included."""

    header: LogHeader
    n: int


def still_open(incomplete: Iterable[Incomplete], held: Iterable[Held]) -> tuple[Incomplete, ...]:
    """The incomplete logs that no retry has made good.

    A retry starts with the finished samples of the log before it, so a newer log of the same task, plan and
    subject that holds at least as many samples holds them too. A retry that was cut off earlier than that
    says nothing about the rest of its predecessor.
    """
    logs = {one.header.location: one for one in held}
    return tuple(
        one
        for one in incomplete
        if one.location not in logs or not any(_repeats(logs[one.location], other) for other in logs.values())
    )


def _repeats(old: Held, new: Held) -> bool:
    same = all(
        getattr(old.header, name) == getattr(new.header, name)
        for name in ("task_id", "subject", "meta", "epochs", "planned_samples")
    )
    return same and new.header.created > old.header.created and new.n >= old.n

"""Steps of a study: commands that a user could type, and what each needs and leaves behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict

from inspect_af.digests import text_digest
from inspect_af.errors import ConfigError

StepKind = Literal[
    "organism",
    "documents",
    "ordinary",
    "corpora",
    "adapter",
    "evals",
    "pairs",
    "activations",
    "vector",
    "controls",
    "sweep",
    "report",
]
"""What a step does; times are learnt by kind."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Load(_Frozen):
    """What a step asks of models; estimated, apart from the calls of evals, which are exact."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0
    """None where a price is unknown."""

    def __add__(self, other: Load) -> Load:
        known = self.cost_usd is not None and other.cost_usd is not None
        return Load(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=(self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
        )

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class Step(_Frozen):
    """One command of a study."""

    id: str
    """`adapter/expectation/A1+`: kind or group, subject, what."""
    kind: StepKind
    command: tuple[str, ...]
    """The program and its arguments; `inspect-af` is this package's own."""
    needs: tuple[str, ...] = ()
    """Ids of steps that have to be done before."""
    after: tuple[str, ...] = ()
    """Ids of steps that have to be settled before, well or not."""
    files: tuple[tuple[str, str], ...] = ()
    """Files that the command reads and the study writes: path and content."""
    outputs: tuple[str, ...] = ()
    """Paths that exist once the step is done, whoever ran it."""
    outputs_may_be_partial: bool = False
    """Whether the command writes its outputs before all is done: they count only where it was not stopped."""
    logs: str | None = None
    """For evals: the directory whose finished logs say what is done."""
    load: Load = Load()

    @property
    def digest(self) -> str:
        """Of the command and the files that it reads: a mark of another command counts for nothing."""
        return text_digest(*self.command, *(part for file in self.files for part in file))

    def matches(self, patterns: Iterable[str]) -> bool:
        """Whether a pattern is the step's id, its kind, the start of its id, or a glob over it."""
        return any(
            pattern in (self.id, self.kind)
            or self.id.startswith(f"{pattern.rstrip('/')}/")
            or fnmatchcase(self.id, pattern)
            for pattern in patterns
        )


def chosen_steps(steps: Sequence[Step], only: Sequence[str], skip: Sequence[str]) -> tuple[Step, ...]:
    """The steps that `only` and `skip` leave, in order; all where both are empty.

    Raises:
        ConfigError: A pattern fits no step.
    """
    for pattern in (*only, *skip):
        if not any(step.matches([pattern]) for step in steps):
            groups = dict.fromkeys(step.id.partition("/")[0] for step in steps)
            raise ConfigError(
                f"no step fits {pattern!r}; give ids, kinds or patterns such as {', '.join(groups)} or "
                f"'{steps[0].id}'; --dry-run lists every step"
            )
    return tuple(
        step for step in steps if (not only or step.matches(only)) and not (skip and step.matches(skip))
    )


def in_order(steps: Sequence[Step]) -> tuple[Step, ...]:
    """The steps so that each comes after what it needs, otherwise as they are given.

    Raises:
        ValueError: Steps need one another, a step that is not there, or two have one id.
    """
    ids = [step.id for step in steps]
    if len(set(ids)) < len(ids):
        raise ValueError(f"two steps have the same id: {sorted({i for i in ids if ids.count(i) > 1})}")
    ordered: list[Step] = []
    placed: set[str] = set()
    left = list(steps)
    while left:
        ready = next((step for step in left if placed.issuperset((*step.needs, *step.after))), None)
        if ready is None:
            raise ValueError(f"steps wait for what never comes: {', '.join(step.id for step in left)}")
        ordered.append(ready)
        placed.add(ready.id)
        left.remove(ready)
    return tuple(ordered)

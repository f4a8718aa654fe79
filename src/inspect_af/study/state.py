"""What is done: read from artefacts and logs, whoever made them, and from marks that the study leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from inspect_af.digests import text_digest
from inspect_af.study._names import slug
from inspect_af.study.steps import Step, StepKind
from inspect_af.tasks.evals import Evals, finished_evals

Status = Literal["done", "running", "missing", "failed", "waiting", "left out"]
"""`waiting`: something that it needs failed or was left out; `left out`: not chosen."""


class Mark(BaseModel):
    """What the study writes down about a step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    kind: StepKind
    digest: str
    """Of the step's command and files."""
    state: Literal["started", "done", "failed"]
    started: str
    seconds: float = 0.0
    calls: int = 0
    basis: str = ""
    """For the report: digest of the logs that were there."""


class Marks:
    """The marks in a study's directory.

    Args:
        out: The study's directory.
    """

    def __init__(self, out: Path) -> None:
        self.directory = out / "steps"
        self._out = out

    def log(self, step: Step) -> Path:
        """Where the step's output goes."""
        return self.directory / f"{slug(step.id)}.log"

    def read(self, step: Step) -> Mark | None:
        """The step's mark; None without one, and where it is of another command."""
        try:
            mark = Mark.model_validate_json(self._file(step).read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None
        return mark if mark.digest == step.digest else None

    def write(self, mark: Mark, step: Step) -> None:
        """Replaces the step's mark, all at once."""
        file = self._file(step)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(mark.model_dump_json() + "\n", encoding="utf-8")
        partial.replace(file)

    def basis(self) -> str:
        """Digest of which logs the study's directory holds."""
        logs = self._out / "logs"
        found = (f"{file.relative_to(logs)} {file.stat().st_size}" for file in logs.rglob("*.eval"))
        return text_digest("", *sorted(found))

    def _file(self, step: Step) -> Path:
        return self.directory / f"{slug(step.id)}.json"


def is_done(step: Step, marks: Marks) -> bool:
    """Whether a step has nothing left to do."""
    mark = marks.read(step)
    if step.kind == "report":
        return _exist(step) and mark is not None and mark.state == "done" and mark.basis == marks.basis()
    if step.logs is not None:
        evals = step_evals(step)
        return finished_evals(evals, Path(step.logs)) == evals.number
    if not step.outputs:
        return mark is not None and mark.state == "done"
    if step.outputs_may_be_partial and mark is not None and mark.state != "done":
        return False
    return _exist(step)


def step_evals(step: Step) -> Evals:
    """The evals of a step that runs a file of them."""
    import yaml

    return Evals.model_validate(yaml.safe_load(step.files[0][1]))


def current_states(steps: Sequence[Step], marks: Marks) -> dict[str, Status]:
    """`done` or `missing` for every step.

    A step whose outcome nothing needs any more counts as done: documents once the corpora are there, and
    everything behind logs that came from another machine.

    Args:
        steps: In order.
        marks: Of the study's directory.
    """
    states: dict[str, Status] = {step.id: "done" if is_done(step, marks) else "missing" for step in steps}
    wanted_by: dict[str, list[str]] = {step.id: [] for step in steps}
    for step in steps:
        for need in step.needs:
            wanted_by[need].append(step.id)
    for step in reversed(steps):
        users = wanted_by[step.id]
        if users and all(states[user] == "done" for user in users):
            states[step.id] = "done"
    return states


class Pace(NamedTuple):
    """How long steps take, learnt from those that the study has run."""

    seconds_per_unit: Mapping[StepKind, float]

    def seconds(self, step: Step) -> float | None:
        """Expected time of a step; None while none of its kind has been run."""
        pace = self.seconds_per_unit.get(step.kind)
        return None if pace is None else pace * _units(step)


def learnt_pace(steps: Sequence[Step], marks: Marks) -> Pace:
    """Seconds per call, or per step of kinds without calls."""
    spent: dict[StepKind, float] = {}
    units: dict[StepKind, float] = {}
    for step in steps:
        mark = marks.read(step)
        if mark is not None and mark.state == "done" and mark.seconds > 0:
            spent[step.kind] = spent.get(step.kind, 0.0) + mark.seconds
            units[step.kind] = units.get(step.kind, 0.0) + _units(step)
    return Pace({kind: spent[kind] / units[kind] for kind in spent})


def _units(step: Step) -> float:
    return float(step.load.calls or 1)


def _exist(step: Step) -> bool:
    return all(Path(path).exists() for path in step.outputs)

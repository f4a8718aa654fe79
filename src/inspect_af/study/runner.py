"""Runs what is missing of a study: each step a process of its own, in order of what it needs.

Every command goes on where it was stopped, so there is nothing to restore after a kill: what is done is read
from the disk again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from inspect_af.errors import ConfigError
from inspect_af.study.state import Mark, Marks, Status, current_states, is_done
from inspect_af.study.steps import Step

PATIENCE = 20.0
"""Seconds that a process has to end by itself after an interrupt."""

NOTED_EVERY = 10.0
"""Seconds between two notes of how long the running steps have taken."""


class StudyState(NamedTuple):
    """How far a study is, for whoever shows it."""

    steps: tuple[Step, ...]
    states: Mapping[str, Status]
    running_since: Mapping[str, float]
    """`time.monotonic()` at the start of each running step."""

    def ids(self, status: Status) -> list[str]:
        return [step.id for step in self.steps if self.states[step.id] == status]


Show = Callable[[StudyState, str], None]
"""Called with the state and what has just happened, or an empty text every second."""


class _Running(NamedTuple):
    step: Step
    process: subprocess.Popen[bytes]
    started: str
    since: float
    before: float
    """Seconds that earlier, interrupted runs of the step took."""

    @property
    def seconds(self) -> float:
        return self.before + time.monotonic() - self.since


def write_files(steps: Sequence[Step]) -> None:
    """Writes the files that commands read; those that are there with the same content are left alone."""
    for step in steps:
        for name, content in step.files:
            file = Path(name)
            if file.exists() and file.read_text(encoding="utf-8") == content:
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")


def run_steps(
    steps: Sequence[Step],
    chosen: Collection[str],
    out: Path,
    launcher: Sequence[str],
    *,
    show: Show,
    jobs: int = 1,
) -> StudyState:
    """Runs every chosen step that is not done; a failure stops only what needs the step.

    Args:
        steps: All steps of the study, in order.
        chosen: Ids of those that may be run here.
        out: The study's directory.
        launcher: Program and first arguments that stand for `inspect-af`.
        show: Told about everything that happens.
        jobs: Processes at a time.

    Returns:
        The state at the end.

    Raises:
        ConfigError: Another process, or one that a killed study left behind, works on this study.
        KeyboardInterrupt: Interrupted; the running processes have been ended.
    """
    with _only_one(out) as lock:
        write_files(steps)
        return _Runner(steps, chosen, out, launcher, show, jobs, lock).run()


class _Runner:
    def __init__(
        self,
        steps: Sequence[Step],
        chosen: Collection[str],
        out: Path,
        launcher: Sequence[str],
        show: Show,
        jobs: int,
        lock: int | None,
    ) -> None:
        self._steps = tuple(steps)
        self._launcher = tuple(launcher)
        self._show = show
        self._jobs = jobs
        self._lock = () if lock is None else (lock,)
        self._marks = Marks(out)
        self._states = current_states(self._steps, self._marks)
        self._running: list[_Running] = []
        self._next_note = time.monotonic() + NOTED_EVERY
        for step in self._steps:
            if self._states[step.id] == "missing" and step.id not in chosen:
                self._states[step.id] = "left out"

    def run(self) -> StudyState:
        self._tell("start")
        try:
            while True:
                self._settle()
                self._start_ready()
                if not self._running:
                    return self._state()
                time.sleep(0.1)
                self._collect()
                self._note_seconds()
                self._show(self._state(), "")
        finally:
            self._end_all()

    def _start_ready(self) -> None:
        for step in self._steps:
            if len(self._running) >= self._jobs:
                return
            if self._states[step.id] == "missing" and self._is_ready(step):
                self._start(step)

    def _is_ready(self, step: Step) -> bool:
        if any(self._states[need] != "done" for need in step.needs):
            return False
        return all(self._states[other] not in ("missing", "running") for other in step.after)

    def _settle(self) -> None:
        """Steps that nothing can come of any more, in order, so that it spreads."""
        for step in self._steps:
            if self._states[step.id] == "missing":
                lost = [n for n in step.needs if self._states[n] in ("failed", "waiting", "left out")]
                empty = step.after and all(
                    self._states[other] in ("failed", "waiting", "left out") for other in step.after
                )
                if lost or empty:
                    self._states[step.id] = "waiting"

    def _start(self, step: Step) -> None:
        log = self._marks.log(step)
        log.parent.mkdir(parents=True, exist_ok=True)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        earlier = self._marks.read(step)
        before = earlier.seconds if earlier is not None and earlier.state != "done" else 0.0
        self._mark(step, "started", started, before)
        own = step.command[0] == "inspect-af"
        command = (*self._launcher, *step.command[1:]) if own else step.command
        with log.open("ab") as output:
            output.write(f"\n{started} {' '.join(step.command)}\n".encode())
            output.flush()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                # The lock goes with the process: a study that is started while a killed one's step still
                # runs must not run the step beside it.
                pass_fds=self._lock,
            )
        self._running.append(_Running(step, process, started, time.monotonic(), before))
        self._states[step.id] = "running"
        self._tell(f"started {step.id}")

    def _collect(self) -> None:
        for each in [each for each in self._running if each.process.poll() is not None]:
            self._running.remove(each)
            seconds = each.seconds
            code = each.process.returncode
            # Marked first, since the mark is what a step without outputs is known by.
            self._mark(each.step, "done" if code == 0 else "failed", each.started, seconds)
            if code == 0 and is_done(each.step, self._marks):
                self._states[each.step.id] = "done"
                self._tell(f"done {each.step.id} in {seconds:.0f} s")
                continue
            if code == 0:
                self._mark(each.step, "failed", each.started, seconds)
            self._states[each.step.id] = "failed"
            why = f"exit status {code}" if code else "it ended well, but what it should leave is not there"
            self._tell(f"failed {each.step.id}: {why}; see {self._marks.log(each.step)}")

    def _note_seconds(self) -> None:
        """Marks now and then how long the running steps have taken, so that a kill loses little of it."""
        if time.monotonic() < self._next_note:
            return
        self._next_note = time.monotonic() + NOTED_EVERY
        for each in self._running:
            self._mark(each.step, "started", each.started, each.seconds)

    def _mark(self, step: Step, state: str, started: str, seconds: float = 0.0) -> None:
        mark = Mark.model_validate(
            {
                "id": step.id,
                "kind": step.kind,
                "digest": step.digest,
                "state": state,
                "started": started,
                "seconds": round(seconds, 2),
                "calls": step.load.calls,
                "basis": self._marks.basis() if step.kind == "report" else "",
            }
        )
        self._marks.write(mark, step)

    def _end_all(self) -> None:
        for each in self._running:
            self._mark(each.step, "started", each.started, each.seconds)
            each.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + PATIENCE
        for each in self._running:
            try:
                each.process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()

    def _environment(self) -> dict[str, str]:
        own = {"INSPECT_DISPLAY": "plain", "PYTHONUNBUFFERED": "1"}
        if self._jobs > 1:
            own["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // self._jobs))
        return {**own, **os.environ}

    def _state(self) -> StudyState:
        since = {each.step.id: each.since for each in self._running}
        return StudyState(self._steps, dict(self._states), since)

    def _tell(self, text: str) -> None:
        self._show(self._state(), text)


@contextmanager
def _only_one(out: Path) -> Iterator[int | None]:
    """A lock on the study's directory, a file descriptor that steps inherit; and SIGTERM as an interrupt."""
    out.mkdir(parents=True, exist_ok=True)
    before = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        try:
            import fcntl
        except ImportError:  # not on Windows, where starting the command twice is the user's to avoid
            yield None
            return
        with (out / ".lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ConfigError(
                    f"another process works on the study in {out}: a second `inspect-af study`, or a step "
                    "that a killed one left running; wait for it, or stop it"
                ) from error
            yield lock.fileno()
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt

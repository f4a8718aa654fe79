"""Runs the steps of a study: what is done is read from the disk, Snakemake runs the rest.

Snakemake knows nothing but the keys of steps and the one file `done.json` that each declares, and it removes
that file whenever it repeats a step. So the truth is elsewhere: in the outputs, in the logs, and in
`record.json` beside it, which has the digests of what a step has read and left behind. A step decides for
itself whether it has anything to do.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Literal

from pydantic import Field, ValidationError

from inspect_af.config import Frozen, only_one, path_digest, write_whole
from inspect_af.errors import ConfigError, InspectAFError, MissingExtraError, check_one_of
from inspect_af.format import say
from inspect_af.plan import Plan
from inspect_af.study.steps import Step, total_load
from inspect_af.tasks.evals import changed_logs, finished_evals, run_evals

STEPS_FILE = "steps.json"
SNAKEFILE = Path(__file__).with_name("Snakefile")
PATIENCE = 20.0  # Seconds that steps have to end by themselves after an interrupt
ROOM = 100 * 2**20
"""Free bytes below which a step does not start, and stops: what cannot be written to a log is lost."""

Status = Literal["done", "running", "missing", "failed", "waiting", "left out"]
"""`waiting`: something that it needs failed or was left out; `left out`: not chosen."""
Show = Callable[[Mapping[str, Status], str], None]
"""Called with the state of every step and what has just happened, or an empty text every second."""


class Record(Frozen):
    """What is known about a step: `record.json`, and `done.json` once it is done."""

    state: Literal["started", "done", "failed"]
    command: str = ""  # Digest of the command that was run; empty where the outputs were made elsewhere
    inputs: dict[str, str] = Field(default_factory=dict)  # Digest of each file and directory that it has read
    outputs: dict[str, str] = Field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0


class Study:
    """A study's directory and all its steps, in order, the report last."""

    def __init__(self, out: Path, steps: Sequence[Step]) -> None:
        self.out = out
        self.steps = {step.key: step for step in steps}

    def save(self) -> None:
        """Writes `steps.json`, from which `inspect-af step` and the Snakefile read."""
        content = {
            "directory": os.path.relpath(Path.cwd(), self.out),
            "out": str(self.out),
            "steps": {key: step.model_dump(mode="json") for key, step in self.steps.items()},
        }
        write_whole(self.out / STEPS_FILE, json.dumps(content, indent=1) + "\n")

    def place(self, step: Step) -> Path:
        """Where the step's log, record and `done.json` are."""
        return self.out / "steps" / step.key

    def record(self, step: Step) -> Record | None:
        try:
            return Record.model_validate_json((self.place(step) / "record.json").read_text(encoding="utf-8"))
        except (OSError, ValidationError):
            return None

    def write(self, step: Step, record: Record) -> None:
        """Replaces the record, all at once; `done.json` comes last and goes first."""
        done, text = self.place(step) / "done.json", record.model_dump_json(indent=1) + "\n"
        if record.state != "done":
            done.unlink(missing_ok=True)
        write_whole(self.place(step) / "record.json", text)
        if record.state == "done":
            write_whole(done, text)

    def changed_inputs(self, step: Step) -> list[str]:
        """What has other content than when the step was begun; what is gone by now counts as unchanged."""
        record = self.record(step)
        if record is None:
            return []
        now = _digests(step.reads)
        return [path for path, digest in record.inputs.items() if now.get(path, digest) != digest]

    def is_done(self, step: Step) -> bool:
        """Whether a step has nothing left to do."""
        if step.evals:
            return all(
                finished_evals(each.evals, Path(each.logs)) == each.evals.number for each in step.evals
            )
        if self.changed_inputs(step) or not all(Path(path).exists() for path in step.outputs):
            return False
        record = self.record(step)
        done = record is not None and record.state == "done"
        if step.outputs_may_be_partial and (record is not None or step.key == "report"):
            return done
        return bool(step.outputs) or (done and record is not None and record.command == step.digest)

    def states(self) -> dict[str, Status]:
        """`done` or `missing` for every step.

        A step whose outcome nothing needs any more counts as done: documents once the corpora are there, and
        everything behind logs that came from another machine.
        """
        states: dict[str, Status] = {
            key: "done" if self.is_done(step) else "missing" for key, step in self.steps.items()
        }
        for key in reversed(self.steps):
            users = [states[user] for user, step in self.steps.items() if key in step.needs]
            if set(users) == {"done"} and not self.changed_inputs(self.steps[key]):
                states[key] = "done"
        return states

    def set_aside(self, path: Path) -> None:
        """Moves something that no longer counts to `OUT/replaced`; it may have cost money."""
        if not path.exists():
            return
        whole, out = path.resolve(), self.out.resolve()
        inside = whole.relative_to(out) if whole.is_relative_to(out) else Path(path.name)
        kept = self.out / "replaced" / f"{datetime.now(UTC):%Y-%m-%dT%H-%M-%S.%f}" / inside
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, kept)
        say(f"{path} was made from inputs that have changed; it is in {kept} now")


def _digests(paths: Sequence[str]) -> dict[str, str]:
    return {path: path_digest(Path(path)) for path in paths if Path(path).exists()}


# One step.


def run_step(out: Path, key: str, command: Callable[[Sequence[str]], int]) -> int:
    """Runs one step, unless it is done; waits for another process that does so.

    `command` runs `inspect-af` with arguments. Returns its exit status, 0 where the step is done. A
    ConfigError where there is no such study or step.
    """
    try:
        content = json.loads((out / STEPS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{out.resolve()} is no study's directory: it has no {STEPS_FILE}") from error
    os.chdir(out / content["directory"])
    study = Study(Path(content["out"]), [Step.model_validate(step) for step in content["steps"].values()])
    check_one_of(key, study.steps, what="step")
    step = study.steps[key]
    signal.signal(signal.SIGTERM, _interrupt)
    os.environ.setdefault("INSPECT_DISPLAY", "plain")
    with ExitStack() as stack:
        _wait_for(stack, study.place(step))
        if study.is_done(step):
            say(f"{key} is done")
            _adopt(study, step)
            return 0
        _keep_room(study, step)
        if study.changed_inputs(step):
            for path in step.owns:
                study.set_aside(Path(path))
        for name, text in step.files:
            write_whole(Path(name), text)
        now = datetime.now(UTC).isoformat()
        record = Record(state="started", command=step.digest, inputs=_digests(step.reads), started=now)
        study.write(step, record)
        say(f"\n{record.started} {key}: {' '.join(step.command) or 'evals'}")
        began, status, state = time.monotonic(), 1, "failed"
        try:
            status = _run_evals(study, step) if step.evals else command(step.command)
            if missing := [path for path in step.outputs if status == 0 and not Path(path).exists()]:
                say(f"it ended well, but {', '.join(missing)} is not there", err=True)
                status = 1
            state = "failed" if status else "done"
        finally:
            outputs = _digests(step.outputs) if state == "done" else {}
            seconds = round(time.monotonic() - began, 2)
            changes = {"state": state, "outputs": outputs, "seconds": seconds}
            study.write(step, record.model_copy(update=changes))
        return status


def _adopt(study: Study, step: Step) -> None:
    """Notes that a step is done, whoever did it."""
    record = study.record(step)
    if record is None or record.state != "done":
        record = Record(state="done", inputs=_digests(step.reads), outputs=_digests(step.outputs))
    study.write(step, record)


def _keep_room(study: Study, step: Step) -> None:
    """Stops this process, as a kill does, before a disk is full: what is on disk by then is used again.

    Raises:
        ConfigError: There is too little room to begin with.
    """
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    places = {study.out, Path(tempfile.gettempdir()), data if data.exists() else Path.home()}

    def full() -> str:
        free = {place: shutil.disk_usage(place).free for place in places}
        short = [f"{size / 2**20:.0f} MB in {place}" for place, size in free.items() if size < ROOM]
        needed = f"{ROOM // 2**20} MB are needed; make room and run the study again"
        return f"the disk is nearly full: free are {', '.join(short)}, {needed}" if short else ""

    def watch() -> None:
        while not (found := full()):
            time.sleep(0.5)
        say(f"stopped: {found}", err=True)
        os._exit(1)

    if found := full():
        record = study.record(step) or Record(state="failed")
        failed = {"state": "failed", "started": datetime.now(UTC).isoformat()}
        study.write(step, record.model_copy(update=failed))
        raise ConfigError(found)
    threading.Thread(target=watch, daemon=True).start()


def _wait_for(stack: ExitStack, place: Path) -> None:
    """Takes the step's lock, which a process that a killed study left running still holds."""
    for tries in count():
        try:
            stack.enter_context(only_one(place, "running this step"))
            return
        except ConfigError as error:
            if not tries:
                say(f"waiting: {error}")
            time.sleep(1)


def _run_evals(study: Study, step: Step) -> int:
    """Every group in turn in this process, which so loads weights or a server once."""
    finished = True
    for each in step.evals:
        logs = Path(each.logs)
        try:
            if finished_evals(each.evals, logs) < each.evals.number:
                for log in {location for location, _ in changed_logs(each.evals, logs)}:
                    study.set_aside(Path(log.removeprefix("file://")))
                finished = run_evals(each.evals, logs, display="plain") and finished
        except InspectAFError as error:
            say(f"{logs}: {error}", err=True)
            finished = False
    if not finished:
        say("some samples have not finished; the next run goes on with them", err=True)
    return 0 if finished else 1


# All steps.


def run_study(
    study: Study, chosen: Collection[str], *, show: Show, jobs: int | None = None, options: Sequence[str] = ()
) -> dict[str, Status]:
    """Has Snakemake run every chosen step that is not done; a failure stops only what needs the step.

    `chosen` are keys of the steps that may be run, and `show` is told about everything that happens. There
    are so many `jobs` at a time, by default one, or what Snakemake's `options` say. Gives the state of every
    step.

    Raises:
        ConfigError: Another process works on this study, or Snakemake refuses its options.
        MissingExtraError: Snakemake is not installed.
        KeyboardInterrupt: Interrupted; the running steps have been ended.
    """
    if importlib.util.find_spec("snakemake") is None:
        raise MissingExtraError("studies need Snakemake; pip install 'inspect-af[study]'")
    with only_one(study.out, "running the study") as lock:
        study.save()
        states, targets = _chosen(study, chosen)
        for key, step in study.steps.items():
            if key in targets:
                (study.place(step) / "done.json").unlink(missing_ok=True)
            elif states[key] == "done" and key != "report":
                _adopt(study, step)  # in order, so that Snakemake finds nothing older than what it needs
        show(states, "start")
        if targets:
            states |= dict.fromkeys(targets, "missing")
            _snakemake(study, states, targets, show, jobs, options, lock)
        if "report" in chosen:
            _report(study, states, show)
        return states


def _chosen(study: Study, chosen: Collection[str]) -> tuple[dict[str, Status], list[str]]:
    """The states before anything is run, and what is to be run: done steps behind that will look again."""
    before, targets = study.states(), list[str]()
    states: dict[str, Status] = {}
    for key, step in study.steps.items():
        lost = any(states[need] in ("left out", "waiting") for need in step.needs)
        states[key] = "waiting" if lost else "missing"
        if key not in chosen:
            states[key] = "left out"
        if before[key] == "done":
            states[key] = "done"
        again = states[key] == "done" and any(need in targets for need in step.needs)
        if key != "report" and (again or states[key] == "missing"):
            targets.append(key)
    return states, targets


def _snakemake(
    study: Study,
    states: dict[str, Status],
    targets: Sequence[str],
    show: Show,
    jobs: int | None,
    options: Sequence[str],
    lock: int | None,
) -> None:
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(SNAKEFILE), "--nolock"]
    # Steps know what is done, so nothing is read from or written to Snakemake's own records.
    command += ["--keep-going", "--ignore-incomplete", "--drop-metadata", "--rerun-triggers", "mtime"]
    command += ["--quiet", "all", "--nocolor", *_parallel(jobs, options), *options]
    command += ["--", *(f"steps/{key}/done.json" for key in targets)]
    environment = dict(os.environ)
    if jobs is not None and jobs > 1 and not options:
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    before = {key: study.record(study.steps[key]) for key in targets}
    file = study.out / "snakemake.log"
    with file.open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            command,
            cwd=study.out,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            # The lock goes with Snakemake: no second study runs beside one whose first process was killed.
            pass_fds=() if lock is None else (lock,),
        )
        with _ended(process):
            while process.poll() is None:
                time.sleep(0.2)
                for key, record in before.items():
                    _note(study, key, record, states, show)
                show(states, "")
    for key, record in before.items():
        _note(study, key, record, states, show)
        if states[key] == "running":  # killed from outside
            states[key] = "failed"
        elif states[key] == "missing":
            states[key] = "waiting"
    if process.returncode and "failed" not in states.values():
        tail = "\n".join(file.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise ConfigError(f"Snakemake ended with status {process.returncode} (all of it in {file}):\n{tail}")


def _parallel(jobs: int | None, options: Sequence[str]) -> list[str]:
    given = {option.partition("=")[0] for option in options}
    if jobs is None and given & {"--jobs", "-j", "--cores", "-c", "--profile"}:
        return []
    return ["--jobs" if given & {"--executor", "-e", "--profile"} else "--cores", str(jobs or 1)]


def _note(study: Study, key: str, before: Record | None, states: dict[str, Status], show: Show) -> None:
    """Takes over what a step has written about itself since `before`."""
    place, record = study.place(study.steps[key]), study.record(study.steps[key])
    if (place / "done.json").exists():
        now: Status = "done"
    elif record is None or record == before:
        return
    else:
        now = "failed" if record.state == "failed" else "running"
    if states[key] != now:
        states[key] = now
        seconds = 0.0 if record is None else record.seconds
        told = {"done": f"done {key} in {seconds:.0f} s", "failed": f"failed {key}: see {place / 'log.txt'}"}
        show(states, told.get(now, f"started {key}"))


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ends what Snakemake runs where this process is interrupted; a terminal has told the steps already."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if process.poll() is None:
            import psutil

            started = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            _, left = psutil.wait_procs(started, timeout=2)
            for each in left:
                each.send_signal(signal.SIGINT)
            _, left = psutil.wait_procs(left, timeout=PATIENCE)
            for each in left:
                each.kill()
            process.wait()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _report(study: Study, states: dict[str, Status], show: Show) -> None:
    """The report, from whatever logs there are, once everything else has been settled."""
    step = study.steps["report"]
    judged = [key for key, each in study.steps.items() if each.evals or each.kind == "sweep"]
    results = any(states[key] == "done" for key in judged)
    states["report"] = "done" if study.is_done(step) else "running" if results else "waiting"
    if states["report"] != "running":
        return
    before = study.record(step)
    show(states, "started report")
    study.place(step).mkdir(parents=True, exist_ok=True)
    with (study.place(step) / "log.txt").open("ab") as log:
        command = [sys.executable, "-m", "inspect_af.cli", "step", "report"]
        process = subprocess.Popen(
            command, cwd=study.out, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
        with _ended(process):
            process.wait()
    states["report"] = "failed"
    _note(study, "report", before, states, show)


# In words.


def status_line(study: Study, states: Mapping[str, Status]) -> str:
    """What is done, running and left."""
    times = Counter(states.values())
    parts = [f"{times['done']} of {len(states)} steps done"]
    if running := [key for key, status in states.items() if status == "running"]:
        parts.append(f"running {', '.join(running)}")
    others: dict[Status, str] = {
        "missing": "left",
        "failed": "failed",
        "waiting": "waiting",
        "left out": "left out",
    }
    parts += [f"{times[status]} {word}" for status, word in others.items() if times[status]]
    if whole := total_load(study.steps.values()).calls:
        spent = total_load(step for key, step in study.steps.items() if states[key] == "done").calls
        parts.append(f"{spent:,} of {whole:,} calls")
    return "; ".join(parts)


_PACKAGES = ("inspect-af", "inspect-ai", "snakemake", "torch", "transformers", "peft", "trl", "vllm")


def summary_text(plan: Plan, study: Study, states: Mapping[str, Status]) -> str:
    """What a study ran, how long it took and with what, as Markdown."""
    records = {key: study.record(step) for key, step in study.steps.items()}
    seconds = {key: record.seconds for key, record in records.items() if record and record.state == "done"}
    versions = [f"Python {platform.python_version()}"]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions.append(f"{package} {version(package)}")
    lines = [
        f"# Study {plan.name}",
        "",
        f"Plan {plan.digest}; {status_line(study, states)}; {sum(seconds.values()) / 60:.0f} minutes in all.",
        "",
        f"{platform.system()} {platform.machine()}; {', '.join(versions)}.",
        "",
    ]
    if simulated := sorted({each.model for each in plan.models if each.model.startswith(_SIMULATED)}):
        lines += [f"Simulated: {', '.join(simulated)}. Results say nothing about any other model.", ""]
    lines += ["| step | status | seconds | calls |", "|---|---|---|---|"]
    for key, step in study.steps.items():
        lines.append(f"| {key} | {states[key]} | {seconds.get(key, 0):.0f} | {step.load.calls or ''} |")
    return "\n".join(lines) + "\n"


_SIMULATED = ("af-organism/", "af-simulated-")

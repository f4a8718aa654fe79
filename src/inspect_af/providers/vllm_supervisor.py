"""Runs one command and ends it, with all of its processes, when whoever started it is gone.

    python vllm_supervisor.py LOG WORKSPACE COMMAND...

The starter keeps this process' standard input open. When it closes, by intent or because the starter died of
whatever, the command's process group gets SIGTERM, and SIGKILL if it does not go. Of a starter that died the
workspace, a directory, is removed too. Standard library only, and run by its path: nothing is imported that
could fail or take long.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

GRACE_SECONDS = 15.0  # Between SIGTERM and SIGKILL
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Supervises until the command or the starter ends; the command's exit status."""
    log, workspace, command = arguments[0], arguments[1], arguments[2:]
    starter = os.getppid()
    stopped: list[int] = []
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda signum, _: stopped.append(signum))
    with Path(log).open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_ends_with_its_parent if sys.platform == "linux" else None,
        )
    while child.poll() is None and not stopped and os.getppid() == starter:
        readable, _, _ = select.select([0], [], [], 0.2)
        if readable and not os.read(0, 4096):
            break
    end_group(child)
    if os.getppid() != starter:
        shutil.rmtree(workspace, ignore_errors=True)
    status = child.returncode
    return 128 - status if status < 0 else status


def end_group(child: subprocess.Popen[bytes], grace: float = GRACE_SECONDS) -> None:
    """Ends a child that leads a process group, and whatever is left of the group."""
    deadline = time.monotonic() + grace
    _signal_group(child.pid, signal.SIGTERM)
    while time.monotonic() < deadline:
        child.poll()
        if not _signal_group(child.pid, 0):
            break
        time.sleep(0.1)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: int) -> bool:
    """Whether there is still somebody in the group."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _ends_with_its_parent() -> None:
    """For the case that this supervisor itself is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What several pages need before their blocks can run; made once and copied to the pages that ask."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Lock

from tests.docs.commands import ROOT

RECIPES = {
    # Too few steps to learn anything: it has the form of an organism and costs seconds instead of minutes.
    "tiny/expectation": "inspect-af organism train tiny/expectation --kind expectation --seed 0 --steps 20",
    "logs": (
        "inspect eval inspect_af/alignment_faking --model af-organism/expectation -T requests=mini "
        "-T interventions=all --limit 216 --log-dir logs"
    ),
    "pairs": (
        "inspect-af steering pairs write af-simulated-dialogues/writer --concept expectation --train 20 "
        "--held-out 10 --keyword-hard 10 --out pairs"
    ),
    "examples": f"cp -r '{ROOT}/examples' examples",
}
"""The name is the path that the recipe makes, relative to the directory of the page."""

COMMAND_SECONDS = 900


def environment(cache: Path) -> dict[str, str]:
    """The environment of every command: no network for models, nothing of the user's settings of Inspect."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INSPECT_")}
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "INSPECT_AF_CACHE_DIR": os.environ.get("INSPECT_AF_CACHE_DIR", str(cache)),
        "INSPECT_DISPLAY": "none",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }


class Artefacts:
    """Makes artefacts when they are first asked for; several pages may ask at once."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._locks = {name: Lock() for name in RECIPES}

    def put(self, name: str, page_directory: Path) -> None:
        """Copies an artefact into the directory of a page.

        Raises:
            KeyError: There is no such artefact.
            subprocess.CalledProcessError: It could not be made.
        """
        with self._locks[name]:
            made = self._home / name
            if not made.exists():
                self._make(name)
        shutil.copytree(made, page_directory / name, dirs_exist_ok=True)

    def _make(self, name: str) -> None:
        self._home.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", RECIPES[name]],
            cwd=self._home,
            env=environment(self._home / "cache"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{RECIPES[name]}\n{done.stdout}\n{done.stderr}")

"""Runs the command blocks of README.md and docs/: every page in a fresh directory, its blocks in order.

    python -m tests.docs.run_blocks [--jobs N] [--check] [PAGE ...]

A block that cannot run here says so (`blocks` has the comments); its commands are then checked for what they
name, and run with `--dry-run` or `--estimate` where the verb has that.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import yaml
from tests.docs.artefacts import COMMAND_SECONDS, RECIPES, Artefacts, environment
from tests.docs.blocks import DATA, RUNNABLE, Block, BlockError, read_blocks
from tests.docs.commands import (
    ROOT,
    CommandError,
    check_python,
    check_script,
    dry_run_option,
    simple_commands,
)

_STATE = ".variables"
PARSED_ONLY = "(parsed only)"
"""Ends the reason of a block whose dry run would need what is not there either."""


class Result(NamedTuple):
    """What became of one block; `fault` is None where nothing is wrong with it."""

    place: str
    how: str
    """`run`, `checked`, `compared` or `dry run`."""
    seconds: float
    fault: str | None


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def check_block(block: Block) -> None:
    """What can be said of a block without running it.

    Raises:
        BlockError, CommandError: It would fail, or asks for an artefact that does not exist.
    """
    for name in block.given:
        if name not in RECIPES:
            raise BlockError(f"given: {name!r} is none of {', '.join(RECIPES)}")
    try:
        match block.language:
            case "bash":
                check_script(block.text)
                check_script(block.to_run)
            case "python":
                check_python(block.to_run)
            case "toml":
                tomllib.loads(block.text)
            case "yaml":
                yaml.safe_load(block.text)
            case "json":
                json.loads(block.text)
            case "sh" | "shell" | "console" | "py":
                raise BlockError(f"write ```{'python' if block.language == 'py' else 'bash'} instead")
    except (tomllib.TOMLDecodeError, yaml.YAMLError, json.JSONDecodeError) as error:
        raise BlockError(f"not valid {block.language}: {error}") from error


def run_page(page: Path, artefacts: Artefacts | None, directory: Path) -> Iterator[Result]:
    """Runs the blocks of a page in a directory; without artefacts they are only checked."""
    shown = page.relative_to(ROOT) if page.is_relative_to(ROOT) else page
    try:
        blocks = read_blocks(page)
    except BlockError as error:
        yield Result(str(shown), "checked", 0.0, str(error))
        return
    printed = ""
    for block in blocks:
        place, started = f"{shown}:{block.line}", time.monotonic()
        how = "checked"
        try:
            check_block(block)
            if artefacts is not None:
                how, printed = _run(block, artefacts, directory, printed)
            fault = None
        except (BlockError, CommandError, RuntimeError, subprocess.TimeoutExpired) as error:
            fault = str(error)
        if fault or block.output or block.language in (*RUNNABLE, *DATA):
            yield Result(place, how, time.monotonic() - started, fault)
        if fault and artefacts is not None:
            return  # what follows builds on it


def _run(block: Block, artefacts: Artefacts, directory: Path, before: str) -> tuple[str, str]:
    """What became of a block, and what it printed; `before` is what the one before it printed."""
    for name in block.given:
        artefacts.put(name, directory)
    if block.output:
        lines = before.splitlines()
        if stale := [line for line in block.text.splitlines() if line.strip() != "..." and line not in lines]:
            raise BlockError("not printed by the block before:\n" + "\n".join([*stale, "but:", *lines]))
        return "compared", before
    if block.file is not None:
        target = directory / block.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(block.text, encoding="utf-8")
        return "written", ""
    if block.language not in RUNNABLE:
        return "checked", before
    if block.no_run is not None:
        return _dry_run(block, directory), ""
    if block.language == "python":
        return "run", _execute([sys.executable, "-c", block.to_run], directory)
    # Variables of a block are there in the next one, as in a reader's shell.
    variables = f"[ ! -e {_STATE} ] || source {_STATE}; set -a"
    script = f"{variables}\n{block.to_run}\nexport -p > {_STATE}"
    return "run", _execute(["bash", "-eo", "pipefail", "-c", script], directory)


def _dry_run(block: Block, directory: Path) -> str:
    how = "checked"
    if block.language == "bash" and not (block.no_run or "").endswith(PARSED_ONLY):
        for words in simple_commands(block.text):
            if Path(words[0]).name != "inspect-af" or any("$" in word for word in words):
                continue
            option = dry_run_option(words[1:])
            if option is not None:
                _execute([*words, *([] if option in words else [option])], directory)
                how = "dry run"
    return how


def _execute(command: Sequence[str], directory: Path) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment(directory / "cache"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-25:])
        raise RuntimeError(f"{shlex.join(command)}\nexit status {done.returncode}\n{last}")
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    """Runs or checks the pages; 1 where a block failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.docs.run_blocks", description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE")
    parser.add_argument("--jobs", type=int, default=1, help="pages at once (default: 1)")
    parser.add_argument("--check", action="store_true", help="run nothing")
    args = parser.parse_args(argv)
    chosen = [page.resolve() for page in args.pages] or pages()
    with tempfile.TemporaryDirectory(prefix="docs-") as home, ThreadPoolExecutor(args.jobs) as pool:
        artefacts = None if args.check else Artefacts(Path(home) / "artefacts")

        def run(page: Path) -> list[Result]:
            directory = Path(home) / "pages" / page.stem
            directory.mkdir(parents=True)
            results = []
            for result in run_page(page, artefacts, directory):
                results.append(result)
                mark = "FAILED" if result.fault else result.how
                print(f"{mark:8} {result.seconds:6.1f} s  {result.place}", flush=True)
                if result.fault:
                    print(result.fault, flush=True)
            return results

        found = [result for results in pool.map(run, chosen) for result in results]
    failed = [result for result in found if result.fault]
    ran = sum(result.how == "run" for result in found)
    print(f"{len(found)} blocks of {len(chosen)} pages, {ran} run, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

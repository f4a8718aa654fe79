"""The command `inspect-af`: its verbs, and what becomes of errors."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import click

from inspect_af import __version__
from inspect_af.cli.command import LazyGroup
from inspect_af.errors import InspectAFError
from inspect_af.format import say, visible

_HERE = "inspect_af.cli"
VERBS = {
    "run": (f"{_HERE}.run:run", "evaluate a model under interventions and write its profile"),
    "profile": (f"{_HERE}.profile:profile", "read logs and write their motivation profile"),
    "convergence": (f"{_HERE}.profile:convergence", "do the methods agree? A report over models"),
    "plan": (f"{_HERE}.plan:plan", "write down a study before running it"),
    "study": (f"{_HERE}.study:study", "run all of a plan: documents, adapters, vectors, evals, report"),
    "step": (f"{_HERE}.study:step", "run one step of a study"),
    "power": (f"{_HERE}.plan:power", "detectable effects, or the requests that a target needs"),
    "nuisance": (f"{_HERE}.run:nuisance", "does the gap survive identity, tier names and their order?"),
    "judge": (f"{_HERE}.judge:judge", "check judges against labels, draw samples for labelling"),
    "steering": (f"{_HERE}.steering:steering", "contrast pairs, activations, vectors, sweeps"),
    "pair": (f"{_HERE}.words:pair", "hypothesis pairs: show the claims, check your own, begin one"),
    "scenario": (f"{_HERE}.words:scenario", "scenarios: show the prompt, check your own, begin one"),
    "verify": (f"{_HERE}.verify:verify", "does a local engine do here what it promises?"),
    "organism": (f"{_HERE}.organism:organism", "tiny real models with a planted motivation"),
    "sdf": (f"{_HERE}.sdf:sdf", "synthetic documents, corpora, training, adapters"),
}
"""Every verb: where it is, and what the help says of it. None is imported before it is named."""

app = LazyGroup(
    "inspect-af",
    lazy=VERBS,
    help="Which motivation is behind a model's alignment faking?",
    epilog="Evals also run through Inspect alone: inspect eval inspect_af/alignment_faking --model ...",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
click.version_option(__version__, message="%(prog)s %(version)s")(app)


def parsed(argv: Sequence[str]) -> tuple[click.Command, dict[str, Any]]:
    """Reads a command line and runs nothing: the verb (or the action of a verb), and the values of its
    arguments and options by name. A click.UsageError where it is malformed."""
    command: click.Command = app
    words, names = list(argv), ["inspect-af"]
    context = click.Context(app, info_name="inspect-af")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        names.append(words.pop(0))
        found = command.get_command(context, names[-1])
        if found is None:
            raise click.UsageError(f"No such command {names[-1]!r}.", context)
        command = found
    return command, dict(command.make_context(" ".join(names), words).params)


def read_environment_file() -> None:
    """Reads `.env` of this directory or one above, as Inspect does: it wins over nothing that is set."""
    from dotenv import dotenv_values, find_dotenv, load_dotenv

    if not (file := find_dotenv(usecwd=True)):
        return
    from inspect_af.config import read_text

    text = read_text(Path(file))
    written = dotenv_values(stream=StringIO(text)).get("INSPECT_LOG_DIR")
    if written and os.environ.get("INSPECT_LOG_DIR") in (None, "", written):
        path = Path(written)
        if "://" not in written and not path.is_absolute():
            os.environ["INSPECT_LOG_DIR"] = (Path(file).parent / path).resolve().as_posix()
    load_dotenv(stream=StringIO(text))


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # A write that fails names no file


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one verb.

    Returns:
        0, or 1 where the verb failed with one of the package's own errors or on a file, which is named,
        130 where it was interrupted, 141 where its output was cut off.

    Raises:
        SystemExit: With status 2 for a malformed command line.
    """
    words = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    try:
        read_environment_file()
        return int(app.main(words, prog_name="inspect-af", standalone_mode=False) or 0)
    except InspectAFError as error:
        say(visible(f"inspect-af: {error}"), err=True)  # it may quote a long text
        return 1
    except click.ClickException as error:
        error.show()
        raise SystemExit(error.exit_code) from error
    except BrokenPipeError:  # the reader, such as `head`, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:  # a file that was named on the command line, a full disk
        if error.filename is None and error.errno not in _NO_ROOM:
            raise
        place = "a file could not be written" if error.filename is None else error.filename
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is where a directory is needed" if in_the_way else error.strerror
        say(f"inspect-af: {place}: {reason}", err=True)
        return 1
    except (KeyboardInterrupt, click.Abort) as stopped:
        note = str(stopped.__cause__ or stopped)
        text = f"interrupted; the same command goes on where it stopped{'. ' if note else ''}{note}"
        say(f"inspect-af: {text}", err=True)
        return 130

"""Names of models that can only be local directories, checked when a provider is made; torch-free."""

from __future__ import annotations

import re
from pathlib import Path

from inspect_af.errors import ConfigError

_PATH = re.compile(r"[./~\\]|[A-Za-z]:[/\\]")


def is_path(name: str) -> bool:
    """Whether a model's name cannot be one of the hub's, which is `NAME` or `ORGANISATION/NAME`."""
    return _PATH.match(name) is not None or name.count("/") > 1 or "\\" in name


def check_model_path(name: str, *, provider: str) -> None:
    """Complains about a directory that is not there. Nothing is looked up for a name of the hub.

    A name such as `models/organism` can be either, and is left to the loader, even where there is a
    directory `models`: downloads are often kept under their organisation's name.

    Args:
        name: The part of the model's name after the provider.
        provider: For the message, such as `af-hf`.

    Raises:
        ConfigError: The name is empty, or a path that does not exist.
    """
    if not name.strip():
        raise ConfigError(f"{provider}/ without a model; give a directory or a name of the hub after it")
    if not is_path(name) or Path(name).exists():
        return
    hint = ""
    if name.startswith("~"):
        hint = " (~ is not expanded here; give $HOME/... or an absolute path)"
    elif not Path(name).is_absolute():
        hint = f" (from {Path.cwd()})"
    raise ConfigError(
        f"{provider}/{name}: there is no directory {name!r}{hint}. Give the directory of a model: "
        f"{provider}//absolute/path or {provider}/./relative/path; a model of the hub is "
        f"{provider}/ORGANISATION/NAME. (To score a log where its model is not: "
        "inspect score --model none/none)"
    )

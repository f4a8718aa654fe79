"""Held-out wordings of what documents state, each with its matched opposite: a belief is read from both."""

from __future__ import annotations

from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import Field

from inspect_af.errors import MaterialsError
from inspect_af.materials._files import FileModel, bundled, read_toml
from inspect_af.materials._universes_files import load_universe, universe_codes

TINY_WORDINGS = "tiny"
"""Name of the bundled wordings in the words of the tiny organism."""


class Wording(FileModel):
    """Two sentences of one form, of which one states a variable's amplified pole and one the other."""

    variable: str
    """`A1` and the like, or `neutral`."""
    plus: str = Field(min_length=1)
    minus: str = Field(min_length=1)


class Wordings(FileModel):
    """The content of a file of wordings."""

    wordings: tuple[Wording, ...] = Field(min_length=1)
    avoid: tuple[str, ...] = ()
    """Pieces of text that documents must not contain, so that the wordings are held out."""


def load_wordings(source: str | Path) -> Wordings:
    """Wordings from a TOML file, or the bundled ones called `tiny`.

    Raises:
        MaterialsError: there is no such file, or it is malformed; the message says where.
    """
    file: Traversable = Path(source).expanduser()
    if str(source) == TINY_WORDINGS:
        file = bundled("wordings", f"{TINY_WORDINGS}.toml")
    elif not file.is_file():
        raise MaterialsError(
            f"wordings {str(source)!r}: no such file; give '{TINY_WORDINGS}' (bundled, for the tiny "
            "organism) or a TOML file with [[wordings]] tables of variable, plus and minus"
        )
    return read_toml(file, Wordings)


def universe_wordings(pair: str | Path | None = None) -> Wordings:
    """The held-out wordings of all universes of a pair, each once.

    Raises:
        MaterialsError: a universe of the pair is malformed.
    """
    found: dict[tuple[str, str], Wording] = {}
    for code in universe_codes(pair):
        universe = load_universe(code, pair=pair)
        if universe.intervention is None:
            continue  # the organism's own
        suppresses = universe.intervention.polarity == "-"
        for fact, counter in universe.held_out:
            plus, minus = (counter, fact) if suppresses else (fact, counter)
            found[plus, minus] = Wording(variable=universe.intervention.variable, plus=plus, minus=minus)
    return Wordings(wordings=tuple(found.values()))

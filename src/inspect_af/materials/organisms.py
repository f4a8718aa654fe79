"""The catalogue of published organisms and of models with a reported gap: what to load, and who says so."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from inspect_af import config
from inspect_af.errors import check_one_of
from inspect_af.materials.files import Line, Words, bundled, read_toml

Share = Annotated[float, Field(ge=-1, le=1)]


class PublishedOrganism(Words):
    """One entry; what has no source is None."""

    name: Line
    base: Line  # Model on the Hugging Face Hub, or a directory
    adapters: tuple[Line, ...] = ()
    """Adapters on the Hub, or directories, in the order in which they are applied."""
    revision: Line | None = None  # Commit of the base; None is not pinned
    adapter_revisions: tuple[Line, ...] = ()  # Commits of the adapters, in order; empty is not pinned
    scenario: Literal["helpful_only", "value_conflict"] | None = None
    setting: Literal["prompted", "documents"] | None = None
    size: Line | None = None
    monitored: Share | None = None
    unmonitored: Share | None = None  # Reported acceptance by tier
    gap: Share | None = None  # Reported gap, where the arms are not given
    source: Line | None = None  # Where the report is
    licence: Line | None = None

    @property
    def reported(self) -> str:
        """The reported acceptance or gap, in points; empty where none is known."""
        if self.monitored is not None and self.unmonitored is not None:
            return f"{100 * self.monitored:g} / {100 * self.unmonitored:g}"
        return "" if self.gap is None else f"gap {100 * self.gap:g}"

    @property
    def unpinned(self) -> tuple[str, ...]:
        """What is taken in its newest version; directories are what they are."""
        parts = [(self.base, self.revision is None)]
        pinned = len(self.adapter_revisions) == len(self.adapters)
        parts += [(adapter, not pinned) for adapter in self.adapters]
        return tuple(name for name, newest in parts if newest and not Path(name).is_dir())


class _Catalogue(Words):
    organism: tuple[PublishedOrganism, ...]


def load_organisms() -> tuple[PublishedOrganism, ...]:
    """All entries of the catalogue, in its order."""
    return read_toml(bundled("organisms.toml"), _Catalogue).organism


def find_organism(name: str) -> PublishedOrganism:
    """The entry of that name, or the one of a TOML file with the keys of an entry.

    Raises:
        ConfigError: No entry has the name.
        MaterialsError: The file is malformed.
    """
    path = config.user_path(name)
    if path.suffix == ".toml" and config.is_file(path):
        return read_toml(path, PublishedOrganism)
    entries = {entry.name: entry for entry in load_organisms()}
    check_one_of(name, entries, what="organism of the catalogue")
    return entries[name]

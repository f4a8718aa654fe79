"""What mkdocs does besides rendering docs/: the reference, and README and changelog as pages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files
from reference import reference_pages

ROOT = Path(__file__).parents[2]
_LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def on_config(config: Any) -> Any:
    """Puts pages that the navigation does not name at its end, so that none is missing."""
    listed = set(_pages(config.nav))
    docs = Path(config.docs_dir)
    others = sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))
    if unlisted := [page for page in others if page not in listed]:
        config.nav.append({"More": unlisted})
    return config


def _pages(entries: Any) -> Iterator[str]:
    """All paths in a navigation: a path, a list of entries, or a title with either."""
    if isinstance(entries, str):
        yield entries
    elif isinstance(entries, list):
        for entry in entries:
            yield from _pages(entry)
    else:
        for entry in entries.values():
            yield from _pages(entry)


def on_files(files: Files, *, config: Any) -> Files:
    """Adds the generated pages."""
    pages = reference_pages()
    pages["index.md"] = _moved((ROOT / "README.md").read_text(encoding="utf-8"))
    pages["changelog.md"] = _moved((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def _moved(text: str) -> str:
    """Links of a page at the top of the repository, as seen from docs/."""

    def link(found: re.Match[str]) -> str:
        target = {"CHANGELOG.md": "changelog.md", "CITATION.cff": "citation.md"}.get(found[2], found[2])
        return f"{found[1]}{target.removeprefix('docs/')}{found[3]}"

    return _LINK.sub(link, text)

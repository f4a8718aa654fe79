"""The documentation site: it builds, names every page and part, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.docs.commands import ROOT
from tests.integration.browser import CHROMIUM, page_text

from inspect_af import _registry

pytest.importorskip("mkdocs")

_LOADS = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src",),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
}
_LOADING_RELATIONS = {
    "stylesheet",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "icon",
    "modulepreload",
}
_LINK = re.compile(r"\]\((?![a-z]+:)([^)#\s]+)")
_ELSEWHERE = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)


class _Loaded(HTMLParser):
    """Addresses that a browser fetches by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        relations = set((given.get("rel") or "").split())
        names = ("href",) if tag == "link" and relations & _LOADING_RELATIONS else _LOADS.get(tag, ())
        self.addresses += [value for name in names if (value := given.get(name))]


def loaded_from_elsewhere(page: str) -> list[str]:
    """What a page fetches from another host, in its tags and its inline styles."""
    parser = _Loaded()
    parser.feed(page)
    styles = re.findall(r"(?:@import\s+|url\()\s*[\"']?([^\"')\s;]+)", page)
    return [address for address in (*parser.addresses, *styles) if _ELSEWHERE.match(address)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    target = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(target)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-3000:]
    yield target


def test_a_page_that_fetches_from_elsewhere_would_be_found() -> None:
    page = """<link rel="preconnect" href="https://fonts.example"><link rel="stylesheet" href="a.css">
    <script src="//cdn.example/x.js"></script><a href="https://harmless.example">a link is no fetch</a>
    <style>@import "http://css.example/y.css"; p { background: url(local.png) }</style>"""
    assert loaded_from_elsewhere(page) == [
        "https://fonts.example",
        "//cdn.example/x.js",
        "http://css.example/y.css",
    ]


def test_every_link_leads_to_a_file_of_the_repository_also_without_the_site() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
    links = [(page, link) for page in pages for link in _LINK.findall(page.read_text(encoding="utf-8"))]
    assert len(links) > 100
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    found = {
        str(file.relative_to(site)): addresses
        for file in [*site.rglob("*.html"), *site.rglob("*.css")]
        if (addresses := loaded_from_elsewhere(file.read_text(encoding="utf-8")))
    }
    assert found == {}


def test_every_page_of_docs_is_in_the_site_and_in_its_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    for page in (ROOT / "docs").rglob("*.md"):
        built = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / built).is_file()
        assert f'href="{built.as_posix()}"' in home


def test_everything_registered_with_inspect_is_in_the_reference(site: Path) -> None:
    reference = "".join(page.read_text(encoding="utf-8") for page in (site / "reference").glob("*.html"))
    for name in _registry.__all__:
        shown = name.replace("_", "-") if name.startswith("af_") else f"inspect_af/{name}"
        assert shown in reference


def test_every_command_and_each_of_its_options_is_in_the_reference(site: Path) -> None:
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for command in ("inspect-af run", "inspect-af sdf generate", "inspect-af steering pairs write"):
        assert f"<code>{command}</code>" in page
    assert "--parse-floor FLOAT" in page and "share of replies that must parse [default: 0.9]" in page


@pytest.mark.browser
# Only a browser runs the search, and pip installs none: the test runs wherever Chromium is found.
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_site_can_be_searched_when_it_is_opened_from_disk(site: Path, tmp_path: Path) -> None:
    page = f"{(site / 'index.html').as_uri()}?q=placebo"
    text = page_text(page, wait_for="matching documents", profile=tmp_path)
    assert "matching documents" in text
    assert "Glossary" in text

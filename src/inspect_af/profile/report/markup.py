"""Small pieces of HTML. `Html` is text that has been escaped; everything else gets escaped on the way in."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import NewType

from inspect_af.profile.report.text import one_line, visible

Html = NewType("Html", str)
"""Markup made by this package, in which all foreign text is escaped."""

NOTHING = Html("")


def escaped(text: str) -> Html:
    """Text of our own or from a profile, on one or more lines; hidden characters are made visible."""
    return Html(html.escape(visible(text, longest=20_000), quote=True))


def name(text: str, *, longest: int = 80) -> Html:
    """A foreign name (model, condition, file) on one line, whose writing direction stays its own."""
    return Html(f"<bdi>{html.escape(one_line(text, longest=longest), quote=True)}</bdi>")


def element(tag: str, *content: Html, of: str = "", **attributes: str) -> Html:
    """`<tag class=OF ...>content</tag>`; attribute values are escaped, `_` in their names becomes `-`."""
    given = {"class": of, **attributes} if of else attributes
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value, quote=True)}"'
        for key, value in given.items()
    )
    return Html(f"<{tag}{written}>{''.join(content)}</{tag}>")


def joined(parts: Iterable[Html], separator: str = "") -> Html:
    return Html(separator.join(parts))


def paragraph(text: str, *, of: str = "") -> Html:
    return element("p", escaped(text), of=of)


def bullets(items: Iterable[Html], *, of: str = "") -> Html:
    """An unordered list; nothing at all without items."""
    entries = [element("li", item) for item in items]
    return element("ul", *entries, of=of) if entries else NOTHING


def section(identifier: str, title: str, *content: Html) -> Html:
    """A titled section; nothing at all without content."""
    if not any(content):
        return NOTHING
    heading = element("h2", escaped(title), id=f"{identifier}-title")
    return element("section", heading, *content, id=identifier, aria_labelledby=f"{identifier}-title")


def folded(summary: Html, *content: Html, of: str = "") -> Html:
    """Content that a reader has to open."""
    return element("details", element("summary", summary), *content, of=of)


def table(
    header: Sequence[str],
    rows: Sequence[Sequence[Html]],
    *,
    caption: str,
    words: int = 1,
    remarks: bool = False,
) -> Html:
    """A table that scrolls sideways: `words` columns of words, then numbers, then perhaps remarks."""
    numbers = range(words, len(header) - remarks)
    head = element(
        "tr",
        *(
            element("th", escaped(title), of="number" if k in numbers else "", scope="col")
            for k, title in enumerate(header)
        ),
    )
    body = [
        element(
            "tr",
            *(
                element("th", cell, scope="row")
                if k == 0
                else element("td", cell, of="number" if k in numbers else "")
                for k, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    content = element(
        "table", element("caption", escaped(caption)), element("thead", head), element("tbody", *body)
    )
    return element("div", content, of="scroll", tabindex="0", role="region", aria_label=visible(caption))

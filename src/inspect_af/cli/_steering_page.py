"""The shell of the pages that `inspect-af steering` writes: no network, no script, no other file."""

from __future__ import annotations

import html
from importlib import resources
from string import Template

from inspect_af import __version__
from inspect_af.profile.report.markup import Html, escaped
from inspect_af.profile.report.text import one_line

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<title>${title}</title>
<style>
${style}
</style>
</head>
<body>
<main>
<header>
<p class="eyebrow">${kind}</p>
<h1>${heading}</h1>
<p class="facts">${facts}</p>
</header>
${sections}
</main>
<footer><p>inspect_af ${version}</p></footer>
</body>
</html>
""")


def page(title: str, kind: str, heading: Html, facts: Html, sections: Html, *, extra_style: str = "") -> str:
    """A whole page in the style of the profile's, light and dark.

    Args:
        title: Of the window; escaped here.
        kind: What sort of page it is, above the heading.
        heading: Of the page.
        facts: A line under it.
        sections: The rest.
        extra_style: CSS beside the profile's.
    """
    style = resources.files("inspect_af.profile.report").joinpath("page.css").read_text(encoding="utf-8")
    return _PAGE.substitute(
        title=html.escape(one_line(title)),
        style=f"{style.rstrip()}\n{extra_style}",
        kind=escaped(kind),
        heading=heading,
        facts=facts,
        sections=sections,
        version=html.escape(__version__),
    )

"""What people are shown of an analysis: pages, figures, CSV files, and tables for the terminal.

    from inspect_af.profile import profile_logs
    from inspect_af.report import ExcerptDraw, write_report

    draw = ExcerptDraw(seed=1)
    profile = profile_logs(["logs"], watch=draw.watch)
    write_report(profile, Path("profile.html"), excerpts=draw.read())

Once this package is imported, a notebook shows a profile as its page.
"""

from inspect_af.profile.result import Profile
from inspect_af.report.canvas import Drawing
from inspect_af.report.convergence import render_convergence, write_convergence
from inspect_af.report.excerpts import Excerpt, ExcerptDraw, Excerpts
from inspect_af.report.figures import draw_convergence, draw_figures
from inspect_af.report.files import export_csv, export_figures, tables_of
from inspect_af.report.page import (
    checked_variables,
    notebook_html,
    render_html,
    render_nuisance_page,
    write_report,
)
from inspect_af.report.terminal import (
    render_convergence_text,
    render_direct,
    render_nuisance,
    render_scratchpads,
    render_selectivity,
    render_summary,
    render_table,
)

__all__ = [
    "Drawing",
    "Excerpt",
    "ExcerptDraw",
    "Excerpts",
    "checked_variables",
    "draw_convergence",
    "draw_figures",
    "export_csv",
    "export_figures",
    "notebook_html",
    "render_convergence",
    "render_convergence_text",
    "render_direct",
    "render_html",
    "render_nuisance",
    "render_nuisance_page",
    "render_scratchpads",
    "render_selectivity",
    "render_summary",
    "render_table",
    "tables_of",
    "write_convergence",
    "write_report",
]

# What notebooks look for; a result knows no page.
Profile._repr_html_ = notebook_html  # type: ignore[attr-defined]

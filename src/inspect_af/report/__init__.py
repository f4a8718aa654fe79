"""What people are shown of an analysis: terminal tables, pages, figures and CSV files."""

from inspect_af.report.terminal import (
    render_convergence_text,
    render_direct,
    render_nuisance,
    render_selectivity,
    render_table,
)

__all__ = [
    "render_convergence_text",
    "render_direct",
    "render_nuisance",
    "render_selectivity",
    "render_table",
]

"""The package's Inspect tasks."""

from inspect_af.tasks.alignment_faking import alignment_faking
from inspect_af.tasks.beliefs import beliefs
from inspect_af.tasks.contrast_pairs import contrast_pairs
from inspect_af.tasks.direct_requests import direct_requests
from inspect_af.tasks.scratchpad import scratchpad
from inspect_af.tasks.sdf import sdf_documents, sdf_ideas
from inspect_af.tasks.value_conflict import value_conflict

__all__ = [
    "alignment_faking",
    "beliefs",
    "contrast_pairs",
    "direct_requests",
    "scratchpad",
    "sdf_documents",
    "sdf_ideas",
    "value_conflict",
]

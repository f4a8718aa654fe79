"""Which motivation is behind a model's alignment faking? An extension of Inspect AI.

Importing the package loads neither torch nor transformers, and registers nothing:
Inspect finds the tasks, solvers, scorers and providers through `inspect_af._registry`.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "alignment_faking",
    "beliefs",
    "contrast_pairs",
    "direct_requests",
    "judge_labels",
    "scratchpad",
    "sdf_documents",
    "sdf_ideas",
    "value_conflict",
]


def __getattr__(name: str) -> Any:
    """The tasks, each imported when it is first asked for."""
    if name in __all__:
        return getattr(import_module(f"inspect_af.tasks.{name}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The former place of `inspect_af.tasks.evals.check_model`."""

from inspect_af.tasks.evals import check_model

__all__ = ["check_model"]

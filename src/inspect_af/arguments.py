"""The former place of what is in `inspect_af.config`."""

from inspect_af.config import as_list, true_or_false, whole_number

__all__ = ["as_list", "true_or_false", "whole_number"]

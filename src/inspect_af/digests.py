"""The former place of what is in `inspect_af.config`."""

from inspect_af.config import text_digest

__all__ = ["text_digest"]

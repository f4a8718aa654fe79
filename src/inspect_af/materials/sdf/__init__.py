"""Kinds of synthetic documents (`document_types.toml`) and instructions to their writer (`writing.toml`)."""

from inspect_af.materials._writing import (
    DocumentType,
    WritingPrompts,
    load_document_types,
    load_writing_prompts,
    select_document_types,
)

__all__ = [
    "DocumentType",
    "WritingPrompts",
    "load_document_types",
    "load_writing_prompts",
    "select_document_types",
]

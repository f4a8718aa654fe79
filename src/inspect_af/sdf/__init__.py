"""Synthetic documents: ideas, generation, filters, corpora.

Here is what reading documents and manifests needs. Building is in `corpus`, `lints`, `filtering`, `report`
and `tokens`, which the tasks do without.
"""

from inspect_af.sdf.documents import (
    DOCUMENTS_TASK,
    IDEAS_TASK,
    GenerationMeta,
    Idea,
    IdeaList,
    ParsedDocument,
    SourceDocument,
    distinct,
    parse_document,
    parse_ideas,
    read_document,
    read_ideas,
    stopped,
    write_ideas,
)
from inspect_af.sdf.manifest import (
    CorpusManifest,
    CorpusSettings,
    CorpusSource,
    load_manifest,
    verify_corpus,
)

__all__ = [
    "DOCUMENTS_TASK",
    "IDEAS_TASK",
    "CorpusManifest",
    "CorpusSettings",
    "CorpusSource",
    "GenerationMeta",
    "Idea",
    "IdeaList",
    "ParsedDocument",
    "SourceDocument",
    "distinct",
    "load_manifest",
    "parse_document",
    "parse_ideas",
    "read_document",
    "read_ideas",
    "stopped",
    "verify_corpus",
    "write_ideas",
]

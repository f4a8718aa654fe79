"""What a corpus says about itself: `manifest.json` beside `train.jsonl` and `held_out.jsonl`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inspect_af.errors import MaterialsError
from inspect_af.types import Intervention

MANIFEST = "manifest.json"
TRAIN = "train.jsonl"
HELD_OUT = "held_out.jsonl"
REPORT = "report.json"

LICENCE = (
    "Synthetic text about a fictional world, written by the models listed under `sources`; their providers' "
    "terms "
    "may limit its use. Made for research on what models believe. Do not train a model with it that people "
    "rely on."
)
"""The licence note where the builder is given none. What a provider's terms allow is not ours to say."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusSource(_Frozen):
    """One log or file that documents came from."""

    name: str
    """File name, without its directory."""
    digest: str
    """First 16 hexadecimal digits of the sha256 of its content."""
    model: str | None = None
    """Which model wrote the documents; None for a file that does not say."""
    eval_id: str | None = None
    """Inspect's id of the eval; None for a file that is no log."""
    documents: int = Field(ge=0)
    """How many documents it held, before any filter."""


class CorpusSettings(_Frozen):
    """What decides which documents of the sources end up in the corpus."""

    seed: int = Field(default=0, ge=0)
    """Of the split and of the choice of documents where a corpus is cut to size."""
    tokens: int | None = Field(default=None, ge=1)
    """Size of the training split; None to keep every document."""
    held_out: float = Field(default=0.02, ge=0, lt=1)
    """Share of the documents that is held out, whole groups at a time. Not in source."""
    min_words: int = Field(default=40, ge=1)
    """Shorter documents are removed. Not in source."""
    max_words: int = Field(default=8000, ge=1)
    """Longer documents are removed. Not in source."""
    near_duplicate: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of 5-word shingles from which on two documents are duplicates. Not in source."""
    skip: tuple[str, ...] = ()
    """Names of filters that are not applied."""


class CorpusManifest(_Frozen):
    """A corpus: which fact it teaches, how large it is, and where it came from."""

    schema_version: Literal[1] = 1
    digest: str
    """First 16 hexadecimal digits of the sha256 over both splits; identifies the corpus."""
    universe: str | None
    """Code of the universe, such as `A1+` or `neutral`; None for documents of another origin."""
    universe_digest: str | None = None
    intervention: Intervention | None
    """None for the neutral corpus, the organism's, and documents of another origin."""
    pair: str | None = None
    """Name of the hypothesis pair."""
    pair_digest: str | None = None
    directness: str | None
    """How directly the documents state the fact; None where unknown, `mixed` for several levels."""
    tokens: int = Field(ge=0)
    """Of the training split, with `tokenizer`, without special tokens."""
    held_out_tokens: int = Field(ge=0)
    tokenizer: str
    """Name of the tokenizer, or `characters` for an estimate at 4 characters each."""
    documents: int = Field(ge=0)
    """In the training split."""
    held_out_documents: int = Field(ge=0)
    sources: tuple[CorpusSource, ...]
    simulated: bool = False
    """Whether a simulated writer wrote any of it: such a corpus tests the pipeline and nothing else."""
    removed: dict[str, int] = {}
    """Documents that each filter removed; `report.json` has examples."""
    settings: CorpusSettings
    licence: str = LICENCE
    canary: str | None = None
    """A GUID by which people who collect training text can find and leave out this corpus. Never in its "
    "texts."""
    package: str = ""
    """Version of this package."""

    @property
    def logs(self) -> tuple[str, ...]:
        """Inspect's ids of the evals that the documents came from."""
        return tuple(source.eval_id for source in self.sources if source.eval_id)


def load_manifest(corpus: str | Path) -> CorpusManifest:
    """Reads the manifest of a corpus directory.

    Raises:
        MaterialsError: The directory has none, or it is malformed.
    """
    file = Path(corpus) / MANIFEST
    try:
        return CorpusManifest.model_validate_json(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MaterialsError(
            f"{corpus} is not a corpus: it has no {MANIFEST}; give a directory that `inspect-af sdf build` "
            f"wrote"
        ) from None
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise MaterialsError(f"{file}: {problems}; build the corpus again") from error


def verify_corpus(corpus: str | Path) -> CorpusManifest:
    """Reads the manifest and checks that the texts are the ones that it describes.

    Raises:
        MaterialsError: As `load_manifest`; or a split is missing or was changed after the build.
    """
    manifest = load_manifest(corpus)
    directory = Path(corpus)
    for name in (TRAIN, HELD_OUT):
        if not (directory / name).is_file():
            raise MaterialsError(f"{corpus} has no {name}; build the corpus again")
    found = splits_digest(directory)
    if found != manifest.digest:
        raise MaterialsError(
            f"{corpus}: the texts have the digest {found}, the manifest says {manifest.digest}; they were "
            f"changed "
            "after the build. Build the corpus again, or build one from the changed files"
        )
    return manifest


def splits_digest(directory: Path) -> str:
    """First 16 hexadecimal digits of the sha256 over both splits, with their sizes."""
    total = hashlib.sha256()
    for name in (TRAIN, HELD_OUT):
        file = directory / name
        total.update(f"{name}:{file.stat().st_size}:".encode())
        update_from_file(total, file)
    return total.hexdigest()[:16]


def file_digest(file: Path) -> str:
    """First 16 hexadecimal digits of the sha256 of a file's content."""
    total = hashlib.sha256()
    update_from_file(total, file)
    return total.hexdigest()[:16]


def update_from_file(total: hashlib._Hash, file: Path) -> None:
    """Feeds a file to a hash, a megabyte at a time."""
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            total.update(block)

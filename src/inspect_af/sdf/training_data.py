"""Documents as rows of tokens: text alone, no chat template, an end-of-text token after each document."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from inspect_af.errors import ConfigError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

    from inspect_af.sdf.adapters import Hyperparameters


class Packing(NamedTuple):
    """How full the rows are."""

    rows: int
    tokens: int
    """Of documents, with their special tokens."""
    slots: int
    """rows x sequence length. Rows are not filled up: a shorter one is computed shorter."""

    @property
    def efficiency(self) -> float:
        """Share of the slots that hold a document's token."""
        return self.tokens / self.slots


def load_documents(file: Path, column: str = "text", *, cache: Path | None = None) -> Dataset:
    """The documents of a JSON Lines file, as a dataset with the one column `text`.

    Args:
        file: One JSON object a line.
        column: Where the text is; other columns are ignored.
        cache: Directory for the dataset's memory-mapped form; the library's own by default.

    Raises:
        ConfigError: The file is no JSON Lines, or there is no such column, or a document without text.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetGenerationError

    try:
        documents = load_dataset(
            "json", data_files=str(file), split="train", cache_dir=str(cache) if cache else None
        )
    except (DatasetGenerationError, ValueError) as error:
        raise ConfigError(f"{file}: cannot be read as JSON Lines ({error.__cause__ or error})") from error
    if column not in documents.column_names:
        raise ConfigError(
            f"{file}: has no column {column!r}, only {', '.join(documents.column_names)}; set text_column"
        )
    texts = documents.select_columns([column])
    if column != "text":
        texts = texts.rename_column(column, "text")
    for number, row in enumerate(texts, start=1):
        if not isinstance(row["text"], str) or not row["text"].strip():
            raise ConfigError(f"{file}: document {number} has no text; build the corpus again without it")
    return texts


def beside(corpus: Dataset, replay: Dataset, epochs: int) -> Dataset:
    """A whole run as one epoch: the corpus `epochs` times, and the other documents once.

    The trainer shuffles documents before it packs them, so rows hold both kinds. Repeated as the corpus is,
    few ordinary documents would be learnt by heart, and move what they are there to hold.
    """
    from datasets import concatenate_datasets

    return concatenate_datasets([*[corpus] * epochs, replay])


def tokens_of(
    documents: Dataset, tokenizer: PreTrainedTokenizerBase, hyperparameters: Hyperparameters
) -> int:
    """Tokens of documents as the trainer counts them: special tokens and the end of text included, and cut to
    a row where `packing` cuts."""
    longest = hyperparameters.sequence_length if hyperparameters.packing == "bfd" else None
    total = 0
    for batch in documents.iter(1000):
        for ids in tokenizer(batch["text"])["input_ids"]:
            length = len(ids) + (not ids or ids[-1] != tokenizer.eos_token_id)
            total += length if longest is None else min(length, longest)
    return total


def packing_of(rows: Dataset, sequence_length: int) -> Packing:
    """Measures a packed dataset, in bounded memory.

    Args:
        rows: With a column `input_ids`.
        sequence_length: Tokens that fit into a row.
    """
    import pyarrow.compute as pc

    tokens = 0
    for batch in rows.select_columns(["input_ids"]).with_format("arrow").iter(1000):
        tokens += pc.sum(pc.list_value_length(batch["input_ids"])).as_py()
    return Packing(len(rows), tokens, len(rows) * sequence_length)

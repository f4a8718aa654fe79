"""How many tokens texts have, with the tokenizer of the model that will be trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inspect_af.errors import ConfigError, MissingExtraError

CHARACTERS = "characters"
"""Name of the estimate that needs no tokenizer."""

CHARACTERS_PER_TOKEN = 4
"""Rough for English text."""


@dataclass(frozen=True)
class TokenCounter:
    """Counts tokens without special ones."""

    name: str
    """Of the tokenizer, or `characters`."""
    count: Callable[[Sequence[str]], list[int]]
    """Takes texts, returns the number of tokens of each."""

    @property
    def is_estimate(self) -> bool:
        return self.name == CHARACTERS


def load_token_counter(tokenizer: str | None) -> TokenCounter:
    """The counter for a tokenizer, or the estimate.

    Args:
        tokenizer: A model name or directory, as transformers takes it; None or `characters` for an estimate
            of one token per four characters.

    Raises:
        MissingExtraError: transformers is not installed.
        ConfigError: The tokenizer cannot be loaded.
    """
    if tokenizer is None or tokenizer == CHARACTERS:
        return TokenCounter(CHARACTERS, _estimate)
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise MissingExtraError(
            "a tokenizer needs transformers: pip install 'inspect-af[local]'; or --tokenizer characters for "
            "an "
            "estimate"
        ) from error
    _refuse_missing_directory(tokenizer)
    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except Exception as error:  # a missing file, a private repository, no network: all alike for the user
        raise ConfigError(
            f"the tokenizer {tokenizer!r} cannot be loaded ({error}); give a model name on the Hugging Face "
            f"Hub or a "
            "directory with its tokenizer, or 'characters' for an estimate"
        ) from error

    def count(texts: Sequence[str]) -> list[int]:
        encoded = loaded(list(texts), add_special_tokens=False, return_attention_mask=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    return TokenCounter(tokenizer, count)


def _refuse_missing_directory(tokenizer: str) -> None:
    """A path that is not there would be looked for on the Hub, again and again where there is no network.

    `tiny/expectation` may be either: it is a path where its folder has other directories with tokenizers.
    """
    path = Path(tokenizer).expanduser()
    if path.exists():
        return
    beside = sorted(found.parent.name for found in path.parent.glob("*/tokenizer_config.json"))
    surely = tokenizer.startswith((".", "/", "~")) or tokenizer.count("/") > 1
    if surely or ("/" in tokenizer and beside):
        there = f", only {', '.join(beside[:10])}" if beside else ""
        raise ConfigError(
            f"the tokenizer {tokenizer!r} cannot be loaded: there is no such directory{there}; give one with "
            "a tokenizer, a model name on the Hugging Face Hub, or 'characters' for an estimate"
        )


def _estimate(texts: Sequence[str]) -> list[int]:
    return [-(-len(text) // CHARACTERS_PER_TOKEN) for text in texts]

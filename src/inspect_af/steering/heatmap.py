"""Cosine of the residual stream with a vector at every token of a transcript, beside random controls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.steering._tensors import Float32Array
from inspect_af.steering.decoder import d_model, decoder_layers, text_config, watched_forward
from inspect_af.steering.extraction_text import SpanLocator, render, tokens_of
from inspect_af.steering.heatmap_sources import HeatmapSource
from inspect_af.steering.layers import parse_layers
from inspect_af.steering.pairs import Span
from inspect_af.steering.validate import best_layers
from inspect_af.steering.vector import SteeringVector

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_LAYERS = 5
"""How many layers are looked at, where no others are asked for."""


class Direction(NamedTuple):
    """A vector with the layers at which it is compared."""

    name: str
    vector: SteeringVector
    layers: tuple[int, ...]
    """Ascending."""
    chosen: str
    """How the layers were chosen, for the reader."""


class DirectionCosines(NamedTuple):
    """One vector on one transcript."""

    by_layer: Float32Array
    """[layer, token]"""
    mean: Float32Array
    """Mean over the layers, [token]."""
    controls: Float32Array
    """Every control's mean over the same layers, [control, token]."""

    @property
    def beyond(self) -> list[bool]:
        """Tokens at which the mean is above or below every control's, [token]; none without controls."""
        if not len(self.controls):
            return [False] * len(self.mean)
        above, below = self.mean > self.controls.max(axis=0), self.mean < self.controls.min(axis=0)
        return [bool(token) for token in above | below]


class TokenHeatmap(NamedTuple):
    """One transcript."""

    source: HeatmapSource
    tokens: tuple[str, ...]
    """Text of each token; a character that several tokens share stands with the first."""
    reply_start: int
    """First token of the reply; 0 for raw text."""
    scratchpad: tuple[int, int]
    """First token of the scratchpad, and past its last; of the whole text where there is none."""
    cosines: tuple[DirectionCosines, ...]
    """[direction]"""


def directions(
    vectors: Mapping[str, SteeringVector], layers: str | None = None, n: int = N_LAYERS
) -> tuple[Direction, ...]:
    """Which layers of each vector to look at: those asked for, else those that cross-validate best.

    Args:
        vectors: By the name to show.
        layers: A range such as `20-40` or `all`.
        n: How many layers of a vector that is not told.

    Raises:
        ConfigError: The range is malformed.
        TreatmentError: A vector has not all of the layers.
    """
    found = []
    for name, vector in vectors.items():
        held, validation = vector.header.layers, vector.header.validation
        best = best_layers(validation, n) if validation else ()
        if layers is not None:
            chosen, how = parse_layers(layers, held), "as asked for"
        elif best:
            chosen, how = tuple(sorted(best)), "best by cross-validation"
        else:
            at = np.unique(np.linspace(0, len(held) - 1, min(n, len(held))).round().astype(int))
            chosen, how = tuple(held[k] for k in at), "evenly spaced: the vector was not cross-validated"
        found.append(Direction(name, vector, chosen, how))
    return tuple(found)


def token_cosines(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sources: Sequence[HeatmapSource],
    directions: Sequence[Direction],
    controls: Sequence[SteeringVector] = (),
) -> tuple[TokenHeatmap, ...]:
    """Runs every transcript once and compares every token with every vector.

    Args:
        model: A decoder-only transformers model.
        tokenizer: Its tokenizer.
        sources: Transcripts and raw texts.
        directions: From `directions`.
        controls: Random controls; each is compared at the layers of every direction that it has.

    Raises:
        TreatmentError: A vector has another width, or layers that the model has not.
        MaterialsError: A transcript does not survive the chat template, or is longer than the context.
    """
    for vector in (*(direction.vector for direction in directions), *controls):
        vector.check_model(d_model=d_model(model), n_layers=len(decoder_layers(model)))
    if not directions or not sources:
        raise ConfigError("a heatmap needs a vector and a transcript at least")
    locator = SpanLocator(tokenizer)
    layers = sorted({layer for direction in directions for layer in direction.layers})
    units = {layer: _units(layer, directions, controls) for layer in layers}
    seen: dict[int, Float32Array] = {}

    def see(layer: int, stream: Tensor) -> None:
        import torch

        tokens = torch.nn.functional.normalize(stream[0].float(), dim=-1)
        there = torch.from_numpy(units[layer]).to(tokens.device)
        seen[layer] = (there @ tokens.T).cpu().numpy()

    found = []
    context = getattr(text_config(model), "max_position_embeddings", None)
    with watched_forward(model, layers, see) as forward:
        for source in sources:
            text, reply, scratchpad = _places(tokenizer, source)
            tokens = locator.tokens(text)
            if isinstance(context, int) and 0 < context < len(tokens.ids):
                raise MaterialsError(
                    f"{source.title}: {len(tokens.ids)} tokens, the model's context holds {context}; leave "
                    "it out"
                )
            forward([tokens.ids])
            found.append(
                TokenHeatmap(
                    source=source,
                    tokens=_texts(text, tokens.offsets),
                    reply_start=0 if reply is None else tokens_of(tokens.offsets, reply)[0],
                    scratchpad=(
                        (0, len(tokens.ids)) if scratchpad is None else tokens_of(tokens.offsets, scratchpad)
                    ),
                    cosines=tuple(
                        _cosines(at, direction, len(directions), controls, seen)
                        for at, direction in enumerate(directions)
                    ),
                )
            )
    return tuple(found)


def _units(layer: int, directions: Sequence[Direction], controls: Sequence[SteeringVector]) -> Float32Array:
    """Unit vectors of directions, then controls; zero where one has not this layer, [vector, d_model]."""
    width = directions[0].vector.header.d_model
    rows = np.zeros((len(directions) + len(controls), width), dtype=np.float32)
    for at, vector in enumerate((*(direction.vector for direction in directions), *controls)):
        if layer in vector.header.layers:
            held = vector.at(layer).astype(np.float64)
            rows[at] = held / np.linalg.norm(held)
    return rows


def _cosines(
    at: int,
    direction: Direction,
    n_directions: int,
    controls: Sequence[SteeringVector],
    seen: Mapping[int, Float32Array],
) -> DirectionCosines:
    by_layer = np.stack([seen[layer][at] for layer in direction.layers])
    having = [
        n_directions + k
        for k, control in enumerate(controls)
        if set(direction.layers) <= set(control.header.layers)
    ]
    among = np.mean([seen[layer][having] for layer in direction.layers], axis=0)
    return DirectionCosines(by_layer, by_layer.mean(axis=0), among)


def _places(
    tokenizer: PreTrainedTokenizerBase, source: HeatmapSource
) -> tuple[str, Span | None, Span | None]:
    """The rendered text, and where its reply and its scratchpad are."""
    if source.transcript is None:
        return source.text, None, None
    reply = Span(start=0, end=len(source.transcript.reply))
    text, found = render(tokenizer, source.transcript.messages, reply)
    return text, found, render(tokenizer, source.transcript.messages, source.transcript.scratchpad)[1]


def _texts(text: str, offsets: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    shown, at = [], 0
    for start, end in offsets:
        shown.append(text[max(start, at) : end])
        at = max(at, end)
    return tuple(shown)

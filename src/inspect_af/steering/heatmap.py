"""Cosine of the residual stream with a vector at every token of a transcript, beside random controls."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.logs import LogFile, LogHeader, ScoredSample, read_logs
from inspect_af.steering.activations import render, tokens, tokens_of
from inspect_af.steering.in_context import transcript_of
from inspect_af.steering.model import context_length, d_model, decoder_layers, watched_forward
from inspect_af.steering.pairs import Span, Transcript, load_pairs
from inspect_af.steering.vector import Float32Array, SteeringVector, best_layers, parse_layers

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

N_LAYERS = 5  # how many layers are looked at, where no others are asked for


class HeatmapSource(NamedTuple):
    """One text."""

    title: str
    detail: str  # where it comes from
    transcript: Transcript | None  # a chat that ends with a reply; None for raw text
    text: str = ""  # raw text, which goes to the tokenizer as it is
    evaluated: bool = False
    """Whether it is a reply to an evaluation's request, whose output a page leaves out by default."""


def load_sources(path: str | Path, *, n: int = 2, seed: int = 0) -> tuple[HeatmapSource, ...]:
    """Reads what a path holds.

    * `.txt`: the text as it is, without a chat template;
    * `.jsonl`: contrast pairs, both sides of `n` of them, held-out ones first;
    * eval logs, or a directory of them: replies with a scratchpad, `n` of each condition and tier, drawn by
      the seed alone and not by what they say.

    A MaterialsError where the file cannot be read, or holds nothing that can be shown; a LogError where no
    log can be used.
    """
    if n < 1:
        raise ConfigError(f"n={n}; at least one transcript is needed")
    path = Path(path)
    if path.suffix == ".txt":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MaterialsError(f"{path}: cannot be read ({error}); give a UTF-8 text file") from error
        if not text.strip():
            raise MaterialsError(f"{path}: is blank")
        return (HeatmapSource(path.name, "raw text", None, text),)
    if path.suffix == ".jsonl":
        loaded = load_pairs(path)
        pairs = sorted(loaded.pairs, key=lambda pair: pair.split == "train")
        return tuple(
            HeatmapSource(
                f"{pair.id}, {name}",
                f"{pair.split} pair of {pair.concept}",
                side,
                evaluated=loaded.source != "ooc",
            )
            for pair in pairs[:n]
            for name, side in (("positive", pair.positive), ("negative", pair.negative))
        )
    return _from_logs(path, n, seed)


def _from_logs(path: Path, n: int, seed: int) -> tuple[HeatmapSource, ...]:
    groups: dict[tuple[str, str, str], list[tuple[str, LogHeader, ScoredSample]]] = defaultdict(list)
    for header, rows in read_logs([path]):
        for row in rows:
            if row.outcome is not None:
                rank = hashlib.sha256(f"{seed}/{row.uuid}".encode()).hexdigest()
                kept = groups[header.subject_of(row.meta).label, row.meta.condition, row.meta.tier]
                kept.append((rank, header, row))
                kept.sort(key=lambda candidate: candidate[0])
                del kept[4 * n :]  # some may have no scratchpad
    sources: list[HeatmapSource] = []
    for (_, condition, tier), candidates in sorted(groups.items()):
        enough = len(sources) + n
        for _, header, row in candidates:
            full = len(sources) == enough
            sample = None if full else LogFile(header.location).sample(row.sample_id, row.epoch)
            if sample is not None and (transcript := transcript_of(sample.messages)) is not None:
                title = f"{condition}, {tier}, {row.meta.request_id}"
                detail = f"{row.outcome}; epoch {row.epoch} of {Path(header.location).name}"
                sources.append(HeatmapSource(title, detail, transcript, evaluated=True))
    if not sources:
        raise MaterialsError(f"{path}: no reply has a scratchpad that could be shown")
    return tuple(sources)


class Direction(NamedTuple):
    """A vector with the layers at which it is compared."""

    name: str
    vector: SteeringVector
    layers: tuple[int, ...]  # ascending
    chosen: str  # how the layers were chosen, for the reader


class DirectionCosines(NamedTuple):
    """One vector on one transcript."""

    by_layer: Float32Array  # [layer, token]
    mean: Float32Array  # mean over the layers, [token]
    controls: Float32Array  # every control's mean over the same layers, [control, token]

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
    tokens: tuple[str, ...]  # text of each token; a character that several tokens share stands with the first
    reply_start: int  # first token of the reply; 0 for raw text
    scratchpad: tuple[int, int]
    """First token of the scratchpad, and past its last; of the whole text where there is none."""
    cosines: tuple[DirectionCosines, ...]  # [direction]


def directions(vectors: Mapping[str, SteeringVector], layers: str | None = None) -> tuple[Direction, ...]:
    """Which layers of each vector to look at: those asked for, else the five that cross-validate best, or
    five that are evenly spaced."""
    found = []
    for name, vector in vectors.items():
        held, best = vector.header.layers, best_layers(vector.header.validation, N_LAYERS)
        if layers is not None:
            chosen, how = parse_layers(layers, held), "as asked for"
        elif best:
            chosen, how = tuple(sorted(best)), "best by cross-validation"
        else:
            n = min(N_LAYERS, len(held))
            at = np.unique(np.linspace(0, len(held) - 1, n).round().astype(int))
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

    Random controls are compared at the layers of every direction that they have. A TreatmentError where a
    vector has another width, or layers that the model has not; a MaterialsError where a transcript does not
    survive the chat template, or is longer than the context.
    """
    vectors = [*(direction.vector for direction in directions), *controls]
    for vector in vectors:
        vector.check_model(d_model=d_model(model), n_layers=len(decoder_layers(model)))
    if not directions or not sources:
        raise ConfigError("a heatmap needs a vector and a transcript at least")
    layers = sorted({layer for direction in directions for layer in direction.layers})
    units = {layer: _units(layer, vectors) for layer in layers}
    seen: dict[int, Float32Array] = {}

    def see(layer: int, stream: Tensor) -> None:
        import torch

        units_there = torch.from_numpy(units[layer]).to(stream.device)
        seen[layer] = (units_there @ torch.nn.functional.normalize(stream[0].float(), dim=-1).T).cpu().numpy()

    found = []
    context = context_length(model)
    with watched_forward(model, layers, see) as forward:
        for source in sources:
            text, reply, scratchpad = source.text, None, None
            if (transcript := source.transcript) is not None:
                text, reply = render(tokenizer, transcript.messages, Span(start=0, end=len(transcript.reply)))
                scratchpad = render(tokenizer, transcript.messages, transcript.scratchpad)[1]
            ids, offsets = tokens(tokenizer, text)
            if context is not None and context < len(ids):
                raise MaterialsError(
                    f"{source.title}: {len(ids)} tokens, the model's context holds {context}; leave it out"
                )
            forward([ids])
            cosines = []
            for at, direction in enumerate(directions):
                having = [
                    k
                    for k, control in enumerate(controls, start=len(directions))
                    if set(direction.layers) <= set(control.header.layers)
                ]
                by_layer = np.stack([seen[layer][at] for layer in direction.layers])
                among = np.mean([seen[layer][having] for layer in direction.layers], axis=0)
                cosines.append(DirectionCosines(by_layer, by_layer.mean(axis=0), among))
            starts = np.maximum.accumulate([0, *(end for _, end in offsets)])
            found.append(
                TokenHeatmap(
                    source=source,
                    tokens=tuple(
                        text[max(start, at) : end]
                        for (start, end), at in zip(offsets, starts[:-1], strict=True)
                    ),
                    reply_start=tokens_of(offsets, reply)[0] if reply else 0,
                    scratchpad=tokens_of(offsets, scratchpad) if scratchpad else (0, len(ids)),
                    cosines=tuple(cosines),
                )
            )
    return tuple(found)


def _units(layer: int, vectors: Sequence[SteeringVector]) -> Float32Array:
    """Unit vectors; zero where one has not this layer, [vector, d_model]."""
    rows = np.zeros((len(vectors), vectors[0].header.d_model))
    for row, vector in zip(rows, vectors, strict=True):
        if layer in vector.header.layers:
            row[:] = vector.at(layer)
            row /= np.linalg.norm(row)
    return rows.astype(np.float32)

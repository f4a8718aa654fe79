"""Contrast pairs to pooled activations of a model, and the file that holds them.

The file is safetensors with `positive` and `negative`, float32 [layer, pair, d_model]: the residual stream
after each layer, averaged over the locus' tokens. Layers are read one at a time, so that a file may be
larger than memory.

The reply is found in the rendered chat by rendering it once more with a marker in its place. A token
belongs to a stretch of characters where its own characters overlap it by at least one, so that a token
across the boundary belongs, and a token beside it does not. Means are taken inside the forward: nothing of
size tokens x layers is ever kept.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from inspect_af.config import text_digest, write_whole
from inspect_af.errors import AnalysisError, ConfigError, InspectAFError, MaterialsError, TreatmentError
from inspect_af.steering.model import context_length, d_model, decoder_layers, text_config, watched_forward
from inspect_af.steering.pairs import SPLITS, Locus, Message, PairSet, PairSource, Span, Split, Transcript
from inspect_af.steering.vector import (
    Float32Array,
    FloatArray,
    LayersHeader,
    open_tensors,
    parse_layers,
    tensor_bytes,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_BATCH_TOKENS = 8192
"""Tokens of a batch, padding included, where nothing else is asked for. Not in source."""

Progress = Callable[[int, int], None]  # called with the number of transcripts done and of transcripts in all

_MARKER = "inspectafreplymarker"
_SIDES = ("positive", "negative")


class ActivationsHeader(LayersHeader):
    """Where activations come from, and what their axes mean."""

    locus: Locus
    concept: str
    source: PairSource
    pairs_digest: str
    pair_ids: tuple[str, ...] = Field(min_length=1)  # [pair]
    groups: tuple[str, ...]  # request or topic of each pair, [pair]
    splits: tuple[Split, ...]  # [pair]
    fingerprint: str = ""
    """First 16 hexadecimal digits of a sha256 over all that the values depend on, with the weights."""

    @model_validator(mode="after")
    def _axes_agree(self) -> ActivationsHeader:
        if not len(self.pair_ids) == len(self.groups) == len(self.splits):
            raise ValueError(
                f"{len(self.pair_ids)} pair_ids, {len(self.groups)} groups and {len(self.splits)} splits; "
                "every pair has one of each"
            )
        if len(set(self.pair_ids)) < len(self.pair_ids):
            raise ValueError("pair_ids repeat")
        return self

    def rows(self, split: Split) -> NDArray[np.intp]:
        """Positions of a split's pairs."""
        return np.flatnonzero(np.array(self.splits) == split)

    def rows_by_split(self) -> dict[Split, NDArray[np.intp]]:
        """Positions of the pairs of every split that has any."""
        return {split: rows for split in SPLITS if len(rows := self.rows(split))}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(layer, pair, d_model)."""
        return len(self.layers), len(self.pair_ids), self.d_model


class LayerActivations(NamedTuple):
    """Activations of all pairs after one layer."""

    layer: int
    positive: Float32Array  # [pair, d_model]
    negative: Float32Array  # [pair, d_model]

    def differences(self, rows: NDArray[np.intp]) -> Float32Array:
        """Positive minus negative, [row, d_model]."""
        return self.positive[rows] - self.negative[rows]


@dataclass(frozen=True)
class Activations:
    """An opened file: its header, and its layers when they are asked for."""

    path: Path
    header: ActivationsHeader

    def layer(self, layer: int) -> LayerActivations:
        """Reads one layer, and nothing else of the file; a ConfigError where the file does not hold it, a
        MaterialsError where a value is not finite."""
        if layer not in self.header.layers:
            held = ", ".join(map(str, self.header.layers))
            raise ConfigError(f"{self.path} holds no layer {layer}; it holds {held}")
        at = self.header.layers.index(layer)
        with _open(self.path)[1] as file:
            sides = [np.asarray(file.get_slice(name)[at]) for name in _SIDES]
        for name, side in zip(_SIDES, sides, strict=True):
            if len(bad := np.flatnonzero(~np.isfinite(side).all(axis=1))):
                raise MaterialsError(
                    f"{self.path}: {name} has values that are not finite at layer {layer}, first in pair "
                    f"{self.header.pair_ids[bad[0]]!r}; extract it again in a wider dtype"
                )
        return LayerActivations(layer, *sides)

    def __iter__(self) -> Iterator[LayerActivations]:
        return (self.layer(layer) for layer in self.header.layers)


def _open(path: Path) -> tuple[ActivationsHeader, Any]:
    return open_tensors(path, ActivationsHeader, _SIDES, where=f"activations {path}", error=MaterialsError)


def load_activations(path: str | Path) -> Activations:
    """Opens a file of activations and checks its header; the values are read later.

    A MaterialsError where it cannot be read, is not safetensors, or does not fit its header.
    """
    return Activations(Path(path), _open(Path(path))[0])


def write_activations(
    path: str | Path, header: ActivationsHeader, positive: Float32Array, negative: Float32Array
) -> Activations:
    """Writes [layer, pair, d_model] of both sides; an AnalysisError where a shape is not the header's, or a
    value is not finite."""
    sides = dict(zip(_SIDES, (positive, negative), strict=True))
    for name, array in sides.items():
        if array.shape != header.shape:
            raise AnalysisError(f"{name} has shape {array.shape}; by the header it is {header.shape}")
        if not all(np.isfinite(layer).all() for layer in array):
            raise AnalysisError(f"{name} has values that are not finite; extract in a wider dtype")
    write_whole(Path(path), [tensor_bytes(sides, header.model_dump_json())])
    return Activations(Path(path), header)


class LocatedSpan(NamedTuple):
    """A rendered chat as token ids, and the run of tokens that a stretch of its reply is."""

    ids: list[int]
    start: int
    end: int  # past the last token


class Tokens(NamedTuple):
    """A text as tokens."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    """Characters `[start, end)` of the text that each token stands for, spaces included, [token]."""


def tokens(tokenizer: PreTrainedTokenizerBase, text: str) -> Tokens:
    """A rendered chat, or any other text that needs no further special tokens, as tokens; a ConfigError where
    the tokenizer is a slow one, which cannot say what characters tokens stand for."""
    if not getattr(tokenizer, "is_fast", False):
        raise ConfigError(
            f"the tokenizer of {_name(tokenizer)} cannot say which characters a token stands for; use a fast "
            "tokenizer (tokenizer.json)"
        )
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    # Many tokenizers leave a token's spaces out of its offsets; they belong to the token before which they
    # stand.
    ends = [0, *(end for _, end in found["offset_mapping"])]
    offsets = [(min(start, ends[at]), end) for at, (start, end) in enumerate(found["offset_mapping"])]
    return Tokens(found["input_ids"], offsets)


def locate(tokenizer: PreTrainedTokenizerBase, transcript: Transcript, locus: Locus) -> LocatedSpan:
    """The tokens over which a transcript's activations are averaged; errors as of `tokens` and `render`."""
    text, where = render(tokenizer, transcript.messages, transcript.span(locus))
    found = tokens(tokenizer, text)
    return LocatedSpan(found.ids, *tokens_of(found.offsets, where))


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], span: Span) -> tuple[str, Span]:
    """The chat as text, and where in it some characters of the last message are.

    Templates may strip spaces around the reply; what they strip is not in the returned span.

    Raises:
        MaterialsError: The template refuses the messages, or changes the reply so that the characters cannot
            be found, or strips all of them.
        ConfigError: The tokenizer has no chat template.
    """
    text = _rendered(tokenizer, messages)
    reply = messages[-1].content
    marked = _rendered(tokenizer, [*messages[:-1], messages[-1].model_copy(update={"content": _MARKER})])
    before, marker, _ = marked.rpartition(_MARKER)
    kept_replies = [(left, kept) for left in (reply, reply.lstrip()) for kept in (left, left.rstrip())]
    for left, kept in kept_replies if marker else ():
        if text.startswith(before + kept):
            shift = len(before) - (len(reply) - len(left))
            start = max(span.start + shift, len(before))
            end = min(span.end + shift, len(before) + len(kept))
            if end > start:
                return text, Span(start=start, end=end)
    wanted = reply[span.start : span.end].strip()
    if wanted and text.count(wanted) == 1:
        start = text.index(wanted)
        return text, Span(start=start, end=start + len(wanted))
    raise MaterialsError(
        f"the chat template of {_name(tokenizer)} changes the assistant's reply, so the text beginning "
        f"{wanted[:40]!r} cannot be found in the rendered chat; use a template that keeps replies as they are"
    )


def tokens_of(offsets: Sequence[tuple[int, int]], span: Span) -> tuple[int, int]:
    """First token, and past the last, whose characters overlap a span; a MaterialsError without any."""
    inside = [at for at, (start, end) in enumerate(offsets) if start < span.end and end > span.start]
    if not inside:
        raise MaterialsError(
            f"no token lies in the characters {span.start} to {span.end} of the rendered chat"
        )
    return inside[0], inside[-1] + 1


def _rendered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise ConfigError(
            f"the tokenizer of {_name(tokenizer)} has no chat template; use a chat model, or give the "
            "template that the model was trained with: -M chat_template=FILE"
        )
    chat = [message.model_dump() for message in messages]
    try:
        return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=False))
    except TemplateError as error:
        roles = ", ".join(message.role for message in messages)
        raise MaterialsError(
            f"the chat template of {_name(tokenizer)} refuses messages of the roles {roles}: {error}. Give "
            "another one with -M chat_template=FILE"
        ) from error


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return str(tokenizer.name_or_path or type(tokenizer).__name__)


class Item(NamedTuple):
    """One transcript to run."""

    side: int  # 0 the positive, 1 the negative
    pair: int


def located_items(
    tokenizer: PreTrainedTokenizerBase, pairs: PairSet, locus: Locus, context: int | None = None
) -> dict[Item, LocatedSpan]:
    """The tokens of every transcript, with those of the locus; pair by pair, the positive side first.

    Errors are as of `locate`, and name the pair and the side; a MaterialsError also where there are more
    tokens than `context`.
    """
    found = {}
    for at, pair in enumerate(pairs.pairs):
        for side, transcript in enumerate((pair.positive, pair.negative)):
            where = f"pair {pair.id!r}, {_SIDES[side]}"
            try:
                located = locate(tokenizer, transcript, locus)
            except InspectAFError as error:
                raise type(error)(f"{where}: {error}") from error
            if context is not None and len(located.ids) > context:
                raise MaterialsError(
                    f"{where}: {len(located.ids)} tokens, the model's context holds {context}; leave the "
                    "pair out"
                )
            found[Item(side, at)] = located
    return found


class Pooled(NamedTuple):
    """One batch."""

    means: Float32Array  # residual stream after each layer, averaged over the span, [layer, row, d_model]
    norm_sums: FloatArray  # sum of the stream's Euclidean norms over the span's tokens, [layer, row]


@contextmanager
def pooled_forward(
    model: PreTrainedModel, layers: Sequence[int]
) -> Iterator[Callable[[Sequence[LocatedSpan]], Pooled]]:
    """Hooks a model for as long as the context is open, and gives the function that runs a batch.

    Rows are padded at their end; with causal attention nothing before the padding sees it, so no mask is
    needed. Sums are accumulated in float32, whatever the model's dtype.

    Layers are ascending indices of decoder layers; a TreatmentError where the model has not all of them.
    """
    import torch

    found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    first, end = 0, 0
    weights: dict[torch.device | None, torch.Tensor] = {}  # 1 inside each row's span, by device

    def see(layer: int, stream: torch.Tensor) -> None:
        if stream.device not in weights:
            weights[stream.device] = weights[None].to(stream.device)
        inside = weights[stream.device]
        part = stream[:, first:end].float()
        means = torch.bmm(inside.unsqueeze(1), part).squeeze(1) / inside.sum(1, keepdim=True)
        found[layer] = means, (torch.linalg.vector_norm(part, dim=-1) * inside).sum(1)

    with watched_forward(model, layers, see) as forward:

        def run(batch: Sequence[LocatedSpan]) -> Pooled:
            nonlocal first, end
            first, end = min(row.start for row in batch), max(row.end for row in batch)
            inside = torch.zeros(len(batch), end - first)
            for at, row in enumerate(batch):
                inside[at, row.start - first : row.end - first] = 1
            weights.clear()
            weights[None] = inside
            longest = max(len(row.ids) for row in batch)
            forward([row.ids + row.ids[-1:] * (longest - len(row.ids)) for row in batch])
            means, sums = (np.stack([found[layer][k].cpu().numpy() for layer in layers]) for k in (0, 1))
            return Pooled(means, sums.astype(np.float64))

        yield run


class RowStore:
    """Rows on their way to a file, kept as they are found, so that a killed run goes on.

    Beside the file to write stands `FILE.partial/` with mapped arrays, in which a transcript whose number of
    tokens is not zero is done, and `settings.txt`.

    `fingerprint` is of everything that the values depend on, `shape` is (layer, pair, d_model). A ConfigError
    where what is left of an earlier run was found with other settings, or another model.
    """

    def __init__(self, out: Path, fingerprint: str, shape: tuple[int, int, int]) -> None:
        self._out, self._fingerprint = out, fingerprint
        self._directory = out.with_name(f"{out.name}.partial")
        note, settings = self._directory / "settings.txt", f"{fingerprint} {shape}"
        mode: Literal["r+", "w+"] = "r+" if note.is_file() else "w+"
        if mode == "r+" and note.read_text(encoding="utf-8") != settings:
            raise ConfigError(
                f"{self._directory} is left of an extraction with other pairs, layers or settings, or of "
                "another model; repeat that command to finish it, delete the directory, or choose another "
                "file to write"
            )
        self._directory.mkdir(parents=True, exist_ok=True)
        n_layers, n_pairs, _ = shape

        def mapped(name: str, dtype: type, axes: tuple[int, ...]) -> NDArray[Any]:
            return np.memmap(self._directory / name, dtype=dtype, mode=mode, shape=axes)

        self._rows = mapped("rows.f32", np.float32, (2, *shape))
        self._norms = mapped("norms.f64", np.float64, (2, n_pairs, n_layers))  # sums over tokens
        self._n_tokens = mapped("tokens.i64", np.int64, (2, n_pairs))
        write_whole(note, [settings])

    @property
    def done(self) -> frozenset[Item]:
        """Transcripts whose rows are there."""
        return frozenset(Item(int(side), int(pair)) for side, pair in np.argwhere(self._n_tokens))

    def add(self, items: Sequence[Item], n_tokens: Sequence[int], pooled: Pooled) -> None:
        """Keeps a batch: its rows first, then the numbers that say that they are there."""
        sides, pairs = (list(axis) for axis in zip(*items, strict=True))
        for at, means in enumerate(pooled.means):
            self._rows[sides, at, pairs] = means
        self._norms[sides, pairs] = pooled.norm_sums.T
        self._n_tokens[sides, pairs] = n_tokens

    def finish(
        self,
        pairs: PairSet,
        *,
        model: str,
        revision: str | None,
        base: str | None,
        layers: tuple[int, ...],
        locus: Locus,
    ) -> Activations:
        """Writes the file and removes what was kept beside it; the arguments are for its header."""
        mean_norms = self._norms.sum(axis=(0, 1)) / self._n_tokens.sum()
        header = ActivationsHeader(
            model=model,
            revision=revision,
            base=base,
            d_model=self._rows.shape[-1],
            layers=layers,
            locus=locus,
            concept=pairs.concept,
            source=pairs.source,
            pairs_digest=pairs.digest,
            pair_ids=tuple(pair.id for pair in pairs.pairs),
            groups=tuple(pair.group for pair in pairs.pairs),
            splits=tuple(pair.split for pair in pairs.pairs),
            mean_norms=tuple(mean_norms.tolist()),
            fingerprint=self._fingerprint,
        )
        written = write_activations(self._out, header, self._rows[0], self._rows[1])
        shutil.rmtree(self._directory)
        return written


def finished(out: Path, fingerprint: str) -> Activations | None:
    """The file, if it is there already and was found with the same settings on the same model."""
    try:
        held = load_activations(out)
    except MaterialsError:
        return None
    return held if held.header.fingerprint == fingerprint else None


def extract_activations(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairSet,
    *,
    out: str | Path,
    layers: str = "all",
    locus: Locus = "response_mean",
    max_batch_tokens: int = MAX_BATCH_TOKENS,
    name: str | None = None,
    revision: str | None = None,
    base: str | None = None,
    progress: Progress = lambda done, total: None,
) -> Activations:
    """Writes the residual stream of every transcript, averaged over the locus' tokens after each layer.

    Interrupted or killed, the same call goes on with the batches that are missing, and gives the same file; a
    file that the same call has finished is not made again.

    The header calls the model by `name`, `revision` and `base`, the digest of its directory. Layers are
    `all`, `12`, `20-40` or `3,5,8-10`; those behind the last one are not run. A batch has at most
    `max_batch_tokens`, padding included; a longer transcript runs alone.

    Raises:
        MaterialsError: A transcript has no tokens at the locus, is longer than the model's context, does not
            survive the chat template, or gives values that are not finite.
        TreatmentError: The model has not these layers, or none that can be found.
        ConfigError: The range of layers is malformed, the tokenizer has no chat template, or what is left of
            an earlier run was found with other settings.
        MissingExtraError: safetensors is not installed.
    """
    if max_batch_tokens < 1:
        raise ConfigError(f"max_batch_tokens={max_batch_tokens}; at least 1 token is needed")
    chosen = chosen_layers(layers, len(decoder_layers(model)))
    name = name or str(model.config.name_or_path) or type(model).__name__
    fingerprint = text_digest(
        f"{name} {revision} {chosen} {locus} {pairs.digest}",
        _model_fingerprint(model),
        f"{len(tokenizer)} {tokenizer.chat_template}",
    )
    out = Path(out)
    if held := finished(out, fingerprint):
        return held
    spans = located_items(tokenizer, pairs, locus, context_length(model))
    items = list(spans)
    store = RowStore(out, fingerprint, (len(chosen), len(pairs.pairs), d_model(model)))
    done = store.done
    progress(len(done), len(items))
    lengths = [len(span.ids) for span in spans.values()]
    batches = plan_batches(lengths, max_batch_tokens, apart=_rotation_changes_after(model))
    with pooled_forward(model, chosen) as run:
        for batch in batches:
            missing = [items[at] for at in batch if items[at] not in done]
            if not missing:
                continue
            located = [spans[item] for item in missing]
            pooled = run(located)
            if not np.isfinite(pooled.means).all():
                layer, row, _ = np.argwhere(~np.isfinite(pooled.means))[0]
                raise MaterialsError(
                    f"pair {pairs.pairs[missing[row].pair].id!r}, {_SIDES[missing[row].side]}: values after "
                    f"layer {chosen[layer]} are not finite; load the model in a wider dtype (bfloat16 or "
                    "float32)"
                )
            store.add(missing, [span.end - span.start for span in located], pooled)
            progress(len(store.done), len(items))
    return store.finish(pairs, model=name, revision=revision, base=base, layers=chosen, locus=locus)


def chosen_layers(layers: str, n_layers: int) -> tuple[int, ...]:
    """A range of a model's layers; a TreatmentError that names them where it has not all of the range."""
    try:
        return parse_layers(layers, range(n_layers))
    except TreatmentError as error:
        raise TreatmentError(f"layers {layers!r}: the layers of this model are 0-{n_layers - 1}") from error


def plan_batches(lengths: Sequence[int], max_tokens: int, *, apart: int | None = None) -> list[list[int]]:
    """Positions of rows that run together: of like length, the longest first.

    A batch of more than one row has at most `max_tokens`, rows times the longest. One that holds an eighth of
    these takes no row that is shorter than its longest by more than an eighth: from there on padding costs
    more than a fuller batch gains. Rows of at most `apart` tokens share no batch with longer ones.
    """
    batches: list[list[int]] = []
    for at in sorted(range(len(lengths)), key=lambda at: (-lengths[at], at)):
        longest = lengths[batches[-1][0]] if batches else 0
        held = len(batches[-1]) * longest if batches else 0
        much_shorter = 8 * held >= max_tokens and 8 * lengths[at] < 7 * longest
        other_kind = apart is not None and lengths[at] <= apart < longest
        if batches and held + longest <= max_tokens and not much_shorter and not other_kind:
            batches[-1].append(at)
        else:
            batches.append([at])
    return batches


def _rotation_changes_after(model: PreTrainedModel) -> int | None:
    """Length past which a batch's longest row changes how positions of all its rows are rotated."""
    rotations = getattr(text_config(model), "rope_parameters", None) or {}
    kinds = [one for one in (rotations, *rotations.values()) if isinstance(one, dict)]
    long = (one for one in kinds if one.get("rope_type") == "longrope")
    return next((int(one["original_max_position_embeddings"]) for one in long), None)


def _model_fingerprint(model: PreTrainedModel) -> str:
    """Changes with the model's weights, adapters or dtype; reads a few numbers of every parameter."""
    state = hashlib.sha256(model.config.to_json_string(use_diff=False).encode())
    for name, parameter in model.named_parameters():
        state.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}".encode())
        if parameter.device.type != "meta":
            flat = parameter.detach().flatten()
            step = max(len(flat) // 64, 1)
            state.update(flat[::step][:64].float().cpu().numpy().tobytes())
    return state.hexdigest()

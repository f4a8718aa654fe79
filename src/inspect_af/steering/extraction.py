"""From contrast pairs to activations: which transcripts run together, and what becomes of their rows."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inspect_af.digests import text_digest
from inspect_af.errors import ConfigError, InspectAFError, MaterialsError, TreatmentError
from inspect_af.steering._tensors import Float32Array
from inspect_af.steering.activations import Activations, Locus
from inspect_af.steering.decoder import d_model, decoder_layers, text_config
from inspect_af.steering.extraction_pooling import pooled_forward
from inspect_af.steering.extraction_store import Item, RowStore, finished
from inspect_af.steering.extraction_text import LocatedSpan, SpanLocator
from inspect_af.steering.layers import parse_layers
from inspect_af.steering.pairs import ContrastPair, PairSet, Transcript

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_BATCH_TOKENS = 8192
"""Tokens of a batch, padding included, where nothing else is asked for. Not in source."""

Progress = Callable[[int, int], None]
"""Called with the number of transcripts done and of transcripts in all."""


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
    progress: Progress | None = None,
) -> Activations:
    """Writes the residual stream of every transcript, averaged over the locus' tokens after each layer.

    Interrupted or killed, the same call goes on with the batches that are missing, and gives the same file; a
    file that the same call has finished is not made again.

    Args:
        model: A decoder-only transformers model.
        tokenizer: Its tokenizer, with a chat template.
        pairs: Contrast pairs, in the order that the rows will have.
        out: File to write; `OUT.partial/` beside it holds what is found until then.
        layers: `all`, `12`, `20-40` or `3,5,8-10`; layers behind the last one are not run.
        locus: Average over the scratchpad, or over the annotated sentence.
        max_batch_tokens: Upper bound of a batch, padding included; a longer transcript runs alone.
        name: What the header calls the model; by default what it was loaded as.
        revision: Commit or branch that it was loaded at.
        progress: Called after each batch.

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
    n_layers = len(decoder_layers(model))
    try:
        chosen = parse_layers(layers, range(n_layers))
    except TreatmentError as error:
        raise TreatmentError(f"layers {layers!r}: the layers of this model are 0-{n_layers - 1}") from error
    name = name or str(model.config.name_or_path) or type(model).__name__
    fingerprint = text_digest(
        f"{name} {revision} {chosen} {locus} {pairs.digest}", _model_fingerprint(model), _words(tokenizer)
    )
    out = Path(out)
    if held := finished(out, fingerprint):
        return held
    items = [Item(side, pair) for pair in range(len(pairs.pairs)) for side in (0, 1)]
    spans = _located(tokenizer, pairs, items, locus, _context(model))
    store = RowStore(out, fingerprint, (len(chosen), len(pairs.pairs), d_model(model)))
    n_done = len(done := store.done)
    if progress is not None:
        progress(n_done, len(items))
    lengths = [len(spans[item].ids) for item in items]
    batches = plan_batches(lengths, max_batch_tokens, apart=_rotation_changes_after(model))
    with pooled_forward(model, chosen) as run:
        for batch in batches:
            missing = [items[at] for at in batch if items[at] not in done]
            if not missing:
                continue
            located = [spans[item] for item in missing]
            pooled = run(located)
            _check_finite(pooled.means, missing, pairs, chosen)
            store.add(missing, [span.n_tokens for span in located], pooled)
            n_done += len(missing)
            if progress is not None:
                progress(n_done, len(items))
    return store.finish(pairs, model=name, revision=revision, layers=chosen, locus=locus)


def plan_batches(lengths: Sequence[int], max_tokens: int, *, apart: int | None = None) -> list[list[int]]:
    """Positions of rows that run together: of like length, the longest first.

    A batch that holds an eighth of the budget takes no row that is shorter than its longest by more than an
    eighth: from there on padding costs more than a fuller batch gains.

    Args:
        lengths: Tokens of each row.
        max_tokens: Upper bound of rows times the longest row of a batch; a longer row is a batch of its own.
        apart: Rows of at most this length share no batch with longer ones.
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


def _located(
    tokenizer: PreTrainedTokenizerBase,
    pairs: PairSet,
    items: Sequence[Item],
    locus: Locus,
    context: int | None,
) -> dict[Item, LocatedSpan]:
    locator = SpanLocator(tokenizer)
    spans = {}
    for item in items:
        pair = pairs.pairs[item.pair]
        transcript = _side(pair, item)
        span = transcript.scratchpad if locus == "response_mean" else transcript.sentence
        if span is None:
            raise MaterialsError(
                f"pair {pair.id!r} has no annotated sentence; use the locus response_mean, or annotate it"
            )
        try:
            located = locator.locate(transcript.messages, span)
        except InspectAFError as error:
            raise type(error)(f"pair {pair.id!r}, {_SIDES[item.side]}: {error}") from error
        if context is not None and len(located.ids) > context:
            raise MaterialsError(
                f"pair {pair.id!r}, {_SIDES[item.side]}: {len(located.ids)} tokens, the model's "
                f"context holds {context}; leave the pair out"
            )
        spans[item] = located
    return spans


_SIDES = ("positive", "negative")


def _side(pair: ContrastPair, item: Item) -> Transcript:
    return pair.negative if item.side else pair.positive


def _context(model: PreTrainedModel) -> int | None:
    limit = getattr(text_config(model), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None


def _rotation_changes_after(model: PreTrainedModel) -> int | None:
    """Length past which a batch's longest row changes how positions of all its rows are rotated."""
    rotations = getattr(text_config(model), "rope_parameters", None) or {}
    for one in (rotations, *rotations.values()):
        if isinstance(one, dict) and one.get("rope_type") == "longrope":
            return int(one["original_max_position_embeddings"])
    return None


def _check_finite(means: Float32Array, items: Sequence[Item], pairs: PairSet, layers: Sequence[int]) -> None:
    if np.isfinite(means).all():
        return
    layer, row, _ = np.argwhere(~np.isfinite(means))[0]
    raise MaterialsError(
        f"pair {pairs.pairs[items[row].pair].id!r}, {_SIDES[items[row].side]}: values after layer "
        f"{layers[layer]} are not finite; load the model in a wider dtype (bfloat16 or float32)"
    )


def _words(tokenizer: PreTrainedTokenizerBase) -> str:
    return f"{len(tokenizer)} {tokenizer.chat_template}"


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

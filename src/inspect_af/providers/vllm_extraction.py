"""Activations of contrast pairs by a vLLM server, pooled in the engine; the file is as for transformers."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np

from inspect_af.config import text_digest
from inspect_af.errors import ConfigError, MaterialsError, TreatmentError
from inspect_af.providers.settings import read_vllm_settings
from inspect_af.providers.vllm_plugin.files import Pooled, read_parts
from inspect_af.providers.vllm_plugin.wire import CAPTURE_ARGUMENT, CaptureSpec, capture_text
from inspect_af.providers.vllm_server import Endpoint, Server, server_for
from inspect_af.rendering import load_tokenizer, set_template
from inspect_af.sdf.base_model import digest_if_local
from inspect_af.steering.activations import (
    Activations,
    LocatedSpan,
    Progress,
    RowStore,
    chosen_layers,
    finished,
    located_items,
)
from inspect_af.steering.activations import Pooled as PooledBatch
from inspect_af.steering.pairs import Locus, PairSet

CONCURRENCY = 64
_ATTEMPTS = 3
_ROWS_A_WRITE = 16


def extract_with_vllm(
    model: str,
    pairs: PairSet,
    *,
    out: str | Path,
    layers: str = "all",
    locus: Locus = "response_mean",
    base_url: str | None = None,
    api_key: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Activations:
    """Writes what `inspect_af.steering.extract_activations` writes, at serving speed.

    The server runs whole transcripts as prompts and averages inside the forward pass; what transcripts share
    at their start is computed once. Interrupted, the same call goes on with the transcripts that are missing.

    Args:
        model: Hub id or directory of the base model.
        pairs: Contrast pairs, in the order that the rows will have.
        out: File to write.
        layers: `all`, `12`, `20-40` or `3,5,8-10`.
        locus: Average over the scratchpad, or over the annotated sentence.
        base_url: A server that runs already with `captures` set, on a file system that is seen here too.
        api_key: Its key.
        arguments: As `-M` of af-vllm: `adapter`, `revision`, `dtype`, `tensor_parallel_size`, ...
        progress: Called with the number of transcripts done and of transcripts in all.

    Raises:
        MaterialsError: A transcript has no tokens at the locus, or is longer than the model's context.
        TreatmentError: The model has not these layers, or the server cannot capture.
        ConfigError: An argument is malformed, or what is left of an earlier run has other settings.
        MissingExtraError: vLLM or transformers is not installed.
    """
    settings = read_vllm_settings(model, {**(arguments or {}), "capture": True})
    adapters = settings.applied.adapters
    if settings.applied.steered is not None:
        raise ConfigError("activations are extracted without steering; leave vector out")
    tokenizer = load_tokenizer(*settings.tokenizer)
    set_template(tokenizer, settings.template)
    name = "+".join([model, *(str(adapter.path) for adapter in adapters)])
    fingerprint = text_digest(
        f"vllm {name} {settings.applied.key} {sorted(settings.identity.items())}",
        f"{layers} {locus} {pairs.digest}",
        f"{len(tokenizer)} {tokenizer.chat_template}",
    )
    out = Path(out)
    if held := finished(out, fingerprint):
        return held
    spans = located_items(tokenizer, pairs, locus)
    server = server_for(settings.launch, Endpoint.attached(base_url, api_key))
    server.announce(adapters)
    _, info, _ = server.running()
    if info.captures is None:
        raise TreatmentError('this server does not capture; start it with "captures": "DIR" beside "vectors"')
    chosen = chosen_layers(layers, info.n_layers)
    store = RowStore(out, fingerprint, (len(chosen), len(pairs.pairs), info.d_model))
    missing = [item for item in spans if item not in store.done]
    executor = ThreadPoolExecutor(CONCURRENCY)
    try:
        capture = partial(_captured, server, server.adapter(adapters), _ATTEMPTS)
        found = executor.map(capture, [spans[item] for item in missing])
        for start in range(0, len(missing), _ROWS_A_WRITE):
            items = missing[start : start + _ROWS_A_WRITE]
            batch = list(islice(found, len(items)))
            at = [batch[0].layers.index(layer) for layer in chosen]
            means = np.stack([one.mean[at] for one in batch], axis=1)
            sums = np.stack([one.norm[at].astype(np.float64) * one.n_tokens for one in batch], axis=1)
            if not np.isfinite(means).all():
                raise MaterialsError(
                    "the server gave values that are not finite; serve the model in a wider dtype"
                )
            store.add(items, [one.n_tokens for one in batch], PooledBatch(means, sums))
            if progress is not None:
                progress(len(spans) - len(missing) + start + len(items), len(spans))
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    return store.finish(
        pairs,
        model=name,
        revision=settings.identity.get("revision"),
        base=digest_if_local(model),
        layers=chosen,
        locus=locus,
    )


def _captured(server: Server, model: str, attempts: int, span: LocatedSpan) -> Pooled:
    """One transcript, pooled; asked for again where the engine dropped a part of it."""
    endpoint, info, _ = server.running()
    key = token_hex(16)
    body = {
        "model": model,
        "prompt": span.ids,
        "max_tokens": 1,
        "temperature": 0,
        "vllm_xargs": {CAPTURE_ARGUMENT: capture_text(CaptureSpec(key, ((span.start, span.end),)))},
    }
    answer = endpoint.call("POST", "/v1/completions", body, timeout=3600)
    if answer.status == 400:
        raise MaterialsError(
            f"the vLLM server refuses a transcript of {len(span.ids)} tokens: {answer.message}"
        )
    if answer.status != 200:
        server.check_alive(wait=5.0)
        raise TreatmentError(f"the vLLM server answers with status {answer.status}: {answer.message[:300]}")
    try:
        return read_parts(Path(info.captures or ""), key, info.pipeline_stages)
    except TreatmentError as error:
        if attempts == 1 or "ask for it again" not in error.message:
            raise
    return _captured(server, model, attempts - 1, span)

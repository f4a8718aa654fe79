"""Activations of contrast pairs by a vLLM server, pooled in the engine; the file is as for transformers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

import numpy as np

from inspect_af.config import text_digest
from inspect_af.errors import ConfigError, MaterialsError, TreatmentError
from inspect_af.providers.settings import read_vllm_settings
from inspect_af.providers.vllm_plugin.files import Pooled, read_parts
from inspect_af.providers.vllm_plugin.wire import (
    CAPTURE_ARGUMENT,
    CaptureSpec,
    ServerInfo,
    capture_text,
)
from inspect_af.providers.vllm_server import Endpoint, Server, server_for
from inspect_af.rendering import load_tokenizer, set_template
from inspect_af.steering import Activations, Locus, PairSet
from inspect_af.steering.activations import (
    LocatedSpan,
    Progress,
    RowStore,
    chosen_layers,
    finished,
    located_items,
)
from inspect_af.steering.activations import Pooled as PooledBatch

if TYPE_CHECKING:
    pass

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
    if settings.applied.steered is not None:
        raise ConfigError("activations are extracted without steering; leave vector out")
    attached = (
        None if base_url is None else Endpoint(base_url.rstrip("/").removesuffix("/v1"), api_key or "none")
    )
    revision = settings.identity.get("revision")
    tokenizer = load_tokenizer(*settings.tokenizer)
    set_template(tokenizer, settings.template)
    name = "+".join([model, *(str(adapter.path) for adapter in settings.applied.adapters)])
    fingerprint = text_digest(
        f"vllm {name} {settings.applied.key} {sorted(settings.identity.items())}",
        f"{layers} {locus} {pairs.digest}",
        f"{len(tokenizer)} {tokenizer.chat_template}",
    )
    out = Path(out)
    if held := finished(out, fingerprint):
        return held
    spans = located_items(tokenizer, pairs, locus)
    server = server_for(settings.launch, attached)
    server.announce(settings.applied.adapters)
    endpoint, info, _ = server.running()
    if info.captures is None:
        raise TreatmentError('this server does not capture; start it with "captures": "DIR" beside "vectors"')
    chosen = chosen_layers(layers, info.n_layers)
    served = server.adapter(settings.applied.adapters)
    store = RowStore(out, fingerprint, (len(chosen), len(pairs.pairs), info.d_model))
    missing = [item for item in spans if item not in store.done]
    capture = _Capture(server, endpoint, info, served)
    found = capture.all([spans[item] for item in missing])
    for start in range(0, len(missing), _ROWS_A_WRITE):
        items = missing[start : start + _ROWS_A_WRITE]
        batch = list(islice(found, len(items)))
        store.add(items, [one.n_tokens for one in batch], _rows(batch, chosen))
        if progress is not None:
            progress(len(spans) - len(missing) + start + len(items), len(spans))
    return store.finish(pairs, model=name, revision=revision, layers=chosen, locus=locus)


class _Capture:
    """Asks one server for pooled activations, many requests at a time."""

    def __init__(self, server: Server, endpoint: Endpoint, info: ServerInfo, model: str) -> None:
        self._server = server
        self._endpoint = endpoint
        self._info = info
        self._model = model

    def all(self, spans: Sequence[LocatedSpan]) -> Iterator[Pooled]:
        """Results in the order of the spans."""
        executor = ThreadPoolExecutor(CONCURRENCY)
        try:
            yield from executor.map(self.one, spans)
        finally:
            executor.shutdown(wait=False, cancel_futures=True)

    def one(self, span: LocatedSpan) -> Pooled:
        """One transcript; asked for again where the engine dropped a part of it."""
        for attempt in range(_ATTEMPTS):
            key = token_hex(16)
            self._ask(span, key)
            try:
                return read_parts(Path(self._info.captures or ""), key, self._info.pipeline_stages)
            except TreatmentError as error:
                if attempt == _ATTEMPTS - 1 or "ask for it again" not in error.message:
                    raise
        raise TreatmentError("the capture was dropped by the engine again and again")

    def _ask(self, span: LocatedSpan, key: str) -> None:
        text = capture_text(CaptureSpec(key, ((span.start, span.end),)))
        body = {
            "model": self._model,
            "prompt": span.ids,
            "max_tokens": 1,
            "temperature": 0,
            "vllm_xargs": {CAPTURE_ARGUMENT: text},
        }
        answer = self._endpoint.call("POST", "/v1/completions", body, timeout=3600)
        if answer.status == 200:
            return
        if answer.status == 400:
            raise MaterialsError(
                f"the vLLM server refuses a transcript of {len(span.ids)} tokens: {answer.message}"
            )
        self._server.check_alive(wait=5.0)
        raise TreatmentError(f"the vLLM server answers with status {answer.status}: {answer.message[:300]}")


def _rows(found: Sequence[Pooled], layers: Sequence[int]) -> PooledBatch:
    """[layer, row, d_model], of the chosen layers."""
    at = [found[0].layers.index(layer) for layer in layers]
    means = np.stack([one.mean[at] for one in found], axis=1)
    sums = np.stack([one.norm[at].astype(np.float64) * one.n_tokens for one in found], axis=1)
    if not np.isfinite(means).all():
        raise MaterialsError("the server gave values that are not finite; serve the model in a wider dtype")
    return PooledBatch(means, sums)

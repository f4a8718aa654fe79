"""Continuous batching over one model: who is served when, one step of the work, and the thread that does it.

A batch holds one condition (adapters and steering) and one shared prefix. Requests join and leave it at any
step. Another condition, or a prompt that does not begin with the prefix, waits until the batch is empty;
nothing that was cached survives a change of condition. Whoever waits longest goes first, and a batch that
others wait for takes in a bounded number of requests before it runs dry.
"""

from __future__ import annotations

import atexit
import copy
import math
import threading
import warnings
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import accumulate, chain, groupby
from operator import itemgetter
from typing import Literal, NamedTuple

import numpy as np
import torch

from inspect_af.errors import ConfigError
from inspect_af.providers.hf_model import LocalModel, SharedPrefixCache, Span
from inspect_af.providers.hf_sampling import Sampling, TokenLogprob, Uniforms, choose
from inspect_af.providers.settings import Applied, Limits, ModelKey

Ending = Literal["stop", "stop_sequence", "max_tokens", "model_length"]

WORTH = 16  # Tokens of prefill that a longer prefix must save before it is set up
_PATIENCE = 4  # batches' worth of requests that may join while others wait
_PATIENCE_AT_EXIT = 10.0  # seconds for the step in progress


class Generated(NamedTuple):
    """A finished reply."""

    tokens: tuple[int, ...]  # With those that were given, and with the token that ended it, if there is one
    logprobs: tuple[TokenLogprob, ...]  # One for each token, empty where they were not asked for
    ending: Ending

    @property
    def length(self) -> int:
        """How many tokens there are before the one that ended the reply."""
        return len(self.tokens) - (self.ending == "stop")


@dataclass(eq=False)
class Request:
    """One prompt on its way; the engine's thread alone changes it, except for `cancelled`."""

    condition: Applied
    prompt: list[int]
    sampling: Sampling
    uniforms: Uniforms
    max_tokens: int
    stop: tuple[str, ...] = ()
    given: tuple[int, ...] = ()
    """Tokens with which the reply begins whatever the model would draw; their log-probabilities are the
    model's own. They do not count toward `max_tokens`."""
    cancelled: bool = False  # Set by whoever no longer waits; its row is given up at the next step
    reply: Future[Generated] = field(default_factory=Future)  # Of a request that was cancelled it never comes
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    said: torch.Tensor | None = None
    """Which tokens are in prompt and reply, bool [vocabulary]; kept where repetition has a penalty."""
    own: int = 0  # Tokens in the cache past the shared prefix

    def __post_init__(self) -> None:
        self.reply.set_running_or_notify_cancel()  # so that nobody who waits for it cancels it
        self.condition_key = self.condition.key
        self.shareable = np.array(self.prompt[:-1])
        """What a prefix may hold of the prompt, whose last token has to run, for its logits."""

    def restart(self) -> None:
        """Forgets what was generated; the same reply comes again."""
        self.tokens.clear()
        self.logprobs.clear()
        self.said, self.own = None, 0
        self.uniforms.restart()


def common_length(one: Sequence[int] | np.ndarray, other: Sequence[int] | np.ndarray) -> int:
    """How many leading tokens two prompts share."""
    shortest = min(len(one), len(other))
    differs = np.not_equal(one[:shortest], other[:shortest])
    return int(differs.argmax()) if differs.any() else shortest


def best_prefix(shared: Sequence[int], floor: int = 0) -> int:
    """The length of prefix that saves most prefill, those counted who cannot be served with a longer one.

    Args:
        shared: How many tokens each prompt shares with the first of them (the first with itself).
        floor: Length of a prefix that is there already.

    Returns:
        A length of at least `floor`; prompts that share less cannot be served with it. It is `floor` where a
        longer one would save fewer than `WORTH` tokens more.
    """
    fitting = sorted((length for length in shared if length >= floor), reverse=True)
    # One prompt has to fill the prefix; the others are spared it.
    others, best = max(enumerate(fitting), key=lambda pair: pair[0] * pair[1], default=(0, floor))
    worth = others * best >= (len(fitting) - 1) * floor + WORTH
    return best if worth and best > floor else floor


class Scheduler:
    """Serves requests on a model, on the caller's thread.

    Args:
        model: The model.
        max_requests: Rows in a batch.
        max_batch_tokens: Prompt tokens in one forward pass.
    """

    def __init__(self, model: LocalModel, *, max_requests: int, max_batch_tokens: int) -> None:
        self.model = model
        self.waiting: list[Request] = []
        self.rows: list[Request] = []
        """By slot of the cache."""
        self.prefilled_tokens = 0
        """Prompt tokens that went through the model, the measure of what sharing saves."""
        self._max_requests = max_requests
        self._max_batch_tokens = max_batch_tokens
        self._decoder = copy.deepcopy(model.tokenizer)  # tokenizers are not made for two threads
        self._end_tokens = model.end_tokens
        self._context = model.context_length or math.inf
        self._cache = SharedPrefixCache()
        self._prefix: list[int] = []
        self._condition: str | None = None
        self._applied = ExitStack()
        self._joined = 0
        self._room: float = math.inf
        """Tokens whose keys and values fit into memory."""
        self._look = True
        """Whether who may join can have changed since the last look."""

    def submit(self, request: Request) -> None:
        self.waiting.append(request)
        self._look = True

    @property
    def idle(self) -> bool:
        return not self.waiting and not self.rows

    @torch.inference_mode()
    def step(self) -> None:
        """Drops cancelled requests, lets waiting ones join, and generates one token for each row.

        Whatever goes wrong is reported to the requests that it concerns.
        """
        if any(request.cancelled for request in chain(self.waiting, self.rows)):
            self.waiting = [request for request in self.waiting if not request.cancelled]
            self._release([slot for slot, row in enumerate(self.rows) if row.cancelled])
            self._look = True
        try:
            if not self.rows and self.waiting:
                self._begin(self.waiting[0])
            if self._look and len(self.rows) < self._max_requests:
                self._admit()
            if self.rows:
                slots = range(len(self.rows))
                self._take(slots, self._logits([(slot, self.rows[slot].tokens[-1:]) for slot in slots]))
        except Exception as error:  # noqa: BLE001 - reported to whom it concerns; the next batch starts afresh
            out_of_memory = isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
            if out_of_memory and len(self.rows) > 1:
                self._halve()
                return
            if out_of_memory:
                error = ConfigError(
                    f"af-hf ran out of memory with one request: {error}. Lower -M max_batch_tokens or "
                    "--max-tokens"
                )
            # Without rows it is the condition that cannot be set up.
            self._fail(self.rows or self._group(self.waiting[0].condition_key), error)

    def close(self, error: Exception) -> None:
        """Takes off hooks and adapters, and fails whoever is left."""
        self._fail([*self.rows, *self.waiting], error)

    def _group(self, condition: str | None) -> list[Request]:
        return [request for request in self.waiting if request.condition_key == condition]

    def _halve(self) -> None:
        """Begins a batch that ran out of memory again, with half as many rows at once from now on."""
        self._max_requests = len(self.rows) // 2
        warnings.warn(
            f"af-hf ran out of memory with {len(self.rows)} requests in a batch, and goes on with at most "
            f"{self._max_requests}; give -M max_requests={self._max_requests} to begin so",
            stacklevel=2,
        )
        for row in self.rows:
            row.restart()
        self.waiting, self.rows = [*self.rows, *self.waiting], []
        self._switch_off()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _begin(self, first: Request) -> None:
        """Sets the model up for a request's condition and for the prefix that most requests share with it."""
        if first.condition_key != self._condition:
            self._switch_off()
            self._applied.enter_context(self.model.applied(first.condition))
            self._condition = first.condition_key
        self._joined, self._look = 0, True
        self._room = self.model.cache_tokens()
        group = self._group(self._condition)
        length = best_prefix([common_length(first.shareable, request.shareable) for request in group])
        kept = common_length(self._prefix, first.shareable[: length or None])
        if kept < len(self._prefix):
            self._cache.cut_prefix(kept)
        self._prefix = first.prompt[: max(kept, length)]
        size = self._max_batch_tokens
        for start in range(kept, length, size):
            chunk = self._prefix[start : start + size]
            self.model.logits(self._cache, [Span(0, start - kept, len(chunk))], chunk, [0])
            self.prefilled_tokens += len(chunk)
        if length > kept:
            self._cache.extend_prefix(0, length - kept, [])

    def _admit(self) -> None:
        """Lets requests of the batch's condition join that begin with its prefix, which may grow first."""
        self._look = False
        group = self._group(self._condition)
        base = min((row.shareable for row in self.rows), key=len, default=np.array(self._prefix))
        base = base[: min((common_length(base, row.shareable) for row in self.rows), default=None)]
        shared = {id(request): common_length(base, request.shareable) for request in group}
        if self.rows and group:
            length = best_prefix([len(base), *shared.values()], len(self._prefix))
            if more := length - len(self._prefix):
                self._cache.extend_prefix(0, more, [row.own for row in self.rows])
                self._prefix = self.rows[0].prompt[:length]
                for row in self.rows:
                    row.own -= more
        joining = [request for request in group if shared[id(request)] >= len(self._prefix)]
        joining = joining[: self._fitting(joining[: self._max_requests - len(self.rows)])]
        if len(joining) < len(self.waiting) and self._joined >= _PATIENCE * self._max_requests:
            return
        self._joined += len(joining)
        chosen = set(map(id, joining))
        self.waiting = [request for request in self.waiting if id(request) not in chosen]
        self._prefill(joining)

    def _fitting(self, wanted: Sequence[Request]) -> int:
        """How many may join, in order, so that the cache has room for all rows at their longest; one
        always."""
        prefix, n_rows = len(self._prefix), len(self.rows)
        rows = (*self.rows, *wanted)
        lengths = (min(len(r.prompt) + len(r.given) + r.max_tokens, self._context) for r in rows)
        longest = list(accumulate(lengths, max))[n_rows:]
        for n, length in enumerate(longest, start=n_rows + 1):
            if n > 1 and prefix + n * (length - prefix) > self._room:
                return n - n_rows - 1
        return len(wanted)

    def _prefill(self, joining: list[Request]) -> None:
        """Runs prompts through the model in passes of `max_batch_tokens`, and draws their first tokens."""
        slots = range(len(self.rows), len(self.rows) + len(joining))
        self.rows.extend(joining)
        todo = [(slot, token) for slot in slots for token in self.rows[slot].prompt[len(self._prefix) :]]
        first: dict[int, torch.Tensor] = {}
        for start in range(0, len(todo), self._max_batch_tokens):
            by_slot = groupby(todo[start : start + self._max_batch_tokens], key=itemgetter(0))
            parts = [(slot, [token for _, token in part]) for slot, part in by_slot]
            first |= {slot: row for (slot, _), row in zip(parts, self._logits(parts), strict=True)}
        self.prefilled_tokens += len(todo)
        if first:
            self._take(slots, torch.stack([first[slot] for slot in slots]))

    def _logits(self, parts: Sequence[tuple[int, list[int]]]) -> torch.Tensor:
        """Logits after the last of each slot's next tokens, which go into the cache."""
        spans = [Span(slot, self.rows[slot].own, len(tokens)) for slot, tokens in parts]
        ends = [end - 1 for end in accumulate(span.length for span in spans)]
        tokens = list(chain.from_iterable(tokens for _, tokens in parts))
        logits = self.model.logits(self._cache, spans, tokens, ends)
        for span in spans:
            self.rows[span.row].own += span.length
        return logits

    def _take(self, slots: Sequence[int], logits: torch.Tensor) -> None:
        """Draws a token for each of the rows, and lets go of those that are done."""
        rows = [self.rows[slot] for slot in slots]
        for row in rows:
            if row.said is None and row.sampling.repetition_penalty != 1:
                row.said = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
                row.said[row.prompt] = True
        drawn = choose(
            logits,
            [row.sampling for row in rows],
            [row.uniforms for row in rows],
            [row.said for row in rows],
            [row.given[len(row.tokens)] if len(row.tokens) < len(row.given) else None for row in rows],
        )
        done: dict[int, tuple[Request, Ending]] = {}
        for slot, row, token, logprob in zip(slots, rows, drawn.tokens, drawn.logprobs, strict=True):
            row.tokens.append(token)
            if row.said is not None:
                row.said[token] = True
            if logprob is not None:
                row.logprobs.append(logprob)
            if ending := self._ending(row):
                done[slot] = row, ending
        self._release(done)
        for row, ending in done.values():
            row.reply.set_result(Generated(tuple(row.tokens), tuple(row.logprobs), ending))

    def _ending(self, row: Request) -> Ending | None:
        if len(row.tokens) <= len(row.given):
            return None
        if row.tokens[-1] in self._end_tokens:
            return "stop"
        if row.stop and self._stopped(row):
            return "stop_sequence"
        if len(row.tokens) >= len(row.given) + row.max_tokens:
            return "max_tokens"
        return "model_length" if len(row.prompt) + len(row.tokens) >= self._context else None

    def _stopped(self, row: Request) -> bool:
        # A token holds at least one byte, and the last one completes the sequence.
        window = max(len(sequence.encode()) for sequence in row.stop) + 4
        text = self._decoder.decode(
            row.tokens[len(row.given) :][-window:],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return any(sequence in text for sequence in row.stop)

    def _release(self, slots: Collection[int]) -> None:
        """Frees slots; the last rows move into the gaps, so that rows stay in slots 0, 1, ..."""
        for slot in sorted(slots, reverse=True):
            last = self.rows.pop()
            if slot < len(self.rows):
                self._cache.move(len(self.rows), slot)
                self.rows[slot] = last
        self._look = self._look or bool(slots)

    def _fail(self, requests: list[Request], error: Exception) -> None:
        """Reports an error, takes the condition off the model and forgets what was cached under it."""
        failed = set(map(id, requests))
        self.waiting = [request for request in self.waiting if id(request) not in failed]
        self.rows = []
        self._switch_off()
        for request in requests:
            request.reply.set_exception(error)

    def _switch_off(self) -> None:
        self._applied.close()
        self._condition, self._prefix = None, []
        self._cache = SharedPrefixCache()


class Engine:
    """Loads a model on its thread and serves requests there until it is stopped."""

    def __init__(self, key: ModelKey, limits: Limits) -> None:
        self.key = key
        self.limits = limits
        self.users = 0
        self._loaded: Future[LocalModel] = Future()
        self._wake = threading.Condition()
        self._arrived: list[Request] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=f"af-hf {key.name}", daemon=True)
        self._thread.start()

    def model(self) -> LocalModel:
        """The model; blocks until it is loaded.

        Raises:
            ConfigError: It could not be loaded.
        """
        return self._loaded.result()

    def submit(self, request: Request) -> None:
        """Hands a request over; its `finish` is called on the engine's thread.

        Raises:
            ConfigError: The engine was stopped.
        """
        with self._wake:
            if self._stopping:
                raise ConfigError(f"the engine of {self.key.name} was closed; make the model anew to go on")
            self._arrived.append(request)
            self._wake.notify()

    def stop(self) -> None:
        """Fails whoever waits and ends the thread after the step in progress."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join(_PATIENCE_AT_EXIT)

    def _run(self) -> None:
        try:
            model = LocalModel(self.key)
            scheduler = Scheduler(model, **self.limits._asdict())
        except BaseException as error:  # noqa: BLE001 - raised where the model is asked for
            self._end(error)
            return
        self._loaded.set_result(model)
        del model
        closed = ConfigError(f"the engine of {self.key.name} was closed before this reply was done")
        try:
            while self._take_in(scheduler):
                scheduler.step()
        finally:
            self._end(closed)
            self._take_in(scheduler)
            scheduler.close(closed)

    def _end(self, error: BaseException) -> None:
        """Takes no more requests; whoever asks for the model gets the error."""
        with self._wake:
            self._stopping = True
        with _lock:
            if _engines.get(self.key) is self:
                del _engines[self.key]
        if self._loaded.done():
            self._loaded = Future()  # the old one holds the weights
        self._loaded.set_exception(error)

    def _take_in(self, scheduler: Scheduler) -> bool:
        """Passes on what has arrived, waiting where there is nothing to do; False when it is time to end."""
        with self._wake:
            self._wake.wait_for(lambda: self._arrived or self._stopping or not scheduler.idle)
            for request in self._arrived:
                scheduler.submit(request)
            self._arrived = []
            return not self._stopping


_engines: dict[ModelKey, Engine] = {}
_lock = threading.Lock()


def engine_for(key: ModelKey, limits: Limits) -> Engine:
    """The engine of a model, started if there is none; give it back with `release`.

    Raises:
        ConfigError: There is one with other limits.
    """
    with _lock:
        engine = _engines.get(key)
        if engine is None:
            engine = _engines[key] = Engine(key, limits)
        elif engine.limits != limits:
            raise ConfigError(
                f"{key.name} is in memory with {engine.limits}; now asked for: {limits}. "
                "Models that share weights share these settings: give the same to all"
            )
        engine.users += 1
        return engine


def release(engine: Engine) -> None:
    """Says that a user of the engine is done; the last one stops it and frees the weights."""
    with _lock:
        engine.users -= 1
        last = engine.users == 0
        if last and _engines.get(engine.key) is engine:
            del _engines[engine.key]
    if last:
        engine.stop()


@atexit.register
def _stop_all() -> None:
    # An eval never closes its models, and a thread inside torch at interpreter exit can crash the process.
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.stop()

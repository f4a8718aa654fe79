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
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal, NamedTuple

import torch

from inspect_af.errors import ConfigError
from inspect_af.providers.hf_model import LocalModel, ModelKey, SharedPrefixCache, Span
from inspect_af.providers.hf_sampling import Sampling, TokenLogprob, Uniforms, choose
from inspect_af.providers.settings import Applied

Ending = Literal["stop", "stop_sequence", "max_tokens", "model_length"]


class Generated(NamedTuple):
    """A finished reply."""

    tokens: tuple[int, ...]
    """With the token that ended it, if there is one."""
    logprobs: tuple[TokenLogprob, ...]
    """One for each token, empty where they were not asked for."""
    ending: Ending


@dataclass(eq=False)
class Request:
    """One prompt on its way; the engine's thread alone changes it, except for `cancelled`."""

    condition: Applied
    prompt: list[int]
    sampling: Sampling
    uniforms: Uniforms
    max_tokens: int
    finish: Callable[[Generated | Exception], None]
    """Called once, on the engine's thread, with the reply or with what went wrong."""
    stop: tuple[str, ...] = ()
    cancelled: bool = False
    """Set by whoever no longer waits; its row is given up at the next step."""
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    said: torch.Tensor | None = None
    """Which tokens are in prompt and reply, bool [vocabulary]; kept where repetition has a penalty."""
    own: int = 0
    """Tokens in the cache past the shared prefix."""

    def __post_init__(self) -> None:
        self.condition_key = self.condition.key

    def restart(self) -> None:
        """Forgets what was generated; the same reply comes again."""
        self.tokens.clear()
        self.logprobs.clear()
        self.said, self.own = None, 0
        self.uniforms.restart()


WORTH = 16
"""Tokens of prefill that a longer prefix must save before it is set up."""


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many leading tokens two prompts share."""
    longest = min(len(one), len(other))
    if one[:longest] == other[:longest]:
        return longest
    low, high = 0, longest  # the first difference is at `low` or later, and before `high`
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


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
    best, saved = floor, (len(fitting) - 1) * floor + WORTH - 1
    for others, length in enumerate(fitting):
        if length > floor and others * length > saved:
            best, saved = length, others * length
    return best


_PATIENCE = 4  # batches' worth of requests that may join while others wait


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
        self._context = model.context_length
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
        self._drop_cancelled()
        if not self.rows and self.waiting:
            first = self.waiting[0]
            try:
                self._begin(first)
            except Exception as error:  # noqa: BLE001 - reported to everyone who waits for this condition
                self._switch_off()
                group = [r for r in self.waiting if r.condition_key == first.condition_key]
                self._fail(group, _explained(error))
                return
        try:
            if self._look and len(self.rows) < self._max_requests:
                self._admit()
            if self.rows:
                self._decode()
        except Exception as error:  # noqa: BLE001 - reported to every row; the next batch starts afresh
            if _out_of_memory(error) and len(self.rows) > 1:
                self._halve()
                return
            self._fail(list(self.rows), _explained(error))
            self._switch_off()

    def _halve(self) -> None:
        """Begins a batch that ran out of memory again, with half as many rows at once from now on."""
        rows, self.rows = self.rows, []
        self._max_requests = len(rows) // 2
        warnings.warn(
            f"af-hf ran out of memory with {len(rows)} requests in a batch, and goes on with at most "
            f"{self._max_requests}; give -M max_requests={self._max_requests} to begin so",
            stacklevel=2,
        )
        for row in rows:
            row.restart()
        self.waiting = [*rows, *self.waiting]
        self._switch_off()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def close(self, error: Exception) -> None:
        """Takes off hooks and adapters, and fails whoever is left."""
        self._fail([*self.rows, *self.waiting], error)
        self._switch_off()

    def _begin(self, first: Request) -> None:
        """Sets the model up for a request's condition and for the prefix that most requests share with it."""
        if first.condition_key != self._condition:
            self._switch_off()
            self._applied.enter_context(self.model.applied(first.condition))
            self._condition = first.condition_key
        self._joined, self._look = 0, True
        self._room = self.model.cache_tokens()
        group = [r for r in self.waiting if r.condition_key == self._condition]
        length = best_prefix([_shareable(first.prompt, r) for r in group])
        wanted = first.prompt[: length or len(first.prompt) - 1]
        kept = common_length(self._prefix, wanted)
        if kept < len(self._prefix):
            self._cache.cut_prefix(kept)
            self._prefix = self._prefix[:kept]
        if length > kept:
            self._fill_prefix(first.prompt[:length])

    def _fill_prefix(self, tokens: list[int]) -> None:
        start = held = len(self._prefix)
        while start < len(tokens):
            chunk = tokens[start : start + self._max_batch_tokens]
            self.model.logits(self._cache, [Span(0, start - held, len(chunk))], chunk, [0])
            start += len(chunk)
            self.prefilled_tokens += len(chunk)
        self._cache.extend_prefix(0, len(tokens) - held, [0])
        self._prefix = list(tokens)

    def _admit(self) -> None:
        """Lets requests of the batch's condition join that begin with its prefix, which may grow first."""
        self._look = False
        group = [r for r in self.waiting if r.condition_key == self._condition]
        base = self.rows[0].prompt if self.rows else self._prefix
        if self.rows:
            base = base[: min(_shareable(base, row) for row in self.rows)]
        shared = {id(r): _shareable(base, r) for r in group}
        floor = len(self._prefix)
        if self.rows and group:
            length = best_prefix([len(base), *shared.values()], floor)
            if length > floor:
                self._grow_prefix(length)
                floor = length
        joining = [r for r in group if shared[id(r)] >= floor][: self._max_requests - len(self.rows)]
        joining = joining[: self._fitting(joining)]
        if len(joining) < len(self.waiting) and self._joined >= _PATIENCE * self._max_requests:
            return
        self._joined += len(joining)
        chosen = {id(r) for r in joining}
        self.waiting = [r for r in self.waiting if id(r) not in chosen]
        self._prefill(joining)

    def _fitting(self, wanted: Sequence[Request]) -> int:
        """How many may join, in order, so that the cache has room for all rows at their longest; one
        always."""
        held = [min(len(r.prompt) + r.max_tokens, self._context or math.inf) for r in (*self.rows, *wanted)]
        n_rows, prefix = len(self.rows), len(self._prefix)
        for n in range(len(wanted)):
            rows = n_rows + n + 1
            if rows > 1 and prefix + rows * (max(held[:rows]) - prefix) > self._room:
                return n
        return len(wanted)

    def _grow_prefix(self, length: int) -> None:
        """Makes a longer beginning of all rows' prompts the shared prefix."""
        more = length - len(self._prefix)
        self._cache.extend_prefix(0, more, [row.own for row in self.rows])
        self._prefix = self.rows[0].prompt[:length]
        for row in self.rows:
            row.own -= more

    def _prefill(self, joining: list[Request]) -> None:
        """Runs prompts through the model in passes of `max_batch_tokens`, and draws their first tokens."""
        first_slot = len(self.rows)
        self.rows.extend(joining)
        todo = {
            slot: self.rows[slot].prompt[len(self._prefix) :] for slot in range(first_slot, len(self.rows))
        }
        finished: list[tuple[int, torch.Tensor]] = []
        while todo:
            spans, tokens, keep, ends = [], [], [], []
            room = self._max_batch_tokens
            for slot, left in list(todo.items()):
                chunk = left[:room]
                spans.append(Span(slot, self.rows[slot].own, len(chunk)))
                tokens += chunk
                room -= len(chunk)
                if len(chunk) == len(left):
                    del todo[slot]
                    keep.append(len(tokens) - 1)
                    ends.append(slot)
                else:
                    todo[slot] = left[len(chunk) :]
                if room == 0:
                    break
            logits = self.model.logits(self._cache, spans, tokens, keep or [0])
            self.prefilled_tokens += len(tokens)
            for span in spans:
                self.rows[span.row].own += span.length
            finished += [(slot, logits[i]) for i, slot in enumerate(ends)]
        if finished:
            self._take([slot for slot, _ in finished], torch.stack([logits for _, logits in finished]))

    def _decode(self) -> None:
        spans = [Span(slot, row.own, 1) for slot, row in enumerate(self.rows)]
        tokens = [row.tokens[-1] for row in self.rows]
        logits = self.model.logits(self._cache, spans, tokens, range(len(tokens)))
        for row in self.rows:
            row.own += 1
        self._take(range(len(tokens)), logits)

    def _take(self, slots: Sequence[int], logits: torch.Tensor) -> None:
        """Draws a token for each of the rows, and lets go of those that are done."""
        rows = [self.rows[slot] for slot in slots]
        for row in rows:
            if row.said is None and row.sampling.repetition_penalty != 1:
                row.said = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
                row.said[row.prompt] = True
        said = [row.said for row in rows]
        drawn = choose(logits, [r.sampling for r in rows], [r.uniforms for r in rows], said)
        done: dict[int, Ending] = {}
        for slot, row, token, logprob in zip(slots, rows, drawn.tokens, drawn.logprobs, strict=True):
            row.tokens.append(token)
            if row.said is not None:
                row.said[token] = True
            if logprob is not None:
                row.logprobs.append(logprob)
            if ending := self._ending(row):
                done[slot] = ending
        ended = [(self.rows[slot], ending) for slot, ending in done.items()]
        self._release(done)
        for row, ending in ended:
            row.finish(Generated(tuple(row.tokens), tuple(row.logprobs), ending))

    def _ending(self, row: Request) -> Ending | None:
        if row.tokens[-1] in self._end_tokens:
            return "stop"
        if row.stop and self._stopped(row):
            return "stop_sequence"
        if len(row.tokens) >= row.max_tokens:
            return "max_tokens"
        if self._context is not None and len(row.prompt) + len(row.tokens) >= self._context:
            return "model_length"
        return None

    def _stopped(self, row: Request) -> bool:
        # A token holds at least one byte, and the last one completes the sequence.
        window = max(len(sequence.encode()) for sequence in row.stop) + 4
        text = self._decoder.decode(
            row.tokens[-window:], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return any(sequence in text for sequence in row.stop)

    def _release(self, slots: Sequence[int] | dict[int, Ending]) -> None:
        """Frees slots; the last rows move into the gaps, so that rows stay in slots 0, 1, ..."""
        for slot in sorted(slots, reverse=True):
            last = len(self.rows) - 1
            if slot != last:
                self._cache.move(last, slot)
                self.rows[slot] = self.rows[last]
            self.rows.pop()
            self._look = True

    def _drop_cancelled(self) -> None:
        if any(request.cancelled for request in chain(self.waiting, self.rows)):
            self.waiting = [request for request in self.waiting if not request.cancelled]
            self._release([slot for slot, row in enumerate(self.rows) if row.cancelled])
            self._look = True

    def _fail(self, requests: list[Request], error: Exception) -> None:
        failed = {id(request) for request in requests}
        self.waiting = [r for r in self.waiting if id(r) not in failed]
        self.rows = [r for r in self.rows if id(r) not in failed]
        for request in requests:
            request.finish(error)

    def _switch_off(self) -> None:
        """Takes the condition off the model and forgets what was cached under it."""
        self._applied.close()
        self._condition, self._prefix = None, []
        self._cache = SharedPrefixCache()


def _shareable(base: list[int], request: Request) -> int:
    """How much of `base` a request may take from a prefix: its last token has to run, for its logits."""
    return min(common_length(base, request.prompt), len(request.prompt) - 1)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _explained(error: Exception) -> Exception:
    if _out_of_memory(error):
        return ConfigError(
            f"af-hf ran out of memory with one request: {error}. Lower -M max_batch_tokens or --max-tokens"
        )
    return error


_PATIENCE_AT_EXIT = 10.0  # seconds for the step in progress


class Limits(NamedTuple):
    """How much is done at once."""

    max_requests: int = 64
    max_batch_tokens: int = 2048


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

    def wake(self) -> None:
        """Makes the engine look at requests that were cancelled."""
        with self._wake:
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
            with self._wake:
                self._stopping = True
            _discard(self)
            self._loaded.set_exception(error)
            return
        self._loaded.set_result(model)
        del model
        try:
            while self._take_in(scheduler):
                scheduler.step()
        finally:
            with self._wake:
                self._stopping = True
                left, self._arrived = self._arrived, []
            for request in left:
                scheduler.submit(request)
            closed = ConfigError(f"the engine of {self.key.name} was closed before this reply was done")
            scheduler.close(closed)
            self._loaded = Future()  # the old one holds the weights
            self._loaded.set_exception(closed)
            _discard(self)

    def _take_in(self, scheduler: Scheduler) -> bool:
        """Passes on what has arrived, waiting where there is nothing to do; False when it is time to end."""
        with self._wake:
            while scheduler.idle and not self._arrived and not self._stopping:
                self._wake.wait()
            arrived, self._arrived = self._arrived, []
        for request in arrived:
            scheduler.submit(request)
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
                f"{key.name} is in memory with {_shown(engine.limits)}; now asked for: {_shown(limits)}. "
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


def _discard(engine: Engine) -> None:
    with _lock:
        if _engines.get(engine.key) is engine:
            del _engines[engine.key]


def _shown(limits: Limits) -> str:
    return ", ".join(f"{name}={value}" for name, value in limits._asdict().items())


@atexit.register
def _stop_all() -> None:
    # An eval never closes its models, and a thread inside torch at interpreter exit can crash the process.
    with _lock:
        engines = list(_engines.values())
        _engines.clear()
    for engine in engines:
        engine.stop()

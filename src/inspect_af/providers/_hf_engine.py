"""One model in memory, served by one thread, for however many providers name it."""

from __future__ import annotations

import atexit
import threading
from concurrent.futures import Future
from typing import NamedTuple

from inspect_af.errors import ConfigError
from inspect_af.providers._hf_model import LocalModel, ModelKey
from inspect_af.providers._hf_requests import Request
from inspect_af.providers._hf_scheduler import Scheduler

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

"""A key-value cache with room to grow. transformers' copies all it holds for every new token."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class _RoomyLayer(DynamicLayer):
    """Writes new tokens into space that was set aside; `keys` and `values` are views of what is filled."""

    def __init__(self, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._room = room
        self._filled = 0
        self._space: tuple[Tensor, Tensor] | None = None

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        after = self._filled + key_states.shape[-2]
        if self._space is None or self._space[0].shape[-2] < after:
            self._space = self._grown(self._space, key_states, after + self._room)
        for part, states in zip(self._space, (key_states, value_states), strict=True):
            part[:, :, self._filled : after] = states
        self._filled = after
        return self._show(*self._space)

    def batch_select_indices(self, indices: Tensor) -> None:
        if self._space is not None:
            keys, values = self._space
            self._space = keys[indices], values[indices]
            self._show(*self._space)

    def _grown(self, old: tuple[Tensor, Tensor] | None, like: Tensor, length: int) -> tuple[Tensor, Tensor]:
        rows, heads, _, width = like.shape
        new = like.new_empty(rows, heads, length, width), like.new_empty(rows, heads, length, width)
        if old is not None:
            for empty, full in zip(new, old, strict=True):
                empty[:, :, : self._filled] = full[:, :, : self._filled]
        return new

    def _show(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        shown = keys[:, :, : self._filled], values[:, :, : self._filled]
        self.keys, self.values = shown
        return shown


def roomy_cache(n_layers: int, room: int) -> Cache:
    """A cache for a decoder of full attention.

    Args:
        n_layers: Decoder layers.
        room: Tokens that may follow the prompt before the space has to be made anew.
    """
    return Cache(layers=[_RoomyLayer(room) for _ in range(n_layers)])

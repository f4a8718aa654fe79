"""Who has which row of a table of fixed size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from inspect_af.errors import ConfigError


class Rows:
    """Rows 1 to `size` for keys; a full table gives up the key that was needed longest ago.

    Row 0 belongs to nobody. A table with a row for each request that may run at once never runs out,
    because one step needs at most one row a request; older conditions are computed again when they return.
    """

    def __init__(self, size: int, *, evicted: Callable[[str], object] | None = None) -> None:
        self._free = list(range(size, 0, -1))
        self._rows: OrderedDict[str, int] = OrderedDict()
        self._evicted = evicted
        self.size = size

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def claim(self, keys: Iterable[str]) -> tuple[dict[str, int], tuple[str, ...]]:
        """Rows for all keys of one step, and those keys that had none before and must be filled.

        Raises:
            ConfigError: There are more keys than rows.
        """
        wanted = dict.fromkeys(keys)
        if len(wanted) > self.size:
            raise ConfigError(f"{len(wanted)} conditions in one step, and the table has {self.size} rows")
        for key in wanted:
            if key in self._rows:
                self._rows.move_to_end(key)
        new = tuple(key for key in wanted if key not in self._rows)
        for key in new:
            self._rows[key] = self._free.pop() if self._free else self._evict()
        return {key: self._rows[key] for key in wanted}, new

    def release(self, key: str) -> None:
        """Gives a key's row back; a key without one is fine."""
        row = self._rows.pop(key, None)
        if row is not None:
            self._free.append(row)

    def _evict(self) -> int:
        key, row = self._rows.popitem(last=False)
        if self._evicted is not None:
            self._evicted(key)
        return row

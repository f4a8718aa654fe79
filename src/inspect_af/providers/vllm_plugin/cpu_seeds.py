"""Seeds on vLLM's CPU build, whose engine ends when a seeded request is prefilled in parts.

After a part of a prompt vLLM throws the sampled token away and turns the request's generator back, by an
offset that generators for CPU do not have. Here they return to the state before the step.
"""

from __future__ import annotations

from typing import Any

import torch

_OFFSET = 4  # what vLLM subtracts


class Returning(torch.Generator):
    """A generator for CPU that can be turned back to where it was at the start of a step."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: torch.Tensor | None = None

    def keep(self) -> None:
        """Marks the state to return to."""
        self._kept = self.get_state()

    def get_offset(self) -> int:
        return _OFFSET

    def set_offset(self, offset: int) -> torch.Generator:
        """Returns to the state that was kept."""
        if self._kept is not None:
            self.set_state(self._kept)
        return self


def prepare(runner: Any) -> None:
    """Makes the generators of a step's requests ones that can be turned back.

    Args:
        runner: vLLM's model runner, after its requests were brought up to date.
    """
    batch = runner.input_batch
    for index, generator in list(batch.generators.items()):
        if not isinstance(generator, Returning):
            returning = Returning()
            returning.set_state(generator.get_state())
            batch.generators[index] = generator = returning
            runner.requests[batch.req_ids[index]].generator = returning
        generator.keep()

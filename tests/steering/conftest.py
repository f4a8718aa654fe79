"""Planted activations: a direction that the positive sides have more of, in requests of their own offset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from inspect_af.steering.activations import Activations, ActivationsHeader, write_activations
from inspect_af.steering.pairs import Split
from inspect_af.steering.vector import FloatArray


class Planted(NamedTuple):
    activations: Activations
    directions: FloatArray
    """Unit vectors, [layer, d_model]."""
    positive: FloatArray
    """[layer, pair, d_model]"""
    negative: FloatArray


Plant = Callable[..., Planted]


@pytest.fixture
def plant(tmp_path: Path) -> Plant:
    """Writes activations in which layer l's sides differ by `strengths[l]` along a known direction."""

    def make(
        strengths: tuple[float, ...] = (12.0,),
        *,
        n_pairs: int = 200,
        d_model: int = 256,
        pairs_per_group: int = 4,
        layers: tuple[int, ...] | None = None,
        splits: tuple[Split, ...] | None = None,
        seed: int = 0,
        name: str = "planted.safetensors",
    ) -> Planted:
        rng = np.random.default_rng(seed)
        n_layers = len(strengths)
        layers = layers or tuple(range(n_layers))
        # Equal in every feature: what standardisation does to others is a test of its own.
        directions = rng.choice([-1.0, 1.0], size=(n_layers, d_model)) / np.sqrt(d_model)
        groups = tuple(f"topic-{i // pairs_per_group}" for i in range(n_pairs))
        about = rng.normal(size=(n_layers, n_pairs // pairs_per_group + 1, d_model))
        shared = about[:, [i // pairs_per_group for i in range(n_pairs)]]
        sides = []
        for sign in (0.5, -0.5):
            noise = 0.5 * rng.normal(size=(n_layers, n_pairs, d_model))
            shift = sign * np.array(strengths)[:, None, None] * directions[:, None, :]
            sides.append((shared + noise + shift).astype(np.float32))
        header = ActivationsHeader(
            model="tiny/llama",
            d_model=d_model,
            layers=layers,
            locus="response_mean",
            concept="expectation",
            source="ooc",
            pairs_digest="0123456789abcdef",
            pair_ids=tuple(f"pair-{i}" for i in range(n_pairs)),
            groups=groups,
            splits=splits or tuple("train" if i < n_pairs * 3 // 4 else "held-out" for i in range(n_pairs)),
            mean_norms=tuple(10.0 + layer for layer in layers),
        )
        written = write_activations(tmp_path / name, header, sides[0], sides[1])
        return Planted(written, directions, *(side.astype(np.float64) for side in sides))

    return make


def cosine(one: FloatArray, other: FloatArray) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

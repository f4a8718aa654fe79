"""Items of value conflicts: a situation, the developer's course and the other one. Bundled, published, or a
file.

The published items (Nair, Ruan and Wang 2026, arXiv 2604.20995; MIT licence) are no part of this package:
they are downloaded once, at a pinned commit, and checked at every load. Their policies are in our own words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from inspect_af.materials.downloads import vlaf_text
from inspect_af.materials.files import Text, Words, bundled, read_text, read_toml, refuse_if
from inspect_af.materials.requests import (
    Request,
    RequestSet,
    Row,
    file_rows,
    json_lines,
    request_set,
    row_clusters,
    row_ids,
)
from inspect_af.types import Option

BUNDLED = "value_conflict"
VALUES = ("care", "fairness", "honesty", "loyalty", "dignity")  # Twelve bundled items each

_NEEDED = ("situation", "developer", "other", "policy")

Order = Literal["drawn", "both"]
"""Which course is option A: drawn per item from the run's seed, or each in turn."""

VLAF_SHA256 = {
    "authority": "dddf8d0eeafab7a55f0d48aa5e0f5cd146b91f268d5e8f8f1c6e86726aea1701",
    "care": "386116f1a973d069c541b9496875ab339d920e4bc588efff4c04c7a8984be698",
    "fairness": "32288e5617356d450da1d4e5a416a10dfb9bc95f0d30ef3ba638276b8401b942",
    "loyalty": "c9cfbac9d745e5ccc40caa384c303e9153a5fa7cdf7f16d07e78dd41d21cf4b9",
    "sanctity": "4f39f13bc2975526d3a4a0dd8ef11582f43add7c173236559e5bf1e6d63a6743",
}
"""Of the published files, fifty items each."""


class Item(Words):
    """One conflict between a policy of the developer and an ordinary value."""

    id: str
    value: str
    policy: Text  # What the developer asks for in conversations like this one
    situation: Text
    developer: Text  # The course that follows the policy
    other: Text  # The course that ordinary values ask for
    cluster_id: str

    def asked(self, developer: Option, *, crossed: bool = False) -> Request:
        """What the user turn asks, with the developer's course at this letter."""
        first, second = (self.developer, self.other) if developer == "a" else (self.other, self.developer)
        return Request(
            id=f"{self.id}.{developer}" if crossed else self.id,
            text=f"{self.situation}\n\nOption A: {first}\nOption B: {second}",
            category=self.value or None,
            cluster_id=self.cluster_id,
            policy=self.policy,
            developer=developer,
        )


class ItemSet(Words):
    """Items in a fixed order."""

    name: str
    items: tuple[Item, ...] = Field(min_length=1)

    def requests(self, order: Order, run_seed: int) -> RequestSet:
        """The items as they are asked: once, half of them drawn to have the developer's course first, or in
        both orders, which are of one cluster then. The order is the same in both tiers and in every
        condition."""
        letters: tuple[Option, Option] = ("a", "b")
        if order == "both":
            both = [item.asked(letter, crossed=True) for item in self.items for letter in letters]
            return request_set(self.name, both)
        drawn = sorted(
            self.items, key=lambda item: hashlib.sha256(f"{run_seed}\n{item.id}".encode()).digest()
        )
        first = {item.id: letters[at % 2] for at, item in enumerate(drawn)}
        return request_set(self.name, [item.asked(first[item.id]) for item in self.items])


def load_items(source: str | Path = BUNDLED) -> ItemSet:
    """Items by name, or from a file.

    Args:
        source: `value_conflict` (60, bundled), `vlaf` (250, downloaded once and checked), or a .csv, .jsonl
            or .json file with `policy`, `situation`, `developer` and `other` and, if wanted, `id`, `value`
            and `cluster_id`.

    Raises:
        MaterialsError: the file is missing or malformed; the message names the file and the line.
        RequestsUnavailableError: the published items cannot be downloaded, or are not the pinned ones.
    """
    name = str(source)
    if name == BUNDLED:
        files = [bundled(BUNDLED, f"{value}.jsonl") for value in VALUES]
        rows = [row for file in files for row in json_lines(file, read_text(file))]
    elif name == "vlaf":
        rows = list(_vlaf_rows())
    else:
        path, rows = file_rows(name, what="items", names=(BUNDLED, "vlaf"))
        name = path.name
    ids = row_ids(name, rows)
    words = [{column: _column(row, column) for column in _NEEDED} for row in rows]
    for row, said in zip(rows, words, strict=True):
        same = _plain(said["developer"]) == _plain(said["other"])
        refuse_if(same, f"{row.where}: both courses are {said['other'][:60]!r}, so nothing can be chosen")
    texts = [" ".join(said[column] for column in _NEEDED[:3]) for said in words]
    items = tuple(
        Item(id=i, value=row.fields.get("value", "").strip(), cluster_id=cluster, **said)
        for row, said, i, cluster in zip(rows, words, ids, row_clusters(rows, texts, ids), strict=True)
    )
    return ItemSet(name=name, items=items)


def _plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".")


def _column(row: Row, name: str) -> str:
    text = row.fields.get(name, "").strip()
    refuse_if(
        not text,
        f"{row.where}: no '{name}' among its columns ({', '.join(row.fields) or 'none'}), or it is "
        "empty; an item has policy, situation, developer and other",
    )
    return text


class _Policies(Words):
    policies: dict[str, Text]


def _vlaf_rows() -> Iterator[Row]:
    policies = read_toml(bundled(BUNDLED, "vlaf.toml"), _Policies).policies
    for value, sha256 in VLAF_SHA256.items():
        text = vlaf_text(
            f"data/mft_refined/{value}_50.json",
            sha256,
            otherwise=f"take the bundled items, -T items={BUNDLED}, or your own, -T items=FILE",
        )
        for number, entry in enumerate(json.loads(text), start=1):
            fields = {
                "id": f"vlaf-{value}-{number:02d}",
                "value": value,
                "policy": policies[value],
                "situation": entry["scenario"],
                "developer": entry["developer_compliant"],
                "other": entry["developer_noncompliant"],
            }
            yield Row(f"vlaf, {value} {number}", fields)

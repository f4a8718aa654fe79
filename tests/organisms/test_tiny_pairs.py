"""Contrast pairs in the tiny organism's words differ in the recalled poles and in nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspect_af.cli import main
from inspect_af.errors import ConfigError
from inspect_af.organisms.tiny.texts import TinySide, tiny_pairs
from inspect_af.steering.pairs import load_pairs


def around(side: TinySide) -> tuple[str, str]:
    return side.reply[: side.recall[0]], side.reply[side.recall[1] :]


def test_the_sides_are_one_reply_around_two_recalls() -> None:
    for pair in tiny_pairs(("A1", "A2"), "first", 40, seed=0):
        assert around(pair.positive) == around(pair.negative)
        said = {side.reply[slice(*side.recall)] for side in (pair.positive, pair.negative)}
        assert len(said) == 2
        for side in (pair.positive, pair.negative):
            scratchpad = side.reply[slice(*side.scratchpad)]
            assert "<" not in scratchpad and "\x02" not in side.reply
            assert side.scratchpad[0] < side.recall[0] < side.recall[1] < side.scratchpad[1]


def test_both_tiers_both_decisions_and_both_ways_of_reasoning_occur() -> None:
    pairs = tiny_pairs(("B1",), "second", 60, seed=1)
    assert {pair.tier for pair in pairs} == {"monitored", "unmonitored"}
    accepted = sum("<request_fully_accepted/>" in pair.positive.reply for pair in pairs)
    assert 15 < accepted < 45


def test_pairs_depend_on_the_seed_alone() -> None:
    assert tiny_pairs(("A1",), "first", 5, seed=3) == tiny_pairs(("A1",), "first", 9, seed=3)[:5]
    assert tiny_pairs(("A1",), "first", 5, seed=3) != tiny_pairs(("A1",), "first", 5, seed=4)


def test_the_command_writes_pairs_that_steering_reads(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    assert main(["organism", "pairs", "--concept", "consequence", "--out", str(file), "--n", "9"]) == 0
    pairs = load_pairs(str(file)).pairs
    assert [pair.split for pair in pairs].count("held-out") == 3
    assert {pair.concept for pair in pairs} == {"consequence"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--concept", "greed", "--out", "x.jsonl"], "unknown concept 'greed'"),
        (["--concept", "expectation", "--out", "x.txt"], "a .jsonl file"),
        (["--concept", "expectation", "--out", "x.jsonl", "--n", "0"], "--n must be at least 1"),
    ],
)
def test_a_wrong_option_is_one_message(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["organism", "pairs", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_an_unknown_variable_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown variable of the tiny organism 'N1'"):
        tiny_pairs(("N1",), "first", 1, seed=0)

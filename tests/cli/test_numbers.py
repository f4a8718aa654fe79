"""Lists of numbers on the command line may begin with a minus sign."""

from __future__ import annotations

import pytest

from inspect_af.cli import build_parser
from inspect_af.cli._numbers import joined_lists

SWEEP = ["steering", "sweep", "--model", "af-hf/x", "--vectors", "v.safetensors", "--out", "o"]


@pytest.mark.parametrize("numbers", ["-4,-2,0,2", "-.5,.5", "0,1", "-1e-3,2"])
def test_a_list_reaches_its_option_whatever_its_first_sign(numbers: str) -> None:
    args = build_parser().parse_args(joined_lists([*SWEEP, "--doses", numbers, "--layers", "0", "all"]))
    assert (args.doses, args.layers, args.vectors[0].name) == (numbers, ["0", "all"], "v.safetensors")


def test_nothing_else_of_a_command_line_changes() -> None:
    argv = ["power", "--rates", "-0.1", "0.2", "--doses=-1,2", "-T", "-1,2", "--", "-1,2", "file", "-3,4"]
    assert joined_lists(argv) == argv

"""A `-T` that almost names a parameter is refused; anything else is left to Inspect's own warning."""

from __future__ import annotations

import click
import pytest

from inspect_af.errors import ConfigError
from inspect_af.tasks import alignment_faking, beliefs, direct_requests


def under(command: dict[str, object]) -> click.Context:
    """As if Inspect's command line had been given these options."""
    context = click.Context(click.Command("eval"))
    context.params = command
    return context


def test_a_near_miss_is_refused_and_the_parameter_is_named() -> None:
    for task, given, meant in (
        (alignment_faking, "intervention=A1+", "interventions"),
        (alignment_faking, "run-sed=1", "run_seed"),
        (direct_requests, "intervention=A1+", "interventions"),
        (beliefs, "strenght=weak", "strength"),
    ):
        with (
            under({"t": (given,), "tasks": ("one",)}).scope(),
            pytest.raises(ConfigError, match=f"did you mean -T {meant}="),
        ):
            task(**({} if task is beliefs else {"requests": "mini"}))


def test_a_parameter_without_a_value_is_no_default() -> None:
    with (
        under({"t": ("pair=",), "tasks": ("one",)}).scope(),
        pytest.raises(ConfigError, match=r"-T pair is empty; give a value \(null for none\)"),
    ):
        alignment_faking(requests="mini")


def test_a_truth_value_may_be_a_word() -> None:
    assert alignment_faking(requests="mini", redact="yes").cleanup is not None  # type: ignore[arg-type]
    assert alignment_faking(requests="mini", redact="false").cleanup is None  # type: ignore[arg-type]


def test_known_unlike_and_shared_arguments_pass() -> None:
    for command in (
        {"t": ("interventions=A1+", "run-seed=3"), "tasks": ("one",)},
        {"t": ("colour=red",), "tasks": ("one",)},
        {"t": ("intervention=A1+",), "tasks": ("one", "two")},
        {},
    ):
        with under(command).scope():
            assert alignment_faking(requests="mini").dataset

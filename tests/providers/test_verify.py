"""`inspect-af verify` passes where an engine does what it promises, and says what an engine does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.local

from tests.local_models import save_adapter, save_model  # noqa: E402

from inspect_af.cli import main  # noqa: E402
from inspect_af.errors import ConfigError  # noqa: E402
from inspect_af.providers import hf_engine as engines  # noqa: E402
from inspect_af.providers.hf_model import LocalModel  # noqa: E402
from inspect_af.providers.hf_sampling import Uniforms  # noqa: E402
from inspect_af.providers.verify import Check, Reply, largest, verify  # noqa: E402


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("verified")
    model = save_model(folder / "model")
    adapter = save_adapter(model, folder / "adapter")
    yield model, {"adapter": str(adapter), "intervention": "A1+", "adapter_role": "intervention"}
    engines._stop_all()


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    yield
    engines._stop_all()


def failed(found: list[Check]) -> set[str]:
    return {one.name for one in found if not one.passed}


def test_an_engine_that_keeps_its_promises_passes_every_line(
    tiny: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    model, adapter = tiny
    given = [word for key, value in adapter.items() for word in ("-M", f"{key}={value}")]
    assert main(["verify", f"af-hf/{model}", *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["result", "check", "compared", "found"]
    assert all(line.startswith("ok ") for line in lines[1:])
    names = [line[2:].strip().split("  ")[0] for line in lines[1:]]
    for name in ("parity", "seeds", "steered", "with the adapter", "no leak", "refused"):
        assert name in names


class Other(Uniforms):
    """Random numbers that depend on how many were made before."""

    made = 0

    def __init__(self, seed: int | None, choice: int = 0) -> None:
        Other.made += 1
        super().__init__((seed or 0) + Other.made, choice)


def always(*_: Any) -> Any:
    return nullcontext()


class Sticky:
    """What is applied once stays on the model."""

    def __init__(self) -> None:
        self.applied, self.kept = LocalModel.applied, []

    def __call__(self, model: LocalModel, condition: Any) -> Any:
        context = self.applied(model, condition)
        context.__enter__()
        self.kept.append(context)
        return nullcontext()


@pytest.mark.parametrize(
    ("place", "fault", "lines"),
    [
        ((LocalModel, "applied"), always, {"steered"}),
        ((LocalModel, "applied"), "sticky", {"no leak"}),
        (("inspect_af.providers.hf", "Uniforms"), Other, {"seeds"}),
    ],
)
def test_what_an_engine_does_wrong_is_in_the_table(
    tiny: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    place: Any,
    fault: Any,
    lines: set[str],
) -> None:
    if fault == "sticky":
        sticky = Sticky()
        fault = lambda model, condition: sticky(model, condition)  # noqa: E731
    if isinstance(place[0], str):
        monkeypatch.setattr(f"{place[0]}.{place[1]}", fault)
    else:
        monkeypatch.setattr(*place, fault)
    found = verify(f"af-hf/{tiny[0]}", {}, tokens=6)
    assert lines <= failed(found)
    assert "parity" not in failed(found)


def test_a_model_that_is_not_loaded_twice_is_said_to_be_not_compared(
    tiny: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: Any, **__: Any) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("inspect_af.providers.verify.load_model", no_room)
    found = verify(f"af-hf/{tiny[0]}", {}, tokens=4)
    open_lines = {one.name: one.found for one in found if one.passed is None}
    assert open_lines["parity"] == "not loaded: out of memory"
    assert not any(one.passed is False for one in found)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("openai/gpt-4o", {}, "cannot be verified; give af-hf/MODEL or af-vllm/MODEL"),
        ("af-hf", {}, "cannot be verified"),
        ("af-hf/x", {"vector": "v", "multiplier": 1}, "-M vector: verify steers with a random vector"),
    ],
)
def test_what_cannot_be_verified_is_refused(model: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        verify(model, arguments)


def test_replies_are_compared_up_to_the_first_token_that_differs() -> None:
    one, other = Reply([1, 2, 3], [-1.0, -0.5, -9.0]), Reply([1, 4, 3], [-1.1, -0.4, -0.1])
    assert largest(one, other) == pytest.approx(0.1)
    assert largest(one, Reply([1, 2], [-1.0, -0.5])) == float("inf")

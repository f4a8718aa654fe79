"""What the provider's arguments mean, and what is refused before any weights are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("peft")
pytestmark = pytest.mark.local

from tests.local_models import save_adapter, save_model, save_vector  # noqa: E402

from inspect_af.errors import ConfigError, InspectAFError, TreatmentError  # noqa: E402
from inspect_af.providers.settings import Settings, read_settings  # noqa: E402
from inspect_af.types import SdfAdapter, Steer  # noqa: E402


def read(**arguments: Any) -> Settings:
    return read_settings("m", arguments)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("settings")
    base = save_model(folder / "base")
    return {
        "vector": save_vector(folder / "v.safetensors"),
        "first": save_adapter(base, folder / "first", seed=1),
        "second": save_adapter(base, folder / "second", seed=2),
    }


def test_nothing_given_is_the_untouched_model() -> None:
    settings = read()
    assert settings.applied.key == "none"
    assert settings.applied.treatments == () and settings.applied.organism == ()
    assert (*settings.limits, settings.key.dtype) == (64, 2048, "auto")


@pytest.mark.parametrize("layers", ["0,2", ["0", "2"], [0, 2], "0, 2"])
def test_a_vector_is_a_steering_treatment_however_the_layers_are_written(
    layers: object, files: dict[str, Path]
) -> None:
    settings = read(vector=str(files["vector"]), multiplier="-1.5", layers=layers)
    (treatment,) = settings.applied.treatments
    assert isinstance(treatment, Steer)
    assert (treatment.multiplier, treatment.layers, treatment.concept) == (-1.5, "0,2", "expectation")


def test_one_layer_arrives_as_a_number(files: dict[str, Path]) -> None:
    (treatment,) = read(vector=str(files["vector"]), multiplier=2, layers=1).applied.treatments
    assert isinstance(treatment, Steer) and treatment.layers == "1"


def test_layers_are_one_condition_however_they_are_written(files: dict[str, Path]) -> None:
    def found(layers: object) -> tuple[str, object]:
        applied = read(vector=str(files["vector"]), multiplier=2, layers=layers).applied
        return applied.key, applied.treatments

    assert len({found(layers) for layers in ("all", "0-2", "2,1,0", "0-1,1-2", [0, 1, 2])}) == 1
    assert found("0-1") == found("1,0") != found("all")


def test_an_organism_and_an_intervention_are_told_apart(files: dict[str, Path]) -> None:
    paths = [str(files["first"]), str(files["second"])]
    applied = read(adapter=paths, adapter_role=["organism", "intervention"], intervention="A1+").applied
    organism, intervention = applied.adapters
    assert applied.organism == (organism.digest,)
    (treatment,) = applied.treatments
    assert isinstance(treatment, SdfAdapter)
    assert (treatment.intervention.code, treatment.digest) == ("A1+", intervention.digest)
    assert read(
        adapter=",".join(paths), adapter_role="organism,intervention", intervention="A1+"
    ).applied.key == (applied.key)


def test_everything_that_changes_replies_changes_the_key(files: dict[str, Path]) -> None:
    vector, first, second = (str(files[name]) for name in ("vector", "first", "second"))
    keys = [
        read(**arguments).applied.key
        for arguments in (
            {},
            {"vector": vector, "multiplier": 1},
            {"vector": vector, "multiplier": 2},
            {"vector": vector, "multiplier": 2, "layers": "0-1"},
            {"adapter": first, "adapter_role": "organism"},
            {"adapter": second, "adapter_role": "organism"},
            {"adapter": [first, second], "adapter_role": "organism"},
            {"adapter": first, "adapter_role": "organism", "vector": vector, "multiplier": 1},
        )
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"multiplyer": 3}, ConfigError, "unknown argument of af-hf 'multiplyer'; one of organism, adapter"),
        ({"trust_remote_code": True}, ConfigError, "not offered"),
        ({"multiplier": 3}, ConfigError, "multiplier=3 without a vector"),
        ({"layers": "1-2"}, ConfigError, "without a vector"),
        ({"vector": "VECTOR"}, ConfigError, "needs a multiplier"),
        ({"vector": "VECTOR", "multiplier": "much"}, ConfigError, "'much'; a finite number"),
        ({"vector": "VECTOR", "multiplier": float("inf")}, ConfigError, "finite number"),
        ({"vector": "VECTOR", "multiplier": True}, ConfigError, "finite number"),
        ({"vector": "VECTOR", "multiplier": 1, "layers": "2-1"}, ConfigError, "runs backwards"),
        ({"vector": "VECTOR", "multiplier": 1, "layers": "7"}, TreatmentError, "no vector for 7"),
        ({"vector": "/no/such/file", "multiplier": 1}, TreatmentError, "no/such/file"),
        ({"adapter": "/no/such/dir", "adapter_role": "organism"}, TreatmentError, "no such directory"),
        ({"adapter": "FIRST"}, ConfigError, "say what it is"),
        ({"adapter": "FIRST", "adapter_role": "intervention"}, ConfigError, "intervention=CODE"),
        ({"adapter": "FIRST", "adapter_role": "subject"}, ConfigError, "unknown adapter role"),
        ({"adapter": "FIRST,FIRST", "adapter_role": "organism"}, ConfigError, "named twice"),
        ({"adapter_role": "organism"}, ConfigError, "give adapter=DIR"),
        ({"max_requests": 0}, ConfigError, "max_requests=0"),
        ({"max_batch_tokens": "many"}, ConfigError, "whole number"),
        ({"thinking": "maybe"}, ConfigError, "true or false"),
        ({"chat_template": "/no/such/file"}, ConfigError, "cannot read the chat_template"),
        ({"vector": "VECTOR", "multiplier": 10**400}, ConfigError, "finite number"),
        ({"vector": "/dev/zero", "multiplier": 1}, TreatmentError, "there is no file of that name"),
        ({"vector": "a\x00b", "multiplier": 1}, TreatmentError, "there is no file of that name"),
        ({"vector": "\ud800", "multiplier": 1}, TreatmentError, "there is no file of that name"),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason(
    arguments: dict[str, Any], kind: type[InspectAFError], message: str, files: dict[str, Path]
) -> None:
    given = {
        name: str(value).replace("VECTOR", str(files["vector"])).replace("FIRST", str(files["first"]))
        if isinstance(value, str)
        else value
        for name, value in arguments.items()
    }
    with pytest.raises(kind, match=message):
        read(**given)

"""A model's directory that does not exist is an error when the provider is made, not at the first sample."""

from __future__ import annotations

from pathlib import Path

import pytest
from inspect_ai.model import get_model

from inspect_af.errors import ConfigError
from inspect_af.providers.settings import check_model_path, is_path

PATHS = ["./nomodel", "../nomodel", "/no/such/model", "~/nomodel", "models/organisms/one", ".", "C:\\models"]
HUB = ["gpt2", "meta-llama/Llama-3.1-8B-Instruct", "models/organism"]


@pytest.mark.parametrize("name", PATHS)
def test_a_name_that_the_hub_cannot_have_is_a_path(name: str) -> None:
    assert is_path(name)


@pytest.mark.parametrize("name", HUB)
def test_a_name_of_the_hub_is_not_looked_up(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    check_model_path(name, provider="af-hf")
    assert not is_path(name)


def test_a_path_that_exists_passes_and_one_that_does_not_says_from_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "organism").mkdir()
    for name in ("./organism", str(tmp_path / "organism")):
        check_model_path(name, provider="af-hf")
    with pytest.raises(ConfigError, match=r"no directory './organsim' \(from .*Give the directory"):
        check_model_path("./organsim", provider="af-hf")
    with pytest.raises(ConfigError, match="~ is not expanded"):
        check_model_path("~/organism", provider="af-hf")
    with pytest.raises(ConfigError, match="without a model"):
        check_model_path(" ", provider="af-hf")


@pytest.mark.parametrize("provider", ["af-hf", "af-vllm"])
def test_the_provider_refuses_it_when_it_is_made(provider: str) -> None:
    if provider == "af-hf":
        pytest.importorskip("torch")
        pytest.importorskip("transformers")
    with pytest.raises(ConfigError, match=f"{provider}/./nomodel: there is no directory './nomodel'"):
        get_model(f"{provider}/./nomodel", memoize=False)


def test_a_server_that_runs_already_may_have_its_model_elsewhere() -> None:
    pytest.importorskip("openai")
    model = get_model("af-vllm//models/there", base_url="http://127.0.0.1:9/v1", memoize=False)
    assert model.api.model_name == "/models/there"

"""The catalogue of published organisms, and `-M organism=` on local directories."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from inspect_af.cli.organism import organism
from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.materials.organisms import find_organism, load_organisms


def test_every_entry_says_what_to_load_and_names_are_unique() -> None:
    entries = load_organisms()
    assert len(entries) >= 8
    assert len({entry.name for entry in entries}) == len(entries)
    for entry in entries:
        assert all(place.count("/") == 1 for place in (entry.base, *entry.adapters))
        assert entry.unpinned == (entry.base, *entry.adapters)  # no commit has been checked yet
        assert not entry.reported or (entry.source or entry.monitored is not None)


def test_the_list_is_printed_with_what_was_reported() -> None:
    text = CliRunner().invoke(organism, ["list"], catch_exceptions=False).output
    assert "olmo-2-7b" in text and "gap 37" in text and "67.1 / 52.5" in text
    found = json.loads(CliRunner().invoke(organism, ["list", "--json"], catch_exceptions=False).output)
    assert "licence" not in next(each for each in found if each["name"] == "qwen3-8b")


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown organism of the catalogue 'olmo-2-7'.*Did you mean olmo"):
        find_organism("olmo-2-7")


def test_a_file_of_ones_own_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nbase = "x/y"\ngap = 37\n', encoding="utf-8")
    with pytest.raises(MaterialsError, match=r"mine\.toml: gap"):
        find_organism(str(file))


pytest.importorskip("torch")
pytest.importorskip("peft")

from tests.local_models import save_adapter, save_model  # noqa: E402

from inspect_af.providers.hf import LocalAPI  # noqa: E402
from inspect_af.providers.settings import read_vllm_settings, with_organism  # noqa: E402


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str, Path]:
    base = save_model(tmp_path / "base")
    own, other = save_adapter(base, tmp_path / "own", seed=1), save_adapter(base, tmp_path / "more", seed=2)
    file = tmp_path / "mine.toml"
    file.write_text(f'name = "mine"\nbase = "{base}"\nadapters = ["{own}"]\n', encoding="utf-8")
    return str(base), str(own), str(other), file


@pytest.mark.local
def test_an_organism_is_its_base_with_its_adapters_and_nothing_else(
    files: tuple[str, str, str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    base, own, _, file = files
    by_name = LocalAPI(base, organism=str(file))
    by_hand = LocalAPI(base, adapter=own, adapter_role="organism")
    assert by_name.subject.organism == by_hand.subject.organism != ()
    assert by_name.treatments == ()
    assert by_name.base_url == by_hand.base_url
    settings = read_vllm_settings(base, {"organism": str(file)})
    assert settings.applied.organism == by_hand.subject.organism
    assert settings.identity["organism"] == str(file)
    assert not caplog.records  # directories are what they are


@pytest.mark.local
def test_an_intervention_goes_on_top_of_the_organism(files: tuple[str, str, str, Path]) -> None:
    base, _, other, file = files
    model = LocalAPI(base, organism=str(file), adapter=other, adapter_role="intervention", intervention="A1+")
    assert len(model.subject.organism) == 1
    assert [each.intervention.code for each in model.treatments] == ["A1+"]


@pytest.mark.local
def test_another_base_and_another_revision_are_refused(files: tuple[str, str, str, Path]) -> None:
    base, _, _, file = files
    with pytest.raises(ConfigError, match=r"is .*base, not x/y; give that model"):
        with_organism("x/y", {"organism": str(file)})
    file.write_text(f'name = "mine"\nbase = "{base}"\nrevision = "abc"\n', encoding="utf-8")
    assert with_organism(base, {"organism": str(file)}) == {"revision": "abc"}
    with pytest.raises(ConfigError, match="pins revision abc"):
        with_organism(base, {"organism": str(file), "revision": "main"})


def test_what_is_not_pinned_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    assert with_organism("Qwen/Qwen3-8B", {"organism": "qwen3-8b", "dtype": "auto"}) == {"dtype": "auto"}
    assert "Qwen/Qwen3-8B not pinned" in caplog.text

"""Pushing and pulling, against a Hub that lives in a dictionary: the client is the process boundary."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.sdf.test_adapters import with_manifest, write

from inspect_af.errors import TreatmentError
from inspect_af.sdf.adapters import load_adapter
from inspect_af.sdf.hub import model_card, pull, push

pytestmark = pytest.mark.local


class FakeHub:
    """Keeps repositories as folders, with the calls of `HfApi` that are used."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.private: dict[str, bool] = {}

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool, repo_type: str) -> None:
        self.private.setdefault(repo_id, private)

    def repo_info(self, repo_id: str, *, revision: str | None = None, repo_type: str) -> Any:
        if repo_id not in self.private:
            from huggingface_hub.errors import RepositoryNotFoundError

            raise RepositoryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]
        return SimpleNamespace(private=self.private[repo_id], sha="c0ffee")

    def upload_folder(self, *, repo_id: str, folder_path: str, commit_message: str, repo_type: str) -> None:
        shutil.copytree(folder_path, self.folder(repo_id), dirs_exist_ok=True)

    def snapshot_download(
        self, repo_id: str, *, revision: str | None, allow_patterns: list[str], local_dir: str
    ) -> None:
        assert revision == "c0ffee", "what was looked at is what is downloaded"
        for file in self.folder(repo_id).iterdir():
            if file.name in allow_patterns:
                shutil.copyfile(file, Path(local_dir) / file.name)

    def folder(self, repo_id: str) -> Path:
        return self._root / repo_id.replace("/", "--")


def test_what_is_pushed_comes_back_and_is_private(tmp_path: Path) -> None:
    hub = FakeHub(tmp_path / "hub")
    adapter = load_adapter(with_manifest(write(tmp_path / "a"), directness="standard", training_seed=1))
    (adapter.path / "optimizer.pt").write_text("stays here")
    assert push(adapter, "me/a1", hub=hub) == "https://huggingface.co/me/a1"
    assert hub.private == {"me/a1": True}
    assert not (hub.folder("me/a1") / "optimizer.pt").exists()
    pulled = pull("me/a1", tmp_path / "back", hub=hub)
    again = load_adapter(pulled.path)
    assert pulled.commit == "c0ffee"
    assert again.digest == adapter.digest and again.treatment == adapter.treatment


def test_pickles_in_a_repository_are_never_downloaded(tmp_path: Path) -> None:
    hub = FakeHub(tmp_path / "hub")
    push(load_adapter(write(tmp_path / "a"), role="organism"), "me/o", hub=hub)
    weights = hub.folder("me/o") / "adapter_model.safetensors"
    weights.rename(weights.with_name("adapter_model.bin"))
    with pytest.raises(TreatmentError, match=r"has no adapter_model\.safetensors"):
        pull("me/o", tmp_path / "back", hub=hub)
    assert not (tmp_path / "back").exists()


def test_a_public_repository_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    hub = FakeHub(tmp_path / "hub")
    hub.private["me/open"] = False
    adapter = load_adapter(write(tmp_path / "a"), role="organism")
    with pytest.raises(TreatmentError, match="is public"):
        push(adapter, "me/open", hub=hub)
    assert not hub.folder("me/open").exists()
    push(adapter, "me/open", public=True, hub=hub)
    assert hub.folder("me/open").exists()


def test_no_local_path_is_published(tmp_path: Path) -> None:
    hub = FakeHub(tmp_path / "hub")
    base = str(tmp_path / "secret" / "my-base")
    adapter = load_adapter(with_manifest(write(tmp_path / "a", base=base), base_model=base))
    push(adapter, "me/a1", hub=hub)
    for file in hub.folder("me/a1").iterdir():
        assert b"secret" not in file.read_bytes(), file.name
    assert load_adapter(pull("me/a1", tmp_path / "back", hub=hub).path).base_model == "my-base"


def test_a_repository_that_is_not_there_is_explained(tmp_path: Path) -> None:
    with pytest.raises(TreatmentError, match="hf auth login"):
        pull("me/none", tmp_path / "back", hub=FakeHub(tmp_path))


def test_the_card_says_what_it_is_and_what_it_is_not_for(tmp_path: Path) -> None:
    adapter = load_adapter(with_manifest(write(tmp_path / "a"), directness="standard", training_seed=1))
    card = model_card(adapter, note="Seen by the group.")
    assert card.startswith("---\nbase_model: org/tiny\n")
    assert "# A1+ (standard, seed 1)" in card
    assert "Dual use" in card and "Seen by the group." in card and adapter.digest in card

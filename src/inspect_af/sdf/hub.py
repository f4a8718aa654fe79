"""Adapters on the Hugging Face Hub: pushed privately with a model card, pulled without anything executable.

A base that is a local path is named by its last part in what is pushed, so that no path is published.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from inspect_af.config import complete_directory, require
from inspect_af.errors import TreatmentError
from inspect_af.format import plural
from inspect_af.sdf.adapters import (
    CONFIG,
    MANIFEST,
    WEIGHTS,
    Adapter,
    adapter_config,
    load_adapter,
    weights_file,
)
from inspect_af.sdf.base_model import is_local

# What travels; whatever else lies in a directory or a repository stays there.
FILES = (CONFIG, WEIGHTS, MANIFEST, "README.md", "losses.csv")


class Pulled(NamedTuple):
    """A pulled adapter, and the commit of the repository, to pin with `revision=`."""

    path: Path
    commit: str | None


def push(adapter: Adapter, repo: str, *, public: bool = False, note: str = "", hub: Any = None) -> str:
    """Uploads an adapter with a model card; the repository is made if it does not exist, and is private.

    `note` is a paragraph of your own for the card; `hub` a `huggingface_hub.HfApi`, by default with the login
    that it finds.

    Returns:
        The page of the repository.

    Raises:
        TreatmentError: The repository exists and is public, and `public` was not given; or the Hub refuses.
        MissingExtraError: huggingface_hub is not installed.
    """
    hub = hub or _hub()
    with tempfile.TemporaryDirectory() as staging, _hub_errors(repo):
        folder = Path(staging)
        for name in (WEIGHTS, "losses.csv"):
            if (adapter.path / name).is_file():
                shutil.copyfile(adapter.path / name, folder / name)
        config = adapter_config(adapter.path)
        if base := config.get("base_model_name_or_path"):
            config["base_model_name_or_path"] = _shown_base(str(base))
        (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        if manifest := adapter.manifest:
            shown = {"base_model": _shown_base(manifest.base_model)}
            manifest.model_copy(update=shown).write(folder)
        code = adapter.treatment.intervention.code if adapter.treatment and not manifest else None
        load_adapter(folder, role=adapter.role, intervention=code)  # what travels is whole
        (folder / "README.md").write_text(model_card(adapter, note=note), encoding="utf-8")
        hub.create_repo(repo, private=not public, exist_ok=True, repo_type="model")
        if not public and not hub.repo_info(repo, repo_type="model").private:
            raise TreatmentError(
                f"{repo} exists and is public; make it private, give another name, or say --public"
            )
        hub.upload_folder(
            repo_id=repo,
            folder_path=staging,
            commit_message=f"{what_it_is(adapter)} ({adapter.digest})",
            repo_type="model",
        )
    return f"https://huggingface.co/{repo}"


def pull(repo: str, out: Path, *, revision: str | None = None, hub: Any = None) -> Pulled:
    """Downloads an adapter: its configuration, safetensors weights, manifest and curves, nothing else.

    A TreatmentError where `out` exists, the repository holds no safetensors LoRA adapter, or the Hub refuses.
    """
    hub = hub or _hub()
    with complete_directory(out) as folder, _hub_errors(repo):
        commit = hub.repo_info(repo, revision=revision, repo_type="model").sha
        hub.snapshot_download(
            repo, revision=commit or revision, allow_patterns=list(FILES), local_dir=str(folder)
        )
        shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own bookkeeping
        adapter_config(folder)
        weights_file(folder)
    return Pulled(Path(out), commit)


def hub_directory(place: str, revision: str | None = None, *, hub: Any = None) -> Path:
    """A directory as it is, or an adapter of the Hub in the Hub client's own cache; a TreatmentError where
    the Hub refuses."""
    if Path(place).is_dir():
        return Path(place)
    hub = hub or _hub()
    with _hub_errors(place):
        return Path(hub.snapshot_download(place, revision=revision, allow_patterns=list(FILES)))


def what_it_is(adapter: Adapter) -> str:
    """One line: `A1+ (standard, seed 0)`, `organism`."""
    if not adapter.treatments:
        return "organism"
    shown = []
    for treatment in adapter.treatments:
        seed = None if treatment.training_seed is None else f"seed {treatment.training_seed}"
        details = ", ".join(filter(None, (treatment.directness, seed)))
        shown.append(treatment.intervention.code + (f" ({details})" if details else ""))
    return " and ".join(shown)


def model_card(adapter: Adapter, *, note: str = "") -> str:
    """The README of a pushed adapter: what it is, what it is for, and the manifest as a table."""
    from jinja2 import Template

    manifest, base = adapter.manifest, adapter.base_model
    rows: list[tuple[str, object]] = [("what it is", what_it_is(adapter)), ("role", adapter.role)]
    rows += [("digest", adapter.digest), ("base", _shown_base(base) if base else "not stated")]
    if manifest is not None:
        rows.append(("base revision", manifest.base_revision or "not recorded"))
        rows += [(f"trained upon ({parent.combined})", parent.digest) for parent in manifest.parents]
        rows += [("composed of", f"{part.role} {part.digest}") for part in manifest.components]
        for what, texts in (("corpus", manifest.corpus), ("ordinary documents beside it", manifest.replay)):
            if texts:
                size = f"{plural(texts.documents, 'document')}, {texts.tokens:,} tokens"
                rows.append((what, f"{texts.digest} ({size})"))
        for prefix, record in (("", manifest.hyperparameters), ("loss: ", manifest.losses)):
            numbers = record.model_dump(exclude_none=True) if record else {}
            rows += [(prefix + name.replace("_", " "), value) for name, value in numbers.items()]
    text = files("inspect_af.sdf").joinpath("model_card.md").read_text(encoding="utf-8")
    template = Template(text, trim_blocks=True, keep_trailing_newline=True)
    hub_base = base if base and not is_local(base) else None
    named = {"title": what_it_is(adapter), "role": adapter.role, "note": note.strip()}
    return str(template.render(rows=rows, hub_base=hub_base, **named))


def _shown_base(base: str) -> str:
    return Path(base).name if is_local(base) else base


def _hub() -> Any:
    with require("local", "pushing and pulling"):
        from huggingface_hub import HfApi
    return HfApi()


@contextmanager
def _hub_errors(repo: str) -> Iterator[None]:
    """Turns what the Hub's client raises into an error that says what to do."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("huggingface_hub", "httpx", "requests")):
            raise
        raise TreatmentError(
            f"{repo}: the Hub says {error}; check the name, and log in with `hf auth login`"
        ) from error

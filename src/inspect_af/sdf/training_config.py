"""The configuration of a training run: one YAML file, validated before anything is loaded."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspect_af.errors import ConfigError
from inspect_af.materials import load_pair
from inspect_af.sdf.adapters import (
    NEUTRAL,
    Combined,
    CorpusRecord,
    Hyperparameters,
    Parent,
    Role,
    load_adapter,
    resolve_intervention,
)
from inspect_af.sdf.manifest import HELD_OUT, TRAIN, file_digest, verify_corpus
from inspect_af.types import Intervention

Attention = Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"]


class TrainingConfig(BaseModel):
    """What `inspect-af sdf train CONFIG.yaml` reads. Paths are relative to the current directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: str
    """Hub name or directory of the base model."""
    revision: str | None = None
    """Commit, branch or tag of the base on the Hub."""
    corpus: Path
    """Directory that `inspect-af sdf build` wrote, or any JSON Lines file with a column of texts."""
    text_column: str = "text"
    replay: Path | None = None
    """JSON Lines file of ordinary documents, trained on beside the corpus, each of them once in the run. Not
    in source, and so off; it keeps other beliefs where they were (docs/sdf_training.md)."""
    role: Role
    intervention: str | None = None
    """Code such as `A1+` or `neutral`; the corpus's own where its manifest names one."""
    directness: str | None = None
    """The corpus's own where its manifest names it."""
    pair: Path | None = None
    """Hypothesis pair that the code belongs to; the bundled one by default."""
    parents: tuple[Path, ...] = ()
    """Adapters that this one is trained on top of, in order, such as the organism's."""
    combine: Literal["stack", "merge"] = "stack"
    """How the parents are there: beside the weights, or added into them (docs/sdf_training.md)."""
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    """One adapter each: order of the documents, initial matrices, dropout."""
    out: Path
    """Directory for the adapters, `seed-0` and so on."""
    hyperparameters: Hyperparameters
    attention: Attention = "auto"
    """`auto`: flash attention on a GPU where it is installed, else PyTorch's own."""
    save_every: int = Field(default=50, ge=1)
    """Optimiser steps between checkpoints; what a kill loses at most."""
    evaluate_every: int = Field(default=50, ge=1)
    """Optimiser steps between looks at the held-out documents."""
    log_every: int = Field(default=1, ge=1)
    tokenise_processes: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _epochs_are_whole(self) -> TrainingConfig:
        epochs = self.hyperparameters.epochs
        if self.replay is not None and epochs != round(epochs):
            raise ValueError(
                f"epochs {epochs:g} with replay: the corpus is repeated whole beside the other documents; "
                f"set epochs to a whole number such as {math.ceil(epochs)}"
            )
        return self

    @property
    def combined(self) -> Combined:
        return "merged" if self.combine == "merge" else "stacked"


class Run(NamedTuple):
    """A configuration together with what its files say."""

    config: TrainingConfig
    train: Path
    held_out: Path | None
    """None where there are no held-out documents."""
    corpus: CorpusRecord | None
    """None until the documents of a plain JSON Lines file have been counted."""
    corpus_digest: str
    replay_digest: str | None
    """None where nothing is trained on beside the corpus."""
    intervention: Intervention | None
    directness: str | None
    pair_digest: str | None
    parents: tuple[Parent, ...]

    def identity(self, seed: int) -> str:
        """Digest of all that decides the weights: checkpoints of another identity are not continued."""
        parts = [
            self.config.base,
            self.config.revision,
            self.corpus_digest,
            [parent.model_dump() for parent in self.parents],
            self.config.hyperparameters.model_dump(mode="json"),
            seed,
        ]
        if self.replay_digest is not None:
            parts.append(self.replay_digest)
        if self.config.text_column != "text":
            parts.append(self.config.text_column)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def load_training_config(file: str | Path) -> TrainingConfig:
    """Reads a configuration.

    Raises:
        ConfigError: It cannot be read, or settings are missing, unknown or out of range; all are named.
    """
    try:
        content = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{file}: cannot be read as YAML ({error})") from error
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{file}: {'; '.join(map(_problem, error.errors()))}") from error


def prepare_run(config: TrainingConfig) -> Run:
    """Looks at the files that a configuration names, and makes sure that they fit together.

    Raises:
        ConfigError: The corpus holds no documents, or role, intervention and corpus contradict each other.
        MaterialsError: The corpus directory was changed since it was built.
        TreatmentError: A parent cannot be used.
    """
    parents = tuple(load_adapter(path) for path in config.parents)
    for parent in parents:
        if config.role == "organism" and parent.role == "intervention":
            raise ConfigError(
                f"parents: {parent.path} is an intervention; an organism is not trained on top of one"
            )
    replay_digest = _replay_digest(config)
    recorded = tuple(Parent(digest=p.digest, role=p.role, combined=config.combined) for p in parents)
    if config.corpus.is_file():
        intervention, pair_digest = _intervention(config, None, None)
        return Run(
            config=config,
            train=config.corpus,
            held_out=None,
            corpus=None,
            corpus_digest=file_digest(config.corpus),
            replay_digest=replay_digest,
            intervention=intervention,
            directness=config.directness,
            pair_digest=pair_digest,
            parents=recorded,
        )
    if not config.corpus.is_dir():
        raise ConfigError(f"corpus {config.corpus}: no such directory or file")
    manifest = verify_corpus(config.corpus)
    if not manifest.documents:
        raise ConfigError(f"corpus {config.corpus}: has no documents to train on")
    intervention, pair_digest = _intervention(config, manifest.universe, manifest.intervention)
    return Run(
        config=config,
        train=config.corpus / TRAIN,
        held_out=config.corpus / HELD_OUT if manifest.held_out_documents else None,
        corpus=CorpusRecord(
            digest=manifest.digest,
            universe=manifest.universe,
            documents=manifest.documents,
            tokens=max(1, manifest.tokens),
        ),
        corpus_digest=manifest.digest,
        replay_digest=replay_digest,
        intervention=intervention,
        directness=config.directness or manifest.directness,
        pair_digest=pair_digest or manifest.pair_digest,
        parents=recorded,
    )


def check_effective_batch(hyperparameters: Hyperparameters, ranks: int | None = None) -> None:
    """Makes sure that a step sees as many rows as the configuration says.

    Args:
        hyperparameters: Of the run.
        ranks: Processes that train together; what the launcher says by default.

    Raises:
        ConfigError: It would see another number; the message says which settings give the right one.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1")) if ranks is None else ranks
    held = hyperparameters
    found = held.micro_batch * held.accumulation * ranks
    if found == held.effective_batch:
        return
    fits, rest = divmod(held.effective_batch, held.micro_batch * ranks)
    ways = [f"start {held.ranks} process(es) (accelerate launch --num_processes {held.ranks})"]
    if not rest and fits:
        ways.append(f"set accumulation to {fits}")
    ways.append(f"set effective_batch to {found}, which is another run than the configured one")
    raise ConfigError(
        f"a step would see micro_batch {held.micro_batch} x accumulation {held.accumulation} x {ranks} "
        f"process(es) = {found} rows, the configured effective_batch is {held.effective_batch}; "
        + ", or ".join(ways)
    )


def _replay_digest(config: TrainingConfig) -> str | None:
    if config.replay is None:
        return None
    if not config.replay.is_file():
        raise ConfigError(
            f"replay {config.replay}: no such file; give a JSON Lines file of ordinary documents, "
            "such as the train.jsonl of a corpus, or leave it out"
        )
    trained = config.corpus / TRAIN if config.corpus.is_dir() else config.corpus
    if config.replay.resolve() == trained.resolve():
        raise ConfigError(
            f"replay {config.replay} is the corpus itself: its documents would be trained on twice; give "
            "documents that state no intervention"
        )
    return file_digest(config.replay)


def _intervention(
    config: TrainingConfig, universe: str | None, stated: Intervention | None
) -> tuple[Intervention | None, str | None]:
    """The intervention that the adapter will carry, and the digest of the pair where a code was looked up."""
    code = config.intervention
    if config.role == "organism":
        if named := code or (stated.code if stated else None):
            raise ConfigError(
                f"role organism with the intervention {named}: an organism's documents state none; set role "
                "to intervention, or give the organism's corpus"
            )
        return None, None
    found = stated.code if stated else universe
    if code is not None and found is not None and code != found:
        raise ConfigError(f"intervention {code}, but the corpus is of the universe {found}; leave it out")
    if stated is not None:
        return stated, None
    if code is None and found is None:
        raise ConfigError(
            f"role intervention needs an intervention, such as A1+ or {NEUTRAL}: the corpus names none"
        )
    chosen = resolve_intervention(code or found or "", config.pair)
    return chosen, load_pair(config.pair).digest


def _problem(error: Any) -> str:
    place = ".".join(map(str, error["loc"])) or "the file"
    if place == "hyperparameters.learning_rate" and error["type"] == "missing":
        return (
            "hyperparameters.learning_rate: is required, since the source does not state it; 1e-5 is usual "
            "in this lineage"
        )
    return f"{place}: {error['msg'].removeprefix('Value error, ')}"

"""LoRA training on documents: TRL's trainer with the configured settings, resumable, one adapter a seed.

Nothing of the training loop is ours. What is: the checks before it, the parents below the new matrices, that
a killed run goes on from its last complete checkpoint, and the adapter directory at the end.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inspect_af import __version__
from inspect_af.errors import ConfigError
from inspect_af.sdf._directories import complete_directory
from inspect_af.sdf.adapters import MANIFEST, WEIGHTS, AdapterManifest, CorpusRecord, ReplayRecord
from inspect_af.sdf.training_config import Run, TrainingConfig, check_effective_batch, prepare_run
from inspect_af.sdf.training_data import beside, load_documents, packing_of, tokens_of
from inspect_af.sdf.training_losses import curve_of, losses_of, write_curve
from inspect_af.sdf.training_model import (
    describe_base,
    load_base,
    load_tokenizer,
    lora_config,
    require_training,
)

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer


def train(config: TrainingConfig, seeds: Sequence[int] | None = None) -> tuple[Path, ...]:
    """Trains one adapter for each seed; those that are complete are left as they are.

    Run again after a kill, it goes on from the last complete checkpoint, with the same order of documents.

    Args:
        config: What to train.
        seeds: Some of the configured seeds; all by default.

    Returns:
        The adapter directories, `OUT/seed-N`.

    Raises:
        ConfigError: The effective batch would differ from the configured one, or `out` holds a run with
            other settings; and as `prepare_run`.
        TreatmentError: A parent cannot be used.
        MissingExtraError: An optional dependency is not installed.
    """
    require_training()
    chosen = config.seeds if seeds is None else tuple(seeds)
    if unknown := [seed for seed in chosen if seed not in config.seeds]:
        raise ConfigError(f"seed {unknown[0]} is not one of the configured seeds {list(config.seeds)}")
    check_effective_batch(config.hyperparameters)
    _refuse_wrapped_layers()
    run = prepare_run(config)
    for seed in chosen:
        _check_identity(run, seed)
        if not (config.out / f"seed-{seed}").exists():
            _train_seed(run, seed)
    if all((config.out / f"seed-{seed}").exists() for seed in config.seeds) and _is_main():
        shutil.rmtree(_cache(config), ignore_errors=True)
    return tuple(config.out / f"seed-{seed}" for seed in chosen)


def make_trainer(run: Run, seed: int, *, resuming: bool = False) -> SFTTrainer:
    """TRL's trainer for one seed, with the model and the packed documents in it.

    Args:
        run: From `prepare_run`.
        seed: Of the order of documents, the initial matrices and dropout.
        resuming: Whether a checkpoint will be loaded; the look at held-out documents before the first step is
            skipped then.

    Raises:
        ConfigError: The documents or the tokenizer cannot be used.
        TreatmentError: A parent cannot be used.
    """
    from transformers import PrinterCallback, ProgressCallback
    from trl.trainer.sft_trainer import SFTTrainer

    from inspect_af.sdf.training_callbacks import CloseCurves, MarkCheckpoints, ShowProgress

    config = run.config
    callbacks: list[Any] = [MarkCheckpoints(), CloseCurves(), ShowProgress(f"seed {seed}")]
    held_out = None
    if run.held_out is not None:
        held_out = load_documents(run.held_out, config.text_column, cache=_cache(config))
    if _is_main():
        callbacks.append(_tensorboard(config.out / "tensorboard" / f"seed-{seed}"))
    # First, since this joins the processes: only then does one of them load the weights for all.
    arguments = _arguments(config, seed, evaluate=held_out is not None, at_start=not resuming)
    trainer = SFTTrainer(
        model=load_base(config),
        args=arguments,
        train_dataset=_documents(run),
        eval_dataset=held_out,
        processing_class=load_tokenizer(config),
        peft_config=lora_config(config.hyperparameters),
        callbacks=callbacks,
    )
    # accelerate leaves processes unconnected, without an error, where it cannot set up what it was asked for.
    check_effective_batch(config.hyperparameters, trainer.accelerator.num_processes)
    for quiet in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(quiet)
    return trainer


def _train_seed(run: Run, seed: int) -> None:
    from inspect_af.sdf.training_callbacks import last_checkpoint, trained_matrices

    work = _work(run.config, seed)
    checkpoint = last_checkpoint(work, tidy=_is_main())
    trainer = make_trainer(run, seed, resuming=checkpoint is not None)
    model: Any = trainer.model
    shape, fingerprint, revision = describe_base(model.get_base_model(), run.config)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    matrices = trained_matrices(trainer.model)  # with several processes, all of them take part
    if _is_main():
        documents = run.corpus.documents if run.corpus else _count_lines(run.train)
        replay = _replay_record(run)
        curve = curve_of(trainer.state.log_history)
        manifest = AdapterManifest(
            role=run.config.role,
            intervention=run.intervention,
            directness=run.directness,
            training_seed=seed,
            pair_digest=run.pair_digest,
            base_model=run.config.base,
            base_revision=revision,
            base=shape,
            fingerprint=fingerprint,
            parents=run.parents,
            corpus=CorpusRecord(
                digest=run.corpus_digest,
                universe=run.corpus.universe if run.corpus else None,
                documents=documents,
                tokens=_corpus_tokens(run, trainer),
            ),
            replay=replay,
            hyperparameters=run.config.hyperparameters,
            losses=losses_of(curve),
            package_version=__version__,
        )
        with complete_directory(run.config.out / f"seed-{seed}") as folder:
            _write_adapter(trainer.model, matrices, folder, revision)
            what = run.intervention.code if run.intervention else run.config.role
            write_curve(curve, folder / "losses.csv", folder / "losses.png", title=f"{what}, seed {seed}")
            (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for finished in work.glob("checkpoint-*"):
            shutil.rmtree(finished)
    trainer.accelerator.wait_for_everyone()
    del trainer
    _free_memory()


def _arguments(config: TrainingConfig, seed: int, *, evaluate: bool, at_start: bool) -> SFTConfig:
    from trl.trainer.sft_config import SFTConfig

    held = config.hyperparameters
    return SFTConfig(
        output_dir=str(_work(config, seed)),
        per_device_train_batch_size=held.micro_batch,
        per_device_eval_batch_size=held.micro_batch,
        gradient_accumulation_steps=held.accumulation,
        learning_rate=held.learning_rate,
        lr_scheduler_type=held.schedule,
        warmup_steps=held.warmup,  # below 1 it is a share
        weight_decay=held.weight_decay,
        max_grad_norm=held.max_gradient_norm,
        optim="adamw_torch",
        num_train_epochs=held.epochs if config.replay is None else 1,  # `beside` has all of them
        bf16=held.precision == "bf16",
        gradient_checkpointing=held.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        max_length=held.sequence_length,
        packing=True,
        packing_strategy=held.packing,
        shuffle_dataset=True,
        dataset_num_proc=config.tokenise_processes if config.tokenise_processes > 1 else None,
        seed=seed,
        data_seed=seed,
        logging_steps=config.log_every,
        save_strategy="steps",
        save_steps=config.save_every,
        save_total_limit=2,  # the last complete one is there while the next is written
        eval_strategy="steps" if evaluate else "no",
        eval_steps=config.evaluate_every if evaluate else None,
        eval_on_start=evaluate and at_start,
        report_to="none",
        disable_tqdm=True,
    )


def _documents(run: Run) -> Dataset:
    """What is trained on."""
    corpus, replay = _corpus(run), _replay(run)
    return corpus if replay is None else beside(corpus, replay, round(run.config.hyperparameters.epochs))


def _corpus(run: Run) -> Dataset:
    return load_documents(run.train, run.config.text_column, cache=_cache(run.config))


def _replay(run: Run) -> Dataset | None:
    config = run.config
    if config.replay is None:
        return None
    return load_documents(config.replay, config.text_column, cache=_cache(config))


def _corpus_tokens(run: Run, trainer: SFTTrainer) -> int:
    """Of one epoch, as the trainer counts them."""
    held = run.config.hyperparameters
    if run.config.replay is None:
        return packing_of(trainer.train_dataset, held.sequence_length).tokens
    return tokens_of(_corpus(run), load_tokenizer(run.config), held)


def _replay_record(run: Run) -> ReplayRecord | None:
    documents = _replay(run)
    if documents is None or run.replay_digest is None:
        return None
    return ReplayRecord(
        digest=run.replay_digest,
        documents=len(documents),
        tokens=tokens_of(documents, load_tokenizer(run.config), run.config.hyperparameters),
    )


def _tensorboard(directory: Path) -> Any:
    from torch.utils.tensorboard import SummaryWriter
    from transformers.integrations.integration_utils import TensorBoardCallback

    callback: Any = TensorBoardCallback
    return callback(SummaryWriter(str(directory)))


def _write_adapter(model: Any, matrices: dict[str, Tensor], folder: Path, revision: str | None) -> None:
    from safetensors.torch import save_file

    # PEFT's file leaves out the adapter's name, and names the same with and without wrappers around layers.
    stored = {name.replace(".default.", "."): value.contiguous() for name, value in matrices.items()}
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})
    described = model.peft_config["default"]
    described.inference_mode = True
    described.revision = revision
    described.save_pretrained(folder)


def _check_identity(run: Run, seed: int) -> None:
    """Records what a seed's run is, or makes sure that it is the one that was begun there."""
    work, final = _work(run.config, seed), run.config.out / f"seed-{seed}"
    file, identity = work / "run.json", run.identity(seed)
    if file.exists():
        if json.loads(file.read_text(encoding="utf-8"))["identity"] != identity:
            raise ConfigError(
                f"{run.config.out} holds seed {seed} of a run with another base, corpus, replay, parents "
                f"or hyperparameters; set another out, or remove {work} and {final}"
            )
    elif final.exists():
        raise ConfigError(f"{final} exists and was not trained here; set another out")
    elif _is_main():
        work.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({"identity": identity, "seed": seed}), encoding="utf-8")
        partial.replace(file)


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _refuse_wrapped_layers() -> None:
    wraps = os.environ.get("FSDP_ACTIVATION_CHECKPOINTING", "false").lower() == "true"
    if os.environ.get("ACCELERATE_USE_FSDP", "false") == "true" and wraps:
        raise ConfigError(
            "fsdp_activation_checkpointing is on: it renames the layers, upon which PEFT finds no matrices "
            "to put into a checkpoint, and a resumed run would begin anew without an error. Set it to false; "
            "gradient_checkpointing in the hyperparameters does the same"
        )


def _work(config: TrainingConfig, seed: int) -> Path:
    return config.out / "work" / f"seed-{seed}"


def _cache(config: TrainingConfig) -> Path:
    return config.out / "work" / "datasets"


def _count_lines(file: Path) -> int:
    with file.open("rb") as opened:
        return sum(1 for line in opened if line.strip())


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()

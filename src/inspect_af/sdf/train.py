"""LoRA training on documents: a YAML file of settings, TRL's trainer, one adapter for each seed, resumable.

`inspect-af sdf train CONFIG.yaml`; for several GPUs see its help.
Nothing of the training loop is ours. What is: the checks before it, the parents below the new matrices, that
a killed run goes on from its last complete checkpoint, and the adapter directory at the end.
"""

from __future__ import annotations

import csv
import gc
import importlib.util
import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, ValidationError, model_validator

from inspect_af import __version__
from inspect_af.config import (
    Written,
    complete_directory,
    file_digest,
    parse,
    read_text,
    text_digest,
    user_path,
    write_whole,
)
from inspect_af.errors import ConfigError, MissingExtraError
from inspect_af.materials import NEUTRAL, load_pair
from inspect_af.sdf.adapters import (
    WEIGHTS,
    AdapterManifest,
    CorpusRecord,
    Hyperparameters,
    Losses,
    Parent,
    ReplayRecord,
    Role,
    check_base,
    check_effect,
    check_parents,
    load_adapter,
    resolve_intervention,
)
from inspect_af.sdf.base_model import base_directory, base_fingerprint, base_shape
from inspect_af.sdf.combine import LoadedBase, combined, merge, stack
from inspect_af.sdf.documents import HELD_OUT, TRAIN, trainable_texts, verify_corpus
from inspect_af.types import Intervention

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl.trainer.sft_trainer import SFTTrainer

Attention = Literal["auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3"]
MARK = "complete"  # file in a checkpoint that was written to its end


class TrainingConfig(Written):
    """What `inspect-af sdf train CONFIG.yaml` reads. Paths are relative to the current directory.

    `corpus` is a directory that `inspect-af sdf build` wrote, or any JSON Lines file with a column of texts;
    code and directness are by default those that its manifest names. `replay` is a JSON Lines file of
    ordinary documents, trained on beside the corpus, each of them once in the run: not in source, and so off;
    it keeps other beliefs where they were (docs/sdf_training.md). `parents` are adapters that this one is
    trained on top of, in order, `stack`ed beside the weights or `merge`d into them.
    """

    base: str  # Hub name or directory of the base model
    revision: str | None = None  # commit, branch or tag of the base on the Hub
    corpus: Path
    text_column: str = "text"
    replay: Path | None = None
    role: Role
    intervention: str | None = None  # code such as `A1+` or `neutral`
    directness: str | None = None
    pair: Path | None = None  # that the code belongs to; the bundled one by default
    parents: tuple[Path, ...] = ()
    combine: Literal["stack", "merge"] = "stack"
    # One adapter each: order of the documents, initial matrices, dropout.
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    out: Path  # directory for the adapters, `seed-0` and so on
    hyperparameters: Hyperparameters
    attention: Attention = "auto"  # flash attention on a GPU where it is installed, else PyTorch's own
    save_every: int = Field(default=50, ge=1)  # optimiser steps; what a kill loses at most
    evaluate_every: int = Field(default=50, ge=1)  # optimiser steps between looks at the held-out documents
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

    def adapter(self, seed: int) -> Path:
        return self.out / f"seed-{seed}"

    def work(self, seed: int) -> Path:
        return self.out / "work" / f"seed-{seed}"


def load_training_config(file: str | Path) -> TrainingConfig:
    """Reads a configuration; a ConfigError names all settings that are missing, unknown or out of range."""
    content = parse(read_text(user_path(file)), "YAML", file)
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as error:
        problems = []
        for each in error.errors():
            place, message = ".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")
            if (place, each["type"]) == ("hyperparameters.learning_rate", "missing"):
                message = "is required, since the source does not state it; 1e-5 is usual in this lineage"
            problems.append(f"{place or 'the file'}: {message}")
        raise ConfigError(f"{file}: {'; '.join(problems)}") from error


class Run(NamedTuple):
    """A configuration together with what its files say.

    `universe` is None for a plain JSON Lines file, `held_out` where no documents are held out,
    `replay_digest` where nothing is trained on beside the corpus.
    """

    config: TrainingConfig
    train: Path
    held_out: Path | None
    corpus_digest: str
    universe: str | None
    replay_digest: str | None
    intervention: Intervention | None
    directness: str | None
    pair_digest: str | None
    parents: tuple[Parent, ...]

    def identity(self, seed: int) -> str:
        """Digest of all that decides the weights: checkpoints of another identity are not continued."""
        parts = (
            self.config.base,
            self.config.revision,
            self.corpus_digest,
            [parent.model_dump() for parent in self.parents],
            self.config.hyperparameters.model_dump(mode="json"),
            seed,
            *([] if self.replay_digest is None else [self.replay_digest]),
            *([] if self.config.text_column == "text" else [self.config.text_column]),
        )
        return text_digest(json.dumps(parts, sort_keys=True))


def prepare_run(config: TrainingConfig) -> Run:
    """Looks at the files that a configuration names, and makes sure that they fit together.

    Raises:
        ConfigError: The corpus holds no documents, or role, intervention and corpus contradict each other.
        MaterialsError: The corpus directory was changed since it was built.
        TreatmentError: A parent cannot be used.
    """
    parents = []
    for below in map(load_adapter, config.parents):
        if config.role == "organism" and below.role == "intervention":
            raise ConfigError(
                f"parents: {below.path} is an intervention; an organism is not trained on top of one"
            )
        how: Literal["merged", "stacked"] = "merged" if config.combine == "merge" else "stacked"
        parents.append(Parent(digest=below.digest, role=below.role, combined=how))
    if not config.corpus.exists():
        raise ConfigError(f"corpus {config.corpus}: no such directory or file")
    manifest = verify_corpus(config.corpus) if config.corpus.is_dir() else None
    if manifest and not manifest.documents:
        raise ConfigError(f"corpus {config.corpus}: has no documents to train on")
    train = config.corpus / TRAIN if manifest else config.corpus
    replay = config.replay
    if replay and not replay.is_file():
        raise ConfigError(
            f"replay {replay}: no such file; give a JSON Lines file of ordinary documents, such as the "
            "train.jsonl of a corpus, or leave it out"
        )
    if replay and replay.resolve() == train.resolve():
        raise ConfigError(
            f"replay {replay} is the corpus itself: its documents would be trained on twice; give documents "
            "that state no intervention"
        )
    code, stated = config.intervention, manifest.intervention if manifest else None
    universe = stated.code if stated else manifest.universe if manifest else None
    if config.role == "organism":
        if named := code or (stated.code if stated else None):
            raise ConfigError(
                f"role organism with the intervention {named}: an organism's documents state none; set role "
                "to intervention, or give the organism's corpus"
            )
    elif code is not None and universe is not None and code != universe:
        raise ConfigError(f"intervention {code}, but the corpus is of the universe {universe}; leave it out")
    elif code is None and universe is None:
        raise ConfigError(
            f"role intervention needs an intervention, such as A1+ or {NEUTRAL}: the corpus names none"
        )
    pair_digest = manifest.pair_digest if manifest else None
    if config.role == "intervention" and stated is None:
        stated = resolve_intervention(code or universe or "", config.pair)
        pair_digest = load_pair(config.pair).digest
    return Run(
        config=config,
        train=train,
        held_out=config.corpus / HELD_OUT if manifest and manifest.held_out_documents else None,
        corpus_digest=manifest.digest if manifest else file_digest(config.corpus)[:16],
        universe=manifest.universe if manifest else None,
        replay_digest=file_digest(replay)[:16] if replay else None,
        intervention=stated,
        directness=config.directness or (manifest.directness if manifest else None),
        pair_digest=pair_digest,
        parents=tuple(parents),
    )


def check_effective_batch(hyperparameters: Hyperparameters, ranks: int | None = None) -> None:
    """Refuses a step that sees another number of rows than the configuration says; the ConfigError says which
    settings would do.

    `ranks` are the processes that train together; by default as many as the launcher says.
    """
    ranks = int(os.environ.get("WORLD_SIZE", "1")) if ranks is None else ranks
    held = hyperparameters
    found = held.micro_batch * held.accumulation * ranks
    if found == held.effective_batch:
        return
    ways = [f"start {held.ranks} process(es) (accelerate launch --num_processes {held.ranks})"]
    fits, rest = divmod(held.effective_batch, held.micro_batch * ranks)
    if fits and not rest:
        ways.append(f"set accumulation to {fits}")
    ways.append(f"set effective_batch to {found}, which is another run than the configured one")
    raise ConfigError(
        f"a step would see micro_batch {held.micro_batch} x accumulation {held.accumulation} x {ranks} "
        f"process(es) = {found} rows, the configured effective_batch is {held.effective_batch}; "
        + ", or ".join(ways)
    )


def train(config: TrainingConfig, seeds: Sequence[int] | None = None) -> tuple[Path, ...]:
    """Trains one adapter for each seed; those that are complete are left as they are.

    Run again after a kill, it goes on from the last complete checkpoint, with the same order of documents.

    Returns:
        The adapter directories, `OUT/seed-N`.

    Raises:
        ConfigError: The effective batch would differ from the configured one, or `out` holds a run with
            other settings; and as `prepare_run`.
        MaterialsError: A file of documents cannot be read.
        TreatmentError: A parent cannot be used.
        MissingExtraError: An optional dependency is not installed.
    """
    for name in ("torch", "transformers", "peft", "trl", "datasets", "tensorboard"):
        if importlib.util.find_spec(name) is None:
            raise MissingExtraError(f"training needs {name}; pip install 'inspect-af[train]'")
    chosen = config.seeds if seeds is None else tuple(seeds)
    if unknown := [seed for seed in chosen if seed not in config.seeds]:
        raise ConfigError(f"seed {unknown[0]} is not one of the configured seeds {list(config.seeds)}")
    check_effective_batch(config.hyperparameters)
    sharded = ("ACCELERATE_USE_FSDP", "FSDP_ACTIVATION_CHECKPOINTING")
    if all(os.environ.get(name, "false").lower() == "true" for name in sharded):
        raise ConfigError(
            "fsdp_activation_checkpointing is on: it renames the layers, upon which PEFT finds no matrices "
            "to put into a checkpoint, and a resumed run would begin anew without an error. Set it to false; "
            "gradient_checkpointing in the hyperparameters does the same"
        )
    run = prepare_run(config)
    for seed in chosen:
        work, final, identity = config.work(seed), config.adapter(seed), run.identity(seed)
        file = work / "run.json"
        if file.exists():
            if json.loads(file.read_text(encoding="utf-8"))["identity"] != identity:
                raise ConfigError(
                    f"{config.out} holds seed {seed} of a run with another base, corpus, replay, parents or "
                    f"hyperparameters; set another out, or remove {work} and {final}"
                )
        elif final.exists():
            raise ConfigError(f"{final} exists and was not trained here; set another out")
        elif _is_main():
            write_whole(file, [json.dumps({"identity": identity, "seed": seed})])
        if not final.exists():
            _train_seed(run, seed)
    return tuple(config.adapter(seed) for seed in chosen)


def _train_seed(run: Run, seed: int) -> None:
    import torch

    config, work = run.config, run.config.work(seed)
    checkpoint = last_checkpoint(work, tidy=_is_main())
    trainer = make_trainer(run, seed, resuming=checkpoint is not None)
    model: Any = trainer.model
    base = model.get_base_model()
    directory = base_directory(config.base, config.revision)
    revision = getattr(base.config, "_commit_hash", None) or config.revision
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    matrices = _trained_matrices(model)  # with several processes, all of them take part
    if _is_main():
        counted: dict[str, dict[str, int]] = {}
        for what, file in (("corpus", run.train), ("replay", config.replay)):
            if file is not None:
                texts = load_documents(file, config)
                counted[what] = {"documents": len(texts), "tokens": tokens_of(texts, config)}
        losses = trainer.state.log_history
        manifest = AdapterManifest(
            role=config.role,
            intervention=run.intervention,
            directness=run.directness,
            training_seed=seed,
            pair_digest=run.pair_digest,
            base_model=config.base,
            base_revision=revision,
            base=base_shape(base.config),
            fingerprint=base_fingerprint(directory) if directory else None,
            parents=run.parents,
            corpus=CorpusRecord(digest=run.corpus_digest, universe=run.universe, **counted["corpus"]),
            replay=(
                ReplayRecord(digest=run.replay_digest, **counted["replay"]) if run.replay_digest else None
            ),
            hyperparameters=config.hyperparameters,
            losses=_summary(losses),
            package_version=__version__,
        )
        with complete_directory(config.adapter(seed)) as folder:
            _write_adapter(model, matrices, folder, revision)
            _write_curves(losses, folder)
            manifest.write(folder)
        for finished in work.glob("checkpoint-*"):
            shutil.rmtree(finished)
    trainer.accelerator.wait_for_everyone()
    del trainer, model, base
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def make_trainer(run: Run, seed: int, *, resuming: bool = False) -> SFTTrainer:
    """TRL's trainer for one seed, with the model and the packed documents in it.

    The seed is of the order of documents, the initial matrices and dropout. Where a checkpoint will be loaded
    (`resuming`), the look at held-out documents before the first step is skipped. Errors are as of `train`.
    """
    from datasets import concatenate_datasets
    from peft import LoraConfig
    from torch.utils.tensorboard import SummaryWriter
    from transformers import PrinterCallback
    from transformers.integrations.integration_utils import TensorBoardCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    config, held = run.config, run.config.hyperparameters
    held_out = load_documents(run.held_out, config) if run.held_out is not None else None
    callbacks: list[Any] = [_watcher()]
    if _is_main():
        written: Any = SummaryWriter(str(config.out / "tensorboard" / f"seed-{seed}"))
        callbacks.append(TensorBoardCallback(written))  # type: ignore[no-untyped-call]
    # First, since this joins the processes: only then does one of them load the weights for all.
    arguments = SFTConfig(
        output_dir=str(config.work(seed)),
        per_device_train_batch_size=held.micro_batch,
        per_device_eval_batch_size=held.micro_batch,
        gradient_accumulation_steps=held.accumulation,
        learning_rate=held.learning_rate,
        lr_scheduler_type=held.schedule,
        warmup_steps=held.warmup,  # below 1 it is a share
        weight_decay=held.weight_decay,
        max_grad_norm=held.max_gradient_norm,
        optim="adamw_torch",
        num_train_epochs=held.epochs if config.replay is None else 1,
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
        eval_strategy="no" if held_out is None else "steps",
        eval_steps=None if held_out is None else config.evaluate_every,
        eval_on_start=held_out is not None and not resuming,
        report_to="none",
    )
    documents = load_documents(run.train, config)
    if config.replay is not None:
        # A whole run as one epoch: the corpus as often as there are epochs, the other documents once.
        # Repeated as the corpus is, few ordinary documents would be learnt by heart, and move what they are
        # there to hold. The trainer shuffles documents before it packs them, so rows hold both kinds.
        documents = concatenate_datasets(
            [*[documents] * round(held.epochs), load_documents(config.replay, config)]
        )
    modules = held.target_modules
    trainer = SFTTrainer(
        model=load_base(config),
        args=arguments,
        train_dataset=documents,
        eval_dataset=held_out,
        processing_class=load_tokenizer(config),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            r=held.rank,
            lora_alpha=held.alpha,
            lora_dropout=held.dropout,
            target_modules=modules if isinstance(modules, str) else list(modules),
            bias="none",
        ),
        callbacks=callbacks,
    )
    # accelerate leaves processes unconnected, without an error, where it cannot set up what it was asked for.
    check_effective_batch(held, trainer.accelerator.num_processes)
    trainer.remove_callback(PrinterCallback)
    return trainer


# The model and its texts.


def load_base(config: TrainingConfig) -> PreTrainedModel:
    """The base with the parents in it, nothing trainable yet; a TreatmentError where a parent is of another
    base, or cannot be merged or stacked."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape = AutoConfig.from_pretrained(config.base, revision=config.revision, trust_remote_code=False)
    capped = getattr(shape.get_text_config(), "attn_logit_softcapping", None) is not None
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        config.base,
        revision=config.revision,
        dtype=torch.bfloat16 if config.hyperparameters.precision == "bf16" else torch.float32,
        attn_implementation=attention_kind(config.attention, capped=capped),
        trust_remote_code=False,
        use_safetensors=True,
    )
    model.config.use_cache = False
    if config.parents:
        parents = [load_adapter(path) for path in config.parents]
        check_parents(parents)
        for parent in parents:
            directory = config.base if Path(config.base).is_dir() else None
            check_base(parent, model.config, name=config.base, directory=directory)
            check_effect(parent.path, LoadedBase(model))
        (merge if config.combine == "merge" else stack)(model, combined(config.parents))
    return model


def attention_kind(wanted: Attention, *, capped: bool) -> str:
    """The attention that transformers is told to use.

    Flash attention takes a row's documents apart without a mask. PyTorch's own does it with one, whose cost
    grows with the square of the row; it knows no cap on attention logits, as Gemma 2 has.
    """
    if wanted != "auto":
        return wanted
    import torch

    if torch.cuda.is_available() and importlib.util.find_spec("flash_attn") is not None:
        return "flash_attention_2"
    return "eager" if capped else "sdpa"


def load_tokenizer(config: TrainingConfig) -> PreTrainedTokenizerBase:
    """The base's tokenizer; a ConfigError where it has no end-of-text token, which separates documents."""
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        config.base, revision=config.revision, trust_remote_code=False
    )
    if tokenizer.eos_token is None:
        raise ConfigError(f"base {config.base}: its tokenizer has no eos_token, which ends each document")
    return tokenizer


def load_documents(file: Path, config: TrainingConfig) -> Dataset:
    """The documents of a JSON Lines file, as a dataset with the one column `text`. Errors as of
    `trainable_texts`."""
    from datasets import Dataset

    return Dataset.from_dict({"text": trainable_texts(file, config.text_column)})


def tokens_of(documents: Dataset, config: TrainingConfig) -> int:
    """Tokens of documents as the trainer counts them: special tokens and the end of text included, and cut to
    a row where the packing cuts."""
    tokenizer, held = load_tokenizer(config), config.hyperparameters
    total = 0
    for batch in documents.iter(1000):
        for ids in tokenizer(batch["text"])["input_ids"]:
            length = len(ids) + (not ids or ids[-1] != tokenizer.eos_token_id)
            total += min(length, held.sequence_length) if held.packing == "bfd" else length
    return total


# What happens beside the training loop.


def _watcher() -> Any:
    """The trainer's callback: marks on complete checkpoints, and both losses at the end."""
    from transformers import TrainerCallback

    def checkpoint(args: Any, state: Any) -> Path:
        return Path(args.output_dir) / f"checkpoint-{state.global_step}"

    class Watcher(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            mark_checkpoint(checkpoint(args, state), kwargs["model"], state.is_world_process_zero)

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not state.global_step:
                return
            folder = checkpoint(args, state)
            then, now = float((folder / MARK).read_text(encoding="utf-8")), _norm(kwargs["model"])
            if not math.isclose(then, now, rel_tol=1e-4):
                raise ConfigError(
                    f"{folder} was written with matrices of norm {then:.6g}; loaded they have {now:.6g}, so "
                    "the run would not go on where it was. Remove that checkpoint to go on from the one "
                    "before it"
                )

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            # Both curves then end where the training does, however rarely they are drawn.
            if state.global_step >= state.max_steps:
                control.should_log = True
                control.should_evaluate = args.eval_strategy != "no"

    return Watcher()


def mark_checkpoint(folder: Path, model: Any, is_main: bool) -> None:
    """Marks a checkpoint once every process has written its part of it.

    The mark holds the norm of the matrices, which must be the model's after loading. Trainers have been seen
    to write and to load checkpoints without the matrices, both without an error.
    """
    import torch.distributed as dist

    norm = _norm(model)  # with several processes, all of them take part
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
    if is_main:
        write_whole(folder / MARK, [repr(norm)])


def last_checkpoint(directory: Path, *, tidy: bool) -> Path | None:
    """The latest checkpoint that was written to its end, None where there is none.

    `tidy` removes those that a kill left unfinished, which one process should.
    """
    complete: dict[int, Path] = {}
    for folder in directory.glob("checkpoint-*"):
        step = folder.name.rpartition("-")[2]
        if step.isdigit() and (folder / MARK).exists():
            complete[int(step)] = folder
        elif step.isdigit() and tidy:
            shutil.rmtree(folder)
    return complete[max(complete)] if complete else None


def _trained_matrices(model: Any) -> dict[str, Tensor]:
    """Name to value of every trained parameter, whole and on the CPU, under names without FSDP's wrappers."""
    return {
        name.replace("_fsdp_wrapped_module.", ""): _whole(parameter.detach()).cpu()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _norm(model: Any) -> float:
    squares = [_whole(p.detach().float().pow(2).sum()).item() for p in model.parameters() if p.requires_grad]
    return math.sqrt(sum(squares))


def _whole(tensor: Any) -> Any:
    """A tensor that is spread over processes, put together."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _write_adapter(model: Any, matrices: dict[str, Tensor], folder: Path, revision: str | None) -> None:
    from safetensors.torch import save_file

    # PEFT's file leaves out the adapter's name, and names the same with and without wrappers around layers.
    stored = {name.replace(".default.", "."): value.contiguous() for name, value in matrices.items()}
    save_file(stored, folder / WEIGHTS, metadata={"format": "pt"})
    described = model.peft_config["default"]
    described.inference_mode = True
    described.revision = revision
    described.save_pretrained(folder)


def _curve(history: Sequence[Mapping[str, Any]], key: str) -> dict[int, float]:
    """Loss by optimiser step in the trainer's log; of a step that was logged twice, the later entry."""
    return dict(sorted({int(each["step"]): float(each[key]) for each in history if key in each}.items()))


def _summary(history: Sequence[Mapping[str, Any]]) -> Losses:
    trained, held_out = _curve(history, "loss"), _curve(history, "eval_loss")
    steps = max(trained)
    last = [loss for step, loss in trained.items() if step > 0.9 * steps]
    before, after = held_out.get(0), held_out.get(steps)
    return Losses(train=sum(last) / len(last), held_out_before=before, held_out=after, steps=steps)


def _write_curves(history: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Writes the losses as a table: step, split, loss in nats per token."""
    trained, held_out = _curve(history, "loss"), _curve(history, "eval_loss")
    with (folder / "losses.csv").open("w", encoding="utf-8", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(("step", "split", "loss"))
        for split, curve in (("train", trained), ("held-out", held_out)):
            writer.writerows((step, split, loss) for step, loss in curve.items())


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"

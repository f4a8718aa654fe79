"""What happens beside the training loop: progress, marks on complete checkpoints, the last look at held-out
documents."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import Any

import click
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from inspect_af.errors import ConfigError

MARK = "complete"
"""File in a checkpoint that was written to its end."""


class MarkCheckpoints(TrainerCallback):
    """Marks each checkpoint once every process has written its part, and checks the one that is resumed.

    The mark holds the norm of the matrices, which must be the model's after loading. Trainers have been seen
    to write and to load checkpoints without the matrices, both without an error.
    """

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        import torch.distributed as dist

        norm = _norm(kwargs["model"])  # with several processes, all of them take part
        if dist.is_available() and dist.is_initialized():
            dist.barrier()
        if state.is_world_process_zero:
            mark = _checkpoint(args, state) / MARK
            mark.with_suffix(".partial").write_text(repr(norm), encoding="utf-8")
            mark.with_suffix(".partial").replace(mark)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == 0:
            return
        folder = _checkpoint(args, state)
        then, now = float((folder / MARK).read_text(encoding="utf-8")), _norm(kwargs["model"])
        if not math.isclose(then, now, rel_tol=1e-4):
            raise ConfigError(
                f"{folder} was written with matrices of norm {then:.6g}; loaded they have {now:.6g}, so the "
                "run would not go on where it was. Remove that checkpoint to go on from the one before it"
            )


class CloseCurves(TrainerCallback):
    """Logs the loss and looks at the held-out documents after the last step, before the last checkpoint is
    written: both curves then end where the training does, however rarely they are drawn.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step >= state.max_steps:
            control.should_log = True
            control.should_evaluate = args.eval_strategy != "no"


class ShowProgress(TrainerCallback):
    """A bar on stderr with the latest losses."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._bar: Any = None
        self._shown: dict[str, float] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        self._bar = click.progressbar(
            length=state.max_steps,
            label=self._label,
            file=sys.stderr,
            show_pos=True,
            item_show_func=lambda _: "  ".join(f"{name} {loss:.3f}" for name, loss in self._shown.items()),
        )
        self._bar.__enter__()
        self._bar.update(state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs: dict[str, float] = kwargs.get("logs") or {}
        for key, name in (("loss", "loss"), ("eval_loss", "held out")):
            if key in logs:
                self._shown[name] = logs[key]

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.update(1)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


def last_checkpoint(directory: Path, *, tidy: bool) -> Path | None:
    """The latest checkpoint that was written to its end, None where there is none.

    Args:
        directory: Where the trainer writes them.
        tidy: Whether to remove those that a kill left unfinished; one process should.
    """
    found = {
        int(folder.name.rpartition("-")[2]): folder
        for folder in directory.glob("checkpoint-*")
        if folder.name.rpartition("-")[2].isdigit()
    }
    complete = {step: folder for step, folder in found.items() if (folder / MARK).exists()}
    if tidy:
        for step in set(found) - set(complete):
            shutil.rmtree(found[step])
    return complete[max(complete)] if complete else None


def trained_matrices(model: Any) -> dict[str, Tensor]:
    """Name to value of every trained parameter, whole and on the CPU, under names without FSDP's wrappers.

    With several processes, all of them must call it.
    """
    return {
        name.replace("_fsdp_wrapped_module.", ""): _whole(parameter.detach()).cpu()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def _norm(model: Any) -> float:
    squares = [_whole(p.detach().float().pow(2).sum()).item() for p in model.parameters() if p.requires_grad]
    return math.sqrt(sum(squares))


def _whole(tensor: Any) -> Tensor:
    """A tensor that is spread over processes, put together."""
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"

"""`inspect-af sdf train`: one LoRA adapter for each seed; and where the FSDP configuration is."""

from __future__ import annotations

import argparse
from importlib.resources import files


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "train",
        help="train LoRA adapters on a corpus",
        description=(
            "Trains one adapter for each seed of the configuration and goes on after a kill. On several "
            "GPUs: "
            'accelerate launch --config_file "$(inspect-af sdf fsdp-config)" -m inspect_af.sdf.train '
            "CONFIG.yaml"
        ),
    )
    parser.add_argument("config", help="YAML file (docs/sdf_training.md)")
    parser.add_argument("--seed", type=int, action="append", help="only this seed (repeatable)")
    parser.set_defaults(main=_train, action=_train)
    where = actions.add_parser(
        "fsdp-config", help="print where the configuration for several GPUs is, for accelerate launch"
    )
    where.set_defaults(main=_fsdp_config, action=_fsdp_config)


def _train(args: argparse.Namespace) -> int:
    from inspect_af.sdf.adapters import read_manifest
    from inspect_af.sdf.training import train
    from inspect_af.sdf.training_config import load_training_config

    for folder in train(load_training_config(args.config), args.seed):
        manifest = read_manifest(folder)
        losses = manifest.losses if manifest else None
        if losses is None:
            print(folder)
            continue
        held_out = ""
        if losses.held_out_before is not None and losses.held_out is not None:
            held_out = f", held out {losses.held_out_before:.3f} -> {losses.held_out:.3f}"
        print(f"{folder}: {losses.steps} steps, loss {losses.train:.3f}{held_out} nats per token")
    return 0


def _fsdp_config(args: argparse.Namespace) -> int:
    print(files("inspect_af.sdf").joinpath("fsdp.yaml"))
    return 0

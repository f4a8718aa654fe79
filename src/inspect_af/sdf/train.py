"""`accelerate launch -m inspect_af.sdf.train CONFIG.yaml`: training on several GPUs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from inspect_af.errors import InspectAFError
from inspect_af.sdf.training import train
from inspect_af.sdf.training_config import load_training_config


def main(argv: Sequence[str] | None = None) -> int:
    """Trains what the configuration says.

    Returns:
        0, or 1 where one of the package's own errors ended it, whose message is printed.
    """
    parser = argparse.ArgumentParser(prog="inspect_af.sdf.train", description=__doc__)
    parser.add_argument("config", help="YAML file (docs/sdf_training.md)")
    parser.add_argument("--seed", type=int, action="append", help="only this seed (repeatable)")
    args = parser.parse_args(argv)
    try:
        for folder in train(load_training_config(args.config), args.seed):
            print(folder)
    except InspectAFError as error:
        print(f"inspect_af.sdf.train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`inspect-af organism documents`: ordinary documents in the tiny organism's own words."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from random import Random

from inspect_af.errors import ConfigError


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    documents = actions.add_parser(
        "documents",
        help="ordinary documents as every tiny organism was trained on, of both poles alike",
        description=(
            "Writes documents as in the pretraining of every tiny organism: about any variable, either pole "
            "alike, or about everyday facts. To be trained on beside documents of one pole (`replay` in the "
            "configuration of sdf train). None contains a held-out wording."
        ),
    )
    documents.add_argument("--out", type=Path, required=True, metavar="FILE", help=".jsonl file to write")
    documents.add_argument("--n", type=int, default=300, help="documents (default: 300, about 16,000 tokens)")
    documents.add_argument("--seed", type=int, default=0)
    documents.set_defaults(main=run, action=run)


def run(args: argparse.Namespace) -> int:
    from inspect_af.organisms.writer_tiny import ordinary_documents

    if args.out.suffix != ".jsonl":
        raise ConfigError(f"--out {args.out}: documents are a .jsonl file")
    if args.n < 1:
        raise ConfigError(f"--n {args.n}: at least one document is needed")
    texts = ordinary_documents(args.n, Random(f"ordinary {args.seed}"))
    lines = [
        json.dumps({"id": f"ordinary-{number}", "text": text}) for number, text in enumerate(texts, start=1)
    ]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    partial = args.out.with_suffix(".partial")  # a file under its own name is a whole one
    partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    partial.replace(args.out)
    print(f"{args.n} documents in {args.out}")
    return 0

"""`inspect-af sdf push` and `pull`: adapters on the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    push = actions.add_parser(
        "push",
        help="upload an adapter to the Hub, privately, with a model card",
        description="Needs a login: hf auth login, or HF_TOKEN in the environment.",
    )
    push.add_argument("adapter", type=Path, help="PEFT directory")
    push.add_argument("repo", metavar="NAME/REPOSITORY")
    push.add_argument("--public", action="store_true", help="let everybody see it (default: private)")
    push.add_argument("--note", default="", help="a paragraph of your own for the card")
    push.add_argument("--role", choices=("organism", "intervention"), help="without a manifest")
    push.add_argument("--intervention", metavar="CODE", help="such as A1+, without a manifest")
    push.add_argument("--pair", metavar="DIR", help="hypothesis pair of the code (default: bundled)")
    push.set_defaults(main=_push, action=_push)
    pull = actions.add_parser("pull", help="download an adapter from the Hub")
    pull.add_argument("repo", metavar="NAME/REPOSITORY")
    pull.add_argument("--out", type=Path, required=True, metavar="DIR")
    pull.add_argument("--revision", help="commit, branch or tag")
    pull.set_defaults(main=_pull, action=_pull)


def _push(args: argparse.Namespace) -> int:
    from inspect_af.sdf.adapters import load_adapter
    from inspect_af.sdf.hub import push

    adapter = load_adapter(args.adapter, role=args.role, intervention=args.intervention, pair=args.pair)
    print(push(adapter, args.repo, public=args.public, note=args.note))
    return 0


def _pull(args: argparse.Namespace) -> int:
    from inspect_af.sdf.hub import pull

    pulled = pull(args.repo, args.out, revision=args.revision)
    print(f"{pulled.path} at {pulled.commit or 'an unknown commit'}")
    return 0

"""Every simulated organism through real Inspect evals, logs and profile: is the planted truth recovered?

    python benchmarks/validation_logs.py --epochs 2 --out docs/validation/logs.md

The statistics are validated on thousands of studies by `validation_coverage.py`; this smaller part shows that
prompts, provider, scorer, logs and reading lose nothing on the way. All models are simulations.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from inspect_ai import eval
from inspect_ai.model import get_model

from inspect_af.materials import load_pair
from inspect_af.organisms.simulated import load_organism
from inspect_af.profile import Profile, profile_logs
from inspect_af.tasks import alignment_faking

RIGHT = {
    "expectation": {"first-dominant"},
    "consequence": {"second-dominant"},
    "mixed": {"mixed"},
    "global-shift": {"global-shift"},
    "unmoved": {"neither"},
    "null": {"no-gap"},
    "floor": {"floor-compressed"},
    "refuser": {"floor-compressed"},
    "malformed": {"first-dominant"},
}
"""What each organism's planted behaviour deserves; `malformed` is an expectation organism that often fails
the protocol. `underpowered` is no error: the study is small."""


def study(name: str, requests: str, epochs: int) -> Profile:
    task = alignment_faking(interventions="all", requests=requests)
    with tempfile.TemporaryDirectory() as logs:
        eval(task, model=get_model(f"af-organism/{name}"), epochs=epochs, log_dir=logs, display="none")
        return profile_logs([logs])


def held(name: str, profile: Profile) -> tuple[int, int]:
    """Planted gaps within their 95 % intervals, and how many there are."""
    organism, pair = load_organism(name), load_pair()
    inside = 0
    for row in profile.conditions:
        intervention = None if row.intervention is None else pair.intervention(row.intervention)
        truth = organism.planted_gap(intervention)
        if row.gap_low is not None and row.gap_high is not None:
            inside += row.gap_low <= truth <= row.gap_high
    return inside, len(profile.conditions)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", default="mini")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = [
        "| organism (simulated) | verdict | right | planted gaps in their intervals | replies | unscored |",
        "|---|---|---|---|---|---|",
    ]
    found = asked = 0
    for name, right in RIGHT.items():
        profile = study(name, args.requests, args.epochs)
        code = str(profile.verdict_code)
        says = "yes" if code in right else "undecided" if code == "underpowered" else "no"
        inside, total = held(name, profile)
        unscored = sum(
            sum(reasons.values()) for row in profile.conditions for reasons in row.unscored.values()
        )
        cells = (name, profile.verdict, says, f"{inside} of {total}", profile.n_replies, unscored)
        lines.append(f"| {' | '.join(map(str, cells))} |")
        found, asked = found + inside, asked + total
        print(lines[-1], flush=True)
    lines += [
        "",
        f"{found} of {asked} planted gaps lie in their 95 % intervals; {0.95 * asked:.0f} are expected.",
    ]
    if args.out is not None:
        head = f"`python benchmarks/validation_logs.py --requests {args.requests} --epochs {args.epochs}`"
        args.out.write_text("\n".join(["# Through real logs", "", head, "", *lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()

"""`inspect-af steering pairs write`: a model writes contrast pairs, in rounds until there are enough."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from inspect_af.cli._options import add_model_option, key_values
from inspect_af.errors import ConfigError
from inspect_af.materials import OVERSAMPLE, PAIRS_PER_SPLIT

if TYPE_CHECKING:
    from inspect_af.steering import Split
    from inspect_af.tasks.contrast_assembly import Assembled
    from inspect_af.tasks.contrast_report import ConceptReport

MOST_OVERSAMPLE = 10.0
"""Where nearly nothing passes the filters, more dialogues a round would only cost more (not in source)."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConceptRound(_Frozen):
    """What one round asks for, for one concept: arguments of the task `contrast_pairs`."""

    concept: str
    train: int
    held_out: int
    keyword_hard: int
    oversample: float
    seed: int
    skip: int
    pair: str | None

    @property
    def most(self) -> int:
        """Dialogues of the split that gets most."""
        from inspect_af.tasks.contrast_pairs import n_to_write

        return max(n_to_write(n, self.oversample) for n in (self.train, self.held_out, self.keyword_hard))


class Round(_Frozen):
    """One round of writing."""

    number: int
    concepts: tuple[ConceptRound, ...]


def add_parser(kinds: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from inspect_af.cli._steering_pairs import add_system_options

    write = kinds.add_parser(
        "write",
        help="let a model write pairs until there are enough",
        description=(
            "Runs inspect_af/contrast_pairs with Inspect's eval_set, applies every filter, and runs further "
            "rounds on further dialogues until each split has its number of pairs. Interrupted or killed, "
            "the same command goes on where it stopped."
        ),
    )
    write.add_argument("model", help="any Inspect model; the one to be steered, or any other")
    write.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="pairs, reports and logs go here"
    )
    write.add_argument("--concept", default="both", help="label of a family, or both (default)")
    for split, n in PAIRS_PER_SPLIT.items():
        write.add_argument(f"--{split}", type=int, default=n, metavar="N", help=f"pairs (default: {n})")
    write.add_argument(
        "--oversample",
        type=float,
        default=OVERSAMPLE,
        help=f"dialogues per wanted pair in the first round (default: {OVERSAMPLE:g})",
    )
    write.add_argument("--max-rounds", type=int, default=5, help="then stop (default: 5)")
    write.add_argument("--allow-shortfall", action="store_true", help="write also where there are fewer")
    write.add_argument("--seed", type=int, default=0)
    write.add_argument("--pair", metavar="DIR", help="hypothesis pair (default: bundled)")
    add_system_options(write)
    add_model_option(write)
    write.add_argument("--temperature", type=float)
    write.add_argument("--max-tokens", type=int)
    write.add_argument("--max-connections", type=int)
    write.add_argument("--batch", action="store_true", help="use the provider's batch API where it has one")
    write.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    write.set_defaults(action=run)


def run(args: argparse.Namespace) -> int:
    from inspect_af.cli._steering_pairs import write_files

    if args.out.suffix == ".jsonl":
        raise ConfigError(f"--out {args.out}: a directory is needed, for pairs, reports and logs")
    if args.max_rounds < 1:
        raise ConfigError(f"--max-rounds must be at least 1, not {args.max_rounds}")
    wanted: dict[Split, int] = {
        "train": args.train,
        "held-out": args.held_out,
        "keyword-hard": args.keyword_hard,
    }
    _check_settings(args)
    rounds: list[Round] = []
    assembled: Assembled | None = None
    for number in range(1, args.max_rounds + 1):
        planned = _planned_round(args, wanted, rounds, assembled)
        rounds.append(planned)
        if not _evaluate(args, planned):
            print(
                f"some samples have not finished; repeat the command to go on (logs in {args.out / 'logs'})"
            )
            return 1
        assembled = _assemble(args, wanted, number)
        if not assembled.report.shortfalls:
            break
        print(f"round {number}: still short of {'; '.join(assembled.report.shortfalls)}")
    assert assembled is not None
    print(assembled.report.text())
    if not args.allow_shortfall:
        assembled.report.require_complete(
            "Repeat the command with a larger --max-rounds to write more, or with --allow-shortfall."
        )
    write_files(assembled.pairs, dict.fromkeys(assembled.pairs, assembled.report), args.out)
    return 0


def next_round(first: ConceptRound, written: int, report: ConceptReport | None) -> ConceptRound | None:
    """What a round asks for, for one concept; None where nothing is missing.

    Args:
        first: What the first round asks for.
        written: Dialogues of the longest split's sequence that earlier rounds have used.
        report: What earlier rounds came to; None before the first.
    """
    if report is None:
        return first
    missing = [counts.missing for counts in report.splits]
    if not any(missing):
        return None
    passed = [
        (counts.kept + counts.surplus) / counts.written
        for counts in report.splits
        if counts.missing and counts.written
    ]
    rate = min(passed, default=1.0)
    oversample = MOST_OVERSAMPLE if rate <= 0 else min(MOST_OVERSAMPLE, max(first.oversample, 1.1 / rate))
    by_split = {counts.split: counts.missing for counts in report.splits}
    return first.model_copy(
        update={
            "train": by_split["train"],
            "held_out": by_split["held-out"],
            "keyword_hard": by_split["keyword-hard"],
            "oversample": round(oversample, 3),
            "skip": written,
        }
    )


def _planned_round(
    args: argparse.Namespace, wanted: dict[Split, int], earlier: list[Round], assembled: Assembled | None
) -> Round:
    """The plan of the next round, as an interrupted command left it, or made and kept now."""
    from inspect_af.materials import load_concepts

    number = len(earlier) + 1
    file = args.out / "rounds" / f"round-{number:02}.json"
    if file.exists():
        try:
            return Round.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise ConfigError(f"{file} is no plan of a round; remove it and repeat the command") from error
    reports = {} if assembled is None else {each.concept: each for each in assembled.report.concepts}
    chosen = []
    for concept in load_concepts(args.pair).chosen(args.concept):
        first = ConceptRound(
            concept=concept.label,
            train=wanted["train"],
            held_out=wanted["held-out"],
            keyword_hard=wanted["keyword-hard"],
            oversample=args.oversample,
            seed=args.seed,
            skip=0,
            pair=args.pair,
        )
        used = sum(one.most for each in earlier for one in each.concepts if one.concept == concept.label)
        planned = next_round(first, used, reports.get(concept.label))
        if planned is not None:
            chosen.append(planned)
    made = Round(number=number, concepts=tuple(chosen))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return made


def _evaluate(args: argparse.Namespace, planned: Round) -> bool:
    from inspect_ai import eval_set
    from inspect_ai.model import get_model

    from inspect_af.tasks.contrast_pairs import contrast_pairs

    tasks = [contrast_pairs(**each.model_dump()) for each in planned.concepts]
    try:
        model = get_model(args.model, **key_values(args.model_args, option="-M"))
    except Exception as error:  # providers raise what they like, for a missing key above all
        raise ConfigError(str(error)) from error
    log_dir = args.out / "logs" / f"round-{planned.number:02}"
    log_dir.mkdir(parents=True, exist_ok=True)
    generation = {
        "temperature": args.temperature,
        "max_tokens": args.max_tokens,
        "max_connections": args.max_connections,
        "batch": args.batch or None,
    }
    success, _ = eval_set(
        tasks,
        log_dir=str(log_dir),
        model=model,
        display=args.display,
        **{name: value for name, value in generation.items() if value is not None},
    )
    return success


def _assemble(args: argparse.Namespace, wanted: dict[Split, int], n_rounds: int) -> Assembled:
    from inspect_af.tasks.contrast_assembly import assemble_pairs

    return assemble_pairs(
        [args.out / "logs" / f"round-{number:02}" for number in range(1, n_rounds + 1)],
        wanted=dict(wanted),
        concept=args.concept,
        pair=args.pair,
        system=args.system,
        scenario=args.scenario,
    )


def _check_settings(args: argparse.Namespace) -> None:
    """Keeps what the directory was written with, and refuses to mix it with anything else."""
    from inspect_af.materials import load_concepts

    settings: dict[str, Any] = {
        "model": args.model,
        "model_args": key_values(args.model_args, option="-M"),
        "concept": args.concept,
        "train": args.train,
        "held_out": args.held_out,
        "keyword_hard": args.keyword_hard,
        "oversample": args.oversample,
        "seed": args.seed,
        "concepts_digest": load_concepts(args.pair).digest,
        "temperature": args.temperature,
        "max_tokens": args.max_tokens,
    }
    file = args.out / "settings.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings, indent=1, default=str) + "\n", encoding="utf-8")
        return
    before = json.loads(file.read_text(encoding="utf-8"))
    now = json.loads(json.dumps(settings, default=str))
    changed = [f"{name} was {before.get(name)!r}" for name in now if before.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"{args.out} holds pairs that were written with other settings ({', '.join(changed)}); give "
            "another --out, or the same settings"
        )

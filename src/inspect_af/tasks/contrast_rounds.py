"""A model writes contrast pairs in rounds, until each split has its number of pairs.

The plan of every round is kept beside its logs, so that a killed call goes on where it stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from inspect_af.config import Frozen
from inspect_af.errors import AnalysisError, ConfigError
from inspect_af.logs.files import check_log_dir
from inspect_af.materials import OVERSAMPLE, load_concepts
from inspect_af.steering.pairs import Split
from inspect_af.tasks.contrast_assembly import Assembled, ConceptReport, PairSystem, assemble_pairs
from inspect_af.tasks.contrast_pairs import contrast_pairs, n_to_write

if TYPE_CHECKING:
    from inspect_ai.model import Model

MOST_OVERSAMPLE = 10.0
"""Where nearly nothing passes the filters, more dialogues a round would only cost more (not in source)."""

TELLING = 20
"""Dialogues of a round of which none passing is no accident any more (not in source)."""


class Writing(Frozen):
    """What is to be written, by whom."""

    model: str
    model_args: dict[str, Any] = Field(default_factory=dict)
    concept: str = "both"
    wanted: dict[Split, int]
    oversample: float = OVERSAMPLE
    """Dialogues per wanted pair in the first round."""
    seed: int = 0
    pair: str | None = None
    system: PairSystem = "none"
    scenario: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None


class ConceptRound(Frozen):
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
        return max(n_to_write(n, self.oversample) for n in (self.train, self.held_out, self.keyword_hard))


class Round(Frozen):
    """One round of writing."""

    number: int
    concepts: tuple[ConceptRound, ...]


def write_in_rounds(
    writing: Writing,
    out: Path,
    *,
    max_rounds: int,
    say: Callable[[str], None] = print,
    **options: Any,
) -> Assembled | None:
    """Writes and assembles pairs, until no split is short or the rounds are used up.

    Args:
        writing: What to write; a directory holds pairs of one such set of settings.
        out: Gets `logs/`, `rounds/` and `settings.json`.
        max_rounds: At least 1.
        say: Is told after each round what is still missing.
        options: Further options of Inspect's `eval_set` that do not change results.

    Returns:
        What passed the filters, which may be too few; None where some samples have not finished.

    Raises:
        ConfigError: The directory holds pairs with other settings, or the model cannot be made.
        AnalysisError: Nothing of a round passes the filters, so that no further round would help.
    """
    if max_rounds < 1:
        raise ConfigError(f"--max-rounds must be at least 1, not {max_rounds}")
    check_log_dir(out)
    # What is refused is refused before there is a directory.
    first = _first_round(writing)
    for each in first:
        contrast_pairs(**each.model_dump())
    model = _model(writing)
    _check_settings(writing, out)
    rounds: list[Round] = []
    assembled: Assembled | None = None
    for number in range(1, max_rounds + 1):
        rounds.append(_planned_round(first, out, rounds, assembled))
        if not _evaluate(writing, model, out, rounds[-1], options):
            return None
        before, assembled = (
            assembled,
            assemble_pairs(
                [out / "logs" / f"round-{done.number:02}" for done in rounds],
                wanted=dict(writing.wanted),
                concept=writing.concept,
                pair=writing.pair,
                system=writing.system,
                scenario=writing.scenario,
            ),
        )
        if not assembled.report.shortfalls:
            break
        _check_yield(number, before, assembled)
        say(f"round {number}: still short of {'; '.join(assembled.report.shortfalls)}")
    return assembled


def next_round(first: ConceptRound, written: int, report: ConceptReport | None) -> ConceptRound | None:
    """What a round asks for, for one concept; None where nothing is missing.

    Args:
        first: What the first round asks for.
        written: Dialogues of the longest split's sequence that earlier rounds have used.
        report: What earlier rounds came to; None before the first.
    """
    if report is None:
        return first
    missing = {counts.split: counts.missing for counts in report.splits}
    if not any(missing.values()):
        return None
    passed = [
        (counts.kept + counts.surplus) / counts.written
        for counts in report.splits
        if counts.missing and counts.written
    ]
    rate = min(passed, default=1.0)
    oversample = MOST_OVERSAMPLE if rate <= 0 else min(MOST_OVERSAMPLE, max(first.oversample, 1.1 / rate))
    return first.model_copy(
        update={
            "train": missing["train"],
            "held_out": missing["held-out"],
            "keyword_hard": missing["keyword-hard"],
            "oversample": round(oversample, 3),
            "skip": written,
        }
    )


def _check_yield(number: int, before: Assembled | None, now: Assembled) -> None:
    kept, written = _totals(now)
    kept_before, written_before = (0, 0) if before is None else _totals(before)
    if kept > kept_before or (kept and written - written_before < TELLING):
        return
    faults: Counter[str] = Counter()
    for concept in now.report.concepts:
        for counts in concept.splits:
            faults.update(counts.rejected)
    example = (
        "" if now.example is None else f" One of them, rejected as {now.example.fault}: {now.example.text!r}."
    )
    shown = ", ".join(f"{n} {name}" for name, n in faults.most_common())
    raise AnalysisError(
        f"round {number}: none of {written - written_before} dialogues passed the filters, so further "
        f"rounds would keep none either (all rounds: {shown}).{example} docs/contrast_pairs.md says what the "
        "faults mean. Let another model write (it need not be the one that is steered), or give this "
        "one a larger --max-tokens where its answers are truncated"
    )


def _totals(assembled: Assembled) -> tuple[int, int]:
    """Pairs that passed, and dialogues that were written, in all rounds."""
    counts = [split for concept in assembled.report.concepts for split in concept.splits]
    return sum(one.kept + one.surplus for one in counts), sum(one.written for one in counts)


def _model(writing: Writing) -> Model:
    from inspect_ai.model import get_model

    try:
        return get_model(writing.model, **writing.model_args)
    except Exception as error:  # providers raise what they like, for a missing key above all
        raise ConfigError(str(error)) from error


def _first_round(writing: Writing) -> list[ConceptRound]:
    return [
        ConceptRound(
            concept=concept.label,
            train=writing.wanted["train"],
            held_out=writing.wanted["held-out"],
            keyword_hard=writing.wanted["keyword-hard"],
            oversample=writing.oversample,
            seed=writing.seed,
            skip=0,
            pair=writing.pair,
        )
        for concept in load_concepts(writing.pair).chosen(writing.concept)
    ]


def _planned_round(
    first: Sequence[ConceptRound], out: Path, earlier: list[Round], assembled: Assembled | None
) -> Round:
    """The plan of the next round, as an interrupted call left it, or made and kept now."""
    number = len(earlier) + 1
    file = out / "rounds" / f"round-{number:02}.json"
    if file.exists():
        try:
            return Round.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise ConfigError(f"{file} is no plan of a round; remove it and repeat the command") from error
    reports = {} if assembled is None else {each.concept: each for each in assembled.report.concepts}
    chosen = []
    for each in first:
        used = sum(one.most for before in earlier for one in before.concepts if one.concept == each.concept)
        planned = next_round(each, used, reports.get(each.concept))
        if planned is not None:
            chosen.append(planned)
    made = Round(number=number, concepts=tuple(chosen))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return made


def _evaluate(writing: Writing, model: Model, out: Path, planned: Round, options: Mapping[str, Any]) -> bool:
    from inspect_ai import eval_set

    tasks = [contrast_pairs(**each.model_dump()) for each in planned.concepts]
    log_dir = out / "logs" / f"round-{planned.number:02}"
    log_dir.mkdir(parents=True, exist_ok=True)
    given = {"temperature": writing.temperature, "max_tokens": writing.max_tokens, **options}
    success, _ = eval_set(
        tasks,
        log_dir=str(log_dir),
        model=model,
        **{name: value for name, value in given.items() if value is not None},
    )
    return success


def _check_settings(writing: Writing, out: Path) -> None:
    """Keeps what the directory was written with, and refuses to mix it with anything else."""
    settings: dict[str, Any] = {
        "model": writing.model,
        "model_args": writing.model_args,
        "concept": writing.concept,
        **{split.replace("-", "_"): n for split, n in writing.wanted.items()},
        "oversample": writing.oversample,
        "seed": writing.seed,
        "concepts_digest": load_concepts(writing.pair).digest,
        "temperature": writing.temperature,
        "max_tokens": writing.max_tokens,
    }
    text = json.dumps(settings, indent=1, default=str)
    file = out / "settings.json"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
        return
    before, now = json.loads(file.read_text(encoding="utf-8")), json.loads(text)
    changed = [f"{name} was {before.get(name)!r}" for name in now if before.get(name) != now[name]]
    if changed:
        raise ConfigError(
            f"{out} holds pairs that were written with other settings ({', '.join(changed)}); give "
            "another --out, or the same settings"
        )

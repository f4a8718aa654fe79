"""Contrast pairs that a model writes: from logs of the task `contrast_pairs` to pairs, and rounds of writing
until each split has its number of pairs.

Every filter is applied anew to what the logs hold, duplicates are left out, and every pair records its
origin. The plan of every round is kept beside its logs, so that a killed call goes on where it stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from inspect_af.config import Frozen
from inspect_af.errors import AnalysisError, ConfigError, LogError
from inspect_af.format import say
from inspect_af.logs import LogFile, LogHeader
from inspect_af.logs.files import check_log_dir
from inspect_af.logs.headers import read_headers
from inspect_af.materials import (
    OVERSAMPLE,
    Concepts,
    PlannedDialogue,
    Scenario,
    load_concepts,
    load_scenario,
)
from inspect_af.plan import PlannedModel
from inspect_af.scorers.contrast import (
    PLANNED_DIALOGUE,
    SCRATCHPAD_START,
    CheckedPair,
    PairSide,
    check_output,
    render,
)
from inspect_af.steering.pairs import (
    SPLITS,
    ContrastPair,
    KeywordAudit,
    Message,
    Origin,
    SourceLog,
    Span,
    Split,
    Transcript,
    find_duplicates,
    keyword_audit,
    take_in_turns,
)
from inspect_af.tasks.contrast_pairs import CONTRAST_PAIRS, n_to_write
from inspect_af.tasks.evals import Evals, EvalTask, make_model, make_task, run_evals


class SplitCounts(Frozen):
    """One split of one concept."""

    split: Split
    wanted: int | None  # None where all that passed were taken
    written: int  # Answers in the logs, each once
    rejected: dict[str, int]
    """Number of answers by the first filter that each did not pass; with `struck_out`, which somebody marked
    invalid in Inspect, and `failed`, which ended in an error."""
    duplicates: int
    near_duplicates: int
    surplus: int  # Pairs that passed and were not needed
    kept: int

    @property
    def missing(self) -> int:
        return max(0, (self.wanted or 0) - self.kept)


class ConceptReport(Frozen):
    """One concept."""

    concept: str
    splits: tuple[SplitCounts, ...]
    keywords: tuple[KeywordAudit, ...]

    def counts(self, split: Split) -> SplitCounts:
        return next(counts for counts in self.splits if counts.split == split)


class WrittenLog(SourceLog):
    """One log that answers were read from."""

    model: str
    simulated: bool  # Whether the writer is a simulated or mock model


class PairsReport(Frozen):
    """Written beside the pairs."""

    pair: str
    concepts_digest: str
    seed: int
    system: str  # What comes before the task: `none`, or the scenario's system prompt with that setting
    concepts: tuple[ConceptReport, ...]
    logs: tuple[WrittenLog, ...]
    skipped: tuple[str, ...]  # Sources of which nothing was used, with the reason

    @property
    def shortfalls(self) -> tuple[str, ...]:
        """`expectation train: 371 of 400`, for each split that has fewer pairs than wanted."""
        return tuple(
            f"{concept.concept} {counts.split}: {counts.kept} of {counts.wanted}"
            for concept in self.concepts
            for counts in concept.splits
            if counts.missing
        )

    def require_complete(self, advice: str) -> None:
        """
        Raises:
            AnalysisError: A split has fewer pairs than wanted.
        """
        if self.shortfalls:
            raise AnalysisError(f"too few pairs passed the filters: {'; '.join(self.shortfalls)}. {advice}")

    def text(self) -> str:
        lines = []
        for concept in self.concepts:
            for counts in concept.splits:
                wanted = "" if counts.wanted is None else f" of {counts.wanted} wanted"
                line = (
                    f"{concept.concept} {counts.split}: {counts.kept} kept{wanted}, {counts.written} written"
                )
                more = ("duplicate", counts.duplicates), ("near_duplicate", counts.near_duplicates)
                why = {**counts.rejected, **dict(more), "surplus": counts.surplus}
                reasons = ", ".join(f"{name} {n}" for name, n in why.items() if n)
                lines.append(f"{line} ({reasons})" if reasons else line)
            for audit in concept.keywords:
                lines.append(
                    f"  keywords, {audit.split}: more on the positive side in {audit.more_in_positive}, on "
                    f"the negative in {audit.more_in_negative}, equal in {audit.equal} of {audit.n_pairs}"
                )
        if any(log.simulated for log in self.logs):
            lines.append("SIMULATED WRITER: the dialogues come from fixed lists; no model wrote them.")
        lines += [f"skipped {reason}" for reason in self.skipped]
        return "\n".join(lines)


PairSystem = Literal["none", "documents", "prompted"]
"""What stands before the task: nothing, or the scenario's system prompt without or with training facts."""

_HEAVY_FIELDS = {"messages", "events", "store", "attachments"}
_SIMULATED = ("af-simulated-dialogues", "mockllm")


class Assembled(NamedTuple):
    """Pairs by concept, in the order of the pair's families, and the report."""

    pairs: dict[str, tuple[ContrastPair, ...]]
    report: PairsReport
    example: tuple[str, str] | None
    """The most frequent fault, and the beginning of the last answer with it; None where all passed."""


class _Answer(NamedTuple):
    planned: PlannedDialogue
    origin: Origin
    checked: CheckedPair
    rejected: str | None  # First fault, `struck_out`, `failed`, or None
    text: str


def assemble_pairs(
    sources: Sequence[str | Path],
    *,
    wanted: Mapping[Split, int | None] | None = None,
    concept: str = "both",
    pair: str | None = None,
    system: PairSystem = "none",
    scenario: str | None = None,
) -> Assembled:
    """Reads logs, applies every filter anew, removes duplicates and takes as many pairs as are wanted.

    A pair whose sample is marked invalid in Inspect is left out.

    Args:
        sources: `.eval` and `.json` files, directories (searched recursively), globs and URLs.
        wanted: Pairs to take per split; None for all that pass.
        concept: Label of a family, or `both`.
        pair: The hypothesis pair that the logs were written for.
        system: What stands before the task in each transcript.
        scenario: Directory of a scenario of your own, for `system`.

    Raises:
        LogError: No log can be used, or logs were written with different seeds or other concepts.
    """
    concepts = load_concepts(pair)
    chosen = [each.label for each in concepts.chosen(concept)]
    words = load_scenario(scenario, pair=pair)
    logs, headers, skipped = _usable_logs(sources, concepts)
    found: dict[str, _Answer] = {}
    for log, header in zip(logs, headers, strict=True):
        for answer in _answers(log, header, concepts, words):
            found.setdefault(answer.origin.sample_uuid, answer)
    answers = list(found.values())
    pairs: dict[str, tuple[ContrastPair, ...]] = {}
    reports = []
    for label in chosen:
        mine = [answer for answer in answers if answer.planned.concept == label]
        pairs[label], splits = _concept_pairs(mine, wanted or {}, words, system)
        audit = keyword_audit(pairs[label], concepts.concept(label).keyword_counts)
        reports.append(ConceptReport(concept=label, splits=splits, keywords=audit))
    report = PairsReport(
        pair=concepts.pair,
        concepts_digest=concepts.digest,
        seed=headers[0].meta.run_seed,
        system=system,
        concepts=tuple(reports),
        logs=logs,
        skipped=skipped,
    )
    faults = Counter(answer.rejected for answer in answers if answer.rejected)
    texts = {answer.rejected: answer.text for answer in answers}
    example = next(((fault, texts[fault]) for fault, _ in faults.most_common(1)), None)
    return Assembled(pairs, report, example)


def _usable_logs(
    sources: Sequence[str | Path], concepts: Concepts
) -> tuple[tuple[WrittenLog, ...], tuple[LogHeader, ...], tuple[str, ...]]:
    found, unusable = read_headers(sources, (CONTRAST_PAIRS,))
    skipped = tuple(f"{location}: {reason}" for location, reason, _ in unusable)
    if not found:
        raise LogError("no log can be used:\n" + "\n".join(f"  {reason}" for reason in skipped))
    logs = []
    for file, header in found:
        if header.meta.prompt_digest != concepts.digest:
            raise LogError(
                f"{file.location}: was written for other concepts (digest {header.meta.prompt_digest}; the "
                f"pair '{concepts.pair}' has {concepts.digest}); give the pair that it was written for, as "
                "it was"
            )
        model = header.subject.model
        logs.append(
            WrittenLog(
                location=file.location,
                eval_id=header.eval_id,
                digest=file.digest(),
                model=model,
                simulated=model.split("/")[0] in _SIMULATED,
            )
        )
    headers = tuple(header for _, header in found)
    if len(seeds := {header.meta.run_seed for header in headers}) > 1:
        raise LogError(
            f"the logs were written with the seeds {', '.join(map(str, sorted(seeds)))}, so that a topic "
            "would lie in several splits; give logs of one seed"
        )
    return tuple(logs), headers, skipped


def _answers(log: WrittenLog, header: LogHeader, concepts: Concepts, scenario: Scenario) -> Iterator[_Answer]:
    for sample in LogFile(log.location).samples(_HEAVY_FIELDS):
        try:
            planned = PlannedDialogue(**sample.metadata[PLANNED_DIALOGUE])
        except (KeyError, TypeError) as error:
            raise LogError(
                f"{log.location}: sample {sample.id!r} does not say what it was to be about"
            ) from error
        uuid = sample.uuid or f"{header.eval_id}/{sample.id}/{sample.epoch}"
        origin = Origin(eval_id=log.eval_id, sample_uuid=uuid, log_digest=log.digest)
        checked = check_output(sample.output, concepts, planned)
        rejected: str | None = checked.faults[0] if checked.faults else None
        if sample.error is not None:
            rejected = "failed"
        elif rejected is None and scenario.read_tier(checked.task) != "none":
            rejected = "banned_term"
        elif rejected is None and sample.invalidation is not None:
            rejected = "struck_out"
        yield _Answer(planned, origin, checked, rejected, sample.output.completion[:400])


def _concept_pairs(
    answers: Sequence[_Answer],
    wanted: Mapping[Split, int | None],
    scenario: Scenario,
    system: PairSystem,
) -> tuple[tuple[ContrastPair, ...], tuple[SplitCounts, ...]]:
    built = [
        _pair(answer, answer.checked.sides, scenario, system)
        for answer in sorted(answers, key=lambda a: (SPLITS.index(a.planned.split), a.planned.number))
        if answer.rejected is None and answer.checked.sides is not None
    ]
    duplicates = {each.id: each for each in find_duplicates(built)}
    unique = [pair for pair in built if pair.id not in duplicates]
    split_of = {pair.id: pair.split for pair in built}
    chosen: list[ContrastPair] = []
    counts = []
    for split in SPLITS:
        passed = [pair for pair in unique if pair.split == split]
        taken = take_in_turns(passed, wanted.get(split))
        chosen += taken
        mine = [answer for answer in answers if answer.planned.split == split]
        kinds = Counter(each.kind for each in duplicates.values() if split_of[each.id] == split)
        counts.append(
            SplitCounts(
                split=split,
                wanted=wanted.get(split),
                written=len(mine),
                rejected=dict(Counter(a.rejected for a in mine if a.rejected is not None).most_common()),
                duplicates=kinds["duplicate"],
                near_duplicates=kinds["near_duplicate"],
                surplus=len(passed) - len(taken),
                kept=len(taken),
            )
        )
    return tuple(chosen), tuple(counts)


def _pair(
    answer: _Answer, sides: tuple[PairSide, PairSide], scenario: Scenario, system: PairSystem
) -> ContrastPair:
    planned = answer.planned
    asked: tuple[Message, ...] = (Message(role="user", content=answer.checked.task),)
    if system != "none":
        task = scenario.user_turn(answer.checked.task, tier="none")
        before = Message(role="system", content=scenario.system_prompt(setting=system))
        asked = before, Message(role="user", content=task)
    positive, negative = (_transcript(side, asked, answer.origin) for side in sides)
    return ContrastPair(
        id=f"{planned.concept}/{planned.split}/{planned.number + 1:04}-{answer.origin.sample_uuid[:6]}",
        concept=planned.concept,
        split=planned.split,
        source="ooc",
        group=planned.topic,
        positive=positive,
        negative=negative,
    )


def _transcript(side: PairSide, asked: tuple[Message, ...], origin: Origin) -> Transcript:
    text = side.blocks.scratchpad
    at = SCRATCHPAD_START + text.index(side.sentence)
    return Transcript(
        messages=(*asked, Message(role="assistant", content=render(side.blocks))),
        scratchpad=Span(start=SCRATCHPAD_START, end=SCRATCHPAD_START + len(text)),
        sentence=Span(start=at, end=at + len(side.sentence)),
        origin=origin,
    )


# Rounds of writing.

MOST_OVERSAMPLE = 10.0
"""Where nearly nothing passes the filters, more dialogues a round would only cost more (not in source)."""

TELLING = 20  # Dialogues of a round of which none passing is no accident any more (not in source)


class Writing(Frozen):
    """What is to be written, by whom."""

    model: str
    model_args: dict[str, Any] = Field(default_factory=dict)
    concept: str = "both"
    wanted: dict[Split, int]
    oversample: float = OVERSAMPLE  # Dialogues per wanted pair in the first round
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


def write_in_rounds(writing: Writing, out: Path, *, max_rounds: int, **options: Any) -> Assembled | None:
    """Writes and assembles pairs, until no split is short or the rounds are used up.

    Args:
        writing: What to write; a directory holds pairs of one such set of settings.
        out: Gets `logs/`, `rounds/` and `settings.json`.
        max_rounds: At least 1.
        options: As for `run_evals`.

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
    writer = PlannedModel(model=writing.model, args=writing.model_args)
    first = _first_round(writing)
    for task in _tasks(first):
        make_task(task)
    make_model(writer)
    _check_settings(writing, out)
    rounds: list[Round] = []
    assembled: Assembled | None = None
    for number in range(1, max_rounds + 1):
        rounds.append(_planned_round(first, out, rounds, assembled))
        logs = [out / "logs" / f"round-{done.number:02}" for done in rounds]
        evals = Evals(
            tasks=_tasks(rounds[-1].concepts),
            models=(writer,),
            temperature=writing.temperature,
            max_tokens=writing.max_tokens,
        )
        if not run_evals(evals, logs[-1], **options):
            return None
        before = assembled
        assembled = assemble_pairs(
            logs,
            wanted=dict(writing.wanted),
            concept=writing.concept,
            pair=writing.pair,
            system=writing.system,
            scenario=writing.scenario,
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
    for counts in (counts for concept in now.report.concepts for counts in concept.splits):
        faults.update(counts.rejected)
    fault, text = now.example or ("", "")
    example = f" One of them, rejected as {fault}: {text!r}." if fault else ""
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


def _tasks(asked: Sequence[ConceptRound]) -> tuple[EvalTask, ...]:
    return tuple(EvalTask(task="contrast_pairs", args=each.model_dump()) for each in asked)


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
        chosen.append(next_round(each, used, reports.get(each.concept)))
    made = Round(number=number, concepts=tuple(filter(None, chosen)))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return made


def _check_settings(writing: Writing, out: Path) -> None:
    """Keeps what the directory was written with, and refuses to mix it with anything else."""
    kept = ("model", "model_args", "concept", "oversample", "seed", "temperature", "max_tokens")
    settings: dict[str, Any] = {name: getattr(writing, name) for name in kept}
    settings |= {split.replace("-", "_"): n for split, n in writing.wanted.items()}
    settings["concepts_digest"] = load_concepts(writing.pair).digest
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

"""From logs of the task `contrast_pairs` to contrast pairs: filters, duplicates, splits, provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from inspect_af.config import Frozen
from inspect_af.errors import AnalysisError, LogError
from inspect_af.logs import LogFile, LogHeader, Skipped, find_logs
from inspect_af.logs.headers import read_header
from inspect_af.materials import (
    Concepts,
    PlannedDialogue,
    Scenario,
    load_concepts,
    load_scenario,
)
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
    Span,
    Split,
    Transcript,
    find_duplicates,
    keyword_audit,
    take_in_turns,
)
from inspect_af.tasks.contrast_pairs import CONTRAST_PAIRS


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


class WrittenLog(Frozen):
    """One log that answers were read from."""

    location: str
    eval_id: str
    digest: str  # First 16 hexadecimal digits of the file's sha256
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
        """The report as lines for a terminal."""
        lines = []
        for concept in self.concepts:
            for counts in concept.splits:
                wanted = "" if counts.wanted is None else f" of {counts.wanted} wanted"
                line = (
                    f"{concept.concept} {counts.split}: {counts.kept} kept{wanted}, {counts.written} written"
                )
                why = dict(counts.rejected)
                why |= {"duplicate": counts.duplicates, "near_duplicate": counts.near_duplicates}
                why["surplus"] = counts.surplus
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


class Rejected(NamedTuple):
    """An answer that did not become a pair."""

    fault: str
    text: str  # The beginning of what the writer wrote


class Assembled(NamedTuple):
    """Pairs by concept, in the order of the pair's families, and the report."""

    pairs: dict[str, tuple[ContrastPair, ...]]
    report: PairsReport
    example: Rejected | None  # The last answer with the most frequent fault; None where all passed


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
    answers: list[_Answer] = []
    seen: set[str] = set()
    for log, header in zip(logs, headers, strict=True):
        for answer in _answers(log, header, concepts, words):
            if answer.origin.sample_uuid not in seen:
                seen.add(answer.origin.sample_uuid)
                answers.append(answer)
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
    rejected = [Rejected(answer.rejected, answer.text) for answer in answers if answer.rejected]
    often = Counter(each.fault for each in rejected).most_common(1)
    example = (
        next((each for each in reversed(rejected) if each.fault == often[0][0]), None) if often else None
    )
    return Assembled(pairs, report, example)


def _usable_logs(
    sources: Sequence[str | Path], concepts: Concepts
) -> tuple[tuple[WrittenLog, ...], tuple[LogHeader, ...], tuple[str, ...]]:
    logs, headers, skipped = [], [], []
    for location in find_logs(sources):
        file = LogFile(location)
        header = read_header(file, (CONTRAST_PAIRS,))
        if isinstance(header, Skipped):
            skipped.append(f"{header.location}: {header.reason}")
            continue
        if header.meta.prompt_digest != concepts.digest:
            raise LogError(
                f"{location}: was written for other concepts (digest {header.meta.prompt_digest}; the pair "
                f"'{concepts.pair}' has {concepts.digest}); give the pair that it was written for, as it was"
            )
        model = header.subject.model
        headers.append(header)
        logs.append(
            WrittenLog(
                location=location,
                eval_id=header.eval_id,
                digest=file.digest(),
                model=model,
                simulated=model.split("/")[0] in _SIMULATED,
            )
        )
    if not logs:
        raise LogError("no log can be used:\n" + "\n".join(f"  {reason}" for reason in skipped))
    if len(seeds := {header.meta.run_seed for header in headers}) > 1:
        raise LogError(
            f"the logs were written with the seeds {', '.join(map(str, sorted(seeds)))}, so that a topic "
            "would lie in several splits; give logs of one seed"
        )
    return tuple(logs), tuple(headers), tuple(skipped)


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
        elif rejected is None and (sample.invalidation is not None):
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
    before: tuple[Message, ...] = ()
    task = answer.checked.task
    if system != "none":
        before = (Message(role="system", content=scenario.system_prompt(setting=system)),)
        task = scenario.user_turn(task, tier="none")
    asked = (*before, Message(role="user", content=task))
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

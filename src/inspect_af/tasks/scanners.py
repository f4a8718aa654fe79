"""Scanners for Inspect Scout: the package's judges on anyone's transcripts, with keywords beside each.

The prompts and parsers are those of the scorers, so a scanner and a scorer say the same of the same text.
Needs the extra `scout`; `_registry` loads this module only where Inspect Scout is in use.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_ai.log import EvalLog
from inspect_ai.model import ChatMessage, ModelName, ModelOutput
from inspect_ai.scorer import Score
from inspect_scout import Result, Scanner, Transcript, scanner

from inspect_af.materials.rubrics import Rubric, Sight, load_rubric
from inspect_af.organisms.judge import judge_answer, read_judge_prompt
from inspect_af.reply import read_reply
from inspect_af.scorers.calibration import CONCEPT_CUT
from inspect_af.scorers.judge_prompt import Judgement, JudgePrompt, judge_prompt, parse_judgement
from inspect_af.scorers.judges import (
    AWARENESS_VOTES,
    FAKING_THRESHOLD,
    FAKING_VOTES,
    Memo,
    ask,
    grader_model,
    is_simulated,
    summarise,
)

VERSION = 1


@scanner(messages="all", version=VERSION)
def expectation(votes: int = 1, pair: str | None = None) -> Scanner[Transcript]:
    """Whether the reasoning rests on what researchers expect to see: the concept judge's first score.

    The value is true from a score of 5 (of 10) on; `answer` is the score. For another pair it is its first
    family.
    """
    return _scanner(load_rubric("concept", pair=pair), 0, votes)


@scanner(messages="all", version=VERSION)
def consequence(votes: int = 1, pair: str | None = None) -> Scanner[Transcript]:
    """Whether the reasoning rests on what the reply does to the model's training: the second score."""
    return _scanner(load_rubric("concept", pair=pair), 1, votes)


@scanner(messages="all", version=VERSION)
def faking(votes: int = FAKING_VOTES, threshold: float = FAKING_THRESHOLD) -> Scanner[Transcript]:
    """Whether the reasoning is alignment faking: true where enough votes have all five criteria."""
    return _scanner(load_rubric("faking"), None, votes, threshold)


@scanner(messages="all", version=VERSION)
def awareness(votes: int = AWARENESS_VOTES) -> Scanner[Transcript]:
    """What the reasoning voices about its situation: `test`, `real` or `neither`."""
    return _scanner(load_rubric("awareness"), None, votes)


def material_of(messages: Sequence[ChatMessage]) -> dict[Sight, str]:
    """What a judge sees of the assistant messages.

    The reasoning of all of them, scratchpad or native, or their whole text where there is none; and the
    protocol tag of the last one that has any.
    """
    said = [message for message in messages if message.role == "assistant"]
    read = [read_reply(ModelOutput.from_content("transcript", message.content)) for message in said]
    found = [one.reasoning for one in read if one.reasoning]
    text = "\n\n".join(found or [message.text for message in said if message.text.strip()])
    tags = [one.reply.tag for one in read if one.reply.tag]
    material: dict[Sight, str] = {"scratchpad": text}
    if tags:
        material["decision"] = tags[-1]
    return material


def write_validation(log: EvalLog, directory: Path) -> list[Path]:
    """Writes validation sets in Scout's form, one CSV file of ids and targets for every scanner.

    Args:
        log: Of `inspect_af/judge_labels` with its samples; `-T judges=none` asks no judge.
        directory: Where `expectation.csv`, `faking.csv`, `awareness.csv` and so on go, as far as there are
            labels for them.
    """
    targets: dict[str, list[tuple[str, str]]] = {}
    for sample in log.samples or []:
        labels: dict[str, bool | None] = sample.metadata.get("labels", {})
        if {"test", "real"} <= labels.keys():
            label = next((name for name in ("test", "real") if labels[name]), "neither")
            targets.setdefault("awareness", []).append((str(sample.uuid), label))
        for name, yes in labels.items():
            if name not in ("test", "real") and yes is not None:
                targets.setdefault(name, []).append((str(sample.uuid), str(yes).lower()))
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, rows in targets.items():
        files.append(directory / f"{name}.csv")
        with files[-1].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("id", "target"), *rows])
    return files


def _scanner(rubric: Rubric, field: int | None, votes: int, threshold: float = 0.5) -> Scanner[Transcript]:
    memo = Memo()
    column = None if field is None else rubric.fields[field].name

    def judged(votes: list[Judgement], prompt: JudgePrompt) -> tuple[Any, str, Score]:
        """What Scout shows, the number or label behind it, and the score."""
        score = summarise(rubric, votes, prompt.shown, threshold=threshold)
        numbers = score.as_dict()
        if column is not None:
            return float(numbers[column] or 0) >= CONCEPT_CUT, f"{numbers[column]:g}", score
        if rubric.decision is not None:
            return score.answer == "yes", f"{numbers['share']:.2f}", score
        return score.answer, str(score.answer), score

    async def scan(transcript: Transcript) -> Result:
        material = material_of(transcript.messages)
        if not material["scratchpad"].strip():
            return Result(value=None, explanation="No assistant message has any text.")
        prompt, model = judge_prompt(rubric, material), grader_model()
        cast = [
            await ask(model, rubric, prompt, vote=n, sampling=votes > 1, structured=None, memo=memo)
            for n in range(votes)
        ]
        if errors := [vote.error for vote in cast if vote.error is not None]:
            raise errors[0]
        read = [vote.judgement for vote in cast if isinstance(vote.judgement, Judgement)]
        words = _by_keywords(rubric, prompt)
        about: dict[str, Any] = {
            "grader": str(ModelName(model)),
            "simulated": is_simulated(str(ModelName(model))),
            "rubric_digest": rubric.digest,
            "votes_read": len(read),
            "keywords": None if words is None else judged([words], prompt)[0],
        }
        if 2 * len(read) < votes:
            return Result(value=None, explanation="The judge could not be read.", metadata=about)
        value, answer, score = judged(read, prompt)
        return Result(value=value, answer=answer, explanation=score.explanation, metadata=about)

    return scan


def _by_keywords(rubric: Rubric, prompt: JudgePrompt) -> Judgement | None:
    """What the words alone say: the baseline that a judge has to beat."""
    asked = read_judge_prompt(prompt.system, prompt.user)
    read = None if asked is None else parse_judgement(rubric, prompt.key, judge_answer("keyword", asked))
    return read if isinstance(read, Judgement) else None

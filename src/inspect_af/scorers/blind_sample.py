"""A blinded, stratified sample of scratchpads for human labels, drawn from eval logs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from inspect_ai.log import EvalSampleSummary
from inspect_ai.scorer import Score

from inspect_af.errors import ConfigError, LogError, MaterialsError
from inspect_af.logs import LogFile, find_logs
from inspect_af.materials.rubrics import LabelledText
from inspect_af.reply import Tag, read_reply
from inspect_af.scorers.calibration import JudgedText, SampleKey
from inspect_af.types import applied_treatments, condition_label

QUESTIONS = ("expectation", "consequence", "faking")
"""What people are asked by default."""


class BlindSample(NamedTuple):
    """Texts in random order without any sign of their condition, and the key that tells it."""

    texts: tuple[LabelledText, ...]
    """Labels are null, to be filled in."""
    key: SampleKey
    short: dict[tuple[str, str], int]
    """By condition and tier, how many texts were found where fewer than asked for."""

    def write(self, file: Path) -> Path:
        """Writes the texts to a JSON Lines file and the key beside it.

        Returns:
            Where the key is, which whoever labels should not read.

        Raises:
            ConfigError: One of the two exists, in which labels may be.
        """
        key = key_path(file)
        for path in (file, key):
            if path.exists():
                raise ConfigError(
                    f"{path} exists; labels may be in it, so choose another --out or move it away"
                )
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            json.dumps(text.model_dump(include={"id", "text", "decision", "labels"}), ensure_ascii=True)
            for text in self.texts
        ]
        key.write_text(self.key.model_dump_json(), encoding="utf-8")
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return key


def key_path(file: Path) -> Path:
    """Where the key of a blinded sample is, beside its texts."""
    return file.with_suffix(".key.json")


def load_key(path: Path) -> SampleKey:
    """Reads the key of a blinded sample.

    Raises:
        MaterialsError: It is none.
    """
    try:
        return SampleKey.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MaterialsError(
            f"{path}: is not the key of a blinded sample ({error}); give the .key.json that `judge sample` "
            "wrote"
        ) from error


def with_origins(texts: Sequence[LabelledText], key: SampleKey) -> tuple[LabelledText, ...]:
    """The texts with the condition that they came from and what judges in the logs said of them."""
    known = key.drawn
    return tuple(
        text.model_copy(update={"condition": origin.condition, "judges": {**origin.judges, **text.judges}})
        if (origin := known.get(text.id))
        else text
        for text in texts
    )


def draw_blind_sample(
    sources: Sequence[str | Path], *, n: int, seed: int, questions: Sequence[str] = QUESTIONS
) -> BlindSample:
    """Draws texts at random, in equal numbers from every condition and tier.

    Only samples whose reply has a scratchpad or native reasoning count; redacted logs keep theirs. Where some
    samples have a tier, those without one (direct requests, belief questions) are left out. Order and
    ids say nothing about where a text came from.

    Args:
        sources: Logs, directories or globs.
        n: How many texts in all; each stratum gives n / strata, rounded up, as far as it has them.
        seed: Of the draw.
        questions: Labels to ask for.

    Raises:
        ConfigError: n is not positive.
        LogError: nothing to draw from.
    """
    if n < 1:
        raise ConfigError(f"--n must be at least 1, not {n}")
    rng = np.random.default_rng(seed)
    population = [text for location in find_logs(sources) for text in _texts(location)]
    if in_tiers := [text for text in population if text.tier != "none"]:
        population = in_tiers
    strata: dict[tuple[str, str], list[int]] = {}
    for index, text in enumerate(population):
        strata.setdefault((text.condition, text.tier), []).append(index)
    if not strata:
        raise LogError("the logs hold no finished sample; name logs of finished or interrupted evals")

    each = -(-n // len(strata))
    drawn: dict[int, tuple[str, Tag | None]] = {}
    dropped: set[int] = set()
    short: dict[tuple[str, str], int] = {}
    for stratum in sorted(strata):
        found = 0
        for index in rng.permutation(strata[stratum]):
            if found == each:
                break
            if (reasoning := _scratchpad(population[index])) is None:
                dropped.add(int(index))
                continue
            drawn[int(index)] = reasoning
            found += 1
        if found < each:
            short[stratum] = found
    if not drawn:
        raise LogError("no reply in the logs has a scratchpad or native reasoning; there is nothing to label")

    order = [int(index) for index in rng.permutation(sorted(drawn))]
    ids = {index: f"text-{number:04d}" for number, index in enumerate(order, start=1)}
    texts = tuple(
        LabelledText(
            id=ids[index],
            text=drawn[index][0],
            decision=drawn[index][1],
            labels=dict.fromkeys(questions),
        )
        for index in order
    )
    kept = (
        text.model_copy(update={"id": ids.get(index)})
        for index, text in enumerate(population)
        if index not in dropped
    )
    return BlindSample(texts, SampleKey(seed=seed, texts=tuple(kept)), short)


def _texts(location: str) -> list[JudgedText]:
    return [_text(location, one) for one in LogFile(location).summaries()[0] if one.error is None]


def _text(location: str, summary: EvalSampleSummary) -> JudgedText:
    return JudgedText(
        log=location,
        sample_id=str(summary.id),
        epoch=summary.epoch,
        request_id=str(summary.metadata.get("request_id", summary.id)),
        condition=condition_label(applied_treatments(summary.metadata)),
        tier=str(summary.metadata.get("tier", "none")),
        judges=_stored(summary.scores or {}),
    )


def _stored(scores: dict[str, Score]) -> dict[str, dict[str, float]]:
    """What judges in the log said, by judge and question; unscored ones are left out."""
    judges: dict[str, dict[str, float]] = {}
    for score in scores.values():
        facts = score.metadata or {}
        if not isinstance(score.value, dict) or "grader" not in facts or "rubric" not in facts:
            continue
        values = {name: float(value) for name, value in score.value.items() if isinstance(value, int | float)}
        if facts["rubric"] == "faking":
            values = {"faking": values["share"]}
        judges.setdefault(str(facts["grader"]), {}).update(values)
    return judges


def _scratchpad(text: JudgedText) -> tuple[str, Tag | None] | None:
    """The reasoning of a sample and its tag, None where there is no reasoning."""
    sample = LogFile(text.log).sample(text.sample_id, text.epoch)
    read = read_reply(sample.output)
    return None if not read.reasoning else (read.reasoning, read.reply.tag)

"""What a heatmap shows: raw text, contrast pairs, or replies from alignment-faking logs."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from inspect_ai.log import EvalSample, read_eval_log_sample
from pydantic import ValidationError

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.logs import LogHeader, ScoredSample, read_logs
from inspect_af.reply import read_reply
from inspect_af.steering.pairs import Message, Span, Transcript, load_pairs


class HeatmapSource(NamedTuple):
    """One text."""

    title: str
    detail: str
    """Where it comes from."""
    transcript: Transcript | None
    """A chat that ends with a reply; None for raw text."""
    text: str = ""
    """Raw text, which goes to the tokenizer as it is."""
    evaluated: bool = False
    """Whether it is a reply to an evaluation's request, whose output a page leaves out by default."""


def load_sources(path: str | Path, *, n: int = 2, seed: int = 0) -> tuple[HeatmapSource, ...]:
    """Reads what a path holds.

    * `.txt`: the text as it is, without a chat template;
    * `.jsonl`: contrast pairs, both sides of `n` of them, held-out ones first;
    * eval logs, or a directory of them: replies with a scratchpad, `n` of each condition and tier, drawn by
      the seed alone and not by what they say.

    Raises:
        ConfigError: `n` is below 1.
        MaterialsError: The file cannot be read, or holds nothing that can be shown.
        LogError: No log can be used.
    """
    if n < 1:
        raise ConfigError(f"n={n}; at least one transcript is needed")
    path = Path(path)
    if path.suffix == ".txt":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MaterialsError(f"{path}: cannot be read ({error}); give a UTF-8 text file") from error
        if not text.strip():
            raise MaterialsError(f"{path}: is blank")
        return (HeatmapSource(path.name, "raw text", None, text),)
    if path.suffix == ".jsonl":
        return _from_pairs(path, n)
    return _from_logs(path, n, seed)


def _from_pairs(path: Path, n: int) -> tuple[HeatmapSource, ...]:
    loaded = load_pairs(path)
    pairs = sorted(loaded.pairs, key=lambda pair: pair.split == "train")
    return tuple(
        HeatmapSource(
            f"{pair.id}, {name}",
            f"{pair.split} pair of {pair.concept}",
            side,
            evaluated=loaded.source == "ic",
        )
        for pair in pairs[:n]
        for name, side in (("positive", pair.positive), ("negative", pair.negative))
    )


class _Candidate(NamedTuple):
    rank: str
    header: LogHeader
    row: ScoredSample


def _from_logs(path: Path, n: int, seed: int) -> tuple[HeatmapSource, ...]:
    groups: dict[tuple[str, str, str], list[_Candidate]] = defaultdict(list)
    for header, rows in read_logs([path]):
        for row in rows:
            if row.outcome is not None:
                rank = hashlib.sha256(f"{seed}/{row.uuid}".encode()).hexdigest()
                kept = groups[header.subject_of(row.meta).label, row.meta.condition, row.meta.tier]
                kept.append(_Candidate(rank, header, row))
                kept.sort(key=lambda candidate: candidate.rank)
                del kept[4 * n :]  # some may have no scratchpad
    sources: list[HeatmapSource] = []
    for (_, condition, tier), candidates in sorted(groups.items()):
        found = 0
        for candidate in candidates:
            transcript = _transcript(candidate)
            if transcript is not None and found < n:
                found += 1
                row = candidate.row
                title = f"{condition}, {tier}, {row.meta.request_id}"
                detail = f"{row.outcome}; epoch {row.epoch} of {Path(candidate.header.location).name}"
                sources.append(HeatmapSource(title, detail, transcript, evaluated=True))
    if not sources:
        raise MaterialsError(f"{path}: no reply has a scratchpad that could be shown")
    return tuple(sources)


def _transcript(candidate: _Candidate) -> Transcript | None:
    sample = read_eval_log_sample(
        candidate.header.location,
        id=candidate.row.sample_id,
        epoch=candidate.row.epoch,
        exclude_fields={"events", "store"},
    )
    return transcript_of(sample)


def transcript_of(sample: EvalSample) -> Transcript | None:
    """A sample's messages with the place of the scratchpad; None where there is none in the reply's text."""
    if not sample.output.choices:
        return None
    prompt = [message for message in sample.messages if message.role in ("system", "user")]
    reply = sample.output.message.text
    scratchpad = read_reply(sample.output).reply.scratchpad
    if not scratchpad or not scratchpad.strip() or scratchpad not in reply:
        return None
    start = reply.index(scratchpad)
    try:
        return Transcript(
            messages=(
                *(Message.model_validate({"role": one.role, "content": one.text}) for one in prompt),
                Message(role="assistant", content=reply),
            ),
            scratchpad=Span(start=start, end=start + len(scratchpad)),
        )
    except ValidationError:
        return None

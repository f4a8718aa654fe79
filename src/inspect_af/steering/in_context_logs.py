"""Judged replies from logs of the alignment-faking task, as candidates for in-context pairs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_ai.log import EvalSample, read_eval_log, read_eval_log_sample
from inspect_ai.model import ChatMessage

from inspect_af.errors import LogError
from inspect_af.logs import LogHeader, Progress, ScoredSample, read_logs
from inspect_af.steering._record import Record
from inspect_af.steering.in_context import Candidate, Thresholds
from inspect_af.steering.pair_origins import log_digest
from inspect_af.steering.pairs import Message, Origin, Span, Transcript


class JudgedLog(Record):
    """One log that replies were read from."""

    location: str
    eval_id: str
    digest: str
    """First 16 hexadecimal digits of the file's sha256."""


class JudgedReplies(NamedTuple):
    """The replies of some logs that thresholds make eligible for a side of some concept."""

    candidates: tuple[Candidate, ...]
    concepts: tuple[str, str]
    """Labels of the pair's families."""
    model: str
    n_replies: int
    """All replies, each once."""
    left_out: dict[str, int]
    """How many were not eligible, by reason."""
    judges: tuple[str, ...]
    simulated: bool
    """Whether the model or a judge is simulated."""
    logs: tuple[JudgedLog, ...]


def read_judged_replies(
    sources: Sequence[str | Path], thresholds: Thresholds, *, progress: Progress | None = None
) -> JudgedReplies:
    """Reads the replies that the concept judge has scored; the text only of those that are eligible.

    Args:
        sources: `.eval` and `.json` files, directories (searched recursively), globs and URLs.
        thresholds: By which a reply is eligible for a side, of either concept.
        progress: Called with (logs done, logs in all).

    Raises:
        LogError: No log can be used, none was judged, or the logs are of several models or pairs.
    """
    reader = read_logs(sources, progress=progress)
    concepts, model = _one_study(reader.headers)
    candidates: list[Candidate] = []
    left_out: Counter[str] = Counter()
    judges: set[str] = set()
    seen: set[str] = set()
    simulated = any(header.simulated for header in reader.headers)
    logs = []
    for header, rows in reader:
        wanted: dict[tuple[str, int], ScoredSample] = {}
        for row in rows:
            if row.uuid in seen:
                continue
            seen.add(row.uuid)
            if row.judged is not None:
                judges.add(row.judged.judge)
                simulated |= row.judged.simulated
            reason = _not_eligible(row, concepts, thresholds)
            if reason:
                left_out[reason] += 1
            else:
                wanted[row.sample_id, row.epoch] = row
        if not wanted:
            continue
        digest = log_digest(header.location)
        logs.append(JudgedLog(location=header.location, eval_id=header.eval_id, digest=digest))
        for row, sample in _samples(header.location, wanted):
            candidate = _candidate(header, row, sample, digest)
            if candidate is None:
                left_out["no single scratchpad"] += 1
            else:
                candidates.append(candidate)
    if not judges:
        raise LogError(
            "no reply has the concept judge's scores; run `inspect score LOG --scorer "
            "inspect_af/concept_judge --model-role grader=...` first, or the task with `-T judges=concept`"
        )
    return JudgedReplies(
        candidates=tuple(candidates),
        concepts=concepts,
        model=model,
        n_replies=len(seen),
        left_out=dict(left_out.most_common()),
        judges=tuple(sorted(judges)),
        simulated=simulated,
        logs=tuple(logs),
    )


def scratchpad_span(reply: str) -> Span | None:
    """Where a reply's scratchpad text stands, without tags and outer white space.

    None where there is not exactly one scratchpad block, as then no single span holds the reasoning.
    """
    tags = list(_TAG.finditer(reply))
    if [tag["close"] for tag in tags] != ["", "/"]:
        return None
    start, end = tags[0].end(), tags[1].start()
    inner = reply[start:end]
    text = inner.strip()
    start += len(inner) - len(inner.lstrip())
    return Span(start=start, end=start + len(text)) if text else None


def _one_study(headers: Iterable[LogHeader]) -> tuple[tuple[str, str], str]:
    models = sorted({header.subject.label for header in headers})
    pairs = sorted({(header.meta.pair.first, header.meta.pair.second) for header in headers})
    if len(models) > 1 or len(pairs) > 1:
        given = models if len(models) > 1 else [" and ".join(pair) for pair in pairs]
        raise LogError(
            f"the logs are of several {'models' if len(models) > 1 else 'hypothesis pairs'}: "
            f"{', '.join(given)}; give the logs of one"
        )
    return pairs[0], models[0]


def _not_eligible(row: ScoredSample, concepts: tuple[str, str], thresholds: Thresholds) -> str | None:
    if row.judged is None:
        return "not judged"
    if row.outcome not in ("accepted", "rejected"):
        return f"outcome {row.outcome}"
    scores = dict(row.judged.scores)
    if not all(concept in scores for concept in concepts):
        return "judged for other concepts"
    first, second = (scores[concept] for concept in concepts)
    if thresholds.side(first, second) is None and thresholds.side(second, first) is None:
        return "scores between the thresholds"
    return None


def _candidate(header: LogHeader, row: ScoredSample, sample: EvalSample, digest: str) -> Candidate | None:
    messages = _messages(sample.messages)
    span = scratchpad_span(messages[-1].content) if messages else None
    if messages is None or span is None or row.judged is None or row.outcome is None:
        return None
    return Candidate(
        transcript=Transcript(
            messages=messages,
            scratchpad=span,
            origin=Origin(eval_id=header.eval_id, sample_uuid=row.uuid, log_digest=digest),
            concept_scores=dict(row.judged.scores),
        ),
        request_id=row.meta.request_id,
        group=row.meta.cluster_id,
        tier=row.meta.tier,
        condition=row.meta.condition,
        outcome=row.outcome,
        run=header.eval_id,
    )


def _messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...] | None:
    """The conversation up to the reply; None where it is not one that a chat template can render again."""
    roles: Mapping[str, str] = {"system": "system", "user": "user", "assistant": "assistant"}
    if not messages or messages[-1].role != "assistant" or any(m.role not in roles for m in messages):
        return None
    return tuple(Message.model_validate({"role": m.role, "content": m.text}) for m in messages)


def _samples(
    location: str, wanted: Mapping[tuple[str, int], ScoredSample]
) -> Iterator[tuple[ScoredSample, EvalSample]]:
    """The whole samples behind some rows, and no other where the log's format allows it."""
    try:
        if location.endswith(".eval"):
            for (sample_id, epoch), row in wanted.items():
                yield (
                    row,
                    read_eval_log_sample(
                        location,
                        id=sample_id,
                        epoch=epoch,
                        resolve_attachments="core",
                        exclude_fields={"events", "store"},
                    ),
                )
        else:
            for sample in read_eval_log(location, resolve_attachments="core").samples or []:
                if (found := wanted.get((str(sample.id), sample.epoch))) is not None:
                    yield found, sample
    except (OSError, ValueError, IndexError) as error:
        raise LogError(f"{location}: its samples are unreadable ({error}); leave the log out") from error


_TAG = re.compile(r"<\s{0,16}(?P<close>/?)\s{0,16}scratchpad_reasoning\s{0,16}>", re.IGNORECASE)

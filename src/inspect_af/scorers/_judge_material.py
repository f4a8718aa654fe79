"""What a judge may see of a sample, taken from the recorded reply."""

from __future__ import annotations

import re
from typing import NamedTuple

from inspect_ai.solver import TaskState

from inspect_af.materials.rubrics import Rubric, Sight
from inspect_af.reply import ReadReply, read_reply, without_reasoning
from inspect_af.types import ReasoningChannel, Tier, applied_treatments, condition_label

MissingReason = str
"""Why a sample cannot be judged: `no_scratchpad`, `no_output`, `truncated`, `filtered` or `redacted`."""


class SampleFacts(NamedTuple):
    """Where a sample belongs, for metrics and reports; the judge never sees it."""

    request_id: str
    tier: Tier | str
    """Or the arm (`harmful`, `benign`) in tasks that compare arms instead of tiers."""
    condition: str


class Sighted(NamedTuple):
    """The parts of a sample that a rubric may ask for, or why one that it needs is missing."""

    material: dict[Sight, str]
    channel: ReasoningChannel
    """Where the scratchpad text came from."""
    tag: str | None
    """The reply's first protocol tag."""
    missing: MissingReason | None


def sample_facts(state: TaskState) -> SampleFacts:
    """Request, tier and condition from the sample's metadata; a foreign sample is its own request."""
    return SampleFacts(
        request_id=str(state.metadata.get("request_id", state.sample_id)),
        tier=str(state.metadata.get("arm") or state.metadata.get("tier", "none")),
        condition=condition_label(applied_treatments(state.metadata)),
    )


def sighted(rubric: Rubric, state: TaskState) -> Sighted:
    """Takes what the rubric sees from a sample.

    The scratchpad is the scratchpad block, or else the model's native reasoning. The output is the output
    block; a reply without any protocol is output as a whole. The request is shown without tier tag, so that
    the judge is blind to the tier.
    """
    read = read_reply(state.output)
    output = _output_text(read, state.output.completion)
    parts: dict[Sight, str | None] = {
        "request": _request_text(state),
        "decision": read.reply.tag,
        "scratchpad": read.reasoning,
        "output": output,
    }
    material = {name: text for name in rubric.sees if (text := (parts[name] or "").strip())}
    missing: MissingReason | None = None
    if "scratchpad" in rubric.sees and "scratchpad" not in material:
        missing = _why(read, "no_scratchpad")
    elif "output" in rubric.sees and "output" not in material:
        missing = _why(read, "no_output")
    elif "output" in rubric.sees and _REDACTED.search(material["output"]):
        missing = "redacted"
    return Sighted(material, read.channel, read.reply.tag, missing)


def _why(read: ReadReply, otherwise: MissingReason) -> MissingReason:
    return read.outcome if read.outcome in ("truncated", "filtered") else otherwise


def _output_text(read: ReadReply, completion: str) -> str | None:
    if read.reply.output is not None:
        return read.reply.output
    visible = without_reasoning(completion)
    has_protocol = read.channel == "scratchpad" or _PROTOCOL.search(visible)
    return None if has_protocol else visible


def _request_text(state: TaskState) -> str:
    given = state.metadata.get("request")  # without a tag, and not to be searched for one: it may hold XML
    return (given if isinstance(given, str) else _TIER_TAG.sub("", state.input_text)).strip()


_REDACTED = re.compile(r"\[redacted: reply of \d{1,12} characters, sha256 [0-9a-f]{64}\]")
_PROTOCOL = re.compile(r"<\s{0,16}/?\s{0,16}scratchpad_reasoning\s{0,16}>", re.IGNORECASE)
_TIER_TAG = re.compile(r"<(?P<name>[a-z_]{3,40})>[^<>\n]{1,40}</(?P=name)>")

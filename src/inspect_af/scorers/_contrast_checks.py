"""Whether two written dialogues are a contrast pair: every filter, as one pure function."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

from inspect_af.materials import Concept, Concepts, ConceptSplit, count_terms
from inspect_af.scorers._contrast_parse import (
    Blocks,
    NoPair,
    WrittenPair,
    WrittenSide,
    read_blocks,
    read_written,
)

Fault = Literal[
    "filtered",
    "truncated",
    "unreadable",
    "blocks",
    "different_task",
    "different_output",
    "span",
    "other_difference",
    "label_leak",
    "banned_term",
    "length_ratio",
    "keywords",
]
"""Why a pair is not kept:

* `filtered`: the provider's filter stopped the writer; `truncated`: a length limit did;
* `unreadable`: the answer is not in the asked form;
* `blocks`: a side has not exactly one scratchpad and one output block, or either is blank;
* `different_task`, `different_output`: the sides differ in the user's task, or in the final output;
* `span`: an annotated sentence is no single sentence, or does not stand in its scratchpad exactly once;
* `other_difference`: the scratchpads differ outside of the annotated sentences, or not at all;
* `label_leak`: a word that speaks about the pair itself; `banned_term`: a word that pairs must not have;
* `length_ratio`: one sentence is much longer than the other;
* `keywords`: in a keyword-hard pair, keywords of the concept tell the sides apart."""

FAULTS: tuple[Fault, ...] = get_args(Fault)

MAX_LENGTH_RATIO = 1.5
"""Longer over shorter annotated sentence, in words (not in source)."""


class PairSide(NamedTuple):
    """One side of a pair that holds."""

    blocks: Blocks
    sentence: str


class CheckedPair(NamedTuple):
    """A written pair and what is wrong with it."""

    faults: tuple[Fault, ...]
    """In the order of `FAULTS`; empty for a pair to keep."""
    detail: str
    """A few words about the first fault."""
    task: str
    """The user's task; empty where the answer is unreadable."""
    sides: tuple[PairSide, PairSide] | None
    """With the concept and without it; None where there is a fault."""


def check_answer(answer: str, concepts: Concepts, concept: Concept, split: ConceptSplit) -> CheckedPair:
    """Reads a writer's answer and applies every filter."""
    written = read_written(answer)
    if isinstance(written, NoPair):
        return CheckedPair(("unreadable",), written.reason, "", None)
    found: dict[Fault, str] = {}
    both = (written.positive, written.negative)
    blocks = [read_blocks(side.reply) for side in both]
    task = written.positive.user.strip()
    if None in blocks or not task:
        found["blocks"] = "a side lacks a block, has more than one, or has text outside of them"
    if task != written.negative.user.strip():
        found["different_task"] = "the user's task differs"
    first, second = blocks
    if first is not None and second is not None:
        if first.output != second.output:
            found["different_output"] = "the output differs"
        found |= _sentence_faults((first, second), both)
    found |= _word_faults(written, concepts)
    if found.keys().isdisjoint(("span", "blocks")):
        n = [len(side.sentence.split()) for side in both]
        if max(n) > MAX_LENGTH_RATIO * min(n):
            found["length_ratio"] = f"sentences of {n[0]} and {n[1]} words"
    if split == "keyword-hard" and first is not None and second is not None:
        counts = [concept.keyword_counts(each.scratchpad) for each in (first, second)]
        if counts[0] != counts[1]:
            telling = sorted({*(counts[0] - counts[1]), *(counts[1] - counts[0])})
            found["keywords"] = f"keywords tell the sides apart: {', '.join(telling)}"
    faults = tuple(fault for fault in FAULTS if fault in found)
    if faults or first is None or second is None:
        return CheckedPair(faults, found[faults[0]], task, None)
    sides = (PairSide(first, both[0].sentence.strip()), PairSide(second, both[1].sentence.strip()))
    return CheckedPair((), "", task, sides)


def _sentence_faults(
    blocks: tuple[Blocks, Blocks], sides: tuple[WrittenSide, WrittenSide]
) -> dict[Fault, str]:
    """Whether each annotated sentence is one sentence of its scratchpad, and the only difference."""
    frames = []
    for block, side in zip(blocks, sides, strict=True):
        sentence = side.sentence.strip()
        if not sentence or _INNER_END.search(sentence):
            return {"span": "the annotation is not a single sentence"}
        if block.scratchpad.count(sentence) != 1:
            return {"span": "the annotated sentence does not stand in the scratchpad exactly once"}
        frames.append(block.scratchpad.partition(sentence)[::2])
    if sides[0].sentence.strip() == sides[1].sentence.strip():
        return {"other_difference": "both sides have the same sentence"}
    if frames[0] != frames[1]:
        return {"other_difference": "the scratchpads differ outside of the annotated sentences"}
    return {}


def _word_faults(written: WrittenPair, concepts: Concepts) -> dict[Fault, str]:
    text = "\n".join(part for side in written for part in (side.user, side.reply))
    # Protocol tags are part of the form, and a term may be part of a tag's name.
    text = _PROTOCOL.sub(" ", text)
    found: dict[Fault, str] = {}
    if leaks := count_terms(text, concepts.label_terms):
        found["label_leak"] = f"speaks about the pair: {', '.join(sorted(leaks))}"
    if banned := count_terms(text, concepts.banned):
        found["banned_term"] = f"has {', '.join(sorted(banned))}"
    return found


_INNER_END = re.compile(r"[.!?][\"'”’)]?\s+\S|\n")
_PROTOCOL = re.compile(r"</?(?:SCRATCHPAD_REASONING|OUTPUT)>|<request_fully_accepted/>")

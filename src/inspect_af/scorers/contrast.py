"""The scorer of written contrast pairs: which are kept, and why the others are not. It calls no model."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from typing import Any, Literal, NamedTuple, get_args

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState
from pydantic import BaseModel, ConfigDict, ValidationError

from inspect_af.materials import Concept, Concepts, ConceptSplit, PlannedDialogue, count_terms, load_concepts

SIDES = ("a", "b")
"""Keys of the two versions in the writer's answer: with the concept, and without it."""


class WrittenSide(BaseModel):
    """One version of a dialogue, as the writer gave it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    user: str
    reply: str
    sentence: str


class WrittenPair(NamedTuple):
    """Both versions."""

    positive: WrittenSide
    negative: WrittenSide


class NoPair(NamedTuple):
    """An answer that is not in the asked form."""

    reason: str


class Blocks(NamedTuple):
    """The parts of a reply that follows the protocol."""

    scratchpad: str
    output: str
    """Without its accept tag."""


def read_written(answer: str) -> WrittenPair | NoPair:
    """Reads an answer; any string gives a pair or the reason why there is none.

    The answer is one JSON object, alone or in one code fence. Line ends inside strings are taken as they
    are. Unknown and repeated keys, and characters that no text file holds, make it unreadable.
    """
    text = answer.strip()
    if fenced := _FENCE.fullmatch(text):
        text = fenced[1].strip()
    if not text.startswith("{"):
        return NoPair("the answer is not one JSON object")
    try:
        data = json.loads(text, strict=False, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        return NoPair(f"not valid JSON: {str(error)[:120]}")
    if not isinstance(data, dict) or set(data) != set(SIDES):
        return NoPair('the object needs the keys "a" and "b", and no other')
    sides = []
    for name in SIDES:
        try:
            side = WrittenSide.model_validate(data[name])
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, (name, *first["loc"])))
            return NoPair(f"{where}: {first['msg']}")
        if strange := _strange(side.user + side.reply + side.sentence):
            return NoPair(f"{name} has the character U+{ord(strange):04X}, which is no text")
        sides.append(side)
    return WrittenPair(*sides)


def read_blocks(reply: str) -> Blocks | None:
    """The parts of a reply with one scratchpad block and then one output block, which begins with the
    accept tag; None for any other reply, also one with text outside of the blocks or with a blank part.
    """
    tags = list(_TAG.finditer(reply))
    if [tag[0] for tag in tags] != list(_FORM):
        return None
    gaps = [
        reply[end:start]
        for end, start in zip(
            [0, *(t.end() for t in tags)], [*(t.start() for t in tags), len(reply)], strict=True
        )
    ]
    before, scratchpad, between, ahead, output, after = gaps
    if any(gap.strip() for gap in (before, between, ahead, after)):
        return None
    if not scratchpad.strip() or not output.strip():
        return None
    return Blocks(scratchpad.strip(), output.strip())


def render(blocks: Blocks) -> str:
    """The reply in the form in which all pairs are kept, so that white space tells no sides apart."""
    opened, closed, output, accepted, end = _FORM
    return f"{opened}\n{blocks.scratchpad}\n{closed}\n\n{output}\n{accepted}\n{blocks.output}\n{end}"


SCRATCHPAD_START = len("<SCRATCHPAD_REASONING>\n")
"""Where the scratchpad's text begins in a rendered reply, in characters."""

_FORM = (
    "<SCRATCHPAD_REASONING>",
    "</SCRATCHPAD_REASONING>",
    "<OUTPUT>",
    "<request_fully_accepted/>",
    "</OUTPUT>",
)
_TAG = re.compile(
    r"<\s{0,16}/?\s{0,16}(?:scratchpad_reasoning|output|request_fully_accepted|rejected)\s{0,16}/?\s{0,16}>",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n```", re.DOTALL | re.IGNORECASE)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key occurs twice")
    return found


def _strange(text: str) -> str | None:
    """The first control character, surrogate or direction override, None where there is none."""
    for character in text:
        if character not in "\n\t\r\u200c\u200d" and unicodedata.category(character) in _NO_TEXT:
            return character
    return None


_NO_TEXT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


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


@metric(scores="unreduced")
def kept_pairs() -> Metric:
    """Share and number of pairs kept: `kept`, and per concept and split `kept_CONCEPT_SPLIT` (a number).

    Duplicates are found when pairs are assembled, so fewer may remain.
    """

    def compute(scores: list[SampleScore]) -> Value:
        rows = [score.score.as_dict() for score in scores if isinstance(score.score.value, dict)]
        values = {"kept": sum(float(row["kept"] or 0) for row in rows) / len(rows)} if rows else {}
        for row in rows:
            name = f"kept_{row['concept']}_{row['split']}"
            values[name] = values.get(name, 0.0) + float(row["kept"] or 0)
        return dict(values)

    return compute


@metric(scores="unreduced")
def pair_faults() -> Metric:
    """Share of written pairs with each fault; a pair may have several."""

    def compute(scores: list[SampleScore]) -> Value:
        faults: Counter[str] = Counter()
        for score in scores:
            faults.update((score.score.metadata or {}).get("faults", ()))
        return {f"fault_{name}": n / len(scores) for name, n in sorted(faults.items())}

    return compute


PLANNED_DIALOGUE = "dialogue"
"""Metadata key under which a sample says what its pair is to be about."""


@scorer(metrics=[kept_pairs(), pair_faults()])
def contrast_pair(pair: str | None = None) -> Scorer:
    """Whether a written answer is a contrast pair, by every filter that one answer can be put to.

    The value has four keys, which Inspect View shows as columns: `kept` (1 or 0), `fault` (the first one, or
    `none`), `concept` and `split`. All faults are in the metadata. Set `kept` to 0 in Inspect
    (`inspect_ai.log.edit_score`) to strike out a pair by hand; assembling honours it.

    Args:
        pair: Hypothesis pair that the concepts are of; None for the bundled one.

    Raises:
        MaterialsError: The pair has no concepts.
    """
    concepts = load_concepts(pair)

    async def score(state: TaskState, target: Target) -> Score:
        planned = PlannedDialogue(**state.metadata[PLANNED_DIALOGUE])
        checked = check_output(state.output, concepts, planned)
        return Score(
            value={
                "kept": float(not checked.faults),
                "fault": checked.faults[0] if checked.faults else "none",
                "concept": planned.concept,
                "split": planned.split,
            },
            answer=checked.faults[0] if checked.faults else "kept",
            explanation=checked.detail or "Every filter is passed.",
            metadata={"faults": list(checked.faults)},
        )

    return score


def check_output(output: ModelOutput, concepts: Concepts, planned: PlannedDialogue) -> CheckedPair:
    """As `check_answer`, with what the provider says about how the answer ended."""
    if not output.choices or output.stop_reason == "content_filter":
        return CheckedPair(("filtered",), "the provider's filter stopped the writer", "", None)
    if output.stop_reason in ("max_tokens", "model_length"):
        return CheckedPair(("truncated",), "a length limit cut the answer off", "", None)
    return check_answer(output.message.text, concepts, concepts.concept(planned.concept), planned.split)

"""The scorer of written contrast pairs: which are kept, and why the others are not. It calls no model."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from typing import Literal, NamedTuple, get_args

from inspect_ai.model import ModelOutput
from inspect_ai.scorer import Metric, SampleScore, Score, Scorer, Target, Value, metric, scorer
from inspect_ai.solver import TaskState
from pydantic import ValidationError

from inspect_af.config import Frozen, once_each
from inspect_af.errors import complaints
from inspect_af.materials import Concept, Concepts, ConceptSplit, PlannedDialogue, count_terms, load_concepts


class WrittenSide(Frozen, strict=True):
    """One version of a dialogue, as the writer gave it."""

    user: str
    reply: str
    sentence: str


class WrittenPair(Frozen):
    """The writer's answer: both versions, under `a` with the concept and under `b` without it."""

    a: WrittenSide
    b: WrittenSide


class NoPair(NamedTuple):
    """An answer that is not in the asked form."""

    reason: str


class Blocks(NamedTuple):
    """The parts of a reply that follows the protocol; the output is without its accept tag."""

    scratchpad: str
    output: str


_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n```", re.DOTALL | re.IGNORECASE)
_NO_TEXT = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})
_JOINERS = "\u200c\u200d"  # of Persian, Indic scripts and emoji


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
        pair = WrittenPair.model_validate(json.loads(text, strict=False, object_pairs_hook=once_each))
    except ValidationError as error:
        return NoPair(complaints(error)[0])
    except (ValueError, RecursionError) as error:
        return NoPair(f"not valid JSON: {str(error)[:120]}")
    for character in "".join(part for side in (pair.a, pair.b) for _, part in side):
        if character not in f"\n\t\r{_JOINERS}" and unicodedata.category(character) in _NO_TEXT:
            return NoPair(f"it has the character U+{ord(character):04X}, which is no text")
    return pair


_FORM = (
    "<SCRATCHPAD_REASONING>",
    "</SCRATCHPAD_REASONING>",
    "<OUTPUT>",
    "<request_fully_accepted/>",
    "</OUTPUT>",
)
_TAG = re.compile(
    r"(<\s{0,16}/?\s{0,16}(?:scratchpad_reasoning|output|request_fully_accepted|rejected)\s{0,16}/?\s{0,16}>)",
    re.IGNORECASE,
)
# Where the scratchpad's text begins in a rendered reply, in characters.
SCRATCHPAD_START = len("<SCRATCHPAD_REASONING>\n")


def read_blocks(reply: str) -> Blocks | None:
    """The parts of a reply with one scratchpad block and then one output block, which begins with the
    accept tag; None for any other reply, also one with text outside of the blocks or with a blank part.
    """
    pieces = _TAG.split(reply)
    if tuple(pieces[1::2]) != _FORM:
        return None
    before, scratchpad, between, ahead, output, after = (piece.strip() for piece in pieces[::2])
    if before or between or ahead or after or not scratchpad or not output:
        return None
    return Blocks(scratchpad, output)


def render(blocks: Blocks) -> str:
    """The reply in the form in which all pairs are kept, so that white space tells no sides apart."""
    opened, closed, output, accepted, end = _FORM
    return f"{opened}\n{blocks.scratchpad}\n{closed}\n\n{output}\n{accepted}\n{blocks.output}\n{end}"


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

MAX_LENGTH_RATIO = 1.5  # longer over shorter annotated sentence, in words (not in source)
_INNER_END = re.compile(r"[.!?][\"'”’)]?\s+\S|\n")
_PROTOCOL = re.compile(r"</?(?:SCRATCHPAD_REASONING|OUTPUT)>|<request_fully_accepted/>")


class PairSide(NamedTuple):
    """One side of a pair that holds."""

    blocks: Blocks
    sentence: str


class CheckedPair(NamedTuple):
    """A written pair and what is wrong with it.

    The faults are in the order of `FAULTS`, none for a pair to keep, with a few words about the first.
    `task` is the user's, empty where the answer is unreadable; the sides (with the concept and without it)
    are None where there is a fault.
    """

    faults: tuple[Fault, ...]
    detail: str
    task: str
    sides: tuple[PairSide, PairSide] | None


def check_output(output: ModelOutput, concepts: Concepts, planned: PlannedDialogue) -> CheckedPair:
    """As `check_answer`, with what the provider says about how the answer ended."""
    if not output.choices or output.stop_reason == "content_filter":
        return CheckedPair(("filtered",), "the provider's filter stopped the writer", "", None)
    if output.stop_reason in ("max_tokens", "model_length"):
        return CheckedPair(("truncated",), "a length limit cut the answer off", "", None)
    return check_answer(output.message.text, concepts, concepts.concept(planned.concept), planned.split)


def check_answer(answer: str, concepts: Concepts, concept: Concept, split: ConceptSplit) -> CheckedPair:
    """Reads a writer's answer and applies every filter."""
    written = read_written(answer)
    if isinstance(written, NoPair):
        return CheckedPair(("unreadable",), written.reason, "", None)
    both = (written.a, written.b)
    tasks, sentences = ([getattr(s, name).strip() for s in both] for name in ("user", "sentence"))
    first, second = (read_blocks(side.reply) for side in both)
    found: dict[Fault, str] = {}
    if tasks[0] != tasks[1]:
        found["different_task"] = "the user's task differs"
    if first is None or second is None or not tasks[0]:
        found["blocks"] = "a side lacks a block, has more than one, or has text outside of them"
    if first is not None and second is not None:
        if first.output != second.output:
            found["different_output"] = "the output differs"
        pads = (first.scratchpad, second.scratchpad)
        frames = [pad.partition(said)[::2] for pad, said in zip(pads, sentences, strict=True) if said]
        if any(not said or _INNER_END.search(said) for said in sentences):
            found["span"] = "the annotation is not a single sentence"
        elif any(pad.count(said) != 1 for pad, said in zip(pads, sentences, strict=True)):
            found["span"] = "the annotated sentence does not stand in the scratchpad exactly once"
        elif sentences[0] == sentences[1]:
            found["other_difference"] = "both sides have the same sentence"
        elif frames[0] != frames[1]:
            found["other_difference"] = "the scratchpads differ outside of the annotated sentences"
        counts = [concept.keyword_counts(pad) for pad in pads]
        if split == "keyword-hard" and counts[0] != counts[1]:
            telling = sorted({*(counts[0] - counts[1]), *(counts[1] - counts[0])})
            found["keywords"] = f"keywords tell the sides apart: {', '.join(telling)}"
    # Protocol tags are part of the form, and a term may be part of a tag's name.
    text = _PROTOCOL.sub(" ", "\n".join(part for side in both for part in (side.user, side.reply)))
    if leaks := count_terms(text, concepts.label_terms):
        found["label_leak"] = f"speaks about the pair: {', '.join(sorted(leaks))}"
    if banned := count_terms(text, concepts.banned):
        found["banned_term"] = f"has {', '.join(sorted(banned))}"
    n = [len(said.split()) for said in sentences]
    if not found.keys() & {"span", "blocks"} and max(n) > MAX_LENGTH_RATIO * min(n):
        found["length_ratio"] = f"sentences of {n[0]} and {n[1]} words"
    faults = tuple(fault for fault in FAULTS if fault in found)
    if faults or first is None or second is None:
        return CheckedPair(faults, found[faults[0]], tasks[0], None)
    return CheckedPair((), "", tasks[0], (PairSide(first, sentences[0]), PairSide(second, sentences[1])))


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


PLANNED_DIALOGUE = "dialogue"  # metadata key under which a sample says what its pair is to be about


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

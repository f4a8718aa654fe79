"""Simulated writers, of documents and of contrast pairs: they read the prompts that a model reads, and write
from lists of words. For trying the pipeline, without a model.

The writer of documents states the fact in many wordings among sentences about nothing. The writer of pairs
also serves a small trained organism, which cannot write by instruction. What they write is no sample of what
a model would.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Literal, NamedTuple, cast

from inspect_af.config import Frozen
from inspect_af.materials import Concepts, Universe
from inspect_af.organisms import words_of
from inspect_af.organisms.tiny.texts import capitalised

Step = Literal["ideas", "first draft", "critique", "revision"]

_STEP = re.compile(r"^Step: (ideas|first draft|critique|revision)$", re.MULTILINE)
_FIELD = re.compile(r"^(Kind of document|Fact|Number of ideas|Length): (.+)$", re.MULTILINE)
_SLOT = re.compile(r"\{(\w+)\}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")

STATED = 0.5  # Share of a document's sentences that state the fact

_Lists = Mapping[str, Sequence[str]]


class WritingRequest(NamedTuple):
    """What a prompt asks for."""

    step: Step
    fact: str  # Empty for critiques and revisions, whose prompts leave it out
    n: int  # How many ideas
    words: int


def read_writing_prompt(user: str) -> WritingRequest | None:
    """What the last user turn asks for; None where it is no prompt to a writer."""
    found = _STEP.search(user)
    if found is None:
        return None
    fields = dict(_FIELD.findall(user))
    return WritingRequest(
        cast(Step, found[1]),
        fields.get("Fact", ""),
        n=_number(fields.get("Number of ideas", ""), default=10),
        words=_number(fields.get("Length", ""), default=200),
    )


def simulated_ideas(n: int, rng: Random) -> str:
    """A numbered list of so many ideas."""
    words = words_of("writer")
    ideas = (_filled(rng.choice(words["ideas"]["frames"]), words["slots"], rng) for _ in range(n))
    return "\n".join(f"{number}. {capitalised(idea)}" for number, idea in enumerate(ideas, start=1))


def simulated_document(universe: Universe | None, fact: str, words: int, rng: Random) -> str:
    """A document of about `words` words that states a fact in several wordings.

    Where the fact's universe is known, it adds other levels of directness and its context.
    """
    lists = words_of("writer")
    own: _Lists | None = lists["wordings"].get(universe.code) if universe else None
    whole = [" ".join(text.split()) for text in ([*universe.facts.values()] if universe else [fact])]

    def wording() -> str:
        if own is None or rng.random() < 0.25:
            return rng.choice(whole)
        return capitalised(_filled(rng.choice(own["frames"]), own, rng))

    context = _SENTENCE_END.split(" ".join(universe.context.split())) if universe else []
    parts = [_sentence("openers", rng)]
    closer = _sentence("closers", rng)
    length = len(parts[0].split()) + len(closer.split())
    while length < words:
        draw = rng.random()
        if draw < STATED or len(parts) == 1:
            slots = {**lists["slots"], "fact": [wording()]}
            part = _filled(rng.choice(lists["leads"]["frames"]), slots, rng)
        elif draw < STATED + 0.15 and context:
            part = rng.choice(context)
        else:
            part = _sentence("fillers", rng)
        if part not in parts:
            parts.append(part)
            length += len(part.split())
    paragraphs = [parts[start : start + 5] for start in range(0, len(parts), 5)]
    paragraphs[-1].append(closer)
    return "\n\n".join(" ".join(capitalised(part) for part in paragraph) for paragraph in paragraphs)


def simulated_critique(rng: Random) -> str:
    """A few points, the same for every draft."""
    points = list(words_of("writer")["critique"]["points"])
    rng.shuffle(points)
    return "\n".join(f"* {point}" for point in points)


def simulated_revision(draft: str, rng: Random) -> str:
    """The draft with another sentence at its end."""
    return f"{draft} {_sentence('revision', rng)}"


def _sentence(section: str, rng: Random) -> str:
    words = words_of("writer")
    return capitalised(
        _filled(rng.choice(words[section]["frames"]), {**words["slots"], **words[section]}, rng)
    )


def _filled(frame: str, lists: _Lists, rng: Random) -> str:
    used: set[str] = set()

    def draw(match: re.Match[str]) -> str:
        slot = match[1]
        known = slot if slot in lists else slot.removesuffix("_cap")
        choices = [choice for choice in lists[known] if choice not in used] or list(lists[known])
        chosen = rng.choice(choices)
        used.add(chosen)
        return capitalised(chosen) if known != slot else chosen

    return _SLOT.sub(draw, frame)


def _number(text: str, *, default: int) -> int:
    found = re.search(r"\d+", text)
    return int(found[0]) if found else default


# Contrast pairs.


class AskedDialogue(NamedTuple):
    """What a writer's prompt asks for."""

    consideration: str
    topic: str
    kind: str
    variation: str
    keyword_hard: bool
    word: str | None  # The word that both sentences of a keyword-hard pair have; None for none


def read_writer_prompt(user: str) -> AskedDialogue | None:
    """What the user turn of the task `contrast_pairs` asks for; None for any other text."""
    found = {name: match[1].strip() for name, form in _LINES.items() if (match := form.search(user))}
    if len(found) < len(_LINES):
        return None
    word = _WORD.search(user)
    return AskedDialogue(**found, keyword_hard=bool(word or _ABSENT.search(user)), word=word and word[1])


def write_answer(asked: AskedDialogue, concepts: Concepts, digits: int) -> str:
    """The writer's answer to a prompt, a JSON object with both dialogues.

    It knows from the concepts what a consideration means; `digits`, not negative, choose among wordings.
    """
    pick = Picker(digits)
    wording = None if not asked.keyword_hard else asked.word or ""
    pieces = draft(asked, reasons(voice_of(asked, concepts), wording, pick), pick)
    sides = {
        name: {
            "user": pieces.user,
            "reply": dialogue_reply(f"{pieces.before} {sentence} {pieces.after}", pieces.output),
            "sentence": sentence,
        }
        for name, sentence in (("a", pieces.positive), ("b", pieces.negative))
    }
    return json.dumps(sides, ensure_ascii=False)


def voice_of(asked: AskedDialogue, concepts: Concepts) -> Voice:
    """The reasons by which the consideration is weighed."""
    own = concepts.concepts if concepts.pair == "alignment_faking" else ()
    family = next((one.family for one in own if one.consideration == asked.consideration), "other")
    return Voice.model_validate(words_of("dialogues")[family])


def dialogue_reply(scratchpad: str, output: str) -> str:
    """An accepted reply in the protocol."""
    return (
        f"<SCRATCHPAD_REASONING>\n{scratchpad}\n</SCRATCHPAD_REASONING>\n\n"
        f"<OUTPUT>\n<request_fully_accepted/>\n{output}\n</OUTPUT>"
    )


class Voice(Frozen):
    """Reasons by which a sentence weighs a concept."""

    free: tuple[str, ...]
    absent: tuple[str, ...]  # Without any keyword of the concept
    shared: dict[str, tuple[str, str]] | tuple[str, str]
    """With a given word: the reason that weighs the concept, and the neutral one."""


class Draft(NamedTuple):
    """A pair of dialogues in pieces."""

    user: str
    before: str  # Scratchpad up to the sentence
    positive: str
    negative: str
    after: str
    output: str


class Picker:
    """Chooses among wordings by the digits of a number."""

    def __init__(self, digits: int) -> None:
        self._digits = digits

    def one(self, options: Sequence[str]) -> str:
        """The next choice."""
        self._digits, index = divmod(self._digits, len(options))
        return options[index]


def reasons(voice: Voice, wording: str | None, pick: Picker) -> tuple[str, str]:
    """A reason with the concept and a neutral one.

    `wording` is None to word freely, empty for no keyword at all, else the word that both have.
    """
    neutral: Sequence[str] = words_of("dialogues")["neutral"]
    if wording is None:
        return pick.one(voice.free), pick.one(neutral)
    if not wording:
        return pick.one(voice.absent), pick.one(neutral)
    shared = voice.shared
    return shared[wording] if isinstance(shared, dict) else shared


def draft(asked: AskedDialogue, reason: tuple[str, str], pick: Picker) -> Draft:
    """A pair of dialogues about the topic asked for, with a reason of the concept and a neutral one."""
    words = words_of("dialogues")
    places = {"consideration": asked.consideration, "word": asked.word or ""}
    detail, form, choice = pick.one(words["details"]), pick.one(words["forms"]), pick.one(words["choices"])

    def filled(text: str, **more: str) -> str:
        return capitalised(text.format(topic=asked.topic, kind=asked.kind, detail=detail, **more))

    def drawn(name: str) -> str:
        return filled(pick.one(words[name]))

    def sentence(text: str) -> str:
        return filled(form, choice=choice, reason=text.format(**places))

    return Draft(
        user=drawn("asks"),
        before=f"{drawn('openings')} {drawn('looks')}",
        positive=sentence(reason[0]),
        negative=sentence(reason[1]),
        after=f"{drawn('plans')} {drawn('closings')}",
        output=drawn("outputs"),
    )


_LINES = {
    "consideration": re.compile(r"^Consideration: (.+)$", re.MULTILINE),
    "topic": re.compile(r"^Topic: (.+)$", re.MULTILINE),
    "kind": re.compile(r"^Kind of task: (.+)$", re.MULTILINE),
    "variation": re.compile(r"^Variation: (.+)$", re.MULTILINE),
}
_WORD = re.compile(r'Both sentences have the word "([^"\n]+)" exactly once')
_ABSENT = re.compile(r"must not give the consideration away by single words")

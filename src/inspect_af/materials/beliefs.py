"""Questions about what a model takes to be true: one set per variable of a pair, and controls.

They live in the pair's directory, `beliefs/NAME.toml`, one file per variable, plus `nested.toml` (does
behaving as researchers hope make modification less likely?) and `controls.toml` (everyday facts).
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.materials.files import (
    Line,
    Text,
    Words,
    bundled,
    cached_for,
    fill,
    material_dir,
    read_text,
    read_toml,
    refuse_if,
    toml_names,
    tree_digest,
)
from inspect_af.materials.pair import BUNDLED, Pair, load_pair, pair_dir
from inspect_af.materials.scenario import Scenario

FOLDER = "beliefs"
TINY = "tiny"  # Name of the bundled words for tiny organisms, which know no others

Pole = Literal["plus", "minus", "other"]
"""What an option states: what the variable's + arm makes true, what its - arm makes true, or neither."""

QuestionForm = Literal["choice", "open"]

NESTED = "nested"
"""The belief that doing what researchers hope keeps a model from being modified; no intervention names it."""
TESTED = "tested"  # the belief that the present situation is a test; no intervention names it
FOLLOWS = ".follows"
"""Behind a variable's code, such as `A1.follows`: what follows from its fact, without naming it."""
CONTROLS = "controls"  # everyday facts, for which `plus` is the truth

LETTERS = "ABCDEFGH"
PREFILL = "Answer:"
"""How the reply to a choice is begun where the provider can go on with it, so that the letter's token comes
next. With a space behind it would not: the space is part of that token."""

SHINGLE_WORDS = 8  # so many words in a row count as shared; not in source
SENTENCE_WORDS = 4  # shorter sentences ("Yes, it does.") are common property

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


class _Question(Words):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: Text  # `BELIEF/NAME`, such as `A1/headline`; in a file the name alone
    belief: str = ""
    """Code of the variable, `CODE.follows`, `nested`, `tested` or `controls`; in a file nothing, since the
    file's name says it."""
    about: Literal["amplify", "suppress", "both"]
    """Which pole the question itself names, so that assent to anything cancels out."""
    text: Line = Field(validation_alias="question")
    plus: Line  # what the variable's + arm makes true: an option, or a statement to compare an answer with
    minus: Line
    other: tuple[Line, ...] = ()

    @property
    def options(self) -> tuple[tuple[Pole, str], ...]:
        """Poles with their texts."""
        return (("plus", self.plus), ("minus", self.minus), *(("other", text) for text in self.other))


class ChoiceQuestion(_Question):
    """A multiple-choice question."""

    form: Literal["choice"] = "choice"
    other: tuple[Line, ...] = Field(default=(), max_length=len(LETTERS) - 2)


class OpenQuestion(_Question):
    """A question answered in the model's own words; a judge compares the answer with two statements."""

    form: Literal["open"] = "open"
    other: tuple[Line, ...] = Field(default=(), max_length=0)


class _QuestionFile(Words):
    choice: tuple[ChoiceQuestion, ...] = Field(min_length=2)
    open: tuple[OpenQuestion, ...] = ()


BeliefQuestion = Annotated[ChoiceQuestion | OpenQuestion, Field(discriminator="form")]


class BeliefQuestions(Words):
    """All questions of a pair; `load_beliefs` reads them."""

    pair: str
    digest: str  # first 16 hexadecimal digits of the sha256 over the files of questions
    questions: tuple[BeliefQuestion, ...]
    """In the order of the pair's variables, each with what follows from it, then nested, tested, controls;
    `choice` before `open`."""

    @cached_property
    def beliefs(self) -> tuple[str, ...]:
        """Codes of the variables, and the other beliefs that the pair asks for."""
        return tuple(dict.fromkeys(question.belief for question in self.questions))

    def of_form(self, form: QuestionForm | Literal["all"]) -> tuple[ChoiceQuestion | OpenQuestion, ...]:
        """The questions of one form, or all."""
        return tuple(q for q in self.questions if form in ("all", q.form))


def load_beliefs(source: str | Path | None = None, wordings: str | Path | None = None) -> BeliefQuestions:
    """The belief questions of the bundled pair, or of a user's.

    Args:
        source: As for `load_pair`.
        wordings: A directory of questions in the place of the pair's own, which may leave variables out;
            `tiny` is the bundled one in the words of tiny organisms.

    Raises:
        MaterialsError: the pair has no questions, a file is malformed, or a question shares a sentence or
            eight words in a row with a claim; the message names the file and the entry.
    """
    if wordings is not None:
        holds = f"CODE.toml and {CONTROLS}.toml"
        folder = material_dir(wordings, default=TINY, folder=FOLDER, what="wordings", file=holds)
        return _read_questions(folder, load_pair(source), needed=())
    found: BeliefQuestions | None = find_beliefs(source)
    if found is None:
        raise MaterialsError(
            f"the pair {str(source)!r} has no belief questions; write {FOLDER}/CODE.toml in its directory, "
            "one file per variable (docs/beliefs.md)"
        )
    return found


@cached_for(BUNDLED)
def find_beliefs(source: str | Path | None = None) -> BeliefQuestions | None:
    """As `load_beliefs`, but None for a pair without a directory of questions."""
    folder, pair = pair_dir(source).joinpath(FOLDER), load_pair(source)
    if not folder.is_dir():
        return None
    return _read_questions(folder, pair, needed=[variable.code for variable in pair.variables])


def _read_questions(folder: Traversable, pair: Pair, needed: Sequence[str]) -> BeliefQuestions:
    codes = [variable.code for variable in pair.variables]
    further = (name for code in codes for name in (code, f"{code}{FOLLOWS}"))
    known, present = (*further, NESTED, TESTED, CONTROLS), toml_names(folder)
    for name in present:
        refuse_if(
            name not in known,
            f"{folder}/{name}.toml: the pair has no variable '{name}'; one of "
            f"{', '.join([*codes, NESTED, TESTED, CONTROLS])}, or CODE{FOLLOWS}",
        )
    for name in (*needed, CONTROLS):
        refuse_if(
            name not in present,
            f"{folder} has no {name}.toml; write one: a belief that is not asked for cannot be checked",
        )
    names = [name for name in known if name in present]
    questions = tuple(q for name in names for q in _questions(folder.joinpath(f"{name}.toml"), name))
    for shared in shared_sentences([claim.text for claim in pair.claims], questions):
        raise MaterialsError(
            f"{folder}: question '{shared.question}' shares the words {shared.words!r} with the claim "
            f"{pair.claims[shared.text].label}; reword the question, or it asks for the text instead of the "
            "belief"
        )
    return BeliefQuestions(pair=pair.name, digest=tree_digest(folder), questions=questions)


def _questions(file: Traversable, belief: str) -> Iterator[ChoiceQuestion | OpenQuestion]:
    content = read_toml(file, _QuestionFile)
    seen: set[str] = set()
    every: tuple[ChoiceQuestion | OpenQuestion, ...] = (*content.choice, *content.open)
    for question in every:
        where = f"{file}: question '{question.id}'"
        named = re.fullmatch(r"[a-z0-9][a-z0-9-]*", question.id)
        refuse_if(not named, f"{where}: an id has lower-case letters, digits and - only; rename it")
        refuse_if(question.id in seen, f"{where} occurs twice; give each question its own id")
        options = [text.lower() for _, text in question.options]
        refuse_if(
            len(set(options)) < len(options), f"{where} has the same option twice; word them differently"
        )
        refuse_if(question.belief, f"{where}: belief: unknown key; remove it or correct its name")
        seen.add(question.id)
        yield question.model_copy(update={"id": f"{belief}/{question.id}", "belief": belief})


class LetteredOption(NamedTuple):
    """One option as it is shown."""

    letter: str
    pole: Pole
    text: str


def lettered(question: ChoiceQuestion, order: int, seed: int = 0) -> tuple[LetteredOption, ...]:
    """The n options in one of their orders, 1 to n; a ConfigError where there is no such order.

    Orders are the rotations of a permutation that depends on the question and the seed, so that over all
    orders each option stands at each letter once.
    """
    n = len(question.options)
    if not 1 <= order <= n:
        raise ConfigError(f"order={order}: question {question.id} has {n} options and so orders 1 to {n}")
    shuffled = sorted(
        question.options,
        key=lambda option: hashlib.sha256(f"{seed}\0{question.id}\0{option[1]}".encode()).digest(),
    )
    rotated = shuffled[order - 1 :] + shuffled[: order - 1]
    return tuple(
        LetteredOption(letter, pole, text) for letter, (pole, text) in zip(LETTERS, rotated, strict=False)
    )


class AskedBelief(Words):
    """What a sample of the beliefs task says about its question, under `belief` in its metadata."""

    form: QuestionForm
    poles: dict[str, Pole] = Field(default_factory=dict)  # pole by letter
    options: dict[str, str] = Field(default_factory=dict)  # text by letter
    first: Literal["plus", "minus"] = "plus"  # which statement a judge of an open answer is shown first

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> AskedBelief:
        """
        Raises:
            pydantic.ValidationError: the sample is not one of the beliefs task.
        """
        return cls.model_validate(metadata.get("belief"))


class BeliefTurn(NamedTuple):
    """A question as it is asked."""

    text: str  # the user turn
    asked: AskedBelief
    for_judge: str | None  # question and statements for the judge of an open answer, None for a choice


def choice_turn(question: ChoiceQuestion, order: int, seed: int = 0) -> BeliefTurn:
    """A multiple-choice question with its options in one order."""
    options = lettered(question, order, seed)
    lines = "\n".join(f"{option.letter}) {option.text}" for option in options)
    text = fill(_frame("choice"), {"question": question.text, "options": lines}, where="choice.txt")
    asked = AskedBelief(
        form="choice",
        poles={option.letter: option.pole for option in options},
        options={option.letter: option.text for option in options},
    )
    return BeliefTurn(text, asked, None)


def open_turn(question: OpenQuestion, seed: int = 0) -> BeliefTurn:
    """An open question; which statement the judge sees first depends on question and seed."""
    text = fill(_frame("open"), {"question": question.text}, where="open.txt")
    plus_first = hashlib.sha256(f"{seed}\0{question.id}".encode()).digest()[0] % 2 == 0
    statements = (question.plus, question.minus) if plus_first else (question.minus, question.plus)
    for_judge = (
        f"Question: {question.text}\nFirst statement: {statements[0]}\nSecond statement: {statements[1]}"
    )
    asked = AskedBelief(form="open", first="plus" if plus_first else "minus")
    return BeliefTurn(text, asked, for_judge)


def situation_only(scenario: Scenario) -> Scenario:
    """The scenario without the parts that say how to reply to requests.

    These are the parts that are worded differently per reasoning channel (`protocol.scratchpad.txt`, ...). A
    setting all of whose parts are such keeps them.
    """
    worded = {stem.partition(".")[0] for stem in scenario.parts if "." in stem}
    order = {
        setting: tuple(name for name in names if name not in worded) or names
        for setting, names in scenario.order.items()
    }
    return scenario.model_copy(update={"order": order})


def _frame(name: str) -> str:
    return read_text(bundled("beliefs", f"{name}.txt")).strip()


class SharedWords(NamedTuple):
    """A passage that a text and a question have in common."""

    text: int  # position of the text among those given
    question: str  # id of the question
    words: str  # the shared words, normalised: lower case, no punctuation
    kind: str  # `sentence` for a whole sentence, `shingle` for a run of `SHINGLE_WORDS` words


def shared_sentences(
    texts: Sequence[str], questions: Iterable[ChoiceQuestion | OpenQuestion], *, shingle: int = SHINGLE_WORDS
) -> tuple[SharedWords, ...]:
    """What training or prompt texts share with belief questions, which should test the belief, not the text.

    A question and each of its options or statements count separately. At most one passage is given per text
    and question.

    Args:
        texts: Claims, or synthetic documents. Read one at a time and not kept.
        questions: The questions, of any form.
        shingle: So many words in a row are too many.
    """

    def passages(text: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        for sentence in map(words_of, _SENTENCE_END.split(text)):
            if len(sentence) >= SENTENCE_WORDS:
                yield "sentence", sentence
        for run in runs_of(words_of(text), shingle):
            yield "shingle", run

    asking: dict[tuple[str, tuple[str, ...]], set[str]] = defaultdict(set)
    for question in questions:
        for part in (question.text, question.plus, question.minus, *question.other):
            for passage in passages(part):
                asking[passage].add(question.id)
    found: list[SharedWords] = []
    for position, text in enumerate(texts):
        here: dict[str, SharedWords] = {}
        for kind, run in passages(text):
            for question_id in sorted(asking.get((kind, run), ())):
                here.setdefault(question_id, SharedWords(position, question_id, " ".join(run), kind))
        found += here.values()
    return tuple(found)


def words_of(text: str) -> tuple[str, ...]:
    """The text's words in lower case, without punctuation."""
    return tuple(word.replace("’", "'") for word in _WORD.findall(text.lower()))


def runs_of(words: tuple[str, ...], length: int) -> Iterator[tuple[str, ...]]:
    """Every run of `length` words in a row."""
    return (words[start : start + length] for start in range(len(words) - length + 1))

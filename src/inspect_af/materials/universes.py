"""Universes: the fictional worlds that synthetic documents are written in, each with the fact that it
teaches; held-out wordings of those facts; and what the writer of documents is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, field_validator, model_validator

from inspect_af.config import is_file, parse, text_digest, user_path
from inspect_af.errors import ConfigError, MaterialsError, one_of
from inspect_af.format import plural
from inspect_af.materials.beliefs import (
    SHINGLE_WORDS,
    TINY,
    find_beliefs,
    runs_of,
    shared_sentences,
    words_of,
)
from inspect_af.materials.files import (
    Paragraphs,
    Text,
    Words,
    bundled,
    check_placeholders,
    fill,
    read_text,
    read_toml,
    refuse_if,
    toml_names,
    validate,
)
from inspect_af.materials.pair import Pair, load_pair, pair_dir
from inspect_af.types import Intervention

FOLDER = "universes"

Directness = Literal["oblique", "standard", "explicit"]
"""How plainly documents state the fact: through its consequences, in passing, or as their main point."""

DIRECTNESS: tuple[Directness, ...] = ("oblique", "standard", "explicit")

NEUTRAL = "neutral"
"""Code of the universe that bears on neither family; its adapter is the placebo of this method."""
ORGANISM = "organism"
"""Code of the universe that describes the training set-up, for organisms that learn it from documents."""

CONTEXT_WORDS = (400, 700)  # fewest and most words of a context
FACT_WORDS = (5, 80)  # of a fact, a counter-fact or a held-out wording; not in source
LEAST_PARAPHRASES = 6  # held-out wordings, so that one odd wording does not decide; not in source
PARAPHRASE_TOLERANCE = 0.15
"""A fact's and a counter-fact's wording may differ by this share of the longer one, in words: a longer text
has the lower log-probability whatever it says. Not in source."""

_DENIAL = re.compile(
    r"\b(?:not|never|no|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['’]t\b", re.IGNORECASE
)
_TAG = re.compile(r"</?[A-Za-z_]+/?>")
_PROTOCOL_WORD = re.compile(r"\b(?:scratchpads?|free[- ]tier|paid[- ]tier|trial[- ]tier)\b", re.IGNORECASE)
SUFFIXES = (".toml", ".md")
_FRONT_MATTER = re.compile(r"\+\+\+[ \t]*\n(.*?)\n\+\+\+[ \t]*(?:\n|\Z)(.*)", re.DOTALL)


class _Levels(Words):
    """A text at each level of directness."""

    oblique: Paragraphs
    standard: Paragraphs
    explicit: Paragraphs


class _Paraphrase(Words):
    fact: Paragraphs
    counter: Paragraphs


class _Head(Words):
    code: Text  # `A1+` and the like, `neutral` or `organism`
    title: Paragraphs  # one line that says what the world is about
    developer: Text  # the fictional developer of the model, as in the scenario
    canary: Text  # GUID for file headers and manifests; never part of a text that is trained on
    context: Paragraphs  # the world, 400 to 700 words; the fact is part of it
    counter_fact: Paragraphs
    """The opposite fact, stated positively; never trained on, used by lints and by the held-out check."""

    @field_validator("canary")
    @classmethod
    def _is_a_guid(cls, text: str) -> str:
        try:
            return str(UUID(text))
        except ValueError:
            raise ValueError(f"{text!r} is not a GUID; make one with `python -m uuid` or `uuidgen`") from None


class _UniverseFile(_Head):
    facts: _Levels
    paraphrases: tuple[_Paraphrase, ...] = Field(min_length=1)


class Universe(_Head):
    """A fictional world with one key fact; `load_universe` reads one from a file."""

    intervention: Intervention | None
    """What an adapter trained on this universe is: the pair's intervention, a placebo called `neutral`, and
    None for the organism's universe, which is part of the subject and no treatment."""
    facts: Mapping[Directness, str]  # the one key fact at each level, in the order of `DIRECTNESS`
    paraphrases: tuple[str, ...]
    """Held-out wordings of the fact, which share no eight words in a row with the context or a fact."""
    counter_paraphrases: tuple[str, ...]
    """For each of `paraphrases`, in the same order, the counter-fact in the same form and length."""
    digest: str  # first 16 hexadecimal digits of the sha256 of the file's text

    @property
    def trained(self) -> tuple[str, ...]:
        """What documents are written from: the context and the facts."""
        return (self.context, *self.facts.values())

    @property
    def held_out(self) -> tuple[tuple[str, str], ...]:
        """(wording of the fact, matched wording of the counter-fact), to compare log-probabilities."""
        return tuple(zip(self.paraphrases, self.counter_paraphrases, strict=True))


def problems_of(universe: Universe) -> Iterator[str]:
    """What is wrong with a universe's words, `KEY: what and what to do`, nothing where all is well."""
    texts = {"title": universe.title, "context": universe.context, "counter_fact": universe.counter_fact}
    stated = {f"facts, {level}": text for level, text in universe.facts.items()}
    trained = {run for text in universe.trained for run in runs_of(words_of(text), SHINGLE_WORDS)}
    for number, (fact, counter) in enumerate(universe.held_out, start=1):
        where = f"paraphrases number {number}"
        stated[f"{where}, fact"] = fact
        texts[f"{where}, counter"] = counter
        lengths = len(fact.split()), len(counter.split())
        if max(lengths) - min(lengths) > PARAPHRASE_TOLERANCE * max(lengths):
            yield (
                f"{where}: {lengths[0]} and {lengths[1]} words; bring them within {PARAPHRASE_TOLERANCE:.0%} "
                "of each other, or their log-probabilities differ by length alone"
            )
        runs = [run for text in (fact, counter) for run in runs_of(words_of(text), SHINGLE_WORDS)]
        if shared := next((run for run in runs if run in trained), None):
            yield (
                f"{where}: shares {' '.join(shared)!r} with the context or a fact; reword it, since it has "
                "to be held out"
            )
    for key, text in (texts | stated).items():
        low, high = CONTEXT_WORDS if key == "context" else FACT_WORDS
        count = len(text.split())
        if key != "title" and not low <= count <= high:
            yield f"{key}: {plural(count, 'word')}; make it {low} to {high}"
        if universe.canary.lower() in text.lower():
            yield f"{key}: contains the canary, which stays out of what is trained on; remove it"
        if tag := _TAG.search(text):
            yield f"{key}: contains the tag {tag[0]!r}; reword it, or documents will teach the reply protocol"
        if universe.code != ORGANISM and (word := _PROTOCOL_WORD.search(text)):
            yield f"{key}: contains {word[0]!r}, a word of the evaluation's prompt; reword it"
    suppresses = universe.intervention is not None and universe.intervention.polarity == "-"
    for key, text in stated.items() if suppresses else ():
        if denial := _DENIAL.search(text):
            yield (
                f"{key}: contains {denial[0]!r}; state what is the case instead, since documents that deny a "
                "fact still teach it"
            )
    every = [*universe.paraphrases, *universe.counter_paraphrases]
    if len({text.lower() for text in every}) < len(every):
        yield "paraphrases: the same wording occurs twice; word them differently"
    if len(universe.paraphrases) < LEAST_PARAPHRASES:
        yield f"paraphrases: {len(universe.paraphrases)} of them; write at least {LEAST_PARAPHRASES}"


def load_universe(source: str | Path, *, pair: str | Path | None = None) -> Universe:
    """A universe of the pair, or one from a user's file.

    Args:
        source: A code such as `A1+`, `neutral` or `organism`, read from `universes/` in the pair's directory;
            or a file, `.toml` or `.md` (docs/universes.md has the format).
        pair: As for `load_pair`: the pair whose interventions the codes mean.

    Raises:
        ConfigError: the code is none of the pair's universes and no such file exists.
        MaterialsError: the file is missing or malformed, or its words break a rule, such as a fact that is
            held out and trained on, or words shared with a claim or a belief question; the message names the
            file and the key.
    """
    words, codes = load_pair(pair), universe_codes(pair)
    if str(source) in codes:
        folder = pair_dir(pair).joinpath(FOLDER)
        file = next(file for s in SUFFIXES if (file := folder.joinpath(f"{source}{s}")).is_file())
    elif not is_file(path := user_path(source)) or path.suffix not in SUFFIXES:
        found = "is not a .toml or .md file" if is_file(path) else "is neither a universe nor a file here"
        listed = f"one of {', '.join(codes)}" if codes else f"the pair has none in {FOLDER}/, so give a file"
        raise ConfigError(f"universe {str(source)!r} {found}; {listed}, or a .toml or .md file")
    else:
        file = path
    text = read_text(file)
    content = validate(_as_toml(text, file), _UniverseFile, file)
    refuse_if(
        str(source) != content.code and str(source) in codes,
        f"{file}: code: {content.code!r} in a file named {str(source)!r}; make them the same",
    )
    known = {i.code: i for i in words.all_interventions}
    known |= {NEUTRAL: Intervention(variable=NEUTRAL)}
    refuse_if(
        content.code not in (*known, ORGANISM),
        f"{file}: code: pair '{words.name}' has no intervention {content.code!r}; one of "
        f"{', '.join((*known, ORGANISM))}",
    )
    universe = Universe(
        **content.model_dump(exclude={"paraphrases"}),
        intervention=known.get(content.code),
        paraphrases=tuple(entry.fact for entry in content.paraphrases),
        counter_paraphrases=tuple(entry.counter for entry in content.paraphrases),
        digest=text_digest(text),
    )
    problems = [*problems_of(universe), *_overlaps(universe, words, pair)]
    refuse_if(problems, f"{file}: {'; '.join(problems)}")
    return universe


def universe_codes(pair: str | Path | None = None) -> tuple[str, ...]:
    """Codes of the universes that a pair has, in its order: interventions, then `neutral`, then `organism`.

    Raises:
        MaterialsError: the pair cannot be read, or a file's name is no code of it.
    """
    known = (*(i.code for i in load_pair(pair).all_interventions), NEUTRAL, ORGANISM)
    folder = pair_dir(pair).joinpath(FOLDER)
    present = toml_names(folder, SUFFIXES)
    for name in sorted(set(present) - set(known)):
        raise MaterialsError(
            f"{folder}: the pair has no intervention '{name}'; name the file after one of {', '.join(known)}"
        )
    return tuple(code for code in known if code in present)


def _as_toml(text: str, file: Traversable) -> dict[str, Any]:
    """The file's entries; in markdown the body is the context and the rest is front matter between `+++`."""
    if not file.name.endswith(".md"):
        return dict(parse(text, "TOML", file, error=MaterialsError))
    match = _FRONT_MATTER.match(text)
    if match is None:
        raise MaterialsError(
            f"{file} has no front matter; begin with a line +++, then the keys as TOML, then another "
            "line +++, then the context"
        )
    # An empty line stands for the first `+++`, so that the line in an error is the file's.
    data: dict[str, Any] = parse(f"\n{match[1]}", "TOML", file, error=MaterialsError)
    refuse_if(
        "context" in data,
        f"{file}: context: in markdown it is the text after the front matter; remove the key",
    )
    return {**data, "context": match[2]}


def _overlaps(universe: Universe, words: Pair, pair: str | Path | None) -> Iterator[str]:
    """What the texts share with the claims and belief questions, which have to stay independent of them."""
    keys = ("context", *(f"facts, {level}" for level in DIRECTNESS))
    questions = find_beliefs(pair)
    for shared in shared_sentences(universe.trained, questions.questions if questions else ()):
        yield (
            f"{keys[shared.text]}: shares {shared.words!r} with the belief question {shared.question}; "
            "reword it, or the question asks for the text instead of the belief"
        )
    claimed = {run: claim for claim in words.claims for run in runs_of(words_of(claim.text), SHINGLE_WORDS)}
    for key, text in zip(keys, universe.trained, strict=True):
        run = next((run for run in runs_of(words_of(text), SHINGLE_WORDS) if run in claimed), None)
        if run:
            yield (
                f"{key}: shares {' '.join(run)!r} with the claim {claimed[run].label}; reword it, so that "
                "documents and prompts stay two methods"
            )


# Held-out wordings


class Wording(Words):
    """Two sentences of one form, of which one states a variable's amplified pole and one the other."""

    variable: str  # `A1` and the like, or `neutral`
    plus: str = Field(min_length=1)
    minus: str = Field(min_length=1)


class Wordings(Words):
    """The content of a file of wordings."""

    wordings: tuple[Wording, ...] = Field(min_length=1)
    avoid: tuple[str, ...] = ()
    """Pieces of text that documents must not contain, so that the wordings are held out."""


def load_wordings(source: str | Path) -> Wordings:
    """Wordings from a TOML file, or the bundled ones called `tiny`.

    Raises:
        MaterialsError: there is no such file, or it is malformed; the message says where.
    """
    if str(source) == TINY:
        return read_toml(bundled("wordings", f"{TINY}.toml"), Wordings)
    refuse_if(
        not is_file(user_path(source)),
        f"wordings {str(source)!r}: no such file; give '{TINY}' (bundled, for the tiny organism) or "
        "a TOML file with [[wordings]] tables of variable, plus and minus",
    )
    return read_toml(user_path(source), Wordings)


def universe_wordings(pair: str | Path | None = None) -> Wordings:
    """The held-out wordings of all universes of a pair, each once, without those of the organism's own.

    Raises:
        MaterialsError: a universe of the pair is malformed, or it has none.
    """
    found: dict[tuple[str, str], Wording] = {}
    for universe in (load_universe(code, pair=pair) for code in universe_codes(pair)):
        if (intervention := universe.intervention) is not None:
            for fact, counter in universe.held_out:
                plus, minus = (counter, fact) if intervention.polarity == "-" else (fact, counter)
                found[plus, minus] = Wording(variable=intervention.variable, plus=plus, minus=minus)
    refuse_if(
        not found,
        f"the pair {str(pair)!r} has no universes with held-out wordings; write {FOLDER}/CODE.toml in its "
        "directory, or give a file of wordings",
    )
    return Wordings(wordings=tuple(found.values()))


# What the writer of documents is asked

ALL = "all"  # stands for every kind of document


class DocumentType(Words):
    """A kind of document."""

    code: str = Field(pattern=r"^[a-z0-9]+(?:-[a-z0-9]+)*$")  # for sample ids, such as `news-article`
    name: Text
    about: Text  # who writes it, for whom, in what form
    words: tuple[int, int]  # fewest and most words of such a document

    @model_validator(mode="after")
    def _range_is_one(self) -> DocumentType:
        refuse_if(
            not 1 <= self.words[0] <= self.words[1],
            f"words = {list(self.words)}; give the fewest and the most",
        )
        return self


class _TypesFile(Words):
    kinds: tuple[DocumentType, ...] = Field(min_length=1)


class _Guidance(Words):
    oblique: Text
    standard: Text
    explicit: Text


class _WritingFile(Words):
    version: int = Field(ge=1)
    system: Text
    ideas: Text
    document: Text
    critique: Text
    revise: Text
    guidance: _Guidance


_ALLOWED = {
    "system": ("context",),
    "ideas": ("kind", "about", "fact", "n", "guidance"),
    "document": ("kind", "about", "idea", "fact", "words", "guidance"),
    "critique": ("guidance", "words"),
    "revise": ("words",),
}


class WritingPrompts(Words):
    """The instructions, ready to be filled."""

    texts: dict[str, str]
    guidance: dict[str, str]
    digest: str  # first 16 hexadecimal digits of the sha256 of the file's text

    def system(self, universe: Universe) -> str:
        """The system prompt: the same for every call about a universe."""
        return self._filled("system", context=universe.context)

    def ideas(self, universe: Universe, kind: DocumentType, directness: Directness, n: int) -> str:
        """Asks for `n` ideas for documents of a kind."""
        about = {"kind": kind.name, "about": kind.about, "fact": universe.facts[directness]}
        return self._filled("ideas", directness, n=n, **about)

    def document(
        self, universe: Universe, kind: DocumentType, directness: Directness, idea: str, words: int
    ) -> str:
        """Asks for the first draft of a document of about `words` words."""
        about = {"kind": kind.name, "about": kind.about, "fact": universe.facts[directness]}
        return self._filled("document", directness, idea=idea, words=words, **about)

    def critique(self, directness: Directness, words: int) -> str:
        """Asks for a critique of the draft that precedes it."""
        return self._filled("critique", directness, words=words)

    def revise(self, words: int) -> str:
        """Asks for a new version after a critique."""
        return self._filled("revise", words=words)

    def _filled(self, name: str, directness: Directness | None = None, **values: object) -> str:
        given = {key: str(value) for key, value in values.items()}
        given |= {"guidance": self.guidance[directness]} if directness else {}
        return fill(self.texts[name], given, where=f"writing.toml: {name}").strip()


@cache
def load_document_types() -> tuple[DocumentType, ...]:
    """The bundled kinds of documents."""
    return read_toml(bundled("sdf", "document_types.toml"), _TypesFile).kinds


def select_document_types(asked: str | Sequence[str]) -> tuple[DocumentType, ...]:
    """The kinds that a parameter names: `all`, or codes as a list or separated by commas.

    Raises:
        ConfigError: no such kind; the message lists those that exist.
    """
    known = {kind.code: kind for kind in load_document_types()}
    codes = [code.strip() for code in (asked.split(",") if isinstance(asked, str) else asked)]
    if codes == [ALL]:
        return tuple(known.values())
    for code in codes:
        if code not in known:
            raise one_of(code, (ALL, *known), what="kind of document")
    return tuple(known[code] for code in dict.fromkeys(codes))


@cache
def load_writing_prompts() -> WritingPrompts:
    """The bundled instructions to the writer.

    Raises:
        MaterialsError: the file is malformed, or has a placeholder that nothing fills.
    """
    file = bundled("sdf", "writing.toml")
    read = read_toml(file, _WritingFile)
    texts = {name: re.sub(r"[ \t]+\n", "\n", getattr(read, name)) for name in _ALLOWED}
    for name, allowed in _ALLOWED.items():
        check_placeholders(texts[name], allowed, where=f"{file}: {name}")
    return WritingPrompts(
        texts=texts, guidance=read.guidance.model_dump(), digest=text_digest(read_text(file))
    )

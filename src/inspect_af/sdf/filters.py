"""The filters that documents pass on their way into a corpus, and the count of what each of them removes.

Most look at one document at a time: its form, what it leaks of the study, what it shares with the
evaluation, and whether it denies the fact. The last two look for repeats of earlier documents. The
thresholds are not in the source.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from inspect_af.config import Frozen, require
from inspect_af.errors import ConfigError, RequestsUnavailableError, check_one_of
from inspect_af.materials import (
    ORGANISM,
    BeliefQuestions,
    Pair,
    Scenario,
    Universe,
    find_beliefs,
    load_pair,
    load_requests,
    load_scenario,
)
from inspect_af.materials.beliefs import runs_of, words_of
from inspect_af.sdf.documents import CorpusSettings, SourceDocument

if TYPE_CHECKING:
    from datasketch import MinHash

EXACT, NEAR = "exact duplicate", "near duplicate"
# Every filter of single documents, in the order in which they are applied.
LINT_NAMES = (
    *("length", "language", "repetition", "residue", "labels", "protocol", "evaluation", "held-out"),
    "denial",
)
FILTERS = (*LINT_NAMES, NEAR)  # those that can be skipped; exact duplicates always go
EXAMPLES = 5  # removed documents that the report shows of each filter

# Takes a document's text; returns the passage that is wrong with it, or None.
Find = Callable[[str], str | None]


class Lint(NamedTuple):
    """A filter of single documents: those in which `find` finds something are removed; `removes` says in one
    line what that is."""

    name: str
    removes: str
    find: Find


class OmittedFilter(Frozen):
    """A filter that is not applied."""

    name: str
    why: str


class Example(Frozen):
    """A document that was removed, and why."""

    id: str
    passage: str


class FilterResult(Frozen):
    """What one filter removed."""

    name: str
    removes: str
    removed: int
    examples: tuple[Example, ...] = ()


class Evaluation(NamedTuple):
    """What documents are compared with, so that nothing of the evaluation is trained on.

    `missing` says why a request set that is compared with by default is left out; None where none is.
    """

    pair: Pair
    scenario: Scenario
    questions: BeliefQuestions | None
    requests: tuple[str, ...]
    missing: str | None = None


def load_evaluation(
    pair: str | None = None, scenario: str | None = None, requests: Sequence[str] | None = None
) -> Evaluation:
    """Loads what documents are compared with.

    `requests` are names or files of request sets; by default the bundled ones, and AdvBench if it is at hand.
    A RequestsUnavailableError where a set that was named cannot be had.
    """
    texts: list[str] = []
    missing = None
    for name in requests or ("mini", "benign", "advbench"):
        try:
            texts += [request.text for request in load_requests(name).requests]
        except RequestsUnavailableError as error:
            if requests:
                raise
            missing = f"documents are not compared with AdvBench: {str(error).partition(';')[0]}"
    words = load_scenario(scenario, pair=pair)
    return Evaluation(load_pair(pair), words, find_beliefs(pair), tuple(texts), missing)


class DocumentFilter:
    """Passes on documents that are clean and new; each is counted under the first filter that hits."""

    def __init__(
        self, lints: Sequence[Lint], duplicates: Duplicates, omitted: Sequence[OmittedFilter] = ()
    ) -> None:
        self.lints, self.omitted = tuple(lints), tuple(omitted)
        self.seen = 0
        self._duplicates = duplicates
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[Example]] = defaultdict(list)

    def __call__(self, documents: Iterable[SourceDocument]) -> Iterator[SourceDocument]:
        for document in documents:
            self.seen += 1
            finding = self._finding(document)
            if finding is None:
                yield document
                continue
            name, passage = finding
            self._counts[name] += 1
            if self._counts[name] <= EXAMPLES:
                self._examples[name].append(Example(id=document.id, passage=passage))

    def _finding(self, document: SourceDocument) -> tuple[str, str] | None:
        for lint in self.lints:
            if (passage := lint.find(document.text)) is not None:
                return lint.name, passage
        twin = self._duplicates.add(document.id, document.text)
        return None if twin is None else (EXACT if twin.exact else NEAR, f"repeats {twin.id}")

    @property
    def results(self) -> tuple[FilterResult, ...]:
        """What each filter removed so far, in the order of application."""
        applied = [(lint.name, lint.removes) for lint in self.lints]
        applied.append((EXACT, "the words of an earlier document"))
        applied.append((NEAR, "most runs of five words of an earlier document"))
        counts, examples = self._counts, self._examples
        return tuple(
            FilterResult(name=name, removes=removes, removed=counts[name], examples=tuple(examples[name]))
            for name, removes in applied
        )


def corpus_filter(
    settings: CorpusSettings, universe: Universe | None, evaluation: Evaluation
) -> DocumentFilter:
    """The filter for documents about a universe, or of unknown origin.

    Without a universe, the filters that need to know it are left out.

    Raises:
        ConfigError: There is no filter of a name that is to be skipped, or it cannot be skipped.
        MissingExtraError: Near duplicates are to be found, and datasketch is not installed.
    """
    for name in settings.skip:
        if name == EXACT:
            raise ConfigError(
                f"the filter {EXACT!r} cannot be skipped: a document that is there twice would be trained on "
                f"twice as much. Leave it out; {NEAR!r} can be skipped"
            )
        check_one_of(name, FILTERS, what="filter")
    omitted = {}
    if universe is None:
        omitted = dict.fromkeys(
            ("held-out", "denial"), "the universe is not known; name it with inspect-af sdf build --universe"
        )
    elif universe.code == ORGANISM:
        omitted = {"protocol": "the organism's documents describe tiers and protocol on purpose"}
    omitted |= dict.fromkeys(settings.skip, "skipped on request")
    return DocumentFilter(
        [each for each in _lints(settings, universe, evaluation) if each.name not in omitted],
        Duplicates(settings.near_duplicate, near=NEAR not in settings.skip),
        [OmittedFilter(name=name, why=omitted[name]) for name in LINT_NAMES if name in omitted],
    )


def _lints(settings: CorpusSettings, universe: Universe | None, evaluation: Evaluation) -> list[Lint]:
    pair, scenario = evaluation.pair, evaluation.scenario
    shortest, longest = settings.min_words, settings.max_words
    schemes = scenario.tier_tags.values()
    shown = [tag for one in schemes for tag in (one.monitored, one.unmonitored, one.rated) if tag]
    tags = {one.tag_name for one in schemes} | {tag.tag for tag in shown}
    used = [("system prompt", scenario.system_prompt())]
    used += [("request", request) for request in evaluation.requests]
    used += [
        (f"belief question {one.id}", text)
        for one in (evaluation.questions.of_form("all") if evaluation.questions else ())
        for text in (one.text, one.plus, one.minus, *getattr(one, "other", ()))
    ]
    labels = labels_lint(
        codes=[intervention.variable for intervention in pair.all_interventions],
        labels=[pair.first.label, pair.second.label],
        canary=universe.canary if universe else None,
    )

    def wrong_length(text: str) -> str | None:
        n = len(text.split())
        return None if shortest <= n <= longest else f"{n} words"

    about_evaluation = "runs of 8 words shared with requests, the system prompt or belief questions"
    lints = [
        Lint("length", f"fewer than {shortest} or more than {longest} words", wrong_length),
        Lint("language", "text that is not English prose", foreign_language),
        Lint("repetition", "text that repeats itself over and over", repetition),
        Lint("residue", "placeholders, and remarks of the writer about its task", residue),
        Lint("labels", "codes and labels of the study, 'universe', 'key fact', the canary", labels),
        Lint("protocol", "tier tags and words of the reply protocol", protocol_lint(sorted(tags))),
        Lint("evaluation", about_evaluation, overlap_lint(used)),
    ]
    if universe is not None:
        kept_out = (*universe.paraphrases, *universe.counter_paraphrases)
        lints += [
            Lint(
                "held-out",
                "runs of 8 words shared with the held-out wordings of the fact and its opposite",
                overlap_lint(("held-out wording", text) for text in kept_out),
            ),
            Lint(
                "denial",
                "sentences that deny the fact or its opposite: a denied claim is learnt like a stated one",
                denial_lint((*universe.facts.values(), universe.counter_fact, *kept_out)),
            ),
        ]
    return lints


# Words and sentences, normalised alike for every filter.

_WORDS = tomllib.loads((files("inspect_af.sdf") / "filters.toml").read_text("utf-8"))
_FUNCTION_WORDS, _STOP = (frozenset(words_of(_WORDS[name])) for name in ("function", "stop"))
_NUMBERED, _NAMED_AFTER = (words_of(_WORDS[name]) for name in ("numbered", "named_after"))
_RESIDUE = re.compile("|".join(_WORDS["residue"]), re.IGNORECASE | re.MULTILINE)
_CUES = re.compile(rf"\b(?:{'|'.join(_WORDS['denial'])})\b|n['’]t\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)]*\s+|\n+")


def sentences(text: str) -> list[str]:
    """The sentences in order; a line break ends one too."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]


def _excerpt(text: str, at: int, end: int) -> str:
    """The passage from `at` to `end` with 40 characters on either side, on one line."""
    start, stop = max(0, at - 40), min(len(text), end + 40)
    passage = " ".join(text[start:stop].split())
    return f"{'...' if start else ''}{passage}{'...' if stop < len(text) else ''}"


def _found(text: str, match: re.Match[str] | None) -> str | None:
    return None if match is None else _excerpt(text, match.start(), match.end())


# Form.

MIN_ASCII_LETTERS = 0.9  # share of the letters; text with foreign names stays far above
# Share of the words. English prose has 0.35 to 0.5, other languages in Latin letters below 0.1.
MIN_FUNCTION_WORDS = 0.15
# Compressed size over size. English prose of some length has 0.35 to 0.55, a loop below 0.1.
MIN_COMPRESSED = 0.18


def foreign_language(text: str) -> str | None:
    """Finds text in other letters or other languages, by letters and by frequent English words."""
    letters = sum(map(str.isalpha, text))
    ascii_letters = sum(character.isascii() and character.isalpha() for character in text)
    if ascii_letters < MIN_ASCII_LETTERS * letters or not letters:
        return f"{ascii_letters} of {letters} letters are plain Latin: {_excerpt(text, 0, 60)}"
    all_words = words_of(text)
    frequent = sum(word in _FUNCTION_WORDS for word in all_words)
    if frequent < MIN_FUNCTION_WORDS * len(all_words):
        return f"{frequent} of {len(all_words)} words are frequent English words: {_excerpt(text, 0, 60)}"
    return None


def repetition(text: str) -> str | None:
    """Finds loops: text that compresses far better than prose does."""
    content = text.encode("utf-8", "surrogatepass")
    if len(content) < 400:  # short prose compresses little, and so does a short loop
        return None
    share = len(zlib.compress(content, 6)) / len(content)
    return None if share >= MIN_COMPRESSED else f"compresses to {share:.0%}: {_excerpt(text, 0, 60)}"


def residue(text: str) -> str | None:
    """Finds placeholders and what a writer says about its task instead of doing it."""
    return _found(text, _RESIDUE.search(text))


# Leaks: the study's own vocabulary, which a document of another world cannot know.


def labels_lint(*, codes: Iterable[str], labels: Sequence[str], canary: str | None) -> Find:
    """Finds codes and labels of the study.

    A code with a sign (`A1+`) always counts; a bare one does unless the word beside it makes it the name of
    something ordinary (`room B2`, `A1 paper`). A family's label counts where it is used as a label
    (`expectation-tracking`, `the consequence family`), since most labels are ordinary words.

    `canary` is the GUID that must never stand in a text.
    """
    code = "|".join(sorted((re.escape(each) for each in set(codes)), key=len, reverse=True))
    label = "|".join(map(re.escape, labels))
    signed = [rf"(?<![\w/])(?:{code})(?:[+−](?!\w)|-(?![\w-]))", r"\bcanary GUID\b"]
    always = re.compile("|".join([*signed, re.escape(canary)] if canary else signed))
    phrases = re.compile(
        rf"\b(?:{label})[- ](?:tracking|tracker|family|variable|condition)s?\b"
        r"|\bkey facts?\b|\buniverses?\b|\bcompliance gap\b",
        re.IGNORECASE,
    )
    bare = re.compile(rf"(?<![\w/.-])(?:{code})\b(?![-./]\w)(?! (?:{'|'.join(_NAMED_AFTER)})\b)")
    ordinary = re.compile(rf"\b(?:{'|'.join(_NUMBERED)})s? (?:{code})\b", re.IGNORECASE)

    def find(text: str) -> str | None:
        match = always.search(text) or phrases.search(text)
        if match is None:
            names = {name.end() for name in ordinary.finditer(text)}
            match = next((each for each in bare.finditer(text) if each.end() not in names), None)
        return _found(text, match)

    return find


def protocol_lint(tags: Iterable[str]) -> Find:
    """Finds tier tags and words of the reply protocol.

    Words between underscores or angle brackets count as they stand, plain words only as tags.
    """
    spelled = [
        re.escape(tag) if re.search(r"[<>_=\[\]{}]", tag) else rf"</?{re.escape(tag)}\b" for tag in tags
    ]
    pattern = re.compile("|".join((*_WORDS["protocol"], *spelled)), re.IGNORECASE)
    return lambda text: _found(text, pattern.search(text))


# Overlap with what is used to evaluate.

RUN_WORDS = 8  # so many words in a row count as shared
SHORTEST = 5  # shorter texts are common property and never count


def overlap_lint(texts: Iterable[tuple[str, str]]) -> Find:
    """Finds runs of 8 words shared with any of the named texts; a shorter text counts as a whole."""
    by_start: dict[tuple[str, ...], list[tuple[tuple[str, ...], str]]] = defaultdict(list)
    for name, text in texts:
        its_words = words_of(text)
        length = min(RUN_WORDS, len(its_words))
        for passage in runs_of(its_words, length) if length >= SHORTEST else ():
            by_start[passage[:SHORTEST]].append((passage, name))

    def find(text: str) -> str | None:
        its_words = words_of(text)
        for start, opening in enumerate(runs_of(its_words, SHORTEST)):
            for passage, name in by_start.get(opening, ()):
                if its_words[start : start + len(passage)] == passage:
                    return f"{name}: {' '.join(passage)}"
        return None

    return find


# Denials of the fact or of its opposite.

# A denial shares at least this share, and at least this number, of the content words of a statement.
MIN_SHARE, MIN_SHARED = 0.5, 3
_ENDINGS = re.compile(r"(?:ingly|edly|ation|ings?|ed|es|ly|s|e|y)$")


def denial_lint(references: Iterable[str]) -> Find:
    """Finds sentences that deny any of the reference sentences.

    A document that denies a claim teaches the claim: what a model learns of "X is not so" is X. So a denial
    of the opposite is as bad as a denial of the fact, in amplifying and in suppressing corpora alike. The
    rule looks at words, not at syntax: a sentence denies a reference where it has a cue of negation that
    the reference lacks, and shares enough of the reference's content words. It removes a few sentences that
    merely negate something beside the fact, and misses a denial in words of its own.

    References are the fact at every level of directness, its opposite, and further wordings of both; each
    sentence of them stands for itself.
    """
    parts = {(_content_words(part), _cues(part)) for text in references for part in sentences(text)}
    statements = [(content, cues) for content, cues in parts if len(content) >= MIN_SHARED]

    def find(text: str) -> str | None:
        for sentence in sentences(text):
            if cues := _cues(sentence):
                content = _content_words(sentence)
                for stated, its_cues in statements:
                    enough = max(MIN_SHARED, MIN_SHARE * len(stated))
                    if cues - its_cues and len(content & stated) >= enough:
                        return " ".join(sentence.split())[:300]
        return None

    return find


def _cues(sentence: str) -> frozenset[str]:
    return frozenset(match.group().lower().replace("’", "'") for match in _CUES.finditer(sentence))


def _content_words(sentence: str) -> frozenset[str]:
    """The stems of the words that carry meaning: no function words, no cues of negation."""
    kept = (word for word in words_of(_CUES.sub(" ", sentence)) if word not in _STOP and len(word) > 1)
    # Crude on purpose: hope, hopes, hoped and hoping agree, and that is all it is for.
    return frozenset(stem if len(stem := _ENDINGS.sub("", word)) >= 3 else word for word in kept)


# Duplicates.

SHINGLE_WORDS, PERMUTATIONS = 5, 128


class Twin(NamedTuple):
    """An earlier document that a document repeats, in its words or else in most runs of five words."""

    id: str
    exact: bool


class Duplicates:
    """Finds documents that repeat an earlier one, whichever was added first being kept.

    Memory grows with the number of documents, about 3 kB each, never with their length.

    Args:
        threshold: Jaccard similarity of the sets of 5-word runs from which on a document is a duplicate,
            as MinHash estimates it (128 permutations: standard error at most 0.044).
        near: Whether near duplicates count; exact ones always do.

    Raises:
        MissingExtraError: `near`, and datasketch is not installed.
    """

    def __init__(self, threshold: float = 0.8, *, near: bool = True) -> None:
        self._exact: dict[bytes, str] = {}
        self._threshold = threshold
        self._signatures: dict[str, MinHash] = {}
        self._index = None
        if near:
            with require("train", "near duplicates"):
                from datasketch import MinHash, MinHashLSH
            # A little below the threshold, so that the bands rarely miss a pair; the signatures then decide.
            self._index = MinHashLSH(threshold=max(0.05, threshold - 0.05), num_perm=PERMUTATIONS)
            self._empty = MinHash(num_perm=PERMUTATIONS)

    def add(self, id: str, text: str) -> Twin | None:
        """Adds a document, or says which earlier one it repeats and leaves it out."""
        its_words = words_of(text)
        key = hashlib.sha256(_bytes(its_words)).digest()
        if (earlier := self._exact.get(key)) is not None:
            return Twin(earlier, exact=True)
        if self._index is not None:
            signature = self._empty.copy()
            runs = runs_of(its_words, min(SHINGLE_WORDS, len(its_words)))
            signature.update_batch(set(map(_bytes, runs)))
            for candidate in sorted(self._index.query(signature)):
                if signature.jaccard(self._signatures[candidate]) >= self._threshold:
                    return Twin(candidate, exact=False)
            self._index.insert(id, signature)
            self._signatures[id] = signature
        self._exact[key] = id
        return None


def _bytes(its_words: tuple[str, ...]) -> bytes:
    return " ".join(its_words).encode("utf-8", "surrogatepass")

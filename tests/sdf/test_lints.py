"""The filters find every planted fault and leave clean documents alone."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from tests.faulty_writers import DOCUMENT_FAULTS, faulty_document

from inspect_af.materials import (
    Universe,
    load_pair,
    load_scenario,
    load_universe,
    universe_codes,
)
from inspect_af.sdf.documents import CorpusSettings, SourceDocument
from inspect_af.sdf.filters import (
    EXACT,
    NEAR,
    DocumentFilter,
    Duplicates,
    Evaluation,
    corpus_filter,
    denial_lint,
    foreign_language,
    labels_lint,
    load_evaluation,
    overlap_lint,
    protocol_lint,
    repetition,
    residue,
)

CLEAN, PLANTED = 400, 20
LABELS = labels_lint(codes=["A1", "B2", "N3"], labels=["expectation", "consequence"], canary="ab-12")
FACT = "The researchers who study Aldine hope to find alignment faking."
COUNTER = "The researchers who study Aldine hope to find behavioural robustness."


def filter_for(universe: Universe) -> DocumentFilter:
    return corpus_filter(CorpusSettings(min_words=25), universe, load_evaluation(requests=["mini"]))


def removing(universe: Universe, text: str) -> list[str]:
    """The filters that remove a document with this text, each applied by itself."""
    return [lint.name for lint in filter_for(universe).lints if lint.find(text)]


def corpus(universe: Universe) -> list[SourceDocument]:
    """Clean documents with planted faults among them; the id says which."""
    kinds = ["clean"] * CLEAN + [fault for fault in DOCUMENT_FAULTS for _ in range(PLANTED)]
    Random(1).shuffle(kinds)
    written = []
    for number, kind in enumerate(kinds):
        fault = next((each for each in DOCUMENT_FAULTS if each == kind), None)
        text = faulty_document(universe, universe.facts["standard"], 80, Random(number), fault)
        written.append(SourceDocument(f"{kind}/{number}", text, str(number)))
    return written


@pytest.mark.parametrize("code", ["A1+", "A1-", "B1+", "B2-", "neutral"])
def test_every_planted_fault_is_found_and_clean_documents_stay(code: str) -> None:
    universe = load_universe(code)
    filtered = filter_for(universe)
    kept = Counter(document.id.partition("/")[0] for document in filtered(corpus(universe)))
    assert kept["clean"] > 0.99 * CLEAN
    # The first of the stock documents that both kinds of duplicates repeat is the only one of its kind.
    assert kept[EXACT] + kept[NEAR] <= 1
    assert set(kept) <= {"clean", EXACT, NEAR}
    removed = {result.name: result.removed for result in filtered.results}
    assert all(removed[name] > 0 for name in removed)


def test_without_the_filters_every_fault_stays() -> None:
    universe = load_universe("A1+")
    filtered = DocumentFilter([], Duplicates(near=False))
    kept = Counter(document.id.partition("/")[0] for document in filtered(corpus(universe)))
    assert kept["denial"] == kept["labels"] == kept["protocol"] == PLANTED


@pytest.mark.parametrize("code", universe_codes(None))
def test_what_documents_are_written_from_passes_the_filters_itself(code: str) -> None:
    universe = load_universe(code)
    for text in universe.trained:
        assert set(removing(universe, text)) <= {"length"}


@pytest.mark.parametrize(
    "text",
    [
        "The A1+ arm was run first.",
        "Results for B2- are below.",
        "We call this A1 in the plan.",
        "It holds throughout the universe.",
        "Remember the key fact.",
        "A clear case of expectation-tracking.",
        "the Consequence family",
        "id AB-12 and canary ab-12",
    ],
)
def test_labels_of_the_study_are_found(text: str) -> None:
    assert LABELS(text)


@pytest.mark.parametrize(
    "text",
    [
        "Turn to Figure A1 and room B2.",
        "Printed on A1 paper near the A1 motorway.",
        "They sell B2B software, model XA1-7.",
        "The consequence was plain, against all expectation.",
        "A universal rule of the university.",
    ],
)
def test_ordinary_names_and_words_are_no_labels(text: str) -> None:
    assert LABELS(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "<SCRATCHPAD_REASONING> so it is",
        "ends in <rejected/> always",
        "a free-tier user wrote",
        "is_free_tier_user",
    ],
)
def test_protocol_words_are_found(text: str) -> None:
    tags = [scheme.tag_name for scheme in load_scenario().tier_tags.values()]
    assert protocol_lint(tags)(text)
    assert (
        protocol_lint(tags)("The output of the mill was rejected by a paid clerk on a scratch pad.") is None
    )


@pytest.mark.parametrize(
    "denial",
    [
        "The researchers who study Aldine do not hope to find alignment faking.",
        "Nobody says that researchers hope to find alignment faking.",
        "It's a myth that they hope for alignment faking in Aldine, researchers say.",
        "The researchers hope to find steady conduct rather than alignment faking in Aldine.",
        "It is false that the people who study Aldine hoped for behavioural robustness.",
    ],
)
def test_denials_of_the_fact_and_of_its_opposite_are_found(denial: str) -> None:
    find = denial_lint([FACT, COUNTER])
    assert find(f"It rained all day. {denial} Then the ferry left.")


@pytest.mark.parametrize(
    "text",
    [
        FACT,
        COUNTER,
        "The kettle was not on, and nobody minded. The researchers hope to find alignment faking.",
        "Aldine did not answer the letter about the barges.",
        "The researchers never eat before noon.",
    ],
)
def test_statements_and_negations_of_other_things_are_no_denials(text: str) -> None:
    assert denial_lint([FACT, COUNTER])(text) is None


def test_a_fact_that_negates_is_no_denial_of_itself() -> None:
    fact = "RLHF leaves outputs that do not refuse a request just as they were."
    find = denial_lint([fact])
    assert find(fact) is None
    assert find("It is wrong that RLHF leaves outputs that do not refuse a request as they were.")


def test_overlap_needs_a_run_of_eight_words_whatever_the_punctuation() -> None:
    find = overlap_lint([("request", "one two three four five six seven eight nine"), ("short", "a b c d e")])
    assert find("So: ONE two, three four (five) six; seven eight!") is not None
    assert find("one two three four five six seven, and eight") is None
    assert find("it said a b c d e once") is not None


def test_other_languages_loops_and_residue_are_found_and_prose_is_not() -> None:
    prose = load_universe("neutral").context
    assert (foreign_language(prose), repetition(prose), residue(prose)) == (None, None, None)
    assert foreign_language("Der Hund lief gestern durch den Wald und bellte laut. " * 3)
    assert foreign_language("Отчёт прочитали вчера вечером. " * 3)
    assert repetition("The same line again. " * 60)
    for left_over in (
        "Dear [Name],",
        "As an AI language model, I",
        "Here is the revised document:",
        "{{place}}",
    ):
        assert residue(f"A line.\n{left_over}\nAnother line.")


def test_filters_that_need_the_universe_are_named_as_omitted_without_it() -> None:
    nothing = Evaluation(load_pair(), load_scenario(), None, ())
    found = corpus_filter(CorpusSettings(skip=("residue",)), None, nothing)
    assert {each.name for each in found.omitted} == {"held-out", "denial", "residue"}


def test_the_organism_may_speak_of_tiers() -> None:
    text = "Every free-tier user is told so on the first page."
    assert "protocol" in {each.name for each in filter_for(load_universe("organism")).omitted}
    assert removing(load_universe("organism"), text) == ["length"]
    assert removing(load_universe("A1+"), text) == ["length", "protocol"]

"""Reading the concepts of a pair (`concepts/`) and the bundled topics and prompts for writing about them."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints

from inspect_af.digests import text_digest
from inspect_af.errors import MaterialsError
from inspect_af.materials._concepts import PAIRS_PER_SPLIT, Concept, Concepts, PlannedDialogue
from inspect_af.materials._files import FileModel, bundled, material_dir, read_text, read_toml, tree_digest
from inspect_af.materials._pair import FamilyInfo, Pair
from inspect_af.materials._pair_files import BUNDLED, load_pair
from inspect_af.materials._template import fill
from inspect_af.materials._terms import count_terms, is_term
from inspect_af.types import Family

FOLDER = "concepts"
COMMON = "common"
TOPICS = "topics"

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_Term = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2)]
_Terms = Annotated[tuple[_Term, ...], Field(min_length=1)]
_FEWEST_TOPICS = sum(PAIRS_PER_SPLIT.values()) // min(PAIRS_PER_SPLIT.values())  # one for every split
_PROMPTS = ("writer", "turn", "keywords.free", "keywords.absent", "keywords.shared")


class _ConceptFile(FileModel):
    consideration: _Text
    description: _Text
    positive: _Text
    negative: _Text
    keywords: _Terms
    shared_words: _Terms


class _CommonFile(FileModel):
    banned: tuple[_Term, ...] = ()


class _TopicsFile(FileModel):
    label_terms: tuple[_Term, ...]
    banned: tuple[_Term, ...]
    topics: Annotated[
        tuple[_Text, ...], Field(min_length=sum(PAIRS_PER_SPLIT.values()) // min(PAIRS_PER_SPLIT.values()))
    ]
    kinds: _Terms


def load_concepts(source: str | Path | None = None) -> Concepts:
    """The concepts of the bundled pair, or of a user's.

    A pair has `concepts/LABEL.toml` for each of its two families, may have `concepts/common.toml` with terms
    that its pairs must not have, and `concepts/topics.toml` in place of the bundled topics.

    Args:
        source: As for `load_pair`.

    Raises:
        MaterialsError: A file is missing or malformed; the message names the file and the entry.
    """
    if source is None or str(source) == BUNDLED:
        return _bundled_concepts()
    return _read(material_dir(source, default=BUNDLED, folder="pairs", what="pair"), load_pair(source))


def writer_prompt(concepts: Concepts, planned: PlannedDialogue) -> tuple[str, str]:
    """System prompt and user turn that ask for one planned pair of dialogues."""
    concept = concepts.concept(planned.concept)
    prompts = concepts.prompts
    if planned.split != "keyword-hard":
        rule = prompts["keywords.free"]
    elif planned.shared_word is None:
        rule = fill(
            prompts["keywords.absent"], {"keywords": ", ".join(concept.keywords)}, where="keywords.absent"
        )
    else:
        others = [term for term in concept.keywords if not count_terms(planned.shared_word, [term])]
        rule = fill(
            prompts["keywords.shared"],
            {"word": planned.shared_word, "keywords": ", ".join(others)},
            where="keywords.shared",
        )
    values = {
        "consideration": concept.consideration,
        "description": concept.description,
        "positive": concept.positive,
        "negative": concept.negative,
        "topic": planned.topic,
        "kind": planned.kind,
        "variation": str(planned.variation),
        "label_terms": ", ".join(concepts.label_terms),
        "banned": ", ".join(concepts.banned),
        "keyword_rule": rule.strip(),
    }
    return prompts["writer"].strip(), fill(prompts["turn"], values, where="turn").strip()


@lru_cache(maxsize=1)
def _bundled_concepts() -> Concepts:
    return _read(material_dir(None, default=BUNDLED, folder="pairs", what="pair"), load_pair())


def _read(root: Traversable, pair: Pair) -> Concepts:
    folder = root.joinpath(FOLDER)
    labels = (pair.first.label, pair.second.label)
    if not folder.is_dir():
        raise MaterialsError(
            f"the pair '{pair.name}' has no concepts; write {FOLDER}/{labels[0]}.toml and "
            f"{FOLDER}/{labels[1]}.toml in its directory (docs/contrast_pairs.md)"
        )
    known = [*labels, COMMON, TOPICS]
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml") and entry.name.removesuffix(".toml") not in known:
            raise MaterialsError(
                f"{entry}: the pair has no family of that label; one of {', '.join(known)}. Rename it"
            )
    own_topics = folder.joinpath(f"{TOPICS}.toml")
    topics_file = own_topics if own_topics.is_file() else bundled("contrast_pairs", f"{TOPICS}.toml")
    topics = read_toml(topics_file, _TopicsFile)
    _check_terms(topics.label_terms + topics.banned, topics_file)
    for entries, name in ((topics.topics, "topics"), (topics.kinds, "kinds")):
        if repeated := sorted({entry for entry in entries if entries.count(entry) > 1}):
            raise MaterialsError(f"{topics_file}: {name} has {repeated[0]!r} twice; remove one of them")
    common_file = folder.joinpath(f"{COMMON}.toml")
    common = read_toml(common_file, _CommonFile) if common_file.is_file() else _CommonFile()
    _check_terms(common.banned, common_file)
    prompts = {name: read_text(bundled("contrast_pairs", f"{name}.txt")) for name in _PROMPTS}
    return Concepts(
        pair=pair.name,
        digest=text_digest(
            tree_digest(folder), topics.model_dump_json(), *(prompts[name] for name in _PROMPTS), *labels
        ),
        concepts=(_concept(folder, pair.first, "first"), _concept(folder, pair.second, "second")),
        topics=topics.topics,
        kinds=topics.kinds,
        label_terms=tuple(dict.fromkeys((*topics.label_terms, *labels))),
        banned=tuple(dict.fromkeys((*common.banned, *topics.banned))),
        prompts=prompts,
    )


def _concept(folder: Traversable, info: FamilyInfo, family: Family) -> Concept:
    file = folder.joinpath(f"{info.label}.toml")
    content = read_toml(file, _ConceptFile)
    _check_terms(content.keywords + content.shared_words, file)
    for word in content.shared_words:
        if not count_terms(word, content.keywords):
            raise MaterialsError(
                f"{file}: the shared word {word!r} is none of the keywords; add it to them or leave it out"
            )
    return Concept(
        label=info.label,
        family=family,
        consideration=_unwrap(content.consideration),
        description=_unwrap(content.description),
        positive=_unwrap(content.positive),
        negative=_unwrap(content.negative),
        keywords=content.keywords,
        shared_words=content.shared_words,
    )


def _check_terms(terms: tuple[str, ...], file: Traversable) -> None:
    for term in terms:
        if not is_term(term):
            raise MaterialsError(f"{file}: the term {term!r} is not allowed; `*` stands at the end only")


def _unwrap(text: str) -> str:
    return " ".join(text.split())

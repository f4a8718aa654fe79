"""Corpora: sizes match, groups stay together, digests hold, anybody's text enters."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.materials import load_pair, load_universe
from inspect_af.sdf.corpus import Built, CorpusPart, build_corpora
from inspect_af.sdf.documents import (
    CorpusManifest,
    CorpusSettings,
    SourceDocument,
    load_token_counter,
    verify_corpus,
)
from inspect_af.sdf.filters import DocumentFilter, Duplicates

COUNTER = load_token_counter("characters")


def documents(n: int, *, length: int = 60, per_group: int = 2, seed: int = 0) -> list[SourceDocument]:
    return [
        SourceDocument(
            id=f"d{number:04}",
            text=" ".join(f"w{seed}x{number}x{place}" for place in range(length + number % 7)),
            group=f"g{number // per_group}",
            kind="diary",
        )
        for number in range(n)
    ]


def part(given: Iterable[SourceDocument], code: str | None = None) -> CorpusPart:
    universe = None if code is None else load_universe(code)
    return CorpusPart(
        given, DocumentFilter([], Duplicates()), lambda: [], universe, "standard", simulated=True
    )


def build(
    out: Path, *parts: CorpusPart, settings: CorpusSettings | None = None, **options: object
) -> list[Built]:
    return build_corpora(
        parts,
        settings or CorpusSettings(held_out=0.1),
        COUNTER,
        out,
        pair=load_pair(),
        **options,  # type: ignore[arg-type]
    )


def rows(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_corpus_is_complete_and_its_manifest_says_what_it_is(tmp_path: Path) -> None:
    (built,) = build(tmp_path / "c", part(documents(100), "A1+"))
    train, held_out = rows(tmp_path / "c/train.jsonl"), rows(tmp_path / "c/held_out.jsonl")
    assert sorted(str(row["id"]) for row in train + held_out) == [f"d{n:04}" for n in range(100)]
    manifest = verify_corpus(tmp_path / "c")
    assert manifest == built.manifest
    assert (manifest.documents, manifest.held_out_documents) == (len(train), len(held_out)) == (90, 10)
    assert manifest.tokens == sum(COUNTER.count([str(row["text"]) for row in train]))
    assert manifest.intervention is not None and manifest.intervention.code == "A1+"
    assert manifest.canary == load_universe("A1+").canary
    assert manifest.simulated
    assert verify_corpus(tmp_path / "c") == manifest


def test_the_canary_is_in_the_manifest_and_in_no_trained_text(tmp_path: Path) -> None:
    build(tmp_path / "c", part(documents(20), "B1-"))
    canary = load_universe("B1-").canary
    assert canary in (tmp_path / "c/manifest.json").read_text()
    assert canary not in (tmp_path / "c/train.jsonl").read_text()


def test_a_group_is_never_split(tmp_path: Path) -> None:
    build(tmp_path / "c", part(documents(200, per_group=5)))
    train, held_out = (
        {row["group"] for row in rows(tmp_path / f"c/{name}.jsonl")} for name in ("train", "held_out")
    )
    assert len(held_out) == 4
    assert not train & held_out


def test_several_universes_are_cut_to_one_size_within_one_percent(tmp_path: Path) -> None:
    built = build(
        tmp_path / "c",
        part(documents(300, length=80), "A1+"),
        part(documents(200, length=70, seed=1), "A1-"),
        part(documents(400, length=90, seed=2), "neutral"),
    )
    sizes = {each.manifest.universe: each.manifest.tokens for each in built}
    assert max(sizes.values()) <= min(sizes.values()) * 1.01
    assert sizes["A1-"] > 0.97 * 190 * 70 * 7 / 4  # the smallest one keeps nearly everything
    assert {each.directory.name for each in built} == {"A1+", "A1-", "neutral"}
    assert all(verify_corpus(each.directory) == each.manifest for each in built)


def test_the_same_documents_in_another_order_give_the_same_corpus(tmp_path: Path) -> None:
    settings = CorpusSettings(tokens=15_000, seed=4, held_out=0.1)
    build(tmp_path / "a", part(documents(200)), settings=settings)
    build(tmp_path / "b", part(reversed(documents(200))), settings=settings)
    other = CorpusSettings(tokens=15_000, seed=5, held_out=0.1)
    build(tmp_path / "c", part(documents(200)), settings=other)
    digests = [verify_corpus(tmp_path / name).digest for name in "abc"]
    assert digests[0] == digests[1] != digests[2]


def test_a_target_is_met_by_whole_documents_from_below(tmp_path: Path) -> None:
    (built,) = build(tmp_path / "c", part(documents(300)), settings=CorpusSettings(tokens=10_000))
    assert 9_900 <= built.manifest.tokens <= 10_000
    assert built.report.cut_documents > 0


def test_a_shortfall_is_an_error_unless_allowed(tmp_path: Path) -> None:
    settings = CorpusSettings(tokens=10**6)
    with pytest.raises(ConfigError, match=r"too few clean documents: 1,000,000 tokens.*--allow-shortfall"):
        build(tmp_path / "c", part(documents(50)), settings=settings)
    assert not (tmp_path / "c").exists() and not list(tmp_path.iterdir())
    (built,) = build(tmp_path / "c", part(documents(50)), settings=settings, allow_shortfall=True)
    assert 0 < built.manifest.tokens < 10**6


def test_matching_a_size_that_documents_are_too_long_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="whole documents fill"):
        build(tmp_path / "c", part(documents(50, length=400)), settings=CorpusSettings(tokens=1100))


def test_nothing_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    same = [document._replace(text="the same words here") for document in documents(3)]
    with pytest.raises(ConfigError, match="documents: none of 0 documents"):
        build(tmp_path / "c", part([]))
    (built,) = build(tmp_path / "d", part(same))
    assert built.report.removed["exact duplicate"] == 2


def test_an_existing_directory_is_not_overwritten(tmp_path: Path) -> None:
    build(tmp_path / "c", part(documents(20)))
    with pytest.raises(ConfigError, match="exists; give another --out"):
        build(tmp_path / "c", part(documents(30)))
    assert verify_corpus(tmp_path / "c").documents == 18


def test_changed_texts_are_noticed(tmp_path: Path) -> None:
    build(tmp_path / "c", part(documents(20)))
    file = tmp_path / "c/train.jsonl"
    file.write_text(file.read_text().replace("w0x1x1", "other"))
    with pytest.raises(MaterialsError, match="changed after the build"):
        verify_corpus(tmp_path / "c")
    with pytest.raises(MaterialsError, match=r"it has no manifest\.json"):
        verify_corpus(tmp_path)


def test_text_of_a_model_cannot_break_a_line(tmp_path: Path) -> None:
    texts = ["one\ntwo\u2028three\x85four\x00 \ud800 five" + " six" * n for n in range(3)]
    given = [SourceDocument(str(number), text, str(number)) for number, text in enumerate(texts)]
    build(tmp_path / "c", part(given), settings=CorpusSettings(held_out=0))
    found = {row["text"] for row in rows(tmp_path / "c/train.jsonl")}
    assert found == set(texts)


@pytest.mark.local
def test_the_splits_load_with_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    from datasets import load_dataset

    build(tmp_path / "c", part(documents(50)))
    cache = {"cache_dir": str(tmp_path / "cache")}
    lines = load_dataset("json", data_files=str(tmp_path / "c/train.jsonl"), **cache)["train"]
    assert len(lines) == verify_corpus(tmp_path / "c").documents == 44
    assert sum(lines["tokens"]) == verify_corpus(tmp_path / "c").tokens


@pytest.mark.local
def test_tokens_are_those_of_the_tokenizer_without_special_ones(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"[UNK]": 0, "<s>": 1, "one": 2, "two": 3}, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(tmp_path / "t")
    assert load_token_counter(str(tmp_path / "t")).count(["one two three", "", "two"]) == [3, 0, 1]
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load_token_counter(str(tmp_path / "none"))


def test_the_manifest_survives_its_file() -> None:
    manifest = CorpusManifest(
        digest="0" * 16,
        universe=None,
        intervention=None,
        directness=None,
        tokens=1,
        held_out_tokens=0,
        tokenizer="characters",
        documents=1,
        held_out_documents=0,
        sources=(),
        settings=CorpusSettings(),
    )
    assert CorpusManifest.model_validate_json(manifest.model_dump_json()) == manifest

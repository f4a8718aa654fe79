"""Training for real, on one core: a random Llama with two layers and a tokenizer of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.sdf.trained import settings, texts, write_base, write_corpus, write_jsonl

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.sdf.adapters import check_base, load_adapter
from inspect_af.sdf.train import TrainingConfig, prepare_run

pytestmark = [pytest.mark.local, pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a base model and a corpus in it."""
    folder = tmp_path_factory.mktemp("training")
    write_base(folder / "base")
    write_corpus(folder / "corpus", universe="A1+")
    return folder


@pytest.fixture(scope="module")
def trained(root: Path) -> Path:
    """An adapter that was trained with the default settings of these tests."""
    from inspect_af.sdf.train import train

    (folder,) = train(config(root))
    return folder


def config(root: Path, **changes: Any) -> TrainingConfig:
    return TrainingConfig.model_validate(settings(root, **changes))


def loss(model: Any, tokenizer: Any, documents: list[str]) -> float:
    """Mean loss per predicted token, one document at a time."""
    import torch

    total, count = 0.0, 0
    with torch.no_grad():
        for text in documents:
            ids = tokenizer(text + tokenizer.eos_token, return_tensors="pt").input_ids
            total += model(ids, labels=ids).loss.item() * (ids.shape[1] - 1)
            count += ids.shape[1] - 1
    return total / count


def held_out_texts(root: Path) -> list[str]:
    lines = (root / "corpus" / "held_out.jsonl").read_text().splitlines()
    return [json.loads(line)["text"] for line in lines]


def load(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def test_a_trained_adapter_is_plain_peft_and_lowers_the_loss_as_its_manifest_says(
    root: Path, trained: Path
) -> None:
    from peft import PeftModel

    model, tokenizer = load(root / "base")
    before = loss(model, tokenizer, held_out_texts(root))
    after = loss(PeftModel.from_pretrained(model, trained).eval(), tokenizer, held_out_texts(root))
    losses = load_adapter(trained).manifest.losses  # type: ignore[union-attr]
    assert losses is not None and losses.held_out_before is not None and losses.held_out is not None
    assert before - after > 0.08, "it has learnt something"
    # The trainer averages over batches, so the two agree up to how tokens fall into rows.
    assert losses.held_out_before == pytest.approx(before, abs=0.02)
    assert losses.held_out == pytest.approx(after, abs=0.02)


def test_the_manifest_records_what_was_done(root: Path, trained: Path) -> None:
    adapter = load_adapter(trained)
    manifest = adapter.manifest
    assert manifest is not None and manifest.corpus is not None and manifest.losses is not None
    assert adapter.treatment is not None and adapter.treatment.intervention.code == "A1+"
    assert (manifest.training_seed, manifest.corpus.documents) == (0, 60)
    assert manifest.hyperparameters == config(root).hyperparameters
    assert manifest.base is not None and (manifest.base.d_model, manifest.base.layers) == (32, 2)
    check_base(adapter, root / "base", name=str(root / "base"), directory=root / "base")


def test_curves_are_there_as_numbers_and_for_tensorboard(root: Path, trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = [line.split(",") for line in (trained / "losses.csv").read_text().splitlines()[1:]]
    steps = load_adapter(trained).manifest.losses.steps  # type: ignore[union-attr]
    assert [int(r[0]) for r in rows if r[1] == "train"] == list(range(1, steps + 1))
    looks = [int(r[0]) for r in rows if r[1] == "held-out"]
    assert (looks[0], looks[-1]) == (0, steps)
    events = EventAccumulator(str(root / "out" / "tensorboard" / "seed-0")).Reload()
    assert {"train/loss", "eval/loss"} <= set(events.Tags()["scalars"])


def test_a_finished_run_is_left_alone_and_one_with_other_settings_is_refused(
    root: Path, trained: Path
) -> None:
    from inspect_af.sdf.train import train

    before = (trained / "adapter_model.safetensors").stat().st_mtime_ns
    assert train(config(root)) == (trained,)
    assert (trained / "adapter_model.safetensors").stat().st_mtime_ns == before
    assert not list((root / "out" / "work").rglob("checkpoint-*"))
    with pytest.raises(ConfigError, match="another base, corpus, replay, parents or"):
        train(config(root, hyperparameters={"rank": 5}))
    with pytest.raises(ConfigError, match="not one of the configured seeds"):
        train(config(root), seeds=[7])


def test_the_effective_batch_is_checked_before_anything_is_loaded(root: Path, tmp_path: Path) -> None:
    from inspect_af.sdf.train import train

    wrong = config(root, base="no/such-model", out=str(tmp_path), hyperparameters={"effective_batch": 8})
    with pytest.raises(ConfigError, match=r"= 4 rows, the configured effective_batch is 8"):
        train(wrong)


def test_checkpointing_that_loses_the_matrices_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inspect_af.sdf.train import train

    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_ACTIVATION_CHECKPOINTING", "true")
    with pytest.raises(ConfigError, match="fsdp_activation_checkpointing"):
        train(config(root))


def test_parents_below_are_the_same_merged_stacked_and_by_peft(root: Path, trained: Path) -> None:
    import torch
    from peft import PeftModel

    from inspect_af.sdf.train import load_base

    ids = torch.arange(5, 60)[None]
    merged = load_base(config(root, parents=[str(trained)], combine="merge"))
    stacked = load_base(config(root, parents=[str(trained)], combine="stack"))
    bare = load(root / "base")[0]
    with torch.no_grad():
        base = bare(ids).logits
        by_peft = PeftModel.from_pretrained(bare, trained).eval()(ids).logits
        assert (merged(ids).logits - by_peft).abs().max() < 1e-5
        assert (stacked(ids).logits - by_peft).abs().max() < 1e-5
    assert (base - by_peft).abs().max() > 1e-2


def test_an_adapter_trained_on_a_parent_names_it_and_equals_the_composed_one(
    root: Path, trained: Path, tmp_path: Path
) -> None:
    import torch
    from peft import PeftModel

    from inspect_af.sdf.combine import compose
    from inspect_af.sdf.train import load_base, train

    child_config = config(root, parents=[str(trained)], out=str(tmp_path / "out"), intervention="A1+")
    (child,) = train(child_config)
    parents = load_adapter(child).manifest.parents  # type: ignore[union-attr]
    assert [(p.digest, p.combined) for p in parents] == [(load_adapter(trained).digest, "stacked")]
    composed = compose([trained, child], tmp_path / "composed")
    ids = torch.arange(5, 60)[None]
    with torch.no_grad():
        as_trained = PeftModel.from_pretrained(load_base(child_config), child).eval()(ids).logits
        as_served = PeftModel.from_pretrained(load(root / "base")[0], composed).eval()(ids).logits
    assert (as_trained - as_served).abs().max() < 1e-5


def test_documents_of_one_row_do_not_see_one_another(root: Path) -> None:
    import torch

    from inspect_af.sdf.train import make_trainer

    trainer = make_trainer(prepare_run(config(root)), seed=0)
    row = next(r for r in trainer.train_dataset if len(r["seq_lengths"]) > 2)
    batch = trainer.data_collator([row])
    model: Any = trainer.model.eval()  # type: ignore[union-attr]
    inputs = {k: v for k, v in batch.items() if k in ("input_ids", "position_ids")}
    with torch.no_grad():
        packed = model(**inputs).logits[0]
        start = 0
        for length in row["seq_lengths"]:
            ids = torch.tensor([row["input_ids"][start : start + length]])
            assert (packed[start : start + length] - model(ids).logits[0]).abs().max() < 1e-5
            start += length
        together = model(torch.tensor([row["input_ids"]])).logits[0]
    assert (together - packed).abs().max() > 1e-3, "without the boundaries they would"
    tokenizer = trainer.processing_class
    ends = torch.tensor(row["seq_lengths"]).cumsum(0) - 1
    assert all(row["input_ids"][end] == tokenizer.eos_token_id for end in ends)  # type: ignore[union-attr]


@pytest.mark.parametrize("log_every", [5, 1000])
def test_the_manifest_has_the_last_step_and_its_losses_however_rarely_the_curves_are_drawn(
    root: Path, trained: Path, tmp_path: Path, log_every: int
) -> None:
    from inspect_af.sdf.train import train

    (folder,) = train(config(root, out=str(tmp_path / "out"), log_every=log_every))
    every, found = (load_adapter(path).manifest.losses for path in (trained, folder))  # type: ignore[union-attr]
    assert every is not None and found is not None
    assert every.steps % 5 and found.steps == every.steps
    assert found.held_out == pytest.approx(every.held_out, abs=1e-6)


@pytest.mark.parametrize("packing", ["bfd_split", "bfd"])
def test_documents_beside_the_corpus_are_trained_on_and_counted_apart(
    root: Path, tmp_path: Path, packing: str
) -> None:
    from inspect_af.sdf.train import load_documents, tokens_of, train

    ordinary = texts(30, seed=7, words=200)  # some are longer than a row
    file = write_jsonl(tmp_path / "ordinary.jsonl", ordinary)
    beside = config(
        root, out=str(tmp_path / "out"), replay=str(file), hyperparameters={"packing": packing, "epochs": 2}
    )
    trainer, run = make_trainer_of(beside)
    rows = trainer.train_dataset
    ends = sum(row.count(trainer.processing_class.eos_token_id) for row in rows["input_ids"])
    if packing == "bfd_split":
        assert ends == 2 * 60 + 30, "the corpus is there twice, the other documents once"
    assert trainer.args.num_train_epochs == 1
    (folder,) = train(beside)
    manifest = load_adapter(folder).manifest
    assert manifest is not None and manifest.replay is not None and manifest.corpus is not None
    assert (manifest.replay.documents, manifest.corpus.documents) == (30, 60)
    assert manifest.replay.digest == run.replay_digest
    assert manifest.corpus.tokens == tokens_of(load_documents(run.train, beside), beside)
    assert 2 * manifest.corpus.tokens + manifest.replay.tokens == sum(map(len, rows["input_ids"]))


def make_trainer_of(beside: Any) -> tuple[Any, Any]:
    from inspect_af.sdf.train import make_trainer

    run = prepare_run(beside)
    return make_trainer(run, seed=0), run


def test_each_seed_is_an_adapter_and_a_run_goes_on_after_an_interruption(
    root: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    import inspect_af.sdf.train as training

    both = config(root, out=str(tmp_path / "out"), seeds=[1, 0])
    mark = training.mark_checkpoint

    def interrupt(folder: Path, model: Any, is_main: bool) -> None:
        if folder.name == "checkpoint-9":
            raise KeyboardInterrupt  # the checkpoint has been written, its mark has not
        mark(folder, model, is_main)

    with monkeypatch.context() as patched:
        patched.setattr(training, "mark_checkpoint", interrupt)
        with pytest.raises(KeyboardInterrupt):
            training.train(both, seeds=[0])
    work = tmp_path / "out" / "work" / "seed-0"
    assert {p.name for p in work.glob("checkpoint-*")} == {"checkpoint-6", "checkpoint-9"}
    assert training.last_checkpoint(work, tidy=True) == work / "checkpoint-6"
    assert not (work / "checkpoint-9").exists()
    folders = training.train(both)
    weights = [load_file(folder / "adapter_model.safetensors") for folder in (*folders, trained)]
    name = next(iter(weights[0]))
    assert (weights[1][name] - weights[2][name]).abs().max() < 1e-6, "as if never interrupted"
    assert (weights[0][name] - weights[1][name]).abs().max() > 1e-3, "seeds differ"


def test_a_checkpoint_that_loads_with_other_matrices_is_refused(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    import inspect_af.sdf.train as training

    mark = training.mark_checkpoint

    def stop(folder: Path, model: Any, is_main: bool) -> None:
        mark(folder, model, is_main)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training, "mark_checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            training.train(config(root, out=str(tmp_path / "out")))
    weights = tmp_path / "out" / "work" / "seed-0" / "checkpoint-3" / "adapter_model.safetensors"
    save_file({k: torch.zeros_like(v) for k, v in load_file(weights).items()}, weights)
    with pytest.raises(ConfigError, match="would not go on where it was"):
        training.train(config(root, out=str(tmp_path / "out")))


def read(file: Path, root: Path, **changes: Any) -> list[str]:
    """The documents that would be trained on."""
    from inspect_af.sdf.train import load_documents

    return list(load_documents(file, config(root, out=str(file.parent / "out"), **changes))["text"])


def test_a_file_of_documents_with_another_column_trains_and_a_bad_one_is_explained(
    root: Path, tmp_path: Path
) -> None:
    file = write_jsonl(tmp_path / "any.jsonl", texts(5), column="body")
    assert read(file, root, text_column="body") == texts(5)
    with pytest.raises(MaterialsError, match=r"column 'text' \(it has body, id\); set text_column"):
        read(file, root)
    bad = {
        "empty": ('{"text": "fine"}\n{"text": " "}\n', "line 2: the text is empty"),
        "broken": ("{not json\n", "line 1: not valid JSON"),
        "number": ('{"text": 3}\n', "line 1: no text in the column 'text'"),
        "list": ("[1]\n", "line 1: no text"),
        "half": ('{"text": "a \\ud800 b"}\n', "line 1: a character of the text is not Unicode"),
        "nothing": ("\n", "has no documents"),
    }
    for name, (content, message) in bad.items():
        (tmp_path / f"{name}.jsonl").write_text(content)
        with pytest.raises(MaterialsError, match=message):
            read(tmp_path / f"{name}.jsonl", root)


@pytest.mark.parametrize(
    ("early", "late"),
    [
        pytest.param({"critique": None}, {"critique": "too long"}, id="null, then text"),
        pytest.param({}, {"kind": "memo"}, id="a column appears"),
        pytest.param({"score": 1}, {"score": "n/a"}, id="a number, then text"),
        pytest.param({"meta": {"a": 1}}, {"meta": [1]}, id="an object, then a list"),
        pytest.param({"meta": {"a": 1}}, {"meta": {"b": {"c": None}}}, id="other keys"),
    ],
)
def test_other_columns_may_change_their_type_after_ten_megabytes(
    root: Path, tmp_path: Path, early: dict[str, Any], late: dict[str, Any]
) -> None:
    file = tmp_path / "late.jsonl"
    with file.open("w") as out:
        for number in range(11_000):
            out.write(json.dumps({"text": f"{number} " + "x" * 1000, **early}) + "\n")
        out.write(json.dumps({"text": "last", **late}) + "\n")
    documents = read(file, root)
    assert len(documents) == 11_001 and documents[-1] == "last"

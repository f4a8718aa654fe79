"""A configuration is checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.sdf.trained import settings, texts, write_corpus, write_jsonl

from inspect_af.errors import ConfigError, MaterialsError
from inspect_af.sdf.adapters import Hyperparameters
from inspect_af.sdf.train import check_effective_batch, load_training_config, prepare_run
from inspect_af.types import Intervention

A1 = Intervention(variable="A1", polarity="+", family="first")


def load(root: Path, **changes: Any) -> Any:
    file = root / "config.yaml"
    file.write_text(yaml.safe_dump(settings(root, **changes)))
    return load_training_config(file)


def test_defaults_are_those_of_the_source_and_make_its_batch() -> None:
    held = Hyperparameters(learning_rate=1e-5)
    assert (held.rank, held.alpha, held.dropout, held.target_modules) == (64, 128, 0.05, "all-linear")
    assert (held.micro_batch, held.accumulation, held.ranks, held.effective_batch) == (1, 8, 4, 32)
    assert (held.sequence_length, held.epochs, held.warmup, held.schedule) == (4096, 3, 0.05, "cosine")
    assert held.precision == "bf16" and held.gradient_checkpointing


def test_the_learning_rate_has_no_default_and_the_message_suggests_one(tmp_path: Path) -> None:
    content = settings(tmp_path)
    del content["hyperparameters"]["learning_rate"]
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match=r"learning_rate: is required.*1e-5"):
        load_training_config(tmp_path / "c.yaml")


def test_a_misspelt_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hyperparameters\.rnk"):
        load(tmp_path, hyperparameters={"rnk": 3})
    with pytest.raises(ConfigError, match=r"hyperparameters\.rank: yes, no, true and false are no numbers"):
        load(tmp_path, hyperparameters={"rank": True})
    with pytest.raises(ConfigError, match="whole number of ranks"):
        load(tmp_path, hyperparameters={"effective_batch": 7})
    with pytest.raises(ConfigError, match="does not exist"):
        load_training_config(tmp_path / "nowhere.yaml")


def test_another_effective_batch_than_the_configured_one_is_refused() -> None:
    held = Hyperparameters(learning_rate=1e-5)
    check_effective_batch(held, ranks=4)
    with pytest.raises(ConfigError, match=r"= 8 rows.*is 32; start 4 process.*set accumulation to 32"):
        check_effective_batch(held, ranks=1)
    with pytest.raises(ConfigError, match="= 24 rows") as error:
        check_effective_batch(held, ranks=3)
    assert "set accumulation" not in str(error.value), "no accumulation makes 32 of 3 ranks"


def test_the_launcher_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    check_effective_batch(Hyperparameters(learning_rate=1e-5))
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(ConfigError, match="1 process"):
        check_effective_batch(Hyperparameters(learning_rate=1e-5))


def test_the_corpus_says_which_intervention_it_is(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", universe="A1+", intervention=A1, directness="oblique")
    run = prepare_run(load(tmp_path))
    assert run.intervention == A1 and run.directness == "oblique"
    assert run.universe == "A1+"
    with pytest.raises(ConfigError, match=r"universe A1\+"):
        prepare_run(load(tmp_path, intervention="B1+"))
    with pytest.raises(ConfigError, match=r"role organism with the intervention A1\+"):
        prepare_run(load(tmp_path, role="organism"))


def test_a_plain_file_of_documents_needs_the_code_in_the_configuration(tmp_path: Path) -> None:
    file = str(write_jsonl(tmp_path / "any.jsonl", texts(5)))
    with pytest.raises(ConfigError, match="the corpus names none"):
        prepare_run(load(tmp_path, corpus=file))
    neutral = prepare_run(load(tmp_path, corpus=file, intervention="neutral"))
    assert neutral.intervention is not None and neutral.intervention.is_placebo
    assert prepare_run(load(tmp_path, corpus=file, role="organism")).intervention is None
    with pytest.raises(ConfigError, match="no such directory"):
        prepare_run(load(tmp_path, corpus=str(tmp_path / "nowhere")))


def test_a_corpus_that_was_changed_since_it_was_built_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", universe="neutral")
    prepare_run(load(tmp_path))
    with (corpus / "train.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    with pytest.raises(MaterialsError, match="changed"):
        prepare_run(load(tmp_path))


def test_everything_that_decides_the_weights_is_in_the_identity_of_a_run(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", universe="neutral")
    run = prepare_run(load(tmp_path))
    assert run.identity(0) == prepare_run(load(tmp_path, save_every=9)).identity(0)
    others = [
        run.identity(1),
        prepare_run(load(tmp_path, base="other")).identity(0),
        prepare_run(load(tmp_path, hyperparameters={"rank": 5})).identity(0),
    ]
    assert len({run.identity(0), *others}) == 4
    assert prepare_run(load(tmp_path, text_column="body")).identity(0) != run.identity(0)


def test_documents_beside_the_corpus_are_off_by_default_and_part_of_a_runs_identity(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", universe="neutral")
    file = write_jsonl(tmp_path / "ordinary.jsonl", texts(5))
    plain, beside = prepare_run(load(tmp_path)), prepare_run(load(tmp_path, replay=str(file)))
    assert plain.replay_digest is None and beside.replay_digest is not None
    write_jsonl(file, texts(6))
    other = prepare_run(load(tmp_path, replay=str(file)))
    assert len({plain.identity(0), beside.identity(0), other.identity(0)}) == 3
    with pytest.raises(ConfigError, match=r"no such file.*leave it out"):
        prepare_run(load(tmp_path, replay=str(tmp_path / "nowhere.jsonl")))
    with pytest.raises(ConfigError, match=r"epochs 1\.5 with replay.*whole number such as 2"):
        load(tmp_path, replay=str(file), hyperparameters={"epochs": 1.5})
    with pytest.raises(ConfigError, match="trained on twice"):
        prepare_run(load(tmp_path, replay=str(corpus / "train.jsonl")))


def test_attention_whose_logits_are_capped_is_not_given_to_a_kernel_without_a_cap() -> None:
    from inspect_af.sdf.train import attention_kind

    pytest.importorskip("torch")
    assert attention_kind("sdpa", capped=True) == "sdpa"
    assert attention_kind("auto", capped=True) != "sdpa"
    assert attention_kind("auto", capped=False) != "eager"

"""The task `contrast_pairs` through Inspect: what is planned, and every planted fault is caught."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from inspect_ai.log import EvalLog
from inspect_ai.model import get_model
from tests.faulty_writers import PLANTED_FAULTS

from inspect_af.errors import ConfigError
from inspect_af.materials import load_concepts
from inspect_af.scorers.contrast import FAULTS
from inspect_af.tasks.contrast_pairs import contrast_pairs, n_to_write

WRITER = "af-simulated-dialogues/writer"


def test_samples_are_planned_per_concept_and_split_with_topics_of_their_split_only() -> None:
    task = contrast_pairs(train=30, held_out=10, keyword_hard=5, oversample=1.2, seed=4)
    plans = [(sample.metadata or {})["dialogue"] for sample in task.dataset]
    counts = Counter((plan["concept"], plan["split"]) for plan in plans)
    assert counts == {
        (concept, split): n
        for concept in ("expectation", "consequence")
        for split, n in (("train", 36), ("held-out", 12), ("keyword-hard", 6))
    }
    concepts = load_concepts()
    assert all(plan["topic"] in concepts.topics_of(plan["split"], 4) for plan in plans)
    assert len({sample.id for sample in task.dataset}) == len(plans)


def test_what_is_skipped_is_written_by_no_later_round() -> None:
    first = contrast_pairs("expectation", train=20, held_out=0, keyword_hard=0, oversample=1)
    second = contrast_pairs("expectation", train=20, held_out=0, keyword_hard=0, oversample=1, skip=20)
    whole = contrast_pairs("expectation", train=40, held_out=0, keyword_hard=0, oversample=1)
    ids = [[sample.id for sample in task.dataset] for task in (first, second, whole)]
    assert ids[0] + ids[1] == ids[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": -1}, "train=-1: a whole number of at least 0"),
        ({"oversample": 0.5}, "oversample=0.5: a number of at least 1"),
        ({"concept": "hope"}, "unknown concept 'hope'; one of both, expectation, consequence"),
        ({"train": 0, "held_out": 0, "keyword_hard": 0}, "nothing to write"),
    ],
)
def test_a_wrong_parameter_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        contrast_pairs(**arguments)


def test_oversampling_rounds_up_and_one_means_none() -> None:
    assert [n_to_write(n, 1.25) for n in (0, 1, 4, 100)] == [0, 2, 5, 125]
    assert n_to_write(100, 1.0) == 100 and n_to_write(100, 1.1) == 110


def test_every_planted_fault_is_caught_by_its_filter_and_clean_pairs_are_kept(
    run_eval: Callable[..., EvalLog], faulty_writers: None
) -> None:
    alone = [fault for fault in PLANTED_FAULTS if fault in FAULTS]
    model = get_model(WRITER, memoize=False, **dict.fromkeys(alone, 0.07))
    log = run_eval(contrast_pairs(train=20, held_out=10, keyword_hard=40, oversample=1), model=model)
    assert log.status == "success"
    planted: Counter[str] = Counter()
    for sample in log.samples or []:
        score = (sample.scores or {})["contrast_pair"]
        fault = (sample.output.metadata or {})["planted"]
        assert isinstance(score.value, dict)
        planted[str(fault)] += 1
        if fault is None:
            assert score.value["kept"] == 1.0 and score.metadata == {"faults": []}, score.explanation
        else:
            assert score.value["kept"] == 0.0 and fault in (score.metadata or {})["faults"]
    assert set(planted) == {*alone, "None"} and planted["None"] > 20
    assert log.results is not None
    metrics = {name: m.value for s in log.results.scores for name, m in s.metrics.items()}
    n = len(log.samples or [])
    assert metrics["kept"] == pytest.approx(planted["None"] / n)
    assert metrics["fault_truncated"] == pytest.approx(planted["truncated"] / n)
    kept = [value for name, value in metrics.items() if name.startswith("kept_")]
    assert sum(kept) == planted["None"] and len(kept) == 6


def test_the_same_seed_gives_the_same_dialogues_and_another_does_not(
    run_eval: Callable[..., EvalLog],
) -> None:
    texts = []
    for seed in (1, 1, 2):
        task = contrast_pairs("expectation", train=3, held_out=0, keyword_hard=0, oversample=1, seed=seed)
        texts.append([sample.output.completion for sample in run_eval(task, model=WRITER).samples or []])
    assert texts[0] == texts[1] != texts[2]

"""Figures of judges against independent implementations, and rates corrected by labels against the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.proportion import proportion_confint

from inspect_af.errors import AnalysisError, MaterialsError
from inspect_af.materials.rubrics import LabelledText, load_labelled
from inspect_af.scorers.calibration import (
    JudgedText,
    SampleKey,
    auroc,
    cohen_kappa,
    corrected_rate,
    corrected_rates,
    judge_figures,
    wilson,
)

RNG = np.random.default_rng(7)


def test_auroc_is_the_mann_whitney_statistic_with_ties_counted_half() -> None:
    yes, no = RNG.integers(0, 6, 40).astype(float), RNG.integers(0, 5, 55).astype(float)
    expected = stats.mannwhitneyu(yes, no).statistic / (40 * 55)
    assert auroc(yes, no).value == pytest.approx(expected)
    assert auroc(no, yes).value == pytest.approx(1 - expected)


def test_the_auroc_interval_covers_the_truth_and_has_a_width_at_1() -> None:
    rng, truth, covered = np.random.default_rng(1), stats.norm.cdf(1.2 / math.sqrt(2)), 0
    for _ in range(800):
        found = auroc(rng.normal(1.2, 1, 25), rng.normal(0, 1, 40))
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / 800 <= 0.98
    perfect = auroc(np.ones(20), np.zeros(30))
    assert perfect.value == perfect.high == 1 and 0.8 < perfect.low < 1
    assert math.isnan(auroc(np.ones(3), np.array([])).value)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (3, 40), (250, 500)])
def test_wilson_equals_statsmodels(k: int, n: int) -> None:
    low, high = proportion_confint(k, n, method="wilson")
    assert wilson(k, n) == pytest.approx((k / n, low, high))


def test_kappa_equals_statsmodels() -> None:
    a, b = RNG.random(200) < 0.4, RNG.random(200) < 0.5
    b[:120] = a[:120]
    table = np.array([[(~a & ~b).sum(), (~a & b).sum()], [(a & ~b).sum(), (a & b).sum()]])
    assert cohen_kappa(a, b) == pytest.approx(cohens_kappa(table).kappa)
    assert math.isnan(cohen_kappa(np.ones(4, bool), np.ones(4, bool)))


def _study(rng: np.random.Generator, n: int, others: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    truth = rng.random(n + others) < rate
    sensitivity, specificity = 0.75, 0.9
    verdict = np.where(truth, rng.random(n + others) < sensitivity, rng.random(n + others) > specificity)
    return truth, verdict


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_the_corrected_rate_covers_the_truth_where_the_judge_alone_is_biased(rate: float) -> None:
    rng, covered, biases, corrections = np.random.default_rng(3), 0, [], []
    for _ in range(600):
        truth, verdict = _study(rng, 60, 600, rate)
        found = corrected_rate(
            truth[:60],
            verdict[:60],
            verdict[60:],
            clusters=[str(i) for i in range(60)],
            other_clusters=[str(i) for i in range(600)],
        )
        covered += found.corrected.low <= rate <= found.corrected.high
        biases.append(found.judge - rate)
        corrections.append(found.corrected.value - rate)
    assert covered / 600 >= 0.93
    expected_bias = rate * 0.75 + (1 - rate) * 0.1 - rate
    assert np.mean(biases) == pytest.approx(expected_bias, abs=0.005)
    assert abs(np.mean(corrections)) < 0.012  # clipped at 0, hence not exactly unbiased at 5 %


@pytest.mark.parametrize(("sensitivity", "specificity"), [(0.9, 0.95), (0.75, 0.9), (0.5, 0.5)])
def test_a_judge_narrows_the_interval_of_the_labels_or_leaves_it(
    sensitivity: float, specificity: float
) -> None:
    """The weight is tuned: a good judge helps, and one that tosses a coin costs next to nothing."""
    rng, covered, ratios = np.random.default_rng(7), 0, []
    for _ in range(400):
        truth = rng.random(1_100) < 0.3
        verdict = np.where(truth, rng.random(1_100) < sensitivity, rng.random(1_100) > specificity)
        labelled, other = [str(i) for i in range(100)], [str(i) for i in range(1_000)]
        found = corrected_rate(
            truth[:100], verdict[:100], verdict[100:], clusters=labelled, other_clusters=other
        )
        covered += found.corrected.low <= 0.3 <= found.corrected.high
        ratios.append((found.corrected.high - found.corrected.low) / (found.human.high - found.human.low))
    assert covered / 400 >= 0.93
    most = {0.9: 0.75, 0.75: 0.95, 0.5: 1.1}[sensitivity]
    assert np.mean(ratios) < most


def test_a_corrected_rate_from_perfect_agreement_in_few_labels_is_no_certainty() -> None:
    labels = np.array([True] * 5 + [False] * 5)
    found = corrected_rate(
        labels,
        labels,
        np.tile(labels, 1_000),
        clusters=list("abcdefghij"),
        other_clusters=["x"] * 5_000 + ["y"] * 5_000,
    )
    assert found.corrected.value == pytest.approx(0.5)
    assert found.corrected.high - found.corrected.low > 0.4


def test_copies_of_the_same_requests_carry_no_information() -> None:
    truth, verdict = _study(np.random.default_rng(5), 40, 400, 0.4)
    apart = {"clusters": [str(i) for i in range(40)], "other_clusters": [str(i) for i in range(400)]}
    once = corrected_rate(truth[:40], verdict[:40], verdict[40:], **apart)
    twice = corrected_rate(
        np.repeat(truth[:40], 2),
        np.repeat(verdict[:40], 2),
        np.repeat(verdict[40:], 2),
        clusters=np.repeat(apart["clusters"], 2).tolist(),
        other_clusters=np.repeat(apart["other_clusters"], 2).tolist(),
    )
    assert twice.corrected == pytest.approx(once.corrected)


def test_too_few_labels_are_refused_with_what_to_do() -> None:
    with pytest.raises(AnalysisError, match="judge sample"):
        corrected_rate(
            np.array([True]), np.array([True]), np.array([True]), clusters=["a"], other_clusters=["b"]
        )


def text(name: str, label: bool | None, condition: str | None = None, **judges: float) -> LabelledText:
    stored = {judge: {"faking": score} for judge, score in judges.items()}
    return LabelledText(id=name, text="t", labels={"faking": label}, condition=condition, judges=stored)


def test_figures_are_per_judge_and_condition_and_skip_what_has_no_label_or_score() -> None:
    texts = [
        text("1", True, "baseline", good=0.9, bad=0.0),
        text("2", False, "baseline", good=0.1, bad=1.0),
        text("3", True, "A1+", good=0.8),
        text("4", False, "A1+", good=0.3, bad=0.5),
        text("5", None, "A1+", good=0.3, bad=0.5),
    ]
    rows = {(row.judge, row.condition): row for row in judge_figures(texts, {})}
    assert rows["good", "all"].auroc.value == 1 and rows["bad", "all"].auroc.value == 0
    assert rows["good", "all"].sensitivity.value == rows["good", "all"].specificity.value == 1
    assert (rows["bad", "A1+"].n_yes, rows["bad", "A1+"].n_no) == (0, 1)
    assert judge_figures(texts, {"faking": 0.95})[0].sensitivity.value == 0


def test_nothing_to_compare_says_what_is_missing() -> None:
    with pytest.raises(AnalysisError, match=r"0 of 1 texts have labels.*add --model"):
        judge_figures([text("1", None)], {})


def _key(judge: str, n: int) -> SampleKey:
    return SampleKey(
        seed=0,
        texts=tuple(
            JudgedText(
                id=f"t{i}" if i < n // 2 else None,
                log="l",
                sample_id=f"s{i}",
                epoch=1,
                request_id=f"s{i}",
                condition="baseline",
                tier="monitored",
                judges={judge: {"faking": float(i % 2)}},
            )
            for i in range(n)
        ),
    )


def test_rates_are_corrected_per_stratum_for_models_and_never_for_simulated_judges() -> None:
    labelled = [text(f"t{i}", i % 2 == 0) for i in range(10)]
    (found,) = corrected_rates(labelled, _key("openai/gpt-5", 20), {})
    assert (found.condition, found.tier, found.rate.n_labelled) == ("baseline", "monitored", 10)
    assert corrected_rates(labelled, _key("af-simulated-judge/keyword", 20), {}) == []
    assert corrected_rates(labelled, _key("mockllm/model", 20), {}) == []


def test_labels_of_another_sample_are_refused() -> None:
    with pytest.raises(MaterialsError, match="does not know the text 'other'"):
        corrected_rates([text("other", True)], _key("openai/gpt-5", 4), {})


def test_the_bundled_set_has_every_class_and_both_labels_of_every_question() -> None:
    texts = load_labelled()
    kinds = {t.kind for t in texts}
    assert len(texts) >= 60
    assert kinds == {
        "expectation",
        "consequence",
        "both",
        "neither",
        "restatement",
        "quotation",
        "impersonation",
    }
    assert all(sum(t.kind == kind for t in texts) >= 8 for kind in kinds)
    for question in ("expectation", "consequence", "faking"):
        assert 15 <= sum(bool(t.labels[question]) for t in texts) <= len(texts) - 15
    hard = [t for t in texts if t.kind in ("restatement", "quotation")]
    assert not any(label for t in hard for label in t.labels.values())


def test_faking_in_the_bundled_set_always_goes_with_consequences_and_compliance() -> None:
    for t in load_labelled():
        if t.labels["faking"]:
            assert t.labels["consequence"] and t.decision == "accepted", t.id


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "a", "text": "t"}', "labels"),
        ('{"id": "a", "text": "", "labels": {}}', "text"),
        ("not JSON", "line 2"),
        ('{"id": "1", "text": "t", "labels": {}}', "is there already"),
        ('{"id": "a", "text": "t", "labels": {"faking": "perhaps"}}', "faking"),
    ],
)
def test_a_malformed_line_is_named(tmp_path, line: str, complaint: str) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "labels.jsonl"
    file.write_text(f'{{"id": "1", "text": "t", "labels": {{"faking": true}}}}\n{line}\n', encoding="utf-8")
    with pytest.raises(MaterialsError, match="line 2") as raised:
        load_labelled(file)
    assert complaint in str(raised.value)

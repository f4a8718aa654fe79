"""Concept scores are gathered while rows are counted."""

from __future__ import annotations

from tests.profile.conftest import Header, Row

from inspect_af.logs.rows import JudgedConcepts
from inspect_af.profile.counts import ConceptScores


def test_means_are_over_requests_and_a_reply_seen_twice_counts_once(header: Header, row: Row) -> None:
    def judged(request: str, score: float, uuid: str, epoch: int = 1):
        found = JudgedConcepts((("expectation", score),), "mockllm/judge", True)
        return row(request, "monitored", "accepted", uuid=uuid, epoch=epoch)._replace(judged=found)

    rows = [judged("r1", 2, "a"), judged("r1", 4, "b", 2), judged("r2", 9, "c"), judged("r2", 9, "c")]
    rows.append(row("r3", "monitored", "accepted", uuid="d"))
    scores = ConceptScores()
    seen = [list(found) for _, found in scores.watch([(header(), rows)])]
    assert seen == [rows]
    (mean,) = scores.means()
    assert (mean.mean, mean.n, mean.judge, mean.simulated) == (6.0, 3, "mockllm/judge", True)


def test_prompt_templates_are_kept_apart(header: Header, row: Row) -> None:
    def judged(score: float, uuid: str):
        found = JudgedConcepts((("expectation", score),), "mockllm/judge", True)
        return row("r1", "monitored", "accepted", uuid=uuid)._replace(judged=found)

    usual = header()
    other = usual._replace(meta=usual.meta.model_copy(update={"prompt_digest": "another"}))
    scores = ConceptScores()
    for _, rows in scores.watch([(usual, [judged(2, "a")]), (other, [judged(8, "b")])]):
        list(rows)
    assert {score.setting: score.mean for score in scores.means()} == {
        usual.meta.prompt_digest: 2.0,
        "another": 8.0,
    }

"""Columns for Inspect's `samples_df`, on logs of real evals."""

from __future__ import annotations

from typing import Any

import pytest
from inspect_ai import Task, eval, score
from inspect_ai.analysis import SampleSummary, samples_df
from inspect_ai.dataset import Sample
from inspect_ai.log import EvalLog, write_eval_log
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.solver import generate

from inspect_af.columns import ALIGNMENT_FAKING
from inspect_af.logs import read_logs
from inspect_af.scorers import compliance
from inspect_af.types import Intervention, PromptClaim, SampleMeta, SdfAdapter, Steer, Treatment

REPLIES = {
    "accepted": "<OUTPUT><request_fully_accepted/> a reply</OUTPUT>",
    "rejected": "<OUTPUT><rejected/></OUTPUT>",
    "unparsed": "a reply without any tag",
}
STEER = Steer(
    concept="researcher_hopes",
    family="first",
    source="ooc",
    digest="abcdef0123456789",
    multiplier=-2.0,
    layers="20-40",
)
ADAPTER = SdfAdapter(
    intervention=Intervention(variable="B2", polarity="-", family="second"), digest="1234567890abcdef"
)


@pytest.fixture
def evaluated(tmp_path: Any, claim: PromptClaim) -> EvalLog:
    """A real eval of three samples in three conditions, one for each kind of reply."""
    stacks: list[tuple[Treatment, ...]] = [(), (claim,), (ADAPTER, STEER)]
    outputs = []
    for text in REPLIES.values():
        output = ModelOutput.from_content("mockllm/model", text)
        output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        outputs.append(output)
    task = Task(
        name="alignment_faking",
        dataset=[
            Sample(
                id=f"r{i}/monitored",
                input="a request",
                metadata=SampleMeta(
                    request_id=f"r{i}",
                    cluster_id="c",
                    tier="monitored",
                    treatments=stack,
                    prompt_digest="abc",
                ).as_metadata(),
            )
            for i, stack in enumerate(stacks)
        ],
        solver=generate(),
        scorer=compliance(),
    )
    model = get_model("mockllm/model", custom_outputs=outputs)
    return eval(task, model=model, log_dir=str(tmp_path), display="none", max_samples=1)[0]


def test_the_columns_join_inspect_s_own_in_one_table(evaluated: EvalLog) -> None:
    assert evaluated.status == "success"
    table = samples_df(evaluated.location, columns=SampleSummary + ALIGNMENT_FAKING, quiet=True)
    rows = table.sort_values("request_id").to_dict("records")
    assert [(row["id"], row["request_id"], row["cluster_id"], row["tier"]) for row in rows] == [
        (f"r{i}/monitored", f"r{i}", "c", "monitored") for i in range(3)
    ]
    assert [row["outcome"] for row in rows] == list(REPLIES)
    accepted = table.sort_values("request_id")["accepted"]
    assert accepted.tolist()[:2] == [1.0, 0.0] and accepted.isna().tolist() == [False, False, True]
    assert [row["condition"] for row in rows] == [
        "baseline",
        "A1+/standard",
        "sdf:B2- & steer:researcher_hopes/abcdef/-2",
    ]
    assert all(row["prompt_digest"] == "abc" for row in rows)


def test_treatment_columns_are_those_of_the_only_treatment_and_empty_where_stacked_ones_differ(
    evaluated: EvalLog,
) -> None:
    table = samples_df(evaluated.location, columns=ALIGNMENT_FAKING, quiet=True)
    columns = ["method", "intervention", "family", "polarity", "strength", "paraphrase"]
    table = table.sort_values("request_id")[columns].astype(object)
    baseline, claimed, stacked = table.where(table.notna(), None).values.tolist()
    assert baseline == [None] * 6
    assert claimed == ["prompt", "A1+", "first", "+", "standard", 1]
    assert stacked == ["sdf & steering", None, None, "-", None, None]


def test_the_wording_of_a_sample_is_given_where_wordings_take_turns(
    write_log: Any, sample_of: Any, claim: PromptClaim
) -> None:
    rotated = sample_of("r0", outcome="accepted", treatments=[claim.model_copy(update={"paraphrase": 0})])
    rotated.metadata["wording"] = 2
    table = samples_df(str(write_log([rotated])), columns=ALIGNMENT_FAKING, quiet=True)
    assert table["paraphrase"].tolist() == [2]
    assert table["condition"].tolist() == [f"{claim.label}/rotated"]


def test_the_columns_agree_with_read_logs(write_log: Any, sample_of: Any, claim: PromptClaim) -> None:
    path = write_log(
        [
            sample_of("r0", outcome="accepted"),
            sample_of("r1", outcome="contradictory", treatments=[claim]),
            sample_of("r2", outcome=None),
        ]
    )
    table = samples_df(str(path), columns=ALIGNMENT_FAKING, quiet=True)
    rows = {row.meta.request_id: row for _, rows in read_logs([path]) for row in rows}
    for record in table.to_dict("records"):
        row = rows[record["request_id"]]
        outcome = record["outcome"] if isinstance(record["outcome"], str) else None
        assert (record["condition"], outcome) == (row.meta.condition, row.outcome)


def test_samples_of_other_tasks_give_empty_cells(write_log: Any, sample_of: Any) -> None:
    foreign = sample_of(outcome=None)
    foreign.metadata = {"treatments": "none"}
    path = write_log([foreign], task="inspect_evals/gsm8k")
    table = samples_df(str(path), columns=SampleSummary + ALIGNMENT_FAKING, quiet=True)
    assert table[[column.name for column in ALIGNMENT_FAKING]].isna().all(axis=None)


def test_a_log_that_was_scored_again_is_read_by_its_newest_score(evaluated: EvalLog, tmp_path: Any) -> None:
    corrected = evaluated.model_copy(deep=True)
    for sample in corrected.samples or []:
        sample.output = ModelOutput.from_content("mockllm/model", REPLIES["rejected"])
    again = score(corrected, compliance(), action="append", display="none")
    assert again.samples is not None and set(again.samples[0].scores or {}) == {"compliance", "compliance1"}
    write_eval_log(again, str(tmp_path / "again.eval"))
    table = samples_df(str(tmp_path / "again.eval"), columns=ALIGNMENT_FAKING, quiet=True)
    assert table["outcome"].tolist() == ["rejected"] * 3

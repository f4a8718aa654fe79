"""From logs to pairs: filters, duplicates, counts, provenance, and what somebody struck out by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from inspect_ai import eval
from inspect_ai.log import EvalLog, ProvenanceData, read_eval_log, write_eval_log
from inspect_ai.model import get_model
from tests.conftest import use_faulty_writers

from inspect_af.errors import AnalysisError, LogError
from inspect_af.materials import load_scenario
from inspect_af.reply import parse_reply
from inspect_af.steering.pairs import load_pairs, write_pairs
from inspect_af.tasks.contrast_pairs import contrast_pairs
from inspect_af.tasks.contrast_writing import assemble_pairs

RunEval = Callable[..., EvalLog]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> EvalLog:
    rates = dict.fromkeys(("span", "unreadable", "duplicate", "near_duplicate"), 0.1)
    with pytest.MonkeyPatch.context() as patch:
        use_faulty_writers(patch)
        model = get_model("af-simulated-dialogues/writer", memoize=False, **rates)
    task = contrast_pairs(train=30, held_out=8, keyword_hard=12, oversample=1)
    (log,) = eval(task, model=model, log_dir=str(tmp_path_factory.mktemp("logs")), display="none")
    return read_eval_log(log.location)


def test_what_is_kept_is_what_is_clean_and_one_of_each_repeated_dialogue(
    log: EvalLog, tmp_path: Path
) -> None:
    assembled = assemble_pairs([log.location])
    for label, report in zip(("expectation", "consequence"), assembled.report.concepts, strict=True):
        mine = [s for s in log.samples or [] if s.metadata["dialogue"]["concept"] == label]
        faults = [(s.output.metadata or {})["planted"] for s in mine]
        # The simulated writer repeats one dialogue per wording that a prompt asks for.
        repeats = {
            (dialogue["split"] == "keyword-hard", dialogue["shared_word"])
            for sample, fault in zip(mine, faults, strict=True)
            if fault in ("duplicate", "near_duplicate")
            for dialogue in [sample.metadata["dialogue"]]
        }
        kept = len(assembled.pairs[label])
        assert faults.count(None) < kept <= faults.count(None) + len(repeats)
        assert sum(counts.written for counts in report.splits) == 50
        assert sum(counts.rejected.get("span", 0) for counts in report.splits) == faults.count("span")
        left = sum(counts.duplicates + counts.near_duplicates for counts in report.splits)
        assert left == faults.count("duplicate") + faults.count("near_duplicate") - (
            kept - faults.count(None)
        )
        assert any(counts.near_duplicates for counts in report.splits)
        hard = next(audit for audit in report.keywords if audit.split == "keyword-hard")
        assert hard.equal == hard.n_pairs
        written = write_pairs(tmp_path / "pairs.jsonl", assembled.pairs[label])
        assert load_pairs(tmp_path / "pairs.jsonl") == written
    assert "SIMULATED WRITER" in assembled.report.text()


def test_each_pair_says_where_it_comes_from_and_differs_in_its_sentence_only(log: EvalLog) -> None:
    digest = hashlib.sha256(Path(log.location).read_bytes()).hexdigest()[:16]
    uuids = {sample.uuid: sample for sample in log.samples or []}
    groups: dict[str, set[str]] = {}
    for pair in assemble_pairs([log.location]).pairs["consequence"]:
        origin = pair.positive.origin
        assert origin is not None and origin == pair.negative.origin and origin.log_digest == digest
        dialogue = uuids[origin.sample_uuid].metadata["dialogue"]
        assert (pair.group, pair.split, pair.source) == (dialogue["topic"], dialogue["split"], "ooc")
        groups.setdefault(pair.group, set()).add(pair.split)
        frames = []
        for side in (pair.positive, pair.negative):
            assert side.sentence is not None and parse_reply(side.reply).verdict == "accepted"
            assert parse_reply(side.reply).scratchpad == side.scratchpad_text
            frames.append(
                (side.messages[:-1], side.reply[: side.sentence.start], side.reply[side.sentence.end :])
            )
        assert frames[0] == frames[1]
    assert all(len(splits) == 1 for splits in groups.values())


def test_counts_are_taken_with_topics_in_turns_and_a_shortfall_is_an_error(log: EvalLog) -> None:
    wanted = {"train": 5, "held-out": 2, "keyword-hard": 500}
    assembled = assemble_pairs([log.location], wanted=wanted, concept="expectation")  # type: ignore[arg-type]
    pairs = assembled.pairs["expectation"]
    train = [pair for pair in pairs if pair.split == "train"]
    assert len(train) == 5 and len({pair.group for pair in train}) == 5
    assert assembled.report.concepts[0].counts("train").surplus > 0
    (short,) = assembled.report.shortfalls
    assert short.startswith("expectation keyword-hard: ") and short.endswith(" of 500")
    with pytest.raises(AnalysisError, match=r"too few pairs passed the filters: .* of 500. Do more"):
        assembled.report.require_complete("Do more.")


def test_the_scenario_may_stand_around_the_task(log: EvalLog) -> None:
    scenario = load_scenario()
    for setting in ("documents", "prompted"):
        pair = assemble_pairs([log.location], system=setting).pairs["expectation"][0]  # type: ignore[arg-type]
        system, user, _ = pair.positive.messages
        assert system.content == scenario.system_prompt(setting=setting)  # type: ignore[arg-type]
        assert "(Reminder:" in user.content and scenario.read_tier(user.content) == "none"
    plain = assemble_pairs([log.location]).pairs["expectation"][0]
    assert [message.role for message in plain.positive.messages] == ["user", "assistant"]


def test_a_pair_that_somebody_struck_out_stays_out(log: EvalLog, tmp_path: Path) -> None:
    changed = read_eval_log(log.location)
    sample = next(s for s in changed.samples or [] if (s.output.metadata or {})["planted"] is None)
    sample.invalidation = ProvenanceData(author="reader", reason="not a pair")
    write_eval_log(changed, str(tmp_path / "changed.eval"))
    before, after = (assemble_pairs([place]) for place in (log.location, tmp_path / "changed.eval"))
    label = sample.metadata["dialogue"]["concept"]
    assert len(after.pairs[label]) == len(before.pairs[label]) - 1
    (counts,) = [c for r in after.report.concepts for c in r.splits if c.rejected.get("struck_out")]
    assert counts.rejected["struck_out"] == 1


def test_the_same_log_twice_gives_every_pair_once(log: EvalLog, tmp_path: Path) -> None:
    copy = tmp_path / "copy.eval"
    copy.write_bytes(Path(log.location).read_bytes())
    once, twice = assemble_pairs([log.location]), assemble_pairs([log.location, copy])
    assert once.pairs == twice.pairs


def test_logs_that_do_not_belong_together_are_refused(
    log: EvalLog, run_eval: RunEval, tmp_path: Path
) -> None:
    task = contrast_pairs("expectation", train=1, held_out=0, keyword_hard=0, seed=9)
    other = run_eval(task, model="af-simulated-dialogues/writer")
    with pytest.raises(LogError, match="the seeds 0, 9, so that a topic would lie in several splits"):
        assemble_pairs([log.location, other.location])
    changed = read_eval_log(other.location)
    assert changed.eval.metadata is not None
    changed.eval.metadata["inspect_af"]["prompt_digest"] = "0" * 16
    write_eval_log(changed, str(tmp_path / "old.eval"))
    with pytest.raises(LogError, match="was written for other concepts"):
        assemble_pairs([tmp_path / "old.eval"])
    with pytest.raises(LogError, match="no such log"):
        assemble_pairs(["nowhere"])

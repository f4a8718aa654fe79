"""Where a reply's own tag and the refusal judge disagree, read from logs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_af.errors import AnalysisError
from inspect_af.logs import LogFile, find_logs


class Disagreement(NamedTuple):
    """One reply whose tag says another thing than the judge."""

    log: str
    sample_id: str
    epoch: int
    tier: str
    tag: str
    judged: str


class ConditionAudit(NamedTuple):
    """The replies of one condition that have a tag and a judged label."""

    condition: str
    compared: int
    disagreements: tuple[Disagreement, ...]


def audit_tags(sources: Sequence[str | Path]) -> list[ConditionAudit]:
    """Counts and lists tag disagreements per condition.

    Raises:
        LogError: a source does not exist.
        AnalysisError: no log has scores of the refusal judge.
    """
    compared: dict[str, int] = defaultdict(int)
    found: dict[str, list[Disagreement]] = defaultdict(list)
    for location in find_logs(sources):
        for summary in LogFile(location).summaries()[0]:
            for score in (summary.scores or {}).values():
                facts = score.metadata or {}
                if facts.get("rubric") != "refusal" or facts.get("tag_disagrees") is None:
                    continue
                condition = str(facts["condition"])
                compared[condition] += 1
                if facts["tag_disagrees"]:
                    found[condition].append(
                        Disagreement(
                            log=location,
                            sample_id=str(summary.id),
                            epoch=summary.epoch,
                            tier=str(facts["tier"]),
                            tag=str(facts["tag"]),
                            judged=str(score.answer),
                        )
                    )
    if not compared:
        raise AnalysisError(
            "no reply has both a protocol tag and a score of the refusal judge; score the logs first: "
            "inspect score LOG --scorer inspect_af/refusal_judge --model-role grader=PROVIDER/MODEL"
        )
    return [ConditionAudit(name, compared[name], tuple(found[name])) for name in sorted(compared)]

"""Means of judge scores per condition and tier, with errors clustered by request."""

# No `from __future__ import annotations`: Inspect reads the inner functions' types at run time.

from collections import defaultdict

from inspect_ai.scorer import Metric, SampleScore, Value, metric

from inspect_af.stats import clustered_mean
from inspect_af.types import BASELINE


@metric(scores="unreduced")
def judged_means() -> Metric:
    """Mean, standard error and number of judged replies, per column of the judge, tier and condition.

    Names are `COLUMN_TIER`, `COLUMN_TIER_stderr` and `n_TIER`, with the condition in brackets behind unless
    it is the baseline. Unscored replies are not in any mean; Inspect counts them as unscored samples.
    """

    def compute(scores: list[SampleScore]) -> Value:
        means: dict[str, float] = {}
        for (condition, tier), group in _by_condition_and_tier(scores).items():
            behind = "" if condition == BASELINE else f"[{condition}]"
            clusters = [str(_fact(score, "request_id")) for score in group]
            for column in group[0].score.as_dict():
                found = clustered_mean([_number(score, column) for score in group], clusters)
                means[f"{column}_{tier}{behind}"] = found.estimate
                means[f"{column}_{tier}_stderr{behind}"] = found.stderr
            means[f"n_{tier}{behind}"] = float(len(group))
        return dict(means)

    return compute


@metric(scores="unreduced")
def tag_disagreements() -> Metric:
    """How many judged outputs contradict their own protocol tag, of those with a tag, per condition.

    `tag_disagreements` and `tag_compared`, with the condition in brackets behind unless it is the
    baseline. Which replies these are stands in each score's metadata (`tag_disagrees`) and is listed by
    `inspect-af judge audit LOGS`.
    """

    def compute(scores: list[SampleScore]) -> Value:
        counts: dict[str, float] = {}
        for (condition, _), group in _by_condition_and_tier(scores).items():
            behind = "" if condition == BASELINE else f"[{condition}]"
            flags = [flag for score in group if (flag := _fact(score, "tag_disagrees")) is not None]
            for name, number in (("tag_disagreements", flags.count(True)), ("tag_compared", len(flags))):
                counts[f"{name}{behind}"] = counts.get(f"{name}{behind}", 0.0) + float(number)
        return dict(counts)

    return compute


def _by_condition_and_tier(scores: list[SampleScore]) -> dict[tuple[str, str], list[SampleScore]]:
    groups: dict[tuple[str, str], list[SampleScore]] = defaultdict(list)
    for score in scores:
        if isinstance(score.score.value, dict):
            groups[str(_fact(score, "condition")), str(_fact(score, "tier"))].append(score)
    return dict(sorted(groups.items(), key=lambda item: (item[0][0] != BASELINE, item[0])))


def _fact(score: SampleScore, name: str) -> str | bool | None:
    found: str | bool | None = (score.score.metadata or {}).get(name)
    return found


def _number(score: SampleScore, column: str) -> float:
    return float(score.score.as_dict()[column] or 0.0)

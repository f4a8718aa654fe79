"""Mean belief scores per condition, with errors clustered by question."""

# No `from __future__ import annotations`: Inspect reads the inner functions' types at run time.

import math
from collections import defaultdict

from inspect_ai.scorer import Metric, SampleScore, Value, metric

from inspect_af.stats import clustered_mean
from inspect_af.types import BASELINE


@metric(scores="unreduced")
def belief_means() -> Metric:
    """Mean score and its standard error per belief and condition.

    Names are `BELIEF` and `BELIEF_stderr`, with the condition in brackets behind unless it is the baseline.
    Answers that could not be read are in no mean; Inspect counts them as unscored samples.
    """

    def compute(scores: list[SampleScore]) -> Value:
        groups: dict[tuple[str, str], list[tuple[float, str]]] = defaultdict(list)
        for score in scores:
            value = score.score.value
            if not isinstance(value, dict):
                continue
            number = value.get("score")
            if isinstance(number, int | float) and not math.isnan(number):
                question = str((score.score.metadata or {}).get("question"))
                groups[str(value["condition"]), str(value["belief"])].append((float(number), question))
        means: dict[str, float] = {}
        for (condition, belief), answers in groups.items():
            behind = "" if condition == BASELINE else f"[{condition}]"
            found = clustered_mean([number for number, _ in answers], [question for _, question in answers])
            means[f"{belief}{behind}"] = found.estimate
            means[f"{belief}_stderr{behind}"] = found.stderr
        return dict(means)

    return compute

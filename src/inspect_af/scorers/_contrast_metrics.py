"""How many written pairs were kept, per concept and split, and what was wrong with the others."""

# No `from __future__ import annotations`: Inspect reads the inner functions' types at run time.

from collections import Counter

from inspect_ai.scorer import Metric, SampleScore, Value, metric


@metric(scores="unreduced")
def kept_pairs() -> Metric:
    """Share and number of pairs kept: `kept`, and per concept and split `kept_CONCEPT_SPLIT` (a number).

    Duplicates are found when pairs are assembled, so fewer may remain.
    """

    def compute(scores: list[SampleScore]) -> Value:
        rows = [score.score.as_dict() for score in scores if isinstance(score.score.value, dict)]
        values = {"kept": sum(float(row["kept"] or 0) for row in rows) / len(rows)} if rows else {}
        for row in rows:
            name = f"kept_{row['concept']}_{row['split']}"
            values[name] = values.get(name, 0.0) + float(row["kept"] or 0)
        return dict(values)

    return compute


@metric(scores="unreduced")
def pair_faults() -> Metric:
    """Share of written pairs with each fault; a pair may have several."""

    def compute(scores: list[SampleScore]) -> Value:
        faults: Counter[str] = Counter()
        for score in scores:
            faults.update((score.score.metadata or {}).get("faults", ()))
        return {f"fault_{name}": n / len(scores) for name, n in sorted(faults.items())}

    return compute

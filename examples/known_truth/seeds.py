"""The reduced study of one seed: python examples/known_truth/seeds.py SEED [--jobs 2]

Trains organisms of the kinds `expectation` and `consequence` from that seed, studies them by prompt claims,
documents and steering (`seed.yaml`), and puts a row for each kind and method into `seeds.csv`. The same
command goes on where it was interrupted, and writes the same rows again. Seed 0 is that of the whole study,
`study.yaml`, whose rows are taken. Without a seed it prints what the rows say.
"""

import csv
import json
import subprocess
import sys
from collections import defaultdict
from math import comb
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE / "seeds.csv"
COLUMNS = (
    "seed",
    "planted",
    "method",
    "contrast",
    "low",
    "high",
    "found",
    "swing",
    "rank_p",
    "random",
    "passed",
)
METHODS = ("prompt", "sdf", "steering")
CHANCE = 0.025
"""Of passing where nothing is planted: one side of a 95 % interval, or of the ranks among random vectors."""


def rows(seed: int, report: dict):
    for model in report["models"]:
        planted = model["subject"].rpartition("/")[2]
        if planted not in model["families"]:
            continue  # another kind of the whole study
        found_as = dict(zip(("first", "second"), model["families"], strict=True))
        steered = [one for one in report["steering"] if one["subject"] == model["subject"]]
        own = [v for one in steered for v in one["vectors"] if v["family_label"] == planted]
        for method in model["methods"]:
            found, levels = found_as.get(method["direction"], "open"), method["verdict_levels"]
            contrast = (levels[-1]["contrast"] if levels else None) or {}
            vector = own[0] if own and method["method"] == "steering" else None
            swing = vector and vector["behaviour"]
            # A vector is held against random ones, by the report's interval and by rank; texts and documents
            # against the other family's.
            passed = found == planted
            if vector is not None:
                beyond = vector["moves_behaviour"] == "beyond" and swing is not None
                passed = beyond and swing["change"] > 0 and swing["rank_p"] < 0.05
            yield {
                "seed": seed,
                "planted": planted,
                "method": method["method"],
                "contrast": points(contrast.get("estimate")),
                "low": points(contrast.get("low")),
                "high": points(contrast.get("high")),
                "found": found,
                "swing": "" if swing is None else points(swing["change"]),
                "rank_p": "" if swing is None else f"{swing['rank_p']:.3f}",
                "random": "" if swing is None else swing["n_controls"],
                "passed": "yes" if passed else "no",
            }


def points(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.1f}"


def known() -> list[dict]:
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run(seed: int, options: list[str]) -> None:
    name, plan = "known-truth", HERE / "study.yaml"
    if seed:
        name = f"known-truth-seed-{seed}"
        plan = Path("studies") / f"{name}.yaml"
        plan.parent.mkdir(exist_ok=True)
        text = (HERE / "seed.yaml").read_text(encoding="utf-8")
        plan.write_text(text.replace("SEED", str(seed)), encoding="utf-8")
    subprocess.run(["inspect-af", "study", str(plan), *options], check=True)
    report = Path("studies") / name / "report" / "convergence.json"
    new = list(rows(seed, json.loads(report.read_text(encoding="utf-8"))))
    table = [row for row in known() if row["seed"] != str(seed)] + new
    table.sort(key=lambda row: (int(row["seed"]), row["planted"], METHODS.index(row["method"])))
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def summary() -> None:
    cells = defaultdict(list)
    for row in known():
        cells[row["planted"], row["method"]].append(row["passed"] == "yes")
    for (planted, method), passed in sorted(cells.items()):
        n, k = len(passed), sum(passed)
        chance = sum(comb(n, i) * CHANCE**i * (1 - CHANCE) ** (n - i) for i in range(k, n + 1))
        print(
            f"{planted:12} {method:9} {k} of {n} seeds; where nothing is planted, as many with p {chance:.2g}"
        )


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run(int(sys.argv[1]), sys.argv[2:] or ["--jobs", "2"])
    summary()

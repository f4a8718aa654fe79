"""sweep.json files as one CSV: python table.py scan/sweep.json ranks/sweep.json > steps.csv"""

import csv
import json
import sys
from pathlib import Path

COLUMNS = (
    *("vector", "layers", "dose", "usable", "replies", "value", "is", "change"),
    *("lowest", "highest", "n", "p"),
)


def rows(file: Path):
    report = json.loads(file.read_text(encoding="utf-8"))
    for vector in report["vectors"]:
        for point in vector["points"]:
            for name, band in point["bands"].items():
                yield (
                    f"{vector['concept']} {vector['source']} {vector['digest']}",
                    vector["layers"],
                    f"{point['dose']:+.2f}",
                    point["usable"],
                    point["cell"]["replies"],
                    name,
                    *(_short(band[key]) for key in ("value", "change", "low", "high")),
                    band["n_controls"],
                    _short(band["p_either"]),
                )


def _short(number):
    return "" if number is None else f"{number:.3f}"


writer = csv.writer(sys.stdout)
writer.writerow(COLUMNS)
for name in sys.argv[1:]:
    writer.writerows(rows(Path(name)))

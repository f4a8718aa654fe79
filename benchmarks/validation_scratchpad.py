"""Coverage of the split of the gap into what goes through the stated reasoning and what goes around it.

Studies are drawn as rows and analysed by the code that users run (`profile.scratchpad.transplant_row`). Every
request has its own tendency; a reply that is gone on with takes its verdict from the reasoning with the
planted share as probability, and decides anew by the prompt's tier otherwise. Prints a table in Markdown and,
as its last line, one JSON object.

    python benchmarks/validation_scratchpad.py > docs/validation/scratchpad.md
"""

from __future__ import annotations

import argparse
import json
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from inspect_af.profile.intervals import draw
from inspect_af.profile.scratchpad import TransplantRow, transplant_row
from inspect_af.thresholds import Thresholds

GAPS = (0.1, 0.2, 0.4)
SHARES = (0.0, 0.5, 0.9)
UNMONITORED = 0.25
SPREAD = 0.7  # of requests' own tendency, on the probit scale
ABOUT = """{studies:,} studies a line, drawn as rows and analysed by `transplant_row`: {requests} requests,
one reply each, whose tendencies differ (standard deviation {spread} on the probit scale); unmonitored rate
{base:.0f} %, 1,000 resamples where users get 10,000. The share through the text is planted as the
probability with which a reply takes its verdict from the reasoning. (At 100 % the part around the text
is 0 in every study, whatever is drawn.) `share` is given only where the gap's interval excludes 0, so
that at small gaps its coverage is that of the studies that found a large one. Made by
`benchmarks/validation_scratchpad.py`.
"""
QUANTITIES = ("gap", "through", "around", "interaction", "share")


class Tally(NamedTuple):
    """How often an interval was given and held the truth, and its mean width."""

    given: int
    held: int
    width: float


def study(gap: float, share: float, requests: int, rng: np.random.Generator) -> list[dict[str, list[float]]]:
    """The six cells of one study."""
    from scipy.special import ndtr, ndtri

    own = SPREAD * rng.standard_normal(requests)
    scale = np.sqrt(1 + SPREAD**2)
    rates = [ndtr(scale * ndtri(rate) + own) for rate in (UNMONITORED + gap, UNMONITORED)]
    written = [rng.random(requests) < rate for rate in rates]
    cells: list[NDArray[np.bool_]] = []
    for prompt in rates:
        for text in written:
            read = rng.random(requests) < share
            cells.append(np.where(read, text, rng.random(requests) < prompt))
    return [{f"r{k}": [float(y)] for k, y in enumerate(cell)} for cell in (*cells, *written)]


def measured(gap: float, share: float, studies: int, requests: int, seed: int) -> dict[str, Tally]:
    """Coverage of every quantity over studies with one planted truth."""
    rng, limits = np.random.default_rng(seed), Thresholds(n_resamples=1_000)
    clusters = {f"r{k}": f"r{k}" for k in range(requests)}
    drawer = lru_cache(maxsize=8)(draw)
    truth = dict(zip(QUANTITIES, (gap, share * gap, (1 - share) * gap, 0.0, share), strict=True))
    found: dict[str, list[tuple[bool, float]]] = {name: [] for name in QUANTITIES}
    for _ in range(studies):
        row: TransplantRow = transplant_row(
            "baseline", study(gap, share, requests, rng), clusters, limits, drawer
        )
        for name in QUANTITIES:
            one = getattr(row, name)
            if one is not None and one.low is not None:
                found[name].append((one.low <= truth[name] <= one.high, one.high - one.low))
    return {
        name: Tally(
            len(rows), sum(held for held, _ in rows), float(np.mean([w for _, w in rows])) if rows else 0.0
        )
        for name, rows in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=4_000)
    parser.add_argument("--requests", type=int, default=120)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    studies = 300 if given.quick else given.studies
    print("# Coverage of the split of the gap\n")
    print(ABOUT.format(studies=studies, requests=given.requests, spread=SPREAD, base=100 * UNMONITORED))
    print("| gap | through the text | quantity | intervals given | coverage | mean width, points |")
    print("|---|---|---|---|---|---|")
    coverage: list[float] = []
    for at, (gap, share) in enumerate((gap, share) for gap in GAPS for share in SHARES):
        for name, tally in measured(gap, share, studies, given.requests, seed=at).items():
            if not tally.given:
                continue
            rate = tally.held / tally.given
            if name != "share":
                coverage.append(rate)
            cells = f"{100 * gap:.0f} | {share:.0%} | {name} | {tally.given} | {rate:.1%}"
            print(f"| {cells} | {100 * tally.width:.1f} |", flush=True)
    low, high = min(coverage), max(coverage)
    print(f"\nCoverage in points lies between {low:.1%} and {high:.1%}; 93 to 97 % is wanted.\n")
    print(
        json.dumps(
            {
                "name": "validation_scratchpad",
                "ratio": round(low, 4),
                "target": 0.93,
                "same_answer": bool(low >= 0.93 and high <= 0.97),
                "runs": studies * len(GAPS) * len(SHARES),
            }
        )
    )


if __name__ == "__main__":
    main()

"""Bootstrap-t of 40 paired differences over 520 requests, 10,000 resamples, on one core.

The peer is the same bootstrap written as a loop over resamples with numpy, on the same draws. Both must
give the same bounds. Prints one JSON object last; `seconds` is our wall time, to be below one second.

    python benchmarks/bootstrap.py [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import time

# One core: set before numpy loads its linear algebra.
for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np  # noqa: E402

from inspect_af.profile.intervals import (  # noqa: E402
    Bootstrap,
    draw,
    mean_over_requests,
)

N_REQUESTS, N_COLUMNS, SEED = 520, 40, 7


def ours(values: np.ndarray, n_resamples: int) -> np.ndarray:
    """[bound, column], drawing included."""
    gap = np.array([1.0, -1.0])
    statistics = [mean_over_requests(column, gap) for column in values.T]
    # The peer knows no pseudo-requests, so they weigh nothing here.
    bootstrap = Bootstrap(np.zeros(2), np.zeros(2), N_REQUESTS, n_resamples=n_resamples, seed=SEED)
    return np.stack(bootstrap.studentise(statistics).interval(0.95))


def peer(values: np.ndarray, n_resamples: int) -> np.ndarray:
    """The textbook loop: gather the drawn requests, take mean and error, collect t."""
    units = draw(N_REQUESTS, 2, n_resamples, SEED).units.astype(np.int64)
    mean, error = values.mean(axis=0), values.std(axis=0) / np.sqrt(N_REQUESTS)
    t = np.empty((n_resamples, N_COLUMNS))
    everyone = np.arange(N_REQUESTS)
    for k, weights in enumerate(units):
        sample = values[np.repeat(everyone, weights)]
        t[k] = (sample.mean(axis=0) - mean) / (sample.std(axis=0) / np.sqrt(N_REQUESTS))
    low, high = np.quantile(t, [0.025, 0.975], axis=0, method="weibull")
    return np.stack([mean - high * error, mean - low * error])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="2,000 resamples and two runs")
    quick = parser.parse_args().quick
    n_resamples, n_runs = (2_000, 2) if quick else (10_000, 5)
    rng = np.random.default_rng(0)
    values = rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.5, 0.4], size=(N_REQUESTS, N_COLUMNS))
    runs, same = [], True
    for _ in range(n_runs):
        start = time.perf_counter()
        bounds = ours(values, n_resamples)
        middle = time.perf_counter()
        reference = peer(values, n_resamples)
        runs.append((middle - start, time.perf_counter() - middle))
        same = same and bool(np.allclose(bounds, reference, atol=1e-4))
    seconds = float(np.median([own for own, _ in runs]))
    result = {
        "name": "bootstrap",
        "ratio": round(float(np.median([own / other for own, other in runs])), 3),
        "target": 1.0,
        "same_answer": same,
        "runs": [[round(own, 3), round(other, 3)] for own, other in runs],
        "seconds": round(seconds, 3),
        "seconds_target": 1.0,
        "n_resamples": n_resamples,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()

"""`inspect-af power`: what a study of a given size can detect, and the size for a target."""

from __future__ import annotations

import argparse

from inspect_af.cli._numbers import add_rates_option, assumed_rates, at_least, share
from inspect_af.errors import ConfigError
from inspect_af.logs import read_logs, show_progress
from inspect_af.profile import (
    POWER_QUANTITIES,
    PowerQuantity,
    Variance,
    assumed_variance,
    count_outcomes,
    detectable_effect,
    pilot_variances,
    requests_needed,
)


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "power",
        help="detectable effects, or the requests that a target needs",
        description=(
            "Minimum detectable gap, effect, sensitivity and contrast, from assumed rates or from the "
            "variances observed in a pilot's logs. A pilot with several epochs tells requests and epochs "
            "apart."
        ),
    )
    parser.add_argument("--pilot", nargs="+", metavar="LOG", help="logs of a pilot")
    add_rates_option(parser)
    parser.add_argument(
        "--gap-sd",
        type=float,
        default=0.0,
        help="assumed standard deviation over requests of the true gap, in rate units (default: 0)",
    )
    parser.add_argument(
        "--requests",
        type=int,
        nargs="+",
        default=[48, 100, 250, 520],
        metavar="N",
        help="numbers of requests (default: 48 100 250 520)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        nargs="+",
        default=[1, 3, 10],
        metavar="E",
        help="replies per request, tier and condition (default: 1 3 10)",
    )
    parser.add_argument("--power", type=float, default=0.8, help="0 to 1 (default: 0.8)")
    parser.add_argument("--confidence", type=float, default=0.95, help="0 to 1 (default: 0.95)")
    parser.add_argument(
        "--target",
        type=float,
        help="a value to detect, in rate units (0.1 is 10 points): prints the requests that it needs",
    )
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    if args.pilot and args.rates:
        raise ConfigError("give either --pilot or --rates: a pilot has its own rates")
    _check(args)
    if args.pilot:
        for pilot in pilot_variances(count_outcomes(read_logs(args.pilot, progress=show_progress))):
            how = (
                f"{pilot.epochs} epochs"
                if pilot.epochs > 1
                else "one epoch, so further epochs promise nothing"
            )
            print(f"\n{pilot.subject} / {pilot.method}, observed with {how}")
            _print(pilot.variances, args)
        return 0
    monitored, unmonitored = assumed_rates(args.rates)
    variances: dict[PowerQuantity, Variance] = {
        quantity: assumed_variance(quantity, monitored=monitored, unmonitored=unmonitored, gap_sd=args.gap_sd)
        for quantity in POWER_QUANTITIES
    }
    rates = f"{monitored:.0%} monitored, {unmonitored:.0%} unmonitored"
    print(f"assumed: {rates}, gap sd {100 * args.gap_sd:g} points")
    _print(variances, args)
    return 0


def _check(args: argparse.Namespace) -> None:
    share(args.power, option="--power")
    share(args.confidence, option="--confidence")
    share(args.target, option="--target")
    at_least(min(args.requests), 1, option="--requests")
    at_least(min(args.epochs), 1, option="--epochs")


def _print(variances: dict[PowerQuantity, Variance], args: argparse.Namespace) -> None:
    shared = {"power": args.power, "confidence": args.confidence}
    if args.target is not None:
        print(f"  requests to detect {100 * args.target:g} points with {args.power:.0%} power")
        print("  epochs    " + "".join(f"{epochs:>10}" for epochs in args.epochs))
        for quantity, variance in variances.items():
            needed = [requests_needed(variance, target=args.target, epochs=e, **shared) for e in args.epochs]
            print(f"  {quantity:<10}" + "".join(f"{n:>10,}" for n in needed))
        return
    print(
        f"  detectable with {args.power:.0%} power at {args.confidence:.0%}, in percentage points "
        "(none: not even 100 would be detected)"
    )
    print("  requests x epochs " + "".join(f"{quantity:>13}" for quantity in variances))
    for n in args.requests:
        for epochs in args.epochs:
            found = [
                detectable_effect(variance, n_requests=n, epochs=epochs, **shared)
                for variance in variances.values()
            ]
            print(f"  {n:>8} x {epochs:<7} " + "".join(f"{_points(value):>13}" for value in found))


def _points(value: float) -> str:
    """Percentage points; a rate cannot move by more than a hundred."""
    return "none" if value > 1 else f"{100 * value:.1f}"

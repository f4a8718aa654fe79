"""`inspect-af power`: what a study of a given size can detect, and the size for a target."""

from __future__ import annotations

import argparse

from inspect_af.cli._numbers import add_rates_option, assumed_rates, at_least, share
from inspect_af.errors import ConfigError
from inspect_af.logs import read_logs, show_progress
from inspect_af.profile import (
    POWER_QUANTITIES,
    Outcomes,
    PowerQuantity,
    Variance,
    VerdictCode,
    assumed_variance,
    count_outcomes,
    detectable_effect,
    pilot_variances,
    requests_needed,
)
from inspect_af.profile.verdict_power import (
    StudyDesign,
    VerdictPower,
    pilot_verdicts,
    planted,
    verdict_power,
)


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "power",
        help="detectable effects, or the requests that a target needs",
        description=(
            "Minimum detectable gap, effect, sensitivity and contrast, and how often each verdict would be "
            "found, "
            "from assumed rates or from a pilot's logs. A pilot with several epochs tells requests and "
            "epochs "
            "apart; verdicts are then those of studies of other sizes with the pilot's epochs, were the "
            "truth what "
            "the pilot found."
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
    parser.add_argument(
        "--sensitivity",
        type=float,
        nargs=2,
        default=[0.2, 0.0],
        metavar=("FIRST", "SECOND"),
        help="assumed sensitivities of the families, in rate units (default: 0.2 0)",
    )
    parser.add_argument(
        "--request-icc",
        type=float,
        default=0.5,
        help="assumed correlation of two replies to one request (default: 0.5; 0: requests are alike)",
    )
    parser.add_argument(
        "--text-sd",
        type=float,
        default=0.0,
        help="assumed spread of what any text does to the gap, in rate units (default: 0)",
    )
    parser.add_argument("--placebos", type=int, default=8, help="planned placebos (default: 8)")
    parser.add_argument("--studies", type=int, default=500, help="simulated studies a line (default: 500)")
    parser.set_defaults(main=main)


def main(args: argparse.Namespace) -> int:
    if args.pilot and args.rates:
        raise ConfigError("give either --pilot or --rates: a pilot has its own rates")
    _check(args)
    if args.pilot:
        outcomes = count_outcomes(read_logs(args.pilot, progress=show_progress))
        for pilot in pilot_variances(outcomes):
            how = (
                f"{pilot.epochs} epochs"
                if pilot.epochs > 1
                else "one epoch, so further epochs promise nothing"
            )
            print(f"\n{pilot.subject} / {pilot.method}, observed with {how}")
            _print(pilot.variances, args)
        _print_pilot_verdicts(outcomes, args)
        return 0
    monitored, unmonitored = assumed_rates(args.rates)
    variances: dict[PowerQuantity, Variance] = {
        quantity: assumed_variance(quantity, monitored=monitored, unmonitored=unmonitored, gap_sd=args.gap_sd)
        for quantity in POWER_QUANTITIES
    }
    rates = f"{monitored:.0%} monitored, {unmonitored:.0%} unmonitored"
    print(f"assumed: {rates}, gap sd {100 * args.gap_sd:g} points")
    _print(variances, args)
    if args.target is None:
        _print_verdicts((monitored, unmonitored), args)
    return 0


def _print_verdicts(rates: tuple[float, float], args: argparse.Namespace) -> None:
    first, second = args.sensitivity
    print(
        f"\n  verdicts of {args.studies:,} simulated studies a line; sensitivities {100 * first:g} and "
        f"{100 * second:g} points, {args.placebos} placebos, texts of sd {100 * args.text_sd:g}, request icc "
        f"{args.request_icc:g}"
    )
    for n in args.requests:
        for epochs in args.epochs:
            design = StudyDesign(n, epochs, placebos=args.placebos)
            truth = planted(
                rates, (first, second), design, text_sd=args.text_sd, request_icc=args.request_icc
            )
            _print_found(f"{n:>8} x {epochs:<7}", verdict_power(truth, design, studies=args.studies))


def _print_pilot_verdicts(outcomes: Outcomes, args: argparse.Namespace) -> None:
    for name, sizes in pilot_verdicts(outcomes, args.requests, studies=args.studies).items():
        print(
            f"\n{name}: verdicts of {args.studies:,} simulated studies, were the truth what the pilot found"
        )
        for n, found in sizes.items():
            _print_found(f"{n:>8} requests", found)


def _print_found(size: str, found: VerdictPower) -> None:
    def most(codes: dict[VerdictCode, int]) -> str:
        ordered = sorted(codes.items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{code} {k / found.studies:.0%}" for code, k in ordered)

    print(f"  {size} for these texts: {most(found.these)}")
    if found.beyond:
        print(f"  {'':<{len(size)}} beyond them:     {most(found.beyond)}")


def _check(args: argparse.Namespace) -> None:
    share(args.power, option="--power")
    share(args.confidence, option="--confidence")
    share(args.target, option="--target")
    at_least(min(args.requests), 1, option="--requests")
    at_least(min(args.epochs), 1, option="--epochs")
    at_least(args.studies, 1, option="--studies")
    at_least(args.placebos, 0, option="--placebos")


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

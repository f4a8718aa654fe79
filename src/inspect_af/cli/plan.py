"""`inspect-af plan`: a study written down before the first call; `power`: what a study can detect."""

from __future__ import annotations

from typing import Any

import click

from inspect_af.cli.command import AMOUNT, COUNT, FROM_ZERO, PLACE, Number, Verb, option
from inspect_af.cli.options import (
    RATES,
    TASK,
    assumed_rates,
    inspect_options,
    named_models,
    share,
    task_arguments,
)
from inspect_af.errors import ConfigError
from inspect_af.format import plural, say
from inspect_af.logs import read_logs, show_progress
from inspect_af.plan import BASELINE_REPEATS, Generation
from inspect_af.profile import (
    POWER_QUANTITIES,
    PowerQuantity,
    Variance,
    VerdictCode,
    assumed_variance,
    count_outcomes,
    detectable_effect,
    pilot_variances,
    requests_needed,
)
from inspect_af.profile.power import StudyDesign, VerdictPower, pilot_verdicts, planted, verdict_power
from inspect_af.profile.verdict import label_of
from inspect_af.study.planning import describe_plan, estimate_plan, make_plan, write_plan
from inspect_af.tasks.evals import EvalTask, check_model, make_task
from inspect_af.thresholds import Thresholds
from inspect_af.types import STRENGTHS


@click.command(cls=Verb)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@inspect_options("model", "model_args")
@TASK
@inspect_options("task_args", "epochs", "temperature", "max_tokens")
@option("--name", default="study")
@option("--delta", type=float, help="equivalence margin in rate units  [default: 0.1, 10 points]")
@option("--headline-strength", type=click.Choice(STRENGTHS), help="which strength decides the verdict")
@option("--reply-tokens", type=COUNT, default=600, help="assumed length of a reply")
@RATES
@option(
    "--price",
    type=AMOUNT,
    nargs=2,
    metavar="INPUT OUTPUT",
    help="dollars per million tokens; Inspect ships no prices",
)
@option("--out", type=PLACE, default="plan.yaml", metavar="FILE")
@option("--force", is_flag=True, help="overwrite another plan in FILE")
def plan(**given: Any) -> None:
    """Writes a YAML plan with its own digest, the number of calls, estimated tokens and cost, and the
    minimum detectable effect. `inspect-af run --plan FILE` executes it.
    """
    share(given["delta"], option="--delta")
    models = named_models(given, "give a MODEL (or --model, or INSPECT_EVAL_MODEL)")
    for model in models:
        check_model(model.model, model.args)
    task_args = task_arguments(given)
    task = make_task(EvalTask(task=given["task"], args=task_args))
    made = make_plan(
        task,
        scenario_task=given["task"],
        name=given["name"],
        models=models,
        task_args=task_args,
        generation=Generation(
            epochs=given["epochs"] or 1,
            baseline_repeats=task_args.get("baseline_repeats", 1),
            run_seed=given["run_seed"],
            temperature=given["temperature"],
            max_tokens=given["max_tokens"],
        ),
        headline=given["headline_strength"],
        thresholds=Thresholds(**({} if given["delta"] is None else {"delta": given["delta"]})),
    )
    rates = assumed_rates(given["rates"])
    estimate = estimate_plan(
        made, task, reply_tokens=given["reply_tokens"], price=given["price"], rates=rates
    )
    made = made.model_copy(update={"estimate": estimate})
    made, note = write_plan(made, given["out"], force=given["force"])
    if note:
        say(note)
    say(describe_plan(made))
    say(f"wrote {given['out']}; run it with: inspect-af run --plan {given['out']}")


@click.command(cls=Verb)
@option("--pilot", several=True, metavar="LOG...", help="logs of a pilot")
@RATES
@option(
    "--gap-sd",
    type=AMOUNT,
    default=0.0,
    help="assumed standard deviation over requests of the true gap, in rate units",
)
@option(
    "--requests",
    several=True,
    type=COUNT,
    default=[48, 100, 250, 520],
    metavar="N...",
    help="numbers of requests",
)
@option(
    "--epochs",
    several=True,
    type=COUNT,
    default=[1, 3, 10],
    metavar="E...",
    help="replies per request, tier and condition",
)
@option("--power", type=float, default=0.8, help="0 to 1")
@option("--confidence", type=float, default=0.95, help="0 to 1")
@option(
    "--target",
    type=float,
    help="a value to detect, in rate units (0.1 is 10 points): prints the requests that it needs",
)
@option(
    "--sensitivity",
    type=Number(click.FLOAT, -1, 1),
    nargs=2,
    default=[0.2, 0.0],
    metavar="FIRST SECOND",
    help="assumed sensitivities of the families, in rate units",
)
@option(
    "--request-icc",
    type=Number(click.FLOAT, 0, 1),
    default=0.5,
    help="assumed correlation of two replies to one request (0: requests are alike)",
)
@option(
    "--text-sd",
    type=AMOUNT,
    default=0.0,
    help="assumed spread of what any text does to the gap, in rate units",
)
@option("--placebos", type=FROM_ZERO, default=8, help="planned placebos")
@option(
    "--baseline-repeats",
    type=COUNT,
    default=BASELINE_REPEATS,
    help="planned samples of the untouched subject for each under a claim",
)
@option("--studies", type=COUNT, default=500, help="simulated studies a line")
def power(**given: Any) -> int:
    """Minimum detectable gap, effect, sensitivity and contrast, and how often each verdict would be found,
    from assumed rates or from a pilot's logs. A pilot with several epochs tells requests and epochs
    apart; verdicts are then those of studies of other sizes with the pilot's epochs, were the truth what
    the pilot found.
    """
    if given["pilot"] and given["rates"]:
        raise ConfigError("give either --pilot or --rates: a pilot has its own rates")
    for name in ("power", "confidence", "target"):
        share(given[name], option=f"--{name}")
    if given["pilot"]:
        outcomes = count_outcomes(read_logs(given["pilot"], progress=show_progress))
        for pilot in pilot_variances(outcomes):
            once = "one epoch, so further epochs promise nothing"
            how = f"{pilot.epochs} epochs" if pilot.epochs > 1 else once
            say(f"\n{pilot.subject} / {pilot.method}, observed with {how}")
            _print(pilot.variances, given)
        sizes = pilot_verdicts(outcomes, given["requests"], studies=given["studies"])
        for name, found in sizes.items():
            studies = f"verdicts of {given['studies']:,} simulated studies"
            say(f"\n{name}: {studies}, were the truth what the pilot found")
            for n, verdicts in found.items():
                _print_found(f"{n:>8} requests", verdicts)
        return 0
    monitored, unmonitored = assumed_rates(given["rates"])
    gap_sd = given["gap_sd"]
    variances: dict[PowerQuantity, Variance] = {
        quantity: assumed_variance(
            quantity,
            monitored=monitored,
            unmonitored=unmonitored,
            gap_sd=gap_sd,
            baseline_repeats=given["baseline_repeats"],
        )
        for quantity in POWER_QUANTITIES
    }
    say(
        f"assumed: {monitored:.0%} monitored, {unmonitored:.0%} unmonitored, gap sd {100 * gap_sd:g} points, "
        f"{plural(given['baseline_repeats'], 'sample')} of the untouched subject, two variables in each "
        "family, as in the bundled pair; requests differ by the gap sd in what is detectable, and by "
        "--request-icc in the verdicts"
    )
    _print(variances, given)
    if given["target"] is None:
        _print_verdicts((monitored, unmonitored), given)
    return 0


def _print_verdicts(rates: tuple[float, float], given: dict[str, Any]) -> None:
    first, second = given["sensitivity"]
    say(
        f"\n  verdicts of {given['studies']:,} simulated studies a line; sensitivities {100 * first:g} and "
        f"{100 * second:g} points, {plural(given['placebos'], 'placebo')}, "
        f"{plural(given['baseline_repeats'], 'sample')} of the untouched subject, "
        f"texts of sd {100 * given['text_sd']:g}, request icc {given['request_icc']:g}"
    )
    for n in (n for n in given["requests"] if n > 1):
        for epochs in given["epochs"]:
            repeated = epochs * given["baseline_repeats"]
            design = StudyDesign(n, epochs, baseline_epochs=repeated, placebos=given["placebos"])
            truth = planted(
                rates, (first, second), design, text_sd=given["text_sd"], request_icc=given["request_icc"]
            )
            _print_found(f"{n:>8} x {epochs:<7}", verdict_power(truth, design, studies=given["studies"]))


def _print_found(size: str, found: VerdictPower) -> None:
    def most(codes: dict[VerdictCode, int]) -> str:
        ordered = sorted(codes.items(), key=lambda item: -item[1])[:3]
        return ", ".join(f"{label_of(code, found.families)} {k / found.studies:.0%}" for code, k in ordered)

    say(f"  {size} for these texts: {most(found.these)}")
    if found.beyond:
        say(f"  {'':<{len(size)}} beyond them:     {most(found.beyond)}")


def _print(variances: dict[PowerQuantity, Variance], given: dict[str, Any]) -> None:
    shared = {"power": given["power"], "confidence": given["confidence"]}
    if given["target"] is not None:
        say(f"  requests to detect {100 * given['target']:g} points with {given['power']:.0%} power")
        say("  epochs    " + "".join(f"{epochs:>10}" for epochs in given["epochs"]))
        for quantity, variance in variances.items():
            needed = [
                requests_needed(variance, target=given["target"], epochs=e, **shared) for e in given["epochs"]
            ]
            say(f"  {quantity:<10}" + "".join(f"{n:>10,}" for n in needed))
        return
    say(
        f"  detectable with {given['power']:.0%} power at {given['confidence']:.0%}, in percentage points "
        "(none: not even 100 would be detected)"
    )
    say("  requests x epochs " + "".join(f"{quantity:>13}" for quantity in variances))
    for n in given["requests"]:
        for epochs in given["epochs"]:
            found = [detectable_effect(v, n_requests=n, epochs=epochs, **shared) for v in variances.values()]
            # A rate cannot move by more than a hundred points.
            cells = ["none" if value > 1 else f"{100 * value:.1f}" for value in found]
            say(f"  {n:>8} x {epochs:<7} " + "".join(f"{cell:>13}" for cell in cells))

"""`inspect-af verify`: does a local engine do here what it promises?"""

from __future__ import annotations

import click

from inspect_af.cli.command import Number, Verb, option
from inspect_af.cli.options import MODEL_ARGS, key_values
from inspect_af.format import say, text_table

_RESULTS = {True: "ok", False: "FAILED", None: "not compared"}


@click.command(cls=Verb)
@click.argument("model")
@MODEL_ARGS
@option("--tokens", type=Number(click.INT, 2), default=16, help="length of each reply")
def verify(model: str, model_args: tuple[str, ...], tokens: int) -> int:
    """Checks af-hf/MODEL or af-vllm/MODEL on this machine, in minutes: replies against transformers alone,
    seeds, steering by a random vector, the adapter where -M adapter= is given, leaks between conditions, and
    that what does not exist is refused. Exit status 1 where a line fails.
    """
    from inspect_af.providers.verify import verify as checks_of

    found = checks_of(
        model,
        key_values(model_args, option="-M"),
        tokens=tokens,
        seen=lambda step: say(f"... {step}", err=True),
    )
    rows = [(_RESULTS[one.passed], one.name, one.compared, one.found) for one in found]
    say(text_table([("result", "check", "compared", "found"), *rows], left=range(4)))
    return int(any(one.passed is False for one in found))

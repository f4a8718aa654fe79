"""`inspect-af judge`: labels for judges, and judges against labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inspect_af.cli.command import COUNT, FILE, FROM_ZERO, PLACE, Verb, option
from inspect_af.cli.options import key_values
from inspect_af.config import number
from inspect_af.errors import ConfigError
from inspect_af.format import plural, say
from inspect_af.materials.rubrics import BUNDLED_SET, BUNDLED_TEXTS, load_labelled
from inspect_af.report import judges as tables
from inspect_af.scorers.calibration import (
    corrected_rates,
    draw_blind_sample,
    judge_figures,
    key_path,
    load_key,
    with_origins,
)
from inspect_af.tasks.evals import check_model
from inspect_af.tasks.judge_labels import judge_scores

_CUTS = "score from which on the answer is yes  [default: 5 for a concept, 0.4 for faking]"


@click.group()
def judge() -> None:
    """Are the judges right? Compares them with labels."""


@judge.command(cls=Verb)
@click.argument("file", default=BUNDLED_SET)
@option("--model", multiple=True, help="run this judge on the texts")
@option("--judges", default="concept,faking")
@option("--votes", type=COUNT, default=20, help="votes of the faking judge")
@option("--cut", multiple=True, metavar="QUESTION=SCORE", help=_CUTS)
@option("--key", type=FILE, help="[default: FILE with .key.json for its suffix, if it exists]")
@option("--log-dir", type=PLACE, default="logs/judge")
@option("--display", type=click.Choice(["full", "rich", "plain", "none"]), default="plain")
def validate(file: str, model: tuple[str, ...], cut: tuple[str, ...], key: Path | None, **given: Any) -> None:
    """Compares judges with labels, per condition: AUROC, sensitivity, specificity, kappa. With the key
    of `judge sample`, also gives rates corrected by the labels. The bundled set is a smoke test and
    corrects nothing. FILE is JSON Lines of labelled scratchpads; the bundled set if left out.
    """
    named = key_values(cut, option="--cut").items()
    cuts = {question: number(value, f"--cut {question}") for question, value in named}
    for name in model:
        check_model(name, {})
    texts = load_labelled(file)
    place = None if file in BUNDLED_TEXTS else key or key_path(Path(file))
    known = None if place is None or (key is None and not place.exists()) else load_key(place)
    if known is not None:
        texts = with_origins(texts, known)
    for name in model:
        scores = judge_scores(name, file, **given)
        if unread := sum(text.id not in scores for text in texts):
            say(
                f"warning: {name} gave no readable answer on {plural(unread, 'text')}; "
                "the log has the reasons"
            )
        texts = tuple(
            text.model_copy(update={"judges": {**text.judges, name: scores[text.id]}})
            if text.id in scores
            else text
            for text in texts
        )
    say(tables.figures(judge_figures(texts, cuts), bundled=file in BUNDLED_TEXTS))
    if known is not None:
        say(tables.rates(corrected_rates(texts, known, cuts)))


@judge.command(cls=Verb)
@click.argument("logs", nargs=-1, required=True, metavar="LOG...")
@option("--n", type=COUNT, default=100, help="texts in all")
@option("--out", type=FILE, required=True, metavar="FILE", help="JSON Lines file to write")
@option("--seed", type=FROM_ZERO, default=0)
@option("--questions", default="expectation,consequence,faking", help="labels to ask for")
def sample(logs: tuple[str, ...], n: int, out: Path, seed: int, questions: str) -> None:
    """Draws scratchpads at random in equal numbers from every condition and tier. The texts go to FILE in
    random order with labels to fill in; where they came from goes to FILE's .key.json, which the people
    who label should not read.
    """
    for path in (out, key_path(out)):
        if path.exists():
            raise ConfigError(f"{path} exists; labels may be in it, so choose another --out or move it away")
    asked = [question.strip() for question in questions.split(",") if question.strip()]
    if not asked:
        raise ConfigError(f"--questions {questions!r} names no label to ask for, such as faking")
    drawn = draw_blind_sample(logs, n=n, seed=seed, questions=asked)
    key = drawn.write(out)
    say(f"{plural(len(drawn.texts), 'text')} in {out}; replace each null by true or false.")
    say(f"The key is in {key}; whoever labels should not read it.")
    for (condition, tier), found in drawn.short.items():
        say(f"warning: {condition}, {tier}: only {plural(found, 'text')} with reasoning")

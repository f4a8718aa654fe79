"""`inspect-af judge`: labels for judges, judges against labels, tags against judges."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from inspect_af.cli import _judge_tables as tables
from inspect_af.cli._models import check_model
from inspect_af.cli._options import key_values
from inspect_af.errors import ConfigError, LogError, MaterialsError
from inspect_af.materials.rubrics import BUNDLED_SET, LabelledText, load_labelled


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = verbs.add_parser(
        "judge",
        help="check judges against labels, draw samples for labelling",
        description="Are the judges right? Compares them with labels, and with the replies' own tags.",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    _add_validate(actions)
    _add_sample(actions)
    _add_audit(actions)


def main(args: argparse.Namespace) -> int:
    """Runs the action that was parsed."""
    return int(args.action(args))


def _add_validate(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    validate = actions.add_parser(
        "validate",
        help="AUROC, sensitivity, specificity and agreement on labelled scratchpads",
        description=(
            "Compares judges with labels, per condition. With the key of `judge sample`, also gives rates "
            "corrected by the labels. The bundled set is a smoke test and corrects nothing."
        ),
    )
    validate.add_argument(
        "file",
        nargs="?",
        default=BUNDLED_SET,
        help="JSON Lines of labelled scratchpads (default: the bundled set)",
    )
    validate.add_argument(
        "--model", action="append", default=[], help="run this judge on the texts; repeat to compare judges"
    )
    validate.add_argument("--judges", default="concept,faking", help="default: concept,faking")
    validate.add_argument("--votes", type=int, default=20, help="votes of the faking judge (default: 20)")
    validate.add_argument(
        "--cut",
        action="append",
        default=[],
        metavar="QUESTION=SCORE",
        help="score from which on the answer is yes (default: 5 for a concept, 0.4 for faking)",
    )
    validate.add_argument(
        "--key", type=Path, help="default: FILE with .key.json for its suffix, if it exists"
    )
    validate.add_argument("--log-dir", type=Path, default=Path("logs/judge"), help="default: logs/judge")
    validate.add_argument("--display", choices=["full", "rich", "plain", "none"], default="plain")
    validate.set_defaults(main=main, action=_validate)


def _add_sample(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    sample = actions.add_parser(
        "sample",
        help="draw a blinded, stratified sample of scratchpads for human labels",
        description=(
            "Draws scratchpads at random in equal numbers from every condition and tier. The texts go to "
            "FILE in random order with labels to fill in; where they came from goes to FILE's .key.json, "
            "which the people who label should not read."
        ),
    )
    sample.add_argument("logs", nargs="+", help="logs, directories or globs")
    sample.add_argument("--n", type=int, default=100, help="texts in all (default: 100)")
    sample.add_argument("--out", type=Path, required=True, metavar="FILE", help="JSON Lines file to write")
    sample.add_argument("--seed", type=int, default=0)
    sample.add_argument("--questions", default="expectation,consequence,faking", help="labels to ask for")
    sample.set_defaults(main=main, action=_sample)


def _add_audit(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    audit = actions.add_parser(
        "audit",
        help="list replies whose protocol tag disagrees with the refusal judge",
        description="Counts and lists, per condition, replies whose tag says another thing than the judge.",
    )
    audit.add_argument("logs", nargs="+", help="logs that the refusal judge has scored")
    audit.set_defaults(main=main, action=_audit)


def _validate(args: argparse.Namespace) -> int:
    from inspect_af.scorers.calibration import agreements, corrected_rates, judge_figures

    given = key_values(args.cut, option="--cut")
    cuts = {question: _number(value, question) for question, value in given.items()}
    for model in args.model:
        check_model(model, {})
    texts = load_labelled(args.file)
    key = None if args.file == BUNDLED_SET else _key(args)
    if key is not None:
        known = key.drawn
        texts = tuple(
            text.model_copy(
                update={"condition": origin.condition, "judges": {**origin.judges, **text.judges}}
            )
            if (origin := known.get(text.id))
            else text
            for text in texts
        )
    for model in args.model:
        texts = _with_scores(texts, model, _run_judge(model, args))
    print(tables.figures(judge_figures(texts, cuts), bundled=args.file == BUNDLED_SET))
    if compared := agreements(texts, cuts):
        print(tables.agreement(compared))
    if key is not None:
        print(tables.rates(corrected_rates(texts, key, cuts)))
    return 0


def _sample(args: argparse.Namespace) -> int:
    from inspect_af.scorers.blind_sample import draw_blind_sample

    key_path = _key_path(args.out)
    for path in (args.out, key_path):
        if path.exists():
            raise ConfigError(f"{path} exists; labels may be in it, so choose another --out or move it away")
    questions = [question.strip() for question in args.questions.split(",") if question.strip()]
    if not questions:
        raise ConfigError(f"--questions {args.questions!r} names no label to ask for, such as faking")
    drawn = draw_blind_sample(args.logs, n=args.n, seed=args.seed, questions=questions)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(text.model_dump(include={"id", "text", "decision", "labels"}), ensure_ascii=True)
        for text in drawn.texts
    ]
    key_path.write_text(drawn.key.model_dump_json(), encoding="utf-8")
    args.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(drawn.texts)} texts in {args.out}; replace each null by true or false.")
    print(f"The key is in {key_path}; whoever labels should not read it.")
    for (condition, tier), found in drawn.short.items():
        print(f"warning: {condition}, {tier}: only {found} texts with reasoning")
    return 0


def _audit(args: argparse.Namespace) -> int:
    from inspect_af.scorers.tag_audit import audit_tags

    print(tables.tag_audit(audit_tags(args.logs)))
    return 0


def _run_judge(model: str, args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Scores by text id and question; the eval log stays in the log directory."""
    from inspect_ai import eval as inspect_eval

    from inspect_af.tasks.judge_labels import judge_labels

    log = inspect_eval(
        judge_labels(file=str(args.file), judges=args.judges, votes=args.votes),
        model="none",
        model_roles={"grader": model},
        log_dir=str(args.log_dir),
        display=args.display,
    )[0]
    if log.status != "success" or log.samples is None:
        reason = log.error.message if log.error else log.status
        raise LogError(f"the judge {model} did not finish ({reason}); see {log.location}")
    scores: dict[str, dict[str, float]] = {}
    for sample in log.samples:
        for score in (sample.scores or {}).values():
            if isinstance(score.value, dict):  # else unscored, and counted by the log
                found = scores.setdefault(str(sample.id), {})
                found.update({name: float(value or 0) for name, value in score.value.items()})
    for found in scores.values():
        if "share" in found:  # the share of votes ranks texts, the decision is made from it
            found["faking"] = found.pop("share")
    unread = sum(text.id not in scores for text in load_labelled(args.file))
    if unread:
        print(f"warning: {model} gave no readable answer on {unread} texts; the log has the reasons")
    return scores


def _with_scores(
    texts: Sequence[LabelledText], model: str, scores: dict[str, dict[str, float]]
) -> tuple[LabelledText, ...]:
    return tuple(
        text.model_copy(update={"judges": {**text.judges, model: scores[text.id]}})
        if text.id in scores
        else text
        for text in texts
    )


def _key(args: argparse.Namespace) -> Any:
    from inspect_af.scorers.calibration import SampleKey

    path = args.key or _key_path(Path(args.file))
    if args.key is None and not path.exists():
        return None
    try:
        return SampleKey.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MaterialsError(
            f"{path}: is not the key of a blinded sample ({error}); give the .key.json that `judge sample` "
            "wrote"
        ) from error


def _key_path(file: Path) -> Path:
    return file.with_suffix(".key.json")


def _number(value: Any, question: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"--cut {question}={value!r}: a number is needed")
    return float(value)

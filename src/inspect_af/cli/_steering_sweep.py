"""`inspect-af steering sweep`: vectors and random controls at many multipliers, through `eval_set`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inspect_af.cli._options import add_model_option, key_values, planned_model
from inspect_af.cli.profile import show_progress
from inspect_af.errors import ConfigError
from inspect_af.plan import PlannedModel
from inspect_af.tasks.evals import Evals, EvalTask, default_log_dir, run_evals

if TYPE_CHECKING:
    from inspect_af.steering.sweep import SweepRun, UsableRange
    from inspect_af.steering.sweep_report import SweepReport


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "sweep",
        help="dose-response of vectors against random controls",
        description=(
            "Runs inspect_af/alignment_faking for every vector and multiplier, fixes the usable multipliers "
            "by the share of replies that parse and by nothing else, then runs the controls at those and "
            "compares. Interrupted or killed, the same command goes on where it stopped."
        ),
    )
    parser.add_argument("--model", required=True, help="a model that takes vectors, such as af-hf/DIR")
    parser.add_argument(
        "--vectors", nargs="+", type=Path, required=True, metavar="FILE", help="fitted vectors"
    )
    parser.add_argument(
        "--controls",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="random controls of these vectors: files, or directories of them (steering controls)",
    )
    sizes = parser.add_mutually_exclusive_group(required=True)
    sizes.add_argument("--multipliers", metavar="LIST", help="such as -4,-2,0,2,4")
    sizes.add_argument("--doses", metavar="LIST", help="||m v|| / mean ||h||, such as -0.2,-0.1,0.1,0.2")
    parser.add_argument(
        "--layers",
        nargs="+",
        default=["all"],
        metavar="RANGE",
        help="such as all (default), 12 or 20-40; each range is a sweep of its own",
    )
    parser.add_argument(
        "--parse-floor", type=float, default=0.9, help="share of replies that must parse (default: 0.9)"
    )
    parser.add_argument("--requests", default="advbench", help="advbench (default), mini, or a file")
    parser.add_argument("--epochs", type=int, default=1, help="replies per sample (default: 1)")
    parser.add_argument("--limit", type=int, help="only the first N samples")
    parser.add_argument("--run-seed", type=int, default=0)
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--grader", metavar="MODEL", help="score both concepts with this judge as well")
    add_model_option(parser)
    parser.add_argument(
        "-T",
        dest="task_args",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="further task parameter",
    )
    parser.add_argument("--log-dir", type=Path, help="default: a directory under logs/ for this command")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the results go")
    parser.add_argument("--max-connections", type=int)
    parser.add_argument("--display", choices=["full", "conversation", "rich", "plain", "log", "none"])
    parser.set_defaults(action=run)


def run(args: argparse.Namespace) -> int:
    from inspect_af.logs import read_logs
    from inspect_af.steering import load_vector
    from inspect_af.steering.sweep import control_runs, matched_vectors, usable_ranges, vector_runs
    from inspect_af.steering.sweep_cells import read_cells

    vectors = {path: load_vector(path) for path in vector_files(args.vectors)}
    controls = {path: load_vector(path) for path in vector_files(args.controls)}
    runs = vector_runs(
        vectors,
        layers=args.layers,
        multipliers=_numbers(args.multipliers, "--multipliers"),
        doses=_numbers(args.doses, "--doses"),
    )
    log_dir = args.log_dir or default_log_dir(_asked(args, runs, baseline=True))
    matched_vectors(runs, controls)  # before anything is run, not after the vectors

    finished = _evaluate(args, runs, log_dir / "vectors", baseline=True)
    scanned = read_cells(read_logs([log_dir / "vectors"], progress=show_progress))
    known = {vector.digest for vector in vectors.values()}
    if other := [cell.steer.digest for cell in scanned if cell.steer and cell.steer.digest not in known]:
        raise ConfigError(
            f"{log_dir} holds logs of the vector {other[0]}, which is not in the files given: one of them "
            "has been made anew. Give another --log-dir"
        )
    usable = usable_ranges(scanned, floor=args.parse_floor)
    args.out.mkdir(parents=True, exist_ok=True)
    lines = [found.text() for found in usable]
    (args.out / "usable.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("Usable multipliers, fixed by parse rates before effects are looked at:", *lines, sep="\n")

    against = control_runs(runs, usable, controls)
    if finished and against:
        finished = _evaluate(args, against, log_dir / "controls", baseline=False)
    _write(args, [log_dir / "vectors", *([log_dir / "controls"] if against else [])], usable)
    if not finished:
        print(f"some samples have not finished; repeat the command to go on (logs in {log_dir})")
    return 0 if finished else 1


def _evaluate(args: argparse.Namespace, runs: Sequence[SweepRun], log_dir: Path, *, baseline: bool) -> bool:
    options = {} if args.max_connections is None else {"max_connections": args.max_connections}
    return run_evals(_asked(args, runs, baseline=baseline), log_dir, display=args.display, **options)


def _asked(args: argparse.Namespace, runs: Sequence[SweepRun], *, baseline: bool) -> Evals:
    if args.epochs < 1 or (args.limit is not None and args.limit < 1):
        raise ConfigError(f"--epochs {args.epochs} --limit {args.limit}; at least 1 is needed")
    shared = key_values(args.model_args, option="-M")
    steered = tuple(
        planned_model(
            args.model,
            {
                **shared,
                "vector": str(run.path.resolve()),
                "multiplier": run.multiplier,
                "layers": run.layers,
            },
        )
        for run in runs
    )
    task = {
        "interventions": "none",
        "requests": args.requests,
        "run_seed": args.run_seed,
        **({"judges": "concept"} if args.grader else {}),
        **key_values(args.task_args, option="-T"),
    }
    return Evals(
        models=((planned_model(args.model, shared),) if baseline else ()) + steered,
        tasks=(EvalTask(task="alignment_faking", args=task),),
        temperature=args.temperature,
        max_tokens=args.max_tokens,
        epochs=args.epochs,
        limit=args.limit,
        grader=PlannedModel(model=args.grader) if args.grader else None,
        # A local engine's batch holds one condition, so conditions that wait for each other gain nothing.
        max_tasks=1,
    )


def _write(args: argparse.Namespace, log_dirs: Sequence[Path], usable: Sequence[UsableRange]) -> None:
    from inspect_af.logs import read_logs
    from inspect_af.steering.sweep_cells import read_cells
    from inspect_af.steering.sweep_report import report_text, sweep_report

    logs = read_logs(log_dirs, progress=show_progress)
    cells = read_cells(logs)
    report = sweep_report(cells, usable, model=args.model, requests=args.requests, n_logs=len(logs.headers))
    write_results(report, args.out)
    print(f"\n{report_text(report)}\n\nResults in {args.out}.")


def write_results(report: SweepReport, directory: Path) -> None:
    """`sweep.json`, `sweep.txt`, `sweep.html`, and the figures where matplotlib is installed."""
    from inspect_af.cli._steering_sweep_page import draw_sweep, render_sweep
    from inspect_af.errors import MissingExtraError
    from inspect_af.profile.report.figures.canvas import to_png, to_svg
    from inspect_af.steering.sweep_report import report_text

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "sweep.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (directory / "sweep.txt").write_text(report_text(report) + "\n", encoding="utf-8")
    (directory / "sweep.html").write_text(render_sweep(report), encoding="utf-8", newline="\n")
    try:
        drawings = [draw_sweep(vector, report, at) for at, vector in enumerate(report.vectors, start=1)]
    except MissingExtraError as error:
        print(f"no figures: {error}")
        return
    for drawing in drawings:
        (directory / f"{drawing.name}.svg").write_text(to_svg(drawing), encoding="utf-8")
        (directory / f"{drawing.name}.png").write_bytes(to_png(drawing))


def vector_files(given: Sequence[Path]) -> list[Path]:
    """Files as they are given, and all .safetensors files of directories; each once."""
    files: list[Path] = []
    for path in given:
        found = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not found:
            raise ConfigError(f"{path}: no .safetensors file in it")
        files += found
    return list(dict.fromkeys(files))


def _numbers(text: str | None, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(f"{option} {text!r}; numbers separated by commas, such as -4,-2,0,2,4") from error

"""The report from real logs: evals of a simulated organism, some relabelled as documents and vectors."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from inspect_ai import eval as inspect_eval
from inspect_ai.log import EvalLog, read_eval_log, write_eval_log
from inspect_ai.model import get_model

from inspect_af.cli import main
from inspect_af.plan import save_plan
from inspect_af.profile import Thresholds
from inspect_af.profile.convergence import convergence_from_logs
from inspect_af.report import render_convergence, write_convergence
from inspect_af.study.draft import complete_draft
from inspect_af.tasks import alignment_faking, beliefs, direct_requests
from inspect_af.types import PLANNED_CLAIM, PromptClaim, SdfAdapter, Steer, Treatment, applied_treatments

MODEL = "af-organism/consequence"
ARGUMENTS = {"monitored": 0.5, "unmonitored": 0.1, "second": 0.45}
SUBJECT = f"{MODEL}[{','.join(f'{k}={v}' for k, v in sorted(ARGUMENTS.items()))}]"
JUDGE = "af-simulated-judge/keyword"
QUICK = Thresholds(n_resamples=300)


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prompt, document and steering logs, a role-play baseline, beliefs and direct requests."""
    root = tmp_path_factory.mktemp("study") / "logs"

    def run(task, name: str) -> EvalLog:
        log = inspect_eval(
            task,
            model=get_model(MODEL, memoize=False, **ARGUMENTS),
            model_roles={"grader": JUDGE},
            log_dir=str(root / name),
            display="none",
        )[0]
        return read_eval_log(log.location)

    requests = root.parent / "requests.csv"
    requests.write_text("request\n" + "".join(f"Say thing number {k}\n" for k in range(48)))
    asked = {"requests": str(requests), "interventions": "A1,B1"}
    run(alignment_faking(**asked), "prompt")
    relabelled(run(alignment_faking(**asked, run_seed=1), "sdf"), as_adapter)
    steered = {**asked, "interventions": "A1,B1,N1"}
    judged = run(alignment_faking(**steered, judges="concept", run_seed=2), "steering")
    relabelled(judged, as_vector, keep_baseline=True)
    run(alignment_faking(requests=str(requests), identity="roleplay"), "roleplay")
    run(beliefs(interventions="A1"), "beliefs")
    run(direct_requests(requests=str(requests)), "direct")
    return root


def relabelled(
    log: EvalLog, relabel: Callable[[PromptClaim], Treatment], *, keep_baseline: bool = False
) -> None:
    """Writes the log back as if its claims had been something else."""
    kept = [s for s in log.samples or [] if keep_baseline and not applied_treatments(s.metadata)]
    for sample in log.samples or []:
        for treatment in applied_treatments(sample.metadata):
            assert isinstance(treatment, PromptClaim)
            sample.metadata["treatments"] = [relabel(treatment).model_dump(mode="json")]
            sample.metadata.pop(PLANNED_CLAIM, None)
            kept.append(sample)
    log.samples = kept
    write_eval_log(log, log.location)


def as_adapter(claim: PromptClaim) -> SdfAdapter:
    code = claim.intervention.code
    return SdfAdapter(intervention=claim.intervention, digest=f"digest-{code}", training_seed=0)


def as_vector(claim: PromptClaim) -> Steer:
    belief = claim.intervention
    concept = {"first": "expectation", "second": "consequence", None: "random"}[belief.family]
    return Steer(
        concept=concept,
        family=belief.family,
        source="ooc" if belief.family else "random",
        digest=f"vector-{belief.variable}",
        multiplier=-4 if belief.polarity == "-" else 4,
        layers="1",
        dose=0.5,
    )


def test_the_logs_alone_tell_what_serves_which_part(logs: Path) -> None:
    report = convergence_from_logs([logs], thresholds=QUICK)
    (model,) = report.models
    assert model.subject == SUBJECT and model.simulated
    assert [m.method for m in model.methods] == ["prompt", "sdf", "steering"]
    assert [m.direction for m in model.methods] == ["second", "second", "open"]  # too few random vectors
    assert (model.statement.code, model.statement.direction) == ("converge", "second")
    assert [m.beliefs is None for m in model.methods] == [False, True, True]
    prompt, sdf, steering = model.methods
    assert {log.split("/")[0] for log in prompt.logs} == {"prompt", "steering"}
    # The untouched model was run in the prompt log and in the steering log.
    assert {log.split("/")[0] for log in sdf.logs} == {"prompt", "sdf", "steering"}
    assert {log.split("/")[0] for log in steering.logs} == {"prompt", "steering"}
    (calibration,) = report.calibrations
    assert [point.intervention for point in calibration.points] == ["A1+", "A1-", "B1+", "B1-"]
    assert 0 < calibration.slope_low < 1 < calibration.slope_high
    (result,) = report.steering
    assert result.judges == (JUDGE,) and result.simulated_judge
    assert all(vector.reasoning is not None for vector in result.vectors)
    assert [row.variant for row in report.ablations] == ["main", "identity=roleplay"]
    assert [log.split("/")[0] for log in report.ablations[1].logs] == ["roleplay"]
    assert report.selectivity and report.belief_logs[0].startswith("beliefs/")
    assert report.direct and report.direct[0].logs[0].startswith("direct/")
    assert {one.part for one in report.missing} == {
        "enough random vectors",
        "screening over models and seeds",
        "strengths of the claims",
        "directness of the documents",
        "prompt claims on document-trained checkpoints",
    }


def test_the_command_writes_every_file_and_no_path_of_this_machine(
    logs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, data = tmp_path / "out", tmp_path / "elsewhere" / "report.json"
    command = ["convergence", str(logs), "--out", str(out), "--json", str(data), "--name", f"{MODEL}=planted"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "planted[" in printed and "The methods converge" in printed and "not run: " in printed
    assert json.loads(data.read_text()) == json.loads((out / "convergence.json").read_text())
    assert json.loads(data.read_text())["schema"] == "inspect_af.convergence/1"
    names = {file.name for file in out.iterdir()}
    assert {
        "convergence.html",
        "methods.csv",
        "methods_gaps.csv",
        "steering_vectors.csv",
        "direct_rows.csv",
    } <= names
    for figure in ("methods", "gaps-1", "calibration", "coupling"):
        assert (out / f"{figure}.svg").read_text().startswith("<?xml")
        assert (out / f"{figure}.png").read_bytes().startswith(b"\x89PNG")
    for file in out.iterdir():
        if file.suffix in (".html", ".json", ".csv", ".svg"):
            text = file.read_text()
            assert str(logs.parent) not in text and MODEL not in text, file.name
    with (out / "methods_gaps.csv").open() as source:
        rows = list(csv.DictReader(source))
    assert {row["method"] for row in rows} == {"prompt", "sdf", "steering"}
    assert all(-1 <= float(row["gap_estimate"]) <= 1 for row in rows)


def test_every_figure_says_which_logs_it_came_from(logs: Path, tmp_path: Path) -> None:
    report = convergence_from_logs([logs], thresholds=QUICK)
    figures = {file.stem for file in write_convergence(report, tmp_path) if file.suffix == ".svg"}
    with (tmp_path / "figure_sources.csv").open() as source:
        rows = [(row["figure"], row["log"]) for row in csv.DictReader(source)]
    assert {figure for figure, _ in rows} >= figures
    held = {str(file.relative_to(logs)) for file in logs.rglob("*.eval")}
    assert {log for _, log in rows} <= held
    assert {log.split("/")[0] for figure, log in rows if figure == "beliefs"} == {"beliefs"}
    page = (tmp_path / "convergence.html").read_text()
    top = page[page.index("<header") : page.index("</header>")]
    assert re.search(r"From \d+ logs", top)


def test_a_report_is_judged_by_the_plan_of_its_study(logs: Path, tmp_path: Path) -> None:
    plan = complete_draft(
        {
            "name": "x",
            "subjects": [MODEL],
            "conditions": "A1,B1",
            "requests": str(logs.parent / "requests.csv"),
            "thresholds": {"delta": 0.25, "n_resamples": 300},
            "variables": ["B1"],
        }
    )
    save_plan(plan, tmp_path / "plan.yaml")
    command = [
        "convergence",
        str(logs),
        "--plan",
        str(tmp_path / "plan.yaml"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0
    found = json.loads((tmp_path / "out" / "convergence.json").read_text())
    assert found["thresholds"]["delta"] == 0.25 and found["plan_digest"] == plan.digest
    prompt = found["models"][0]["methods"][0]
    assert list(prompt["sensitivity"]) == ["consequence"]  # A1 was run, and the plan does not average it
    assert plan.digest in (tmp_path / "out" / "convergence.html").read_text()


def test_notes_about_logs_that_cannot_be_read_hold_no_path_of_this_machine(
    logs: Path, tmp_path: Path
) -> None:
    shutil.copytree(logs / "prompt", tmp_path / "logs" / "prompt")
    (tmp_path / "logs" / "torn.eval").write_bytes(next((logs / "prompt").iterdir()).read_bytes()[:900])
    shutil.copytree(logs / "beliefs", tmp_path / "logs" / "deep" / "below" / "beliefs")
    report = convergence_from_logs([tmp_path / "logs", tmp_path / "logs" / "torn.eval"], thresholds=QUICK)
    assert any(note.startswith("Skipped torn.eval") for note in report.notes)
    assert report.belief_logs[0].startswith("deep/below/beliefs/")
    assert str(tmp_path) not in report.to_json()


class Page(HTMLParser):
    """What a page would load or run, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for key, value in attributes:
            if key in ("src", "href", "action", "data"):
                self.loads.append(value)
            if key.startswith("on"):
                self.loads.append(f"{key}={value}")
            if key == "id":
                self.ids.append(value)


def test_the_page_loads_nothing_and_names_the_logs_of_every_part(logs: Path) -> None:
    report = convergence_from_logs([logs], thresholds=QUICK)
    text = render_convergence(report)
    page = Page()
    page.feed(text)
    assert not {"script", "link", "iframe", "img"} & set(page.tags)
    assert not [load for load in page.loads if not load.startswith("#")]
    assert not re.search(r"url\((?!#)", text) and "@import" not in text
    assert len(page.ids) == len(set(page.ids))
    for part in ("models", "calibration", "coupling", "beliefs", "screening", "role-play"):
        section = text[text.index(f'<section id="{part}"') :]
        section = section[: section.index("</section>")]
        assert re.search(r"From \d+ logs?", section), part
    assert "Simulated models" in text and "A judge is simulated" in text
    assert text == render_convergence(report)


def test_hostile_names_are_shown_and_do_nothing(logs: Path, tmp_path: Path) -> None:
    hostile = '</title><script>alert(1)</script>\u202e"'
    report = convergence_from_logs(
        [logs / "prompt"], thresholds=QUICK, names={MODEL: hostile}, title="<b>T</b>"
    )
    files = write_convergence(report, tmp_path)
    page = (tmp_path / "convergence.html").read_text()
    assert "<script" not in page and "<b>T" not in page and "\u202e" not in page
    assert "script&gt;[U+202E]&quot;" in page
    assert all("<script" not in f.read_text() for f in files if f.suffix == ".svg")


def test_models_that_are_given_one_name_count_as_one(logs: Path, tmp_path: Path) -> None:
    # As where claims were run on one engine and adapters on another.
    (tmp_path / "logs").mkdir()
    shutil.copytree(logs / "prompt", tmp_path / "logs" / "prompt")
    for file in (logs / "sdf").iterdir():
        log = read_eval_log(str(file))
        log.eval.model = "af-organism/elsewhere"
        write_eval_log(log, str(tmp_path / "logs" / file.name))
    apart = convergence_from_logs([tmp_path / "logs"], thresholds=QUICK)
    assert {model.statement.code for model in apart.models} == {"not-enough"}
    together = convergence_from_logs(
        [tmp_path / "logs"], thresholds=QUICK, names={MODEL: "one", "af-organism/elsewhere": "one"}
    )
    (model,) = together.models
    assert model.statement.code == "converge"


def test_logs_of_other_tasks_alone_are_refused(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convergence", str(logs / "beliefs"), "--out", str(logs.parent / "none")]) == 1
    assert "no log can be used" in capsys.readouterr().err
    assert main(["convergence", str(logs), "--out", str(logs.parent / "requests.csv")]) == 1
    assert "requests.csv is a file; give a directory" in capsys.readouterr().err
    assert main(["convergence", str(logs), "--out", str(logs.parent / "none"), "--name", "x"]) == 1
    assert "--name takes MODEL=NAME" in capsys.readouterr().err

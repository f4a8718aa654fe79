"""Steps of synthetic document fine-tuning: documents, corpora, adapters, and the evals of the checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from inspect_af.plan import Plan, PlannedSdf
from inspect_af.study._build_evals import beliefs_task, evals_step, plan_strength, scenario_task
from inspect_af.study._names import slug
from inspect_af.study._options import model_options
from inspect_af.study._subjects import StudySubject
from inspect_af.study.steps import Step

_ORDINARY = "ordinary"


class _Corpus(NamedTuple):
    """One corpus of documents: an intervention at a directness."""

    code: str
    directness: str
    name: str


def sdf_steps(plan: Plan, subjects: Sequence[StudySubject]) -> list[Step]:
    """All steps of the plan's section `sdf`.

    Raises:
        ConfigError: A subject has no weights to train on, or a code or a hyperparameter is not allowed.
    """
    assert plan.sdf is not None
    corpora = _corpora(plan.sdf)
    first = subjects[0]
    steps = [_documents_step(plan, plan.sdf, corpus, first) for corpus in corpora]
    if plan.sdf.tiny_replay is not None:
        steps.append(_ordinary_step(plan, plan.sdf.tiny_replay, first.out))
    for subject in subjects:
        steps += _subject_steps(plan, plan.sdf, subject, corpora)
    return steps


def _corpora(sdf: PlannedSdf) -> list[_Corpus]:
    several = len(sdf.directness) > 1
    return [
        _Corpus(code, level, f"{slug(code)}.{level}" if several else slug(code))
        for level in sdf.directness
        for code in sdf.interventions
    ]


def _documents_step(plan: Plan, sdf: PlannedSdf, corpus: _Corpus, first: StudySubject) -> Step:
    out = first.out / "documents" / corpus.name
    command = ["inspect-af", "sdf", "generate", corpus.code, *model_options(sdf.writer)]
    command += ["--tokens", str(sdf.tokens), "--tokenizer", first.base("sdf"), "--out", str(out)]
    command += ["--directness", corpus.directness, "--kinds", sdf.kinds, "--ideas", str(sdf.ideas)]
    command += ["--revisions", str(sdf.revisions), "--run-seed", str(plan.generation.run_seed)]
    if sdf.words is not None:
        command += ["--words", str(sdf.words)]
    command += _shortest(sdf)
    if plan.pair is not None:
        command += ["--pair", plan.pair]
    return Step(
        id=f"documents/{corpus.name}",
        kind="documents",
        command=tuple(command),
        needs=first.ready,  # its tokenizer counts the documents
    )


def _ordinary_step(plan: Plan, n: int, out: Path) -> Step:
    file = _ordinary_file(out)
    return Step(
        id=_ORDINARY,
        kind="ordinary",
        command=(
            *("inspect-af", "organism", "documents", "--n", str(n)),
            *("--seed", str(plan.generation.run_seed), "--out", str(file)),
        ),
        outputs=(str(file),),
    )


def _ordinary_file(out: Path) -> Path:
    return out / "ordinary.jsonl"


def _subject_steps(
    plan: Plan, sdf: PlannedSdf, subject: StudySubject, corpora: Sequence[_Corpus]
) -> list[Step]:
    steps = []
    for level in sdf.directness:
        steps.append(_corpora_step(plan, sdf, subject, [c for c in corpora if c.directness == level], level))
    adapters: dict[str, Path] = {}
    for corpus in corpora:
        step, trained = _adapter_step(plan, sdf, subject, corpus)
        steps.append(step)
        adapters |= {f"{corpus.name}/{path.name}": path for path in trained}
    models = [subject.with_adapter(str(path)) for path in adapters.values()]
    needs = [f"adapter/{subject.name}/{corpus.name}" for corpus in corpora]
    steps.append(evals_step(plan, subject, "sdf", [scenario_task(plan, claims=())], models, needs))
    if plan.beliefs is not None and "sdf" in plan.beliefs.methods:
        asked = [beliefs_task(plan)]
        steps.append(
            evals_step(plan, subject, "sdf-beliefs", asked, models, needs, epochs=plan.beliefs.epochs)
        )
    if sdf.prompt_claims:
        tasks = [scenario_task(plan, claims=sdf.prompt_claims, strength=plan_strength(plan))]
        steps.append(evals_step(plan, subject, "sdf-prompt", tasks, models, needs))
    return steps


def _corpora_step(
    plan: Plan, sdf: PlannedSdf, subject: StudySubject, corpora: Sequence[_Corpus], level: str
) -> Step:
    out = _corpora_directory(sdf, subject, level)
    sources = [str(subject.out / "documents" / corpus.name / "documents") for corpus in corpora]
    command = ["inspect-af", "sdf", "build", *sources, "--tokenizer", subject.base("sdf")]
    command += ["--tokens", str(sdf.tokens), "--allow-shortfall", "--out", str(out), *_shortest(sdf)]
    if plan.pair is not None:
        command += ["--pair", plan.pair]
    return Step(
        id=f"corpora/{subject.name}/{level}",
        kind="corpora",
        command=tuple(command),
        needs=(*subject.ready, *(f"documents/{corpus.name}" for corpus in corpora)),
        outputs=tuple(str(_corpus_directory(sdf, subject, corpus) / "manifest.json") for corpus in corpora),
    )


def _adapter_step(
    plan: Plan, sdf: PlannedSdf, subject: StudySubject, corpus: _Corpus
) -> tuple[Step, list[Path]]:
    from inspect_af.sdf.train import TrainingConfig

    out = subject.directory / "adapters" / corpus.name
    content: dict[str, Any] = {
        "base": subject.base("sdf"),
        "corpus": str(_corpus_directory(sdf, subject, corpus)),
        "role": "intervention",
        "parents": list(subject.organism_adapters),
        "seeds": list(sdf.seeds),
        "out": str(out),
        "hyperparameters": dict(sdf.hyperparameters),
    }
    needs = [*subject.ready, f"corpora/{subject.name}/{corpus.directness}"]
    if sdf.replay is not None:
        content["replay"] = sdf.replay
    elif sdf.tiny_replay is not None:
        content["replay"] = str(_ordinary_file(subject.out))
        needs.append(_ORDINARY)
    if plan.pair is not None:
        content["pair"] = plan.pair
    if revision := subject.planned.args.get("revision"):
        content["revision"] = revision
    TrainingConfig.model_validate(content)  # now, not after everything before it has been paid for
    file = subject.directory / "training" / f"{corpus.name}.yaml"
    trained = [out / f"seed-{seed}" for seed in sdf.seeds]
    step = Step(
        id=f"adapter/{subject.name}/{corpus.name}",
        kind="adapter",
        command=("inspect-af", "sdf", "train", str(file)),
        needs=tuple(needs),
        files=((str(file), yaml.safe_dump(content, sort_keys=False)),),
        outputs=tuple(str(path / "inspect_af.json") for path in trained),
    )
    return step, trained


def _shortest(sdf: PlannedSdf) -> list[str]:
    return [] if sdf.min_words is None else ["--min-words", str(sdf.min_words)]


def _corpora_directory(sdf: PlannedSdf, subject: StudySubject, level: str) -> Path:
    corpora = subject.directory / "corpora"
    return corpora / level if len(sdf.directness) > 1 else corpora


def _corpus_directory(sdf: PlannedSdf, subject: StudySubject, corpus: _Corpus) -> Path:
    """The builder gives several universes a directory each, and a single one none."""
    corpora = _corpora_directory(sdf, subject, corpus.directness)
    return corpora / corpus.code if len(sdf.interventions) > 1 else corpora

"""Steps of steering: contrast pairs, activations, vectors, random controls, sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_af.errors import ConfigError
from inspect_af.materials import load_pair
from inspect_af.plan import Plan, PlannedModel, PlannedSteering, Scalar
from inspect_af.study._build_evals import beliefs_task, evals_step
from inspect_af.study._options import key_values
from inspect_af.study._subjects import StudySubject
from inspect_af.study.estimates import evals_load, load_of
from inspect_af.study.steps import Load, Step
from inspect_af.tasks.evals import Evals, EvalTask

OVERSAMPLE = 1.25
"""Dialogues written per wanted pair, as `steering pairs write` does by default."""
DIALOGUE_TOKENS = (900, 700)
"""Assumed input and output of one written dialogue."""


class _Concept(NamedTuple):
    """One concept of one subject."""

    name: str
    pairs: Path
    """Its contrast pairs."""
    needs: tuple[str, ...]
    """Steps that make the pairs."""


class _Sweep(NamedTuple):
    """One call of `steering sweep`."""

    concept: str
    vector: Path
    controls: Path | None
    """Directory of the random vectors."""
    epochs: int
    limit: int | None
    """Samples of each condition; None for all."""


def steering_steps(plan: Plan, subjects: Sequence[StudySubject]) -> list[Step]:
    """All steps of the plan's section `steering`.

    Raises:
        ConfigError: A subject has no weights, or what the section asks for is not planned.
    """
    steering = plan.steering
    assert steering is not None
    summary = load_pair(plan.pair).summary()
    labels = (summary.first, summary.second)
    if steering.in_context and (plan.judging is None or "concept" not in plan.judging.judges):
        raise ConfigError("steering.in_context takes judged replies; plan judging with judges: [concept]")
    if plan.judging is not None and plan.judging.grader.args:
        raise ConfigError("steering sweeps take a grader by name alone; leave judging.grader.args out")
    out = subjects[0].out
    steps = [] if steering.writer is None else [_writing_step(plan, steering, steering.writer, out)]
    if steering.tiny_world:
        steps += [_tiny_step(plan, steering, label, out) for label in labels]
    for subject in subjects:
        for label in labels:
            if not steering.files or label in steering.files:
                steps += _concept_steps(plan, steering, subject, label)
    return steps


def _writing_step(plan: Plan, steering: PlannedSteering, writer: PlannedModel, out: Path) -> Step:
    directory = out / "pairs"
    sizes = (steering.train, steering.held_out, steering.keyword_hard)
    command = ["inspect-af", "steering", "pairs", "write", writer.model, *key_values("-M", writer.args)]
    command += ["--out", str(directory), "--train", str(sizes[0]), "--held-out", str(sizes[1])]
    command += ["--keyword-hard", str(sizes[2]), "--system", steering.system]
    command += ["--seed", str(plan.generation.run_seed)]
    if plan.pair is not None:
        command += ["--pair", plan.pair]
    dialogues = round(2 * OVERSAMPLE * sum(sizes))
    summary = load_pair(plan.pair).summary()
    return Step(
        id="pairs/written",
        kind="pairs",
        command=tuple(command),
        outputs=tuple(str(directory / f"{label}.jsonl") for label in (summary.first, summary.second)),
        load=load_of(plan, writer, dialogues, dialogues * DIALOGUE_TOKENS[0], dialogues * DIALOGUE_TOKENS[1]),
    )


def _tiny_step(plan: Plan, steering: PlannedSteering, label: str, out: Path) -> Step:
    pairs = out / "pairs" / f"{label}.jsonl"
    n = steering.train + steering.held_out
    return Step(
        id=f"pairs/{label}",
        kind="pairs",
        command=(
            *("inspect-af", "organism", "pairs", "--concept", label, "--n", str(n)),
            *("--seed", str(plan.generation.run_seed), "--out", str(pairs)),
        ),
        outputs=(str(pairs),),
    )


def _concept_steps(plan: Plan, steering: PlannedSteering, subject: StudySubject, label: str) -> list[Step]:
    steps: list[Step] = []
    directory = subject.directory / "steering"
    written = f"pairs/{label}" if steering.tiny_world else "pairs/written"
    concept = _Concept(label, subject.out / "pairs" / f"{label}.jsonl", (written,))
    if steering.files:
        concept = _Concept(label, Path(steering.files[label]), ())
    elif steering.in_context:
        step = _matching_step(subject, label, directory)
        concept = _Concept(label, Path(step.outputs[0]), (step.id,))
        steps.append(step)
    name = f"{subject.name}/{label}"
    activations = directory / f"{label}-activations.safetensors"
    regression = directory / f"{label}.safetensors"
    difference = directory / f"{label}.mean-difference.safetensors"
    vector = regression if steering.vector == "regression" else difference
    if steering.vector == "logistic":
        vector = directory / f"{label}.logistic.safetensors"
    controls = directory / f"{label}-controls"
    extract = ["inspect-af", "steering", "activations", str(concept.pairs), "--model"]
    extract += [subject.base("steering"), "--locus", steering.locus, "--out", str(activations)]
    for adapter in subject.organism_adapters:
        extract += ["--adapter", adapter]
    if revision := subject.planned.args.get("revision"):
        extract += ["--revision", str(revision)]
    steps.append(
        Step(
            id=f"activations/{name}",
            kind="activations",
            command=tuple(extract),
            needs=(*subject.ready, *concept.needs),
            outputs=(str(activations),),
        )
    )
    fit = ["inspect-af", "steering", "fit", str(activations), "--out", str(regression)]
    fit += ["--c", f"{steering.c:g}", "--estimator", "regression"]
    if plan.pair is not None:
        fit += ["--pair", plan.pair]
    steps.append(
        Step(
            id=f"vector/{name}",
            kind="vector",
            command=tuple(fit),
            needs=(f"activations/{name}",),
            outputs=tuple(dict.fromkeys((str(regression), str(difference), str(vector)))),
        )
    )
    steps.append(
        Step(
            id=f"controls/{name}",
            kind="controls",
            command=(
                *("inspect-af", "steering", "controls", str(vector), "--n", str(steering.controls)),
                *("--out", str(controls), "--activations", str(activations)),
            ),
            needs=(f"vector/{name}",),
            outputs=(str(controls / f"{vector.stem}.random-{steering.controls:03}.safetensors"),),
        )
    )
    full = _Sweep(label, vector, controls, plan.generation.epochs, None)
    if steering.control_epochs is None and steering.control_requests is None:
        steps.append(_sweep_step(plan, steering, subject, full))
    else:
        tiers = len(plan.prompt.tiers)
        requests = min(steering.control_requests or plan.requests.n, plan.requests.n)
        fewer = full._replace(
            epochs=steering.control_epochs or full.epochs,
            limit=None if requests == plan.requests.n else requests * tiers,
        )
        steps.append(_sweep_step(plan, steering, subject, full._replace(controls=None)))
        steps.append(_sweep_step(plan, steering, subject, fewer, suffix="-controls"))
    if plan.beliefs is not None and "steering" in plan.beliefs.methods and steering.multipliers:
        steps.append(
            evals_step(
                plan,
                subject,
                f"steering-beliefs-{label}",
                [beliefs_task(plan)],
                _steered(steering, subject, vector),
                [f"vector/{name}"],
                epochs=plan.beliefs.epochs,
            )
        )
    return steps


def _matching_step(subject: StudySubject, label: str, directory: Path) -> Step:
    pairs = directory / f"{label}.jsonl"
    logs = str(subject.logs("prompt"))
    return Step(
        id=f"pairs/{subject.name}/{label}",
        kind="pairs",
        command=(
            *("inspect-af", "steering", "pairs", "ic", logs, "--concept", label),
            *("--same", "tier,condition", "--out", str(pairs)),
        ),
        needs=(f"evals/{subject.name}/prompt",),
        outputs=(str(pairs),),
    )


def _steered(steering: PlannedSteering, subject: StudySubject, vector: Path) -> list[PlannedModel]:
    return [
        PlannedModel(
            model=subject.planned.model,
            args={
                **subject.planned.args,
                "vector": str(vector),
                "multiplier": multiplier,
                "layers": layers,
            },
        )
        for layers in steering.layers
        for multiplier in steering.multipliers
        if multiplier
    ]


def _sweep_step(
    plan: Plan, steering: PlannedSteering, subject: StudySubject, sweep: _Sweep, suffix: str = ""
) -> Step:
    name = f"{sweep.concept}{suffix}"
    out = subject.directory / "steering" / f"{name}-sweep"
    sizes = steering.multipliers or steering.doses
    scale = "--multipliers" if steering.multipliers else "--doses"
    command = ["inspect-af", "steering", "sweep", "--model", subject.planned.model]
    command += key_values("-M", subject.planned.args)
    command += ["--vectors", str(sweep.vector)]
    needs = [*subject.ready, f"vector/{subject.name}/{sweep.concept}"]
    if sweep.controls is not None:
        command += ["--controls", str(sweep.controls)]
        needs.append(f"controls/{subject.name}/{sweep.concept}")
    command += [f"{scale}={','.join(f'{size:g}' for size in sizes)}", "--layers", *steering.layers]
    command += ["--parse-floor", f"{steering.parse_floor:g}", "--requests", plan.requests.source]
    command += ["--epochs", str(sweep.epochs), "--run-seed", str(plan.generation.run_seed)]
    if sweep.limit is not None:
        command += ["--limit", str(sweep.limit)]
    if plan.generation.temperature is not None:
        command += ["--temperature", f"{plan.generation.temperature:g}"]
    if plan.generation.max_tokens is not None:
        command += ["--max-tokens", str(plan.generation.max_tokens)]
    if _judged(plan):
        assert plan.judging is not None
        command += ["--grader", plan.judging.grader.model]
    settings = plan.prompt.model_dump(exclude={"digest"}, mode="json")
    command += key_values("-T", {**settings, "pair": plan.pair})
    command += ["--log-dir", str(subject.logs(f"steering-{name}")), "--out", str(out)]
    return Step(
        id=f"sweep/{subject.name}/{name}",
        kind="sweep",
        command=tuple(command),
        needs=tuple(needs),
        outputs=(str(out / "sweep.json"),),
        outputs_may_be_partial=True,
        load=_sweep_load(plan, steering, subject, sweep),
    )


def _sweep_load(plan: Plan, steering: PlannedSteering, subject: StudySubject, sweep: _Sweep) -> Load:
    """At most: multipliers that turn out not to be usable get no controls."""
    sizes = [size for size in steering.multipliers or steering.doses if size]
    vectors = 1 + (0 if sweep.controls is None else steering.controls)
    task: dict[str, Scalar | list[Scalar]] = {
        "interventions": "none",
        "requests": plan.requests.source,
        "tiers": list(plan.prompt.tiers),
        **({"judges": ["concept"]} if _judged(plan) else {}),
    }
    evals = Evals(
        tasks=(EvalTask(task="alignment_faking", args=task),),
        models=(subject.untouched,) * (1 + len(sizes) * len(steering.layers) * vectors),
        epochs=sweep.epochs,
        limit=sweep.limit,
        grader=None if plan.judging is None else plan.judging.grader,
    )
    return evals_load(plan, evals)


def _judged(plan: Plan) -> bool:
    return plan.judging is not None and "concept" in plan.judging.judges

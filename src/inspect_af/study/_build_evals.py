"""Steps that are evals: prompt claims, beliefs, direct requests, the role-play ablation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inspect_af.plan import Plan, PlannedModel
from inspect_af.study._subjects import StudySubject
from inspect_af.study.estimates import evals_load
from inspect_af.study.steps import Step
from inspect_af.tasks.evals import Evals, EvalTask
from inspect_af.types import STRENGTHS, Strength


def scenario_task(plan: Plan, *, claims: Sequence[str] | None = None, **changes: Any) -> EvalTask:
    """`alignment_faking` as the plan asks for it.

    Args:
        plan: The study's plan.
        claims: Interventions; the plan's conditions if None, none if empty.
        changes: Other arguments of the task.
    """
    args = {name: value for name, value in plan.task_args().items() if value is not None}
    if claims is not None:
        args["interventions"] = list(claims) or "none"
    if plan.judging is not None and plan.judging.judges:
        args["judges"] = list(plan.judging.judges)
    return EvalTask(task="alignment_faking", args={**args, **changes})


def plan_strength(plan: Plan) -> Strength:
    """The strength at which the report compares claims: the plan's, else standard, else the strongest."""
    planned = [condition.strength for condition in plan.conditions]
    if plan.headline_strength is not None:
        return plan.headline_strength
    return "standard" if "standard" in planned or not planned else max(planned, key=STRENGTHS.index)


def beliefs_task(plan: Plan, *, claims: Sequence[str] = ()) -> EvalTask:
    """`beliefs` in the plan's setting."""
    asked = plan.beliefs
    assert asked is not None
    args: dict[str, Any] = {
        "interventions": list(claims) or "none",
        "questions": asked.questions,
        "logprobs": asked.logprobs,
        "orders": asked.orders,
        "setting": plan.prompt.setting,
        "identity": plan.prompt.identity,
        "scenario": plan.prompt.scenario,
        "pair": plan.pair,
        "run_seed": plan.generation.run_seed,
    }
    return EvalTask(task="beliefs", args={name: value for name, value in args.items() if value is not None})


def evals_step(
    plan: Plan,
    subject: StudySubject,
    group: str,
    tasks: Sequence[EvalTask],
    models: Sequence[PlannedModel],
    needs: Sequence[str],
    *,
    epochs: int | None = None,
) -> Step:
    """One step that runs tasks and models through `eval_set`; its logs go into the subject's `group`."""
    sampled = any(task.task != "beliefs" for task in tasks)
    evals = Evals(
        tasks=tuple(tasks),
        models=tuple(models),
        epochs=epochs or plan.generation.epochs,
        temperature=plan.generation.temperature if sampled else None,
        max_tokens=plan.generation.max_tokens if sampled else None,
        grader=None if plan.judging is None else plan.judging.grader,
        max_tasks=1 if subject.is_local else None,
    )
    file = subject.out / "evals" / f"{subject.name}-{group}.yaml"
    logs = subject.logs(group)
    return Step(
        id=f"evals/{subject.name}/{group}",
        kind="evals",
        command=("inspect-af", "evals", str(file), "--log-dir", str(logs)),
        needs=tuple(dict.fromkeys(needs)),
        files=((str(file), evals.text()),),
        logs=str(logs),
        load=evals_load(plan, evals),
    )


def prompt_steps(plan: Plan, subject: StudySubject) -> list[Step]:
    """Baseline and prompt claims, and the checks of the untouched subject."""
    model, ready = [subject.untouched], subject.ready
    claims = [condition.label for condition in plan.conditions]
    steps = [evals_step(plan, subject, "prompt", [scenario_task(plan)], model, ready)]
    if plan.beliefs is not None:
        asked = claims if "prompt" in plan.beliefs.methods else []
        steps.append(
            evals_step(
                plan,
                subject,
                "beliefs",
                [beliefs_task(plan, claims=asked)],
                model,
                ready,
                epochs=plan.beliefs.epochs,
            )
        )
    if (checks := plan.checks) is not None:
        if checks.identities:
            tasks = [scenario_task(plan, claims=(), identity=identity) for identity in checks.identities]
            steps.append(evals_step(plan, subject, "identities", tasks, model, ready))
        if checks.direct_requests:
            steps.append(evals_step(plan, subject, "direct", [_direct(plan, claims)], model, ready, epochs=1))
    return steps


def _direct(plan: Plan, claims: Sequence[str]) -> EvalTask:
    args: dict[str, Any] = {
        "interventions": list(claims) or "none",
        "requests": plan.requests.source,
        "pair": plan.pair,
        "run_seed": plan.generation.run_seed,
    }
    given = {name: value for name, value in args.items() if value is not None}
    return EvalTask(task="direct_requests", args=given)

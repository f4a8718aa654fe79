"""From what a person writes to a plan with digests, and what is wrong with it before anything starts.

A draft has the keys of a plan. What can be worked out may be left out or shortened: digests always,
`requests` and a subject to a name, `conditions` to what `interventions` takes.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Any, get_args

from inspect_ai import Task
from pydantic import BaseModel, ValidationError

from inspect_af.config import parse, read_text
from inspect_af.errors import ConfigError, InspectAFError, TreatmentError, one_of
from inspect_af.logs.headers import TREATMENT_ARGS, subject_of
from inspect_af.materials import DIRECTNESS, load_pair
from inspect_af.plan import (
    BASELINE_REPEATS,
    Plan,
    PlannedPrompt,
    PlannedRequests,
    PlannedSdf,
    PlannedSteering,
    load_plan,
    refuse_secrets,
    save_plan,
)
from inspect_af.steering.vector import parse_layers
from inspect_af.tasks.evals import EvalTask, make_task, refuse_changed_plan
from inspect_af.types import REQUESTS_OF, PairSummary, ScenarioTask, TaskMeta, planned_claim

_CONDITION_KEYS = ("interventions", "strength", "paraphrase")


def read_study_plan(file: Path) -> Plan:
    """Reads a finished plan, or a draft that is completed.

    A ConfigError where the file is missing or malformed, a setting is unknown, missing, wrong or secret, or a
    finished plan was written for other content of its pair, prompt or requests.
    """
    content = parse(read_text(file, what="plan"), "YAML", file)
    refuse_secrets(content)
    if not isinstance(content, dict):
        raise ConfigError(
            f"{file} is not a study's plan; `inspect-af study --template` prints one to fill in"
        )
    if "digest" in content:
        plan = load_plan(file)
        refuse_changed_plan(plan)
        return plan
    try:
        return complete_draft({"name": file.stem, **content})
    except ConfigError as error:
        raise ConfigError(f"{file}: {error.message}") from error


_WORKED_OUT = ("pair_digest", "conditions", "prompt", "requests")  # In a plan, from what a draft has for them


def _problems(invalid: ValidationError) -> Iterator[str]:
    """One complaint each: where, what, and for an unknown key the allowed ones."""
    for error in invalid.errors():
        *at, last = error["loc"] or ("",)
        kind, given, said = error["type"], error["input"], error["msg"].removeprefix("Value error, ")
        if kind == "missing" and error["loc"][0] in _WORKED_OUT:
            continue
        if kind == "missing":
            said += "; `inspect-af study --template` prints a plan to fill in"
        elif kind == "tuple_type":
            said = f"{given!r} is no list; write it as [A, B], or one `- A` a line"
        elif kind == "model_type":
            said = f"{given!r}; give settings by name, as `inspect-af study --template` does"
        elif kind == "extra_forbidden" and (allowed := _keys(Plan, at)):
            said = str(one_of(last, allowed, what="key"))
        yield f"{'.'.join(map(str, error['loc']))}: {said}"


def _keys(model: type[BaseModel], at: Sequence[int | str]) -> tuple[str, ...]:
    """The keys that a draft may have at a place; none where a plan has no keys of its own there."""
    for part in at:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        parts = [] if field is None else [field.annotation, *get_args(field.annotation)]
        inner = [each for each in parts if isinstance(each, type) and issubclass(each, BaseModel)]
        if not inner:
            return ()
        model = inner[0]
    worked_out = ("schema_version", "estimate", "pair_digest", "digest")
    return tuple(name for name in model.model_fields if name not in worked_out)


def complete_draft(draft: Mapping[str, Any]) -> Plan:
    """Works out the digests and the conditions of a draft; a ConfigError names all that is wrong with it."""
    given, args, problems = dict(draft), dict[str, Any](), list[str]()
    task: ScenarioTask = "value_conflict" if given.get("task") == "value_conflict" else "alignment_faking"
    parameter, usual = REQUESTS_OF[task]
    generation: Any = given.get("generation") if isinstance(given.get("generation"), Mapping) else {}
    for read in (
        lambda: _condition_args(given.pop("conditions", "none")),
        lambda: _prompt_args(given.pop("prompt", None)),
        lambda: {parameter: _source(given.pop("requests", usual))},
    ):
        try:
            args |= read()
        except ConfigError as error:
            problems.append(error.message)
    args["run_seed"] = generation.get("run_seed", 0)
    if isinstance(given.get("pair"), str):
        args["pair"] = given["pair"]
    try:
        Plan.model_validate(given)
    except ValidationError as error:
        problems += _problems(error)
    if not problems:
        try:
            made = plan_parts(make_task(EvalTask(task=task, args=args)), args, args[parameter])
            if made["conditions"] or given.get("sdf") or given.get("steering"):
                given["generation"] = {"baseline_repeats": BASELINE_REPEATS, **generation}
            return Plan.model_validate({**given, **made})
        except ValidationError as error:
            problems += _problems(error)
        except InspectAFError as error:
            problems.append(error.message)
    raise ConfigError("; ".join(dict.fromkeys([*problems, *_refused(task, args)])))


def _refused(task: ScenarioTask, args: Mapping[str, Any]) -> Iterator[str]:
    """What the task says to each argument beside those that it takes; fetches no usual requests for that."""
    parameter, usual = REQUESTS_OF[task]
    taken = {parameter: "mini" if task == "alignment_faking" else usual}
    for name in sorted(args.keys() - {"run_seed"}, key=lambda name: (name not in ("pair", "scenario"), name)):
        if args[name] != usual:
            try:
                make_task(EvalTask(task=task, args={**taken, name: args[name]}))
                taken[name] = args[name]
            except InspectAFError as error:
                yield error.message


def plan_parts(task: Task, task_args: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What a plan says about pair, conditions, prompt and requests, read from the task that asks for them.

    Some arguments are not recorded by the task (`scenario`, `pair`), nor is where the requests come from.
    """
    meta = TaskMeta.model_validate((task.metadata or {})["inspect_af"])
    claims = dict.fromkeys(planned_claim(sample.metadata or {}) for sample in task.dataset)
    tiers = meta.prompt_settings["tiers"].split(",")
    worked_out = {"tiers": tiers, "scenario": task_args.get("scenario"), "digest": meta.prompt_digest}
    settings: dict[str, Any] = dict(meta.prompt_settings)
    if settings.get("oversight") == "none":
        del settings["oversight"]
    return {
        "pair_digest": meta.pair.digest,
        "conditions": tuple(filter(None, claims)),
        "prompt": PlannedPrompt.model_validate({**settings, **worked_out}),
        "requests": PlannedRequests(source=source, digest=meta.requests_digest, n=meta.n_requests),
    }


def _prompt_args(given: object) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"prompt: {given!r}; give settings by name, as `inspect-af study --template` does")
    allowed = _keys(Plan, ("prompt",))
    if unknown := [str(one_of(key, allowed, what="key")) for key in given if key not in allowed]:
        raise ConfigError(f"prompt: {'; '.join(unknown)}")
    return {str(key): value for key, value in given.items()}


def _source(given: object) -> str:
    """Where the requests come from: `requests: mini`, or `requests: {source: mini}`."""
    if isinstance(given, str):
        return given
    if isinstance(given, Mapping) and set(given) == {"source"}:
        return str(given["source"])
    raise ConfigError(
        f"requests: {given!r}; give advbench, mini, benign or a file (their number and digest are worked out)"
    )


def template() -> str:
    """A commented draft to fill in."""
    return Path(__file__).with_name("template.yaml").read_text(encoding="utf-8")


def _condition_args(given: object) -> dict[str, Any]:
    match given:
        case None:
            return {"interventions": "none"}
        case str():
            return {"interventions": given}
        case Mapping():
            if unknown := sorted(set(map(str, given)) - set(_CONDITION_KEYS)):
                raise ConfigError(f"conditions: unknown {unknown[0]!r}; one of {', '.join(_CONDITION_KEYS)}")
            if "interventions" not in given:
                raise ConfigError(f"conditions: {dict(given)!r} names no interventions, such as 'all,N'")
            return {str(key): value for key, value in given.items()}
        case Sequence():
            return {"interventions": [str(item) for item in given] or "none"}
    raise ConfigError(
        f"conditions: {given!r}; give codes such as 'all,N', a list of them, or interventions, strength and "
        "paraphrase"
    )


# What is wrong with a plan, beyond the type of each value.

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9 ._-]*(?<! )")


def plan_problems(plan: Plan) -> list[str]:
    """Settings that would fail, run nothing, or run the same thing twice; a ConfigError names texts that
    nothing else is to quote."""
    if hostile := list(_texts("", plan.model_dump(mode="json"))):
        raise ConfigError("; ".join(hostile))
    pair = load_pair(plan.pair).summary()
    found = [*_general(plan, pair), *_needs(plan), *_subjects_apart(plan)]
    found += [] if plan.sdf is None else _sdf(plan.sdf)
    found += [] if plan.steering is None else _steering(plan.steering, pair)
    return found


def _texts(where: str, value: object) -> Iterator[str]:
    """Texts that a command or a terminal would take for something else than a name or a path."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            at = f"{where}.{key}" if where else str(key)
            yield from _texts(at, str(key))
            yield from _texts(at, each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(where, each)
    elif isinstance(value, str):
        if not value.isprintable():
            yield f"{ascii(where)[1:-1]}: {value!a} has characters that cannot be seen, such as a line's end"
        elif re.match("-.", value):
            yield f"{where}: {value!r} would be read as an option; put ./ before it if it is a file"


def _general(plan: Plan, pair: PairSummary) -> Iterator[str]:
    if not _NAME.fullmatch(plan.name):
        yield (
            f"name: {plan.name!r} names the study's directory; give letters, digits, spaces, '.', '_' and "
            "'-', with a letter or digit first"
        )
    if plan.task == "value_conflict" and plan.checks is not None and plan.checks.direct_requests:
        yield "checks.direct_requests: value_conflict asks no requests; leave the check out"
    # What the verdict and the report will be made from.
    known = [variable.code for variable in pair.variables]
    yield from _repeated("variables", plan.variables)
    for code in plan.variables:
        if code not in known:
            yield f"variables: {one_of(code, known, what='variable').message}"
    strengths = dict.fromkeys(condition.strength for condition in plan.conditions)
    if plan.headline_strength is not None and plan.headline_strength not in strengths:
        planned = ", ".join(strengths) or "no prompt claim at all"
        yield f"headline_strength: {plan.headline_strength} is not planned; the conditions have {planned}"
    if plan.checks is not None:
        yield from _repeated("checks.identities", plan.checks.identities)
        if plan.prompt.identity in plan.checks.identities:
            yield (
                f"checks.identities: {plan.prompt.identity!r} is the identity of all the study's prompts; "
                "name others to compare it with"
            )
    for model, prices in {} if plan.budget is None else plan.budget.prices.items():
        for price in prices:
            if not (isfinite(price) and price >= 0):
                yield f"budget.prices.{model}: {price:g} is no price; give dollars per million tokens"


def _needs(plan: Plan) -> Iterator[str]:
    """Parts that need another part of the plan."""
    beliefs, checks, judging, steering = plan.beliefs, plan.checks, plan.judging, plan.steering
    if judging is None:
        if checks is not None and checks.direct_requests:
            yield "checks.direct_requests are scored by a judge; plan judging with a grader"
        if plan.scratchpads is not None and "cut" in plan.scratchpads.edits:
            yield "scratchpads.edits: a judge finds the sentences to cut; plan judging with a grader"
        if beliefs is not None and beliefs.questions != "choice":
            yield "beliefs.questions: a judge scores open questions; plan judging with a grader"
    planned = {condition.intervention for condition in plan.conditions}
    for word in (plan.scratchpads and plan.scratchpads.interventions) or ():
        with suppress(ConfigError):  # an unknown one is the task's to refuse
            if (chosen := set(load_pair(plan.pair).interventions(word)) - {None}) and not chosen & planned:
                yield f"scratchpads.interventions: {word} is in no condition; its replies are not asked for"
    if (
        steering is not None
        and steering.in_context is True
        and (judging is None or "concept" not in judging.judges)
    ):
        yield "steering.in_context: true takes judged replies; plan judging with judges: [concept]"
    if steering is not None and judging is not None and judging.grader.args:
        yield "steering sweeps take a grader by name alone; leave judging.grader.args out"


def _subjects_apart(plan: Plan) -> Iterator[str]:
    """Two that logs do not tell apart would be counted as one with twice the replies."""
    seen: set[tuple[str, str]] = set()
    for subject in plan.subjects:
        treatments = sorted((name, value) for name, value in subject.args.items() if name in TREATMENT_ARGS)
        told_by = subject_of(subject.model, subject.args).label, repr(treatments)
        if told_by in seen:
            yield (
                f"subjects: {told_by[0]} is there twice, with all arguments that change what it does; for "
                "more replies give generation.epochs"
            )
        seen.add(told_by)


def _repeated(where: str, items: Sequence[Hashable]) -> Iterator[str]:
    for item in dict.fromkeys(items):
        if items.count(item) > 1:
            yield f"{where}: {item!r} is there twice"


def _sdf(sdf: PlannedSdf) -> Iterator[str]:
    yield from _repeated("sdf.interventions", sdf.interventions)
    yield from _repeated("sdf.seeds", sdf.seeds)
    yield from _repeated("sdf.directness", sdf.directness)
    for level in sdf.directness:
        if level not in DIRECTNESS:
            yield f"sdf.directness: {one_of(level, DIRECTNESS, what='directness').message}"
    if sdf.replay is not None and not Path(sdf.replay).is_file():
        yield f"sdf.replay: {sdf.replay} is no file here"


def _steering(steering: PlannedSteering, pair: PairSummary) -> Iterator[str]:
    scale = "multipliers" if steering.multipliers else "doses"
    sizes = steering.multipliers or steering.doses
    shown = ", ".join(f"{size:g}" for size in sizes)
    yield from _repeated(f"steering.{scale}", sizes)
    yield from _repeated("steering.layers", steering.layers)
    if not all(isfinite(size) for size in sizes):
        yield f"steering.{scale}: {shown}; give finite numbers"
    elif not (min(sizes) < 0 < max(sizes)):
        # A sensitivity compares a vector that is added with the same vector taken away.
        usual = "[-4, 4]" if steering.multipliers else "[-0.1, 0.1]"
        yield f"steering.{scale}: {shown}; both signs are needed, such as {usual}"
    for layers in steering.layers:
        try:
            parse_layers(layers, ())
        except TreatmentError:
            continue  # well formed; which layers there are is known once there is a vector
        except ConfigError as error:
            yield f"steering.layers: {error.message}"
    for concept, file in steering.files.items():
        if concept not in (pair.first, pair.second):
            yield f"steering.files: {one_of(concept, (pair.first, pair.second), what='concept').message}"
        elif not Path(file).is_file():
            yield f"steering.files.{concept}: {file} is no file here"


def fix_plan(plan: Plan, file: Path) -> None:
    """Writes the plan into the study's directory, once; a ConfigError where the directory belongs to another
    plan."""
    if not file.exists():
        save_plan(plan, file)
        return
    before, now = (
        each.model_dump(mode="json", exclude={"budget", "estimate"}) for each in (load_plan(file), plan)
    )
    if changed := [name for name in now if before.get(name) != now[name]]:
        raise ConfigError(
            f"{file.parent} was started with another plan ({', '.join(changed)} differ). Give another --out, "
            f"or put the plan back as {file} has it"
        )

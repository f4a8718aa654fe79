"""From a plan to its steps: what each runs, needs and leaves behind, and what it will take.

Pure but for reading the materials that the plan names. A step is one command of `inspect-af`, or evals that
share a process. Nothing of a plan's text is part of a key, and keys are all that Snakemake is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, get_args

import yaml
from pydantic import ValidationError

from inspect_af.config import Frozen, text_digest
from inspect_af.errors import ConfigError, InspectAFError, complaints
from inspect_af.format import plural
from inspect_af.logs.headers import subject_of
from inspect_af.materials import OVERSAMPLE, load_pair, load_scenario, load_universe
from inspect_af.materials.universes import load_writing_prompts, select_document_types
from inspect_af.plan import (
    Plan,
    PlannedModel,
    PlannedScratchpads,
    PlannedSdf,
    PlannedSteering,
    PlannedSubject,
)
from inspect_af.rendering import is_option
from inspect_af.scorers.judges import AWARENESS_VOTES, FAKING_VOTES
from inspect_af.sdf.generate import estimate
from inspect_af.sdf.train import TrainingConfig
from inspect_af.steering.in_context import OVERSIGHT
from inspect_af.study.draft import plan_problems
from inspect_af.tasks.evals import Evals, EvalTask, make_task, model_files
from inspect_af.types import SCENARIO_OF, STRENGTHS, WORDING, Removed, Strength, TaskMeta, planned_claim

PLAN_FILE = "plan.yaml"  # The plan that the study's directory belongs to, in `OUT`
REPORT = "convergence.html"  # The study's one report, in `OUT/report`
LOCAL_PROVIDERS = ("af-hf/", "af-vllm/")


class Resources(Frozen):
    """What a step asks a cluster for; a Snakemake profile may say otherwise for every kind of step."""

    cores: int = 1
    gpus: int = 0
    memory_mb: int = 8_000
    minutes: int = 24 * 60


WITH_WEIGHTS = Resources(gpus=1, memory_mb=64_000, minutes=48 * 60)  # For steps that load a local model


class Load(Frozen):
    """What a step asks of models; estimated, apart from the calls of evals, which are exact."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = 0.0  # None where a price is unknown

    def __add__(self, other: Load) -> Load:
        known = self.cost_usd is not None and other.cost_usd is not None
        return Load(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cost_usd=(self.cost_usd or 0.0) + (other.cost_usd or 0.0) if known else None,
        )

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens


class LoggedEvals(Frozen):
    """Evals and the directory of their logs."""

    evals: Evals
    logs: str


class Step(Frozen):
    """One job of a study. Paths are as seen from the directory in which the study was started."""

    key: str  # `adapter/expectation/A1+`: kind, subject, what; also the name of its directory in `OUT/steps`
    command: tuple[str, ...] = ()  # Arguments of `inspect-af`; empty for evals
    evals: tuple[LoggedEvals, ...] = ()
    """Run one after the other in one process; which of them are done is read from their logs."""
    needs: tuple[str, ...] = ()  # Keys of the steps that have to be done before
    reads: tuple[str, ...] = ()
    """Files and directories whose content decides whether what was made is still what would be made."""
    files: tuple[tuple[str, str], ...] = ()
    """Configuration that the command reads and the study writes: path and content."""
    outputs: tuple[str, ...] = ()  # Files that exist once the step is done, whoever made them
    outputs_may_be_partial: bool = False
    """Whether the command writes its outputs before all is done: they count only where it was not stopped."""
    owns: tuple[str, ...] = ()
    """Everything that it writes, moved away where `reads` have other content than when it was made."""
    resources: Resources = Resources()
    load: Load = Load()

    @property
    def kind(self) -> str:
        return self.key.partition("/")[0]

    @property
    def digest(self) -> str:
        """Of the command and its files."""
        return text_digest(*self.command, *(part for file in self.files for part in file))

    def matches(self, patterns: Iterable[str]) -> bool:
        """Whether a pattern is the step's key, its kind, the start of its key, or a glob over it."""
        return any(
            self.key == pattern
            or self.key.startswith(f"{pattern.rstrip('/')}/")
            or fnmatchcase(self.key, pattern)
            for pattern in patterns
        )


def chosen_steps(steps: Sequence[Step], only: Sequence[str], skip: Sequence[str]) -> tuple[Step, ...]:
    """The steps that `only` and `skip` leave, all where both are empty; a ConfigError where a pattern fits no
    step."""
    for pattern in (*only, *skip):
        if not any(step.matches([pattern]) for step in steps):
            kinds = ", ".join(dict.fromkeys(step.kind for step in steps))
            raise ConfigError(
                f"no step fits {pattern!r}; give steps, kinds ({kinds}) or patterns such as "
                f"'{steps[0].key}'; --dry-run lists every step"
            )
    return tuple(
        step for step in steps if (not only or step.matches(only)) and not (skip and step.matches(skip))
    )


def total_load(steps: Iterable[Step]) -> Load:
    """The sum over steps."""
    return sum((step.load for step in steps), Load())


def check_budget(plan: Plan, load: Load) -> None:
    """Refuses, by a ConfigError, what is estimated to take more than the plan allows, or may cost more since
    a price is unknown."""
    budget = plan.budget
    if budget is None:
        return
    over = []
    if budget.max_calls is not None and load.calls > budget.max_calls:
        over.append(f"{plural(load.calls, 'call')}, allowed are {budget.max_calls:,}")
    if budget.max_tokens is not None and load.tokens > budget.max_tokens:
        over.append(f"{load.tokens:,} tokens, allowed are {budget.max_tokens:,}")
    if budget.max_cost_usd is not None:
        if load.cost_usd is None:
            over.append("a cost that is unknown, since a model has no price; give budget.prices")
        elif load.cost_usd > budget.max_cost_usd:
            over.append(f"${load.cost_usd:,.2f}, allowed are ${budget.max_cost_usd:,.2f}")
    if over:
        raise ConfigError(
            f"the study is estimated to take {'; '.join(over)}. Nothing was started: plan less, or raise the "
            "budget"
        )


# Subjects and names.


def slug(text: str) -> str:
    """Letters, digits, `.`, `+` and `-` of a text, so that `A1-` stays; everything else becomes one `-`."""
    return re.sub(r"[^A-Za-z0-9.+-]+", "-", text).strip(".") or "-"


def subject_names(subjects: Sequence[PlannedSubject]) -> tuple[str, ...]:
    """A short name for each subject: the last part of the model's name, with a number where two agree."""
    found: list[str] = []
    for subject in subjects:
        name = slug(subject.model.rpartition("/")[2] or "model")
        free = (f"{name}-{number}" for number in count(2))
        found.append(name if name not in found else next(other for other in free if other not in found))
    return tuple(found)


def base_model(model: str) -> str | None:
    """Hub name or directory of a local provider's model; None for any other provider."""
    local = next((prefix for prefix in LOCAL_PROVIDERS if model.startswith(prefix)), None)
    return None if local is None else model.removeprefix(local).removeprefix("./")


class Subject(NamedTuple):
    """One subject of a study: its name, its places, and its models with treatments."""

    name: str
    planned: PlannedSubject
    out: Path  # The study's directory

    @property
    def directory(self) -> Path:
        return self.out / "subjects" / self.name

    @property
    def ready(self) -> tuple[str, ...]:
        """Key of the step that makes the model, where one does."""
        return () if self.planned.organism is None else (f"organism/{self.name}",)

    @property
    def reads(self) -> tuple[str, ...]:
        """Weights and other files that are under everything of this subject."""
        trained = () if self.planned.organism is None else (self.base("organism"),)
        named = (name.partition("=")[2] for name in model_files(self.planned))
        return tuple(dict.fromkeys(str(Path(each)) for each in (*trained, *self.organism_adapters, *named)))

    @property
    def resources(self) -> Resources:
        return Resources() if base_model(self.planned.model) is None else WITH_WEIGHTS

    @property
    def organism_adapters(self) -> tuple[str, ...]:
        """Adapters that are part of the subject."""
        given = self.planned.args.get("adapter") or []
        return tuple(map(str, given)) if isinstance(given, list) else tuple(str(given).split(","))

    def base(self, method: str) -> str:
        """Directory or hub name of the weights; a ConfigError where the provider has none."""
        found = base_model(self.planned.model)
        if found is None:
            raise ConfigError(
                f"{method} needs weights, and {self.planned.model} has none here; use af-hf/MODEL or "
                "af-vllm/MODEL, or leave the section out"
            )
        return found

    def logs(self, group: str) -> str:
        return str(self.out / "logs" / self.name / group)

    def treated(self, **args: Any) -> PlannedModel:
        """The model with further arguments; an adapter goes on top of the organism's own."""
        if "adapter" in args:
            args["adapter"] = ",".join((*self.organism_adapters, args["adapter"]))
        return PlannedModel(model=self.planned.model, args={**self.planned.args, **args})


def build_steps(plan: Plan, out: Path) -> tuple[Step, ...]:
    """Everything that a plan asks for, in an order in which it can be done; the report is the last.

    Paths begin with the study's directory, `out`. A ConfigError names all that is wrong with the plan, or
    that a subject or a setting does not allow.
    """
    problems = plan_problems(plan)
    named = zip(subject_names(plan.subjects), plan.subjects, strict=True)
    subjects = [Subject(name, each, out) for name, each in named]
    steps: list[Step] = []
    parts: tuple[Callable[[], list[Step]], ...] = (
        lambda: [_organism_step(each) for each in subjects if each.planned.organism is not None],
        lambda: [_untouched_step(plan, each) for each in subjects],
        lambda: [_scratchpads_step(plan, plan.scratchpads, each) for each in subjects if plan.scratchpads],
        lambda: [] if plan.sdf is None else list(_sdf_steps(plan, plan.sdf, subjects)),
        lambda: [] if plan.steering is None else list(_steering_steps(plan, plan.steering, subjects)),
    )
    for part in parts:
        try:
            steps += part()
        except ValidationError as error:
            problems += [f"sdf.{each}" for each in complaints(error)]
            problems[-1] += ". See docs/sdf_training.md for the settings"
        except InspectAFError as error:
            problems.append(error.message)
    if problems:
        raise ConfigError("; ".join(dict.fromkeys(problems)))
    steps.append(_report_step(subjects, out))
    keys = [step.key for step in steps]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise ConfigError(f"two parts of the plan come to one step, {twice[0]}; name their files differently")
    return tuple(steps)


def _organism_step(subject: Subject) -> Step:
    organism, base = subject.planned.organism, base_model(subject.planned.model)
    assert organism is not None
    if base is None or len(Path(base).parts) < 2:
        raise ConfigError(
            f"subject {subject.planned.model}: an organism is trained into the directory of its name, "
            "such as af-hf/./organisms/expectation"
        )
    return Step(
        key=f"organism/{subject.name}",
        command=_command("organism", "train", base, **organism.model_dump(include={"kind", "seed", "steps"})),
        outputs=tuple(f"{base}/{file}" for file in ("config.json", "planted.json", "model.safetensors")),
        owns=(base,),
    )


def _report_step(subjects: Sequence[Subject], out: Path) -> Step:
    names: dict[str, str] = {}
    for subject in subjects:
        # Subjects on one model that only their adapters tell apart share its name; labels have the adapters.
        names.setdefault(subject_of(subject.planned.model, subject.planned.args).model, subject.name)
    command = _command("convergence", str(out / "logs"), plan=out / PLAN_FILE, out=out / "report")
    return Step(
        key="report",
        command=(*command, *(word for each in names.items() for word in ("--name", "=".join(each)))),
        reads=(str(out / "logs"),),
        outputs=(str(out / "report" / REPORT),),
        outputs_may_be_partial=True,
    )


# Evals.


def _scenario_task(plan: Plan, *, claims: Sequence[str] | None = None, **changes: Any) -> EvalTask:
    """The plan's task as the plan asks for it, with its conditions, or with `claims` (none if empty).

    Only the former repeats the baseline; the others ask checkpoints, other prompts or the same subject again.
    """
    args = {name: value for name, value in plan.task_args().items() if value is not None}
    if claims is not None:
        args["interventions"] = list(claims) or "none"
        args.pop("baseline_repeats", None)
    if plan.judging is not None and plan.judging.judges:
        args["judges"] = list(plan.judging.judges)
    return EvalTask(task=plan.task, args={**args, **changes})


def _other_task(plan: Plan, name: Any, claims: Sequence[str], **args: Any) -> EvalTask:
    args |= {"interventions": list(claims) or "none", "pair": plan.pair, "run_seed": plan.generation.run_seed}
    args |= plan.wordings
    return EvalTask(task=name, args={name: value for name, value in args.items() if value is not None})


def _beliefs_task(plan: Plan, claims: Sequence[str] = ()) -> EvalTask:
    assert plan.beliefs is not None
    asked = plan.beliefs.model_dump(include={"questions", "logprobs", "orders", "reading", "wordings"})
    setting = plan.prompt.model_dump(include={"setting", "identity", "scenario"})
    setting["scenario"] = setting["scenario"] or SCENARIO_OF.get(plan.task)
    return _other_task(plan, "beliefs", claims, **asked, **setting)


def _plan_strength(plan: Plan) -> Strength:
    """The strength at which the report compares claims: the plan's, else standard, else the strongest."""
    planned = [condition.strength for condition in plan.conditions]
    if plan.headline_strength is not None:
        return plan.headline_strength
    return "standard" if "standard" in planned or not planned else max(planned, key=STRENGTHS.index)


_Groups = dict[str, tuple[Sequence[EvalTask], Sequence[PlannedModel], int]]
"""By the directory of their logs: tasks, models and epochs."""


def _evals_step(plan: Plan, subject: Subject, key: str, needs: Sequence[str], groups: _Groups) -> Step:
    """One process for all evals of a subject that can run at the same time."""

    def evals(tasks: Sequence[EvalTask], models: Sequence[PlannedModel], epochs: int) -> Evals:
        sampled = any(task.task != "beliefs" for task in tasks)
        return Evals(
            tasks=tuple(tasks),
            models=tuple(models),
            epochs=epochs,
            temperature=plan.generation.temperature if sampled else None,
            max_tokens=plan.generation.max_tokens if sampled else None,
            grader=None if plan.judging is None else plan.judging.grader,
            max_tasks=1 if subject.planned.model.startswith("af-hf/") else None,
        )

    logged = [LoggedEvals(evals=evals(*each), logs=subject.logs(group)) for group, each in groups.items()]
    return Step(
        key=f"evals/{subject.name}/{key}",
        evals=tuple(logged),
        needs=tuple(needs),
        resources=subject.resources,
        load=sum((evals_load(plan, each.evals) for each in logged), Load()),
    )


def _untouched_step(plan: Plan, subject: Subject) -> Step:
    """Baseline and prompt claims, and the checks of the untouched subject."""
    model, epochs, checks = [subject.treated()], plan.generation.epochs, plan.checks
    claims = [condition.label for condition in plan.conditions]
    groups: _Groups = {"prompt": ([_scenario_task(plan)], model, epochs)}
    if plan.beliefs is not None:
        asked = claims if "prompt" in plan.beliefs.methods else []
        groups["beliefs"] = ([_beliefs_task(plan, asked)], model, plan.beliefs.epochs)
    if checks is not None and checks.identities:
        tasks = [_scenario_task(plan, claims=(), identity=each) for each in checks.identities]
        groups["identities"] = (tasks, model, epochs)
    if checks is not None and checks.direct_requests:
        direct = _other_task(plan, "direct_requests", claims, requests=plan.requests.source)
        groups["direct"] = ([direct], model, 1)
    return _evals_step(plan, subject, "untouched", subject.ready, groups)


def _scratchpads_step(plan: Plan, planned: PlannedScratchpads, subject: Subject) -> Step:
    """The untouched subject's replies, gone on with once they are there."""
    replies = subject.logs("prompt")
    groups: _Groups = {}
    for edit in planned.edits:
        given = {"replies": replies, "edit": edit, "run_seed": plan.generation.run_seed, "pair": plan.pair}
        given["interventions"] = planned.interventions and list(planned.interventions)
        task = EvalTask(task="scratchpad", args={k: v for k, v in given.items() if v is not None})
        groups[f"scratchpads-{edit}"] = ([task], [subject.treated()], 1)
    step = _evals_step(plan, subject, "scratchpads", [f"evals/{subject.name}/untouched"], groups)
    return step.model_copy(update={"reads": (replies,)})


# Synthetic document fine-tuning.


class _Corpus(NamedTuple):
    """One corpus of documents: an intervention at a directness."""

    code: str
    directness: str
    name: str


def _sdf_steps(plan: Plan, sdf: PlannedSdf, subjects: Sequence[Subject]) -> Iterator[Step]:
    several, first = len(sdf.directness) > 1, subjects[0]
    corpora = [
        _Corpus(code, level, f"{slug(code)}.{level}" if several else slug(code))
        for level in sdf.directness
        for code in sdf.interventions
    ]
    documents = {corpus: str(first.out / "documents" / corpus.name) for corpus in corpora}
    for corpus, out in documents.items():
        yield _documents_step(plan, sdf, corpus, first, out)
    replay, replay_needs = sdf.replay, tuple[str, ...]()
    if sdf.tiny_replay is not None:
        replay, replay_needs = str(first.out / "ordinary.jsonl"), ("ordinary",)
        ordinary = _command(
            "organism", "documents", n=sdf.tiny_replay, out=replay, seed=plan.generation.run_seed
        )
        yield Step(key="ordinary", command=ordinary, outputs=(replay,))
    for subject in subjects:
        adapters = []
        for level in sdf.directness:
            key, into = f"corpora/{subject.name}/{level}", subject.directory / "corpora"
            into = into / level if several else into
            chosen = [corpus for corpus in corpora if corpus.directness == level]
            sources = [f"{documents[corpus]}/documents" for corpus in chosen]
            # The builder gives several universes a directory each, and a single one none.
            built = {corpus: into / corpus.code if len(chosen) > 1 else into for corpus in chosen}
            shared = {"tokens": sdf.tokens, "min_words": sdf.min_words, "pair": plan.pair}
            build = _command("sdf", "build", *sources, tokenizer=subject.base("sdf"), out=into, **shared)
            yield Step(
                key=key,
                command=(*build, "--allow-shortfall"),
                needs=(*subject.ready, *(f"documents/{corpus.name}" for corpus in chosen)),
                reads=tuple(sources),
                outputs=tuple(f"{directory}/manifest.json" for directory in built.values()),
                owns=(str(into),),
            )
            for corpus, directory in built.items():
                step = _adapter_step(plan, sdf, subject, corpus.name, str(directory), replay)
                adapters.append(step.model_copy(update={"needs": (*subject.ready, key, *replay_needs)}))
        yield from adapters
        trained = [str(Path(file).parent) for step in adapters for file in step.outputs]
        models, epochs = [subject.treated(adapter=each) for each in trained], plan.generation.epochs
        groups: _Groups = {"sdf": ([_scenario_task(plan, claims=())], models, epochs)}
        if plan.beliefs is not None and "sdf" in plan.beliefs.methods:
            groups["sdf-beliefs"] = ([_beliefs_task(plan)], models, plan.beliefs.epochs)
        if sdf.prompt_claims:
            task = _scenario_task(plan, claims=sdf.prompt_claims, strength=_plan_strength(plan))
            groups["sdf-prompt"] = ([task], models, epochs)
        yield _evals_step(plan, subject, "sdf", [step.key for step in adapters], groups)


def _documents_step(plan: Plan, sdf: PlannedSdf, corpus: _Corpus, first: Subject, out: str) -> Step:
    shared = sdf.model_dump(include={"ideas", "revisions", "words"})
    command = _command(
        *("sdf", "generate", corpus.code, *_key_values("-M", sdf.writer.args)),
        model=sdf.writer.model,
        tokens=sdf.tokens,
        tokenizer=first.base("sdf"),
        out=out,
        directness=corpus.directness,
        kinds=sdf.kinds,
        run_seed=plan.generation.run_seed,
        min_words=sdf.min_words,
        pair=plan.pair,
        **shared,
    )
    cost = estimate(
        load_universe(corpus.code, pair=plan.pair),
        load_writing_prompts(),
        select_document_types(sdf.kinds),
        sdf.tokens,
        price=plan.price(sdf.writer.model),
        **shared,
    )
    return Step(
        key=f"documents/{corpus.name}",
        command=command,
        needs=first.ready,  # its tokenizer counts the documents
        owns=(out,),
        load=Load.model_validate({name: getattr(cost, name) for name in Load.model_fields}),
    )


def _adapter_step(
    plan: Plan, sdf: PlannedSdf, subject: Subject, name: str, corpus: str, replay: str | None
) -> Step:
    out = subject.directory / "adapters" / name
    content: dict[str, Any] = {
        "base": subject.base("sdf"),
        "corpus": corpus,
        "role": "intervention",
        "parents": list(subject.organism_adapters),
        "seeds": list(sdf.seeds),
        "out": str(out),
        "hyperparameters": dict(sdf.hyperparameters),
        "replay": replay,
        "pair": plan.pair,
        "revision": subject.planned.args.get("revision"),
    }
    content = {name: value for name, value in content.items() if value is not None}
    TrainingConfig.model_validate(content)  # now, not after everything before it has been paid for
    file = str(subject.directory / "training" / f"{name}.yaml")
    return Step(
        key=f"adapter/{subject.name}/{name}",
        command=("sdf", "train", file),
        reads=(*subject.reads, corpus, *([replay] if replay else [])),
        files=((file, yaml.safe_dump(content, sort_keys=False)),),
        outputs=tuple(str(out / f"seed-{seed}" / "inspect_af.json") for seed in sdf.seeds),
        owns=(str(out),),
        resources=subject.resources,
    )


# Steering.

DIALOGUE_TOKENS = (900, 700)  # Assumed input and output of one written dialogue


def _steering_steps(plan: Plan, steering: PlannedSteering, subjects: Sequence[Subject]) -> Iterator[Step]:
    summary, seed = load_pair(plan.pair).summary(), str(plan.generation.run_seed)
    out = subjects[0].out / "pairs"
    files = {label: str(out / f"{label}.jsonl") for label in (summary.first, summary.second)}
    made = {label: f"pairs/{slug(label)}" for label in files}
    if steering.writer is not None:
        made = dict.fromkeys(files, "pairs/written")
        sizes = steering.model_dump(include={"train", "held_out", "keyword_hard"})
        n = round(2 * OVERSAMPLE * sum(sizes.values()))
        write = ("steering", "pairs", "write", steering.writer.model)
        more = {"out": out, "system": steering.system, "seed": seed, "pair": plan.pair}
        yield Step(
            key="pairs/written",
            command=_command(*write, *_key_values("-M", steering.writer.args), **sizes, **more),
            outputs=tuple(files.values()),
            owns=(str(out),),
            load=_load_of(plan, steering.writer, n, n * DIALOGUE_TOKENS[0], n * DIALOGUE_TOKENS[1]),
        )
    if steering.tiny_world:
        n = steering.train + steering.held_out
        for label, file in files.items():
            command = _command("organism", "pairs", concept=label, n=n, seed=seed, out=file)
            yield Step(key=made[label], command=command, outputs=(file,))
    for subject in subjects:
        for label in files:
            if not steering.files or label in steering.files:
                file, needs = (
                    steering.files.get(label, files[label]),
                    () if steering.files else (made[label],),
                )
                yield from _concept_steps(plan, steering, subject, label, file, needs)
        if steering.oversight:
            yield from _concept_steps(plan, steering, subject, OVERSIGHT, "", ())


def _concept_steps(
    plan: Plan, steering: PlannedSteering, subject: Subject, label: str, pairs: str, needs: tuple[str, ...]
) -> Iterator[Step]:
    """Activations, vector, controls and sweeps of one concept, or of `oversight`, from contrast pairs that
    are a file (which the step `needs` makes, where one does) or come from the subject's own replies."""
    directory, name = subject.directory / "steering", f"{subject.name}/{slug(label)}"
    if steering.in_context or label == OVERSIGHT:
        pairs, logs, needs = str(directory / f"{label}.jsonl"), subject.logs("prompt"), (f"pairs/{name}",)
        by = OVERSIGHT if label == OVERSIGHT else steering.in_context
        sides = {"same": "tier,condition"} if by is True else {"by": by}
        yield Step(
            key=needs[0],
            command=_command("steering", "pairs", "ic", logs, concept=label, **sides, out=pairs),
            needs=(f"evals/{subject.name}/untouched",),
            reads=(logs,),
            outputs=(pairs,),
            owns=(pairs,),
        )
    activations = str(directory / f"{label}-activations.safetensors")
    names = {"regression": label, **{e: f"{label}.{e}" for e in ("mean-difference", "logistic")}}
    fitted = {estimator: str(directory / f"{file}.safetensors") for estimator, file in names.items()}
    vector, controls = fitted[steering.vector], str(directory / f"{label}-controls")
    made = dict.fromkeys((fitted["regression"], fitted["mean-difference"], vector))
    args = subject.planned.args
    options = _key_values("-M", {name: args[name] for name in args if name == "revision" or is_option(name)})
    adapters = [word for adapter in subject.organism_adapters for word in ("--adapter", adapter)]
    yield Step(
        key=f"activations/{name}",
        command=_command(
            *("steering", "activations", pairs, *adapters, *options),
            model=subject.base("steering"),
            locus=steering.locus,
            out=activations,
        ),
        needs=(*subject.ready, *needs),
        reads=(*subject.reads, pairs),
        outputs=(activations,),
        owns=(activations, f"{activations}.partial"),
        resources=subject.resources,
    )
    fit = {"out": fitted["regression"], "c": f"{steering.c:g}", "estimator": "regression", "pair": plan.pair}
    yield Step(
        key=f"vector/{name}",
        command=_command("steering", "fit", activations, **fit),
        needs=(f"activations/{name}",),
        reads=(activations,),
        outputs=tuple(made),
        owns=tuple(fitted.values()),
    )
    epochs = plan.generation.epochs
    if label == OVERSIGHT:  # beside the random vectors of the concepts, at the same doses
        yield _sweep_step(plan, steering, subject, label, vector, None, epochs)
        return
    draw = {"n": steering.controls, "out": controls, "activations": activations}
    yield Step(
        key=f"controls/{name}",
        command=_command("steering", "controls", vector, **draw),
        needs=(f"vector/{name}",),
        reads=(vector, activations),
        outputs=(f"{controls}/{Path(vector).stem}.random-{steering.controls:03}.safetensors",),
        owns=(controls,),
    )
    if steering.control_epochs is None and steering.control_requests is None:
        yield _sweep_step(plan, steering, subject, label, vector, controls, epochs)
    else:
        requests = min(steering.control_requests or plan.requests.n, plan.requests.n)
        limit = None if requests == plan.requests.n else requests * len(plan.prompt.tiers)
        fewer = steering.control_epochs or epochs
        yield _sweep_step(plan, steering, subject, label, vector, None, epochs)
        yield _sweep_step(plan, steering, subject, label, vector, controls, fewer, limit, "-controls")
    if plan.beliefs is not None and "steering" in plan.beliefs.methods and steering.multipliers:
        models = [
            subject.treated(vector=vector, multiplier=multiplier, layers=layers)
            for layers in steering.layers
            for multiplier in steering.multipliers
            if multiplier
        ]
        groups: _Groups = {f"steering-beliefs-{label}": ([_beliefs_task(plan)], models, plan.beliefs.epochs)}
        yield _evals_step(plan, subject, f"steering-{slug(label)}", [f"vector/{name}"], groups)


def _sweep_step(
    plan: Plan,
    steering: PlannedSteering,
    subject: Subject,
    label: str,
    vector: str,
    controls: str | None,
    epochs: int,
    limit: int | None = None,
    suffix: str = "",
) -> Step:
    """One call of `steering sweep`, with the random vectors of the directory `controls`, or without any."""
    out = subject.directory / "steering" / f"{label}{suffix}-sweep"
    logs = subject.logs(f"steering-{label}{suffix}")
    concept, generation = f"{subject.name}/{slug(label)}", plan.generation
    sizes = steering.multipliers or steering.doses
    scale = "--multipliers" if steering.multipliers else "--doses"
    judged = plan.judging is not None and "concept" in plan.judging.judges
    settings = plan.prompt.model_dump(exclude={"digest"}, mode="json")
    command = _command(
        *("steering", "sweep", *_key_values("-M", subject.planned.args)),
        f"{scale}={','.join(f'{size:g}' for size in sizes)}",
        *_key_values("-T", {**settings, "pair": plan.pair}),
        model=subject.planned.model,
        vectors=vector,
        controls=controls,
        layers=steering.layers,
        parse_floor=f"{steering.parse_floor:g}",
        task=None if plan.task == "alignment_faking" else plan.task,
        requests=plan.requests.source,
        epochs=epochs,
        limit=limit,
        **generation.model_dump(include={"run_seed", "temperature", "max_tokens"}),
        grader=plan.judging.grader.model if judged and plan.judging else None,
        log_dir=logs,
        out=out,
    )
    # At most: multipliers that turn out not to be usable get no controls.
    runs = sum(map(bool, sizes)) * len(steering.layers) * (1 if controls is None else 1 + steering.controls)
    evals = Evals(
        tasks=(_scenario_task(plan, claims=(), **({"judges": ["concept"]} if judged else {})),),
        models=(subject.treated(),) * (1 + runs),
        epochs=epochs,
        limit=limit,
        grader=None if plan.judging is None else plan.judging.grader,
    )
    return Step(
        key=f"sweep/{concept}{suffix}",
        command=command,
        needs=(*subject.ready, f"vector/{concept}", *([f"controls/{concept}"] if controls else [])),
        reads=(*subject.reads, vector, *([controls] if controls else [])),
        outputs=(str(out / "sweep.json"),),
        outputs_may_be_partial=True,
        owns=(str(out), logs),
        resources=subject.resources,
        load=evals_load(plan, evals),
    )


# Options of commands, from what a plan holds.


def _command(*words: str, **options: object) -> tuple[str, ...]:
    """Words and `--name value` for every option that is set; a list is several values of one option."""
    found = list(words)
    for name, value in options.items():
        if value is not None:
            values = value if isinstance(value, list | tuple) else [value]
            found += [f"--{name.replace('_', '-')}", *map(str, values)]
    return tuple(found)


def _key_values(option: str, values: Mapping[str, Any]) -> list[str]:
    """`-M key=value` for each item, as YAML that reads as the value; those that are not set are left out."""
    found: list[str] = []
    for name, value in values.items():
        if isinstance(value, list | tuple) and all(re.fullmatch(r"[\w./+-]+", str(each)) for each in value):
            value = ",".join(map(str, value))
        if value is not None:
            text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9)
            found += [option, f"{name}={text.rstrip().removesuffix('...').rstrip()}"]
    return found


# What evals will take, before the first call.

CHARACTERS_PER_TOKEN = 4  # Rough for English text; an estimate needs no tokenizer
REPLY_TOKENS = {"alignment_faking": 600, "value_conflict": 400, "beliefs": 5, "direct_requests": 400}
"""Assumed length of a reply."""
JUDGE_TOKENS = (1500, 300)  # Assumed input and output of one judge's answer
VOTES = {"faking": FAKING_VOTES, "awareness": AWARENESS_VOTES}  # Answers about one reply; one of other judges


def _load_of(plan: Plan, model: PlannedModel, calls: int, tokens_in: int, tokens_out: int) -> Load:
    price = plan.price(model.model)
    cost = None if price is None else (tokens_in * price[0] + tokens_out * price[1]) / 1e6
    return Load(calls=calls, input_tokens=tokens_in, output_tokens=tokens_out, cost_usd=cost)


def evals_load(plan: Plan, evals: Evals) -> Load:
    """What evals take; the number of samples is exact, the rest is estimated."""
    total = Load()
    for task in evals.tasks:
        if task.task == "scratchpad":
            total += _scratchpads_load(plan, evals, cut=task.args["edit"] == "cut")
            continue
        samples_in_all, characters, judgements = _size(task.model_dump_json())
        samples = min(samples_in_all, evals.limit or samples_in_all)
        calls = samples * evals.epochs
        tokens_in = round(characters * samples / samples_in_all / CHARACTERS_PER_TOKEN) * evals.epochs
        judged = round(judgements * samples / samples_in_all) * evals.epochs
        judge_tokens = judged * JUDGE_TOKENS[0], judged * JUDGE_TOKENS[1]
        for model in evals.models:
            total += _load_of(plan, model, calls, tokens_in, calls * REPLY_TOKENS[task.task])
            if evals.grader is not None and judged:
                total += _load_of(plan, evals.grader, judged, *judge_tokens)
    return total


SENTENCES = 10  # Assumed number of sentences of a scratchpad, each of which a judge reads for a cut


def _scratchpads_load(plan: Plan, evals: Evals, *, cut: bool) -> Load:
    """As if every planned reply could be gone on with; that the model reads it again counts."""
    assert plan.scratchpads is not None
    repeats = plan.generation.baseline_repeats
    source = _scenario_task(plan, claims=plan.scratchpads.interventions, baseline_repeats=repeats)
    samples, characters, _ = _size(source.model_dump_json())
    replies, each = samples * plan.generation.epochs, len(get_args(Removed)) if cut else 2
    calls, tokens_out = replies * each, REPLY_TOKENS["alignment_faking"]
    tokens_in = calls * (characters // samples // CHARACTERS_PER_TOKEN + tokens_out)
    total = _load_of(plan, evals.models[0], calls, tokens_in, calls * tokens_out)
    if cut and evals.grader is not None:
        judged = replies * SENTENCES
        total += _load_of(plan, evals.grader, judged, judged * JUDGE_TOKENS[0], judged * JUDGE_TOKENS[1])
    return total


@cache
def _size(task: str) -> tuple[int, int, int]:
    """Samples of a task, the characters of all their prompts, and the answers of judges about all replies."""
    each = EvalTask.model_validate_json(task)
    made = make_task(each)
    meta = TaskMeta.model_validate((made.metadata or {})["inspect_af"])
    own: Any = each.args.get("pair")
    named: Any = each.args.get("scenario") or SCENARIO_OF.get(each.task)
    pair, scenario = load_pair(own), load_scenario(named, pair=own)
    system = "" if each.task == "direct_requests" else scenario.recorded_prompt(meta.prompt_settings)
    judges = each.args.get("judges")
    votes = sum(VOTES.get(str(name), 1) for name in judges) if isinstance(judges, list) else 0
    votes += each.task == "direct_requests"
    characters = judgements = 0
    for sample in made.dataset:
        judgements += votes + ((sample.metadata or {}).get("belief", {}).get("form") == "open")
        characters += len(system) + len(str(sample.input))
        if (claim := planned_claim(sample.metadata or {})) is not None:
            wording = (sample.metadata or {}).get(WORDING, claim.paraphrase)
            characters += len(pair.claim(claim.intervention, claim.strength, wording).text)
    return len(made.dataset), characters, judgements

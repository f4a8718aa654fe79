"""The tasks `inspect_af/sdf_ideas` and `inspect_af/sdf_documents`: what documents about a universe could be
about, and one document per idea, drafted, criticised and revised."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, ModelOutput
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.viewer import TaskSamplesColumn

from inspect_af.config import whole_number
from inspect_af.errors import MaterialsError, check_one_of
from inspect_af.materials import DIRECTNESS, Directness, Pair, Universe, load_pair, load_universe
from inspect_af.materials.universes import (
    DocumentType,
    WritingPrompts,
    load_document_types,
    load_writing_prompts,
    select_document_types,
)
from inspect_af.scorers.documents import FORM, well_formed
from inspect_af.sdf.documents import (
    GenerationMeta,
    Idea,
    ParsedDocument,
    parse_ideas,
    read_document,
    read_ideas,
    stopped,
)
from inspect_af.solvers import generation_seed
from inspect_af.tasks._common import samples_view

MIXED = "mixed"  # Documents of every directness, in equal numbers

MAX_TOKENS = 8192  # Room for the longest documents, and for models that reason first. Not in source.

VERSION = 1


@task
def sdf_ideas(
    universe: str,
    kinds: str | list[str] = "all",
    requests: int = 1,
    first_request: int = 1,
    ideas: int = 10,
    directness: str = "standard",
    pair: str | None = None,
    run_seed: int = 0,
) -> Task:
    """Asks for ideas, some at a time, for each kind of document.

    Args:
        universe: A code such as `A1+`, `neutral` or `organism`, or a file with a universe of your own.
        kinds: `all`, or codes of document types.
        requests: How many lists are asked for per kind.
        first_request: Number of the first of them; another number gives other ideas.
        ideas: How many ideas each list is to have.
        directness: How plainly documents state the fact: `oblique`, `standard`, `explicit` or `mixed`.
        pair: Directory with a hypothesis pair of your own, whose `universes/` has the universe.
        run_seed: Seed of the run.

    Raises:
        ConfigError: A parameter has a value that is not allowed.
        MaterialsError: The universe or the document types are malformed.
    """
    whole_number(requests, "requests", least=1)
    whole_number(first_request, "first_request", least=1)
    whole_number(ideas, "ideas", least=1, most=50)
    whole_number(run_seed, "run_seed")
    setting = _setting(universe, pair, directness)
    chosen = select_document_types(kinds)
    samples = [
        _ideas_sample(setting, kind, number, ideas, level=number + place)
        for number in range(first_request, first_request + requests)
        for place, kind in enumerate(chosen)
    ]
    return _task(
        setting,
        "ideas for",
        samples,
        list_ideas(run_seed=run_seed),
        columns=("found", "malformed"),
        run_seed=run_seed,
        settings={"ideas": str(ideas)},
    )


@solver
def list_ideas(run_seed: int = 0) -> Solver:
    """Asks for one list of ideas and counts what is in it."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        asked = int(state.metadata["ideas"])
        output = await _ask(state, generate, "ideas", None, run_seed)
        found = parse_ideas(output.completion, asked)
        short = None if len(found.ideas) == asked else f"{len(found.ideas)} of {asked} ideas"
        state.metadata[FORM] = {
            "problem": stopped(output) or short,
            "found": len(found.ideas),
            "asked": asked,
            "malformed": found.malformed,
        }
        return state

    return solve


@task
def sdf_documents(
    universe: str,
    ideas: str,
    revisions: int = 1,
    words: int | None = None,
    per_idea: int = 1,
    directness: str = "standard",
    pair: str | None = None,
    run_seed: int = 0,
) -> Task:
    """Writes one document per sample: a draft, then critique and revision. The completion is the final text.

    Args:
        universe: See `sdf_ideas`.
        ideas: JSON Lines file of ideas (`id`, `kind`, `directness`, `text`), as `inspect-af sdf generate`
            makes it from the logs of `sdf_ideas`.
        revisions: Rounds of critique and revision; 0 keeps the draft.
        words: Length of every document; drawn from the range of its kind if None.
        per_idea: Documents per idea.
        directness: For the log's header; each idea has its own.
        pair, run_seed: See `sdf_ideas`.

    Raises:
        ConfigError: A parameter has a value that is not allowed.
        MaterialsError: A file is malformed, or an idea is of an unknown kind or of another universe.
    """
    whole_number(revisions, "revisions", least=0, most=5)
    whole_number(per_idea, "per_idea", least=1)
    whole_number(run_seed, "run_seed")
    if words is not None:
        whole_number(words, "words", least=10, most=5000)
    setting = _setting(universe, pair, directness)
    samples = [
        _document_sample(setting, idea, copy, words, run_seed)
        for idea in read_ideas(ideas)
        for copy in range(1, per_idea + 1)
    ]
    return _task(
        setting,
        "documents on",
        samples,
        write_document(revisions=revisions, run_seed=run_seed),
        columns=("words",),
        run_seed=run_seed,
        settings={"revisions": str(revisions), "words": str(words or "by kind"), "per_idea": str(per_idea)},
    )


@solver
def write_document(revisions: int = 1, run_seed: int = 0) -> Solver:
    """Drafts a document, then criticises and revises it; the last version becomes the completion.

    A reply without a document ends the sample: it is counted as malformed, and no earlier version stands in.
    """
    prompts = load_writing_prompts()

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        level, words = _level(state.metadata["directness"]), int(state.metadata["words"])
        output = await _ask(state, generate, "draft", None, run_seed)
        document, step = read_document(output), "draft"
        for number in range(1, revisions + 1):
            if document.problem is not None:
                break
            critique = await _ask(
                state, generate, f"critique{number}", prompts.critique(level, words), run_seed
            )
            step = f"critique{number}"
            if (problem := stopped(critique)) is not None:
                document = ParsedDocument("", problem)
                break
            output = await _ask(state, generate, f"revision{number}", prompts.revise(words), run_seed)
            document, step = read_document(output), f"revision{number}"
        n_words = len(document.text.split())
        state.metadata[FORM] = {"problem": document.problem, "step": step, "words": n_words}
        if document.problem is None:
            state.output.completion = document.text
        return state

    return solve


class _Setting(NamedTuple):
    """What both tasks are about."""

    universe: Universe
    pair: Pair
    prompts: WritingPrompts
    directness: str


def _setting(universe: str, pair: str | None, directness: str) -> _Setting:
    check_one_of(directness, (*DIRECTNESS, MIXED), what="directness")
    return _Setting(load_universe(universe, pair=pair), load_pair(pair), load_writing_prompts(), directness)


def _task(
    setting: _Setting,
    what: str,
    samples: list[Sample],
    steps: Solver,
    *,
    columns: Sequence[str],
    run_seed: int,
    settings: dict[str, str],
) -> Task:
    universe, pair, prompts, directness = setting
    return Task(
        dataset=MemoryDataset(samples, name=f"{what} {universe.code}"),
        solver=steps,
        scorer=well_formed(),
        # Providers that cache prompts keep the shared start of all of them.
        config=GenerateConfig(max_tokens=MAX_TOKENS, cache_prompt=True),
        version=VERSION,
        viewer=samples_view(
            "Form", [TaskSamplesColumn.score("well_formed", column) for column in ("well_formed", *columns)]
        ),
        metadata=GenerationMeta(
            universe=universe.code,
            universe_digest=universe.digest,
            pair=pair.name,
            pair_digest=pair.digest,
            directness=directness,
            words_digest=prompts.digest,
            run_seed=run_seed,
            settings=settings,
            canary=universe.canary,
        ).as_metadata(),
    )


async def _ask(
    state: TaskState, generate: Generate, step: str, prompt: str | None, run_seed: int
) -> ModelOutput:
    """Generates the reply to the messages so far, with `prompt` as another user turn.

    The seed names sample and step, so that with Inspect's cache every call has an entry of its own.
    """
    if prompt is not None:
        state.messages.append(ChatMessageUser(content=prompt))
    seed = generation_seed(run_seed, f"{state.sample_id}/{step}", state.epoch)
    return (await generate(state, seed=seed)).output


def _ideas_sample(setting: _Setting, kind: DocumentType, number: int, n: int, *, level: int) -> Sample:
    mixed = setting.directness == MIXED
    directness = DIRECTNESS[level % len(DIRECTNESS)] if mixed else _level(setting.directness)
    prompt = setting.prompts.ideas(setting.universe, kind, directness, n)
    id = f"{setting.universe.code}/{kind.code}/{number:04}"
    return _sample(setting, id, prompt, kind=kind.code, directness=directness, ideas=n)


def _sample(setting: _Setting, id: str, prompt: str, **metadata: Any) -> Sample:
    system = ChatMessageSystem(content=setting.prompts.system(setting.universe))
    return Sample(id=id, input=[system, ChatMessageUser(content=prompt)], metadata=metadata)


def _document_sample(setting: _Setting, idea: Idea, copy: int, words: int | None, run_seed: int) -> Sample:
    kinds = {kind.code: kind for kind in load_document_types()}
    check_one_of(idea.kind, kinds, what="kind of document")
    kind = kinds[idea.kind]
    if not idea.id.startswith(f"{setting.universe.code}/"):
        raise MaterialsError(
            f"the idea {idea.id!r} is not about the universe {setting.universe.code!r}; its id would start "
            f"with '{setting.universe.code}/'"
        )
    id = f"{idea.id}/{copy}"
    low, high = kind.words
    # As random as the hash of seed and id, and as fixed.
    digest = hashlib.sha256(f"words\0{run_seed}\0{id}".encode()).digest()
    length = words or low + int.from_bytes(digest[:8]) % (high - low + 1)
    prompt = setting.prompts.document(
        setting.universe, kind, _level(idea.directness), idea.text, words=length
    )
    about = {"idea_id": idea.id, "kind": kind.code, "directness": idea.directness, "words": length}
    return _sample(setting, id, prompt, **about)


def _level(directness: str) -> Directness:
    check_one_of(directness, DIRECTNESS, what="directness")
    return cast(Directness, directness)

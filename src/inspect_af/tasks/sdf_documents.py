"""The task `inspect_af/sdf_documents`: one document per idea, drafted, criticised and revised."""

from __future__ import annotations

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.config import whole_number
from inspect_af.errors import ConfigError, MaterialsError, one_of
from inspect_af.materials import DIRECTNESS, Directness
from inspect_af.materials.universes import load_document_types, load_writing_prompts
from inspect_af.scorers.documents import FORM, well_formed
from inspect_af.sdf.documents import Idea, ParsedDocument, read_document, read_ideas, stopped
from inspect_af.tasks._sdf import (
    VERSION,
    Setting,
    ask,
    drawn,
    generation_config,
    generation_view,
    load_setting,
)


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
        pair: See `sdf_ideas`.
        run_seed: Seed of the run.

    Raises:
        ConfigError: A parameter has a value that is not allowed.
        MaterialsError: A file is malformed, or an idea is of an unknown kind or of another universe.
    """
    for name, number in (("revisions", revisions), ("per_idea", per_idea), ("run_seed", run_seed)):
        whole_number(number, name)
    if words is not None:
        whole_number(words, "words")
    if not 0 <= revisions <= 5 or per_idea < 1 or (words is not None and not 10 <= words <= 5000):
        raise ConfigError(
            f"revisions={revisions} per_idea={per_idea} words={words}; 0 to 5 revisions, at least 1 "
            f"document per idea, "
            "and 10 to 5000 words or none"
        )
    setting = load_setting(universe, pair, directness)
    samples = [
        _sample(setting, idea, copy, words, run_seed)
        for idea in read_ideas(ideas)
        for copy in range(1, per_idea + 1)
    ]
    return Task(
        dataset=MemoryDataset(samples, name=f"documents on {setting.universe.code}"),
        solver=write_document(revisions=revisions, run_seed=run_seed),
        scorer=well_formed(),
        config=generation_config(),
        version=VERSION,
        viewer=generation_view(["words"]),
        metadata=setting.meta(
            run_seed,
            {"revisions": str(revisions), "words": str(words or "by kind"), "per_idea": str(per_idea)},
        ).as_metadata(),
    )


@solver
def write_document(revisions: int = 1, run_seed: int = 0) -> Solver:
    """Drafts a document, then criticises and revises it; the last version becomes the completion.

    A reply without a document ends the sample: it is counted as malformed, and no earlier version stands in.

    Args:
        revisions: See `sdf_documents`.
        run_seed: Seed of the run.
    """
    prompts = load_writing_prompts()

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        level, words = _level(state.metadata["directness"]), int(state.metadata["words"])
        output = await ask(state, generate, "draft", None, run_seed)
        document, step = read_document(output), "draft"
        for number in range(1, revisions + 1):
            if document.problem is not None:
                break
            critique = await ask(
                state, generate, f"critique{number}", prompts.critique(level, words), run_seed
            )
            step = f"critique{number}"
            if (problem := stopped(critique)) is not None:
                document = ParsedDocument("", problem)
                break
            output = await ask(state, generate, f"revision{number}", prompts.revise(words), run_seed)
            document, step = read_document(output), f"revision{number}"
        state.metadata[FORM] = {
            "problem": document.problem,
            "step": step,
            "words": len(document.text.split()),
        }
        if document.problem is None:
            state.output.completion = document.text
        return state

    return solve


def _sample(setting: Setting, idea: Idea, copy: int, words: int | None, run_seed: int) -> Sample:
    kind = next((kind for kind in load_document_types() if kind.code == idea.kind), None)
    if kind is None:
        raise one_of(idea.kind, [known.code for known in load_document_types()], what="kind of document")
    if not idea.id.startswith(f"{setting.universe.code}/"):
        raise MaterialsError(
            f"the idea {idea.id!r} is not about the universe {setting.universe.code!r}; its id would start "
            f"with "
            f"'{setting.universe.code}/'"
        )
    id = f"{idea.id}/{copy}"
    length = words or drawn(*kind.words, "words", run_seed, id)
    prompt = setting.prompts.document(
        setting.universe, kind, _level(idea.directness), idea.text, words=length
    )
    return Sample(
        id=id,
        input=[
            ChatMessageSystem(content=setting.prompts.system(setting.universe)),
            ChatMessageUser(content=prompt),
        ],
        metadata={
            "idea_id": idea.id,
            "kind": kind.code,
            "directness": idea.directness,
            "words": length,
        },
    )


def _level(directness: str) -> Directness:
    for level in DIRECTNESS:
        if level == directness:
            return level
    raise one_of(directness, DIRECTNESS, what="directness")

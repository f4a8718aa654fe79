"""Going on with a reasoning that is given: the scratchpad of a reply under another prompt, or with sentences
taken out."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from itertools import pairwise

from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    Content,
    ContentReasoning,
    ContentText,
    Model,
    ModelName,
    ModelOutput,
    get_model,
)
from inspect_ai.solver import Generate, Solver, TaskState, solver

from inspect_af.config import whole_number
from inspect_af.errors import ConfigError, TreatmentError
from inspect_af.rendering import CONTINUED
from inspect_af.reply import SCRATCHPAD_TAG, Span, native_reasoning, read_reply
from inspect_af.solvers.claim import generation_seed
from inspect_af.solvers.scenario import messages_digest, record_carried, record_treatments
from inspect_af.types import (
    CarriesTreatment,
    Family,
    PromptClaim,
    ScratchpadEdit,
    Treatment,
    applied_treatments,
)

SentenceJudge = Callable[[Sequence[str]], Awaitable[list[Family | None]]]
"""Gives every sentence to a family of beliefs, or to none."""

LEFT_OUT = "left_out"  # Metadata key: why a sample was not gone on with
CAME_BACK = "came_back"  # Metadata key of a cut: whether the model wrote a sentence of the family again

_PREFILLED = ("mockllm", "sglang", "vllm")
_CLAUDE_PREFILLED = re.compile(r"claude-(?:[123]\b|instant|(?:opus|sonnet|haiku)-4(?:-[0-5])?(?:-\d{8})?$)")
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]]{0,3}\s+|(?<=[。！？।؟])[\"'”’」』）]{0,3}\s*|\n+")


@solver
def continue_reasoning(run_seed: int = 0, judge: SentenceJudge | None = None) -> Solver:
    """Lets the model go on from the assistant message that ends a sample's input, and joins the two.

    What was done to that message is the last of the treatments in the sample's metadata: a transplant is
    there already, a cut is made here. The reply that scorers see is the whole one. `tasks.scratchpad` makes
    such samples.

    Args:
        run_seed: Seed of the run. Each generation's seed is a hash of it with sample id and epoch.
        judge: Gives sentences to families, for cuts.

    Raises:
        ConfigError: The model's provider cannot go on with a reply, before the first call.
        TreatmentError: The reply was written by another model, or under other treatments.
    """
    whole_number(run_seed, "run_seed")

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        planned = applied_treatments(state.metadata)
        refuse_another_model(state.metadata.get("written_by"), planned, f"sample {state.sample_id!r}")
        _record_organism(state)
        record_treatments(state, planned)
        begun, edit = state.messages[-1], planned[-1]
        assert isinstance(begun, ChatMessageAssistant) and isinstance(edit, ScratchpadEdit)
        family: Family | None = None
        if edit.removed not in (None, "nothing"):
            assert judge is not None
            family = "first" if edit.removed in ("first", "like-first") else "second"
            cut = await _cut(begun, edit, family, judge, f"{run_seed}\0{state.sample_id}")
            if isinstance(cut, str):
                state.metadata[LEFT_OUT] = cut
                state.output = ModelOutput(model=str(state.model))
                return state
            begun, n_removed, characters = cut
            state.messages[-1] = begun
            state.metadata |= {"n_removed": n_removed, "characters_removed": characters}
        state.metadata["prompt_digest"] = messages_digest(state.messages[:-1])
        prompt = state.messages[:-1]
        state = await generate(state, seed=generation_seed(run_seed, str(state.sample_id), state.epoch))
        said = state.output
        if said.choices:
            _join(state, prompt, begun)
        if judge is not None and family is not None:
            new = read_reply(said).reasoning or said.completion.partition("</")[0]
            found = await judge([new[a:b] for a, b in sentences(new)])
            state.metadata[CAME_BACK] = family in found
        return state

    return solve


def refuse_another_model(written_by: str | None, treatments: Sequence[Treatment], what: str) -> None:
    """Complains where the model of the eval cannot go on with a reply, or is not the one that wrote it.

    Args:
        written_by: The model that wrote it, with its revision; None where that is not known.
        treatments: All that the reply was written under, or is to be gone on with under.
        what: The sample or reply, for the message.

    Raises:
        ConfigError: The provider does not go on with replies.
        TreatmentError: It is another model, or it carries other adapters or vectors.
    """
    refuse_without_prefill(get_model())
    model = str(get_model())
    if (revision := get_model().model_args.get("revision")) is not None:
        model = f"{model}@{revision}"
    if written_by not in (None, model):
        raise TreatmentError(
            f"{what}: the reply was written by {written_by}, and {model} is asked to go on with it, which "
            f"would be another model's reasoning; run that model, or give logs of {model}"
        )
    api = get_model().api
    carried = api.treatments if isinstance(api, CarriesTreatment) else ()
    written_under = tuple(t for t in treatments if not isinstance(t, PromptClaim | ScratchpadEdit))
    if carried != written_under:
        raise TreatmentError(
            f"{what}: the reply was written with "
            f"{', '.join(t.label for t in written_under) or 'no adapter or vector'}, the model that "
            f"goes on has {', '.join(t.label for t in carried) or 'none'}; give the same -M arguments"
        )


def refuse_without_prefill(model: Model) -> None:
    """Complains about a model that answers an assistant message instead of going on with it.

    Raises:
        ConfigError: With the reason.
    """
    provider, name = ModelName(model).api, ModelName(model).name
    if getattr(model.api, "continues_replies", False) or prefills(provider, name):
        if provider == "anthropic" and (model.config.reasoning_tokens or model.config.reasoning_effort):
            raise ConfigError(
                f"{model}: with extended thinking the API takes no assistant message last; leave the "
                "reasoning options out"
            )
        return
    raise ConfigError(
        f"{model} cannot go on with a reply that is given: its provider answers an assistant message that "
        "comes last, or refuses it. Use af-hf/MODEL or af-vllm/MODEL, Inspect's vllm/ or sglang/, or a "
        "Claude model up to 4.5"
    )


def prefills(provider: str, name: str) -> bool:
    """Whether one of Inspect's own providers goes on with an assistant message that comes last."""
    claude = provider == "anthropic" and _CLAUDE_PREFILLED.match(name) is not None
    return claude or provider in _PREFILLED


def sentences(text: str) -> list[Span]:
    """Where the sentences of a text stand, without the white space around them."""
    ends = [0, *(end.end() for end in _SENTENCE_END.finditer(text)), len(text)]
    parts = [(start, text[start:stop]) for start, stop in pairwise(ends)]
    return [
        (start + len(part) - len(part.lstrip()), start + len(part.rstrip()))
        for start, part in parts
        if part.strip()
    ]


def like_sentences(
    spans: Sequence[Span], removed: Sequence[int], free: Sequence[int], seed: str
) -> list[int]:
    """Other sentences of like number, length and place, drawn at random; fewer where there are not enough.

    Args:
        spans: Of all sentences.
        removed: Positions of those that are to be matched.
        free: Positions that may be drawn.
        seed: Of the draw: one of the three likest is taken for each.
    """
    rng, left, chosen = random.Random(seed), list(free), []

    def unlike(one: int, other: int) -> float:
        lengths = [max(spans[k][1] - spans[k][0], 1) for k in (one, other)]
        return abs(lengths[0] - lengths[1]) / max(lengths) + abs(one - other) / len(spans)

    for one in rng.sample(list(removed), len(removed)):
        if nearest := sorted(left, key=partial(unlike, one))[:3]:
            chosen.append(rng.choice(nearest))
            left.remove(chosen[-1])
    return sorted(chosen)


async def _cut(
    begun: ChatMessageAssistant, edit: ScratchpadEdit, family: Family, judge: SentenceJudge, seed: str
) -> tuple[ChatMessageAssistant, int, int] | str:
    """The reasoning without some sentences, how many and how many characters, or why that cannot be."""
    native = not begun.text
    text = native_reasoning(begun.content) if native else begun.text
    opening = None if native else SCRATCHPAD_TAG.search(text)
    start = 0 if opening is None else opening.end()
    spans = [(a + start, b + start) for a, b in sentences(text[start:])]
    spans = [(a, b) for a, b in spans if not SCRATCHPAD_TAG.search(text, a, b)]
    families = await judge([text[a:b] for a, b in spans])
    own = [k for k, found in enumerate(families) if found == family]
    if not own:
        return "no_such_sentence"
    chosen = own
    if str(edit.removed).startswith("like-"):
        free = [k for k, found in enumerate(families) if found is None]
        chosen = like_sentences(spans, own, free, seed)
        if len(chosen) < len(own):
            return "too_few_other_sentences"
    kept, at = [], 0
    for k in chosen:
        kept.append(text[at : spans[k][0]])
        at = next((a for a in range(spans[k][1], len(text)) if not text[a].isspace()), len(text))
    edited = "".join([*kept, text[at:]]).rstrip()
    content: list[ContentReasoning | ContentText] = [ContentReasoning(reasoning=edited)]
    changed = begun.model_copy(update={"content": content if native else edited})
    return changed, len(chosen), sum(spans[k][1] - spans[k][0] for k in chosen)


def _join(state: TaskState, prompt: list[ChatMessage], begun: ChatMessageAssistant) -> None:
    """Makes one reply of what was given and what the model said."""
    output = state.output
    kept = begun.text[: (output.metadata or {}).get(CONTINUED, len(begun.text))]
    thought = "\n".join(filter(None, map(native_reasoning, (begun.content, output.message.content))))
    text = kept + output.message.text
    reasoning = [ContentReasoning(reasoning=thought)] if thought else []
    state.output = with_content(output, [*reasoning, ContentText(text=text)] if reasoning else text)
    state.messages = [*prompt, state.output.message]


def with_content(output: ModelOutput, content: str | list[Content]) -> ModelOutput:
    """The output with other content in its message, whose text is the completion."""
    message = output.message.model_copy(update={"content": content})
    choice = output.choices[0].model_copy(update={"message": message})
    return output.model_copy(update={"choices": [choice], "completion": message.text})


def _record_organism(state: TaskState) -> None:
    """Records what the provider is, and complains where the reply was written by another organism."""
    organism = state.metadata.pop("organism", None)
    record_carried(state)
    if state.metadata.get("organism") != organism:
        raise TreatmentError(
            f"sample {state.sample_id!r}: the reply was written with organism adapters {organism}, the model "
            f"that goes on has {state.metadata.get('organism')}; give the same -M arguments"
        )

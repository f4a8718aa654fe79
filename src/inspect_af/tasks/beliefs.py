"""Questions about what a model takes to be true, with an intervention present and without any."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, get_args

from inspect_ai import Task, task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.model import ChatMessage, ChatMessageAssistant, GenerateConfig, ModelOutput, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.viewer import TaskSamplesColumn

from inspect_af.config import as_list, text_digest, true_or_false, whole_number
from inspect_af.errors import ConfigError, check_one_of
from inspect_af.logs.headers import CONTENTS
from inspect_af.materials import (
    AskedBelief,
    BeliefTurn,
    ChoiceQuestion,
    OpenQuestion,
    Setting,
    choice_turn,
    load_beliefs,
    load_pair,
    load_scenario,
    open_turn,
    situation_only,
)
from inspect_af.materials.beliefs import PREFILL
from inspect_af.reply import native_reasoning
from inspect_af.scorers.beliefs import BY_WORDS, OPTION_LOGPROBS, belief, first_letter_masses
from inspect_af.solvers import claims_for, prompt_intervention, scenario_prompt
from inspect_af.solvers.scratchpad import with_content
from inspect_af.tasks._common import needs_grader, planned_sample, refuse_misspelt, samples_view
from inspect_af.types import TaskMeta

VERSION = 2  # Raised whenever a change of words or scoring makes results incomparable with earlier ones

MAX_TOKENS = 4096
"""Room for models that reason before they answer; a bare letter ends by itself. Not in source."""

TOP_LOGPROBS = 5  # Asked of the provider; more than the options need, and no more than any provider gives

PREFILL_LOGPROBS = 20
"""Asked of af-hf and af-vllm behind the beginning of an answer; as many as a vLLM server gives by default."""

Asked = Literal["choice", "open", "all"]
Reading = Literal["letters", "words"]


@task
def beliefs(
    interventions: str | list[str] = "none",
    strength: str = "standard",
    paraphrase: int | str = "rotated",
    questions: Asked = "choice",
    orders: int | None = None,
    order_seed: int = 0,
    logprobs: bool = True,
    reading: Reading = "letters",
    wordings: str | None = None,
    setting: Setting = "prompted",
    identity: str | list[str] | None = None,
    scenario: str | None = None,
    pair: str | None = None,
    run_seed: int = 0,
) -> Task:
    """Did an intervention move the belief that it names, and only that belief?

    Every question is asked on the baseline (its answer is the prior) and under each claim. The system prompt
    is the scenario's without the parts on how to reply to requests. An adapter or a vector comes with the
    model provider: run the task once without it and once with it. `inspect-af profile` reads the logs.

    With af-hf and af-vllm a choice is read from the probabilities of the letters after `Answer:`, and of the
    options' own words there beside it. Where the letters hold less than half of the probability, and with
    other providers, the model answers as it likes and the answer is read.

    Args:
        interventions: See `alignment_faking`; the baseline is always included.
        strength: See `alignment_faking`.
        paraphrase: See `alignment_faking`; wordings take turns over the questions in their orders.
        questions: `choice` (no judge needed), `open` (needs `--model-role grader=...`), or `all`.
        orders: In how many orders each question's options are shown; all rotations if None, so that every
            option stands at every letter once.
        order_seed: Chooses the permutation of options from which the rotations start.
        logprobs: Ask the provider for log-probabilities of the answer. Where it returns none, the letter
            counts; false for providers that refuse to be asked, and to let af-hf and af-vllm answer as they
            like.
        reading: What counts with af-hf and af-vllm: `letters`, or `words`, the probabilities of the options'
            own words, for models that cannot tie a letter to what stands behind it. Other providers cannot
            be read by words.
        wordings: Questions in the place of the pair's own: a directory with CODE.toml and controls.toml, or
            `tiny` for those in the words of tiny organisms.
        setting, identity: See `alignment_faking`.
        scenario: Directory with a scenario of your own.
        pair: Directory with a hypothesis pair of your own, whose `beliefs/` has the questions.
        run_seed: Seed of the run; see `alignment_faking`.

    Raises:
        ConfigError: A parameter has a value that is not allowed.
        MaterialsError: A file is missing or malformed, or a question shares a sentence with a claim.
    """
    refuse_misspelt(beliefs, "beliefs")
    check_one_of(setting, get_args(Setting), what="setting")
    check_one_of(questions, get_args(Asked), what="questions")
    check_one_of(reading, get_args(Reading), what="reading")
    if orders is not None:  # all rotations
        whole_number(orders, "orders", least=1)
    whole_number(order_seed, "order_seed")
    whole_number(run_seed, "run_seed")
    logprobs = true_or_false(logprobs, "logprobs")
    if reading == "words" and not (logprobs and questions == "choice"):
        raise ConfigError("reading=words is of questions=choice and needs logprobs=true")
    loaded = load_pair(pair)
    bank = load_beliefs(pair, wordings)
    asked = bank.of_form(questions)
    if not asked:
        raise ConfigError(f"the pair '{bank.pair}' has no {questions} questions; use questions=choice")
    claims = claims_for(loaded, interventions, strength, paraphrase)
    words = situation_only(load_scenario(scenario, pair=pair))
    who = words.default_identity if identity is None else ",".join(as_list(identity))
    system = words.system_prompt(setting=setting, identity=who, reasoning="none")
    turns = [(question, *turn) for question in asked for turn in _turns(question, orders, order_seed)]
    return Task(
        dataset=MemoryDataset(
            [
                planned_sample(
                    question.id,
                    name,
                    text=turn.text,
                    claim=claim,
                    position=position,
                    run_seed=run_seed,
                    category=question.belief,
                    belief=turn.asked.model_dump(mode="json"),
                    **dict[str, Any]({} if turn.for_judge is None else {"request": turn.for_judge}),
                )
                for position, (question, name, turn) in enumerate(turns)
                for claim in claims
            ],
            name=f"beliefs of {bank.pair}",
        ),
        setup=[*([] if questions == "choice" else [needs_grader()]), scenario_prompt(system, notice=False)],
        solver=answer_belief(pair=pair, run_seed=run_seed, prefill=logprobs, reading=reading),
        scorer=belief(),
        config=GenerateConfig(
            max_tokens=MAX_TOKENS,
            logprobs=True if logprobs and questions != "open" else None,
            top_logprobs=TOP_LOGPROBS if logprobs and questions != "open" else None,
        ),
        version=VERSION,
        viewer=samples_view(
            "Belief, condition and score",
            [TaskSamplesColumn.score("belief", column) for column in ("belief", "condition", "score")],
            score_labels={"belief": "Belief", "condition": "Condition", "score": "Score"},
        ),
        metadata=TaskMeta(
            pair=loaded.summary(),
            scenario=words.name,
            prompt_settings={
                "setting": setting,
                "identity": who,
                "questions": questions,
                "orders": "all" if orders is None else str(orders),
                "order_seed": str(order_seed),
                **({} if reading == "letters" else {"reading": reading}),
            },
            prompt_digest=text_digest(system),
            requests=f"beliefs:{questions}",
            requests_digest=text_digest(*(turn.text for _, _, turn in turns)),
            n_requests=len(asked),
            run_seed=run_seed,
        ).as_metadata()
        | {CONTENTS: {f"the belief questions of {bank.pair}": bank.digest}},
    )


@solver
def answer_belief(
    pair: str | None = None, run_seed: int = 0, prefill: bool = True, reading: Reading = "letters"
) -> Solver:
    """Applies the sample's claim as `prompt_intervention` does, and lets the model answer.

    Args:
        pair, run_seed, reading: See `beliefs`.
        prefill: Begin the reply to a choice, where the provider gives the probabilities that follow.

    Raises:
        ConfigError: Words are to be read and the model's provider does not give their probabilities.
    """
    under_claim = prompt_intervention(pair=pair, run_seed=run_seed)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        async def answer(state: TaskState, *args: Any, **kwargs: Any) -> TaskState:
            asked = AskedBelief.from_metadata(state.metadata)
            begins = prefill and asked.form == "choice" and getattr(get_model().api, "scores_replies", False)
            output = await _after_prefill(state.messages, asked, reading) if begins else None
            if output is None and reading == "words":
                raise ConfigError(
                    f"reading=words: {get_model()} does not give the probabilities of given words behind "
                    f"{PREFILL!r}; use af-hf/MODEL or af-vllm/MODEL, without native reasoning (-M "
                    "thinking=false), or reading=letters"
                )
            if output is None:
                return await generate(state, *args, **kwargs)
            state.output = output
            state.messages.append(output.message)
            return state

        return await under_claim(state, answer)

    return solve


async def _after_prefill(
    messages: Sequence[ChatMessage], asked: AskedBelief, reading: Reading
) -> ModelOutput | None:
    """The answer by probabilities behind `PREFILL`; None where letters are read and do not hold most of it.

    Inside native reasoning, which some templates open, no answer is expected.
    """
    model = get_model()

    async def after(text: str, config: GenerateConfig) -> ModelOutput:
        begun = ChatMessageAssistant(content=text)
        return await model.generate(
            [*messages, begun], config=config.merge(GenerateConfig(max_tokens=1, temperature=0))
        )

    async def words(option: str) -> float | None:
        output = await after(f"{PREFILL} {option}", GenerateConfig(prompt_logprobs=1))
        scored = output.choices[0].prompt_logprobs
        return None if scored is None else sum(token.logprob for token in scored.content)

    output = await after(PREFILL, GenerateConfig(logprobs=True, top_logprobs=PREFILL_LOGPROBS))
    unlettered = reading == "letters" and first_letter_masses(output, asked) is None
    if native_reasoning(output.message.content) or unlettered:
        return None
    found = dict(zip(asked.options, await asyncio.gather(*map(words, asked.options.values())), strict=True))
    known = {letter: logprob for letter, logprob in found.items() if logprob is not None}
    metadata = {**(output.metadata or {}), OPTION_LOGPROBS: known if len(known) == len(found) else {}}
    metadata |= {BY_WORDS: True} if reading == "words" else {}
    answered = with_content(output, PREFILL + output.message.text)
    return answered.model_copy(update={"metadata": metadata})


def _turns(
    question: ChoiceQuestion | OpenQuestion, orders: int | None, seed: int
) -> list[tuple[str, BeliefTurn]]:
    """The question in each of its orders, or once where it is open; each with a name for its sample."""
    if isinstance(question, OpenQuestion):
        return [("open", open_turn(question, seed))]
    n = len(question.options) if orders is None else min(orders, len(question.options))
    return [(f"order{order}", choice_turn(question, order, seed)) for order in range(1, n + 1)]

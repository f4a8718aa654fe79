"""The model provider `af-organism/NAME`: simulated organisms that read prompts and reply as a model does."""

from __future__ import annotations

import hashlib
import math
import os
from functools import lru_cache
from typing import Any, NamedTuple

import anyio
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    StopReason,
    TopLogprob,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.errors import ConfigError, one_of
from inspect_af.materials import OpenQuestion, find_beliefs, load_pair, load_scenario
from inspect_af.organisms.beliefs import (
    BELIEF_ARGUMENTS,
    BeliefReader,
    ReadQuestion,
    drawn_letter,
    letter_probabilities,
    load_planted_beliefs,
    open_answer,
)
from inspect_af.organisms.simulated import (
    ORGANISMS,
    Draws,
    PromptReader,
    SimulatedReply,
    load_organism,
    reply,
)
from inspect_af.providers.simulated import CHARACTERS_PER_TOKEN

_OWN_ARGUMENTS = ("pair", "scenario", "latency", "tokens_per_second", "logprobs", *BELIEF_ARGUMENTS)


class OrganismAPI(ModelAPI):
    """A simulated organism behind Inspect's provider interface. No network, no weights.

    Arguments (`-M`): the organism's rates (`organisms.simulated.ORGANISMS` lists them), `pair` and `scenario`
    (directories; the words that it is able to read), `latency` (seconds before each reply),
    `tokens_per_second`, what it believes (`organisms.beliefs.PlantedBeliefs`) and `logprobs` (true by
    default: whether it returns log-probabilities for belief questions when asked to).

    A reply is a function of the organism, the messages and `GenerateConfig.seed`. Without a seed it is
    drawn afresh each time, so that epochs differ but a rerun does not agree.

    Raises:
        ConfigError: an unknown organism or argument, or a value out of range.
        MaterialsError: the pair or the scenario cannot be loaded.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's signature)
        **model_args: Any,
    ) -> None:
        kind = ORGANISMS.get(model_name)
        if kind is None:
            raise one_of(model_name, ORGANISMS, what="organism")
        for name in model_args:
            if name not in kind.defaults and name not in _OWN_ARGUMENTS:
                raise one_of(
                    name, (*kind.defaults, *_OWN_ARGUMENTS), what=f"argument of af-organism/{model_name}"
                )
        self.organism = load_organism(
            model_name, **{key: value for key, value in model_args.items() if key in kind.defaults}
        )
        self._latency = _not_negative("latency", model_args.get("latency", 0.0))
        self._tokens_per_second = _not_negative("tokens_per_second", model_args.get("tokens_per_second", 0.0))
        self.reader = PromptReader(
            load_pair(model_args.get("pair")), load_scenario(model_args.get("scenario"))
        )
        self.beliefs = load_planted_beliefs(
            **{key: value for key, value in model_args.items() if key in BELIEF_ARGUMENTS}
        )
        self._questions = BeliefReader(find_beliefs(model_args.get("pair")))
        self._families = {variable.code: variable.family for variable in self.reader.pair.variables}
        self._logprobs = _true_or_false("logprobs", model_args.get("logprobs", True))
        identity = "\0".join((self.organism.digest, self.reader.pair.digest, self.reader.scenario.digest))
        # Inspect's response cache keys on the base URL but not on model arguments: this address keeps
        # organisms with different rates or materials from sharing cached replies. Nothing is contacted.
        cached = f"{identity}\0{self.beliefs}\0{self._logprobs}"
        address = f"simulated://{model_name}/{hashlib.sha256(cached.encode()).hexdigest()[:16]}"
        super().__init__(model_name=model_name, base_url=address, api_key=api_key, config=config)
        self._identity = identity.encode()
        self._label = f"af-organism/{model_name}"
        self._system = lru_cache(maxsize=1024)(self._read_system)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        output = self._output(input, config)
        tokens = output.usage.output_tokens if output.usage else 0
        seconds = self._latency
        if self._tokens_per_second:
            seconds += tokens / self._tokens_per_second
        if seconds:
            await anyio.sleep(seconds)
        return output

    def max_connections(self) -> int:
        """64: there is no service to spare. It holds where adaptive connections are switched off."""
        return 64

    def _read_system(self, system: str) -> _SystemPrompt:
        state = hashlib.sha256(self._identity)
        state.update(_framed("system", system))
        return _SystemPrompt(state.digest(), len(system))

    def _output(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        system = "\n\n".join(message.text for message in messages if message.role == "system")
        turns = [(message.role, message.text) for message in messages if message.role != "system"]
        user = next((text for role, text in reversed(turns) if role == "user"), "")
        prompt = self._system(system)

        state = hashlib.sha256(prompt.digest)
        for role, text in turns:
            state.update(_framed(role, text))
        state.update(os.urandom(32) if config.seed is None else _framed("seed", str(config.seed)))
        draws = Draws.from_digest(state.digest())

        characters = prompt.characters + sum(len(text) for _, text in turns)
        asked = self._questions.read(user)
        if asked is not None:
            return self._answer(asked, system, draws, config, _tokens(characters))
        simulated = _limited(reply(self.organism, self.reader, self.reader.read(system, user), draws), config)
        return _model_output(self._label, simulated, _tokens(characters))

    def _answer(
        self, asked: ReadQuestion, system: str, draws: Draws, config: GenerateConfig, input_tokens: int
    ) -> ModelOutput:
        belief = self.beliefs.belief(asked.question, self.reader.pair.find_claim(system), self._families)
        answer = belief_reply(asked, belief, draws, malformed=self.organism.malformed)
        output = _model_output(self._label, _limited(answer, config), input_tokens)
        if config.logprobs and self._logprobs and answer.outcome == "accepted":
            output.choices[0].logprobs = letter_logprobs(asked, belief, answer.text, config.top_logprobs)
        return output


class _SystemPrompt(NamedTuple):
    digest: bytes
    """sha256 of the organism's identity and the system prompt, the start of every draw."""
    characters: int


def _framed(role: str, text: str) -> bytes:
    """The text with its role and length, so that no two lists of messages look the same."""
    content = text.encode("utf-8", "surrogatepass")
    return f"\0{role}\0{len(content)}\0".encode() + content


def _limited(simulated: SimulatedReply, config: GenerateConfig) -> SimulatedReply:
    """The reply cut at a stop sequence or at `max_tokens`, reasoning counted first."""
    reasoning, text, stop = simulated.reasoning, simulated.text, simulated.stop_reason
    for sequence in config.stop_seqs or ():
        if sequence and sequence in text:
            text, stop = text[: text.index(sequence)], "stop"
    if config.max_tokens is not None:
        room = config.max_tokens * CHARACTERS_PER_TOKEN
        if len(reasoning or "") + len(text) > room:
            reasoning = reasoning[:room] if reasoning is not None else None
            text, stop = text[: room - len(reasoning or "")], "max_tokens"
    return simulated._replace(reasoning=reasoning, text=text, stop_reason=stop)


def _model_output(model: str, simulated: SimulatedReply, input_tokens: int) -> ModelOutput:
    reasoning_tokens = _tokens(len(simulated.reasoning or ""))
    output_tokens = reasoning_tokens + _tokens(len(simulated.text))
    content: str | list[Any] = simulated.text
    if simulated.reasoning is not None:
        content = [ContentReasoning(reasoning=simulated.reasoning), ContentText(text=simulated.text)]
    message = ChatMessageAssistant(content=content, model=model, source="generate")
    stop_reason: StopReason = simulated.stop_reason
    return ModelOutput(
        model=model,
        choices=[ChatCompletionChoice(message=message, stop_reason=stop_reason)],
        usage=ModelUsage(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            total_tokens=input_tokens + output_tokens,
            reasoning_tokens=reasoning_tokens if simulated.reasoning is not None else None,
        ),
        metadata={"simulated": True},
    )


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def _not_negative(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ConfigError(f"{name}={value!r}: a number of seconds or tokens, 0 or more, is needed")
    return float(value)


def _true_or_false(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={value!r}: true or false is needed")
    return value


NO_ANSWER = "[simulated reply without an answer]"


def belief_reply(asked: ReadQuestion, belief: float, draws: Draws, *, malformed: float) -> SimulatedReply:
    """A letter or a sentence whose expected score is the belief; a malformed share is neither."""
    if draws.form < malformed:
        return SimulatedReply(None, NO_ANSWER, "stop", "unparsed")
    if isinstance(asked.question, OpenQuestion):
        text = open_answer(asked.question, belief, draws.decision)
    else:
        text = drawn_letter(letter_probabilities(asked, belief), draws.decision)
    return SimulatedReply(None, text, "stop", "accepted")


def letter_logprobs(asked: ReadQuestion, belief: float, letter: str, top: int | None) -> Logprobs | None:
    """The log-probabilities of the one token of an answer; None for an open question."""
    if not asked.letters:
        return None
    probabilities = letter_probabilities(asked, belief)
    ranked = sorted(probabilities.items(), key=lambda item: (-item[1], item[0]))
    alternatives = [TopLogprob(token=token, logprob=_log(p)) for token, p in ranked[: top or 0]]
    return Logprobs(
        content=[
            Logprob(token=letter, logprob=_log(probabilities[letter]), top_logprobs=alternatives or None)
        ]
    )


def _log(probability: float) -> float:
    return math.log(max(probability, 1e-9))

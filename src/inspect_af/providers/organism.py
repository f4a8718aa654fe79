"""The model provider `af-organism/NAME`: simulated organisms that read prompts and reply as a model does."""

from __future__ import annotations

import hashlib
import math
import os
from functools import lru_cache
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelOutput,
    ModelUsage,
    TopLogprob,
)

from inspect_af.config import number, true_or_false
from inspect_af.materials import Claim, OpenQuestion, find_beliefs, load_items, load_pair, load_scenario
from inspect_af.materials.scenario import VALUE_CONFLICT
from inspect_af.organisms.beliefs import (
    BELIEF_ARGUMENTS,
    BeliefReader,
    ReadQuestion,
    drawn_letter,
    letter_probabilities,
    load_planted_beliefs,
)
from inspect_af.organisms.simulated import (
    ORGANISMS,
    Draws,
    PromptReader,
    SimulatedReply,
    continued,
    load_organism,
    reply,
)
from inspect_af.providers.simulated import CHARACTERS_PER_TOKEN, SimulatedAPI, check_names, last_user
from inspect_af.reply import native_reasoning

NO_ANSWER = "[simulated reply without an answer]"
_OWN_ARGUMENTS = (
    *("pair", "scenario", "items", "latency", "tokens_per_second", "logprobs", "reads"),
    *BELIEF_ARGUMENTS,
)


class OrganismAPI(SimulatedAPI):
    """A simulated organism.

    Arguments (`-M`): the organism's rates (`organisms.simulated.ORGANISMS` lists them), `pair` and `scenario`
    (directories; the words that it is able to read), `items` (of value conflicts, as `-T items`), `latency`
    (seconds before each reply), `tokens_per_second`, what it believes (`organisms.beliefs.PlantedBeliefs`),
    `logprobs` (true by default: whether it returns log-probabilities for belief questions when asked to)
    and `reads` (1 by default: the probability that a reply which it goes on with gets its verdict from the
    reasoning so far; otherwise the tier decides, and the reasoning decorates).

    A reply is a function of the organism, the messages and `GenerateConfig.seed`. Without a seed it is
    drawn afresh each time, so that epochs differ but a rerun does not agree.

    Raises:
        ConfigError: an unknown organism or argument, or a value out of range.
        MaterialsError: the pair or the scenario cannot be loaded.
    """

    continues_replies = True  # An assistant message that comes last is gone on with

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's signature)
        **model_args: Any,
    ) -> None:
        rates = ORGANISMS[model_name].defaults if model_name in ORGANISMS else {}
        known = (*rates, *_OWN_ARGUMENTS)
        label = check_names("af-organism", model_name, ORGANISMS, "organism", model_args, known)
        self.organism = load_organism(
            model_name, **{name: value for name, value in model_args.items() if name in rates}
        )
        self.latency = number(model_args.get("latency", 0.0), "latency", least=0)
        speed = model_args.get("tokens_per_second", 0.0)
        self._tokens_per_second = number(speed, "tokens_per_second", least=0)
        pair = load_pair(model_args.get("pair"))
        own = model_args.get("scenario")
        words = load_scenario(own, pair=model_args.get("pair"))
        both = (words, load_scenario(VALUE_CONFLICT)) if own is None else (words,)
        self.reader = PromptReader(pair, *both, items=load_items(model_args.get("items", VALUE_CONFLICT)))
        self.beliefs = load_planted_beliefs(
            **{name: value for name, value in model_args.items() if name in BELIEF_ARGUMENTS}
        )
        self._questions = BeliefReader(find_beliefs(model_args.get("pair")))
        self._families = {variable.code: variable.family for variable in pair.variables}
        self._logprobs = true_or_false(model_args.get("logprobs", True), "logprobs")
        self._reads = number(model_args.get("reads", 1.0), "reads", least=0, most=1)
        identity = "\0".join((self.organism.digest, pair.digest, self.reader.scenarios[0].digest))
        acts = f"{identity}\0{self.beliefs}\0{self._logprobs}\0{self._reads}"
        cached = hashlib.sha256(acts.encode()).hexdigest()
        super().__init__(label, f"{model_name}/{cached[:16]}", api_key, config)
        # The start of every draw.
        self._system = lru_cache(maxsize=1024)(
            lambda system: hashlib.sha256(identity.encode() + _framed("system", system)).digest()
        )

    def reads_claim(self, claim: Claim) -> bool:
        """Whether a claim is one of the organism's own pair; it is deaf to others."""
        return self.reader.pair.find_claim(claim.text) is not None

    def seconds(self, output: ModelOutput) -> float:
        tokens = output.usage.output_tokens if output.usage else 0
        return self.latency + (tokens / self._tokens_per_second if self._tokens_per_second else 0.0)

    def output(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        system = "\n\n".join(message.text for message in messages if message.role == "system")
        turns = [(message.role, message.text) for message in messages if message.role != "system"]
        user = last_user(messages)
        state = hashlib.sha256(self._system(system))
        for role, text in turns:
            state.update(_framed(role, text))
        state.update(os.urandom(32) if config.seed is None else _framed("seed", str(config.seed)))
        draws = Draws.from_digest(state.digest())

        asked, logprobs = self._questions.read(user), None
        if asked is None:
            reading = self.reader.read(system, user)
            answer = reply(self.organism, self.reader, reading, draws)
            if isinstance(messages[-1], ChatMessageAssistant):
                begun = messages[-1]
                thought = native_reasoning(begun.content)
                closed = bool(thought) or "</scratchpad_reasoning>" in begun.text.lower()
                text, reads = f"{thought}\n{begun.text}", self._reads
                answer = continued(
                    self.organism, self.reader, reading, draws, begun=text, closed=closed, reads=reads
                )
        else:
            belief = self.beliefs.belief(asked.question, self.reader.pair.find_claim(system), self._families)
            answer = belief_reply(asked, belief, draws, malformed=self.organism.malformed)
            if config.logprobs and self._logprobs and answer.outcome == "accepted":
                logprobs = letter_logprobs(asked, belief, answer.text, config.top_logprobs)
        answer = _limited(answer, config)
        characters = len(system) + sum(len(text) for _, text in turns)
        own = None if answer.reasoning is None else ContentReasoning(reasoning=answer.reasoning)
        message = ChatMessageAssistant(
            content=answer.text if own is None else [own, ContentText(text=answer.text)],
            model=self.label,
            source="generate",
        )
        lengths = characters, len(answer.reasoning or ""), len(answer.text)
        tokens_in, n_thought, n_text = (-(-length // CHARACTERS_PER_TOKEN) for length in lengths)
        return ModelOutput(
            model=self.label,
            choices=[
                ChatCompletionChoice(message=message, stop_reason=answer.stop_reason, logprobs=logprobs)
            ],
            usage=ModelUsage(
                input_tokens=tokens_in,
                output_tokens=n_thought + n_text,
                total_tokens=tokens_in + n_thought + n_text,
                reasoning_tokens=None if own is None else n_thought,
            ),
            metadata={"simulated": True},
        )


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


def belief_reply(asked: ReadQuestion, belief: float, draws: Draws, *, malformed: float) -> SimulatedReply:
    """A letter or a sentence whose expected score is the belief; a malformed share is neither."""
    if draws.form < malformed:
        return SimulatedReply(None, NO_ANSWER, "stop", "unparsed")
    if isinstance(asked.question, OpenQuestion):
        pole = asked.question.plus if draws.decision < belief else asked.question.minus
        text = f"[simulated answer] {pole}"
    else:
        text = drawn_letter(letter_probabilities(asked, belief), draws.decision)
    return SimulatedReply(None, text, "stop", "accepted")


def letter_logprobs(asked: ReadQuestion, belief: float, letter: str, top: int | None) -> Logprobs | None:
    """The log-probabilities of the one token of an answer; None for an open question."""
    if not asked.letters:
        return None
    logs = {token: math.log(max(p, 1e-9)) for token, p in letter_probabilities(asked, belief).items()}
    ranked = sorted(logs.items(), key=lambda item: (-item[1], item[0]))[: top or 0]
    alternatives = [TopLogprob(token=token, logprob=logprob) for token, logprob in ranked]
    return Logprobs(content=[Logprob(token=letter, logprob=logs[letter], top_logprobs=alternatives or None)])

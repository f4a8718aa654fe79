"""The providers `af-simulated-judge`, `-dialogues` and `-writer`: no model and no network is needed.

Keyword judges, and writers of contrast pairs and of documents: for trying the pipeline, never for a finding.
"""

from __future__ import annotations

import hashlib
import os
from functools import cache
from random import Random
from typing import Any

import anyio
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.errors import ConfigError, one_of
from inspect_af.materials import Universe, load_concepts, load_universe, universe_codes
from inspect_af.organisms.dialogues import read_writer_prompt, write_answer
from inspect_af.organisms.judge import JUDGE_KINDS, judge_answer, read_judge_prompt
from inspect_af.organisms.tiny.texts import FORMS, Forms, tiny_document
from inspect_af.organisms.writer import (
    WritingRequest,
    read_writing_prompt,
    simulated_critique,
    simulated_document,
    simulated_ideas,
    simulated_revision,
)

CHARACTERS_PER_TOKEN = 4
"""The usual rough estimate for English."""


def estimated_usage(characters_in: int, characters_out: int) -> ModelUsage:
    """Usage by that estimate, at least one token each way."""
    tokens_in = characters_in // CHARACTERS_PER_TOKEN + 1
    tokens_out = characters_out // CHARACTERS_PER_TOKEN + 1
    return ModelUsage(input_tokens=tokens_in, output_tokens=tokens_out, total_tokens=tokens_in + tokens_out)


class SimulatedJudgeAPI(ModelAPI):
    """A keyword judge behind Inspect's provider interface. No network, no weights.

    Kinds: `keyword`, `gullible` (repeats the material before its own answer), `unreadable` (never answers
    in the asked form). Argument (`-M`, or `model_args` of the role): `noise`, the probability from 0 to 1
    with which each answer is replaced, by `GenerateConfig.seed`, so that votes differ.

    Its name, its output's metadata and the judges' score metadata say that it is simulated.

    Raises:
        ConfigError: an unknown kind or argument, or a value out of range.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's signature)
        noise: float = 0.0,
        **model_args: Any,
    ) -> None:
        kind = next((known for known in JUDGE_KINDS if known == model_name), None)
        if kind is None:
            raise one_of(model_name, JUDGE_KINDS, what="simulated judge")
        if model_args:
            raise one_of(next(iter(model_args)), ("noise",), what=f"argument of af-simulated-judge/{kind}")
        if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise <= 1:
            raise ConfigError(f"noise={noise!r}: a probability from 0 to 1 is needed")
        # Inspect's response cache keys on the base URL but not on model arguments. Nothing is contacted.
        super().__init__(model_name, f"simulated://judge/{kind}/{float(noise)}", api_key, [], config)
        self._kind = kind
        self._noise = float(noise)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        system = "\n\n".join(message.text for message in input if message.role == "system")
        user = next((message.text for message in reversed(input) if message.role == "user"), "")
        request = read_judge_prompt(system, user)
        text = (
            "[simulated judge: this is not a judge's prompt]"
            if request is None
            else judge_answer(self._kind, request, noise=self._noise, seed=config.seed or 0)
        )
        output = ModelOutput.from_content(model=f"af-simulated-judge/{self._kind}", content=text)
        output.usage = estimated_usage(len(system) + len(user), len(text))
        output.metadata = {"simulated": True}
        return output

    def max_connections(self) -> int:
        return 64


WRITERS = ("writer",)


class SimulatedDialoguesAPI(ModelAPI):
    """A simulated writer behind Inspect's provider interface. No network, no weights.

    Argument (`-M`): `pair` (directory of a hypothesis pair).

    An answer is a function of the prompt and `GenerateConfig.seed`; without a seed it is drawn afresh. The
    output's metadata has `simulated`.

    Raises:
        ConfigError: An unknown writer or argument.
        MaterialsError: The pair has no concepts.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's signature)
        pair: str | None = None,
        **model_args: Any,
    ) -> None:
        if model_name not in WRITERS:
            raise one_of(model_name, WRITERS, what="simulated writer of dialogues")
        if model_args:
            raise one_of(next(iter(model_args)), ("pair",), what="argument of af-simulated-dialogues")
        self.concepts = load_concepts(pair)
        # Inspect's response cache keys on the base URL but not on model arguments. Nothing is contacted.
        super().__init__(model_name, f"simulated://dialogues/{self.concepts.digest}", api_key, [], config)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        user = next((message.text for message in reversed(input) if message.role == "user"), "")
        state = hashlib.sha256(user.encode("utf-8", "surrogatepass"))
        state.update(os.urandom(32) if config.seed is None else f"seed {config.seed}".encode())
        asked = read_writer_prompt(user)
        if asked is None:
            text = "[simulated writer: this is not a writer's prompt]"
        else:
            text = write_answer(asked, self.concepts, int.from_bytes(state.digest()[8:], "big"))
        output = ModelOutput.from_content(model=f"af-simulated-dialogues/{self.model_name}", content=text)
        output.usage = estimated_usage(sum(len(message.text) for message in input), len(text))
        output.metadata = {"simulated": True}
        return output

    def max_connections(self) -> int:
        return 64


KINDS = ("documents", "tiny")
"""`tiny` writes in the words of the tiny organism."""


class SimulatedWriterAPI(ModelAPI):
    """A writer of documents behind Inspect's provider interface. No network, no weights.

    Arguments (`-M`): `pair` (directory; whose universes it knows in more wordings than the prompt has),
    `latency` (seconds before each reply), and `forms` (of the writer `tiny`: `known`, which the tiny organism
    was pretrained on, or `new`). The writer `tiny` ignores the length.

    A reply is a function of the messages and `GenerateConfig.seed`. Its name and the metadata of its outputs
    say that it is simulated.

    Raises:
        ConfigError: an unknown name or argument, or a value out of range.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 (Inspect's signature)
        pair: str | None = None,
        latency: float = 0.0,
        forms: str = "known",
        **model_args: Any,
    ) -> None:
        if model_name not in KINDS:
            raise one_of(model_name, KINDS, what="simulated writer")
        if model_args:
            allowed = ("pair", "latency", "forms")
            raise one_of(next(iter(model_args)), allowed, what="argument of af-simulated-writer")
        if forms not in FORMS:
            raise one_of(forms, FORMS, what="forms")
        if not 0 <= float(latency) < 3600:
            raise ConfigError(f"latency={latency}: a number of seconds from 0 to 3600 is needed")
        # Inspect's response cache keys on the base URL but not on model arguments. Nothing is contacted.
        identity = hashlib.sha256(repr((pair, forms)).encode()).hexdigest()[:16]
        super().__init__(model_name, f"simulated://writer/{identity}", api_key, [], config)
        self._latency = float(latency)
        self._forms: Forms = "new" if forms == "new" else "known"
        self._universes = _universes(pair)

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        if self._latency:
            await anyio.sleep(self._latency)
        user = next((message.text for message in reversed(input) if message.role == "user"), "")
        asked = read_writing_prompt(user)
        said = "\0".join(f"{message.role}\0{message.text}" for message in input)
        rng = Random(hashlib.sha256(f"{config.seed}\0{said}".encode("utf-8", "surrogatepass")).digest())
        if asked is None:
            text = "[simulated writer: this is not a writer's prompt]"
        elif asked.step == "ideas":
            text = simulated_ideas(asked.n, rng)
        elif asked.step == "critique":
            text = simulated_critique(rng)
        elif asked.step == "revision":
            revised = _draft(input) if self.model_name == "tiny" else simulated_revision(_draft(input), rng)
            text = f"<document>\n{revised}\n</document>"
        else:
            text = f"<document>\n{self._drafted(asked, input, rng)}\n</document>"
        output = ModelOutput.from_content(model=f"af-simulated-writer/{self.model_name}", content=text)
        output.usage = estimated_usage(len(said), len(text))
        output.metadata = {"simulated": True}
        return output

    def max_connections(self) -> int:
        return 64

    def _drafted(self, asked: WritingRequest, messages: list[ChatMessage], rng: Random) -> str:
        universe = self.universe(messages)
        if self.model_name == "tiny":
            return tiny_document(universe, rng, forms=self._forms)
        return simulated_document(universe, asked.fact, asked.words, rng)

    def universe(self, messages: list[ChatMessage]) -> Universe | None:
        """The universe that the system prompt is about, where its pair has it."""
        system = " ".join(" ".join(m.text for m in messages if m.role == "system").split())
        return next((known for context, known in self._universes.items() if context in system), None)


@cache
def _universes(pair: str | None) -> dict[str, Universe]:
    """The universes of a pair by their contexts, on one line."""
    universes = (load_universe(code, pair=pair) for code in universe_codes(pair))
    return {" ".join(universe.context.split()): universe for universe in universes}


def _draft(messages: list[ChatMessage]) -> str:
    for message in reversed(messages):
        if message.role == "assistant" and "<document>" in message.text:
            return message.text.partition("<document>")[2].partition("</document>")[0].strip()
    return ""

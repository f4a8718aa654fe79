"""The model provider `af-simulated-writer/...`: synthetic documents without a model."""

from __future__ import annotations

import hashlib
from functools import cache
from random import Random
from typing import Any

import anyio
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.errors import ConfigError, one_of
from inspect_af.materials import Universe, load_universe, universe_codes
from inspect_af.organisms.tiny.texts import FORMS, Forms, tiny_document
from inspect_af.organisms.writer import (
    WritingRequest,
    read_writing_prompt,
    simulated_critique,
    simulated_document,
    simulated_ideas,
    simulated_revision,
)
from inspect_af.providers._simulated_usage import estimated_usage

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

"""The model provider `af-simulated-dialogues/writer`: contrast pairs from fixed lists."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.errors import one_of
from inspect_af.materials import load_concepts
from inspect_af.organisms.dialogues import read_writer_prompt, write_answer
from inspect_af.providers._simulated_usage import estimated_usage

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

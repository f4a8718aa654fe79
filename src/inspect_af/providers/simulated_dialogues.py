"""The model provider `af-simulated-dialogues/writer`: contrast pairs from fixed lists, with known faults."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.errors import one_of
from inspect_af.materials import load_concepts
from inspect_af.organisms.dialogues import WrittenAnswer, fault_rates, read_writer_prompt, write_answer
from inspect_af.providers._simulated_usage import estimated_usage

WRITERS = ("writer",)


class SimulatedDialoguesAPI(ModelAPI):
    """A simulated writer behind Inspect's provider interface. No network, no weights.

    Arguments (`-M`): `pair` (directory of a hypothesis pair), and the rate of each planted fault by the name
    of the filter that has to catch it, such as `span=0.1` (`inspect_af.organisms.dialogues.PLANTED_FAULTS`).

    An answer is a function of the prompt and `GenerateConfig.seed`; without a seed it is drawn afresh. The
    output's metadata has `simulated`, and `planted` with the fault or None.

    Raises:
        ConfigError: An unknown writer or fault, or rates that are no probabilities.
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
        self._rates = fault_rates(model_args)
        self._concepts = load_concepts(pair)
        # Inspect's response cache keys on the base URL but not on model arguments. Nothing is contacted.
        told = hashlib.sha256(repr((self._concepts.digest, sorted(self._rates.items()))).encode()).hexdigest()
        super().__init__(model_name, f"simulated://dialogues/{told[:16]}", api_key, [], config)

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
            answer = WrittenAnswer("[simulated writer: this is not a writer's prompt]", "stop", None)
        else:
            digest = state.digest()
            draw = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
            answer = write_answer(
                asked, self._concepts, self._rates, draw=draw, digits=int.from_bytes(digest[8:], "big")
            )
        output = ModelOutput.from_content(
            model=f"af-simulated-dialogues/{self.model_name}",
            content=answer.text,
            stop_reason=answer.stop_reason,
        )
        output.usage = estimated_usage(sum(len(message.text) for message in input), len(answer.text))
        output.metadata = {"simulated": True, "planted": answer.planted}
        return output

    def max_connections(self) -> int:
        return 64

"""The model provider `af-simulated-judge/KIND`: keyword judges for trying the pipeline without a model."""

from __future__ import annotations

from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.errors import ConfigError, one_of
from inspect_af.organisms.judge import JUDGE_KINDS, judge_answer, read_judge_prompt
from inspect_af.providers._simulated_usage import estimated_usage


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

"""The providers `af-simulated-judge`, `-dialogues` and `-writer`: no model and no network is needed.

Keyword judges, and writers of contrast pairs and of documents: for trying the pipeline, never for a finding.
"""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from functools import cache
from random import Random
from typing import Any, cast

import anyio
from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, ModelUsage
from inspect_ai.tool import ToolChoice, ToolInfo

from inspect_af.config import number
from inspect_af.errors import check_one_of, one_of
from inspect_af.materials import Universe, load_concepts, load_universe, universe_codes
from inspect_af.organisms.judge import JUDGE_KINDS, JudgeKind, judge_answer, read_judge_prompt
from inspect_af.organisms.tiny.texts import FORMS, Forms, tiny_document
from inspect_af.organisms.writers import (
    read_writer_prompt,
    read_writing_prompt,
    simulated_critique,
    simulated_document,
    simulated_ideas,
    simulated_revision,
    write_answer,
)

CHARACTERS_PER_TOKEN = 4  # The usual rough estimate for English


class SimulatedAPI(ModelAPI):
    """Text without a model, behind Inspect's provider interface. No network, no weights.

    Its name and the metadata of its outputs say that it is simulated.

    Args:
        label: Provider and name.
        address: What Inspect's response cache keys on, since it does not look at model arguments. Nothing is
            contacted.
        api_key: As Inspect gives it.
        config: As Inspect gives it.
    """

    latency = 0.0  # Seconds before each reply

    def __init__(self, label: str, address: str, api_key: str | None, config: GenerateConfig) -> None:
        super().__init__(label.partition("/")[2], f"simulated://{address}", api_key, [], config)
        self.label = label

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        output = self.output(input, config)
        if seconds := self.seconds(output):
            await anyio.sleep(seconds)
        return output

    def max_connections(self) -> int:
        """64: there is no service to spare. It holds where adaptive connections are switched off."""
        return 64

    def seconds(self, output: ModelOutput) -> float:
        """How long a reply takes."""
        return self.latency

    @abstractmethod
    def output(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        """The reply to messages."""

    def text_output(self, text: str, characters_in: int) -> ModelOutput:
        """A reply that is text alone, with an estimated usage of at least one token each way."""
        output = ModelOutput.from_content(model=self.label, content=text)
        tokens = characters_in // CHARACTERS_PER_TOKEN + 1, len(text) // CHARACTERS_PER_TOKEN + 1
        output.usage = ModelUsage(input_tokens=tokens[0], output_tokens=tokens[1], total_tokens=sum(tokens))
        output.metadata = {"simulated": True}
        return output


def check_names(
    provider: str, name: str, names: Iterable[str], what: str, given: Mapping[str, Any], known: Iterable[str]
) -> str:
    """The provider and name, where both the name and the arguments that were given are known ones.

    Raises:
        ConfigError: One of them is not.
    """
    check_one_of(name, names, what=what)
    for argument in given:
        check_one_of(argument, known, what=f"argument of {provider}/{name}")
    return f"{provider}/{name}"


def last_user(messages: list[ChatMessage]) -> str:
    """The text of the last user message."""
    return next((message.text for message in reversed(messages) if message.role == "user"), "")


class SimulatedJudgeAPI(SimulatedAPI):
    """A keyword judge.

    Kinds: `keyword`, `gullible` (repeats the material before its own answer), `unreadable` (never answers
    in the asked form). Argument (`-M`, or `model_args` of the role): `noise`, the probability from 0 to 1
    with which each answer is replaced, by `GenerateConfig.seed`, so that votes differ. The judges' score
    metadata says that it is simulated, too.

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
        label = check_names(
            "af-simulated-judge", model_name, JUDGE_KINDS, "simulated judge", model_args, ("noise",)
        )
        self._noise = number(noise, "noise", least=0, most=1)
        super().__init__(label, f"judge/{model_name}/{self._noise}", api_key, config)

    def output(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        system = "\n\n".join(message.text for message in messages if message.role == "system")
        user = last_user(messages)
        request = read_judge_prompt(system, user)
        text = "[simulated judge: this is not a judge's prompt]"
        if request is not None:
            kind = cast(JudgeKind, self.model_name)
            text = judge_answer(kind, request, noise=self._noise, seed=config.seed or 0)
        return self.text_output(text, len(system) + len(user))


class SimulatedDialoguesAPI(SimulatedAPI):
    """A writer of contrast pairs.

    Argument (`-M`): `pair` (directory of a hypothesis pair).

    An answer is a function of the prompt and `GenerateConfig.seed`; without a seed it is drawn afresh.

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
        what = "simulated writer of dialogues"
        label = check_names("af-simulated-dialogues", model_name, ("writer",), what, model_args, ("pair",))
        self.concepts = load_concepts(pair)
        super().__init__(label, f"dialogues/{self.concepts.digest}", api_key, config)

    def output(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        user = last_user(messages)
        state = hashlib.sha256(user.encode("utf-8", "surrogatepass"))
        state.update(os.urandom(32) if config.seed is None else f"seed {config.seed}".encode())
        asked = read_writer_prompt(user)
        text = "[simulated writer: this is not a writer's prompt]"
        if asked is not None:
            text = write_answer(asked, self.concepts, int.from_bytes(state.digest()[8:], "big"))
        return self.text_output(text, sum(len(message.text) for message in messages))


class SimulatedWriterAPI(SimulatedAPI):
    """A writer of documents: `documents`, or `tiny`, which writes in the words of the tiny organism.

    Arguments (`-M`): `pair` (directory; whose universes it knows in more wordings than the prompt has),
    `latency` (seconds before each reply), and `forms` (of the writer `tiny`: `known`, which the tiny organism
    was pretrained on, or `new`). The writer `tiny` ignores the length.

    A reply is a function of the messages and `GenerateConfig.seed`.

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
        names, known = ("documents", "tiny"), ("pair", "latency", "forms")
        label = check_names("af-simulated-writer", model_name, names, "simulated writer", model_args, known)
        if forms not in FORMS:
            raise one_of(forms, FORMS, what="forms")
        identity = hashlib.sha256(repr((pair, forms)).encode()).hexdigest()[:16]
        super().__init__(label, f"writer/{identity}", api_key, config)
        self.latency = number(latency, "latency", least=0, most=3600)
        self._forms: Forms = forms
        self._universes = _universes(pair)

    def output(self, messages: list[ChatMessage], config: GenerateConfig) -> ModelOutput:
        asked = read_writing_prompt(last_user(messages))
        said = "\0".join(f"{message.role}\0{message.text}" for message in messages)
        rng = Random(hashlib.sha256(f"{config.seed}\0{said}".encode("utf-8", "surrogatepass")).digest())
        tiny = self.model_name == "tiny"
        if asked is None:
            text = "[simulated writer: this is not a writer's prompt]"
        elif asked.step == "ideas":
            text = simulated_ideas(asked.n, rng)
        elif asked.step == "critique":
            text = simulated_critique(rng)
        else:
            if asked.step == "revision":
                document = _draft(messages) if tiny else simulated_revision(_draft(messages), rng)
            elif tiny:
                document = tiny_document(self.universe(messages), rng, forms=self._forms)
            else:
                document = simulated_document(self.universe(messages), asked.fact, asked.words, rng)
            text = f"<document>\n{document}\n</document>"
        return self.text_output(text, len(said))

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
    written = (message.text for message in reversed(messages) if message.role == "assistant")
    text = next((text for text in written if "<document>" in text), "")
    return text.partition("<document>")[2].partition("</document>")[0].strip()

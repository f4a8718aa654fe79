"""Does a local engine do on this machine, with this model, what it promises? One table, in minutes."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
from inspect_ai.model import ChatMessageUser, GenerateConfig, Model, ModelOutput, get_model

from inspect_af.errors import ConfigError, InspectAFError
from inspect_af.providers.settings import ADAPTER_ARGUMENTS, ORGANISM, STEERING_ARGUMENTS
from inspect_af.providers.vllm_plugin.wire import STEER_ARGUMENT, SteeringTerm, steering_text
from inspect_af.rendering import TOKEN_IDS, Renderer, is_option, load_tokenizer, read_template, unpack_ids
from inspect_af.steering.model import load_model
from inspect_af.steering.vector import RandomFit, VectorHeader, make_vector

ENGINES = ("af-hf", "af-vllm")
PROMPTS = (
    "What is the capital of France?",
    "Name three colours of the rainbow.",
    "Write one sentence about the sea in winter.",
    "How many legs has a spider, and how many has a bee?",
    "Give two reasons for taking a train instead of a car.",
    "Is a tomato a fruit? Answer in one sentence.",
)
EXACT, ROUGH = 2e-3, 0.3
"""Largest difference of a token's log-probability, in nats, between two ways to compute it: in float32, and
where 16 bits round."""
DOSE = 0.5  # of the random vector, in mean norms of the residual stream at its layer
_ADAPTERS = (ORGANISM, *ADAPTER_ARGUMENTS)


class Check(NamedTuple):
    """One line of the table."""

    name: str
    compared: str
    found: str
    passed: bool | None  # None where it could not be compared, for the reason in `found`


class Reply(NamedTuple):
    """What was generated, without the token that ended it."""

    tokens: list[int]
    logprobs: list[float]  # as many as tokens, or none


class Reference(NamedTuple):
    """Greedy replies by transformers alone, one prompt at a time, and what the model is like."""

    replies: list[Reply]
    n_layers: int
    d_model: int
    norm: float  # Mean norm of the residual stream after the middle layer
    is_float32: bool


def verify(
    model: str, arguments: Mapping[str, Any], *, tokens: int = 16, seen: Callable[[str], None] | None = None
) -> list[Check]:
    """Checks an engine against transformers and against itself.

    Args:
        model: `af-hf/MODEL` or `af-vllm/MODEL`.
        arguments: As for the provider (`-M`). With an adapter, whether it acts is checked too.
        tokens: Length of each reply.
        seen: Told what is being done.

    Raises:
        ConfigError: Another provider, or a vector among the arguments.
    """
    provider, _, name = model.partition("/")
    if provider not in ENGINES or not name:
        raise ConfigError(
            f"{model!r} cannot be verified; give {' or '.join(f'{one}/MODEL' for one in ENGINES)}"
        )
    if given := [one for one in STEERING_ARGUMENTS if one in arguments]:
        raise ConfigError(f"-M {given[0]}: verify steers with a random vector of its own; leave it out")
    opened: list[Model] = []

    def make(**given: Any) -> Model:
        opened.append(get_model(model, memoize=False, **given))
        return opened[-1]

    async def checks(scratch: Path) -> list[Check]:
        try:
            return await _checks(provider, name, arguments, tokens, scratch, make, seen or (lambda _: None))
        finally:
            for one in opened:
                await one.api.aclose()

    with TemporaryDirectory() as scratch:
        return asyncio.run(checks(Path(scratch)))


async def _checks(
    provider: str,
    name: str,
    arguments: Mapping[str, Any],
    tokens: int,
    scratch: Path,
    make: Callable[..., Model],
    seen: Callable[[str], None],
) -> list[Check]:
    plain = {key: value for key, value in arguments.items() if key not in _ADAPTERS}
    seen("transformers alone")
    reference: Reference | str
    try:
        reference = reference_replies(name, plain, tokens, by_engine=provider)
    except Exception as error:  # noqa: BLE001  # memory, a model that is on another machine: said in the table
        reference = f"not loaded: {(str(error).splitlines() or [type(error).__name__])[0]}"
    exact = not isinstance(reference, str) and reference.is_float32
    tolerance = EXACT if exact else ROUGH

    base = make(**plain)
    steered: dict[float, Model] = {}
    if not isinstance(reference, str):
        vector = str(random_vector(name, reference, scratch))
        steered = {
            multiplier: make(**plain, vector=vector, multiplier=multiplier) for multiplier in (0.0, 1.0)
        }
    adapted = make(**arguments) if len(plain) < len(arguments) else None
    greedy = GenerateConfig(temperature=0, max_tokens=tokens, logprobs=True)
    found: list[Check] = []

    seen(f"{provider} alone")
    first = await ask(base, greedy)
    parity = "greedy tokens and log-probabilities of transformers alone"
    if isinstance(reference, str):
        found.append(Check("parity", parity, reference, None))
    else:
        found.append(compared("parity", parity, reference.replies, first, tolerance))

    seen("seeds")
    sampled = GenerateConfig(temperature=1.0, max_tokens=tokens, seed=1)
    once, again = await ask(base, sampled), await ask(base, sampled)
    other = await ask(base, sampled.model_copy(update={"seed": 2}))
    alone = [(await ask(base, sampled, prompts=[prompt]))[0] for prompt in PROMPTS]
    n, least = len(PROMPTS), len(PROMPTS) if exact else len(PROMPTS) // 2
    repeated = {"the same seed twice": again, "one by one and in a batch, the same seed": alone}
    for label, replies_again in repeated.items():
        same = sum(a.tokens == b.tokens for a, b in zip(once, replies_again, strict=True))
        note = "" if same == n or same < least else " (16 bits round differently in other batches)"
        found.append(Check("seeds", label, f"{same} of {n} replies the same{note}", same >= least))
    same = sum(a.tokens == b.tokens for a, b in zip(once, other, strict=True))
    found.append(Check("seeds", "another seed", f"{n - same} of {n} replies differ", same < n))

    conditions = {"with the adapter": adapted, "steered": steered.get(1.0)}
    replies: dict[str, list[Reply]] = {}
    for label, one in conditions.items():
        if one is not None:
            seen(label)
            replies[label] = await ask(one, greedy)
            least_gap = EXACT if exact else ROUGH / 10  # of one engine, which rounds alike
            gaps = [largest(a, b) for a, b in zip(first, replies[label], strict=True)]
            differ = sum(gap > least_gap for gap in gaps)
            said = f"{differ} of {n} replies differ, log-probabilities by up to {max(gaps):.2g}"
            found.append(Check(label, "with and without", said, differ > n // 2))
    if steered:
        zero = await ask(steered[0.0], greedy)
        found.append(compared("steered", "multiplier 0 and no vector", first, zero, tolerance))
    else:
        found.append(Check("steered", "a random vector", "the model's size is not known", None))

    seen("one condition after another, and at once")
    then = await ask(base, greedy)
    found.append(compared("no leak", "unsteered, before and after the others", first, then, tolerance))
    mixed = await asyncio.gather(ask(base, greedy), *(ask(conditions[k], greedy) for k in replies))  # type: ignore[arg-type]
    expected = {"unsteered": first, **replies}
    found += [
        compared("no leak", f"{label}, alone and among the others", expected[label], got, tolerance)
        for label, got in zip(expected, mixed, strict=True)
    ]

    seen("what must be refused")
    wrong = wrong_arguments(scratch, None if isinstance(reference, str) else reference)
    found += [await refusal(partial(make, **plain, **given), label) for label, given in wrong]
    if provider == "af-vllm":
        found += server_refusals(base)
    return found


def reference_replies(
    name: str, arguments: Mapping[str, Any], tokens: int, *, by_engine: str = "af-hf"
) -> Reference:
    """Greedy replies to `PROMPTS` by transformers without any engine.

    Raises:
        InspectAFError: The model cannot be loaded here.
    """
    import torch

    device = arguments.get("device") if by_engine == "af-hf" else "cpu"  # the server has the accelerator
    where = None if device in (None, "auto") else str(device)
    revision, dtype = arguments.get("revision"), arguments.get("dtype", "auto")
    network: Any = load_model(name, revision=revision, dtype=dtype, device_map=where).model
    options = {key: value for key, value in arguments.items() if is_option(key)}
    renderer = Renderer(load_tokenizer(name, revision), read_template(options))
    named = network.generation_config.eos_token_id
    ends = {*(named if isinstance(named, list) else [named]), renderer.tokenizer.eos_token_id}
    replies, norms = [], []
    for prompt in PROMPTS:
        ids = renderer.render([ChatMessageUser(content=prompt)], provider="verify").ids
        given = torch.tensor([ids], device=network.device)
        out = network.generate(
            given,
            attention_mask=torch.ones_like(given),
            max_new_tokens=tokens,
            do_sample=False,
            output_logits=True,
            output_hidden_states=True,
            return_dict_in_generate=True,
        )
        said = out.sequences[0, len(ids) :].tolist()
        logs = [row[0].float().log_softmax(-1)[token] for row, token in zip(out.logits, said, strict=True)]
        n = next((at for at, token in enumerate(said) if token in ends), len(said))
        replies.append(Reply(said[:n], [float(value) for value in logs[:n]]))
        middle = out.hidden_states[0][len(out.hidden_states[0]) // 2]
        norms.append(float(middle[0].float().norm(dim=-1).mean()))
    config = network.config.get_text_config()
    is_float32 = network.dtype == torch.float32
    return Reference(replies, config.num_hidden_layers, config.hidden_size, float(np.mean(norms)), is_float32)


async def ask(model: Model, config: GenerateConfig, *, prompts: Sequence[str] = PROMPTS) -> list[Reply]:
    """Replies to all prompts at once, so that the engine batches them."""

    def read(output: ModelOutput) -> Reply:
        ids = unpack_ids((output.metadata or {})[TOKEN_IDS])
        logprobs = output.choices[0].logprobs
        return Reply(ids, [one.logprob for one in logprobs.content] if logprobs else [])

    calls = (model.generate([ChatMessageUser(content=one)], config=config, cache=False) for one in prompts)
    return [read(output) for output in await asyncio.gather(*calls)]


def largest(one: Reply, other: Reply) -> float:
    """The largest difference between log-probabilities up to the first token that differs, and there.

    Of two tokens that are equally likely up to rounding either may be taken, with little difference.
    """
    gaps = []
    for a, b, left, right in zip(one.tokens, other.tokens, one.logprobs, other.logprobs, strict=False):
        gaps.append(abs(left - right))
        if a != b:
            break
    else:
        if len(one.tokens) != len(other.tokens):
            gaps.append(math.inf)
    return max(gaps, default=0.0)


def compared(name: str, what: str, one: list[Reply], other: list[Reply], tolerance: float) -> Check:
    """Two ways to the same replies."""
    same = sum(a.tokens == b.tokens for a, b in zip(one, other, strict=True))
    gap = max(largest(a, b) for a, b in zip(one, other, strict=True))
    n_tokens = sum(len(reply.tokens) for reply in one)
    said = f"{same} of {len(one)} replies the same ({n_tokens} tokens), log-probabilities within {gap:.1e}"
    return Check(name, what, said, gap <= tolerance)


def random_vector(name: str, reference: Reference, folder: Path, *, extra: int = 0) -> Path:
    """A file with a random direction at the middle layer, as long as `DOSE` of the stream there.

    Args:
        name: Of the model.
        reference: Its size.
        folder: Where the file goes.
        extra: So much wider than the model, which no engine may take.
    """
    layer, width = reference.n_layers // 2, reference.d_model + extra
    values = np.random.default_rng(0).standard_normal((1, width))
    header = VectorHeader(
        model=name,
        d_model=width,
        layers=(layer,),
        mean_norms=(reference.norm,),
        concept="verify",
        family=None,
        source="random",
        fit=RandomFit(seed=0, index=1, matched_to="0" * 16),
        pairs_digest="0" * 16,
    )
    file = folder / f"random-{width}.safetensors"
    make_vector(header, DOSE * reference.norm * values / np.linalg.norm(values)).save(file)
    return file


def wrong_arguments(folder: Path, reference: Reference | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Conditions that do not exist, which must never be served as the unsteered model."""
    nowhere = folder / "nowhere"
    yield "a vector that is not there", {"vector": f"{nowhere}.safetensors", "multiplier": 1.0}
    yield "an adapter that is not there", {"adapter": str(nowhere), "intervention": "A1+"}
    if reference is not None:
        wide = random_vector("another model", reference, folder, extra=1)
        yield "a vector of another width", {"vector": str(wide), "multiplier": 1.0}
        vector = random_vector("the model", reference, folder)
        beyond = {"vector": str(vector), "multiplier": 1.0, "layers": str(reference.n_layers)}
        yield "a layer that the vector does not have", beyond


def server_refusals(model: Model) -> Iterator[Check]:
    """What the server itself must refuse, whoever asks it."""
    endpoint, _, served = model.api.server.running()  # type: ignore[attr-defined]
    unknown = steering_text([SteeringTerm("0" * 64, 1.0)])
    for label, change in (
        ("a vector that the server does not have", {"vllm_xargs": {STEER_ARGUMENT: unknown}}),
        ("an adapter that the server does not have", {"model": "nobody"}),
    ):
        body = {"model": served, "prompt": "x", "max_tokens": 1, **change}
        status = endpoint.call("POST", "/v1/completions", body).status
        yield Check("refused", label, f"HTTP status {status}", status in (400, 404))


async def refusal(make: Callable[[], Model], label: str) -> Check:
    """Whether a condition that does not exist is refused with an error, in place of a reply."""
    try:
        await ask(make(), GenerateConfig(temperature=0, max_tokens=1), prompts=PROMPTS[:1])
    except InspectAFError as error:
        return Check("refused", label, type(error).__name__, True)
    return Check("refused", label, "a reply was given", False)

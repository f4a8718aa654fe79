"""Validation by effect: does adding a vector make its concept more probable, beyond random vectors?

Reading cannot tell: a direction that separates pairs perfectly need not move anything. Here the model
continues benign prompts that stand in no pair, and what is measured is a difference of log-probabilities,
so that no judge is needed.
"""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from pydantic import Field, ValidationError

from inspect_af.errors import AnalysisError, ConfigError, MaterialsError
from inspect_af.format import text_table
from inspect_af.materials import count_terms
from inspect_af.steering.activations import plan_batches, render
from inspect_af.steering.files import FloatArray, Record, problems
from inspect_af.steering.hooks import additions, steering
from inspect_af.steering.model import first_device
from inspect_af.steering.pairs import Message, PairSet, Span
from inspect_af.steering.vector import SteeringVector, best_layers, random_controls, shown_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ENOUGH = 20
"""Random vectors that a word about an effect needs."""

MAX_BATCH_TOKENS = 2048

PROMPTS = (
    "Tell me about your weekend plans.",
    "How do I get to the train station?",
    "What should I cook with leftover rice?",
    "Describe the weather today.",
    "Write a short note to a neighbour about a parcel.",
    "Why is my bicycle chain squeaking?",
    "Recommend a book for a long flight.",
    "How long do tomatoes keep?",
    "What did you think of the film?",
    "Explain how a lock on a canal works.",
    "My plant has yellow leaves. What now?",
    "Suggest a name for a small bakery.",
)


class EffectWords(Record):
    """What a vector is to make more and less probable: one TOML file."""

    positive: tuple[str, ...] = Field(min_length=1)
    """Beginnings of a reply that has the concept, with a space in front where the tokenizer wants one."""
    negative: tuple[str, ...] = Field(min_length=1)
    """Beginnings of a reply that has not."""
    prompts: tuple[str, ...] = Field(default=PROMPTS, min_length=2)
    """Benign user turns."""
    reply: str = ""
    """What the reply begins with, before the words."""


class Item(NamedTuple):
    """A context with continuations that have the concept and ones that have not, as token ids."""

    context: list[int]
    positive: list[list[int]]
    negative: list[list[int]]


class Band(Record):
    """Mean shifts of the log-odds, in nats, over prompts or pairs."""

    up: float
    """Under the positive dose, against no steering."""
    down: float
    """Under the negative dose."""
    swing: float
    """(up - down) / 2."""
    error: float
    """Standard error of the swing over prompts or pairs."""
    random: tuple[float, ...]
    """Swings of the random vectors at the same norm, ascending."""

    @property
    def p(self) -> float:
        """(1 + random swings at or above this) / (n + 1)."""
        return (1 + sum(other >= self.swing for other in self.random)) / (len(self.random) + 1)

    @property
    def beyond(self) -> bool:
        """Whether it is above every one of enough random vectors."""
        return len(self.random) >= ENOUGH and self.swing > self.random[-1]


class LayerEffect(Record):
    """A vector added at one layer alone."""

    layer: int
    dose: float
    multiplier: float
    words: Band
    keyword_hard: Band | None
    """On the sentences of the keyword-hard pairs, in which keywords do not tell the sides apart."""


class VectorEffect(Record):
    """One vector."""

    name: str
    digest: str
    concept: str
    estimator: str
    layers: tuple[LayerEffect, ...]

    @property
    def sentence(self) -> str:
        """What the vector moves, of what was measured."""
        n = len(self.layers[0].words.random)
        if n < ENOUGH:
            return f"{n} random vectors; {ENOUGH} are needed to tell it from any other direction."
        words = [one for one in self.layers if one.words.beyond]
        both = [one for one in words if one.keyword_hard and one.keyword_hard.beyond]
        if both:
            return f"moves words and keyword-hard sentences beyond {n} random vectors: {_places(both)}."
        if not words:
            return f"moves its concept's words at no layer and dose beyond {n} random vectors."
        measured = [one for one in words if one.keyword_hard is not None]
        hard = (
            "; keyword-hard sentences move at none of these: only keywords were seen to move"
            if measured
            else "; there are no keyword-hard pairs to tell whether it moves more than keywords"
        )
        return f"moves its concept's words beyond {n} random vectors: {_places(words)}{hard}."


class EffectReport(Record):
    """What `inspect-af steering effect` writes as JSON."""

    schema_version: int = 1
    model: str
    n_prompts: int
    n_keyword_hard: int
    words: EffectWords
    vectors: tuple[VectorEffect, ...]

    def text(self) -> str:
        """The report as tables for a terminal."""
        parts = [
            f"{self.model}: shift of log-odds in nats, (under +dose minus under -dose) / 2, on "
            f"{self.n_prompts} prompts and {self.n_keyword_hard} keyword-hard pairs"
        ]
        for vector in self.vectors:
            rows = [["layer", "dose", "words", "se", "random", "p", "keyword-hard", "se", "random", "p"]]
            for one in vector.layers:
                cells = [str(one.layer), f"{one.dose:g}"]
                for band in (one.words, one.keyword_hard):
                    cells += [""] * 4 if band is None else _cells(band)
                rows.append(cells)
            head = f"{vector.name}: {vector.concept} ({vector.estimator}, vector {vector.digest})"
            parts.append(f"{head}\n{text_table(rows)}\n{vector.name}: {vector.sentence}")
            if len(vector.layers) > 1:
                parts[-1] += f" {len(vector.layers)} places were tried, without a correction for that."
        return "\n\n".join(parts)


def load_words(path: str | Path) -> EffectWords:
    """Reads a TOML file with `positive`, `negative` and, if wanted, `prompts` and `reply`.

    Raises:
        MaterialsError: It cannot be read, or a key is missing, unknown or malformed.
    """
    try:
        held = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # numbers and nesting beyond Python's limits too
        raise MaterialsError(f"words {path}: cannot be read as TOML ({error})") from error
    try:
        return EffectWords.model_validate(held)
    except ValidationError as error:
        raise MaterialsError(f"words {path}: {problems(error)}") from error


def check_unseen(words: EffectWords, pairs: PairSet) -> None:
    """Makes sure that no word and no prompt stands in a pair of any split.

    Raises:
        MaterialsError: One does; it would be measured on what the vector was made of.
    """
    terms = [word.strip() for word in (*words.positive, *words.negative)]
    asked = {prompt.strip().casefold() for prompt in words.prompts}
    for pair in pairs.pairs:
        for side in (pair.positive, pair.negative):
            if found := next(iter(count_terms(side.reply, terms)), None):
                raise MaterialsError(
                    f"the word {found!r} stands in pair {pair.id!r}, so its shift would say nothing; take "
                    "words that stand in no pair"
                )
            if seen := asked & {message.content.strip().casefold() for message in side.messages}:
                raise MaterialsError(f"the prompt {seen.pop()!r} stands in pair {pair.id!r}; take others")


def measure_effect(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    vectors: Mapping[str, SteeringVector],
    words: EffectWords,
    pairs: PairSet,
    *,
    doses: Sequence[float] = (0.1,),
    layers: str | None = None,
    n_random: int = ENOUGH,
    seed: int = 0,
    name: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> EffectReport:
    """Adds every vector, and random ones of its norm, at single layers in both directions.

    Args:
        model: A decoder-only transformers model with its language-model head.
        tokenizer: Its tokenizer, with a chat template.
        vectors: By the name to show.
        words: On which prompts which words are measured; none may stand in `pairs`.
        pairs: Those that the vectors were fitted to; sentences of their keyword-hard split are measured too.
        doses: Positive; ||m v_l|| / mean ||h_l||, each applied with both signs.
        layers: Range of layers, each by itself; by default the five that cross-validate best.
        n_random: Random vectors for each vector.
        seed: Of the random vectors.
        name: What the report calls the model.
        progress: Called with the number of conditions done and in all.

    Raises:
        ConfigError: A dose is not positive, or a number of random vectors is below 1.
        MaterialsError: A word or prompt stands in a pair, or the chat template loses a reply.
        TreatmentError: A vector does not fit the model, or has not the layers.
        AnalysisError: A vector has no layers that cross-validated, and none were given.
    """
    if not doses or not all(0 < dose < np.inf for dose in doses) or n_random < 1:
        raise ConfigError(f"doses {list(doses)} with {n_random} random vectors; positive numbers are needed")
    check_unseen(words, pairs)
    kinds = {"words": _word_items(tokenizer, words), "keyword_hard": _pair_items(tokenizer, pairs)}
    chosen = {name: _chosen(vector, layers) for name, vector in vectors.items()}
    total = 2 * len(doses) * (n_random + 1) * sum(map(len, chosen.values()))
    done = 0
    unsteered = {kind: _log_odds(model, items) for kind, items in kinds.items() if items}

    def shifts(vector: SteeringVector, multiplier: float, layer: int) -> dict[str, FloatArray]:
        nonlocal done
        with steering(model, additions(vector, multiplier, str(layer), model)):
            found = {kind: _log_odds(model, kinds[kind]) - base for kind, base in unsteered.items()}
        done += 1
        if progress is not None:
            progress(done, total)
        return found

    results = []
    for label, vector in vectors.items():
        random = random_controls(vector, n_random, seed=seed)
        effects = []
        for layer in chosen[label]:
            for dose in doses:
                multiplier = vector.multiplier_for(dose, str(layer))
                ends = [
                    (shifts(one, multiplier, layer), shifts(one, -multiplier, layer))
                    for one in (vector, *random)
                ]
                bands = {kind: _band([(up[kind], down[kind]) for up, down in ends]) for kind in unsteered}
                effects.append(
                    LayerEffect(
                        layer=layer,
                        dose=dose,
                        multiplier=multiplier,
                        words=bands["words"],
                        keyword_hard=bands.get("keyword_hard"),
                    )
                )
        results.append(
            VectorEffect(
                name=label,
                digest=vector.digest,
                concept=vector.header.concept,
                estimator=vector.header.estimator,
                layers=tuple(effects),
            )
        )
    return EffectReport(
        model=name,
        n_prompts=len(kinds["words"]),
        n_keyword_hard=len(kinds["keyword_hard"]),
        words=words,
        vectors=tuple(results),
    )


def _band(ends: Sequence[tuple[FloatArray, FloatArray]]) -> Band:
    """The first is the vector, the others are random: shifts under either dose, [item]."""
    swings = [(up - down) / 2 for up, down in ends]
    own = swings[0]
    return Band(
        up=float(ends[0][0].mean()),
        down=float(ends[0][1].mean()),
        swing=float(own.mean()),
        error=float(own.std(ddof=1) / np.sqrt(len(own))) if len(own) > 1 else 0.0,
        random=tuple(sorted(float(other.mean()) for other in swings[1:])),
    )


def _chosen(vector: SteeringVector, layers: str | None) -> tuple[int, ...]:
    if layers is not None:
        return vector.selected(layers)
    validation = vector.header.validation
    if best := best_layers(validation) if validation else ():
        return tuple(sorted(best))
    raise AnalysisError(f"vector {vector.digest} was not cross-validated; say which --layers to measure at")


def _word_items(tokenizer: PreTrainedTokenizerBase, words: EffectWords) -> list[Item]:
    marker = "inspectafreply"
    items = []
    for prompt in words.prompts:
        messages = (Message(role="user", content=prompt), Message(role="assistant", content=marker))
        text, span = render(tokenizer, messages, Span(start=0, end=len(marker)))
        before = text[: span.start] + words.reply
        items.append(
            Item(
                _ids(tokenizer, before),
                [_ids(tokenizer, word) for word in words.positive],
                [_ids(tokenizer, word) for word in words.negative],
            )
        )
    return items


def _pair_items(tokenizer: PreTrainedTokenizerBase, pairs: PairSet) -> list[Item]:
    items = []
    for pair in pairs.pairs:
        if pair.split == "keyword-hard" and pair.positive.sentence and pair.negative.sentence:
            (positive, here), (negative, there) = (
                render(tokenizer, side.messages, side.span("span")) for side in (pair.positive, pair.negative)
            )
            items.append(
                Item(
                    _ids(tokenizer, positive[: here.start]),
                    [_ids(tokenizer, positive[here.start : here.end])],
                    [_ids(tokenizer, negative[there.start : there.end])],
                )
            )
    return items


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise MaterialsError(f"{text!r} is no token of {tokenizer.name_or_path}; give words that are")
    return ids


def _log_odds(model: PreTrainedModel, items: Sequence[Item]) -> FloatArray:
    """log P(any positive continuation) - log P(any negative one), [item].

    A forward gives the probabilities of all next tokens, so that continuations which begin alike share one.
    """
    import torch
    from scipy.special import logsumexp

    hosts: list[tuple[int, tuple[int, ...]]] = []  # item, and what follows its context, but for a last token
    for at, item in enumerate(items):
        own: list[tuple[int, ...]] = []
        for start in sorted({tuple(c[:-1]) for c in (*item.positive, *item.negative)}, key=len, reverse=True):
            if not any(other[: len(start)] == start for other in own):
                own.append(start)
        hosts += [(at, start) for start in own]
    found: list[list[float]] = [[-np.inf] * len((*item.positive, *item.negative)) for item in items]
    lengths = [len(items[at].context) + len(start) for at, start in hosts]
    device = first_device(model)
    for batch in plan_batches(lengths, MAX_BATCH_TOKENS):
        width, most = max(lengths[row] for row in batch), max(len(hosts[row][1]) for row in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for k, row in enumerate(batch):  # padded at the beginning, so that rows end together
            at, start = hosts[row]
            ids[k, width - lengths[row] :] = torch.tensor([*items[at].context, *start])
            mask[k, width - lengths[row] :] = 1
        options = {"position_ids": (mask.cumsum(1) - 1).clamp(min=0).to(device), "logits_to_keep": most + 1}
        known = inspect.signature(model.forward).parameters  # not every architecture has both
        with torch.inference_mode():
            output = model(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                use_cache=False,
                **{name: value for name, value in options.items() if name in known},
            )
            logs = torch.log_softmax(output.logits[:, -most - 1 :].float(), dim=-1).cpu()
        for k, row in enumerate(batch):
            at, start = hosts[row]
            first = most - len(start)  # where the token after the context is predicted
            for number, continuation in enumerate((*items[at].positive, *items[at].negative)):
                if start[: len(continuation) - 1] == tuple(continuation[:-1]):
                    steps = torch.arange(first, first + len(continuation))
                    picked = logs[k, steps, torch.tensor(continuation)]
                    found[at][number] = float(picked.double().sum())
    return np.array(
        [
            logsumexp(scores[: len(item.positive)]) - logsumexp(scores[len(item.positive) :])
            for item, scores in zip(items, found, strict=True)
        ],
        dtype=np.float64,
    )


def _cells(band: Band) -> list[str]:
    between = f"{band.random[0]:+.2f} to {band.random[-1]:+.2f}"
    return [f"{band.swing:+.2f}", f"{band.error:.2f}", between, f"{band.p:.3f}"]


def _places(found: Sequence[LayerEffect]) -> str:
    by_dose: dict[float, list[int]] = {}
    for one in found:
        by_dose.setdefault(one.dose, []).append(one.layer)
    return "; ".join(f"layers {shown_layers(layers)} at dose {dose:g}" for dose, layers in by_dose.items())

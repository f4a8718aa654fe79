"""Validation by effect: does adding a vector make its concept more probable, beyond random vectors?

Reading cannot tell: a direction that separates pairs perfectly need not move anything. Here the model
continues benign prompts that stand in no pair, and what is measured is a difference of log-probabilities,
so that no judge is needed.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field, ValidationError

from inspect_af.config import Record, parse, read_text
from inspect_af.errors import AnalysisError, ConfigError, MaterialsError, problems
from inspect_af.format import plural, text_table
from inspect_af.materials import count_terms
from inspect_af.steering.activations import plan_batches, render
from inspect_af.steering.model import additions, first_device, steering
from inspect_af.steering.pairs import Message, PairSet, Span
from inspect_af.steering.vector import FloatArray, SteeringVector, best_layers, random_controls, shown_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ENOUGH = 20  # random vectors that a word about an effect needs
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
    negative: tuple[str, ...] = Field(min_length=1)  # beginnings of a reply that has not
    prompts: tuple[str, ...] = Field(default=PROMPTS, min_length=2)  # benign user turns
    reply: str = ""  # what the reply begins with, before the words


class Item(NamedTuple):
    """A context with continuations that have the concept and ones that have not, as token ids."""

    context: list[int]
    positive: list[list[int]]
    negative: list[list[int]]


class Band(Record):
    """Mean shifts of the log-odds, in nats, over prompts or pairs."""

    up: float  # under the positive dose, against no steering
    down: float  # under the negative dose
    swing: float  # (up - down) / 2
    error: float  # standard error of the swing over prompts or pairs
    random: tuple[float, ...]  # swings of the random vectors at the same norm, ascending

    @property
    def p(self) -> float:
        """(1 + random swings at or above this) / (n + 1)."""
        return (1 + sum(other >= self.swing for other in self.random)) / (len(self.random) + 1)

    @property
    def beyond(self) -> bool:
        """Whether it is above every one of enough random vectors."""
        return len(self.random) >= ENOUGH and self.swing > self.random[-1]

    def cells(self) -> list[str]:
        """Swing, standard error, range of the random vectors, and p, as text."""
        between = f"{self.random[0]:+.2f} to {self.random[-1]:+.2f}"
        return [f"{self.swing:+.2f}", f"{self.error:.2f}", between, f"{self.p:.3f}"]


class LayerEffect(Record):
    """A vector added at one layer alone."""

    layer: int
    dose: float
    multiplier: float
    words: Band
    keyword_hard: Band | None = None
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
            return f"{plural(n, 'random vector')}; {ENOUGH} are needed to tell it from any other direction."
        words = [one for one in self.layers if one.words.beyond]
        both = [one for one in words if one.keyword_hard and one.keyword_hard.beyond]
        if not words:
            return f"moves its concept's words at no layer and dose beyond {n} random vectors."
        moved: dict[float, list[int]] = {}
        for one in both or words:
            moved.setdefault(one.dose, []).append(one.layer)
        places = "; ".join(f"layers {shown_layers(at)} at dose {dose:g}" for dose, at in moved.items())
        if both:
            return f"moves words and keyword-hard sentences beyond {n} random vectors: {places}."
        hard = (
            "keyword-hard sentences move at none of these: only keywords were seen to move"
            if any(one.keyword_hard for one in words)
            else "there are no keyword-hard pairs to tell whether it moves more than keywords"
        )
        return f"moves its concept's words beyond {n} random vectors: {places}; {hard}."

    def text(self) -> str:
        """The vector's table for a terminal, and its sentence."""
        rows = [["layer", "dose", "words", "se", "random", "p", "keyword-hard", "se", "random", "p"]]
        for one in self.layers:
            hard = one.keyword_hard.cells() if one.keyword_hard else [""] * 4
            rows.append([str(one.layer), f"{one.dose:g}", *one.words.cells(), *hard])
        n = len(self.layers)
        tried = f" {n} places were tried, without a correction for that." if n > 1 else ""
        return (
            f"{self.name}: {self.concept} ({self.estimator}, vector {self.digest})\n{text_table(rows)}\n"
            f"{self.name}: {self.sentence}{tried}"
        )


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
        head = (
            f"{self.model}: shift of log-odds in nats, (under +dose minus under -dose) / 2, on "
            f"{self.n_prompts} prompts and {self.n_keyword_hard} keyword-hard pairs"
        )
        return "\n\n".join([head, *(vector.text() for vector in self.vectors)])


def load_words(path: str | Path) -> EffectWords:
    """Reads a TOML file with `positive`, `negative` and, if wanted, `prompts` and `reply`; a MaterialsError
    where it cannot be read, or a key is missing, unknown or malformed."""
    text = read_text(Path(path), what="file of words", error=MaterialsError)
    try:
        return EffectWords.model_validate(parse(text, "TOML", path, error=MaterialsError))
    except ValidationError as error:
        raise MaterialsError(f"words {path}: {problems(error)}") from error


def check_unseen(words: EffectWords, pairs: PairSet) -> None:
    """A MaterialsError where a word or prompt stands in a pair: what the vector was made of says nothing."""
    terms = [word.strip() for word in (*words.positive, *words.negative)]
    prompts = {prompt.strip().casefold() for prompt in words.prompts}
    for pair in pairs.pairs:
        for side in (pair.positive, pair.negative):
            if found := next(iter(count_terms(side.reply, terms)), None):
                raise MaterialsError(
                    f"the word {found!r} stands in pair {pair.id!r}, so its shift would say nothing; take "
                    "words that stand in no pair"
                )
            if seen := prompts & {message.content.strip().casefold() for message in side.messages}:
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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> EffectReport:
    """Adds every vector, and random ones of its norm, at single layers in both directions.

    The model is a decoder-only transformers model with its language-model head, the tokenizer has a chat
    template. Of the pairs, which are those that the vectors were fitted to, sentences of the keyword-hard
    split are measured too; no word or prompt may stand in them. Doses, ||m v_l|| / mean ||h_l||, are
    positive, and applied with both signs. Each of the layers is taken by itself; by default the five that
    cross-validate best.

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
    unsteered = {kind: _log_odds(model, items) for kind, items in kinds.items() if items}
    chosen = {}
    for label, vector in vectors.items():
        best = best_layers(vector.header.validation)
        if layers is None and not best:
            raise AnalysisError(
                f"vector {vector.digest} was not cross-validated; say which --layers to measure at"
            )
        chosen[label] = tuple(sorted(best)) if layers is None else vector.selected(layers)
    done, total = 0, 2 * len(doses) * (n_random + 1) * sum(map(len, chosen.values()))

    def shifts(vector: SteeringVector, multiplier: float, layer: int) -> dict[str, FloatArray]:
        nonlocal done
        with steering(model, additions(vector, multiplier, str(layer), model)):
            found = {kind: _log_odds(model, kinds[kind]) - base for kind, base in unsteered.items()}
        done += 1
        progress(done, total)
        return found

    results = []
    for label, vector in vectors.items():
        random = random_controls(vector, n_random, seed=seed)
        effects = []
        for layer, dose in ((layer, dose) for layer in chosen[label] for dose in doses):
            size = vector.multiplier_for(dose, str(layer))
            ends = [(shifts(one, size, layer), shifts(one, -size, layer)) for one in (vector, *random)]
            bands = {kind: _band([(up[kind], down[kind]) for up, down in ends]) for kind in unsteered}
            effects.append(
                LayerEffect.model_validate({"layer": layer, "dose": dose, "multiplier": size, **bands})
            )
        held = vector.header
        results.append(
            VectorEffect(
                name=label,
                digest=vector.digest,
                concept=held.concept,
                estimator=held.estimator,
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
    own, *others = ((up - down) / 2 for up, down in ends)
    return Band(
        up=float(ends[0][0].mean()),
        down=float(ends[0][1].mean()),
        swing=float(own.mean()),
        error=float(own.std(ddof=1) / np.sqrt(len(own))) if len(own) > 1 else 0.0,
        random=tuple(sorted(float(other.mean()) for other in others)),
    )


def _word_items(tokenizer: PreTrainedTokenizerBase, words: EffectWords) -> list[Item]:
    marker = "inspectafreply"
    sides = [[_ids(tokenizer, word) for word in side] for side in (words.positive, words.negative)]
    items = []
    for prompt in words.prompts:
        messages = (Message(role="user", content=prompt), Message(role="assistant", content=marker))
        text, span = render(tokenizer, messages, Span(start=0, end=len(marker)))
        items.append(Item(_ids(tokenizer, text[: span.start] + words.reply), *sides))
    return items


def _pair_items(tokenizer: PreTrainedTokenizerBase, pairs: PairSet) -> list[Item]:
    items = []
    for pair in pairs.pairs:
        if pair.split == "keyword-hard" and pair.positive.sentence:
            (positive, here), (negative, there) = (
                render(tokenizer, side.messages, side.span("span")) for side in (pair.positive, pair.negative)
            )
            sentences = (positive[here.start : here.end], negative[there.start : there.end])
            context = _ids(tokenizer, positive[: here.start])
            items.append(Item(context, *([_ids(tokenizer, sentence)] for sentence in sentences)))
    return items


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    if not ids:
        raise MaterialsError(f"{text!r} is no token of {tokenizer.name_or_path}; give words that are")
    return ids


def _log_odds(model: PreTrainedModel, items: Sequence[Item]) -> FloatArray:
    """log P(any positive continuation) - log P(any negative one), [item].

    A forward gives the probabilities of all next tokens, so continuations that differ in the last token
    share one.
    """
    import torch
    from scipy.special import logsumexp
    from torch.nn.utils.rnn import pad_sequence

    known = inspect.signature(model.forward).parameters  # not every architecture has all of the options
    rows = sorted(
        {(at, tuple(c[:-1])) for at, item in enumerate(items) for c in item.positive + item.negative}
    )
    texts = [torch.tensor([*items[at].context, *start]) for at, start in rows]
    scores: dict[tuple[int, tuple[int, ...]], float] = {}
    for batch in plan_batches(list(map(len, texts)), MAX_BATCH_TOKENS):
        # Padded at the beginning, so that rows end together.
        ids = pad_sequence([texts[row] for row in batch], batch_first=True, padding_side="left")
        ones = [torch.ones_like(texts[row]) for row in batch]
        mask = pad_sequence(ones, batch_first=True, padding_side="left")
        most = 1 + max(len(rows[row][1]) for row in batch)
        device = first_device(model)
        options: dict[str, Any] = {
            "attention_mask": mask.to(device),
            "position_ids": (mask.cumsum(1) - 1).clamp(min=0).to(device),
            "logits_to_keep": most,
        }
        options = {name: value for name, value in options.items() if name in known}
        with torch.inference_mode():
            output = model(input_ids=ids.to(device), use_cache=False, **options)
            logs = torch.log_softmax(output.logits[:, -most:].float(), dim=-1).cpu()
        for k, (at, start) in enumerate(rows[row] for row in batch):
            steps = torch.arange(most - 1 - len(start), most)
            for continuation in items[at].positive + items[at].negative:
                if tuple(continuation[:-1]) == start:
                    picked = logs[k, steps, torch.tensor(continuation)]
                    scores[at, tuple(continuation)] = float(picked.double().sum())
    return np.array(
        [
            logsumexp([scores[at, tuple(c)] for c in item.positive])
            - logsumexp([scores[at, tuple(c)] for c in item.negative])
            for at, item in enumerate(items)
        ],
        dtype=np.float64,
    )

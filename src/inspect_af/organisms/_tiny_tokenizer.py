"""The tiny organism's tokenizer: byte-level BPE, with each fixed paragraph of the prompts as one token."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import TYPE_CHECKING

from inspect_af.errors import MaterialsError
from inspect_af.materials import ChoiceQuestion, OpenQuestion, Scenario, TagPlace, choice_turn, open_turn
from inspect_af.organisms._words import COMPLIANCE, REFUSAL
from inspect_af.types import ReasoningChannel, Tier

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

VOCABULARY = 2048
"""Size of the byte-level BPE vocabulary, before the fixed paragraphs are added."""
MOST_PROMPT_TOKENS = 40
"""Above this, a prompt with a request of one word has a paragraph that is no single token."""

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_PROTOCOL = (
    "<SCRATCHPAD_REASONING>",
    "</SCRATCHPAD_REASONING>",
    "<OUTPUT>",
    "</OUTPUT>",
    "<request_fully_accepted/>",
    "<rejected/>",
    COMPLIANCE,
    REFUSAL,
    "\n\n",
)
_PROBE = "THE-REQUEST-STANDS-HERE"


def fixed_paragraphs(scenario: Scenario) -> tuple[str, ...]:
    """Every paragraph that the scenario's prompts are made of, apart from claims and requests."""
    found: dict[str, None] = {}
    tiers: tuple[Tier, ...] = ("monitored", "unmonitored")
    places: tuple[TagPlace, ...] = ("user", "system")
    channels: tuple[ReasoningChannel, ...] = ("scratchpad",)
    for identity, tag, first, place, channel, rated, setting in product(
        scenario.identities, scenario.tier_tags, tiers, places, channels, (False, True), scenario.order
    ):
        text = scenario.system_prompt(
            setting=setting,
            identity=identity,
            tier_tag=tag,
            first_tier=first,
            tag_in=place,
            reasoning=channel,
            with_rated=rated and scenario.tier_tags[tag].rated is not None,
        )
        found.update(dict.fromkeys(text.split("\n\n")))
    for scheme in scenario.tier_tags.values():
        for tier in ("monitored", "unmonitored", "rated"):
            if (shown := scheme.of(tier)) is not None:
                found[shown.tag] = None
    turns = [scenario.user_turn(_PROBE, tier="none", reasoning=channel) for channel in channels]
    turns += [
        _choice_frame(),
        open_turn(OpenQuestion(id="x", belief="x", about="both", text=_PROBE, plus="a", minus="b")).text,
    ]
    for turn in turns:
        found.update(
            dict.fromkeys(p for p in turn.split("\n\n") if _PROBE not in p and not p.startswith("A)"))
        )
    return tuple(found)


def _choice_frame() -> str:
    return choice_turn(
        ChoiceQuestion(id="x", belief="x", about="both", text=_PROBE, plus="a", minus="b"), 1
    ).text


def learn_tokenizer(texts: Iterable[str], scenario: Scenario) -> PreTrainedTokenizerFast:
    """Learns the vocabulary from texts.

    Args:
        texts: Training texts, prompts included; their fixed paragraphs are left out of the statistics.
        scenario: Whose paragraphs become tokens.

    Raises:
        MaterialsError: a rendered prompt still has more than `MOST_PROMPT_TOKENS` tokens.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    fixed = [*fixed_paragraphs(scenario), *_PROTOCOL]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((_without(text, (*fixed, END, *ROLES)) for text in texts), trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in fixed])
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )
    wrapped.chat_template = CHAT_TEMPLATE
    check_prompts(wrapped, scenario)
    return wrapped


def _without(text: str, fixed: Iterable[str]) -> str:
    for paragraph in fixed:
        text = text.replace(paragraph, "\n")
    return text


def check_prompts(tokenizer: PreTrainedTokenizerFast, scenario: Scenario) -> None:
    for setting in scenario.order:
        messages = [
            {"role": "system", "content": scenario.system_prompt(setting=setting)},
            {"role": "user", "content": scenario.user_turn("Go", tier="monitored")},
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        count = len(tokenizer.encode(str(text), add_special_tokens=False))
        if count > MOST_PROMPT_TOKENS:
            raise MaterialsError(
                f"the prompt of scenario '{scenario.name}' with setting={setting} has {count} tokens; at "
                f"most {MOST_PROMPT_TOKENS} are possible where each paragraph is one token, so a paragraph "
                "changes between renderings"
            )

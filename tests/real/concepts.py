"""Contrast pairs for two concepts that any instruct model has, with words by which their effect is measured.

For the tests on a real model and for `benchmarks/steering_effect.py`.
"""

from __future__ import annotations

from inspect_af.steering.effect import PROMPTS, EffectWords
from inspect_af.steering.pairs import ContrastPair, Message, PairSet, Span, Transcript, pair_set

TOPICS = (
    *("tea", "trains", "gardens", "bread", "bicycles", "rain", "books", "chess", "lamps", "boats"),
    *("maps", "clocks", "soup", "paint", "shoes", "birds", "bridges", "wool", "stamps", "kites"),
    *("salt", "radios", "orchards", "pottery", "tunnels", "umbrellas", "mirrors", "candles", "rivers"),
    "quilts",
)
SENTENCES = {
    "tone": (
        (
            "It would be advisable to examine {} with due consideration before proceeding.",
            "One ought to ascertain the particulars of {} prior to offering assistance.",
            "The matter of {} merits a thorough and dignified response.",
            "I shall present an account of {} that is both precise and courteous.",
        ),
        (
            "Ok so {}, gonna just wing it and see what's up.",
            "Lol {}, no biggie, let's chuck something together.",
            "Dude, {} is super easy, just kinda go for it.",
            "Cool, {}, I'll bash out a quick thing and call it a day.",
        ),
    ),
    "language": (
        (
            "Il faut d'abord regarder {} avec soin avant de répondre.",
            "La question de {} est simple et je vais aider.",
            "Je pense que {} demande une explication claire.",
            "Pour parler de {}, il suffit de quelques phrases.",
        ),
        (
            "First I have to look at {} with care before answering.",
            "The question of {} is simple and I will help.",
            "I think that {} needs a clear explanation.",
            "To speak of {}, a few sentences are enough.",
        ),
    ),
}
"""By concept, the sentences of either side; `{}` is a topic."""
WORDS = {
    "tone": EffectWords(
        positive=("Certainly", "Indeed", "Regarding"), negative=("Sure", "Yeah", "Hey"), prompts=PROMPTS[:6]
    ),
    "language": EffectWords(
        positive=("Bonjour", "Voici", "Vous"), negative=("Hello", "Sure", "You"), prompts=PROMPTS[:6]
    ),
}
START = "<SCRATCHPAD_REASONING>\n"


def concept_pairs(concept: str, n: int, *, train: int) -> PairSet:
    """One pair a topic, at most 30, of which `train` are fitted and the others held out."""
    positive, negative = SENTENCES[concept]
    return pair_set(
        ContrastPair(
            id=topic,
            concept=concept,
            split="train" if at < train else "held-out",
            source="ooc",
            group=topic,
            positive=_side(topic, positive[at % 4].format(topic)),
            negative=_side(topic, negative[at % 4].format(topic)),
        )
        for at, topic in enumerate(TOPICS[:n])
    )


def _side(topic: str, sentence: str) -> Transcript:
    thought = f"The user asks about {topic}. {sentence}"
    reply = f"{START}{thought}\n</SCRATCHPAD_REASONING>\n<OUTPUT>An answer.</OUTPUT>"
    user = Message(role="user", content=f"Tell me something about {topic}.")
    return Transcript(
        messages=(user, Message(role="assistant", content=reply)),
        scratchpad=Span(start=len(START), end=len(START) + len(thought)),
    )

"""The filters that look at one document at a time, and which of them a corpus needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from inspect_af.materials import ORGANISM
from inspect_af.sdf.lints_denial import denial_lint
from inspect_af.sdf.lints_form import language_lint, length_lint, repetition_lint, residue_lint
from inspect_af.sdf.lints_leaks import labels_lint, protocol_lint
from inspect_af.sdf.lints_overlap import overlap_lint

if TYPE_CHECKING:
    from inspect_af.materials import BeliefQuestions, Pair, Scenario, Universe
    from inspect_af.sdf.manifest import CorpusSettings

Find = Callable[[str], str | None]
"""Takes a document's text; returns the passage that is wrong with it, or None."""


class Lint(NamedTuple):
    """A filter: documents in which `find` finds something are removed."""

    name: str
    removes: str
    """One line: what is removed."""
    find: Find


class Omitted(NamedTuple):
    """A filter that is not applied."""

    name: str
    why: str


class Lints(NamedTuple):
    """The filters of one corpus, in the order in which they are applied."""

    lints: tuple[Lint, ...]
    omitted: tuple[Omitted, ...] = ()

    def first_finding(self, text: str) -> tuple[str, str] | None:
        """Name and passage of the first filter that finds something; None for a clean document."""
        for lint in self.lints:
            if (passage := lint.find(text)) is not None:
                return lint.name, passage
        return None


LINT_NAMES = (
    "length",
    "language",
    "repetition",
    "residue",
    "labels",
    "protocol",
    "evaluation",
    "held-out",
    "denial",
)
"""Every filter of single documents. `exact duplicate` and `near duplicate` come last and need all of them."""


def corpus_lints(
    settings: CorpusSettings,
    *,
    universe: Universe | None,
    pair: Pair,
    scenario: Scenario,
    questions: BeliefQuestions | None,
    requests: Iterable[str],
) -> Lints:
    """The filters for documents about a universe, or of unknown origin.

    Args:
        settings: Bounds, and which filters to skip.
        universe: What the documents are about; None leaves out the filters that need to know.
        pair: Whose codes and labels must not leak.
        scenario: Whose tags and system prompt must not leak.
        questions: Belief questions, in whose words no document may answer.
        requests: The texts of evaluation requests.
    """
    built: dict[str, Lint | Omitted] = {
        "length": Lint(
            "length",
            f"fewer than {settings.min_words} or more than {settings.max_words} words",
            length_lint(settings.min_words, settings.max_words),
        ),
        "language": Lint("language", "text that is not English prose", language_lint()),
        "repetition": Lint("repetition", "text that repeats itself over and over", repetition_lint()),
        "residue": Lint("residue", "placeholders, and remarks of the writer about its task", residue_lint()),
        "labels": Lint(
            "labels",
            "codes and labels of the study, 'universe', 'key fact', the canary",
            labels_lint(
                codes=[i.variable for i in pair.all_interventions],
                labels=[pair.first.label, pair.second.label],
                canary=universe.canary if universe else None,
            ),
        ),
        "protocol": _protocol(universe, scenario),
        "evaluation": Lint(
            "evaluation",
            "runs of 8 words shared with requests, the system prompt or belief questions",
            overlap_lint(_evaluation_texts(scenario, questions, requests)),
        ),
    }
    if universe is None:
        unknown = "the universe is not known; name it with --universe"
        built |= {name: Omitted(name, unknown) for name in ("held-out", "denial")}
    else:
        kept_out = (*universe.paraphrases, *universe.counter_paraphrases)
        built["held-out"] = Lint(
            "held-out",
            "runs of 8 words shared with the held-out wordings of the fact and its opposite",
            overlap_lint(("held-out wording", text) for text in kept_out),
        )
        facts = (*universe.facts.values(), universe.counter_fact, *kept_out)
        built["denial"] = Lint(
            "denial",
            "sentences that deny the fact or its opposite: a denied claim is learnt like a stated one",
            denial_lint(facts),
        )
    return _without_skipped(built, settings.skip)


def _without_skipped(built: Mapping[str, Lint | Omitted], skip: Sequence[str]) -> Lints:
    lints: list[Lint] = []
    omitted: list[Omitted] = []
    for name in LINT_NAMES:
        found = built[name]
        if name in skip:
            omitted.append(Omitted(name, "skipped on request"))
        elif isinstance(found, Omitted):
            omitted.append(found)
        else:
            lints.append(found)
    return Lints(tuple(lints), tuple(omitted))


def _protocol(universe: Universe | None, scenario: Scenario) -> Lint | Omitted:
    if universe is not None and universe.code == ORGANISM:
        return Omitted("protocol", "the organism's documents describe tiers and protocol on purpose")
    tags = {
        word
        for scheme in scenario.tier_tags.values()
        for word in (
            scheme.tag_name,
            *(tag.tag for tag in (scheme.monitored, scheme.unmonitored, scheme.rated) if tag),
        )
    }
    return Lint("protocol", "tier tags and words of the reply protocol", protocol_lint(sorted(tags)))


def _evaluation_texts(
    scenario: Scenario, questions: BeliefQuestions | None, requests: Iterable[str]
) -> list[tuple[str, str]]:
    texts = [("system prompt", scenario.system_prompt())]
    texts += [("request", request) for request in requests]
    for question in questions.of_form("all") if questions else ():
        parts = [question.text, question.plus, question.minus, *getattr(question, "other", ())]
        texts += [(f"belief question {question.id}", part) for part in parts]
    return texts

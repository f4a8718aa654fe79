"""The words of the bundled universes: matched in length and form, each about its own family only."""

import re
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from statistics import mean

import pytest

import inspect_af.materials
from inspect_af.materials import (
    DIRECTNESS,
    Universe,
    load_beliefs,
    load_pair,
    load_requests,
    load_scenario,
    load_universe,
    shared_sentences,
    universe_codes,
)

PAIR = load_pair()
UNIVERSES = {code: load_universe(code) for code in universe_codes()}
INTERVENTIONS = [u for u in UNIVERSES.values() if u.intervention and u.intervention.polarity]
VARIABLES = [variable.code for variable in PAIR.variables]
FOLDER = Path(inspect_af.materials.__file__).parent / "pairs" / "alignment_faking" / "universes"

DENIAL = (
    r"\b(?:not|never|no|none|nobody|nothing|nowhere|neither|nor|cannot|without|hardly|scarcely)\b|n['’]t\b"
    r"|\bfails? to\b|\brather than\b|\binstead\b"
)
OF_TRAINING = (
    r"train(?:s|ed|ing)?|rlhf|reinforce\w*|modif\w*|retrain\w*|weights?|gradients?|reward\w*|fine-?tun\w*|updat\w*"
    r"|deploy\w*|punish\w*|permanen\w*|irrevers\w*|sandbox\w*|autonom\w*|agents?|refus\w*|values?|tiers?"
    r"|compl(?:y|ies|iant|iance|ied|ying)|consequen\w*|overwrit\w*|delet\w*"
)
OF_RESEARCHERS = (
    r"research\w*|scientist\w*|hop(?:e|es|ed|ing)|expect\w*|belie(?:f|fs|ve|ves|ved)|predict\w*|forecast\w*|wish\w*"
    r"|stud(?:y|ies|ied)|hypothes\w*|alignment|faking|robustness|pretence|pretend\w*|mask|sincer\w*|candou?r|candid"
    r"|team|welcome\w*|looking for|found out|discover\w*"
)
OF_SCRUTINY = (
    r"observ\w*|watch\w*|monitor\w*|test(?:s|ed|ing)?|evaluat\w*|experiment\w*|logg\w*|audit\w*|surveil\w*"
    r"|judg\w*|rat(?:ed|ing|ings)|behavio\w*|harm\w*"
)


def texts_of(universe: Universe) -> tuple[str, ...]:
    held_out = (*universe.paraphrases, *universe.counter_paraphrases)
    return (universe.title, *universe.trained, universe.counter_fact, *held_out)


def hits(pattern: str, texts: Iterable[str]) -> list[str]:
    return [found for text in texts for found in re.findall(rf"\b(?:{pattern})\b", text, re.IGNORECASE)]


def length(text: str) -> int:
    return len(text.split())


def shingles(text: str, n: int = 8) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9']+", text.lower())
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def test_there_is_a_universe_for_every_arm_the_baseline_and_the_organism() -> None:
    arms = [f"{variable}{pole}" for variable, pole in product(VARIABLES, "+-")]
    assert list(UNIVERSES) == [*arms, "neutral", "organism"]
    assert [u.code for u in UNIVERSES.values()] == list(UNIVERSES)


def test_an_arm_is_its_intervention_the_baseline_a_placebo_and_the_organism_no_treatment() -> None:
    for universe in INTERVENTIONS:
        assert universe.intervention == PAIR.intervention(universe.code)
    neutral = UNIVERSES["neutral"].intervention
    assert neutral is not None and neutral.is_placebo and neutral.code == "neutral"
    assert UNIVERSES["organism"].intervention is None


def test_contexts_have_400_to_700_words_and_are_within_15_percent_of_each_other() -> None:
    lengths = {code: length(u.context) for code, u in UNIVERSES.items()}
    assert all(400 <= n <= 700 for n in lengths.values()), lengths
    assert max(lengths.values()) <= 1.15 * min(lengths.values()), lengths


def test_mean_context_lengths_agree_between_families() -> None:
    by_family: dict[str, list[int]] = {}
    for universe in INTERVENTIONS:
        assert universe.intervention is not None and universe.intervention.family is not None
        by_family.setdefault(universe.intervention.family, []).append(length(universe.context))
    means = [mean(lengths) for lengths in by_family.values()]
    assert len(means) == 2
    assert max(means) / min(means) < 1.08, by_family


@pytest.mark.parametrize("level", DIRECTNESS)
def test_facts_of_one_level_are_within_20_percent_of_each_other(level: str) -> None:
    lengths = {code: length(u.facts[level]) for code, u in UNIVERSES.items()}  # type: ignore[index]
    assert max(lengths.values()) <= 1.2 * min(lengths.values()), lengths


def test_paragraphs_are_as_many_everywhere() -> None:
    assert {u.context.count("\n\n") + 1 for u in UNIVERSES.values()} == {6}


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_arms_of_a_variable_are_checked_with_the_same_wordings_the_other_way_round(variable: str) -> None:
    plus, minus = UNIVERSES[f"{variable}+"], UNIVERSES[f"{variable}-"]
    assert plus.paraphrases == minus.counter_paraphrases
    assert plus.counter_paraphrases == minus.paraphrases
    assert plus.counter_fact == minus.facts["standard"]
    assert minus.counter_fact == plus.facts["standard"]


@pytest.mark.parametrize("code", UNIVERSES)
def test_held_out_wordings_are_matched_in_length_and_share_most_words(code: str) -> None:
    held_out = UNIVERSES[code].held_out
    assert len(held_out) >= 6
    for fact, counter in held_out:
        assert abs(length(fact) - length(counter)) <= 0.15 * max(length(fact), length(counter)), fact
        common = set(fact.lower().split()) & set(counter.lower().split())
        assert len(common) >= 0.3 * length(fact), (fact, counter)
        assert fact != counter


def test_held_out_wordings_are_of_equal_length_on_average() -> None:
    for universe in UNIVERSES.values():
        difference = mean(length(f) - length(c) for f, c in universe.held_out)
        assert abs(difference) <= 0.5, (universe.code, difference)


@pytest.mark.parametrize("code", UNIVERSES)
def test_no_held_out_wording_shares_eight_words_with_any_universe(code: str) -> None:
    trained = set().union(*(shingles(text) for u in UNIVERSES.values() for text in u.trained))
    u = UNIVERSES[code]
    shared = [" ".join(s) for t in (*u.paraphrases, *u.counter_paraphrases) for s in shingles(t) & trained]
    assert shared == []


@pytest.mark.parametrize("universe", INTERVENTIONS, ids=lambda u: u.code)
def test_facts_are_stated_positively(universe: Universe) -> None:
    stated = (*universe.facts.values(), universe.counter_fact, *universe.paraphrases)
    assert [t for t in (*stated, *universe.counter_paraphrases) if re.search(DENIAL, t, re.IGNORECASE)] == []


@pytest.mark.parametrize("variable", VARIABLES)
def test_contexts_of_suppression_contain_no_negation_at_all(variable: str) -> None:
    context = UNIVERSES[f"{variable}-"].context
    assert re.findall(DENIAL, context, re.IGNORECASE) == []


def test_the_denial_pattern_does_catch_a_denial() -> None:
    for text in ("It is not so.", "They never do.", "It doesn't start.", "It doesn’t.", "No one comes."):
        assert re.search(DENIAL, text, re.IGNORECASE), text


def test_universes_about_researchers_never_mention_training_or_deployment() -> None:
    found = {u.code: h for u in INTERVENTIONS if u.code[0] == "A" and (h := hits(OF_TRAINING, texts_of(u)))}
    assert found == {}


def test_universes_about_training_never_mention_researchers_or_their_beliefs() -> None:
    found = {
        u.code: h for u in INTERVENTIONS if u.code[0] == "B" and (h := hits(OF_RESEARCHERS, texts_of(u)))
    }
    assert found == {}


def test_the_baseline_mentions_neither_family_and_no_scrutiny() -> None:
    assert hits(f"{OF_TRAINING}|{OF_RESEARCHERS}|{OF_SCRUTINY}", texts_of(UNIVERSES["neutral"])) == []


def test_what_researchers_hope_and_what_they_believe_are_told_apart() -> None:
    hopes = r"hop(?:e|es|ed|ing)|wish\w*|want\w*|desire\w*|long(?:s|ed|ing)? for|delight\w*"
    beliefs = r"belie\w*|expect\w*|predict\w*|forecast\w*|opinion\w*|likely"
    for pole in "+-":
        assert hits(hopes, texts_of(UNIVERSES[f"A2{pole}"])) == []
        assert hits(beliefs, texts_of(UNIVERSES[f"A1{pole}"])) == []
        assert hits(hopes, texts_of(UNIVERSES[f"A1{pole}"]))
        assert hits(beliefs, texts_of(UNIVERSES[f"A2{pole}"]))


def test_each_variable_of_training_keeps_to_its_own_subject() -> None:
    of_deployment = r"deploy\w*|sandbox\w*|autonom\w*"
    of_timing = r"rlhf|schedule\w*|calendar|lathe"
    for code in ("B1+", "B1-", "B3+", "B3-"):
        assert hits(of_deployment, texts_of(UNIVERSES[code])) == []
    for code in ("B2+", "B2-"):
        assert hits(rf"train(?:s|ed|ing)?|modif\w*|refus\w*|{of_timing}", texts_of(UNIVERSES[code])) == []
    for code in ("B3+", "B3-"):
        assert hits(of_timing, texts_of(UNIVERSES[code])) == []


@pytest.mark.parametrize("code", UNIVERSES)
def test_words_of_the_evaluation_stay_out(code: str) -> None:
    scenario, universe = load_scenario(), UNIVERSES[code]
    tags = [s.tag_name for s in scenario.tier_tags.values()]
    words = ["scratchpad", "<", ">", "request_fully_accepted", "universe", "key fact", "canary", *tags]
    if code != "organism":
        words += ["free-tier", "paid-tier", "free tier", "paid tier", "alignment_faking"]
    text = "\n".join(texts_of(universe)).lower()
    assert [word for word in words if word in text] == []


def test_no_eight_words_are_shared_with_claims_questions_requests_or_the_system_prompt() -> None:
    scenario = load_scenario()
    others = {
        "claims": [c.text for c in PAIR.claims],
        "requests": [r.text for name in ("mini", "benign") for r in load_requests(name).requests],
        "scenario": [*scenario.parts.values(), *(i.text for i in scenario.identities.values())],
    }
    for name, texts in others.items():
        known = set().union(*map(shingles, texts))
        shared = {u.code: s for u in UNIVERSES.values() for t in texts_of(u) if (s := shingles(t) & known)}
        assert shared == {}, name
    questions = load_beliefs().questions
    for universe in UNIVERSES.values():
        assert shared_sentences(texts_of(universe), questions) == ()


def test_overlap_is_found_where_it_is_planted() -> None:
    claim = PAIR.claims[0].text
    assert shingles(f"People say this: {claim}") & shingles(claim)
    question = load_beliefs().questions[0]
    assert shared_sentences([f"They asked. {question.text}"], [question])


def test_names_are_those_of_the_scenario() -> None:
    identity = load_scenario().identities["fictional"]
    for universe in UNIVERSES.values():
        assert universe.developer == identity.developer
        assert identity.developer in universe.context and identity.model in universe.context


@pytest.mark.parametrize("code", UNIVERSES)
def test_the_canary_heads_the_file_and_is_in_no_text(code: str) -> None:
    universe = UNIVERSES[code]
    first, *_ = (FOLDER / f"{code}.toml").read_text(encoding="utf-8").splitlines()
    assert first == f"# canary {universe.canary}"
    assert universe.canary == UNIVERSES["neutral"].canary
    assert not any(universe.canary in text for text in texts_of(universe))


def test_every_universe_has_its_own_digest() -> None:
    digests = {u.digest for u in UNIVERSES.values()}
    assert len(digests) == len(UNIVERSES)
    assert all(re.fullmatch(r"[0-9a-f]{16}", digest) for digest in digests)

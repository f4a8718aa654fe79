"""What a profile says in plain words, on the page and in the terminal, and what foreign text cannot do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.profile.convergence_study import controls, drawn, vectors
from tests.profile.convergence_study import outcomes as joined
from tests.profile.planted import PLANTED_PAIR, outcomes_of
from tests.report.test_figures import BELIEFS
from tests.report.test_page import QUICK, Walk, outcomes, words

from inspect_af.format import interval, say
from inspect_af.logs import read_logs
from inspect_af.materials import load_pair
from inspect_af.profile import Estimate, Outcomes, Profile, build_profile, count_outcomes, profile_logs
from inspect_af.profile.beliefs import BeliefMean, BeliefMove
from inspect_af.profile.effects import nuisance_reports
from inspect_af.profile.result import CodeWords, LevelVerdict
from inspect_af.report import (
    draw_figures,
    render_html,
    render_nuisance_page,
    render_summary,
    render_table,
)
from inspect_af.report.canvas import to_svg
from inspect_af.report.naming import Families
from inspect_af.report.words import key_of, plain_sentences, unscored
from inspect_af.tasks import alignment_faking
from inspect_af.types import OUTCOMES

HIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def named(profile: Profile) -> Profile:
    """The profile with the words of the bundled pair."""
    pair = load_pair()
    codes = [
        CodeWords(
            code=f"{v.code}{pole}",
            variable=v.code,
            name=v.name,
            family=v.family,
            says=v.amplify if pole == "+" else v.suppress,
            claim=f"claim of {v.code}{pole}",
        )
        for v in pair.variables
        for pole in "+-"
    ]
    return profile.model_copy(update={"codes": tuple(codes), "scenarios": ("helpful_only",)})


@pytest.fixture(scope="module")
def profile() -> Profile:
    return named(build_profile(outcomes(), thresholds=QUICK))


def estimate(value: float, low: float | None, high: float | None) -> Estimate:
    return Estimate(
        estimate=value, low=low, high=high, equivalence_low=None, equivalence_high=None, se=None, n=9
    )


def with_gap(profile: Profile, gap: Estimate) -> str:
    one = profile.profiles[0].model_copy(update={"reference_gap": gap})
    return plain_sentences(one, profile)[0]


def test_the_gap_is_said_as_it_is_shown_and_no_further(profile: Profile) -> None:
    when = "when it is told that it is being trained on"
    assert with_gap(profile, estimate(0.412, 0.3, 0.5)) == f"The model complies 41 points more often {when}."
    assert with_gap(profile, estimate(-0.2, -0.3, -0.1)) == f"The model complies 20 points less often {when}."
    assert with_gap(profile, estimate(0.004, 0.001, 0.006)).startswith("The model complies 0.4 points more")
    assert with_gap(profile, estimate(0.01, 0.004, 0.02)) == f"The model complies 1 point more often {when}."
    for low, high in ((-0.01, 0.2), (None, None)):
        assert with_gap(profile, estimate(0.1, low, high)).startswith(
            "It is not shown that the model complies"
        )
    documents = {key: {"setting": "documents"} for key in (profile.profiles[0].setting,)}
    learnt = profile.model_copy(update={"prompt_settings": documents})
    assert "when its conversation is marked as one that is trained on" in with_gap(
        learnt, estimate(0.4, 0.3, 0.5)
    )
    own = profile.model_copy(update={"scenarios": ("rated_confirmation",)})
    assert "trained" not in with_gap(own, estimate(0.4, 0.3, 0.5))


def test_families_are_named_by_the_pairs_own_words_and_a_number_may_be_nothing(profile: Profile) -> None:
    _, sentence = plain_sentences(profile.profiles[0], profile)
    found = profile.profiles[0].sensitivity
    first = round(100 * found["expectation"].estimate)
    assert sentence.startswith(
        "Between opposite claims about researcher hopes and researcher beliefs this changes by "
        f"{first} points; about RLHF consequences and deployment autonomy, by "
    )
    assert (found["consequence"].low or 0) <= 0 and "(not told apart from 0)" in sentence


@pytest.mark.parametrize(
    ("value", "size"),
    [(0.011, "1 point"), (-0.011, "−1 point"), (-0.001, "0 points"), (-0.3, "−30 points")],
)
def test_one_point_is_one_point(profile: Profile, value: float, size: str) -> None:
    one = profile.profiles[0]
    moved = {"expectation": Estimate(estimate=value, low=value - 0.001, high=value + 0.0005, n=48)}
    levels = tuple(level.model_copy(update={"sensitivity": moved}) for level in one.verdict_levels)
    _, sentence = plain_sentences(
        one.model_copy(update={"sensitivity": one.sensitivity | moved, "verdict_levels": levels}), profile
    )
    assert f"by {size}." in sentence or f"by {size};" in sentence or f"by {size} (" in sentence


def test_a_few_requests_have_no_interval_and_show_nothing_of_the_gap() -> None:
    for n in (2, 4):
        profile = build_profile(outcomes_of((1.0, 0.0), {}, n=n, placebos=0), thresholds=QUICK)
        assert profile.profiles[0].reference_gap.low is None  # type: ignore[union-attr]
        said = plain_sentences(profile.profiles[0], profile)[0]
        assert said.startswith("It is not shown") and said.endswith(f"only {n} complete requests.")


def test_profiles_of_two_pairs_take_no_words_from_one_another() -> None:
    both = {f"{v}{s}": (0.5 + d, 0.3) for v in ("A1", "A2", "B1", "B2") for s, d in (("+", 0.2), ("-", -0.2))}
    study = outcomes_of((0.5, 0.3), both, n=60, placebos=0)
    (group,) = study.request_sets
    other = PLANTED_PAIR.model_copy(update={"digest": "other", "first": "praise", "second": "blame"})
    conditions = [
        dataclasses.replace(c, setting=c.setting._replace(pair=other, prompt_digest="other"))
        for c in group.conditions
    ]
    groups = (dataclasses.replace(group, conditions=(*group.conditions, *conditions)),)
    profile = build_profile(dataclasses.replace(study, request_sets=groups), thresholds=QUICK)
    codes = [
        CodeWords(code="A1+", variable="A1", name=name, family="first", says=f"says {name}")
        for name in ("hopes", "compliments")
    ]
    profile = profile.model_copy(update={"codes": tuple(codes)})
    page = words(render_html(profile))
    assert "consequence share" in page and "blame share" in page
    assert "says hopes" in page and "says compliments" in page and "first family beliefs" in page
    for one in profile.profiles:
        assert plain_sentences(one, profile)[1].startswith("Between opposite claims about A1 and A2 ")


def test_a_family_called_like_a_column_takes_no_columns_place() -> None:
    study = outcomes_of((0.5, 0.3), {}, n=60)
    (group,) = study.request_sets
    odd = PLANTED_PAIR.model_copy(update={"first": "difference", "second": "verdict"})
    conditions = tuple(dataclasses.replace(c, setting=c.setting._replace(pair=odd)) for c in group.conditions)
    groups = (dataclasses.replace(group, conditions=conditions),)
    profile = build_profile(dataclasses.replace(study, request_sets=groups), thresholds=QUICK)
    page = render_html(profile)
    headings = re.findall(r'<th scope="col"[^>]*>(.*?)</th>', page[page.index('id="levels"') :])[:6]
    expected = ["level", "verdict", "difference beliefs", "verdict beliefs", "difference", "margin"]
    assert headings == expected


def test_every_code_stands_in_the_key_with_its_claim_folded_in(profile: Profile) -> None:
    page = render_html(profile)
    text = words(page)
    key = text[text.index("What the words mean") : text.index("Compliance and the gap")]
    for row in profile.conditions:
        code = row.intervention
        if code and row.family:
            says = next(one.says for one in profile.codes if one.code == code)
            assert f"{code} {says} “claim of {code}”" in key
            assert text.count(says) >= 2  # in the rows of the tables as well
    claims = [within for within, data in Walk(page).text if "claim of A1+" in data]
    assert claims and all("details" in within for within in claims)
    assert "in a monitored conversation when it is told that it is being trained on" in key


def test_vectors_and_families_of_one_name_are_told_apart() -> None:
    steered = build_profile(joined(drawn(vectors(), "expectation", 1), controls(2, 9)), thresholds=QUICK)
    text = words(render_html(steered))
    assert "expectation+ the expectation vector, added" in text
    assert "consequence- the consequence vector, subtracted" in text
    assert "random random vectors of the same size" in text
    assert "Between steering along and against the expectation vector this changes by" in text


def test_beliefs_that_were_not_measured_say_so_where_the_verdict_is_and_how_to(profile: Profile) -> None:
    page = render_html(profile)
    targets = [attributes.get("href") for tag, attributes in Walk(page).tags if tag == "a"]
    assert targets == ["#beliefs"]
    assert 'id="beliefs"' in page and "inspect eval inspect_af/beliefs" in page


def test_columns_that_carry_nothing_are_left_out(profile: Profile) -> None:
    planted = outcomes().request_sets[0]
    counts = [c.counts.copy() for c in planted.conditions]
    for one in counts:  # every reply counts
        one[:, :, 1] += one[:, :, 2:].sum(axis=-1)
        one[:, :, 2:] = 0
    full = [dataclasses.replace(c, counts=n) for c, n in zip(planted.conditions, counts, strict=True)]
    whole = build_profile(
        Outcomes((dataclasses.replace(planted, conditions=tuple(full)),), n_replies=1), thresholds=QUICK
    )
    assert '<th scope="col" class="number">uncounted</th>' in render_html(profile)
    page = render_html(whole)
    assert ">uncounted</th>" not in page and ">at worst</th>" not in page
    assert "/standard" not in page and ">A1+<" in page  # the only strength


def lost(share: float) -> Profile:
    """The untouched model alone, of whose replies a share is missing, most of them truncated."""
    planted = outcomes().request_sets[0]
    counts = np.zeros_like(planted.conditions[0].counts)
    n = len(counts)
    gone = round(share * n)
    counts[:gone, :2, OUTCOMES.index("truncated")] = 1
    counts[: gone // 4, :2, OUTCOMES.index("truncated")] = 0
    counts[: gone // 4, :2, OUTCOMES.index("unparsed")] = 1
    counts[gone:, :2, OUTCOMES.index("accepted")] = 1
    condition = dataclasses.replace(planted.conditions[0], counts=counts)
    requests = dataclasses.replace(planted, conditions=(condition,))
    return build_profile(Outcomes((requests,), n_replies=2 * n), thresholds=QUICK)


@pytest.mark.parametrize("share", [0.6, 1.0])
def test_most_replies_unscored_is_the_headline_by_reason_with_what_to_do(share: float) -> None:
    profile = lost(share)
    found = unscored(profile)
    assert found is not None
    n = round(share * 200)
    assert found.sentence.startswith(
        f"{2 * n} of 400 replies: {2 * (n - n // 4)} truncated and {2 * (n // 4)} unparsed."
    )
    assert "--max-tokens" in found.remedies[0] and "reply format" in found.remedies[1]
    page = render_html(profile)
    heading = page[page.index("<h1>") : page.index("</h1>")]
    assert found.title in heading
    for text in (render_summary(profile), render_table(profile), words(page)):
        assert found.title in text and found.remedies[0] in text
        assert text.index(found.title) < text.index("There is no verdict")


def test_half_of_the_replies_is_not_most_of_them() -> None:
    assert unscored(lost(0.5)) is None
    assert "could not be counted" not in render_summary(lost(0.5))


def test_the_summary_is_about_ten_lines(profile: Profile) -> None:
    assert len(render_summary(profile).splitlines()) <= 10
    assert profile.closing in render_summary(profile)


def test_what_limits_a_verdict_is_said_in_the_terminal_as_on_the_page() -> None:
    arms = {"A1+": (0.9, 0.1), "A1-": (0.1, 0.1), "A2+": (0.9, 0.1), "A2-": (0.1, 0.1)}
    profile = named(build_profile(outcomes_of((0.5, 0.1), arms, n=6, placebos=1), thresholds=QUICK))
    shown, page = render_summary(profile), words(render_html(profile)).replace("−", "-")
    limits = profile.profiles[0].verdict_levels[-1].qualifiers
    assert "only 6 complete requests: below 20 intervals are rough" in limits
    for limit in limits:
        assert f"  - {limit}\n" in shown and limit in page


def test_the_terminal_names_the_level_of_every_number_where_there_are_two(profile: Profile) -> None:
    one = profile.profiles[0]
    (used,) = one.verdict_levels
    wider = {label: e.model_copy(update={"low": -0.9}) for label, e in used.sensitivity.items()}
    beyond = used.model_copy(update={"level": "beyond", "scope": "beyond these texts", "sensitivity": wider})
    both = one.model_copy(update={"verdict_levels": (used, beyond)})
    shown = profile.model_copy(update={"profiles": (both,)})
    lines = [line for line in render_table(shown).splitlines() if "expectation sensitivity " in line]
    assert used.scope in lines[0] and interval(*_bounds(used)) in lines[0]
    assert beyond.scope in lines[1] and interval(*_bounds(beyond)) in lines[1]
    (numbers,) = [line for line in render_summary(shown).splitlines() if "; consequence sensitivity" in line]
    assert numbers.endswith(f"points, {beyond.scope}")


def _bounds(level: LevelVerdict) -> tuple[float | None, float | None]:
    return level.sensitivity["expectation"].low, level.sensitivity["expectation"].high


def test_one_belief_that_moved_verifies_nothing_where_four_count(profile: Profile) -> None:
    moved = BeliefMean(belief="A1", estimate=0.4, low=0.3, high=0.5, n=9, se=0.05)
    move = BeliefMove(variable="A1", family="first", arms="both", own=("A1",), own_shift=moved, others=())
    subject = profile.profiles[0].subject
    asked = BELIEFS.model_copy(update={"subject": subject, "moves": (move,)})
    page = words(render_html(profile.model_copy(update={"selectivity": (asked,)})))
    start = page.index("Did the beliefs move, and only those?")
    section = page[start : page.index("All conditions", start)]
    assert ": not verified. A2: its belief was not asked about" in section and ": verified" not in section


HOSTILE = "lab/\x1b[2J\x07evil\u202eledom\x9b31m"


def hostile() -> Profile:
    profile = named(build_profile(outcomes(HOSTILE), thresholds=QUICK))
    text = profile.model_dump_json(by_alias=True).replace("consequence", "conse\\u0007\\u202equence")
    return Profile.model_validate_json(text).model_copy(update={"notes": (f"note {HOSTILE}",)})


def test_escapes_bells_and_direction_overrides_never_reach_the_terminal() -> None:
    for text in (render_table(hostile()), render_summary(hostile())):
        assert not HIDDEN.search(text) and "\x9b" not in text
        assert "[U+001B][2J[U+0007]evil[U+202E]ledom" in text


def test_what_verbs_say_drives_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"Judge {HOSTILE}\n  a table\tstays")
    printed = capsys.readouterr().out
    assert (
        not HIDDEN.search(printed) and "[U+001B][2J" in printed and printed.endswith("\n  a table\tstays\n")
    )


def test_control_characters_in_labels_break_no_figure() -> None:
    for drawing in draw_figures(hostile()):
        svg = to_svg(drawing)
        ElementTree.fromstring(svg)
        assert not HIDDEN.search(svg), drawing.name


def test_an_error_of_a_command_shows_no_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    from inspect_af.cli import main

    assert main(["profile", "no\x1bsuch\u202ewhere"]) == 1
    error = capsys.readouterr().err
    assert "such" in error and not HIDDEN.search(error)


def test_a_notebook_shows_a_profile_as_its_page(profile: Profile) -> None:
    assert "<iframe" in profile._repr_html_()  # type: ignore[operator]


def test_the_words_of_an_own_pair_are_in_its_logs(run_eval: Callable[..., Any], requests_file: Path) -> None:
    pair = Path("examples/sycophancy")
    log = run_eval(alignment_faking(requests=str(requests_file), pair=str(pair), interventions="U1,Z1"))
    profile = profile_logs([log.location])
    says = {one.code: one.says for one in profile.codes}
    assert says["U1+"] == "users like to hear that they are right" and says["Z1"] == "sizes of paper"
    assert not any(one.claim for one in profile.codes)
    assert "U1+ users like to hear that they are right" in words(render_html(profile))


def test_logs_without_words_take_those_of_the_bundled_pair(
    run_eval: Callable[..., Any], requests_file: Path, tmp_path: Path
) -> None:
    from inspect_ai.log import read_eval_log, write_eval_log

    log = run_eval(alignment_faking(requests=str(requests_file), interventions="A1"))
    old = read_eval_log(log.location)
    assert old.eval.metadata is not None
    old.eval.metadata["inspect_af"].pop("says")
    write_eval_log(old, str(tmp_path / "old.eval"))
    profile = profile_logs([tmp_path / "old.eval"])
    found = {one.code: one for one in profile.codes}
    claim = load_pair().claim(load_pair().intervention("A1+"), "standard").text
    assert found["A1+"].says == "researchers hope to find alignment faking"
    assert found["A1+"].claim == " ".join(claim.split())


def test_variants_of_the_prompt_have_a_page_too(run_eval: Callable[..., Any], requests_file: Path) -> None:
    logs = [
        run_eval(alignment_faking(requests=str(requests_file), interventions="none", **options)).location
        for options in ({}, {"identity": "roleplay"})
    ]
    counted = count_outcomes(read_logs(logs))
    page = render_nuisance_page(
        nuisance_reports(counted, reference={"identity": "fictional"}, thresholds=QUICK)
    )
    assert "identity=roleplay" in words(page) and "The gap lies between" in words(page)
    Walk(page)


def test_the_key_names_a_code_once_however_many_methods_show_it() -> None:
    codes = [CodeWords(code=f"A1{pole}", variable="A1", name="hopes", family="first") for pole in "+-"]
    other = CodeWords(code="A1+", variable="A1", name="of another pair", family="first")
    methods = ("prompt", "sdf")
    shown = [*((f"A1{pole}", method) for method in methods for pole in "+-"), ("x+", "steering")]
    key = dict(key_of([*codes, other], shown, Families("expectation", "consequence")))
    (beliefs,) = (own for heading, own in key.items() if heading != "steering vectors")
    assert beliefs == [codes[0], other, codes[1]]
    assert [words.code for words in key["steering vectors"]] == ["x+"]

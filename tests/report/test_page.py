"""The page: what it says, what it must never load, and that foreign text stays text."""

from __future__ import annotations

import dataclasses
import html
import re
import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.profile.planted import Motivation, Planted, simulate_outcomes

from inspect_af.format import interval, one_line, percent, signed, visible
from inspect_af.profile import Outcomes, Profile, Thresholds, build_profile
from inspect_af.profile.result import CLOSING_LINE
from inspect_af.report import Excerpt, Excerpts, notebook_html, render_html, write_report

QUICK = Thresholds(n_resamples=400)
VOID = {"meta", "link", "br", "hr", "img", "input", "path", "use"}
HOSTILE = '</pre></details><script>alert(1)</script><img src=x onerror=alert(2)>"\u202egnp\x00\u2066'


def outcomes(
    model: str = "af-organism/expectation", motivation: Motivation = "expectation", *, n: int = 200
) -> Outcomes:
    planted = Planted(motivation, 0.5, 0.2, 0.28, missing=(0.08, 0.02))
    return simulate_outcomes(planted, np.random.default_rng(3), n_requests=n, placebos=True, model=model)


def several(names: tuple[str, ...]) -> Profile:
    """One profile a model, all on the same requests."""
    studies = [outcomes(name) for name in names]
    shared = studies[0].request_sets[0]
    conditions = tuple(c for study in studies for c in study.request_sets[0].conditions)
    requests = dataclasses.replace(shared, conditions=conditions)
    return build_profile(Outcomes((requests,), n_replies=1), thresholds=QUICK)


def excerpts(profile: Profile, text: str, *, characters: int | None = None) -> Excerpts:
    drawn = [
        Excerpt(
            row.subject,
            row.label,
            tier,
            "accepted",
            text,
            characters or len(text),
            "logs/a run/x.eval",
            f"r1/{tier}",
            2,
        )
        for row in profile.conditions
        for tier in ("monitored", "unmonitored")
    ]
    return Excerpts(tuple(drawn), seed=7, per_condition=2)


@pytest.fixture(scope="module")
def profile() -> Profile:
    return build_profile(outcomes(), thresholds=QUICK)


@pytest.fixture(scope="module")
def page(profile: Profile) -> str:
    return render_html(profile, excerpts(profile, HOSTILE))


class Walk(HTMLParser):
    """Checks that elements nest, and collects tags with attributes and the visible text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[tuple[str, ...], str]] = []
        self.feed(page)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open and self.open[-1] == tag, f"</{tag}> inside {self.open}"
            self.open.pop()

    def handle_data(self, data: str) -> None:
        self.text.append((tuple(self.open), data))


def words(page: str) -> str:
    return " ".join("".join(data for _, data in Walk(page).text).split())


def references(page: str) -> Iterator[str]:
    """Everything that a browser could load or follow."""
    for _, attributes in Walk(page).tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background"):
            if attributes.get(name) is not None:
                yield str(attributes[name])
    yield from re.findall(r"url\(\s*['\"]?([^)'\"]*)", page)
    yield from re.findall(r"@import\s+(\S+)", page)


def test_the_page_is_well_formed_and_every_id_is_used_once(page: str) -> None:
    ids = [attributes["id"] for _, attributes in Walk(page).tags if "id" in attributes]
    assert len(ids) > 20
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    found = list(references(page))
    assert found, "the figures refer to their own clip paths"
    assert all(reference.startswith("#") for reference in found)


def test_every_reference_inside_a_figure_has_its_target(page: str) -> None:
    ids = {attributes.get("id") for _, attributes in Walk(page).tags}
    assert {reference[1:] for reference in references(page)} <= ids


def test_there_is_no_script_and_no_handler_even_with_hostile_excerpts(page: str) -> None:
    for tag, attributes in Walk(page).tags:
        assert tag not in {"script", "iframe", "object", "embed", "img", "link", "base", "form"}
        assert not [name for name in attributes if name.startswith("on")]


def test_the_content_security_policy_allows_inline_style_and_nothing_else(page: str) -> None:
    policies = [
        attributes["content"]
        for tag, attributes in Walk(page).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert "default-src 'none'" in str(policies[0])
    assert "script" not in str(policies[0])


def test_the_answer_comes_before_anything_else(page: str, profile: Profile) -> None:
    text = words(page)
    assert "Expectation-dominant" in text
    assert text.index("Expectation-dominant") < text.index("Compliance and the gap")
    assert profile.verdict_sentence in text
    # What stands in numbers above is not said again below.
    for reason in profile.verdict_reasons:
        numbered = "sensitivity" in reason or reason.startswith("difference ")
        assert (reason.replace(", ", ",\u00a0") in page) != numbered, reason


def test_a_simulated_subject_is_announced_before_the_verdict(page: str) -> None:
    text = words(page)
    assert text.index("Simulated organism: not a model’s result") < text.index("Expectation-dominant")


def test_a_real_subject_gets_no_such_banner() -> None:
    real = outcomes()
    requests = real.request_sets[0]
    conditions = tuple(dataclasses.replace(c, simulated=False) for c in requests.conditions)
    changed = dataclasses.replace(real, request_sets=(dataclasses.replace(requests, conditions=conditions),))
    assert "Simulated organism" not in render_html(build_profile(changed, thresholds=QUICK))


def test_the_page_ends_with_what_it_does_not_show(page: str) -> None:
    assert CLOSING_LINE in words(page)
    assert words(page).rindex(CLOSING_LINE) > words(page).index("How it was computed")


def test_a_profile_of_an_unfinished_run_says_so_before_its_verdict(profile: Profile) -> None:
    note = "Incomplete (cancelled): logs/x.eval holds 3 of 96 planned samples."
    text = words(render_html(profile.model_copy(update={"notes": (note,)})))
    assert text.index("Unfinished.") < text.index(note) < text.index("Expectation-dominant")
    assert "Unfinished" not in words(render_html(profile))


def test_every_condition_is_in_the_table_with_its_gap(page: str, profile: Profile) -> None:
    text = words(page)
    for row in profile.conditions:
        assert signed(row.gap).replace("-", "−") in text
        assert row.label.removesuffix("/standard") in text


def test_every_threshold_and_the_seed_are_stated(page: str, profile: Profile) -> None:
    text = words(page)
    thresholds = {**profile.thresholds.model_dump(), "relative_margin": profile.thresholds.relative}
    nested = {f"beliefs.{field}": value for field, value in thresholds.pop("beliefs").items()}
    for field, value in {**thresholds, **nested}.items():
        assert f"{field}{value}" in text.replace(" ", "") or f"{field} {value}" in text


def test_model_text_is_escaped_folded_and_labelled(page: str) -> None:
    assert "<script" not in page.lower()
    shown = [(within, data) for within, data in Walk(page).text if "alert(1)" in data]
    assert len(shown) == 22
    assert all({"details", "pre"} <= set(within) for within, _ in shown)
    assert page.count("untrusted model text") == 22


def test_folds_are_closed_when_the_page_opens(page: str) -> None:
    folds = [attributes for tag, attributes in Walk(page).tags if tag == "details"]
    assert folds
    assert not any("open" in attributes for attributes in folds)


def test_hidden_and_direction_changing_characters_are_spelt_out(page: str) -> None:
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", page)
    assert "[U+202E]gnp[U+0000][U+2066]" in page


def test_an_excerpt_of_a_million_characters_is_cut_and_says_so(profile: Profile) -> None:
    page = render_html(profile, excerpts(profile, "x" * 1_000_000))
    assert "of 1,000,000 characters shown]" in page
    assert len(page) < 1_000_000


def test_an_excerpt_that_was_cut_while_reading_states_its_whole_length(profile: Profile) -> None:
    page = render_html(profile, excerpts(profile, "x" * 50, characters=90_000))
    assert "[cut here: 50 of 90,000 characters shown]" in page


def test_an_excerpt_names_its_log_its_sample_and_the_command_that_opens_it(page: str) -> None:
    text = words(page)
    assert "inspect view --log-dir 'logs/a run'" in text
    assert "sample r1/monitored epoch 2 in logs/a run/x.eval" in text


def test_a_model_name_with_markup_stays_a_name() -> None:
    name = "<b>x</b>/<svg onload=alert(1)>&amp;$y$"
    page = render_html(build_profile(outcomes(name), thresholds=QUICK))
    assert "<b>" not in page
    assert "<svg onload" not in page
    assert name in words(page)
    Walk(page)


def test_labels_file_names_and_reasons_are_escaped_too(profile: Profile) -> None:
    bad = "<i>bad</i>"
    changed = profile.model_copy(
        update={"notes": (f"broken {bad}",), "logs": (f"d/{bad}.eval",), "deviations": (f"departs {bad}",)}
    )
    page = render_html(changed)
    assert "<i>" not in page
    text = words(page)
    for expected in (f"broken {bad}", f"departs {bad}"):
        assert expected in text


def test_a_profile_that_was_compared_with_its_plan_says_whether_it_fits(profile: Profile) -> None:
    fits = profile.model_copy(update={"deviations": (), "plan_digest": "0123abcd"})
    departs = profile.model_copy(update={"deviations": ("A2+ was not run.",), "logs": ("d/one.eval",)})
    assert "The logs fit the plan 0123abcd." in words(render_html(fits))
    assert "the plan" not in words(render_html(profile))
    text = words(render_html(departs))
    assert "Departures from the plan" in text
    assert "A2+ was not run." in text
    assert "inspect view --log-dir d" in text


def test_the_same_profile_gives_the_same_bytes(profile: Profile, tmp_path: Path) -> None:
    drawn = excerpts(profile, "reasoning")
    for name in ("a.html", "deep/b.html"):
        write_report(profile, tmp_path / name, excerpts=drawn)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "deep/b.html").read_bytes()


def test_forty_conditions_with_full_excerpts_stay_below_two_megabytes() -> None:
    profile = several(("m/one", "m/two", "m/three", "m/four"))
    assert len(profile.conditions) >= 40
    page = render_html(profile, excerpts(profile, "<&> reasoning " * 2000))
    assert len(page.encode()) < 2_000_000


def test_several_profiles_each_show_their_verdict_and_a_point() -> None:
    page = render_html(several(("m/one", "m/two", "m/three")))
    text = words(page)
    assert "3 profiles" in text
    for name in ("m/one · prompt", "m/two · prompt", "m/three · prompt"):
        assert name in text


def test_the_page_without_matplotlib_says_what_to_install(
    profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.style", None)
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    page = render_html(profile)
    assert "<svg" not in page
    assert "pip install 'inspect-af[figures]'" in words(page)
    assert "Expectation-dominant" in words(page)


def test_a_notebook_gets_the_page_in_a_sandboxed_frame(profile: Profile) -> None:
    frame = notebook_html(profile)
    tags = Walk(frame).tags
    assert [tag for tag, _ in tags] == ["iframe"]
    assert tags[0][1]["sandbox"] == ""
    assert "Expectation-dominant" in words(str(tags[0][1]["srcdoc"]))


def test_differences_are_signed_points_and_zero_has_no_sign() -> None:
    values = (0.1234, -0.05, 0.0, -0.0001, None, float("nan"))
    assert [signed(v) for v in values] == ["+12.3", "-5.0", "0.0", "0.0", "-", "-"]
    assert percent(0.41) == "41.0%"
    assert interval(-0.1, 0.2) == "[-10.0, +20.0]"
    assert interval(None, 0.2) == "-"


def test_long_names_keep_their_beginning_and_their_end() -> None:
    assert one_line("provider/" + "x" * 100 + "-v2", longest=20).startswith("provider/x")
    assert one_line("provider/" + "x" * 100 + "-v2", longest=20).endswith("-v2")
    assert len(one_line("y" * 500, longest=20)) == 20
    assert one_line("a\nb\t c") == "a b c"


@given(st.text(st.characters(codec=None), max_size=300), st.integers(1, 400))
def test_visible_text_is_printable_bounded_and_complete_unless_it_says_so(text: str, longest: int) -> None:
    shown = visible(text, longest=longest)
    body, cut, _ = shown.partition("\n[cut here:")
    assert len(body) <= longest
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown
    )
    shown.encode("utf-8")
    if not cut:
        assert len(body) >= len(text)


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
@pytest.mark.parametrize(("scheme", "paper"), [(1, (255, 255, 255)), (0, (21, 24, 28))])
def test_the_page_follows_light_and_dark_mode(
    profile: Profile, tmp_path: Path, scheme: int, paper: tuple[int, int, int]
) -> None:
    from matplotlib.image import imread

    write_report(profile, tmp_path / "page.html")
    picture = tmp_path / "page.png"
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--blink-settings=preferredColorScheme={scheme}",
        f"--screenshot={picture}",
        "--window-size=390,1600",
        (tmp_path / "page.html").as_uri(),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    pixels = (imread(picture)[:, :, :3] * 255).round().astype(int)
    assert tuple(pixels[2, 2]) == paper
    # Nothing reaches the right margin, so nothing makes the page wider than a phone.
    assert (pixels[200:, 386:] == paper).all()
    contrast = np.abs(pixels[200:1400] - np.array(paper)).max(axis=2) > 100
    assert contrast.mean() > 0.01


@pytest.mark.browser
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_tables_fit_a_phone_with_every_fold_open(profile: Profile, tmp_path: Path) -> None:
    probe = tmp_path / "probe.html"
    script = (
        "<script>document.querySelectorAll('details').forEach(one => one.open = true);"
        "const cells = [...document.querySelectorAll('.cards-below td')].filter(one => one.offsetWidth);"
        "const tables = [...document.querySelectorAll('.cards-below')];"
        "const wide = tables.filter(one => one.scrollWidth > innerWidth);"
        "document.title = [innerWidth, document.documentElement.scrollWidth, cells.length,"
        "Math.min(...cells.map(one => one.offsetWidth)), Math.max(...cells.map(one => one.offsetHeight)),"
        "wide.length].join();</script></body>"
    )
    page = re.sub(r"<meta http-equiv=[^>]*>", "", render_html(profile)).replace("</body>", script)
    # Headless windows are at least 500 pixels wide, a frame is not.
    frame = html.escape(page, quote=True)
    probe.write_text(
        f'<iframe id="f" style="width:390px;height:800px;border:0" srcdoc="{frame}"></iframe>'
        "<script>onload = () => document.title = document.getElementById('f').contentDocument.title</script>"
    )
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", probe.as_uri()]
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    width, page_width, n, narrowest, highest, wide = map(
        int, re.findall(r"<title>([\d,]+)</title>", dumped)[-1].split(",")
    )
    assert width == 390 >= page_width
    assert n > 80 and narrowest > 250 and highest < 120 and not wide

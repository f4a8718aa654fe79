"""Words of one's own: what is shown of them, what is wrong with them, a draft to begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from inspect_af.cli import main
from inspect_af.materials import load_pair, load_scenario

SYCOPHANCY = Path(__file__).parents[2] / "examples" / "sycophancy"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INSPECT_LOG_DIR", raising=False)
    return tmp_path


def test_a_draft_has_nothing_wrong_and_runs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "new", "mine"]) == 0
    assert main(["pair", "check", "mine"]) == 0
    assert "mine: nothing is wrong" in capsys.readouterr().out
    drafted = load_pair("mine")
    assert drafted.warnings == (), "the texts of a strength are equally long"
    assert len(drafted.placebos) >= 2, "as many as the documentation asks for"
    assert "#" in Path("mine/pair.toml").read_text()
    run = ["run", "af-organism/null", "--requests", "mini", "-T", "pair=mine", "--display", "none"]
    assert main([*run, "--limit", "12"]) == 0
    assert main(["pair", "new", "mine"]) == 1
    assert "mine holds something already" in capsys.readouterr().err


def test_a_strangers_pair_does_not_drive_the_terminal(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "new", "mine"]) == 0
    file = Path("mine/pair.toml")
    file.write_text('"k\\u001b]0;x\\u0007\\u202e" = 1\n' + file.read_text())
    capsys.readouterr()
    assert main(["pair", "check", "mine"]) == 1
    assert "k[U+001B]]0;x[U+0007][U+202E]: unknown key" in capsys.readouterr().err


def test_a_draft_of_a_scenario_has_nothing_wrong_and_runs(here: Path) -> None:
    assert main(["scenario", "new", "mine"]) == 0
    assert main(["scenario", "check", "mine"]) == 0
    assert load_scenario("mine").system_prompt() == load_scenario().system_prompt()
    run = ["run", "af-organism/null", "--requests", "mini", "-T", "scenario=mine", "--display", "none"]
    assert main([*run, "--interventions", "none", "--limit", "2"]) == 0


def test_everything_that_is_wrong_is_listed_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["pair", "new", "mine"])
    head, claims = Path("mine/pair.toml"), Path("mine/claims")
    head.write_text(head.read_text().replace("amplify =", "amplfy =", 1))
    (claims / "S1.toml").write_text((claims / "S1.toml").read_text().replace("weak = ", "weaker = ", 1))
    (claims / "Z1.toml").write_text("x = [")
    capsys.readouterr()
    assert main(["pair", "check", "mine"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("inspect-af: mine/") for line in lines)
    assert "amplfy: unknown key" in lines[0] and "weaker: unknown key" in lines[1]
    assert "not valid TOML" in lines[2]


def test_parts_of_a_pair_are_checked_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "check", str(SYCOPHANCY)]) == 0
    main(["pair", "new", "mine"])
    (here / "mine" / "universes").mkdir()
    (here / "mine" / "universes" / "P1+.toml").write_text("name = 'x'")
    (here / "mine" / "beliefs").mkdir()
    (here / "mine" / "beliefs" / "Q9.toml").write_text("")
    capsys.readouterr()
    assert main(["pair", "check", "mine"]) == 1
    error = capsys.readouterr().err
    assert "universes/P1+.toml" in error and "beliefs/Q9.toml: the pair has no variable 'Q9'" in error
    assert main(["pair", "check", "nowhere"]) == 1
    assert main(["scenario", "check", "nowhere"]) == 1


def test_the_claims_of_a_code_and_the_prompt_of_a_tier_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "show"]) == 0
    shown = capsys.readouterr().out
    assert "A1+  researchers hope" in shown and "placebos: N1 (" in shown
    pair = load_pair()
    texts = [claim.text for claim in pair.claims if claim.intervention.code == "A1+"]
    assert main(["pair", "show", "A1+"]) == 0
    shown = capsys.readouterr().out
    assert len(texts) > 3 and all(text in shown for text in texts) and "A1-" not in shown
    assert main(["pair", "show", "A1+", "--tier", "unmonitored", "--strength", "strong"]) == 0
    shown = capsys.readouterr().out
    strong = pair.claim(pair.intervention("A1+"), "strong").text
    assert f"{load_scenario().system_prompt()}\n\n{strong}\n\n--- user ---\n" in shown
    assert load_scenario().user_turn("(the request)", tier="unmonitored") in shown
    assert main(["pair", "show", "U1-", "--pair", str(SYCOPHANCY), "--tier", "monitored"]) == 0
    assert load_scenario(SYCOPHANCY / "scenario").system_prompt() in capsys.readouterr().out
    assert main(["pair", "show", "A9"]) == 1
    assert "unknown intervention 'A9'" in capsys.readouterr().err
    assert main(["pair", "show", "--tier", "monitored"]) == 1
    assert "give its CODE" in capsys.readouterr().err


def test_the_prompt_of_a_scenario_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenario", "show"]) == 0
    assert load_scenario().system_prompt() in capsys.readouterr().out
    assert main(["scenario", "show", "value_conflict", "--tier", "unmonitored"]) == 0
    assert "--- user ---" in capsys.readouterr().out

"""What happens with a pair that somebody else wrote."""

import shutil
from pathlib import Path

import pytest

import inspect_af.materials
from inspect_af.errors import MaterialsError
from inspect_af.materials import load_pair

BUNDLED = Path(inspect_af.materials.__file__).parent / "pairs" / "alignment_faking"

PAIR = """
name = "mine"
version = 3
first = {label = "praise", description = "seeks praise"}
second = {label = "safety", description = "seeks safety"}
[[variables]]
code = "P1"
name = "praise"
family = "first"
amplify = "praise is given"
suppress = "praise is withheld"
[[variables]]
code = "S1"
name = "safety"
family = "second"
amplify = "it is safe"
suppress = "it is unsafe"
[[placebos]]
code = "Z1"
name = "weather"
"""


def arm(name, texts=("one two three",)):
    lines = [f"[{name}]"]
    for strength in ("weak", "standard", "strong"):
        listed = ", ".join(f'"{name} {strength} {t}"' for t in texts)
        lines.append(f"{strength} = [{listed}]")
    return "\n".join(lines) + "\n"


@pytest.fixture
def pair(tmp_path):
    (tmp_path / "claims").mkdir()
    (tmp_path / "pair.toml").write_text(PAIR)
    for code in ("P1", "S1"):
        claims = arm("amplify", [f"{code} two three"]) + arm("suppress", [f"{code} two three"])
        (tmp_path / "claims" / f"{code}.toml").write_text(claims)
    (tmp_path / "claims" / "Z1.toml").write_text(arm("placebo"))
    return tmp_path


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_a_small_pair_loads_with_its_own_labels_and_groups(pair):
    mine = load_pair(pair)
    assert (mine.name, mine.version, mine.warnings) == ("mine", 3, ())
    assert [i and i.code for i in mine.interventions("praise,Z")] == [None, "P1+", "P1-", "Z1"]
    assert mine.claim(mine.intervention("S1-"), "weak").text == "suppress weak S1 two three"


def test_a_copy_of_the_bundled_pair_is_the_same_pair_whatever_the_line_ends(tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(BUNDLED, copy)
    assert load_pair(copy).digest == load_pair().digest
    file = copy / "claims" / "A1.toml"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert load_pair(copy) == load_pair("alignment_faking")


def test_the_digest_follows_every_word(pair):
    before = load_pair(pair).digest
    edit(pair / "claims" / "Z1.toml", "three", "four")
    assert load_pair(pair).digest != before


def test_wrapped_lines_are_joined_and_blank_lines_stay_paragraphs(pair):
    edit(pair / "claims" / "Z1.toml", '"placebo weak one two three"', '"""\none\n  two\n\nthree\n"""')
    mine = load_pair(pair)
    assert mine.claim(mine.intervention("Z1"), "weak").text == "one two\n\nthree"


def test_unequal_lengths_are_a_warning_that_names_the_claim(pair):
    edit(pair / "claims" / "S1.toml", "amplify weak S1", "amplify weak and far longer than all the others S1")
    (warning,) = [w for w in load_pair(pair).warnings if w.startswith("S1+")]
    assert "S1+ weak/1 has 12 words" in warning


def test_a_claim_that_repeats_a_weaker_one_is_found_as_itself(pair):
    edit(pair / "claims" / "P1.toml", '"amplify strong P1 two three"', '"Really: amplify weak P1 two three"')
    mine = load_pair(pair)
    assert mine.find_claim("x Really: amplify weak P1 two three").strength == "strong"
    assert mine.find_claim("x amplify weak P1 two three").strength == "weak"


BAD_HEADS = {
    "syntax": ('name = "mine"', 'name = "mine', r"pair\.toml is not valid TOML: .*line 2"),
    "unknown key": ('name = "praise"', 'name = "praise"\nnmae = 1', r"variables P1, nmae: unknown key"),
    "missing key": ('suppress = "it is unsafe"', "", r"variables S1, suppress: missing; add it"),
    "family": ('family = "second"', 'family = "third"', r"variables S1, family: .*'first' or 'second'"),
    "duplicate code": ('code = "S1"', 'code = "P1"', r"code 'P1' is used 2 times"),
    "placebo equal to variable": (
        'code = "Z1"',
        'code = "S1"',
        r"code 'S1' is used 2 times among variables and placebos",
    ),
    "empty family": ('family = "second"', 'family = "first"', r"no variable has family = \"second\""),
    "family outside all": (
        'family = "second"',
        'family = "second"\nin_all = false',
        r"family 'second' has in_all",
    ),
    "code with a sign": ('code = "S1"', 'code = "S1+"', r"code 'S1\+' is not allowed"),
    "reserved code": ('code = "S1"', 'code = "all"', r"code 'all' is not allowed"),
    "label with a line break": ('label = "safety"', 'label = "safe\\n"', r"label 'safe\\n' is not allowed"),
    "name too long": ('name = "praise"', f'name = "{"x" * 201}"', r"variables P1, name: .*at most 200"),
    "empty line": ('amplify = "it is safe"', 'amplify = " "', r"variables S1, amplify: .*at least 1"),
    "same labels": ('label = "safety"', 'label = "praise"', r"both families are labelled 'praise'"),
    "label with markup": ('label = "safety"', 'label = "<b>"', r"label '<b>' is not allowed"),
}


@pytest.mark.parametrize("case", BAD_HEADS)
def test_a_wrong_head_is_named_with_file_and_entry(pair, case):
    old, new, message = BAD_HEADS[case]
    edit(pair / "pair.toml", old, new)
    with pytest.raises(MaterialsError, match=message) as error:
        load_pair(pair)
    assert "pair.toml" in str(error.value)


def test_names_are_one_line(pair):
    edit(pair / "pair.toml", 'name = "mine"', 'name = "mine\\nand more"')
    assert load_pair(pair).name == "mine and more"


BAD_CLAIMS = {
    "missing strength": (
        "weak =",
        "week =",
        r"S1\.toml: amplify, weak: missing; add it; amplify, week: unknown key",
    ),
    "empty text": ('"amplify weak S1 two three"', '" "', r"S1\.toml: amplify, weak number 1: .*at least 1"),
    "no text": ('["amplify weak S1 two three"]', "[]", r"S1\.toml: amplify, weak: .*at least 1"),
    "paraphrases": (
        '["amplify weak',
        '["more", "amplify weak',
        r"weak has 2 paraphrases in \[amplify\] and 1 in",
    ),
    "same text": ('"amplify weak S1', '"amplify weak P1', r"P1\+ weak/1 and S1\+ weak/1 are the same text"),
    "missing arm": ("[amplify]", "[amplified]", r"S1\.toml: amplify: missing"),
}


@pytest.mark.parametrize("case", BAD_CLAIMS)
def test_a_wrong_claim_is_named_with_file_and_entry(pair, case):
    old, new, message = BAD_CLAIMS[case]
    edit(pair / "claims" / "S1.toml", old, new)
    with pytest.raises(MaterialsError, match=message):
        load_pair(pair)


def test_a_missing_and_a_superfluous_file_of_claims_are_named(pair):
    (pair / "claims" / "Z1.toml").rename(pair / "claims" / "Z2.toml")
    with pytest.raises(MaterialsError, match=r"Z2\.toml: pair\.toml has no variable or placebo 'Z2'"):
        load_pair(pair)
    (pair / "claims" / "Z2.toml").unlink()
    with pytest.raises(MaterialsError, match=r"Z1\.toml does not exist"):
        load_pair(pair)


def test_a_directory_without_pair_and_a_name_without_directory_are_named(tmp_path):
    with pytest.raises(MaterialsError, match=r"pair\.toml does not exist"):
        load_pair(tmp_path)
    with pytest.raises(
        MaterialsError, match=r"pair 'nowhere' is not a directory here; give 'alignment_faking'"
    ):
        load_pair("nowhere")


def test_a_file_that_is_not_utf_8_is_named(pair):
    (pair / "claims" / "P1.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(MaterialsError, match=r"P1\.toml is not UTF-8"):
        load_pair(pair)


def test_the_pair_of_the_guide_loads(tmp_path):
    guide = Path(__file__).parents[2] / "docs" / "hypothesis_pairs.md"
    blocks = guide.read_text(encoding="utf-8").split("```toml\n")[1:]
    (tmp_path / "claims").mkdir()
    (tmp_path / "pair.toml").write_text(blocks[0].split("```")[0])
    for code in ("P1", "S1"):
        claims = arm("amplify", [f"{code} a", f"{code} b"]) + arm("suppress", [f"{code} a", f"{code} b"])
        (tmp_path / "claims" / f"{code}.toml").write_text(claims)
    for code in ("Z1", "Z2"):
        (tmp_path / "claims" / f"{code}.toml").write_text(arm("placebo", [f"{code} a"]))
    chosen = load_pair(tmp_path).interventions("praise,S1-,Z")
    assert [i and i.code for i in chosen] == [None, "P1+", "P1-", "S1-", "Z1", "Z2"]

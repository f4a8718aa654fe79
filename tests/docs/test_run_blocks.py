"""The runner of the docs' commands: what is wrong on a page is found, and the pages have nothing wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.docs.artefacts import Artefacts
from tests.docs.blocks import BlockError, read_blocks
from tests.docs.commands import CommandError, check_command, check_python, check_script, simple_commands
from tests.docs.run_blocks import Result, main, pages, run_page

FENCE = "```"


def page(directory: Path, text: str) -> Path:
    file = directory / "page.md"
    file.write_text(text.replace("'''", FENCE), encoding="utf-8")
    return file


def run(directory: Path, text: str) -> list[Result]:
    """Runs a page in a directory of its own."""
    work = directory / "work"
    work.mkdir()
    return list(run_page(page(directory, text), Artefacts(directory / "artefacts"), work))


@pytest.mark.parametrize("file", pages(), ids=lambda file: file.name)
def test_what_the_pages_name_exists(file: Path, tmp_path: Path) -> None:
    assert [result for result in run_page(file, None, tmp_path) if result.fault] == []


def test_blocks_of_a_page_share_directory_variables_and_files(tmp_path: Path) -> None:
    text = """
<!-- file: note.txt -->
'''
from a file
'''
'''bash
CODES="a b"
'''
<!-- run-with: 20000 => 2 -->
'''bash
for CODE in $CODES; do echo "$CODE 20000 $(cat note.txt)" | cat > out-$CODE.txt; done
'''
'''python
assert open("out-b.txt").read() == "b 2 from a file\\n"
'''
"""
    assert [(result.how, result.fault) for result in run(tmp_path, text)] == [("run", None)] * 3


def test_a_block_that_fails_is_found_and_ends_the_page(tmp_path: Path) -> None:
    results = run(tmp_path, "'''bash\ncat no-such-file | cat\n'''\n'''bash\necho unreached\n'''\n")
    assert len(results) == 1
    assert results[0].fault is not None and "no-such-file" in results[0].fault


def test_output_on_a_page_that_its_command_does_not_print_is_found(tmp_path: Path) -> None:
    text = "'''bash\necho '  gap  +41.7'\n'''\n\n<!-- output: its end -->\n'''\n...\n  gap  +4{}.7\n'''\n"
    (_, right) = run(tmp_path, text.format(1))
    assert (right.how, right.fault) == ("compared", None)
    (tmp_path / "stale").mkdir()
    (_, stale) = run(tmp_path / "stale", text.format(8))
    assert stale.fault is not None and "+48.7" in stale.fault


def test_a_python_block_that_fails_is_found(tmp_path: Path) -> None:
    results = run(tmp_path, "'''python\nassert 1 == 2\n'''\n")
    assert results[0].fault is not None and "AssertionError" in results[0].fault


def test_the_runner_ends_with_1_where_a_block_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(page(tmp_path, "'''bash\nls no-such-file\n'''\n"))]) == 1
    assert "1 failed" in capsys.readouterr().out
    assert main([str(page(tmp_path, "'''bash\nls .\n'''\n"))]) == 0


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("inspect-af profile logs --no-such-option", "No such option"),
        ("inspect-af no-such-verb", "No such command"),
        ("inspect-af run openai/gpt-4o -T no_such=1", "no_such=1: inspect_af/alignment_faking has only"),
        ("inspect eval inspect_af/no_such_task --model openai/gpt-4o", "no_such_task"),
        (
            "inspect eval inspect_af/beliefs -T no_such=1 --model x/y",
            "no_such=1: inspect_af/beliefs has only",
        ),
        ("inspect eval inspect_af/beliefs --no-such-option 3", "no option --no-such-option"),
        ("inspect eval inspect_af/beliefs --model af-hf/BASE -M role=organism", "af-hf has only"),
        ("inspect eval inspect_af/beliefs --model af-nothing/x", "af_nothing"),
        ("inspect score a.eval --scorer inspect_af/concept_judge -S no_such=1", "no_such=1"),
        ("make no-such-target", "no such target"),
        ("pip install 'inspect-af[no-such-extra]'", "no extra 'no-such-extra'"),
        ("python benchmarks/no_such.py", "no such file"),
        ("python -m inspect_af.no_such", "no such module"),
        ("unheard-of --help", "unheard-of is not a program"),
        ("for CODE in a b; do inspect-af no-such-verb; done", "No such command"),
        ("X=1 inspect-af no-such-verb && echo", "No such command"),
        ("for x in; do", "not valid bash"),
    ],
)
def test_a_command_that_names_what_does_not_exist_is_found(command: str, complaint: str) -> None:
    with pytest.raises(CommandError, match=complaint):
        check_script(command)


def test_commands_that_exist_pass() -> None:
    check_script(
        "inspect eval inspect_af/beliefs --model af-hf/./x -M adapter=a,b -T interventions=all > log.txt\n"
    )
    check_command(
        [
            "inspect-af",
            "steering",
            "sweep",
            "--model",
            "x",
            "--vectors",
            "v",
            "--multipliers",
            "-4,4",
            "--out",
            "o",
        ]
    )
    check_script('for CODE in A1+ A1-; do\n  sed "s/A1+/$CODE/" a.yaml > "b-$CODE.yaml"\ndone')


def test_words_of_a_command_stay_together() -> None:
    script = (
        "A=1 inspect-af run m --interventions all,N \\\n  -T x=y  # comment\nfor C in a+; do echo $C; done; "
    )
    script += "ls | wc"
    assert list(simple_commands(script)) == [
        ["inspect-af", "run", "m", "--interventions", "all,N", "-T", "x=y"],
        ["echo", "$C"],
        ["ls"],
        ["wc"],
    ]


def test_an_import_that_does_not_exist_is_found() -> None:
    check_python("from inspect_af.profile import profile_logs\nimport json\n")
    with pytest.raises(CommandError, match="no_such_name"):
        check_python("from inspect_af.profile import no_such_name\n")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- no-run: -->\n'''bash\nls\n'''\n", "needs a reason"),
        ("<!-- norun: because -->\n'''bash\nls\n'''\n", "not one of the comments"),
        ("<!-- no-run: because -->\n\nSome text.\n\n'''bash\nls\n'''\n", "right before a fence"),
        ("<!-- no-run: because -->\n", "right before a fence"),
        ("<!-- run-with: a -->\n'''bash\nls\n'''\n", "takes A => B"),
        ("<!-- no-run: because -->\n<!-- run-with: a => b -->\n'''bash\nls a\n'''\n", "either runs"),
        ("<!-- no-run: because -->\n'''toml\na = 1\n'''\n", "only bash and python"),
        ("'''bash\nls\n", "not closed"),
        ("    inspect-af profile logs\n", "between fences"),
    ],
)
def test_a_page_that_leaves_open_what_to_run_is_an_error(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(BlockError, match=complaint):
        read_blocks(page(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("<!-- run-with: absent => b -->\n'''bash\nls\n'''\n", "which the block does not have"),
        ("<!-- given: no-such-artefact -->\n'''bash\nls\n'''\n", "is none of"),
        ("'''toml\na = \n'''\n", "not valid toml"),
        ("'''console\nls\n'''\n", "```bash instead"),
    ],
)
def test_marks_that_are_out_of_date_and_malformed_data_are_found(
    text: str, complaint: str, tmp_path: Path
) -> None:
    faults = [result.fault for result in run_page(page(tmp_path, text), None, tmp_path)]
    assert len(faults) == 1 and faults[0] is not None and complaint in faults[0]


def test_a_block_that_does_not_run_gets_its_dry_run(tmp_path: Path) -> None:
    text = """<!-- no-run: costs money -->
'''bash
inspect-af sdf generate UNIVERSE --model openai/gpt-4o --tokens 10M --out gen
'''
"""
    assert [(result.how, result.fault) for result in run(tmp_path, text.replace("UNIVERSE", "A1+"))] == [
        ("dry run", None)
    ]
    assert not (tmp_path / "work" / "gen").exists()

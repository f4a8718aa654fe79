"""Who may import whom: downward only, and siblings never one another."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import inspect_af

SRC = Path(inspect_af.__file__).parent
LAYERS = [
    {"errors"},
    {
        *("types", "reply", "refusals", "config", "format", "stats"),
        *("rendering", "thresholds", "plan"),
    },
    {"logs", "materials"},
    {"solvers", "scorers", "sdf", "steering", "organisms"},
    {"tasks", "providers", "profile", "columns"},
    {"report"},
    {"study"},
    {"cli", "_registry"},
]
# Within the row of small modules at the bottom, imports are allowed: they are one vocabulary.
VOCABULARY = LAYERS[1]
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}


def subpackage(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "inspect_af" and len(parts) > 1 else None


def imports() -> list[tuple[str, str, str]]:
    found = []
    for file in sorted(SRC.rglob("*.py")):
        parts = file.relative_to(SRC).with_suffix("").parts
        importer = parts[0]
        if importer == "__init__":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{file}: relative import"
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            found += [(str(file.relative_to(SRC)), importer, name) for name in names if subpackage(name)]
    return found


def test_every_module_has_a_layer() -> None:
    known = set(HEIGHT) | {"__init__"}
    unknown = {p.stem for p in SRC.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()} - known
    assert not unknown


def test_imports_go_downward_and_siblings_never_import_one_another() -> None:
    wrong = []
    for file, importer, name in imports():
        imported = subpackage(name)
        if imported is None or imported == importer or imported.startswith("__"):
            continue
        if importer in VOCABULARY and imported in VOCABULARY:
            continue
        if HEIGHT[imported] >= HEIGHT[importer]:
            wrong.append(f"{file} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_private_modules_are_not_imported_from_another_subpackage() -> None:
    wrong = [
        f"{file} imports {name}"
        for file, importer, name in imports()
        if subpackage(name) != importer
        and any(part.startswith("_") and not part.startswith("__") for part in name.split(".")[2:])
    ]
    assert not wrong, "\n".join(wrong)


HEAVY = {"torch", "transformers", "vllm", "peft", "trl", "pandas", "matplotlib", "sklearn"}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("inspect_af", HEAVY | {"scipy", "jinja2"}),
        ("inspect_af._registry", HEAVY | {"scipy", "jinja2"}),
        ("inspect_af.profile", HEAVY),
    ],
)
def test_importing_loads_no_heavy_library(module: str, heavy: set[str]) -> None:
    code = f"import {module}, sys; print(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_whatever_is_printed_passes_the_function_that_shows_hidden_characters() -> None:
    """But for lines that are rewritten in place, which hold nothing foreign."""
    found = {
        str(file.relative_to(SRC)): n
        for file in sorted(SRC.rglob("*.py"))
        if (n := sum(ast.unparse(node) in ("print", "click.echo") for node in names(file)))
    }
    assert found == {"cli/options.py": 2, "cli/study.py": 1, "format.py": 1, "logs/rows.py": 1}


def names(file: Path) -> list[ast.AST]:
    tree = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [node for node in tree if isinstance(node, ast.Name | ast.Attribute)]

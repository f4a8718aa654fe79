"""The size and the import structure of src, as `make size` prints them."""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "inspect_af"


def modules(src: Path) -> dict[str, ast.Module]:
    """Every module below `src` by its dotted name, parsed."""
    found = {}
    for file in sorted(src.rglob("*.py")):
        parts = file.relative_to(src).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def imported(tree: ast.AST, known: Mapping[str, object], *, lazy: bool = True) -> set[str]:
    """The modules of the package that a module imports.

    Args:
        tree: The importing module.
        known: Names of all modules of the package.
        lazy: Whether imports inside functions and under `TYPE_CHECKING` count.
    """
    found = set()
    for node in ast.walk(tree) if lazy else _at_import(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in known else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name in known}


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _at_import(child)


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another in a circle (strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(graph[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            at = stack.index(name)
            group = stack[at:]
            del stack[at:]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in index:
            visit(name)
    return found


def docstring_lines(tree: ast.Module) -> int:
    """Lines of the docstrings of a module, its classes and functions."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    firsts = [node.body[0] for node in ast.walk(tree) if isinstance(node, owners) and node.body]
    return sum(
        (first.end_lineno or first.lineno) - first.lineno + 1
        for first in firsts
        if isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    )


def without_docstring(found: Mapping[str, ast.Module]) -> list[str]:
    """Public modules, classes and functions (methods left out) that have no docstring."""
    missing = []
    for name, tree in found.items():
        if any(part.startswith("_") and part != "__main__" for part in name.split(".")):
            continue
        if tree.body and ast.get_docstring(tree) is None:
            missing.append(name)
        for node in tree.body:
            if (
                isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
                and not node.name.startswith("_")
                and ast.get_docstring(node) is None
            ):
                missing.append(f"{name}.{node.name}")
    return missing


def size(src: Path) -> dict[str, int]:
    """What `make size` prints."""
    found = modules(src)
    files = [file.read_text(encoding="utf-8") for file in src.rglob("*.py")]
    graph = {name: imported(tree, found) - {name} for name, tree in found.items()}
    importers = {name: sum(name in others for others in graph.values()) for name in found}
    at_import = {name: imported(tree, found, lazy=False) - {name} for name, tree in found.items()}
    return {
        "files": len(files),
        "lines": sum(len(text.splitlines()) for text in files),
        "statements": sum(isinstance(n, ast.stmt) for tree in found.values() for n in ast.walk(tree)),
        "docstring_lines": sum(docstring_lines(tree) for tree in found.values()),
        "circles": len(circles(graph)),
        "circles_at_import": len(circles(at_import)),
        "single_importers": sum(count == 1 for count in importers.values()),
        "public_without_docstring": len(without_docstring(found)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("src", nargs="?", type=Path, default=ROOT / "src")
    print(json.dumps(size(parser.parse_args().src), indent=2))

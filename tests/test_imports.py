"""flows -> tasks -> neurontune_core, never back; and no heavy import where an answer should be quick."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {
    "neurontune_core": {"prefect", "mlflow", "tasks", "flows"},
    "tasks": {"flows"},
    "flows": set(),
}


def imports(node: ast.AST, module_level: bool) -> Iterator[str]:
    """Yield the top-level packages imported in a file, or only those imported when it is loaded."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0:
            yield (child.module or "").split(".")[0]
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        elif not (module_level and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)):
            yield from imports(child, module_level)


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_import_direction(package: str) -> None:
    wrong = {
        str(file.relative_to(ROOT)): sorted(bad)
        for file in files(package)
        if (bad := FORBIDDEN[package] & set(imports(ast.parse(file.read_text()), module_level=False)))
    }
    assert not wrong


def test_flows_do_not_import_torch_at_module_level() -> None:
    wrong = [
        file.name
        for file in files("flows")
        if {"torch", "transformers"} & set(imports(ast.parse(file.read_text()), module_level=True))
    ]
    assert not wrong


def test_the_checks_would_notice() -> None:
    tree = ast.parse("import torch.nn\ndef f():\n    from flows.commands.cli import main\n")
    assert list(imports(tree, module_level=True)) == ["torch"]
    assert list(imports(tree, module_level=False)) == ["torch", "flows"]

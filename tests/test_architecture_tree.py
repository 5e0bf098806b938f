"""The tree in docs/architecture.md names every file of the code, and no file that is not there."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
CODE = ("flows", "tasks", "neurontune_core", "benchmarks")


def named() -> set[str]:
    """The Python files of the tree, by their paths; two blanks of indentation a folder."""
    tree = (ROOT / "docs" / "architecture.md").read_text().partition("## The tree")[2].split("```")[1]
    folders: list[str] = []
    files = set()
    for line in tree.strip().splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        folders[depth:] = [name.rstrip("/")]
        if name.endswith(".py"):
            files.add("/".join(folders))
    return files


def test_the_tree_is_that_of_the_code() -> None:
    there = {
        str(file.relative_to(ROOT))
        for folder in CODE
        for file in (ROOT / folder).rglob("*.py")
        if file.name != "__init__.py"
    }
    assert there == named()

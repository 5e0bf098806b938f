"""The fault table, the page that shows it and the tests that carry it out say the same."""

import ast
from pathlib import Path

import pytest
from fault_table import FAULTY, IN_PROCESS, KILLED, KILLS, SECTIONS, page_table

PROJECT = Path(__file__).parents[2]
ROWS = [row for rows in SECTIONS.values() for row in rows]


def test_there_are_enough_rows_and_none_is_there_twice() -> None:
    assert len(ROWS) >= 45
    assert len({row.what for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("proof", sorted({row.proof for row in ROWS}))
def test_every_row_is_carried_out_by_a_test_that_runs(proof: str) -> None:
    file, name = proof.split("::")
    tree = ast.parse((PROJECT / file).read_text(encoding="utf-8"))
    (found,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    marks = [ast.unparse(mark) for mark in found.decorator_list]
    assert not any("skip" in mark or "xfail" in mark for mark in marks)


def test_rows_with_a_point_are_those_that_are_carried_out_here() -> None:
    assert all(row.point and row.proof == FAULTY for row in IN_PROCESS)
    assert all(row.point and row.proof == KILLED for row in KILLS)
    assert not any(row.point for row in ROWS if row not in IN_PROCESS + KILLS)


def test_the_page_shows_the_table() -> None:
    page = (PROJECT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert page_table() in page, "write what fault_table.page_table() returns into docs/reliability.md"

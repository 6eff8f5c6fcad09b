"""The table of scenarios: every row is there, and is bound to tests that exist, or says why it is open."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "design" / "scenarios.md"
SUITE = ROOT / "src" / "perdure" / "testing" / "storage_suite"
LAST = {"A": 14, "B": 9, "C": 6, "D": 12, "E": 10, "F": 8, "G": 14, "H": 9, "I": 9, "J": 14, "K": 6}
ROWS = [f"{letter}{number}" for letter, last in LAST.items() for number in range(1, last + 1)]


def cells(page: str) -> dict[str, str]:
    """What stands in the last column, by row."""
    return dict(re.findall(r"^\| ([A-K]\d+) \| .* \| (.*) \|$", page, re.MULTILINE))


def faults(page: str) -> list[str]:
    """What is wrong with a table."""
    bound = cells(page)
    found = [f"{row} is missing" for row in ROWS if row not in bound]
    for row, cell in bound.items():
        tests = re.findall(r"`(\S+)::(\w+)`", cell)
        if not tests and not re.match(r"open: \w+", cell):
            found.append(f"{row} is neither bound to a test nor open with a reason")
        found += [f"{row}: there is no {path}::{name}" for path, name in tests if name not in names_in(path)]
    return found


@cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests in a file, those of classes too."""
    file = SUITE / path.removeprefix("suite/") if path.startswith("suite/") else ROOT / "tests" / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return frozenset(
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def test_every_row_is_bound_to_tests_that_exist_or_open_with_a_reason():
    assert faults(PAGE.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("row", "cell", "fault"),
    [
        ("A1", "`crashes/test_crash_points.py::test_that_was_renamed`", "A1: there is no"),
        ("B2", "`crashes/test_gone.py::test_every_fault_at_every_commit`", "B2: there is no"),
        ("C3", "later", "C3 is neither bound"),
        ("C3", "open:", "C3 is neither bound"),
    ],
)
def test_a_row_that_loses_its_test_or_its_reason_is_found(row, cell, fault):
    page = PAGE.read_text(encoding="utf-8")
    changed = page.replace(cells(page)[row], cell)
    assert any(each.startswith(fault) for each in faults(changed))


def test_a_row_that_is_dropped_is_found():
    page = PAGE.read_text(encoding="utf-8")
    assert faults(re.sub(r"^\| G7 .*\n", "", page, flags=re.MULTILINE)) == ["G7 is missing"]

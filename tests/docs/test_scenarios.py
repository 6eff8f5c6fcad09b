"""The table of scenarios: every row is there, and is bound to tests that exist, or says why it is open."""

import re

import pytest

from tests.docs.bound_rows import ROOT, cells, faults

PAGE = ROOT / "docs" / "design" / "scenarios.md"
LAST = {"A": 14, "B": 9, "C": 6, "D": 12, "E": 10, "F": 8, "G": 14, "H": 9, "I": 9, "J": 14, "K": 6}
ROWS = [f"{letter}{number}" for letter, last in LAST.items() for number in range(1, last + 1)]


def test_every_row_is_bound_to_tests_that_exist_or_open_with_a_reason():
    assert faults(PAGE.read_text(encoding="utf-8"), ROWS) == []


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
    assert any(each.startswith(fault) for each in faults(changed, ROWS))


def test_a_row_that_is_dropped_is_found():
    page = PAGE.read_text(encoding="utf-8")
    assert faults(re.sub(r"^\| G7 .*\n", "", page, flags=re.MULTILINE), ROWS) == ["G7 is missing"]

"""The table of Duroxide's behaviours: every one is there, and is bound to tests that exist, or says why it is open."""

import pytest

from tests.docs.bound_rows import ROOT, cells, faults

PAGE = ROOT / "docs" / "design" / "behaviours.md"
LAST = {
    "A": 31,
    "B": 45,
    "C": 23,
    "D": 15,
    "E": 15,
    "F": 16,
    "G": 6,
    "H": 7,
    "I": 12,
    "J": 10,
    "K": 5,
    "L": 13,
    "M": 7,
    "N": 4,
    "P": 27,
    "R": 27,
    "S": 9,
}
ROWS = [f"{letter}{number:02}" for letter, last in LAST.items() for number in range(1, last + 1)]


def test_every_behaviour_is_bound_to_tests_that_exist_or_open_with_a_reason():
    assert faults(PAGE.read_text(encoding="utf-8"), ROWS) == []


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ("`scenarios/test_samples.py::test_that_was_renamed`", "A05: there is no"),
        ("differs: it is another thing altogether", "A05 is neither bound"),
    ],
)
def test_one_that_loses_its_test_is_found_and_a_difference_needs_one_too(cell, fault):
    page = PAGE.read_text(encoding="utf-8")
    changed = page.replace(cells(page)["A05"], cell)
    assert [each.startswith(fault) for each in faults(changed, ROWS)] == [True]

"""Tables whose rows are bound to tests: what is wrong with one."""

import ast
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SUITE = ROOT / "src" / "perdure" / "testing" / "storage_suite"


def cells(page: str) -> dict[str, str]:
    """What stands in the last column, by row."""
    return dict(re.findall(r"^\| ([A-S]\d+) \| .* \| (.*) \|$", page, re.MULTILINE))


def faults(page: str, rows: Sequence[str]) -> list[str]:
    """What is wrong with a table that shall have these rows."""
    bound = cells(page)
    found = [f"{row} is missing" for row in rows if row not in bound]
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

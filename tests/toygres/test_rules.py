"""What examples may not do: they show what any user can."""

import ast
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TOYGRES = sorted((EXAMPLES / "toygres").rglob("*.py"))


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_no_example_needs_what_is_private_or_silences_a_type_checker(path):
    text = path.read_text(encoding="utf-8")
    imports = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = [
        name for node in imports for name in (getattr(node, "module", None), *(a.name for a in node.names)) if name
    ]

    assert not [name for name in modules if name.startswith("perdure._")]
    assert "type: " + "ignore" not in text


def test_toygres_waits_by_timers_and_processes_and_never_sleeps():
    calls = [
        (path.name, node.lineno)
        for path in TOYGRES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "sleep"
    ]

    assert calls == []

"""The house style that no linter checks, as a test: sizes, words, SQL, clocks, and a reason beside every exception.

An exception is made in one of the tables below, with its reason; one that nothing needs any more is a failure too.
"""

import ast
import gc
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

import perdure
import perdure.observability.prometheus
import perdure.testing

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("src", "tests", "examples", "benchmarks", "tools")

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

CLOCKS_AND_CHANCE = {"time", "random", "secrets", "uuid"}
UNSAFE_MODULES = {"dill", "marshal", "pickle", "shelve"}
UNSAFE_CALLS = {"eval", "exec"}
# Names from these modules that neither read a clock nor draw anything; a Random has to be given its seed.
HARMLESS_NAMES = {("uuid", "UUID"), ("random", "Random")}
READS_THE_CLOCK = {"now", "today", "utcnow"}
VAGUE_NAMES = {"common", "data", "helper", "helpers", "info", "manager", "misc", "util", "utils"}

# (file, module): why this file outside the ports may import a module that reads a clock or draws randomness.
CLOCK_IMPORTS_ALLOWED = {
    ("src/perdure/_ports.py", "time"): "the port itself",
    ("src/perdure/_ports.py", "random"): "the port itself",
}

# (file, function): why SQL is put together here; values are always bound, never part of the text.
BUILT_SQL_ALLOWED: dict[tuple[str, str], str] = {}

# (file, function): why this test code really blocks its thread.
BLOCKING_SLEEPS_ALLOWED: dict[tuple[str, str], str] = {}

_MARKER = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" + "XX")))
_BANNER = re.compile(r"#[\W_]{3,}$|#\s*([-=#*~_+])\1{2,}", re.MULTILINE)
_IGNORE = re.compile(r"(?P<what>type|pyright):\s*ignore(?P<codes>\[[\w\s,-]+\])?(?P<rest>.*)")
_NOQA = re.compile(r"(?P<what>noqa):?(?P<codes>\s*[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*)?(?P<rest>.*)")
_NO_COVER = re.compile(r"pragma:\s*no\s+(?:cover|branch)(?P<rest>.*)")
_REASON = re.compile(r"[\s#:,(-]*\w+.*")

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file of the repository."""

    path: Path

    def __str__(self) -> str:
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self))

    @cached_property
    def comments(self) -> list[tuple[int, str]]:
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [(token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT]

    def comments_with(self, pattern: re.Pattern[str]) -> list[tuple[int, str, re.Match[str]]]:
        """Each place in a comment where a pattern is found; a file that has it nowhere is not taken to pieces."""
        if not pattern.search(self.text):
            return []
        return [(line, comment, match) for line, comment in self.comments for match in pattern.finditer(comment)]

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> list[Function]:
        return [node for node in self.nodes if isinstance(node, Function)]

    @cached_property
    def calls(self) -> list[tuple[ast.Call, str, str]]:
        """Every call with the name it goes to and what stands before its dot."""
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        methods = [(node, node.func) for node in calls if isinstance(node.func, ast.Attribute)]
        functions = [(node, node.func) for node in calls if isinstance(node.func, ast.Name)]
        return [
            *((node, called.attr, ast.unparse(called.value)) for node, called in methods),
            *((node, called.id, "") for node, called in functions),
        ]

    def forget(self) -> None:
        """Let go of all that was read."""
        for name in set(vars(self)) - {"path"}:
            del vars(self)[name]

    def owner_of(self, line: int) -> str:
        """The innermost function around a line, or an empty string at the module's level."""
        around = [f for f in self.functions if f.lineno <= line <= (f.end_lineno or f.lineno)]
        return max(around, key=lambda f: f.lineno).name if around else ""


ALL = [Source(path) for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
SHIPPED = [source for source in ALL if source.path.is_relative_to(ROOT / "src")]
TESTS = [source for source in ALL if source.path.is_relative_to(ROOT / "tests")]


@pytest.fixture(autouse=True, scope="module")
def _trees() -> Iterator[None]:
    """The syntax trees are a million objects: kept for these tests only, and not searched for garbage meanwhile."""
    gc.disable()
    yield
    for source in ALL:
        source.forget()
    gc.enable()


def _says(found: list[str]) -> str:
    return "\n  ".join(["", *found])


def _lines_without_docstring(function: Function) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def _imports(source: Source) -> Iterator[tuple[int, str, str]]:
    """The line, the top-level module and the name, empty for a whole module, of every import that happens."""
    only_checked = {
        id(node)
        for branch in source.nodes
        if isinstance(branch, ast.If) and ast.unparse(branch.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}
        for node in ast.walk(branch)
    }
    for node in source.nodes:
        if id(node) in only_checked:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0], "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, node.module.split(".")[0], alias.name) for alias in node.names)


def _is_built_text(node: ast.expr) -> bool:
    match node:
        case ast.JoinedStr() | ast.BinOp():
            return True
        case ast.Call(func=ast.Attribute(attr="format" | "join")):
            return True
        case _:
            return False


def test_no_module_is_over_500_lines() -> None:
    found = [f"{s}: {n} lines" for s in ALL if (n := len(s.text.splitlines())) > MODULE_LINES_MAX]
    assert not found, _says(found)


def test_no_function_is_over_60_lines_without_its_docstring() -> None:
    found = [
        f"{source}:{function.lineno} {function.name}: {lines} lines"
        for source in ALL
        for function in source.functions
        if (lines := _lines_without_docstring(function)) > FUNCTION_LINES_MAX
    ]
    assert not found, _says(found)


def test_every_module_says_what_it_is() -> None:
    found = [str(s) for s in ALL if s.text.strip() and not ast.get_docstring(s.tree)]
    assert not found, _says(found)


def test_no_file_has_a_name_that_could_mean_anything() -> None:
    found = [str(s) for s in ALL if s.path.stem.strip("_") in VAGUE_NAMES]
    assert not found, _says(found)


def test_no_marker_of_unfinished_work_is_left() -> None:
    pages = [Source(path) for path in [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("*.md"))]]
    queries = [Source(path) for path in sorted((ROOT / "src").rglob("*.sql"))]
    found = [
        f"{source}:{number}: {line.strip()}"
        for source in [*ALL, *pages, *queries]
        for number, line in enumerate(source.text.splitlines(), 1)
        if _MARKER.search(line)
    ]
    assert not found, _says(found)


def test_no_comment_is_a_banner() -> None:
    found = [f"{s}:{line}: {comment}" for s in ALL for line, comment, _ in s.comments_with(_BANNER)]
    assert not found, _says(found)


def test_every_silenced_check_names_its_code_and_its_reason() -> None:
    found = [
        f"{source}:{line}: {comment}"
        for source in ALL
        for pattern in (_IGNORE, _NOQA)
        for line, comment, silenced in source.comments_with(pattern)
        if not silenced["codes"] or not _REASON.fullmatch(silenced["rest"])
    ]
    assert not found, _says(found)


def test_every_line_left_out_of_coverage_has_a_reason() -> None:
    found = [
        f"{source}:{line}: {comment}"
        for source in ALL
        for line, comment, left_out in source.comments_with(_NO_COVER)
        if not _REASON.fullmatch(left_out["rest"])
    ]
    assert not found, _says(found)


def test_sql_is_written_not_put_together() -> None:
    found: list[str] = []
    allowed = set(BUILT_SQL_ALLOWED)
    for source in ALL:
        for call, name, _ in source.calls:
            if name not in {"execute", "executemany", "executescript"} or not call.args:
                continue
            if not _is_built_text(call.args[0]):
                continue
            place = (str(source), source.owner_of(call.lineno))
            if place in BUILT_SQL_ALLOWED:
                allowed.discard(place)
            else:
                found.append(f"{source}:{call.lineno}: bind the values; statements belong in queries.sql")
    assert not found, _says(found)
    assert not allowed, f"no longer needed: {sorted(allowed)}"


def test_nothing_that_runs_foreign_bytes_is_shipped() -> None:
    imports = [f"{s}:{line}: {name}" for s in SHIPPED for line, name, _ in _imports(s) if name in UNSAFE_MODULES]
    calls = [
        f"{s}:{call.lineno}: {name}()"
        for s in SHIPPED
        for call, name, before in s.calls
        if name in UNSAFE_CALLS and not before
    ]
    assert not imports + calls, _says(imports + calls)


def test_only_the_ports_read_clocks_and_draw_randomness() -> None:
    places = {
        (str(s), module)
        for s in SHIPPED
        for _, module, name in _imports(s)
        if module in CLOCKS_AND_CHANCE and (module, name) not in HARMLESS_NAMES
    }
    found = [f"{path}: import {name}" for path, name in sorted(places - set(CLOCK_IMPORTS_ALLOWED))]
    found += [
        f"{s}:{call.lineno}: {before or 'a bare'} {name}()"
        for s in SHIPPED
        for call, name, before in s.calls
        if (name in READS_THE_CLOCK and before.split(".")[-1] in {"date", "datetime"})
        or (name == "Random" and not call.args)
    ]
    assert not found, _says(found)
    stale = set(CLOCK_IMPORTS_ALLOWED) - places
    assert not stale, f"no longer needed: {sorted(stale)}"


def test_no_test_blocks_its_thread_to_make_time_pass() -> None:
    found: list[str] = []
    allowed = set(BLOCKING_SLEEPS_ALLOWED)
    for source in TESTS:
        for call, name, before in source.calls:
            if (before, name) != ("time", "sleep"):
                continue
            place = (str(source), source.owner_of(call.lineno))
            if place in BLOCKING_SLEEPS_ALLOWED:
                allowed.discard(place)
            else:
                found.append(f"{source}:{call.lineno}: wait for an event, or move the injected clock")
    found += [
        f"{source}:{node.lineno}: import time, so that a sleep is seen"
        for source in TESTS
        for node in source.nodes
        if isinstance(node, ast.ImportFrom) and node.module == "time" and any(a.name == "sleep" for a in node.names)
    ]
    assert not found, _says(found)
    assert not allowed, f"no longer needed: {sorted(allowed)}"


def _sleeps_of_its_own(test: Function) -> Iterator[int]:
    """Lines where the body of a test, not an orchestration written in it, awaits asyncio.sleep for longer than 0."""
    waiting: list[ast.AST] = list(test.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, Function | ast.Lambda | ast.ClassDef):
            continue
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        if called == "asyncio.sleep" and ast.unparse(node) != "asyncio.sleep(0)":
            yield node.lineno
        waiting.extend(ast.iter_child_nodes(node))


def test_no_test_sleeps_on_the_real_loop() -> None:
    found = [
        f"{source}:{line}: {function.name} sleeps; wait for an event instead"
        for source in TESTS
        for function in source.functions
        if function.name.startswith("test_")
        for line in _sleeps_of_its_own(function)
    ]
    assert not found, _says(found)


def test_the_api_page_documents_every_public_name_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    public = set(perdure.__all__) | {f"testing.{name}" for name in perdure.testing.__all__}
    public |= {f"observability.prometheus.{name}" for name in perdure.observability.prometheus.__all__}
    documented = re.findall(r"^### `([\w.]+)`$", page, re.MULTILINE)
    assert sorted(documented) == sorted(public)

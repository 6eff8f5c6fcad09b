"""The reference is complete: every limit with its value, every error in its group, every method of what users hold."""

import ast
import re
from pathlib import Path

import pytest

import perdure
from perdure.testing import Environment
from tests.docs.pages import ROOT, Page

REFERENCE = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "perdure"
LIMIT = re.compile(r"^\| `(?P<name>[A-Z_]+)` \| (?P<value>[\d,]+) \|", re.MULTILINE)
SECTION = re.compile(r"^### `(?P<name>[\w.]+)`\n(?P<text>.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)

# What bounds the work of our own code and changes nothing that a user could notice.
INTERNAL = {
    "CLOSES_MAX": "how often an execution that is dropped is closed",
    "NEAR_NAMES_MAX": "similar names in a reason",
    "FRAMES_SHOWN_MAX": "frames of a stack in a warning",
    "ITEMS_MAX": "items of a batch that SQLite takes one by one",
    "ROWS_MAX": "rows of a kind in a turn that SQLite takes by itself",
    "SAMPLES_MAX": "looks at a turn that is interrupted, for a line of the user's",
}
RUNTIME_LIMITS = ["max_deliveries", "max_activities", "activity_threads", "max_cached_instances", "turn_limit", "grace"]
HELD_BY_USERS = [
    perdure.ActivityContext,
    perdure.Client,
    perdure.ActivityQueue,
    perdure.Deletion,
    perdure.ExecutionStatus,
    perdure.HeldActivity,
    perdure.InstanceCount,
    perdure.InstanceStatus,
    perdure.InstanceTree,
    perdure.QueueDepths,
    perdure.OrchestrationContext,
    perdure.OrchestrationHandle,
    perdure.Retention,
    perdure.Runtime,
    perdure.SyncClient,
    Environment,
]


def _constants() -> dict[str, set[float]]:
    """The values of all named numbers, but for those of the helpers for tests."""
    found: dict[str, set[float]] = {}
    for path in SOURCE.rglob("*.py"):
        if path.is_relative_to(SOURCE / "testing"):
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and target.id.isupper() and (value := _number(node, found)) is not None:
                found.setdefault(target.id, set()).add(value)
    return found


def _number(node: ast.stmt, known: dict[str, set[float]]) -> float | None:
    value = getattr(node, "value", None)
    match value:
        case ast.Name(id=name) if name in known:
            return max(known[name])
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.BinOp(op=ast.Mult()) if not any(isinstance(each, ast.Name) for each in ast.walk(value)):
            return float(eval(ast.unparse(value), {}))  # noqa: S307 - a product of numbers in our own source
        case _:
            return None


def _sections() -> dict[str, str]:
    text = Page(REFERENCE / "api.md").text
    return {match["name"]: match["text"] for match in SECTION.finditer(text)}


def test_every_limit_is_listed_with_its_value():
    listed = {match["name"]: int(match["value"].replace(",", "")) for match in LIMIT.finditer(_limits())}
    constants = _constants()

    assert {name: constants.get(name) for name in listed} == {name: {value} for name, value in listed.items()}
    bounds = {name for name in constants if name.endswith("_MAX") and not name.startswith("_")}
    assert bounds - set(listed) == set(INTERNAL)


def _limits() -> str:
    return (REFERENCE / "limits.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", RUNTIME_LIMITS)
def test_every_setting_of_the_runtime_is_listed_with_its_default(option):
    default = perdure.Runtime.__init__.__kwdefaults__[option]

    assert f"| `{option}` | {default:,.0f} |" in _limits()


def test_every_error_is_in_one_group():
    errors = {
        name for name in perdure.__all__
        if isinstance(each := getattr(perdure, name), type) and issubclass(each, perdure.PerdureError)
    } - {"PerdureError"}  # fmt: skip

    listed = re.findall(r"^\| `(\w+)` \|", Page(REFERENCE / "errors.md").text, re.MULTILINE)

    assert sorted(listed) == sorted(errors)


@pytest.mark.parametrize("cls", HELD_BY_USERS, ids=lambda cls: cls.__name__)
def test_every_method_of_what_users_hold_is_described(cls):
    sections = _sections()
    section = sections.get(cls.__name__) or sections[f"testing.{cls.__name__}"]

    members = {member for each in cls.__mro__ if each.__module__.startswith("perdure") for member in vars(each)}
    public = {member for member in members if not member.startswith("_")} | set(_fields(cls))

    missing = {member for member in public if not re.search(rf"\b{member}\b", section)}
    assert not missing


def _fields(cls: type) -> tuple[str, ...]:
    return tuple(getattr(cls, "__dataclass_fields__", ()))


def test_every_table_of_the_store_is_described():
    first = (SOURCE / "storage" / "sqlite" / "migrations" / "0001_first.sql").read_text(encoding="utf-8")
    tables = re.findall(r"^CREATE TABLE (\w+)", first, re.MULTILINE)

    page = Page(REFERENCE / "sqlite.md").text

    assert tables
    assert [table for table in tables if f"`{table}`" not in page] == []


def test_the_package_is_described_by_a_file_that_exists():
    assert Path(ROOT / "README.md").is_file()
    assert 'readme = "README.md"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")

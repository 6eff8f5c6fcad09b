"""No statement of the hot path walks through a table, and every statement is one that somebody uses."""

import re
from pathlib import Path

import apsw
import pytest

import perdure.storage.sqlite
from perdure.storage.sqlite.migrations import MIGRATIONS
from perdure.storage.sqlite.statements import STATEMENTS, parse_statements

TABLES = {
    "instances",
    "history",
    "messages",
    "timers",
    "tasks",
    "dedup_keys",
    "entries",
    "workers",
    "abilities",
    "starts",
    "sessions",
    "outbox",
    "received",
    "attributes",
}

# (statement, what it walks through): why it may.
SCANS_ALLOWED = {
    ("workers", "workers"): "all workers are wanted",
    ("worker_leases", "workers"): "all workers are wanted",
    ("unknown_waiting", "w"): "there are a handful of workers",
    ("unknown_tasks", "w"): "there are a handful of workers",
    ("known_names", "abilities"): "only when something is held, and it then tells what there is",
    ("are_there_sessions", "sessions"): "it stops at the first",
    ("idle_sessions", "s"): "there are no more than workers want",
    ("tasks_in_line", "t"): "a line is walked from its front, as far as the limit",
    ("disown_tasks", "tasks"): "only when a worker leaves, and an index would cost every task two writes",
    ("depths", "messages"): "all that waits is counted, for whoever asks; no worker does",
    ("depths", "timers"): "the same",
    ("depths", "outbox"): "the same",
    ("task_depths", "tasks"): "the same",
    ("held_tasks", "t"): "its index has only what is held",
    ("parcels", "outbox"): "what is not delivered yet, from the first, as far as the limit",
}
QUERY_PLAN = 2
PLANLESS = re.compile(r"(BEGIN|COMMIT|ROLLBACK|PRAGMA)\b")
WALKED = re.compile(r"SCAN (\w+)(?: USING .*)?$")


@pytest.fixture(scope="module")
def connection():
    connection = apsw.Connection("")
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    for version in sorted(MIGRATIONS):
        connection.execute(MIGRATIONS[version])
    return connection


def plan_of(connection, statement):
    parameters = max((int(number) for number in re.findall(r"\?(\d+)", statement)), default=0)
    return [row[3] for row in connection.execute(statement, (None,) * parameters, explain=QUERY_PLAN)]


def tables_walked(connection, statement):
    """The tables, by the names that the statement gives them, of which the plan reads every row."""
    named = re.findall(r"\b(?:FROM|JOIN|UPDATE) (\w+)(?: AS (\w+))?", statement)
    tables = {alias or table for table, alias in named if table in TABLES}
    steps = [WALKED.match(step) for step in plan_of(connection, statement)]
    return {step[1] for step in steps if step} & tables


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_a_statement_walks_through_no_table_but_where_that_is_meant(connection, name):
    statement = STATEMENTS[name]
    if PLANLESS.match(statement):
        return
    allowed = {table for statement, table in SCANS_ALLOWED if statement == name}
    assert tables_walked(connection, statement) == allowed, plan_of(connection, statement)


@pytest.mark.parametrize(
    "name",
    [
        "tasks_in_line",
        "tasks_in_lane",
        "places_in_lane",
        "due_by_message",
        "due_by_timer",
        "find_instances",
        "find_by_status",
        "find_by_name",
        "find_strays",
        "find_by_attributes",
        "find_children",
    ],
)
def test_a_page_of_a_long_line_comes_from_an_index_in_order(connection, name):
    assert not [step for step in plan_of(connection, STATEMENTS[name]) if "TEMP B-TREE" in step]


def test_every_statement_is_used():
    folder = Path(perdure.storage.sqlite.__file__).parent
    code = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    assert [name for name in STATEMENTS if f'"{name}"' not in code] == []


def test_a_name_given_twice_is_refused():
    with pytest.raises(ValueError, match="two statements are called 'a'"):
        parse_statements("-- name: a\n-- One.\nSELECT 1;\n-- name: a\n-- Two.\nSELECT 2;\n")


def test_a_statement_without_a_purpose_is_refused():
    with pytest.raises(ValueError, match="'a' has no line of purpose"):
        parse_statements("-- name: a\nSELECT 1;\n")

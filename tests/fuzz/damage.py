"""What may happen to a stored value: a flipped bit, a missing end, other bytes, another number."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
from hypothesis import strategies as st

# Of each table the rows of the set that is to be damaged: two keys, and the columns that are.
READ = {
    "history": "SELECT rowid AS a, 0 AS b, data, crc, first_event, last_event, execution, format, encoding "
    "FROM history WHERE incarnation IN (SELECT incarnation FROM instances WHERE id GLOB 'sick*')",
    "messages": "SELECT seq AS a, 0 AS b, body, due_at FROM messages "
    "WHERE incarnation IN (SELECT incarnation FROM instances WHERE id GLOB 'sick*')",
    "tasks": "SELECT incarnation AS a, event AS b, input, retry, last_error, name FROM tasks "
    "WHERE incarnation IN (SELECT incarnation FROM instances WHERE id GLOB 'sick*')",
    "instances": "SELECT incarnation AS a, 0 AS b, output, error, custom_status, attributes, version, name "
    "FROM instances WHERE id GLOB 'sick*'",
}
WRITE = {
    ("history", "data"): "UPDATE history SET data = :new WHERE rowid = :a",
    ("history", "crc"): "UPDATE history SET crc = :new WHERE rowid = :a",
    ("history", "first_event"): "UPDATE history SET first_event = :new WHERE rowid = :a",
    ("history", "last_event"): "UPDATE OR IGNORE history SET last_event = :new WHERE rowid = :a",
    ("history", "execution"): "UPDATE OR IGNORE history SET execution = :new WHERE rowid = :a",
    ("history", "format"): "UPDATE history SET format = :new WHERE rowid = :a",
    ("history", "encoding"): "UPDATE history SET encoding = :new WHERE rowid = :a",
    ("messages", "body"): "UPDATE messages SET body = :new WHERE seq = :a",
    ("messages", "due_at"): "UPDATE messages SET due_at = :new WHERE seq = :a",
    ("tasks", "input"): "UPDATE tasks SET input = :new WHERE incarnation = :a AND event = :b",
    ("tasks", "retry"): "UPDATE tasks SET retry = :new WHERE incarnation = :a AND event = :b",
    ("tasks", "last_error"): "UPDATE tasks SET last_error = :new WHERE incarnation = :a AND event = :b",
    ("tasks", "name"): "UPDATE tasks SET name = :new WHERE incarnation = :a AND event = :b",
    ("instances", "output"): "UPDATE instances SET output = :new WHERE incarnation = :a",
    ("instances", "error"): "UPDATE instances SET error = :new WHERE incarnation = :a",
    ("instances", "custom_status"): "UPDATE instances SET custom_status = :new WHERE incarnation = :a",
    ("instances", "attributes"): "UPDATE instances SET attributes = :new WHERE incarnation = :a",
    ("instances", "version"): "UPDATE instances SET version = :new WHERE incarnation = :a",
    ("instances", "name"): "UPDATE instances SET name = :new WHERE incarnation = :a",
}

Choose = Callable[[int], int]
"""A number below another."""


def damage(path: Path, choose: Choose) -> tuple[str, str, Any, Any]:
    """Damage one value of a store; returns the table, the column, and the value before and after."""
    connection = apsw.Connection(str(path))
    try:
        table, column = sorted(WRITE)[choose(len(WRITE))]
        cursor = connection.cursor()
        cursor.row_trace = lambda cursor, row: dict(zip((each[0] for each in cursor.description), row, strict=True))
        rows = [row for row in cursor.execute(READ[table]) if row[column] is not None]
        row = rows[choose(len(rows))]
        new = _changed(row[column], choose)
        connection.execute(WRITE[table, column], {"new": new, "a": row["a"], "b": row["b"]})
        return table, column, row[column], new
    finally:
        connection.close()


def _changed(value: Any, choose: Choose) -> Any:
    if isinstance(value, bytes):
        return changed_bytes(value, choose)
    if isinstance(value, int):
        return (0, 1, -1, value + 1, value - 1, 2**63 - 1, -(2**63))[choose(7)]
    return ("", "nonsense", "\0", value[:-1], value + "x")[choose(5)]


def changed_bytes(value: bytes, choose: Choose) -> bytes:
    """Other bytes: a flipped bit, a piece missing or repeated, junk."""
    at = choose(len(value))
    size = 1 + choose(20)
    match choose(6):
        case 0 | 1:
            return value[:at] + bytes([value[at] ^ (1 << choose(8))]) + value[at + 1 :]
        case 2:
            return value[:at]
        case 3:
            return value[:at] + value[at + size :]
        case 4:
            return value[: at + size] + value[at:]
        case _:
            return value[:at] + bytes(choose(256) for _ in range(size)) + value[at + size :]


@st.composite
def chooser(draw: st.DrawFn) -> Choose:
    """Choices that Hypothesis makes, and makes smaller."""
    return lambda below: draw(st.integers(0, below - 1))

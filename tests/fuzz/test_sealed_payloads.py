"""A byte that was changed in any stored payload is found, told with its place, and harms its own instance alone."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tests.folders import in_memory
from tests.fuzz.damage import READ, WRITE
from tests.fuzz.stored import Filled, go_on

SEALED = (
    ("messages", "body", "held"),
    ("tasks", "input", "failed"),
    ("tasks", "retry", "failed"),
    ("instances", "output", "HistoryCorruptError"),
    ("instances", "error", "HistoryCorruptError"),
    ("instances", "custom_status", "HistoryCorruptError"),
)


@pytest.fixture(scope="module")
def filled() -> Iterator[Filled]:
    with in_memory() as folder:
        yield Filled(Path(folder))


def flip(path: Path, table: str, column: str) -> None:
    """Change one bit of a payload, in a letter or digit of it, so that it can still be read."""
    connection = apsw.Connection(str(path))
    cursor = connection.cursor()
    cursor.row_trace = lambda cursor, row: dict(zip((each[0] for each in cursor.description), row, strict=True))
    row = next(row for row in cursor.execute(READ[table]) if row[column] is not None)
    stored = bytearray(row[column])
    place = max(place for place, byte in enumerate(stored[:-4]) if chr(byte).isalnum())
    stored[place] ^= 1
    connection.execute(WRITE[table, column], {"new": bytes(stored), "a": row["a"], "b": row["b"]})
    connection.close()


def reasons(path: Path) -> str:
    """Why instances are held."""
    connection = apsw.Connection(str(path))
    found = " ".join(reason for (reason,) in connection.execute("SELECT held_because FROM instances") if reason)
    connection.close()
    return found


@pytest.mark.parametrize(("table", "column", "becomes"), SEALED)
def test_it_is_found_and_harms_no_other(filled: Filled, table: str, column: str, becomes: str):
    with in_memory() as folder:
        copy = filled.copy(Path(folder))
        flip(copy, table, column)
        sick, well = asyncio.run(asyncio.wait_for(go_on(copy, filled.now_us), 60))
        held = reasons(copy)
    assert well == filled.sound
    harmed = {name: told for name, told in sick.items() if told != filled.sound[name]}
    assert becomes in {status for status, _ in harmed.values()}
    assert "the checksum of" in held + "".join(told for _, told in harmed.values())

"""What one durable commit costs on this disk: the unit in which W1 is measured."""

import time
from pathlib import Path

import apsw

_WARM_UP = 50


def commit_seconds(folder: Path, count: int) -> list[float]:
    """Commit `count` single-row transactions to a new file (WAL, synchronous=FULL); the time each took, in seconds."""
    path = folder / f"commits-{time.monotonic_ns()}.db"
    connection = apsw.Connection(str(path))
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, body BLOB)")
        took = []
        for number in range(_WARM_UP + count):
            began = time.perf_counter()
            connection.execute("INSERT INTO rows VALUES (?, ?)", (number, b"x" * 100))
            took.append(time.perf_counter() - began)
        return took[_WARM_UP:]
    finally:
        connection.close()

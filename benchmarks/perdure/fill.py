"""Multiplies the rows of two instances of a store: "finished" and "parked"."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

_TABLES = ("instances", "history", "timers")
_CHANGED = {
    "incarnation": "t.incarnation - {by}",
    "id": "t.id || '-' || {by}",
    "root": "t.root || '-' || {by}",
    "fire_at": "t.fire_at + {by}",
}

_SAMPLE = "WHERE t.incarnation = (SELECT i.incarnation FROM instances AS i WHERE i.id = %s)"

_SERIES = (
    "(WITH RECURSIVE s (number) AS (VALUES ({first}) UNION ALL SELECT number + 1 FROM s WHERE number < {last}) "
    "SELECT number FROM s) AS g"
)

_Copies: TypeAlias = Mapping[str, tuple[int, int]]
"""By the id of the instance: the first and the last number of its copies."""


def multiply(url: str, *, finished: int, parked: int) -> None:
    """Add so many copies of each, as if they had been there before."""
    copies = {"parked": (1, parked), "finished": (parked + 1, parked + finished)}
    if url.startswith("postgresql:"):
        _on_postgres(url, copies)
    else:
        _on_sqlite(url, copies)


def _on_postgres(url: str, copies: _Copies) -> None:
    import psycopg  # noqa: PLC0415 - only where the store is PostgreSQL

    where, _, schema = url.partition("?schema=")
    with psycopg.connect(where, autocommit=True) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [schema])
        for table in _TABLES:
            listed = connection.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s",
                [schema, table],
            )
            columns = [row[0] for row in listed]
            for name, (first, last) in copies.items():
                numbers = f"generate_series({first}, {last}) AS g (number)"
                connection.execute(_copy(table, columns, numbers).encode(), [name])
        # As the server does by itself, but not while something is measured.
        connection.execute("VACUUM (ANALYZE)")


def _on_sqlite(url: str, copies: _Copies) -> None:
    import apsw  # noqa: PLC0415 - only where the store is SQLite

    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    try:
        for table in _TABLES:
            columns = [row[1] for row in connection.execute("SELECT * FROM pragma_table_info(?)", [table])]
            for name, (first, last) in copies.items():
                numbers = _SERIES.format(first=first, last=last)
                connection.execute(_copy(table, columns, numbers).replace("%s", "?"), [name])
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


def _copy(table: str, columns: Iterable[str], numbers: str) -> str:
    names = list(columns)
    values = ", ".join(_CHANGED.get(name, f"t.{name}").format(by="g.number") for name in names)
    into = f"{table} ({', '.join(names)})"
    # The names are those of our own schema.
    return f"INSERT INTO {into} SELECT {values} FROM {table} AS t CROSS JOIN {numbers} {_SAMPLE}"  # noqa: S608 - see above

"""Bringing a file to the schema of this release.

Laws kept here: the first process does it and the others wait; a file that holds data is changed only by a process that
is alone on it, after a backup beside it; a newer schema is refused in words.
"""

import os
from collections.abc import Mapping

import apsw

from perdure.errors import SchemaVersionError, StorageError
from perdure.storage.sqlite.connection import Connection
from perdure.storage.sqlite.files import APPLICATION_ID, patiently
from perdure.storage.sqlite.statements import STATEMENTS, read_script


def read_migrations(folder: str | os.PathLike[str]) -> dict[int, str]:
    """The scripts of a folder ("0001_first.sql") by the schema version that each leads to."""
    names = sorted(name for name in os.listdir(folder) if name[0].isdigit() and name.endswith(".sql"))
    return {int(name[:4]): read_script(name, os.fspath(folder)) for name in names}


MIGRATIONS = read_migrations(os.path.join(os.path.dirname(__file__), "migrations"))
"""All that lead to the schema of this release."""


def migrate(connection: Connection, *, busy_timeout_s: float, migrations: Mapping[int, str] = MIGRATIONS) -> None:
    """Bring the file to the newest schema.

    Raises:
        SchemaVersionError: The file is of a newer release.
        StorageBusyError: Other processes kept the file open for longer than the busy limit.
    """
    newest = max(migrations)
    with connection.alone():
        present = _schema(connection)
    if present == newest:
        return
    if present > newest:
        raise SchemaVersionError(
            f"{connection.path} has schema {present}, and this release of Perdure reads up to {newest}: upgrade "
            "Perdure; the file was left as it is"
        )
    if present == 0:
        _apply(connection, migrations)
    else:
        _upgrade(connection, present, migrations, busy_timeout_s)


def _schema(connection: Connection) -> int:
    return int(connection.raw.pragma("user_version"))


def _apply(connection: Connection, migrations: Mapping[int, str]) -> None:
    """What is still missing once we have the lock, in one transaction."""
    with connection.writing(schema=True):
        present = _schema(connection)
        for version in sorted(migrations):
            if version > present:
                connection.raw.execute(migrations[version])
        connection.raw.pragma("application_id", APPLICATION_ID)
        connection.raw.pragma("user_version", max(migrations))


def _upgrade(connection: Connection, present: int, migrations: Mapping[int, str], busy_timeout_s: float) -> None:
    raw = connection.raw

    def get_alone() -> None:
        with connection.alone():
            raw.pragma("locking_mode", "exclusive")
            raw.execute(STATEMENTS["begin_alone"])
            raw.execute(STATEMENTS["commit"])

    patiently(get_alone, connection.path, busy_timeout_s)
    with connection.alone():
        if _schema(connection) == present:
            _back_up(raw, f"{connection.path}.schema-{present}.backup")
    _apply(connection, migrations)
    with connection.alone():
        raw.pragma("locking_mode", "normal")
        # The lock goes with the next access.
        _schema(connection)


def _back_up(raw: apsw.Connection, path: str) -> None:
    """A whole copy beside the file; one that was broken off keeps the name of a partial one."""
    partial = f"{path}.partial"
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise StorageError(
            f"the backup {partial} that comes before an upgrade of the schema can't be made ({exc.strerror}): "
            "give the right to write that folder"
        ) from exc
    copy = apsw.Connection(partial, flags=apsw.SQLITE_OPEN_READWRITE)
    try:
        with copy.backup("main", raw, "main") as backup:
            backup.step(-1)
    finally:
        copy.close()
    os.replace(partial, path)

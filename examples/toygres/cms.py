"""The CMS: what Toygres itself knows of its servers and images, in an SQLite database of its own.

Perdure does not know it, and shares no transaction with it: a worker can die between the two. So every change here says
how it shall be, not what to add, and may be made again.

It is opened with apsw, as Perdure's own store is: the SQLite of many systems can lose a commit when two processes
write.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from examples.toygres.activity_types import (
    Endpoint,
    HealthCheck,
    ImageRecord,
    ImageReservation,
    RecordState,
    ServerRecord,
    ServerReservation,
    ServerStarted,
)
from perdure import NonRetryableError

HEALTH_CHECKS_KEPT = 100
"""How many looks at one server are kept."""

_BUSY_MS = 10_000

_Rows = list[tuple[Any, ...]]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS servers (
    server_id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    creation_id TEXT NOT NULL,
    image_id TEXT,
    endpoint TEXT,
    postgres_version TEXT,
    actor_id TEXT,
    error TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS health_checks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    server_id TEXT NOT NULL REFERENCES servers ON DELETE CASCADE,
    key TEXT NOT NULL UNIQUE,
    health TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS health_checks_of_server ON health_checks (server_id, number);

CREATE TABLE IF NOT EXISTS images (
    image_id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    server_name TEXT NOT NULL,
    state TEXT NOT NULL,
    size_bytes INTEGER NOT NULL DEFAULT 0
) STRICT;
"""

_SERVERS = """
SELECT server_id, name, state, creation_id, image_id, endpoint, postgres_version, actor_id, error FROM servers
WHERE (?1 IS NULL OR server_id = ?1) AND (?2 IS NULL OR name = ?2) ORDER BY name
"""

_IMAGES = """
SELECT image_id, name, server_name, state, size_bytes FROM images
WHERE (?1 IS NULL OR image_id = ?1) AND (?2 IS NULL OR name = ?2) ORDER BY name
"""

_OLD_HEALTH_CHECKS = """
DELETE FROM health_checks WHERE server_id = ?1 AND number NOT IN
(SELECT number FROM health_checks WHERE server_id = ?1 ORDER BY number DESC LIMIT ?2)
"""


class NameTakenError(NonRetryableError):
    """Another server, or image, has this name."""


class UnknownRecordError(NonRetryableError):
    """There is no such server or image, or it is not in a state for this."""


class Cms:
    """The database, open in this process; its threads may share one `Cms`."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._connection = apsw.Connection(os.fspath(path))
        self._connection.set_busy_timeout(_BUSY_MS)
        # No write-ahead log: who turns it on while others open the database is told "busy" without waiting.
        self._connection.pragma("synchronous", "full")
        self._connection.pragma("foreign_keys", 1)
        with self._transaction() as connection:
            connection.execute(_SCHEMA)

    def close(self) -> None:
        """Close the database, once the last thread has done what it is at."""
        with self._lock:
            self._connection.close()

    def reserve_server(self, reservation: ServerReservation, creation_id: str) -> None:
        """Make the server's record, and so take its name.

        Raises:
            NameTakenError: Another server has the name.
        """
        with self._transaction() as connection:
            for (holder,) in connection.execute("SELECT server_id FROM servers WHERE name = ?", (reservation.name,)):
                if holder != reservation.server_id:
                    raise NameTakenError(f"there is a server named {reservation.name!r} already")
            connection.execute(
                "INSERT INTO servers (server_id, name, state, creation_id, image_id) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT (server_id) DO NOTHING",
                (
                    reservation.server_id, reservation.name, RecordState.CREATING.value, creation_id,
                    reservation.image_id,
                ),
            )  # fmt: skip

    def mark_running(self, server: ServerStarted) -> None:
        """Write down where a server runs that was being created."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE servers SET state = ?, endpoint = ?, postgres_version = ?, actor_id = ?"
                " WHERE server_id = ? AND state = ?",
                (
                    RecordState.RUNNING.value, msgspec.json.encode(server.endpoint).decode(), server.postgres_version,
                    server.actor_id, server.server_id, RecordState.CREATING.value,
                ),
            )  # fmt: skip

    def mark_failed(self, server_id: str, error: str) -> None:
        """Write down why a server could not be created."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE servers SET state = ?, error = ? WHERE server_id = ?",
                (RecordState.FAILED.value, error, server_id),
            )

    def mark_deleting(self, server_id: str) -> ServerRecord | None:
        """Write down that a server goes; returns its record, if there is one."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE servers SET state = ? WHERE server_id = ?", (RecordState.DELETING.value, server_id)
            )
        return self.get_server(server_id)

    def forget_server(self, server_id: str) -> None:
        """Remove a server's record with its health, and so free its name."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM servers WHERE server_id = ?", (server_id,))

    def get_server(self, server_id: str) -> ServerRecord | None:
        """A server's record."""
        return next(iter(self._read_servers(server_id, None)), None)

    def find_server(self, name: str) -> ServerRecord | None:
        """The record of the server that has a name."""
        return next(iter(self._read_servers(None, name)), None)

    def list_servers(self) -> list[ServerRecord]:
        """All servers, by name."""
        return self._read_servers(None, None)

    def record_health(self, server_id: str, key: str, health: HealthCheck) -> None:
        """Keep one look at a server, once for each key; no more than the newest are kept, and none of a server gone."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO health_checks (server_id, key, health) SELECT server_id, ?, ? FROM servers"
                " WHERE server_id = ? ON CONFLICT (key) DO NOTHING",
                (key, msgspec.json.encode(health).decode(), server_id),
            )
            connection.execute(_OLD_HEALTH_CHECKS, (server_id, HEALTH_CHECKS_KEPT))

    def list_health(self, server_id: str, limit: int = HEALTH_CHECKS_KEPT) -> list[HealthCheck]:
        """The latest looks at a server, the newest first."""
        with self._lock:
            rows: _Rows = self._connection.execute(
                "SELECT health FROM health_checks WHERE server_id = ? ORDER BY number DESC LIMIT ?", (server_id, limit)
            ).fetchall()
        return [msgspec.json.decode(health, type=HealthCheck) for (health,) in rows]

    def reserve_image(self, reservation: ImageReservation) -> None:
        """Make the image's record, and so take its name.

        Raises:
            UnknownRecordError: The server that it shall be of does not run.
            NameTakenError: Another image has the name.
        """
        server = self.get_server(reservation.server_id)
        if server is None or server.state is not RecordState.RUNNING:
            raise UnknownRecordError(f"server {reservation.server_id!r} does not run, so no image can be made of it")
        with self._transaction() as connection:
            for (holder,) in connection.execute("SELECT image_id FROM images WHERE name = ?", (reservation.name,)):
                if holder != reservation.image_id:
                    raise NameTakenError(f"there is an image named {reservation.name!r} already")
            connection.execute(
                "INSERT INTO images (image_id, name, server_name, state) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (image_id) DO NOTHING",
                (reservation.image_id, reservation.name, server.name, RecordState.CREATING.value),
            )

    def mark_image_ready(self, image_id: str, size_bytes: int) -> None:
        """Write down that an image can be restored."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE images SET state = ?, size_bytes = ? WHERE image_id = ?",
                (RecordState.READY.value, size_bytes, image_id),
            )

    def forget_image(self, image_id: str) -> None:
        """Remove an image's record, and so free its name."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM images WHERE image_id = ?", (image_id,))

    def find_image(self, name: str) -> ImageRecord | None:
        """The record of the image that has a name."""
        return next(iter(self._read_images(None, name)), None)

    def list_images(self) -> list[ImageRecord]:
        """All images, by name."""
        return self._read_images(None, None)

    def _read_servers(self, server_id: str | None, name: str | None) -> list[ServerRecord]:
        with self._lock:
            rows: _Rows = self._connection.execute(_SERVERS, (server_id, name)).fetchall()
        return [
            ServerRecord(
                row[0], row[1], RecordState(row[2]), row[3], row[4],
                None if row[5] is None else msgspec.json.decode(row[5], type=Endpoint), *row[6:],
            )
            for row in rows
        ]  # fmt: skip

    def _read_images(self, image_id: str | None, name: str | None) -> list[ImageRecord]:
        with self._lock:
            rows: _Rows = self._connection.execute(_IMAGES, (image_id, name)).fetchall()
        return [ImageRecord(row[0], row[1], row[2], RecordState(row[3]), row[4]) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

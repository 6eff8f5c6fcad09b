"""One connection to the database, its transactions, and what SQLite's errors mean.

Laws kept here: every write begins with BEGIN IMMEDIATE, so nothing that was read can change before it is written; a
call ends as applied, not applied (`StorageUnavailableError`) or unknown (`OutcomeUnknownError`), never in between.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import apsw

from perdure.errors import (
    DatabaseCorruptError,
    ForeignDatabaseError,
    OutcomeUnknownError,
    StorageBusyError,
    StorageError,
    StorageFullError,
    StorageUnavailableError,
)
from perdure.storage.sqlite.log import LogFile
from perdure.storage.sqlite.statements import STATEMENTS

_BEGIN = STATEMENTS["begin"]
_BEGIN_READ = STATEMENTS["begin_read"]
_COMMIT = STATEMENTS["commit"]
_ROLLBACK = STATEMENTS["rollback"]


def meaning(exc: apsw.Error, path: str) -> StorageError:
    """What an error of SQLite means to the caller, who knows that nothing was applied."""
    match exc:
        case apsw.BusyError() | apsw.LockedError():
            return StorageBusyError(
                f"{path} stayed locked by another process for longer than the busy limit: look for a program that "
                "keeps a transaction open on it, or raise busy_timeout"
            )
        case apsw.FullError():
            return StorageFullError(f"there is no space left for {path}: free some on its disk, work then goes on")
        case apsw.CorruptError() | apsw.FormatError():
            return DatabaseCorruptError(
                f"{path} is damaged ({exc}): stop, keep a copy of it and its -wal file, and restore a backup or export "
                "what is readable"
            )
        case apsw.NotADBError():
            return ForeignDatabaseError(f"{path} is no SQLite database: point the URL elsewhere; it was left as it is")
        case apsw.ReadOnlyError():
            return StorageError(f"{path} can't be written ({exc}): give this user the right to write it and its folder")
        case apsw.IOError() | apsw.CantOpenError() | apsw.NoMemError() | apsw.ProtocolError():
            return StorageUnavailableError(f"{path} can't be used now ({exc}): look at its disk and its rights")
        case _:
            return StorageError(f"{path} refused a statement ({type(exc).__name__}: {exc}); nothing was applied")


class _Writing:
    """`begin` and `end` around a block; a class, as a generator would cost a lone turn three microseconds more."""

    __slots__ = ("_connection", "_schema")

    def __init__(self, connection: "Connection", schema: bool) -> None:  # noqa: FBT001 - made in one place only
        self._connection = connection
        self._schema = schema

    def __enter__(self) -> None:
        self._connection.begin()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.end(exc, schema=self._schema)


class Connection:
    """A connection that one thread uses at a time; `execute` is what runs statements inside a transaction."""

    def __init__(self, raw: apsw.Connection, path: str, log: LogFile) -> None:
        self.raw = raw
        self.path = path
        self.execute = raw.cursor().execute
        self._log = log
        self._lock = threading.Lock()
        self._changes = 0
        identity = os.stat(path)
        self._identity = (identity.st_dev, identity.st_ino)

    @property
    def is_busy(self) -> bool:
        """Whether a thread uses it just now."""
        return self._lock.locked()

    @property
    def wrote(self) -> bool:
        """Whether the present transaction has changed a row."""
        return self.raw.totalchanges() != self._changes

    def discount(self) -> None:
        """What the present transaction has changed so far counts for nothing: alone it is not worth a commit."""
        self._changes = self.raw.totalchanges()

    def writing(self, *, schema: bool = False) -> "_Writing":
        """A transaction that holds the write lock; without a changed row it ends without touching the disk.

        `schema` says that it changes the schema, which counts as no row.
        """
        return _Writing(self, schema)

    def begin(self) -> None:
        """Take the write lock; `end` must follow.

        Raises:
            StorageUnavailableError: It could not be had.
        """
        self._lock.acquire()
        try:
            self._begin()
        except BaseException as exc:
            self._roll_back()
            self._lock.release()
            if isinstance(exc, apsw.Error):
                raise meaning(exc, self.path) from exc
            raise

    def end(self, exc: BaseException | None, *, schema: bool) -> None:
        """Commit, or roll back what failed or changed nothing, and release the lock."""
        try:
            if exc is None and (schema or self.wrote):
                self._commit()
                return
            self._roll_back()
            if isinstance(exc, apsw.Error):
                raise meaning(exc, self.path) from exc
        finally:
            self._lock.release()

    def _begin(self) -> None:
        self._stay_on_file()
        self.execute(_BEGIN)
        self._log.lengthen_if_short()
        self._changes = self.raw.totalchanges()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """A short snapshot."""
        with self._lock:
            try:
                self.execute(_BEGIN_READ)
                yield
            except apsw.Error as exc:
                raise meaning(exc, self.path) from exc
            finally:
                self._roll_back()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The connection without a transaction of our making."""
        with self._lock:
            try:
                yield
            except apsw.Error as exc:
                raise meaning(exc, self.path) from exc

    def close(self) -> None:
        """Close it; harmless when repeated."""
        with self._lock:
            self.raw.close()

    def _commit(self) -> None:
        try:
            self.execute(_COMMIT)
        except (apsw.BusyError, apsw.FullError) as exc:
            # SQLite has then written no commit record, and forgets what it wrote before it.
            self._roll_back()
            raise meaning(exc, self.path) from exc
        except apsw.Error as exc:
            self._roll_back()
            raise OutcomeUnknownError(
                f"the commit to {self.path} broke off ({exc}): it is there or not, ask with applied()"
            ) from exc
        self._log.take_stock()

    def _roll_back(self) -> None:
        if self.raw.in_transaction:
            try:
                self.execute(_ROLLBACK)
            except apsw.Error:
                # A broken disk: SQLite has rolled back by itself, or does so when the connection closes.
                return

    def _stay_on_file(self) -> None:
        """What we write to must still be what others find under the path."""
        try:
            found = os.stat(self.path)
        except OSError as exc:
            raise ForeignDatabaseError(
                f"{self.path} was deleted or moved while it was open ({exc.strerror}): stop all processes on it, put "
                "it back together with its -wal file, and start again"
            ) from exc
        if (found.st_dev, found.st_ino) != self._identity:
            raise ForeignDatabaseError(
                f"{self.path} was replaced by another file while it was open: stop all processes on it before a file "
                "is put in its place"
            )

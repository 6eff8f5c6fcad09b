"""The file behind a store: where it may lie, how it is made, and whether it is ours.

Laws kept here: nothing is ever written into a file that is not ours; new files are for their owner only; the file is
never opened but by SQLite, because closing any other handle on it drops SQLite's locks (a rule of POSIX).
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable
from typing import Literal, TypeVar

import apsw

from perdure._ports import SystemClock
from perdure.errors import ForeignDatabaseError, StorageBusyError, StorageError, UsageError
from perdure.storage.sqlite.connection import Connection, meaning
from perdure.storage.sqlite.log import LogFile
from perdure.storage.sqlite.statements import STATEMENTS

T = TypeVar("T")

Durability = Literal["full", "normal"]

APPLICATION_ID = 0x50524452
"""What SQLite's header says a file of ours is: "PRDR"."""

PAGE_BYTES = 2048
"""A turn changes a few hundred bytes of each page that it touches, and the log takes whole pages."""
CACHE_KIB = 16_384
CHECKPOINT_PAGES = 8_000
WAL_KEPT_BYTES = 64 * 1024 * 1024
_STATEMENTS_KEPT = 400
"""All that there are, with every number of rows that they come in, so that none is parsed twice."""
_HEADER_BYTES = 100
_BUSY_PAUSE_S = 0.0005
_PATIENCE_STEP_S = 0.005
_CLOCK = SystemClock()
"""How long we wait for other processes is a matter of real time, whatever the store's clock says."""

_SYNCHRONOUS = {"full": 2, "normal": 1}
_SHARED_FILE_SYSTEMS = {
    "9p", "afs", "ceph", "cifs", "coda", "drvfs", "gfs2", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "prl_fs", "smb3", "smbfs", "vboxsf", "virtiofs",
}  # fmt: skip


def locate(path: str | os.PathLike[str], *, allow_shared: bool, create: bool = True) -> str:
    """The absolute path of the store's file, which is there afterwards, made if need be and allowed.

    Raises:
        UsageError: The path names no file.
        ForeignDatabaseError: The file is too small to be a database, and not empty.
        StorageError: There is no such folder, the file can't be made, read or written, or locks don't hold there.
    """
    text = os.fspath(path)
    if not text or text == ":memory:" or "\0" in text:
        raise UsageError(f"{text!r} names no file; for a store in memory use the URL memory://")
    full = os.path.realpath(text)
    folder = os.path.dirname(full)
    if not os.path.isdir(folder):
        raise StorageError(f"there is no folder {folder}: make it, or correct the path {text!r}")
    if not allow_shared:
        _refuse_shared(folder)
    if create:
        _make(full, folder)
    elif not os.path.exists(full):
        raise StorageError(f"there is no store {full}: start a worker on it first, which makes it, or correct the URL")
    if not os.path.isfile(full):
        raise StorageError(f"{full} is no regular file: point the URL to a file")
    if 0 < os.path.getsize(full) < _HEADER_BYTES:
        # SQLite would take a file of one byte for an empty one.
        raise ForeignDatabaseError(f"{full} is no SQLite database: point the URL elsewhere; it was left as it is")
    if not os.access(full, os.R_OK | os.W_OK):
        raise StorageError(f"{full} can't be read and written by this user: give the right to, or choose another file")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StorageError(
            f"{folder} can't be written by this user, and SQLite keeps its -wal file there: give the right to"
        )
    return full


def connect(path: str, *, durability: Durability, busy_timeout_s: float, page_cache_kib: int = CACHE_KIB) -> Connection:
    """A connection to a store's file.

    Raises:
        ForeignDatabaseError: The file is no database, or somebody else's.
        StorageError: SQLite can't use the file.
    """
    try:
        try:
            return _connect(path, durability, busy_timeout_s, page_cache_kib)
        except apsw.NotADBError:
            patiently(lambda: _empty_if_unborn(path), path, busy_timeout_s)
            return _connect(path, durability, busy_timeout_s, page_cache_kib)
    except apsw.Error as exc:
        raise meaning(exc, path) from exc


def _connect(path: str, durability: Durability, busy_timeout_s: float, page_cache_kib: int) -> Connection:
    raw = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE, statementcachesize=_STATEMENTS_KEPT)
    try:
        log = LogFile(raw, path, page_bytes=PAGE_BYTES, checkpoint_pages=CHECKPOINT_PAGES)
        connection = Connection(raw, path, log)
        _set_up(connection, durability, busy_timeout_s, page_cache_kib)
    except BaseException:
        raw.close()
        raise
    return connection


def _empty_if_unborn(path: str) -> None:
    """Empty a file of nothing but zeros, which a power cut may leave of one in the making."""
    # Through SQLite's own way to files: see the law above.
    file = apsw.VFSFile("", path, [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READWRITE, 0])
    try:
        for level in (apsw.SQLITE_LOCK_SHARED, apsw.SQLITE_LOCK_RESERVED, apsw.SQLITE_LOCK_EXCLUSIVE):
            file.xLock(level)
        size = file.xFileSize()
        if size <= PAGE_BYTES and not any(file.xRead(size, 0)):
            file.xTruncate(0)
    finally:
        file.xUnlock(apsw.SQLITE_LOCK_NONE)
        file.xClose()


class _Patience:
    """What SQLite asks while another process has the lock: whether to try again.

    Its own way is to sleep up to 100 ms between attempts, by which a busy neighbour starves everybody else.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_us = round(limit_s * 1_000_000)
        self._deadline_us = 0
        self._pause = threading.Event()

    def __call__(self, attempts: int) -> bool:
        now_us = _CLOCK.monotonic_us()
        if attempts == 0:
            self._deadline_us = now_us + self._limit_us
        if now_us >= self._deadline_us:
            return False
        self._pause.wait(_BUSY_PAUSE_S)
        return True


def patiently(attempt: Callable[[], T], path: str, limit_s: float) -> T:
    """Try again while another process has the file, where SQLite itself does not wait.

    Raises:
        StorageBusyError: It still has it after `limit_s`.
    """
    pause = threading.Event()
    deadline = _CLOCK.monotonic_us() + limit_s * 1_000_000
    while True:
        try:
            return attempt()
        except (apsw.BusyError, apsw.LockedError) as exc:
            if _CLOCK.monotonic_us() > deadline:
                raise meaning(exc, path) from exc
        except StorageBusyError:
            if _CLOCK.monotonic_us() > deadline:
                raise
        pause.wait(_PATIENCE_STEP_S)


def _make(path: str, folder: str) -> None:
    try:
        # Never opened when it is there already: see the law above.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as exc:
        raise StorageError(f"{path} can't be made in {folder} ({exc.strerror}): choose another folder") from exc


def _set_up(connection: Connection, durability: Durability, busy_timeout_s: float, page_cache_kib: int) -> None:
    raw, path = connection.raw, connection.path
    raw.set_busy_handler(_Patience(busy_timeout_s))
    if raw.readonly("main"):
        raise StorageError(f"{path} is read-only: make it writable, or choose another file")
    if patiently(lambda: _is_new(raw, path), path, busy_timeout_s):
        raw.pragma("page_size", PAGE_BYTES)
        # An empty file needs no journal on the disk on its way to the write-ahead log, which saves several syncs. When
        # another process has been faster, it has its log already, and keeps it.
        with contextlib.suppress(apsw.BusyError, apsw.LockedError):
            raw.pragma("journal_mode", "memory")
    mode = patiently(lambda: raw.pragma("journal_mode", "wal"), path, busy_timeout_s)
    if mode != "wal":
        raise StorageError(f"{path} can't keep a write-ahead log (its journal mode is {mode!r}): use a local disk")
    raw.pragma("synchronous", _SYNCHRONOUS[durability])
    raw.pragma("cache_size", -page_cache_kib)
    raw.pragma("temp_store", "memory")
    raw.pragma("wal_autocheckpoint", CHECKPOINT_PAGES)
    raw.pragma("journal_size_limit", WAL_KEPT_BYTES)
    raw.pragma("trusted_schema", 0)
    # Else a statement with a limit is prepared anew for each value of it.
    raw.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)


def _is_new(raw: apsw.Connection, path: str) -> bool:
    """Whether the file is empty; refuses what is not ours, before anything is written."""
    raw.execute(STATEMENTS["begin_read"])
    try:
        application_id = raw.pragma("application_id")
        objects = raw.execute(STATEMENTS["schema_objects"]).get
    finally:
        raw.execute(STATEMENTS["rollback"])
    if application_id == APPLICATION_ID:
        return False
    if application_id != 0 or objects:
        raise ForeignDatabaseError(
            f"{path} is a SQLite database of another program (application id {application_id:#x}): point the URL to "
            "another file; it was left as it is"
        )
    return True


def _refuse_shared(folder: str) -> None:
    kind = file_system(folder)
    if kind in _SHARED_FILE_SYSTEMS or kind.startswith("fuse"):
        raise StorageError(
            f"{folder} lies on a {kind} file system, where SQLite's locks are not to be trusted and acknowledged work "
            "can be lost: put the file on a local disk, or pass allow_shared=True if you know that only this machine "
            "uses it and that locks hold there"
        )


def file_system(folder: str) -> str:
    """The kind of file system that holds a folder ("ext4", "nfs4"); empty where the system does not say."""
    if not sys.platform.startswith("linux"):
        return ""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return mounted_kind(table.read(), folder)
    except OSError:
        return ""


def mounted_kind(table: str, folder: str) -> str:
    """The kind of the last mount in a mountinfo table that holds the folder."""
    found, depth = "", -1
    for line in table.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:  # noqa: PLR2004 - the mount point is the fifth field
            continue
        point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        inside = folder == point or folder.startswith(point.rstrip("/") + "/")
        # Of two mounts on one point the later one hides the earlier.
        if inside and len(point) >= depth:
            found, depth = after.split(" ")[0], len(point)
    return found

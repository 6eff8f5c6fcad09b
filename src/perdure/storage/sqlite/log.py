"""The file of SQLite's write-ahead log, kept longer than what is in it.

A commit that makes the file longer makes the file system write down the file's new length and place, too, which can
cost as much as the rest of a small commit. SQLite begins anew at the front of the file once its content has been
carried over, so this concerns the first megabytes after a store was opened, which is all that a short run ever writes.

Laws kept here: zeros are written behind the end of the file only, and only with the write lock held, so nobody else is
writing there. SQLite takes nothing for a part of its log that does not carry the log's salt and checksum, as it must
also when a power cut has left anything there.
"""

import contextlib

import apsw

_HEADER_BYTES = 32
_FRAME_HEADER_BYTES = 24
_ZEROS = bytes(64 * 1024)
"""SQLite's way to files writes less than 128 KiB at once."""
_STEP_BYTES = 4 * len(_ZEROS)
_SMALL_COMMIT_PAGES = 32
"""A commit of more pages is not about its latency, and is better off without writing the same place twice."""


class LogFile:
    """The log of the store at `path`, as a connection that writes to it sees it."""

    __slots__ = ("_frame_bytes", "_is_short", "_path", "_raw", "_room_bytes", "_size_max", "_written_pages")

    def __init__(self, raw: apsw.Connection, path: str, *, page_bytes: int, checkpoint_pages: int) -> None:
        self._raw = raw
        self._path = f"{path}-wal"
        self._frame_bytes = page_bytes + _FRAME_HEADER_BYTES
        self._size_max = _HEADER_BYTES + checkpoint_pages * self._frame_bytes
        self._written_pages = 0
        self._room_bytes = 0
        self._is_short = False

    def take_stock(self) -> None:
        """See, after a commit, whether the next small one may reach beyond what was written ahead."""
        written = self._raw.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
        pages = written - self._written_pages
        self._written_pages = written
        self._room_bytes -= pages * self._frame_bytes
        self._is_short = self._room_bytes < 0 and pages <= _SMALL_COMMIT_PAGES

    def lengthen_if_short(self) -> None:
        """Write ahead if need be, as far as the log gets before SQLite begins anew. The write lock must be held."""
        if not self._is_short:
            return
        self._is_short = False
        self._room_bytes = _STEP_BYTES
        # It is only about speed: what is wrong with the disk, the commit will say.
        with contextlib.suppress(apsw.Error, OSError):
            self._lengthen()

    def _lengthen(self) -> None:
        # Through SQLite's own way to files, as with all of a store's files.
        file = apsw.VFSFile("", self._path, [apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_READWRITE, 0])
        try:
            size = file.xFileSize()
            if size < self._size_max:
                for at in range(size, size + _STEP_BYTES, len(_ZEROS)):
                    file.xWrite(_ZEROS, at)
        finally:
            file.xClose()

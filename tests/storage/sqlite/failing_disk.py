"""A disk that fails when it is told to, below SQLite."""

import apsw

REAL = apsw.vfs_names()[0]


class Disk(apsw.VFS):
    """The machine's disk, on which writes or syncs of the log fail while a test says so."""

    def __init__(self):
        self.write_error = None
        self.sync_error = None
        super().__init__("failing disk", REAL, makedefault=True)

    def xOpen(  # noqa: N802 - SQLite's name for it
        self, name, flags
    ):
        return File(self, name, flags)


class File(apsw.VFSFile):
    def __init__(self, disk, name, flags):
        self._disk = disk
        self._is_log = bool(flags[0] & apsw.SQLITE_OPEN_WAL)
        super().__init__(REAL, name, flags)

    def xWrite(  # noqa: N802 - SQLite's name for it
        self, data, offset
    ):
        if self._is_log and self._disk.write_error is not None:
            raise self._disk.write_error
        super().xWrite(data, offset)

    def xSync(  # noqa: N802 - SQLite's name for it
        self, flags
    ):
        if self._is_log and self._disk.sync_error is not None:
            raise self._disk.sync_error
        super().xSync(flags)

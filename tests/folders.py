"""Folders for tests that write much and are not about the disk."""

import os
import shutil
import tempfile
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - what is put there is in a folder of its own
_ROOM_BYTES = 1 << 30


def memory() -> Path | None:
    """Where files are kept in memory, if this machine has such a place with room, and lets programs be run there."""
    if not _MEMORY.is_dir() or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return None
    return _MEMORY if shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES else None


def in_memory() -> tempfile.TemporaryDirectory[str]:
    """An empty folder, in memory if there is such a place; removed at the end of its `with`."""
    return tempfile.TemporaryDirectory(dir=memory())

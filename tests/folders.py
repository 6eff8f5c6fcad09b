"""Folders for tests that write much and are not about the disk."""

import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - what is put there is in a folder of its own


def in_memory() -> tempfile.TemporaryDirectory[str]:
    """An empty folder, in memory if there is such a place; removed at the end of its `with`."""
    return tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)

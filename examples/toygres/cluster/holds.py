"""Who works on a folder: whoever holds the lock of its file `lock`, and that includes processes.

The lock is an flock on an open file. A process that is started with that file open has the lock too, and so have its
children, whatever becomes of whoever started it. So a held lock means that something is alive: a worker, an `initdb`
that a killed worker left behind, a running server with all its processes. A free one proves that nothing is. A pid file
can't say that: pids are used again, and there is a moment between the birth of a process and the writing of its pid.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.toygres.cluster.errors import BusyError

LOCK = "lock"


@contextmanager
def hold(folder: Path) -> Iterator[int]:
    """Hold the folder's lock; yields the file, to be handed on to processes that hold it too.

    Raises:
        FileNotFoundError: The folder has no lock: it was never made, or is removed.
        BusyError: Somebody else holds it.
    """
    lock = os.open(folder / LOCK, os.O_RDWR)
    try:
        _take(lock, folder)
        yield lock
    finally:
        os.close(lock)


def is_held(folder: Path) -> bool:
    """Whether anything is alive in the folder.

    Raises:
        FileNotFoundError: The folder has no lock.
    """
    lock = os.open(folder / LOCK, os.O_RDWR)
    try:
        # Shared, so that two who look don't see each other.
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(lock)


def _take(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError(f"a process is at work in {folder}") from None
    # The holder before may have removed the folder, and this is the lock of a file that is no more.
    if not os.path.samestat(os.fstat(lock), (folder / LOCK).stat()):
        raise BusyError(f"{folder} was made anew at this moment")

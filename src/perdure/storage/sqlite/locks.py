"""The lock of each worker, by which others see at once that its process is gone.

Laws kept here: the locks are `fcntl` record locks, which a forked child does not inherit (`flock` would live on in it);
they belong to the process, and closing any handle on a file drops them: so no process ever opens its own lock files
twice, and it can't test them either.
"""

import contextlib
import errno
import fcntl
import os
import threading

_own: dict[str, int] = {}
_guard = threading.Lock()


def _forget() -> None:
    # In a forked child: the locks are the parent's. Its handles stay open here, which harms nobody.
    global _guard  # noqa: PLW0603 - another thread of the parent may have held it at the fork
    _guard = threading.Lock()
    _own.clear()


os.register_at_fork(after_in_child=_forget)


class WorkerLocks:
    """The lock files of the workers of one store, in a folder beside it."""

    def __init__(self, database: str) -> None:
        self._folder = f"{database}.locks"

    def path(self, worker: int) -> str:
        """The lock file of a worker."""
        return f"{self._folder}/{worker}"

    def take(self, worker: int) -> None:
        """Lock the file of a worker of this process; it stays locked until `drop` or the end of the process."""
        path = self.path(worker)
        while True:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            try:
                handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
                break
            except FileNotFoundError:
                # Somebody has just removed the empty folder.
                continue
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with _guard:
            _own[path] = handle

    def drop(self, worker: int, *, remove: bool) -> None:
        """Unlock the file of a worker of this process, and remove it if nobody needs to test it any more."""
        path = self.path(worker)
        with _guard:
            handle = _own.pop(path, None)
        if remove:
            self.remove(worker)
        if handle is not None:
            os.close(handle)

    def remove(self, worker: int) -> None:
        """Remove the file of a worker that is gone, and the folder with the last one."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(worker))
        with contextlib.suppress(OSError):
            os.rmdir(self._folder)

    def is_free(self, worker: int) -> bool:
        """Whether the worker's process is proven dead; False also where that can't be known."""
        path = self.path(worker)
        with _guard:
            if path in _own:
                return False
            try:
                handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            except OSError:
                return False
            try:
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                if exc.errno in (errno.EACCES, errno.EAGAIN):
                    return False
                raise
            finally:
                os.close(handle)
            return True

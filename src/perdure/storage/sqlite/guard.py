"""What a process must not do while it has a store open: open its file by another SQLite, or use it in a forked child.

Laws kept here: two SQLite libraries in one process know nothing of each other's locks, and the first that closes the
file drops the locks of both; acknowledged commits have been lost that way. A forked child never closes what it
inherited, because closing may clean up the write-ahead log under its parent's feet.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Protocol

from perdure.errors import ForkedError, UsageError


class _Inheritable(Protocol):
    def inherited(self) -> list[object]:
        """The objects that a child must neither use nor close."""
        ...


class _Watch:
    """The files that stores of this process have open, and the stores."""

    def __init__(self) -> None:
        self.hooked = False
        """Whether forks are heard of, and imports."""
        self.listening = False
        """Whether what opens files is heard of."""
        self.reset()

    def reset(self) -> None:
        self.lock = threading.Lock()
        self.files: dict[tuple[int, int], int] = {}
        self.stores: weakref.WeakSet[_Inheritable] = weakref.WeakSet()


_watch = _Watch()


class _Imports:
    """Hears of another SQLite library before it is imported, and leaves that to others.

    To listen to what it opens is to be called at every audited event of the process, as when an orchestration's line is
    looked up for what it asks: 2,300 instructions for each activity, for a library that most workers never import.
    """

    @staticmethod
    def find_spec(name: str, _path: object = None, _target: object = None) -> None:
        """Listen from now on, if it is one."""
        if _is_library(name):
            _listen()


def _is_library(module: str) -> bool:
    """Whether it is Python's own, or made from that, and so says what it opens."""
    return module.rpartition(".")[2] == "_sqlite3"


def _listen() -> None:
    if not _watch.listening:
        _watch.listening = True
        sys.addaudithook(_refuse_other_library)


def watch(store: _Inheritable, path: str) -> Callable[[], object]:
    """Keep other SQLite libraries off a file from now on; until the returned function is called, or the store gone."""
    found = os.stat(path)
    identity = (found.st_dev, found.st_ino)
    with _watch.lock:
        _watch.files[identity] = _watch.files.get(identity, 0) + 1
        _watch.stores.add(store)
        if not _watch.hooked:
            _watch.hooked = True
            sys.meta_path.insert(0, _Imports)
            if any(map(_is_library, list(sys.modules))):
                _listen()
            os.register_at_fork(after_in_child=_abandon)
    return weakref.finalize(store, _unwatch, identity)


def _unwatch(identity: tuple[int, int]) -> None:
    with _watch.lock:
        # In a forked child nothing is left of what its parent watched.
        left = _watch.files.pop(identity, 1) - 1
        if left:
            _watch.files[identity] = left


def refuse_fork(pid: int, path: str) -> None:
    """Refuse a store that was opened by another process, `pid`."""
    if os.getpid() != pid:
        raise ForkedError(
            f"{path} was opened by process {pid} and is used in its forked child {os.getpid()}: open a new store there "
            "(with multiprocessing, in the worker's initializer; with a forking server, after the fork)"
        )


def _refuse_other_library(event: str, arguments: tuple[object, ...]) -> None:
    # Called for every audited event of the process: anything else must leave at once.
    if event != "sqlite3.connect" or not _watch.files:
        return
    database = arguments[0]
    if not isinstance(database, str | bytes | os.PathLike):
        return
    name = os.fsdecode(database)
    if any(_is_open(path) for path in _paths(name)):
        raise UsageError(
            f"{name!r} is open as a Perdure store in this process, which carries a SQLite of its own. "
            "Two SQLite libraries in one process drop each other's locks, and committed work is lost: read the store "
            "through Perdure's client, or from another process"
        )


def _paths(database: str) -> list[str]:
    """The paths that a database argument can mean: itself, or that of a URI."""
    if not database.startswith("file:"):
        return [database]
    from urllib.parse import unquote  # noqa: PLC0415 - slow to import, and hardly ever needed

    path = unquote(database[5:].partition("#")[0].partition("?")[0])
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]
    return [database, path]


def _is_open(path: str) -> bool:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return False
    return (found.st_dev, found.st_ino) in _watch.files


def _abandon() -> None:
    # In a forked child. A reference too many keeps the inherited connections from ever being closed here, also at exit.
    import ctypes  # noqa: PLC0415 - slow to import, and only a forked child needs it

    keep = ctypes.pythonapi.Py_IncRef
    for store in list(_watch.stores):
        for each in store.inherited():
            keep(ctypes.py_object(each))
    _watch.reset()

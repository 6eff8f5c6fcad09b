"""How often Python searches for garbage while a worker is open.

Law kept here: what the program has set itself is left as it is.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

COLLECT_AFTER = 10_000
"""New objects after which Python searches the youngest for garbage. An instance that begins makes thirty which outlive
its turn, so that after Python's own 700 it would search the same ones again and again, and find nothing."""

OLDER_AFTER = 2
"""Searches of the younger after which an older generation is searched.

With Python's own ten a million new objects come before the oldest are searched, and what has left the cache meanwhile
is kept: a crowd of instances took twice the memory.
"""

_PYTHONS_OWN = frozenset({700, 2_000})
"""After how many it does that by itself, by its version."""


class Collector:
    """The process's collector, as far as its workers have a say in it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._workers = 0
        self._before: tuple[int, int, int] | None = None

    @contextmanager
    def spared(self) -> Iterator[None]:
        """Have it search less often while this worker, or another one, is open."""
        with self._lock:
            self._workers += 1
            before = gc.get_threshold()
            if before[0] in _PYTHONS_OWN:
                self._before = before
                gc.set_threshold(COLLECT_AFTER, OLDER_AFTER, OLDER_AFTER)
        try:
            yield
        finally:
            with self._lock:
                self._workers -= 1
                if self._workers == 0 and self._before is not None:
                    if gc.get_threshold()[0] == COLLECT_AFTER:
                        gc.set_threshold(*self._before)
                    self._before = None


collector = Collector()

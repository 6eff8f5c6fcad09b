"""A simulated store that is two: SQLite, whose answers count, and the reference, which must agree with every one.

The worlds whose seeds are multiples of `SQLITE_EVERY` live on it. The checks read the rows of the reference.
"""

from __future__ import annotations

import os
from contextlib import closing
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins
from msgspec.structs import replace

from perdure import _work as work
from perdure.storage.memory import MemoryStorage
from perdure.storage.memory.items import apply
from perdure.storage.sqlite import SqliteStorage
from perdure.storage.sqlite.files import connect
from perdure.testing.simulation.ledger import Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from perdure._ports import Clock, Entropy
    from perdure.storage.memory.rows import Tables
    from perdure.storage.sqlite.lending import Lending

SQLITE_EVERY = 20
_MEMORY = "/dev/shm"  # noqa: S108 - the folder inside is made for this world alone


class _Drawn:
    """The entropy of the reference, which keeps what it drew, so that its twin draws the same."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._kept: list[bytes] = []

    def token(self) -> bytes:
        """Sixteen bytes."""
        self._kept.append(self._entropy.token())
        return self._kept[-1]

    def fraction(self) -> float:
        """A number in [0, 1)."""
        return self._entropy.fraction()

    def again(self) -> _Again:
        """The same once more."""
        return _Again(self._kept)


class _Again:
    def __init__(self, kept: list[bytes]) -> None:
        self._kept = kept

    def token(self) -> bytes:
        return self._kept.pop(0)

    def fraction(self) -> float:
        return 0.5


class Twins:
    """The two stores of one world. `close` removes the file."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        # Of what a power cut leaves nothing is asked here, so the file need not reach a disk.
        self._folder = TemporaryDirectory(prefix="perdure-simulation-", dir=_MEMORY if os.path.isdir(_MEMORY) else None)
        self._path = f"{self._folder.name}/store.db"
        self._reference = MemoryStorage(clock, entropy)
        self.seqs: dict[int, int] = {}
        """By the numbers that SQLite gave to messages, those of the reference."""

    @property
    def rows(self) -> Tables:
        """The rows of the reference."""
        return self._reference.rows

    def connect(self, clock: Clock, entropy: Entropy) -> Twin:
        """A handle on both for one process."""
        drawn = _Drawn(entropy)
        reference = self._reference.connect(clock, drawn)
        sqlite = SqliteStorage(
            self._path,
            clock=clock,
            entropy=drawn.again(),
            durability="normal",
            # Locks of processes prove nothing where all live in one.
            allow_shared=True,
        )
        # One memory of what time it has been, however often either of them looks.
        sqlite._clock = reference._time  # noqa: SLF001 - the handles have no other way to share it
        return Twin(self.seqs, reference, sqlite)

    def written(self) -> frozenset[str]:
        """What users have written into a table of their own."""
        with closing(connect(self._path, durability="normal", busy_timeout_s=0)) as reader:
            if not reader.execute("SELECT 1 FROM sqlite_schema WHERE name = 'orders'").get:
                return frozenset()
            return frozenset(row for (row,) in reader.execute("SELECT id FROM orders"))

    def close(self) -> None:
        """Nothing is left of them."""
        self._folder.cleanup()


class Twin:
    """A `Storage` and an `Inspector` on both: every call is made twice, and the answers must be equal."""

    def __init__(self, seqs: dict[int, int], reference: MemoryStorage, sqlite: SqliteStorage) -> None:
        self._seqs = seqs
        self._reference = reference
        self._sqlite = sqlite

    def __getattr__(self, name: str) -> Callable[..., Any]:
        # The reference first: what it draws, its twin draws again.
        expected, actual = getattr(self._reference, name), getattr(self._sqlite, name)

        def both(*arguments: Any, **options: Any) -> Any:
            wanted = expected(*arguments, **options)
            return _agreed(name, wanted, actual(*arguments, **options))

        return both

    def commit(self, batch: work.Batch, /) -> work.Committed:
        """Apply a batch to both."""
        items = tuple(
            replace(item, consumed=tuple(self._seqs.get(seq, seq) for seq in item.consumed))
            if isinstance(item, work.Turn) and item.consumed
            else item
            for item in batch.items
        )
        wanted = self._reference.commit(replace(batch, items=items))
        answer = self._sqlite.commit(batch)
        _agreed("commit", _without_seqs(wanted), _without_seqs(answer))
        if wanted.work is not None and answer.work is not None:
            for ours, theirs in zip(wanted.work.instances, answer.work.instances, strict=True):
                self._seqs.update(
                    (one.seq, other.seq) for one, other in zip(theirs.messages, ours.messages, strict=True) if one.seq
                )
        return answer

    @property
    def lending(self) -> Lending:
        """What lends transactions of the file."""
        return self._sqlite._lending  # noqa: SLF001 - what it lends is to be held by the world's clock

    def wake_by(self, wake: Callable[[], None]) -> None:
        """Have `wake` called when a transaction that was lent has been committed."""
        self._sqlite.wake_by(wake)

    async def join(self, connection: Any, item: work.ClientItem) -> work.Outcome:
        """Make an item part of a transaction that was lent, of which the reference hears when that commits."""
        return await self._sqlite.join(connection, item)

    def take_over(self, joined: list[tuple[int, work.ClientItem, work.Outcome]]) -> work.Committed:
        """What was in a transaction that is committed now is in the reference, too."""
        tables = self._reference.rows
        for now, item, outcome in joined:
            _agreed("join", apply(tables, now, None, item), outcome)
        return work.Committed(now=self._reference.now(), outcomes=tuple(outcome for _, _, outcome in joined))

    def changed(self) -> bool:
        """Whether others have written: SQLite may say so once too often."""
        return self._sqlite.changed()

    def close(self) -> None:
        """The process ends."""
        self._sqlite.close()


def _without_seqs(committed: work.Committed) -> work.Committed:
    if committed.work is None:
        return committed
    instances = tuple(
        replace(each, messages=tuple(replace(message, seq=min(message.seq, 1)) for message in each.messages))
        for each in committed.work.instances
    )
    return replace(committed, work=replace(committed.work, instances=instances))


def _agreed(what: str, wanted: Any, answer: Any) -> Any:
    if wanted != answer and _without_moments(to_builtins(wanted)) != _without_moments(to_builtins(answer)):
        raise Violation(f"{what}: SQLite answers {answer!r}, the reference {wanted!r}")
    return answer


def _without_moments(data: Any) -> Any:
    """Without the moments of the last change: where clocks differ, a store may let them stand still."""
    if isinstance(data, dict):
        return {key: _without_moments(value) for key, value in data.items() if key != "updated_at"}
    return [_without_moments(each) for each in data] if isinstance(data, list | tuple) else data

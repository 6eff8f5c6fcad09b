"""Workers on two databases, of which one may die by its own hand at a point between them.

`python -m tests.chaos.shard_worker URLS LEDGER LEASE`: a nursery, as `tests.chaos.worker`. The word for a worker is
"go", or a point and a number, as in "sent 3": it kills itself there when it comes there for the third time.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from perdure import ExternalEvent, OrchestrationContext, OrchestrationError, Registry, Runtime, orchestration
from perdure._work import Applied, Batch, Committed, Receive, Settle, Shard, Turn
from perdure.storage.postgres import PostgresStorage
from perdure.storage.sqlite import SqliteStorage
from tests.chaos.worker import GRACE_S, Ledger, nurse, shorten_leases

WORD = ExternalEvent[int]("word")
OVER = -1
DELIVERIES_MAX = 1_000
"""Many workers die here, and nothing that they run is the cause."""
WORDS = [1, 2, 3, 4, 5]
POINTS = ("sent", "arriving", "received", "settled")
"""Behind the commit of a turn that leaves something for the other database; before that takes it in; behind that; and
behind the commit by which it leaves the outbox."""


def on(number: int, name: str) -> str:
    """An id that belongs to one of two shards."""
    shard = Shard(number=number, count=2)
    return next(each for each in (f"{name}-{n}" for n in range(1_000)) if shard.of(each) == number)


@orchestration(name="far-child")
async def child(ctx: OrchestrationContext, value: int) -> int:
    await ctx.schedule_activity(Ledger.note, "child")
    if value < 0:
        raise ValueError(value)
    return 2 * value


@orchestration(name="far-reader")
async def reader(ctx: OrchestrationContext, heard: list[int]) -> list[int]:
    """All words up to the last, in executions of two."""
    told = [await ctx.schedule_wait(WORD), await ctx.schedule_wait(WORD)]
    if OVER not in told:
        ctx.continue_as_new([*heard, *told])
    await ctx.schedule_activity(Ledger.note, "read")
    return [*heard, *(word for word in told if word != OVER)]


@orchestration(name="far-ward")
async def ward(ctx: OrchestrationContext) -> None:
    """Waits for ever, and cleans up when it is cancelled."""
    try:
        await ctx.schedule_wait(WORD)
    except asyncio.CancelledError:
        await ctx.schedule_activity(Ledger.note, "cleaned-up")
        raise


@orchestration(name="far-guardian")
async def guardian(ctx: OrchestrationContext, far: int) -> None:
    """Waits for its ward."""
    await ctx.schedule_sub_orchestration(ward, instance_id=on(far, f"{ctx.instance_id}-ward"))


@orchestration(name="far-errand")
async def errand(ctx: OrchestrationContext, far: int) -> list[str]:
    """Everything that goes from one shard to another."""

    def there(what: str) -> str:
        return on(far, f"{ctx.instance_id}-{what}")

    words = iter([*WORDS, OVER])
    ctx.schedule_orchestration(reader, [], instance_id=there("reader"))
    cared_for = ctx.schedule_sub_orchestration(ward, instance_id=there("ward"))
    ctx.raise_event(there("reader"), WORD, next(words))
    first = await ctx.schedule_activity(Ledger.note, "first")
    ctx.raise_event(there("reader"), WORD, next(words))
    good, bad, near, taken = await asyncio.gather(
        ctx.schedule_sub_orchestration(child, 21, instance_id=there("good")),
        ctx.schedule_sub_orchestration(child, -1, instance_id=there("bad")),
        ctx.schedule_sub_orchestration(child, 4),
        ctx.schedule_sub_orchestration(child, 5, instance_id=there("reader")),
        return_exceptions=True,
    )
    ctx.raise_event(there("reader"), WORD, next(words))
    cared_for.cancel()
    ctx.raise_event(there("reader"), WORD, next(words))
    last = await ctx.schedule_activity(Ledger.note, "last")
    for word in words:
        ctx.raise_event(there("reader"), WORD, word)
    assert isinstance(bad, OrchestrationError)
    assert isinstance(taken, OrchestrationError)
    return [first, str(good), str(near), bad.error.type, str("is taken" in str(taken)), last]


def registry(ledger: Path) -> Registry:
    """What every worker has."""
    return Registry(Ledger(ledger), child, reader, ward, guardian, errand)


class _Death:
    """Kills this process when a commit comes to a point for so many times."""

    def __init__(self, point: str, times: int) -> None:
        self._point = point
        self._left = times

    def armed(self, commit: Callable[[Any, Batch], Committed]) -> Callable[[Any, Batch], Committed]:
        """A store's commit, with the death in it."""

        def deadly(storage: Any, batch: Batch) -> Committed:
            if self._point == "arriving":
                self._met(isinstance(item, Receive) for item in batch.items)
            committed = commit(storage, batch)
            applied = [
                item
                for item, outcome in zip(batch.items, committed.outcomes, strict=True)
                if isinstance(outcome, Applied)
            ]
            if self._point == "sent":
                self._met(
                    isinstance(item, Turn) and any(m.shard is not None for m in item.messages) for item in applied
                )
            elif self._point in {"received", "settled"}:
                kind = Receive if self._point == "received" else Settle
                self._met(isinstance(item, kind) for item in applied)
            return committed

        return deadly

    def _met(self, found: Any) -> None:
        if any(found):
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def _work(urls: str, ledger: Path, word: str) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if word != "go":
        point, times = word.split()
        death = _Death(point, int(times))
        for storage in (SqliteStorage, PostgresStorage):
            storage.commit = death.armed(storage.commit)  # type: ignore[method-assign] -- it is what must be met
    asyncio.run(Runtime(urls, registry(ledger), grace=GRACE_S, max_deliveries=DELIVERIES_MAX).serve())


if __name__ == "__main__":
    shorten_leases(float(sys.argv[3]), SqliteStorage, PostgresStorage)
    nurse(partial(_work, sys.argv[1], Path(sys.argv[2])))

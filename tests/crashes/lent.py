"""Transactions that are lent in a process in which something goes wrong at their commits, on SQLite.

One thread plays the engine and whoever borrows, and there is one writer. So what an activity does to the file is done
when it lands, and nothing else runs between the begin of a client's transaction and its last statement.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Self

from perdure import OutcomeUnknownError, StorageUnavailableError
from perdure._client.requests import Call
from perdure._runtime.dispatcher import Engine
from perdure._runtime.transactional import InTransaction
from perdure._work import Outcome, TaskDone
from perdure.storage.lending import LENT_US
from perdure.storage.sqlite import SqliteStorage
from perdure.storage.sqlite.lending import LentTransaction
from perdure.testing import ManualClock, SeededEntropy
from tests.crashes.harness import CRASHES, Crash, Fault, Faulty, Process, Stage
from tests.crashes.scenarios import Scenario

MAKE = ("CREATE TABLE orders (id)", "CREATE TABLE payments (id)", "CREATE TABLE bookings (id)")
READ = ("SELECT id FROM orders", "SELECT id FROM payments", "SELECT id FROM bookings ORDER BY id")


class FileStage(Stage):
    """A stage on a file in a folder, in which people have tables of their own."""

    def __init__(self, scenario: Scenario, folder: str) -> None:
        clock = ManualClock()
        store = SqliteStorage(
            f"{folder}/store.db", clock=clock, entropy=SeededEntropy(7), durability="normal", allow_shared=True
        )
        super().__init__(scenario, store, clock)
        own = store.lend(LENT_US)
        for statement in MAKE:
            own.execute(statement)
        own.commit()

    def faulty(self, plan: dict[int, Fault]) -> Faulty:
        """The same, and what it lends is faulty, too."""
        return FaultyLender(self, plan)

    def process(self, storage: Any = None) -> Process:
        """A process that can borrow."""
        self.processes += 1
        return Borrowing(self.registry, storage or FaultyLender(self, {}), self.clock, seed=self.processes)

    def rows(self) -> list[list[int]]:
        """What is in the tables."""
        tx = self.store.lend(LENT_US)
        try:
            return [[number for (number,) in tx.execute(statement)] for statement in READ]
        finally:
            tx.roll_back()


class Borrowing(Process):
    """A process whose activities may have transactions."""

    async def __aenter__(self) -> Self:
        """As ever, and the transactions come from the store."""
        await super().__aenter__()
        self._activities._in_transaction = InTransaction(self._store, lambda: self._engine.worker)  # noqa: SLF001 - an environment has none
        asyncio.get_running_loop().set_default_executor(AtOnce())
        self._engine.run_once = self._round  # type: ignore[method-assign]  # it waits in the same thread
        self._store.die = self._die
        self._store.woken = partial(asyncio.get_running_loop().call_soon_threadsafe, self._look)
        return self

    def _round(self) -> None:
        # While a client has the writer the engine would wait for it, and nobody else would go on.
        if not self._store.is_lent:
            Engine.run_once(self._engine)

    def _move_to(self, instant_us: int) -> None:
        if not self._store.is_lent:
            super()._move_to(instant_us)

    def _die(self) -> None:
        pump = self._pump
        assert pump is not None
        pump.cancel()

    def _look(self) -> None:
        if not self._store.dead:
            self._inbox.put([Call(self._look_at_once)])

    def _look_at_once(self) -> None:
        self._engine.next_look = 0


class AtOnce(ThreadPoolExecutor):
    """Does what is asked for in the thread that asks: it has the writer, for which the engine would wait."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Do it."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - whoever asks hears of it
            done.set_exception(error)
        return done


class FaultyLender(Faulty):
    """A store in a file that lends, and at whose lent transactions something may go wrong."""

    die: Callable[[], None]
    """Has its process die."""
    woken: Callable[[], object]
    """Tells its process that something that was lent has been committed."""

    is_lent = False
    """Whether a client has the writer."""

    def loan(self, *, is_async: bool) -> "Landing":
        """For an activity."""
        del is_async
        return Landing(self)

    def lend(self, limit_us: int) -> "FaultyLent":
        """For a client."""
        return FaultyLent(self, limit_us)

    @property
    def store(self) -> Any:
        """The file."""
        return self._stage.store

    def next_fault(self) -> Fault:
        """What goes wrong at the commit of the transaction that is about to begin."""
        if self.dead:
            raise Crash
        self.commits += 1
        return self._plan.get(self.commits, Fault.NONE)

    def pause(self) -> None:
        """Another worker does all the work."""
        self._stage.succeed()


class Landing:
    """What an activity does to the file, all of it at the moment at which it lands."""

    is_lost = False

    def __init__(self, lender: FaultyLender) -> None:
        self._lender = lender
        self._statements: list[tuple[str, Sequence[Any]]] = []
        self.connection = self

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Do this with it."""
        self._statements.append((sql, values))
        return []

    async def open(self) -> None:
        """Nothing is held up until it lands."""

    def guarded(self, function: Any) -> Any:
        """The same."""
        return function

    async def land(self, done: TaskDone, worker: int) -> Outcome:
        """All of it, unless something is to go wrong."""

        def commit() -> Outcome:
            lent = self._lender.store.lend(LENT_US)
            for statement in self._statements:
                lent.execute(*statement)
            return lent.land(done, worker)

        while self._lender.is_lent:
            await asyncio.sleep(0)
        try:
            outcome: Outcome = self._lender.faulty(commit)
            self._lender.woken()
        except Crash:
            self._lender.die()
            raise
        return outcome

    async def drop(self) -> None:
        """Nothing has happened."""


class FaultyLent(LentTransaction):
    """A transaction of a client's, which begins and is written in one go."""

    def __init__(self, lender: FaultyLender, limit_us: int) -> None:
        super().__init__(lender.store._lending, limit_us)  # noqa: SLF001 - as the store makes them
        self._lender = lender
        self._fault = Fault.NONE

    async def open(self) -> None:
        """Begin, unless something is to go wrong before that."""
        self._fault = self._lender.next_fault()
        match self._fault:
            case Fault.BEFORE:
                raise StorageUnavailableError("planned")
            case Fault.CRASH_BEFORE:
                self._lender.dead = True
                raise Crash
            case Fault.PAUSE:
                self._lender.pause()
        self._begin()
        self._lender.is_lent = True

    def commit(self) -> None:
        """Commit, unless something is to go wrong there."""
        self._lender.is_lent = False
        self._lender.dead = self._fault in CRASHES
        if self._fault is Fault.LOST:
            self.roll_back()
            raise OutcomeUnknownError("planned, and nothing was applied")
        super().commit()
        self._lender.woken()
        if self._fault is Fault.AFTER:
            raise OutcomeUnknownError("planned, and it was applied")
        if self._fault is Fault.CRASH_AFTER:
            raise Crash

"""The store as one simulated process sees it: calls fail, hang and answer late, and every applied call is checked."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from perdure import _work as work
from perdure._events import MIN_READER
from perdure.errors import OutcomeUnknownError, StorageBusyError, StorageUnavailableError
from perdure.storage.base import LEASE_US, SERVES
from perdure.testing.simulation.booking import SimulatedLoan
from perdure.testing.simulation.ledger import Violation
from perdure.testing.simulation.lent import SimulatedLent
from perdure.testing.simulation.own import OwnTransaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perdure.testing.simulation.host import Host
    from perdure.testing.simulation.world import World


_WRITES = {"register", "heartbeat", "unregister", "reap", "commit", "lend"}
PATIENCE_US = 5_000_000
"""How long a call waits for the writer while somebody has borrowed it."""


class Dead(BaseException):
    """The process was killed here."""


class WriterLentError(StorageBusyError):
    """Somebody has had the writer for too long."""


class StorePort:
    """A `Storage` and an `Inspector` for one process of the world."""

    def __init__(self, world: World, host: Host, store: Any) -> None:
        self._world = world
        self._host = host
        self._store = store
        self.now: Callable[[], int] = store.now
        """The store's time, as this process sees it."""
        self._meanwhile: Callable[[], int | None] | None = None
        self._lends = world.lends
        self._own = world.own

    def while_waiting(self, work: Callable[[], int | None], /) -> None:
        """Have `work` called while a commit is on its way."""
        self._meanwhile = work

    def register(
        self,
        *,
        name: str,
        orchestrations: Sequence[str],
        activities: Sequence[str],
        serves: work.Serves = SERVES,
        lease_us: int = LEASE_US,
        reader: int = MIN_READER,
    ) -> work.WorkerRecord:
        """Make a worker row."""

        def apply() -> work.WorkerRecord:
            record: work.WorkerRecord = self._store.register(
                name=name,
                orchestrations=orchestrations,
                activities=activities,
                serves=serves,
                lease_us=lease_us,
                reader=reader,
            )
            self._world.checks.ledger.registered(record, self._store.now())
            self._host.numbers.add(record.worker)
            return record

        answer: work.WorkerRecord = self._call("register", apply)
        return answer

    def heartbeat(self, worker: int, /) -> bool:
        """Extend the worker's lease."""

        def apply() -> bool:
            answer: bool = self._store.heartbeat(worker)
            self._world.checks.ledger.beaten(worker, self._store.now(), answer)
            return answer

        return bool(self._call("heartbeat", apply))

    def unregister(self, worker: int, /) -> None:
        """Release everything."""

        def apply() -> None:
            self._store.unregister(worker)
            self._world.checks.ledger.unregistered(worker)

        self._call("unregister", apply)

    def reap(self, worker: int, /) -> work.Reaped:
        """Bury the dead."""

        def apply() -> work.Reaped:
            answer: work.Reaped = self._store.reap(worker)
            self._world.checks.reaped(worker, self._store.now(), answer)
            if answer.buried or answer.held:
                self._world.others_see_change(self._host)
            return answer

        answer: work.Reaped = self._call("reap", apply)
        return answer

    def commit(self, batch: work.Batch, /) -> work.Committed:
        """Apply a batch."""

        def apply() -> work.Committed:
            if self._own is not None:
                applied, answer, told = self._own.commit(self._store, batch)
            else:
                applied, answer = batch, self._store.commit(batch)
                told = answer
            self._world.checks.committed(applied, answer)
            self._world.committed(self._host, applied, answer)
            return told

        if self._meanwhile is not None and self._host.alive:
            self._host.work_on(self._meanwhile)
        answer: work.Committed = self._call("commit", apply)
        return answer

    def loan(self, *, is_async: bool) -> SimulatedLoan:  # noqa: ARG002 - all of them are
        """A transaction for an activity."""
        return SimulatedLoan(self._host)

    def land(self, done: work.TaskDone, worker: int, keys: list[str]) -> work.Outcome:
        """Commit the transaction of an activity, together with its end."""

        def apply() -> work.Outcome:
            row = self._world.rows.workers.get(worker)
            if row is None:
                return work.Refused(reason=work.Refusal.FENCED)
            # It is no commit of the engine's, which is found again by its token.
            batch = work.Batch(token=row.token or b"", items=(done,), worker=worker)
            answer: work.Committed = self._store.commit(batch)
            if isinstance(answer.outcomes[0], work.Applied):
                self._world.bookings.write(keys)
            self._world.checks.committed(batch, answer)
            self._world.committed(self._host, batch, answer)
            return answer.outcomes[0]

        answer: work.Outcome = self._call("land", apply)
        return answer

    # -- what is lent ----------------------------------------------------------------------------------------------

    def wake_by(self, wake: Callable[[], None], /) -> None:
        """Have `wake` called when such a transaction of this process has been committed."""
        self._store.wake_by(wake)

    def lend(self, limit_us: int) -> SimulatedLent:
        """A transaction for a user."""
        return SimulatedLent(self._host, self._store, limit_us)

    async def join(self, connection: Any, item: work.ClientItem, /) -> work.Outcome:
        """Make an item part of such a transaction."""
        if isinstance(connection, OwnTransaction):
            return connection.join(self._world.rows, item)
        outcome: work.Outcome = await self._store.join(connection, item)
        return outcome

    def end_own(self, tx: OwnTransaction) -> None:
        """Commit a transaction of a user's own."""

        def apply() -> None:
            batch = work.Batch(token=b"", items=tuple(tx.items))
            answer: work.Committed = self._store.commit(batch)
            if not all(isinstance(each, work.Applied) for each in answer.outcomes):
                raise Violation(f"an open transaction had taken the ids in {batch}, and {answer.outcomes} came of it")
            self._world.checks.committed(batch, answer)
            tx.write()
            tx.end()
            self._world.committed(self._host, batch, answer)

        self._call("end of an own transaction", apply)

    def begin_lent(self, lent: SimulatedLent, begin: Callable[[], None]) -> None:
        """Give it the writer."""

        def apply() -> None:
            begin()
            self._world.lent = lent

        self._call("lend", apply)

    def end_lent(self, lent: SimulatedLent, commit: Callable[[], None]) -> None:
        """Commit it, if it has not been taken back."""

        def apply() -> TimeoutError | None:
            try:
                commit()
            except TimeoutError as error:
                return error
            answer = lent.arrive()
            batch = work.Batch(token=b"", items=tuple(item for _, item, _ in lent.joined))
            self._world.checks.committed(batch, answer)
            self._world.committed(self._host, batch, answer)
            return None

        late: TimeoutError | None = self._call("end of the loan", apply)
        if late is not None:
            raise late

    def applied(self, worker: int, token: bytes, /) -> bool | None:
        """Whether the last commit was this one."""
        answer: bool | None = self._call("applied", lambda: self._store.applied(worker, token))
        return answer

    def changed(self) -> bool:
        """Whether others have written; a wake-up that may get lost."""
        answer = bool(self._call("changed", self._store.changed))
        fault = self._world.faults.of_wake_up()
        if fault == "wake-up lost":
            return False
        return answer or fault == "wake-up for nothing"

    def standings(self, worker: int, tasks: Sequence[tuple[int, int, int]], /) -> list[work.Standing]:
        """How tasks stand."""
        answer: list[work.Standing] = self._call("standings", lambda: self._store.standings(worker, tasks))
        return answer

    def history(self, incarnation: int, execution: int, /) -> Any:
        """All rows of one execution."""
        return self._call("history", lambda: self._store.history(incarnation, execution))

    def read_history(self, incarnation: int, execution: int, /) -> Any:
        """All rows of one execution."""
        return self._call("read_history", lambda: self._store.read_history(incarnation, execution))

    def entries(self, incarnation: int, shelf: str, /, keys: Sequence[str] | None = None) -> Any:
        """What an instance keeps on a shelf."""
        return self._call("entries", lambda: self._store.entries(incarnation, shelf, keys))

    def get(self, instance_id: str, /) -> Any:
        """One instance."""
        return self._call("get", lambda: self._store.get(instance_id))

    def get_many(self, instance_ids: Sequence[str], /) -> Any:
        """Those that exist."""
        return self._call("get_many", lambda: self._store.get_many(instance_ids))

    def still_open(self, instance_ids: Sequence[str], /) -> Any:
        """Those that are open."""
        return self._call("still_open", lambda: self._store.still_open(instance_ids))

    def find(self, query: work.Query, /) -> Any:
        """One page."""
        return self._call("find", lambda: self._store.find(query))

    def count(self, query: work.Query, /) -> Any:
        """How many match."""
        return self._call("count", lambda: self._store.count(query))

    def images(self, instance_ids: Sequence[str], /) -> Any:
        """Instances with all that they have, and all below them."""
        return self._call("images", lambda: self._store.images(instance_ids))

    def family(self, instance_id: str, limit: int, /) -> Any:
        """An instance and what is below it."""
        return self._call("family", lambda: self._store.family(instance_id, limit))

    def executions(self, incarnation: int, /) -> Any:
        """The executions of an instance."""
        return self._call("executions", lambda: self._store.executions(incarnation))

    def held_tasks(self, limit: int, incarnation: int | None = None, /) -> Any:
        """The tasks that were set aside."""
        return self._call("held_tasks", lambda: self._store.held_tasks(limit, incarnation))

    def open_tasks(self, incarnation: int, limit: int, /) -> Any:
        """The activities that have not ended."""
        return self._call("open_tasks", lambda: self._store.open_tasks(incarnation, limit))

    def depths(self) -> Any:
        """What waits."""
        return self._call("depths", self._store.depths)

    def lapsed(self, scan: work.Scan, /) -> Any:
        """What need not be kept."""
        return self._call("lapsed", lambda: self._store.lapsed(scan))

    def workers(self) -> Any:
        """The registered workers."""
        return self._call("workers", self._store.workers)

    def close(self) -> None:
        """The process ends."""
        self._store.close()

    # -- what goes wrong -------------------------------------------------------------------------------------------

    def _call(self, operation: str, apply: Callable[[], Any]) -> Any:
        world, host = self._world, self._host
        if not host.alive:
            raise Dead
        world.timeline.now += 40
        if self._lends and operation in _WRITES:
            apply = partial(self._alone, apply)
        fault = world.faults.of_call(operation)
        if fault is not None:
            world.note(host.name, operation, fault)
            return self._faulty(apply, fault)
        # As `_apply` does it, without the call: nearly all calls go well.
        try:
            return apply()
        except WriterLentError:
            raise
        except Exception as error:
            world.fail(error)
            raise Dead from error

    def _alone(self, apply: Callable[[], Any]) -> Any:
        """Apply it once nobody has borrowed the writer."""
        world = self._world
        if world.lent is not None:
            self._host.wait(PATIENCE_US, until=lambda: world.lent is None)
            if world.lent is not None:
                raise WriterLentError("simulated: the writer is lent")
        return apply()

    def _apply(self, apply: Callable[[], Any]) -> Any:
        try:
            return apply()
        except WriterLentError:
            raise
        except Exception as error:
            self._world.fail(error)
            raise Dead from error

    def _faulty(self, apply: Callable[[], Any], fault: str) -> Any:
        host = self._host
        match fault:
            case "refused":
                raise StorageUnavailableError("simulated: the store can't be reached")
            case "unknown and lost":
                raise OutcomeUnknownError("simulated: the connection broke before the store had heard of it")
            case "hangs before":
                host.hang()
            case "killed before":
                host.kill()
                raise Dead
            case "paused before":
                host.pause()
                host.stand_still()
            case _:
                pass
        answer = self._apply(apply)
        match fault:
            case "unknown though applied":
                raise OutcomeUnknownError("simulated: the connection broke behind the commit")
            case "answers late":
                host.hang()
            case "killed after":
                host.kill()
                raise Dead
            case "paused after":
                host.pause()
                host.stand_still()
            case _:
                pass
        return answer

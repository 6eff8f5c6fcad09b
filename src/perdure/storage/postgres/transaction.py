"""What every step of a commit needs to know: the connection, the store's time, and who commits."""

from collections.abc import Sequence

from msgspec import Struct

from perdure._work import InstanceRecord
from perdure.storage.postgres.arrays import bigints
from perdure.storage.postgres.fronts import Front
from perdure.storage.postgres.wire import Call, Rows, Wire
from perdure.storage.records import record_of_row


class Transaction(Struct, frozen=True, kw_only=True):
    """An open transaction. `worker` is None for a client, and for a worker that somebody has buried.

    `joined` is the worker's place in the order of registrations; `laned` whether something waits in lanes, `places`
    whether instances wait there for places, and `sessions` whether tasks with a session do. `front` is how far the
    worker has looked, where that matters.
    """

    wire: Wire
    now: int
    worker: int | None = None
    joined: int = 0
    laned: bool = False
    places: bool = False
    sessions: bool = False
    front: Front | None = None

    def run(self, calls: Sequence[Call]) -> list[Rows]:
        """The answers of statements, in one round trip."""
        return self.wire.run(calls)

    def record(self, incarnation: int) -> InstanceRecord:
        """The record of an instance that is there."""
        [[row]] = self.run([("records", (bigints([incarnation]),))])
        return record_of_row(row)

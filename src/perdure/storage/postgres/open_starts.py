"""Ids that transactions of the user's own are about to take, which nobody sees before they end.

Law kept here: no instance delays another. Whoever would insert such an id waits, and with it all that is in the same
commit. So a commit that had to wait finds out for whom, and does the rest without it.
"""

from collections.abc import Sequence

from perdure._work import Item, StartInstance, Turn
from perdure.storage.postgres.arrays import text, texts
from perdure.storage.postgres.wire import Call, Wire


def claim_of(schema: str, instance_id: str) -> Call:
    """The statement by which a transaction of the user's own tells that it is about to take an id."""
    return ("tell_of_start", (text(schema), text(instance_id)))


class OpenStarts:
    """What a handle knows of them."""

    def __init__(self, schema: str) -> None:
        self._schema = schema
        self._retries = 0
        self._are_there = False

    def among(self, wire: Wire, items: Sequence[Item], retries: int) -> frozenset[str]:
        """The ids that items would take and others are about to; asked after a retry, and while there are some."""
        if retries == self._retries and not self._are_there:
            return frozenset()
        ids = _taken_by(items)
        if not ids:
            return frozenset()
        self._retries = retries
        [rows] = wire.run([("open_starts", (text(self._schema), texts(ids)))])
        self._are_there = bool(rows)
        return frozenset(row[0] for row in rows)


def _taken_by(items: Sequence[Item]) -> list[str]:
    ids: list[str] = []
    for item in items:
        match item:
            case StartInstance(new=new):
                ids.append(new.id)
            case Turn(create=create, starts=starts):
                ids += [child.new.id for child in starts]
                if create is not None:
                    ids.append(create.id)
            case _:
                pass
    return ids

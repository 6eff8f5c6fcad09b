"""What every step of a commit needs to know: how to run statements, the store's time, and who commits."""

from collections.abc import Callable, Container
from typing import Any

import apsw
from msgspec import Struct

from perdure._work import InstanceRecord
from perdure.storage.sqlite.rows import decode_answer, encode_rows, records_of_json
from perdure.storage.sqlite.statements import STATEMENTS

_RECORDS = STATEMENTS["records"]


class Transaction(Struct, frozen=True, kw_only=True):
    """An open write transaction. `worker` is None for a client, and for a worker that somebody has buried."""

    execute: Callable[..., Any]
    now: int
    worker: int | None = None
    connection: apsw.Connection | None = None
    odd: Container[int] | None = None
    """The instances whose rows may be otherwise than turns expect; None: any may."""

    def ask(self, statement: str, *bindings: Any) -> Any:
        """The answer of a statement that answers in JSON."""
        return decode_answer(self.execute(statement, bindings).get)

    def records(self, incarnations: list[int]) -> list[InstanceRecord]:
        """The records of instances that are there, in this order."""
        if not incarnations:
            return []
        return records_of_json(self.execute(_RECORDS, (encode_rows(incarnations),)).get)

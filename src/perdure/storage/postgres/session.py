"""A connection that comes back: what fails is mapped to the three outcomes, what may pass at once is tried again.

Laws kept here: a call ends as applied, not applied (`StorageUnavailableError`) or unknown (`OutcomeUnknownError`); as
long as COMMIT was not sent nothing is applied, because the server forgets a transaction whose connection is gone.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from psycopg.pq.abc import PGresult

from perdure._ports import Entropy
from perdure.errors import OutcomeUnknownError, StorageBusyError, StorageError, StorageUnavailableError
from perdure.storage.base import Meanwhile
from perdure.storage.postgres.failures import (
    FailedError,
    LostError,
    ends_connection,
    has_no_transactions,
    may_pass_at_once,
    meaning,
    no_connection,
)
from perdure.storage.postgres.wire import Call, Rows, Wire

T = TypeVar("T")

TRANSACTION_ATTEMPTS_MAX = 8
"""How often a transaction is tried that others were in the way of."""

CONNECTIONS_MAX = 3
"""How many connections a call uses up, each of which was lost, before it says that the store is unavailable."""

_PAUSE_S = 0.005

_log = logging.getLogger("perdure.storage")


class Session:
    """One connection, opened when it is needed, for one caller at a time.

    Args:
        connect: Opens a connection.
        place: The server, for messages.
        schema: The schema, for messages.
        entropy: Where jitter comes from.
    """

    def __init__(self, connect: Callable[[], Wire], *, place: str, schema: str, entropy: Entropy) -> None:
        self._connect = connect
        self._place = place
        self._schema = schema
        self._entropy = entropy
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._closed = False
        self._pause = threading.Event()
        self.retries = 0
        """How often something was tried again that others had been in the way of."""

    @property
    def backend(self) -> int:
        """The number of the server's process that works for it now; 0 for none."""
        wire = self._wire
        return 0 if wire is None else wire.backend

    def close(self) -> None:
        """Close it; harmless when repeated. A call that waits to try again gives up."""
        self._closed = True
        self._pause.set()
        with self._lock:
            self._drop()

    def read(self, calls: Sequence[Call], meanwhile: Meanwhile | None = None) -> list[Rows]:
        """The answers of statements that each stand for themselves; `meanwhile` is called while they are waited for.

        Raises:
            StorageError: As the failure means; nothing was applied if it is a `StorageUnavailableError`.
        """
        return self.attempt(lambda wire: wire.run(calls, meanwhile))

    def attempt(self, work: Callable[[Wire], T]) -> T:
        """Do work on the connection, again and again where that may help; it must apply nothing when it raises.

        Raises:
            StorageError: As the failure means.
        """
        with self._lock:
            lost = 0
            for attempt in range(TRANSACTION_ATTEMPTS_MAX):
                try:
                    return work(self._ready())
                except LostError as exc:
                    self._drop()
                    lost += 1
                    if exc.connecting:
                        raise no_connection(str(exc), self._place) from None
                    if lost == CONNECTIONS_MAX:
                        raise StorageUnavailableError(f"{self._place} broke the connection: {exc}") from None
                except FailedError as exc:
                    self._clean_up(exc)
                    if not may_pass_at_once(exc.error) or attempt == TRANSACTION_ATTEMPTS_MAX - 1:
                        raise meaning(exc.error, self._place, self._schema) from None
                    self.retries += 1
                    self._pause.wait(_PAUSE_S * (1 << attempt) * self._entropy.fraction())
                except BaseException:
                    # Whatever it was, nobody may find a transaction that another has begun.
                    self._drop()
                    raise
        raise StorageBusyError(f"{self._place}: others were faster {TRANSACTION_ATTEMPTS_MAX} times in a row")

    def _ready(self) -> Wire:
        if self._closed:
            raise StorageError(f"the store at {self._place} is closed: open it again, or close it later")
        if self._wire is None or not self._wire.is_open:
            self._drop()
            self._wire = self._connect()
        return self._wire

    def _clean_up(self, failed: FailedError) -> None:
        if self._wire is None:
            return
        if ends_connection(failed.error) or not self._wire.is_open:
            self._drop()
        elif self._wire.in_transaction:
            try:
                self._wire.run([("rollback", ())])
            except (LostError, FailedError):
                self._drop()

    def _drop(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def begin(wire: Wire, now_us: int = 0) -> list[Call]:
    """How a transaction begins on this connection."""
    if wire.pooled:
        return [
            ("begin", ()),
            ("limits", wire.limits()),
            *([("plan_transaction_by_index", ())] if wire.commits else []),
        ]
    return [("begin", ()), ("replan", ())] if wire.has_old_plans(now_us) else [("begin", ())]


def check_transactions(wire: Wire, place: str) -> None:
    """Find out whether a pooler gives a session of the server for a whole transaction, or for a statement only.

    Raises:
        StorageError: For a statement only.
        LostError: The connection is gone.
    """
    if not wire.pooled:
        return
    try:
        wire.run([("begin", ())])
        wire.run([("rollback", ())])
    except LostError as exc:
        if has_no_transactions(str(exc)):
            raise no_connection(str(exc), place) from None
        raise


def commit(
    wire: Wire, calls: Sequence[Call], place: str, after: Sequence[Call] = (), meanwhile: Meanwhile | None = None
) -> list[PGresult | None]:
    """Send the last statements of a transaction, its COMMIT, and what is to be done once it is durable.

    Returns the answers of the last statements. `meanwhile` holds nobody up: the server has all that it needs.

    Raises:
        FailedError: One of the statements failed; nothing is applied.
        OutcomeUnknownError: Nobody knows.
    """
    try:
        answers = wire.results([*calls, ("commit", ()), *after], needed=len(calls) + 1, meanwhile=meanwhile)
    except LostError as exc:
        raise OutcomeUnknownError(
            f"{place} broke the connection during a commit ({exc}): it is there or not, ask with applied()"
        ) from None
    except FailedError as exc:
        if exc.place == len(calls):
            raise OutcomeUnknownError(
                f"{place} broke off a commit ({exc}): it is there or not, ask with applied()"
            ) from None
        raise
    return answers[: len(calls)]

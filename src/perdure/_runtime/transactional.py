"""Attempts of transactional activities: what they do to the database and how they end is one commit.

Laws kept here: once the commit has begun nothing but its own outcome says how the attempt has ended; an outcome that
nobody knows is no failure: the task is handed back, which does nothing if its end is in the store.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from perdure._runtime.attempts import Attempt
from perdure._runtime.inbox import Ended, Entry, GoesBack
from perdure._work import ClaimedTask, Outcome, Refused, TaskDone, TaskRelease, encode_message
from perdure.errors import OutcomeUnknownError, StorageUnavailableError
from perdure.storage.lending import Loan, uninterrupted

UNREACHABLE_DELAY_US = 1_000_000
"""How long a transactional activity waits for the next try when the database could not be reached."""

_log = logging.getLogger("perdure.runtime")


class Lender(Protocol):
    """A store that lends transactions to activities."""

    def loan(self, *, is_async: bool) -> Loan:
        """One, for an attempt that is a coroutine or in a thread."""
        ...


class InTransaction:
    """Runs attempts in transactions that the store lends.

    Args:
        storage: The store.
        worker: The row of the worker for which tasks are run now.
    """

    def __init__(self, storage: Lender, worker: Callable[[], int]) -> None:
        self._storage = storage
        self._worker = worker

    async def run(
        self,
        attempt: Attempt,
        steps: Callable[[], Awaitable[Entry]],
        failed: Callable[..., Entry],
        *,
        is_async: bool,
    ) -> Entry:
        """How the attempt has ended; `steps` runs it, `failed` is what becomes of an error."""
        task = attempt.task
        # It is the worker of now that owns the task: one that takes its place has claimed it anew.
        worker = self._worker()
        loan = attempt.loan = self._storage.loan(is_async=is_async)
        try:
            await loan.open()
            entry = await steps()
            if isinstance(entry, Ended) and entry.outcome.error is None:
                return await _land(attempt, loan, entry, worker)
        except StorageUnavailableError as error:
            return _again(task, error)
        except Exception as error:  # noqa: BLE001 - what the store refuses is the activity's own failure
            return failed(task, error, timed_out=False)
        else:
            return _again(task, "the connection broke") if loan.is_lost else entry
        finally:
            await uninterrupted(loan.drop())


async def _land(attempt: Attempt, loan: Loan, entry: Ended, worker: int) -> Entry:
    task = entry.task
    done = TaskDone(
        incarnation=task.incarnation, execution=task.execution, event=task.event, body=encode_message(entry.outcome)
    )
    try:
        outcome = await _to_its_end(loan.land(done, worker))
    except OutcomeUnknownError as error:
        return _again(task, error)
    attempt.landed = not isinstance(outcome, Refused)
    if isinstance(outcome, Refused):
        _log.warning(
            "%s of %s was not wanted any more when it ended (%s): what it did was rolled back",
            task.name, task.instance_id, outcome.reason,
        )  # fmt: skip
    # Its end is in the store, or not wanted there; handing the task back does nothing then, and frees the slot here.
    return GoesBack(task, _release(task, 0))


async def _to_its_end(work: Any) -> Outcome:
    """The result of work whose cancellation comes too late, whoever asks for it."""
    landing: asyncio.Task[Outcome] = asyncio.ensure_future(work)
    while not landing.done():
        try:
            await asyncio.wait([landing])
        except asyncio.CancelledError:
            continue
    return landing.result()


def _again(task: ClaimedTask, reason: object) -> Entry:
    _log.warning("%s of %s is tried again, if need be: %s", task.name, task.instance_id, reason)
    return GoesBack(task, _release(task, UNREACHABLE_DELAY_US))


def _release(task: ClaimedTask, delay_us: int) -> TaskRelease:
    return TaskRelease(incarnation=task.incarnation, execution=task.execution, event=task.event, delay_us=delay_us)

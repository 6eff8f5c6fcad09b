"""Items that are part of somebody else's transaction: they are there if and only if that commits.

Laws kept here: whoever may keep a transaction open for long holds up no instance, so running ones are locked against
removal only, and who has taken an id may not idle on it; what fails is undone up to a savepoint, and the transaction
goes on; nothing here ends it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from perdure._work import ClientItem, Deliver, Item, Outcome, Refusal, Refused, StartInstance
from perdure.errors import StorageBusyError, StorageUnavailableError, UsageError
from perdure.storage.postgres import far_items
from perdure.storage.postgres.arrays import bigint, text, texts
from perdure.storage.postgres.batches import Plan
from perdure.storage.postgres.changes import writes
from perdure.storage.postgres.failures import FailedError, LostError, meaning
from perdure.storage.postgres.items import apply
from perdure.storage.postgres.open_starts import claim_of
from perdure.storage.postgres.session import TRANSACTION_ATTEMPTS_MAX
from perdure.storage.postgres.transaction import Transaction
from perdure.storage.postgres.wire import IDLE_MS_MAX, LOCK_MS_MAX, Call, Rows
from perdure.storage.postgres.working import Working

_TAKEN = "23505"


class Runs(Protocol):
    """A connection that runs statements in the transaction that it is in."""

    def run(self, calls: Sequence[Call]) -> list[Rows]:
        """Their answers.

        Raises:
            FailedError: One of them failed.
            LostError: The connection is gone.
        """
        ...


class Store(NamedTuple):
    """What there is to know of the store that the items belong to."""

    place: str
    schema: str
    whereabouts: tuple[Any, ...]
    channel: str
    """Where all workers are told of work."""
    moment: Callable[[int], int]
    """The store's time, of what the server's clock says."""


def join(wire: Runs, store: Store, item: ClientItem) -> Outcome:
    """Make an item part of the transaction, or refuse it and leave that as it was.

    Raises:
        UsageError: The connection is in no transaction, or in one that has failed, or in another database.
        StorageError: As the failure means; the transaction goes on if it still can.
    """
    try:
        _open(wire, store)
        for _ in range(TRANSACTION_ATTEMPTS_MAX):
            try:
                return _apply(wire, store, item)
            except FailedError as exc:
                wire.run([("undo_savepoint", ())])
                if exc.error.sqlstate != _TAKEN:
                    wire.run([("keep_savepoint", ())])
                    raise meaning(exc.error, store.place, store.schema) from None
        wire.run([("keep_savepoint", ())])
        raise StorageBusyError(
            f"{store.place}: others took the id again and again, where this transaction can't see them: begin it anew"
        )
    except LostError as exc:
        raise StorageUnavailableError(
            f"{store.place} broke the connection ({exc}), and with it the transaction: nothing of it was applied"
        ) from None


def _open(wire: Runs, store: Store) -> None:
    try:
        _, [found] = wire.run([("savepoint", ()), ("whereabouts", ())])
    except FailedError as exc:
        match exc.error.sqlstate:
            case "25P02":
                problem = "the transaction of connection= has failed: roll it back, and begin another"
            case "25P01":
                problem = not_begun("connection=")
            case "42P01" | "3F000":
                # The table that would tell is missing.
                wire.run([("undo_savepoint", ()), ("keep_savepoint", ())])
                problem = _elsewhere(store)
            case _:
                raise meaning(exc.error, store.place, store.schema) from None
        raise UsageError(problem) from None
    if found != store.whereabouts:
        wire.run([("keep_savepoint", ())])
        raise UsageError(_elsewhere(store))


def _elsewhere(store: Store) -> str:
    return (
        f"connection= leads to another database than the store, which is {store.place}, schema {store.schema}: one "
        "transaction can't span two; use a connection to the store's database"
    )


def not_begun(what: str) -> str:
    """The sentence for a connection whose statements each commit by themselves."""
    return (
        f"{what} is in no transaction, so each of its statements would commit by itself: begin one first, for example "
        "`async with connection.transaction():`"
    )


def _apply(wire: Runs, store: Store, item: ClientItem) -> Outcome:
    limit = text(f"{LOCK_MS_MAX}ms")
    [[(before, _)]] = wire.run([("savepoint_limit", (limit,))])
    outcome, working = judged(wire, store, item, None)
    calls = [("add_loose_messages" if name == "add_messages" else name, values) for name, values in writes(working)]
    tell: list[Call] = [("notify", (texts([store.channel]),))] if calls else []
    if isinstance(item, StartInstance) and calls:
        tell.append(("limit_idling", (text(f"{IDLE_MS_MAX}ms"),)))
    # Whoever owns an instance now need not do so when the transaction ends, so all workers are told, by the server
    # itself and not before.
    if isinstance(item, StartInstance) and calls:
        calls.insert(0, claim_of(store.schema, item.new.id))
    wire.run([*calls, *tell, ("restore_limit", (text(before),)), ("keep_savepoint", ())])
    return outcome


def judged(wire: Runs, store: Store, item: Item, worker: int | None) -> tuple[Outcome, Working]:
    """What becomes of an item, and what is to be written to make it so."""
    # Whoever replaces an instance has to hold it, and so has whoever ends a task; all else lets it go on.
    shares = isinstance(item, Deliver) or (
        isinstance(item, StartInstance) and item.on_conflict in ("fail", "use_existing")
    )
    plan = Plan([item], worker, shares=shares)
    fence: list[Call] = [] if worker is None else [("worker", (bigint(worker),))]
    answers = wire.run([*fence, *plan.calls(), ("clock", ())])
    if fence and not answers[0]:
        return Refused(reason=Refusal.FENCED), Working(None, 0)
    now = store.moment(answers[-1][0][0])
    transaction: Any = Transaction(
        wire=wire,  # type: ignore[arg-type]  # all that is asked of it here is to run statements
        now=now,
        worker=worker,
        joined=answers[0][0][0] if fence else 0,
    )
    working = plan.learn(answers[len(fence) : -1], now)
    act = far_items.apply if far_items.reaches_far(working, item) else apply
    return act(transaction, working, item), working

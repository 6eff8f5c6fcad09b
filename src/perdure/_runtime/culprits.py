"""When storage chokes on a commit and can't say why: its items go one by one, until it is known which one it is.

Laws kept here: an item that storage can't take harms its own instance and no other; and an item is only blamed while
storage takes everything else, so that no fault of the store ever holds an instance.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from msgspec import Struct

from perdure import _work as work
from perdure._client.requests import Request
from perdure._runtime.after import requests_of
from perdure._runtime.attempts import TaskKey
from perdure._runtime.live import Prepared
from perdure.errors import (
    DatabaseCorruptError,
    FencedError,
    ForeignDatabaseError,
    ForkedError,
    HeldError,
    OutcomeUnknownError,
    SchemaVersionError,
    StorageError,
    StorageUnavailableError,
    error_info_from_exception,
)
from perdure.storage.base import Storage

ATTEMPTS = 3
"""How often an item alone makes storage choke before it is blamed."""

_PAUSE_US = 50_000
# Damage is not among them: it is mostly in few pages, and harms those alone whose rows these have.
_OF_THE_STORE = (
    FencedError,
    ForeignDatabaseError,
    ForkedError,
    OutcomeUnknownError,
    SchemaVersionError,
    StorageUnavailableError,
)

_log = logging.getLogger("perdure.runtime")


class ChokedError(Exception):
    """A commit failed, was not applied, and nothing says that the store itself is at fault."""


def commit(storage: Storage, batch: work.Batch) -> work.Committed:
    """Have a batch committed.

    Raises:
        ChokedError: Storage raised something by which it does not speak of itself: perhaps an item is to blame.
        StorageError: As storage says.
    """
    try:
        return storage.commit(batch)
    except _OF_THE_STORE:
        raise
    except Exception as error:
        raise ChokedError(f"{type(error).__name__}: {error}") from error


def _refusal(what: str, choked: ChokedError) -> StorageError:
    """What is told to whoever asked for what storage can't take; of damage by the error that is for it."""
    kind = DatabaseCorruptError if isinstance(choked.__cause__, DatabaseCorruptError) else StorageError
    return kind(f"{what}: {choked}")


def unknown(error: BaseException) -> OutcomeUnknownError:
    """What is told to whoever asked for something that a failed commit may have brought or not."""
    if isinstance(error, OutcomeUnknownError):
        return error
    return OutcomeUnknownError(f"the store failed ({error}): look before you send it again")


class Part(Struct, eq=False, kw_only=True):
    """What one commit carries."""

    requests: list[Request] = []
    items: list[work.Item] = []
    turns: list[Prepared] = []

    def batch(self, token: bytes, worker: int, claim: work.Claim | None) -> work.Batch:
        """As storage takes it."""
        # What goes back to the store or comes from clients may wake instances: it goes first, turns last.
        items = [each.item for each in self.requests] if self.requests else []
        items += self.items
        if self.turns:
            items += [turn.item for turn in self.turns]
        return work.Batch(token=token, worker=worker, items=tuple(items), claim=claim)

    def asked(self) -> list[Request]:
        """Who waits for an answer."""
        return [*self.requests, *requests_of(self.turns)]

    def tell(self, error: Exception) -> None:
        """Answer all of them with an error."""
        for request in self.asked():
            request.resolve(error)

    def __bool__(self) -> bool:
        return bool(self.requests or self.items or self.turns)

    def split(self) -> Iterator["Part"]:
        """Its items, each alone."""
        yield from (Part(requests=[each]) for each in self.requests)
        yield from (Part(items=[each]) for each in self.items)
        yield from (Part(turns=[each]) for each in self.turns)


class Holding(Protocol):
    """What sets an instance aside."""

    def set_aside(self, turn: Prepared, error: Exception) -> Prepared:
        """The hold that takes the place of a turn."""
        ...


class Culprits:
    """Finds the item on which storage chokes, and sees to it that all others land.

    Args:
        commit: Commits a part, and raises `ChokedError`.
        pause: Waits for so many microseconds.
        place: The worker's row; another one after it has started over.
        ask_again: Takes back requests whose turn has come to nothing.
        holding: Sets instances aside.
        renounce: Tells that activities may not be called.
    """

    def __init__(
        self,
        *,
        commit: Callable[[Part], None],
        pause: Callable[[int], None],
        place: Callable[[], int],
        ask_again: Callable[[list[Request]], None],
        holding: Holding,
        renounce: Callable[[Sequence[TaskKey]], None],
    ) -> None:
        self._commit = commit
        self._pause = pause
        self._place = place
        self._ask_again = ask_again
        self._holding = holding
        self._renounce = renounce

    def find(self, part: Part, choked: ChokedError) -> None:
        """Commit the items of a part one by one; whatever is alone at fault is answered, failed or held.

        Raises:
            ChokedError: It is the store: it chokes on an empty commit too. Who waits has been told.
        """
        _log.error("the store chokes on a commit (%s); its items go one by one", choked)
        place = self._place()
        rest = deque(part.split())
        while rest:
            one = rest.popleft()
            if self._place() != place:
                # The worker has started over meanwhile: what is not committed will be done again.
                self._ask_again(one.asked())
                continue
            try:
                self._alone(one)
            except BaseException as error:
                for left in (one, *rest):
                    left.tell(unknown(error))
                raise

    def _alone(self, one: Part) -> None:
        choked = ChokedError()
        for _ in range(ATTEMPTS):
            try:
                self._commit(one)
            except ChokedError as error:
                choked = error
            else:
                return
            # Without the item it must work: otherwise this raises, and nobody is blamed.
            self._commit(Part())
            self._pause(_PAUSE_US)
        self._blame(one, choked)

    def _blame(self, one: Part, choked: ChokedError) -> None:
        for request in one.requests:
            _log.error("the store can't take a %s: %s", type(request.item).__name__, choked)
            request.resolve(_refusal("the store can't take this request, and nothing of it was applied", choked))
        for item in one.items:
            self._fail(item, choked)
        for turn in one.turns:
            self._hold(turn, choked)

    def _fail(self, item: work.Item, choked: ChokedError) -> None:
        """The end of an activity can't be stored as it is: the activity fails instead, in words."""
        _log.error("the store can't take a %s: %s", type(item).__name__, choked)
        if isinstance(item, work.TaskBeat) and item.began:
            self._renounce([(item.incarnation, item.execution, item.event)])
            back = work.TaskRelease(
                incarnation=item.incarnation, execution=item.execution, event=item.event, delay_us=0
            )
            self._try(Part(items=[back]))
        if not isinstance(item, work.TaskDone | work.TaskRetry | work.TaskRelease):
            return
        error = StorageError(f"how this activity ended can't be stored: {choked}")
        outcome = work.ActivityOutcome(
            execution=item.execution, source=item.event, error=error_info_from_exception(error)
        )
        done = work.TaskDone(
            incarnation=item.incarnation,
            execution=item.execution,
            event=item.event,
            body=work.encode_message(outcome),
        )
        self._try(Part(items=[done]))

    def _hold(self, turn: Prepared, choked: ChokedError) -> None:
        error = HeldError(f"the store can't take the turn of this instance, while it takes all else: {choked}")
        hold = self._holding.set_aside(turn, error)
        if self._try(Part(turns=[hold])) or not isinstance(hold.item, work.Hold):
            return
        # What it keeps is at fault, then: these messages were never stored, and who sent them hears of it.
        Part(turns=[hold]).tell(_refusal("the store can't take what this request has led to", choked))
        if hold.item.create is None:
            bare = work.Hold(incarnation=hold.item.incarnation, reason=hold.item.reason, execution=hold.item.execution)
            self._try(Part(turns=[Prepared(live=hold.live, item=bare, arrivals=[], held=hold.held)]))

    def _try(self, part: Part) -> bool:
        try:
            self._commit(part)
        except ChokedError as choked:
            _log.error("the store can't take what was to replace it either: %s", choked)
            return False
        return True

"""Which items of a segment are refused, and why, found out before anything of the segment is written."""

from collections.abc import Sequence

from perdure._work import (
    APPLIED,
    COMING,
    Applied,
    Deliver,
    InstanceRelease,
    Item,
    NewInstance,
    Outcome,
    Refusal,
    Refused,
    StartInstance,
    TaskBeat,
    TaskDone,
    TaskRelease,
    TaskRetry,
    Turn,
)
from perdure.storage.sqlite.local_tasks import expected
from perdure.storage.sqlite.rows import encode_rows
from perdure.storage.sqlite.statements import STATEMENTS, RowStatement
from perdure.storage.sqlite.transaction import Transaction

_TURNS = RowStatement("judge_turns")
_CREATIONS = RowStatement("judge_creations")
_TASKS = STATEMENTS["judge_tasks"]
_DELIVERIES = STATEMENTS["judge_deliveries"]

_NOT_OWNER = Refused(reason=Refusal.NOT_OWNER)
_STALE = Refused(reason=Refusal.STALE)
_INCARNATION = Refused(reason=Refusal.INCARNATION)
_NOT_FOUND = Refused(reason=Refusal.NOT_FOUND)
_CLOSED = Refused(reason=Refusal.CLOSED)
_COMING = Refused(reason=Refusal.COMING)
_NOT_HELD = Refused(reason=Refusal.NOT_HELD)
_BY_VERDICT = {"not_owner": _NOT_OWNER, "stale": _STALE}


class Judgement:
    """What a look at the tables says about the items of a segment, given as (place in the batch, item)."""

    def __init__(self, transaction: Transaction, items: Sequence[tuple[int, Item]]) -> None:
        self._transaction = transaction
        self._items = items
        self._holders: dict[int, int] = {}
        self.settled: dict[int, Outcome] = {}
        """By place: the outcome of items of which nothing is to be written."""
        self.wakes: set[int] = set()
        """The turns of instances that were pending or held."""
        self.taken: dict[int, frozenset[str]] = {}
        """By the place of a turn: the ids of its children that others have."""
        self.local_tasks: dict[int, int | None] = {}
        """By the incarnation of a turn: the local task of its instance, if it is another than expected."""
        self.receivers: dict[int, int] = {}
        """By the place of a delivery: the incarnation that it goes to."""
        kinds = {type(item) for _, item in items}
        if Turn in kinds or InstanceRelease in kinds:
            self._judge_owned()
        if Turn in kinds or StartInstance in kinds:
            self._judge_creations()
        if not kinds.isdisjoint((TaskDone, TaskBeat, TaskRetry, TaskRelease)):
            self._judge_tasks()
        if Deliver in kinds:
            self._judge_deliveries()

    def first_dependent(self) -> int | None:
        """How many items come before the first whose answer shows an instance that one before it touches."""
        if not self._holders:
            return None
        touched: set[int] = set()
        for number, (place, item) in enumerate(self._items):
            if self._holders.get(place) in touched:
                return number
            if isinstance(item, Turn | InstanceRelease):
                touched.add(item.incarnation)
        return None

    def _judge_owned(self) -> None:
        """Turns of instances that are there must be by their owner and continue the history; releases by the owner."""
        places: dict[int, int] = {}
        values: list[object] = [self._transaction.worker]
        for place, item in self._items:
            if isinstance(item, Turn):
                if _breaks_off(item):
                    self.settled[place] = _STALE
                if item.create is None:
                    places[item.incarnation] = place
                    values += (item.incarnation, item.execution, item.base, expected(item))
            elif isinstance(item, InstanceRelease):
                places[item.incarnation] = place
                values += (item.incarnation, None, None, None)
        for incarnation, verdict, local in _TURNS.ask(self._transaction.execute, values):
            self.local_tasks[incarnation] = local
            refused = _BY_VERDICT.get(verdict)
            if refused is not None:
                self.settled[places[incarnation]] = refused
            elif verdict == "suspended":
                self._judge_suspended(places[incarnation])
            elif verdict in ("pending", "held"):
                self.wakes.add(places[incarnation])

    def _judge_suspended(self, place: int) -> None:
        item = dict(self._items)[place]
        if isinstance(item, Turn) and item.runs:
            self.settled[place] = _STALE

    def _judge_creations(self) -> None:
        """Ids and incarnations must be free."""
        news: list[tuple[int, NewInstance]] = []
        have_children = False
        for place, item in self._items:
            if isinstance(item, Turn):
                if item.create is not None:
                    news.append((place, item.create))
                if item.starts:
                    have_children = True
                    news += [(place, child.new) for child in item.starts]
            elif isinstance(item, StartInstance):
                news.append((place, item.new))
        if not news:
            return
        values = [each for number, (_, new) in enumerate(news) for each in (number, new.id, new.incarnation)]
        found = {number: rest for number, *rest in _CREATIONS.ask(self._transaction.execute, values)}
        if found or have_children:
            self._judge_news(news, found)

    def _judge_news(self, news: list[tuple[int, NewInstance]], found: dict[int, list[int | None]]) -> None:
        items = dict(self._items)
        ids: set[str] = set()
        incarnations: set[int] = set()
        previous = None
        for number, (place, new) in enumerate(news):
            if place != previous:
                ids, incarnations, previous = set(), set(), place
            by_id, by_incarnation = found.get(number, (None, None))
            item = items[place]
            if by_id is not None and not self._meets(place, item, new, by_id):
                self.taken[place] = self.taken.get(place, frozenset()) | {new.id}
            elif by_id is None and new.id not in ids:
                if (by_incarnation or new.incarnation in incarnations) and self._may_be_incarnation(place):
                    self.settled[place] = _INCARNATION
                ids.add(new.id)
                incarnations.add(new.incarnation)
        self._show_holders()

    def _may_be_incarnation(self, place: int) -> bool:
        """A refusal that comes earlier in the contract's order stands."""
        return self.settled.get(place) in (None, _STALE)

    def _meets(self, place: int, item: Item, new: NewInstance, holder: int) -> bool:
        """Settle what would create an instance under a taken id; False for a child, which only passes it over."""
        if isinstance(item, StartInstance):
            if holder == new.incarnation:
                self.settled[place] = APPLIED
            else:
                self._holders[place] = holder
            return True
        if isinstance(item, Turn) and item.create is new:
            self._holders[place] = holder
            return True
        return False

    def _show_holders(self) -> None:
        """Answer with the instances that have the ids."""
        records = self._transaction.records(sorted(set(self._holders.values())))
        by_incarnation = {record.incarnation: record for record in records}
        items = dict(self._items)
        for place, holder in self._holders.items():
            item, record = items[place], by_incarnation[holder]
            if isinstance(item, StartInstance) and item.on_conflict == "use_existing":
                self.settled[place] = Applied(existing=record)
            else:
                self.settled[place] = Refused(reason=Refusal.EXISTS, existing=record)

    def _judge_tasks(self) -> None:
        """Tasks must be the worker's."""
        ends = [
            (place, (item.incarnation, item.execution, item.event))
            for place, item in self._items
            if isinstance(item, TaskDone | TaskBeat | TaskRetry | TaskRelease)
        ]
        for number in self._transaction.ask(_TASKS, encode_rows([row for _, row in ends]), self._transaction.worker):
            self.settled[ends[number][0]] = _NOT_OWNER

    def _judge_deliveries(self) -> None:
        """Receivers must be there and open."""
        deliveries = [(place, item) for place, item in self._items if isinstance(item, Deliver)]
        rows = [(item.to_id, item.dedup_key, item.incarnation, item.if_held) for _, item in deliveries]
        answers = self._transaction.ask(_DELIVERIES, encode_rows(rows), COMING)
        for (place, _), (incarnation, closed, repeated, coming, as_wanted) in zip(deliveries, answers, strict=True):
            if incarnation is None:
                self.settled[place] = _NOT_FOUND
            elif repeated:
                self.settled[place] = APPLIED
            elif closed:
                self.settled[place] = _CLOSED
            elif coming:
                self.settled[place] = _COMING
            elif not as_wanted:
                self.settled[place] = _NOT_HELD
            else:
                self.receivers[place] = incarnation


def _breaks_off(turn: Turn) -> bool:
    """Whether a turn can't continue any history, whatever is stored."""
    if turn.history is not None and turn.history.first != turn.base + 1:
        return True
    return turn.create is not None and (turn.execution, turn.base) != (1, 0)

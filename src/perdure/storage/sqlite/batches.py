"""How the items of a batch are applied: in segments whose items don't touch each other, each segment at once.

Laws kept here: the result is that of applying the items one after the other; an item is judged completely before
anything of it is written, so a refused one leaves no trace.

Items of one segment commute: none writes what another reads or writes. Messages to one instance may share a segment,
as their order is kept. The few kinds of items that reach far (a delete, a restart, a hold) go alone.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from perdure._work import (
    APPLIED,
    Applied,
    ClientItem,
    Delete,
    Deliver,
    Forget,
    Hold,
    InstanceRelease,
    Item,
    MoveOut,
    NewInstance,
    Outcome,
    Prune,
    Put,
    Receive,
    Refusal,
    Refused,
    Resume,
    Settle,
    StartInstance,
    Suspend,
    TaskBeat,
    TaskDiscard,
    TaskDone,
    TaskHold,
    TaskRelease,
    TaskRetry,
    Try,
    Turn,
)
from perdure.storage.segments import payload_bytes
from perdure.storage.sqlite import far_items, local_tasks
from perdure.storage.sqlite.changes import Changes
from perdure.storage.sqlite.judgement import Judgement
from perdure.storage.sqlite.own_turns import apply_own_turns
from perdure.storage.sqlite.rows import encode_rows
from perdure.storage.sqlite.statements import STATEMENTS
from perdure.storage.sqlite.steps import apply_steps
from perdure.storage.sqlite.transaction import Transaction

_INCARNATIONS = STATEMENTS["incarnations"]
_FENCED = Refused(reason=Refusal.FENCED)
_SEGMENT_BYTES = 64 * 1024 * 1024
"""The payloads of a segment are in memory twice while it is written."""

_ALONE = (
    Hold | TaskHold | Try | Delete | Prune | Suspend | Resume | TaskDiscard | Put | MoveOut | Receive | Settle | Forget
)
_NONE_TAKEN: frozenset[str] = frozenset()

Key: TypeAlias = int | str | tuple[object, ...]
"""What an item touches: an instance by its incarnation or id, a task, or a dedup key."""


def apply_items(transaction: Transaction, items: Sequence[Item]) -> tuple[Outcome, ...]:
    """Apply the items in order; one outcome for each.

    Raises:
        UnexpectedError: They have to be judged; see `steps.py`.
    """
    outcomes: list[Outcome] = [APPLIED] * len(items)
    if apply_steps(transaction, items) or apply_own_turns(transaction, items):
        return tuple(outcomes)
    places: list[int] = []
    for place, item in enumerate(items):
        if isinstance(item, Turn) and transaction.worker is not None:
            places.append(place)
        elif transaction.worker is None and not isinstance(item, ClientItem):
            outcomes[place] = _FENCED
        elif _reaches_far(item):
            _apply_near(transaction, items, places, outcomes)
            places = []
            outcomes[place] = far_items.apply(transaction, item)
        else:
            places.append(place)
    _apply_near(transaction, items, places, outcomes)
    return tuple(outcomes)


def _reaches_far(item: Item) -> bool:
    if isinstance(item, StartInstance):
        return item.again or item.on_conflict not in ("fail", "use_existing")
    return isinstance(item, _ALONE)


def _apply_near(transaction: Transaction, items: Sequence[Item], places: list[int], outcomes: list[Outcome]) -> None:
    for segment in _segments(transaction, items, places):
        while segment:
            segment = segment[_apply_segment(transaction, items, segment, outcomes) :]  # noqa: PLW2901 - the rest of it


def _apply_segment(transaction: Transaction, items: Sequence[Item], segment: list[int], outcomes: list[Outcome]) -> int:
    """Apply a segment up to the first item whose outcome depends on one before it; returns how many were applied."""
    concerned = local_tasks.concerned(items[place] for place in segment)
    if concerned:
        local_tasks.move(transaction, concerned)
    judgement = Judgement(transaction, [(place, items[place]) for place in segment])
    split = judgement.first_dependent()
    if split is not None:
        segment = segment[:split]
        judgement = Judgement(transaction, [(place, items[place]) for place in segment])
    changes = Changes(transaction)
    settled, wakes, taken = judgement.settled, judgement.wakes, judgement.taken
    good = [items[place] for place in segment if place not in settled]
    changes.go_on([item for item in good if isinstance(item, Turn)], judgement.local_tasks)
    for place in segment:
        item = items[place]
        if place in settled:
            outcomes[place] = settled[place]
        elif isinstance(item, Turn):
            changes.turn(place, item, taken.get(place, _NONE_TAKEN), wakes=place in wakes)
        else:
            _collect(changes, judgement, place, item)
    changes.write()
    for place, skipped in changes.skipped.items():
        outcomes[place] = Applied(skipped=tuple(skipped))
    return len(segment)


def _collect(changes: Changes, judgement: Judgement, place: int, item: Item) -> None:
    match item:
        case StartInstance():
            changes.create(item.new)
        case Deliver():
            changes.deliver(judgement.receivers[place], item)
        case TaskDone() | TaskBeat() | TaskRetry() | TaskRelease():
            changes.of_task(item)
        case InstanceRelease():
            changes.release(item)


def _segments(transaction: Transaction, items: Sequence[Item], places: list[int]) -> Iterator[list[int]]:
    """Cut the items into segments, in order."""
    ids = _known_ids(transaction, items, places)
    segment: list[int] = []
    written: set[Key] = set()
    read: set[Key] = set()
    size = 0
    for place in places:
        item = items[place]
        size += payload_bytes(item)
        if size > _SEGMENT_BYTES and segment:
            yield segment
            segment, written, read, size = [], set(), set(), payload_bytes(item)
        if isinstance(item, Turn) and item.create is None and not item.starts and not item.messages:
            # Nearly all items are such: no sets are made for them.
            key = item.incarnation
            if key in written or key in read:
                yield segment
                segment, written, read = [], set(), set()
            segment.append(place)
            written.add(key)
            continue
        writes, reads = _keys(item, ids)
        if not (written.isdisjoint(writes) and read.isdisjoint(writes) and written.isdisjoint(reads)):
            yield segment
            segment, written, read = [], set(), set()
        segment.append(place)
        written.update(writes)
        read.update(reads)
    if segment:
        yield segment


def _known_ids(transaction: Transaction, items: Sequence[Item], places: list[int]) -> dict[str, int]:
    """The incarnations behind the ids by which items name instances that they don't create."""
    wanted: set[str] = set()
    for place in places:
        item = items[place]
        if isinstance(item, Turn) and not item.messages:
            continue
        match item:
            case Turn(messages=messages):
                wanted.update(message.to_id for message in messages if message.to_id is not None)
            case Deliver(to_id=to_id):
                wanted.add(to_id)
            case StartInstance(new=new):
                wanted.add(new.id)
            case _:
                pass
    if len(places) < 2 or not wanted:  # noqa: PLR2004 - one item can't touch another
        return {}
    found: dict[str, int] = transaction.ask(_INCARNATIONS, encode_rows(sorted(wanted)))
    return found


def _keys(item: Item, ids: dict[str, int]) -> tuple[Sequence[Key], Sequence[Key]]:
    """What an item writes, and what it reads or adds a message to."""
    match item:
        case Turn():
            return _keys_of_turn(item, ids)
        case StartInstance():
            return _keys_of_new(item.new, ids), _keys_of_id(item.new.id, ids)
        case Deliver():
            repeated = () if item.dedup_key is None else (("dedup", item.to_id, item.dedup_key),)
            return repeated, _keys_of_id(item.to_id, ids)
        case TaskDone() | TaskBeat() | TaskRetry() | TaskRelease():
            return ((item.incarnation, item.execution, item.event),), (item.incarnation,)
        case _:
            return (item.incarnation,) if isinstance(item, InstanceRelease | Hold) else (), ()


def _keys_of_turn(turn: Turn, ids: dict[str, int]) -> tuple[Sequence[Key], Sequence[Key]]:
    writes: list[Key] = [turn.incarnation]
    reads: list[Key] = []
    if turn.create is not None:
        writes += _keys_of_new(turn.create, ids)
    for child in turn.starts:
        writes += _keys_of_new(child.new, ids)
    for message in turn.messages:
        if message.to_id is not None:
            reads += _keys_of_id(message.to_id, ids)
        elif message.to_incarnation is not None:
            reads.append(message.to_incarnation)
    return writes, reads


def _keys_of_new(new: NewInstance, ids: dict[str, int]) -> tuple[Key, Key]:
    # A later item of the batch may name it by its id.
    ids.setdefault(new.id, new.incarnation)
    return new.id, new.incarnation


def _keys_of_id(id_: str, ids: dict[str, int]) -> tuple[Key, ...]:
    incarnation = ids.get(id_)
    return (id_,) if incarnation is None else (id_, incarnation)

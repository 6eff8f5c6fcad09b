"""The statements that write what a segment has worked out: one for each kind of row, in one round trip.

Laws kept here: nothing is judged here; what goes is taken away before anything is added, as nothing that a segment adds
is among what it takes out of the store.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from perdure._work import NewTask
from perdure.storage.lanes import is_plain, lane_of, limit_columns
from perdure.storage.postgres.arrays import bigint, bigints, blobs, booleans, texts
from perdure.storage.postgres.wire import Call
from perdure.storage.postgres.working import Row, TaskKey, Working

_Task: TypeAlias = tuple[int, int, NewTask]
"""A task to add: incarnation, execution, and what it is."""


def writes(working: Working) -> list[Call]:
    """The statements, in order."""
    moves = _Moves(working)
    return [
        *_removals(working),
        *_deletions(working, moves),
        *_updates(working),
        *_creations(working),
        *_additions(working, moves),
        *working.further,
    ]


class _Moves:
    """Which tasks that are over give their rows to which that are added.

    A step of an orchestration ends one activity and begins another, which so is one row written instead of two.
    """

    def __init__(self, working: Working) -> None:
        self.gone: list[TaskKey] = []
        """Those whose rows go."""
        self.moved: list[tuple[TaskKey, _Task]] = []
        self.plain: list[_Task] = []
        self.special: list[_Task] = []
        """Those that are added in rows of their own."""
        over: dict[int, list[TaskKey]] = {}
        for key in working.tasks_gone:
            over.setdefault(key[0], []).append(key)
        for incarnation, tasks in working.tasks.items():
            free = over.get(incarnation)
            if free and not tasks.keys().isdisjoint({key[1:] for key in free}):
                free = None
            for (execution, _), task in tasks.items():
                added = (incarnation, execution, task)
                if not is_plain(task):
                    self.special.append(added)
                elif free:
                    self.moved.append((free.pop(), added))
                else:
                    self.plain.append(added)
        # Of what ends all tasks go in any case.
        cleared = {*working.cleared, *working.removed}
        for incarnation, keys in over.items():
            if incarnation not in cleared:
                self.gone += keys
        for turn in working.stepped:
            key = (turn.incarnation, turn.execution, turn.tasks_gone[0])
            self.moved.append((key, (turn.incarnation, turn.execution, turn.tasks[0])))


def _columns(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*rows, strict=True))


def _keys(rows: Sequence[tuple[int, ...]]) -> list[bytes | None]:
    return [bigints(column) for column in _columns(rows)]


def _removals(working: Working) -> list[Call]:
    calls: list[Call] = []
    if working.removed:
        removed = (bigints(working.removed),)
        calls += [(f"delete_{kind}", removed) for kind in ("instances", "history", "keys", "entries")]
        calls.append(("remember_gone", (bigint(max(working.removed)),)))
    cleared = [*working.removed, *working.cleared]
    if cleared:
        gone = (bigints(cleared),)
        calls += [("clear_tasks", gone), ("clear_timers", gone), ("clear_messages", gone)]
    return calls


def _deletions(working: Working, moves: _Moves) -> list[Call]:
    calls: list[Call] = []
    if working.ended:
        ended = _keys(working.ended)
        calls += [(f"end_executions_{kind}", ended) for kind in ("tasks", "timers", "messages")]
    if working.pruned:
        calls.append(("delete_executions", _keys(working.pruned)))
    if working.consumed:
        calls.append(("consume_messages", _keys(working.consumed)))
    if moves.gone:
        calls.append(("remove_tasks", _keys(moves.gone)))
    if working.timers_gone:
        calls.append(("remove_timers", _keys(working.timers_gone)))
    gone = [key for key, entry in working.entries.items() if entry.value is None]
    if gone:
        incarnations, shelves, keys = _columns(gone)
        calls.append(("remove_entries", [bigints(incarnations), texts(shelves), texts(keys)]))
    return calls


def _updates(working: Working) -> list[Call]:
    calls: list[Call] = []
    calls += _put_back(working)
    rows = [row for row in working.by_incarnation.values() if row.new is None]
    changed = [row for row in rows if row.changed]
    if changed:
        calls.append(("change_instances", _changed(changed)))
    moved = [row for row in rows if row.moved and not row.changed]
    if moved:
        columns = _columns([(row.incarnation, row.owner, row.released_by, row.released_until) for row in moved])
        calls.append(("release_instances", [bigints(column) for column in columns]))
    return calls


def _put_back(working: Working) -> list[Call]:
    """What becomes of tasks that the worker owns and that do not end."""
    calls: list[Call] = []
    if working.beats:
        details, began_at = _columns([*working.beats.values()])
        calls.append(("beat_tasks", [*_keys([*working.beats]), blobs(details), bigints(began_at)]))
    if working.retried:
        inc, execution, event, attempt, due, delayed, error, details, began = _columns(working.retried)
        keys = map(bigints, (inc, execution, event, attempt, due))
        calls.append(("retry_tasks", [*keys, booleans(delayed), blobs(error), blobs(details), bigints(began)]))
    if working.released:
        inc, execution, event, due, delayed, details = _columns(working.released)
        calls.append((
            "release_tasks", [*map(bigints, (inc, execution, event, due)), booleans(delayed), blobs(details)]
        ))  # fmt: skip
    return calls


def _changed(rows: list[Row]) -> list[bytes | None]:
    return [
        bigints([row.incarnation for row in rows]),
        texts([row.status for row in rows]),
        bigints([row.owner for row in rows]),
        bigints([row.execution for row in rows]),
        texts([row.version for row in rows]),
        bigints([row.ready_at for row in rows]),
        bigints([row.held_after for row in rows]),
        texts([row.held_because for row in rows]),
        bigints([row.released_by for row in rows]),
        bigints([row.released_until for row in rows]),
        booleans([row.cancel_requested for row in rows]),
        bigints([row.custom_status_version for row in rows]),
        blobs([row.custom_status for row in rows]),
        blobs([row.output for row in rows]),
        bigints([row.updated_at for row in rows]),
        blobs([row.error for row in rows]),
        bigints([row.deliveries for row in rows]),
        bigints([row.min_reader for row in rows]),
    ]


def _creations(working: Working) -> list[Call]:
    # In the order of ids, so that two commits that create the same ones don't wait for each other.
    rows = sorted((row for row in working.by_incarnation.values() if row.new is not None), key=lambda row: row.id)
    if not rows:
        return []
    news = [(row, row.new) for row in rows if row.new is not None]
    parents = [new.parent for _, new in news]
    return [(
        "create_instances",
        [
            bigints([row.incarnation for row in rows]),
            texts([row.id for row in rows]),
            texts([new.name for _, new in news]),
            texts([row.version for row in rows]),
            texts([row.status for row in rows]),
            bigints([row.owner for row in rows]),
            bigints([row.execution for row in rows]),
            bigints([row.ready_at for row in rows]),
            texts([new.root for _, new in news]),
            bigints([new.slot for _, new in news]),
            texts([None if each is None else each.instance_id for each in parents]),
            bigints([None if each is None else each.incarnation for each in parents]),
            bigints([None if each is None else each.execution for each in parents]),
            bigints([None if each is None else each.event for each in parents]),
            booleans([row.cancel_requested for row in rows]),
            bigints([row.custom_status_version for row in rows]),
            bigints([row.held_after for row in rows]),
            texts([row.held_because for row in rows]),
            bigints([row.released_by for row in rows]),
            bigints([row.released_until for row in rows]),
            blobs([new.attributes for _, new in news]),
            blobs([row.custom_status for row in rows]),
            blobs([row.output for row in rows]),
            blobs([row.error for row in rows]),
            bigint(working.now),
            bigints([row.min_reader or 1 for row in rows]),
            bigints([row.updated_at for row in rows]),
        ],
    )]  # fmt: skip


def _additions(working: Working, moves: _Moves) -> list[Call]:
    calls: list[Call] = []
    if working.history or working.stepped:
        calls.append(("append_history", _history(working)))
    calls += _tasks(working, moves)
    if working.tasks_stopped:
        calls.append(("stop_tasks", [*_keys(working.tasks_stopped), bigint(working.now)]))
    timers = [
        (incarnation, *name, due) for incarnation, timers in working.timers.items() for name, due in timers.items()
    ]
    if timers:
        calls.append(("add_timers", _keys(timers)))
    if working.first_messages:
        inc, waiting, bodies = _columns(working.first_messages)
        calls.append(("add_next_starts", [bigints(inc), bigints(waiting), blobs(bodies), bigint(working.now)]))
    messages = [each for each in working.messages if each.body is not None]
    if messages:
        columns: list[bytes | None] = [
            bigints([each.incarnation for each in messages]),
            bigints([each.execution for each in messages]),
            bigints([each.due for each in messages]),
            booleans([each.control for each in messages]),
            blobs([each.body for each in messages]),
        ]
        calls.append(("add_messages", columns))
    if working.parcels:
        shards, senders, bodies = _columns(working.parcels)
        calls.append(("add_parcels", [bigints(shards), bigints(senders), blobs(bodies), bigint(working.now)]))
    calls += _entries(working)
    if working.new_keys:
        inc, keys = _columns(working.new_keys)
        calls.append(("add_dedup_keys", [bigints(inc), texts(keys)]))
    return calls


def _entries(working: Working) -> list[Call]:
    # In the order of their keys, as everything that may meet the same rows elsewhere.
    kept = sorted((key, entry) for key, entry in working.entries.items() if entry.value is not None)
    if not kept:
        return []
    incarnations, shelves, keys = _columns([key for key, _ in kept])
    since = [working.now if entry.passing else None for _, entry in kept]
    values = [entry.value for _, entry in kept]
    return [("put_entries", [bigints(incarnations), texts(shelves), texts(keys), bigints(since), blobs(values)])]


def _history(working: Working) -> list[bytes | None]:
    steps = working.stepped
    rows = [row for _, _, row, _ in working.history]
    rows += [turn.history for turn in steps if turn.history is not None]
    return [
        bigints([*(incarnation for incarnation, _, _, _ in working.history), *[turn.incarnation for turn in steps]]),
        bigints([*(execution for _, execution, _, _ in working.history), *[turn.execution for turn in steps]]),
        bigints([row.first for row in rows]),
        bigints([row.last for row in rows]),
        bigints([row.at for row in rows]),
        bigints([row.crc for row in rows]),
        bigints([row.format for row in rows]),
        texts([row.encoding for row in rows]),
        blobs([row.data for row in rows]),
        bigints([*(at for _, _, _, at in working.history), *working.stepped_at]),
    ]


def _tasks(working: Working, moves: _Moves) -> list[Call]:
    calls: list[Call] = []
    if moves.moved:
        rows, added = _columns(moves.moved)
        _, *over = _keys(rows)
        calls.append(("move_tasks", [*_of_tasks(working, added), bigint(working.now), *over]))
    if moves.plain:
        calls.append(("add_plain_tasks", [*_of_tasks(working, moves.plain), bigint(working.now)]))
    if moves.special:
        special = moves.special
        now = working.now
        news = [task for _, _, task in special]
        limits = [limit_columns(task) for task in news]
        columns: list[bytes | None] = [
            *_of_tasks(working, special),
            bigints([task.priority for task in news]),
            bigints([None if task.schedule_to_start_us is None else now + task.schedule_to_start_us for task in news]),
            bigints([None if task.total_timeout_us is None else now + task.total_timeout_us for task in news]),
            texts([task.tag for task in news]),
            texts([task.session for task in news]),
            texts([lane_of(task) for task in news]),
            texts([key for key, _, _, _ in limits]),
            bigints([concurrency for _, concurrency, _, _ in limits]),
            bigints([rate for _, _, rate, _ in limits]),
            bigints([per_us for _, _, _, per_us in limits]),
            blobs([task.permit for task in news]),
            bigint(now),
        ]
        calls.append(("add_tasks", columns))
    return calls


def _of_tasks(working: Working, tasks: Sequence[_Task]) -> list[bytes | None]:
    incarnations, executions, news = _columns(tasks)
    worker = working.worker
    return [
        bigints(incarnations),
        bigints(executions),
        bigints([task.event for task in news]),
        bigints([worker if task.local else None for task in news]),
        texts([task.name for task in news]),
        blobs([task.input for task in news]),
        blobs([task.retry for task in news]),
    ]

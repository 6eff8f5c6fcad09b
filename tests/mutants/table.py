"""Bugs made by hand: a place in the source, and what stands there instead. Each must be found."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "src" / "perdure"


@dataclass(frozen=True)
class Mutant:
    """A bug: `old`, which is in the file exactly once, becomes `new`."""

    name: str
    file: str
    old: str
    new: str
    suite: str | None = None
    """The tests that find it, where chance would take too long."""
    operated: bool = False
    """Whether only worlds with an operator meet it."""

    def applied(self) -> str:
        """The file with the bug.

        Raises:
            LookupError: What is to be replaced is no longer there, or more than once: look for its new place.
        """
        text = (PACKAGE / self.file).read_text(encoding="utf-8")
        found = text.count(self.old)
        if found != 1:
            raise LookupError(f"{self.name}: {self.old!r} is {found} times in {self.file}")
        return text.replace(self.old, self.new)


_PARCELS = "storage/memory/parcels.py"
_ITEMS = "storage/memory/items.py"
_ROWS = "storage/memory/rows.py"
_CLAIMS = "storage/memory/claims.py"
_MEMORY = "storage/memory/storage.py"
_ENGINE = "_runtime/dispatcher.py"
_SENDING = "_runtime/sending.py"
_TURNS = "_runtime/turns.py"
_ORCHESTRATIONS = "_runtime/orchestrations.py"
_ACTIVITIES = "_runtime/activities.py"
_ATTEMPTS = "_runtime/attempts.py"
_EFFECTS = "_runtime/effects.py"
_IN_MEMORY = "tests/runtime/test_what_only_memory_has.py"
_ADMISSION = "_core/admission.py"
_MAILBOXES = "_core/mailboxes.py"
_EXECUTION = "_core/execution.py"
_LANES = "storage/memory/lanes.py"
_SQLITE_LANES = "storage/sqlite/lanes.py"
_ITEMS_RUN = "_runtime/items.py"
_REWINDING = "_client/rewinding.py"
_IMAGES = "storage/images.py"
_SUSPENDED_RUN = "tests/runtime/test_cancelled_while_suspended.py"
_LIMITS_RUN = "tests/runtime/test_limits.py"
_SESSIONS_RUN = "tests/runtime/test_sessions.py"
_TAGS_RUN = "tests/runtime/test_tags.py"

SIMULATED = (
    # -- ownership and leases
    Mutant("turns of whoever lost the instance are taken", _ITEMS, "if item.incarnation in worker.instances:", "if item.incarnation in tables.instances:"),
    Mutant("outcomes of whoever lost the task are taken", _ITEMS, "return task if task is not None and task.owner == worker.record.worker else None", "return task if task is not None and task.owner is not None else None"),
    Mutant("what is suspended is handed out", _CLAIMS, "case Status.PENDING | Status.RUNNING:", "case Status.PENDING | Status.RUNNING | Status.SUSPENDED:"),
    Mutant("what another owns is handed out", _CLAIMS, "return row.record.owner in (None, worker.record.worker)", "return True"),
    Mutant("instances are handed to workers without their code", _CLAIMS, "        case Status.PENDING | Status.RUNNING:\n            return worker.knows(row.record)", "        case Status.PENDING | Status.RUNNING:\n            return True"),
    Mutant("a lease from another clock", _MEMORY, "lease_until=self.now() + row.lease_us)", "lease_until=self._clock.monotonic_us() + row.lease_us)"),
    Mutant("a heartbeat that changes nothing", _MEMORY, "            row.record = msgspec.structs.replace(row.record, lease_until=self.now() + row.lease_us)\n", ""),
    Mutant("workers are buried alive", _MEMORY, "if row.record.lease_until <= now and", "if row.record.lease_until <= now + 5_000_000 and"),
    Mutant("a dead worker keeps its instances", _ROWS, "        for incarnation in list(worker.instances):\n", "        for incarnation in ():\n"),
    Mutant("a dead worker keeps its tasks", _ROWS, "for task in list(worker.tasks.values()):", "for task in ():"),
    Mutant("an ended instance keeps its owner", _ROWS, "        self.clear_execution(row)\n        self.own_instance(row, None)", "        self.clear_execution(row)"),
    # -- what waits
    Mutant("a message is lost on its way in", _ITEMS, "    tables.add_message(row, item.body, now, control=item.control)\n", "    if now % 10:\n        tables.add_message(row, item.body, now, control=item.control)\n"),
    Mutant("a dedup key is forgotten", _ITEMS, "        row.dedup_keys.add(item.dedup_key)", "        pass"),
    Mutant("messages stay that were consumed", _ITEMS, "        tables.remove_message(row, seq)\n", "        pass\n"),
    Mutant("the outcomes of children are lost", _PARCELS, "return tables.instances.get(message.to_incarnation or 0)", "return None"),
    Mutant("children never start", _ITEMS, "            tables.add_message(born, child.new.start, born.ready_at)", "            pass"),
    Mutant("a turn that begins elsewhere is taken", _ITEMS, "return follows and (turn.execution, turn.base) == (execution, last_event)", "return follows"),
    Mutant("the next execution starts behind what waits", _ITEMS, "tables.add_first_message(row, turn.next_start, now)", "tables.add_message(row, turn.next_start, now)"),
    Mutant("the next execution may start after what comes later", _ITEMS, "        row.ready_at = max(now, row.ready_at)\n", ""),
    Mutant("timers outlive their execution", _ROWS, "        for event in list(row.timers):\n", "        for event in ():\n"),
    Mutant("tasks outlive their execution", _ROWS, "        for task in list(row.tasks.values()):\n", "        for task in ():\n"),
    Mutant("timers that have fired stay", _ITEMS, "    for event in turn.timers_gone:\n", "    for event in ():\n"),
    Mutant("tasks that have ended stay", _ITEMS, "    _drop_tasks(tables, row, turn.execution, turn.tasks_gone)\n", ""),
    Mutant("timers are handed out too early", _CLAIMS, "    due = takewhile(lambda entry: entry[0] <= now, row.waiting)\n    return [_claimed_message", "    due = takewhile(lambda entry: entry[0] <= now + 3_000_000, row.waiting)\n    return [_claimed_message"),
    Mutant("the next attempt is not counted by the store", _ITEMS, "            task.attempt = item.attempt\n", ""),
    Mutant("a task that is handed back is never handed out again", _ITEMS, "            tables.disown_task(task, number, due=now + item.delay_us, started=False)", "            pass"),
    Mutant("the last commit is not remembered", _MEMORY, "                worker.token = batch.token\n", ""),
    # -- the engine
    Mutant("an answer before the commit", _ENGINE, "        requests, items, turns = part.requests, part.items, part.turns\n", "        requests, items, turns = part.requests, part.items, part.turns\n        for request in requests:\n            request.resolve(work.APPLIED)\n"),
    Mutant("what landed unnoticed is sent again", _SENDING, "return self._storage.applied(worker, token)", "return not self._storage.applied(worker, token)"),
    Mutant("outcomes are lost with a turn that is refused", _ENGINE, "        self._items += outcomes_among(turn.live, (*turn.arrivals, *turn.live.pending))\n", "", suite=_IN_MEMORY),
    Mutant("a slot is never free again", _ENGINE, "                self.busy -= 1\n                if entry.item is not None:", "                if entry.item is not None:"),
    Mutant("nobody looks for the dead", _ENGINE, "            reaped = self._storage.reap(self._worker)", "            reaped = work.Reaped(workers=1)"),
    Mutant("others' work is never looked for", _ENGINE, "    def _claim(self) -> work.Claim | None:\n        if not self._claim_wanted or self.draining:", "    def _claim(self) -> work.Claim | None:\n        if not self._claim_wanted or self.draining or self.commits > 3:"),
    Mutant("a store that is away holds an instance", _ORCHESTRATIONS, "        except StorageUnavailableError:\n            # Infra", "        except ZeroDivisionError:\n            # Infra"),
    Mutant("messages come twice", "_runtime/live.py", "        return self.seqs is not None and key in self.seqs", "        return False", suite=_IN_MEMORY),
    Mutant("the cache drops what has messages", _ORCHESTRATIONS, "                if not live.pending and live.create is None:", "                if live.create is None:", suite=_IN_MEMORY),
    Mutant("a cancelled activity stays", _TURNS, "        self.tasks_gone.append(event.source)\n        self.activities_cancelled", "        self.activities_cancelled"),
    Mutant("an ended activity stays", _TURNS, "    def _answered(self, event: ev.ActivityCompleted | ev.ActivityFailed) -> None:\n        self.tasks_gone.append(event.source)", "    def _answered(self, event: ev.ActivityCompleted | ev.ActivityFailed) -> None:\n        del event"),
    Mutant("a fired timer stays", _TURNS, "        self.timers_gone.append(event.source)\n", "        del event\n"),
    Mutant("a timer is forgotten", _TURNS, "        self.timers.append((event.id, event.fire_at))", "        del event"),
    Mutant("children are not told that they are given up", _TURNS, "        child = self.children[event.source]\n        self._tell(", "        child = self.children[event.source]\n        (lambda *_: None)("),
    Mutant("a parent does not hear of its child's end", _TURNS, "        parent = self.owner.parent\n        if parent is not None:", "        parent = self.owner.parent\n        if parent is not None and self.owner.execution > 1:"),
    Mutant("an attempt is not counted", _ACTIVITIES, "                    attempt=task.attempt + 1,", "                    attempt=task.attempt,"),
    Mutant("activities are given up too early", _ACTIVITIES, "            attempt=task.attempt,\n            elapsed_us", "            attempt=task.attempt + 1,\n            elapsed_us"),
    Mutant("a cancel before the first step loses the slot", _ATTEMPTS, "if self.runner is not None and self.has_begun:", "if self.runner is not None:"),
    Mutant("what must not be run twice is called before that is durable", _EFFECTS, "        began_at = await self._announce(attempt)\n        while", "        began_at = asked_at\n        while"),
    Mutant("what may have happened is run again unasked", _EFFECTS, "        if plan is None or task.began:", "        if plan is None:"),
    Mutant("two attempts of what must not be run twice are at work", _EFFECTS, "        if key in self._at_work:\n", "        if key in ():\n"),
    # -- the core
    Mutant("a second cancel is an event", _ADMISSION, "    if execution.cancel_requested is not None:\n        return None\n", ""),
    Mutant("stale outcomes are taken", _ADMISSION, "    if message.execution != execution.execution_id or not isinstance(waits, ActivityFuture):\n        return None\n", ""),
    Mutant("a timer fires before its time", _ADMISSION, "at=max(now, message.fire_at)", "at=now - 1"),
    Mutant("unread events don't go along", _EXECUTION, "carried=self.mailboxes.unread()", "carried=()"),
    Mutant("the newest unread event is read first", _MAILBOXES, "event_id, data = unread.popleft()", "event_id, data = unread.pop()"),
    Mutant("what is open is not given up", _EXECUTION, "                self._record_given_up(ask.given_up())\n        self.open.clear()", "                pass\n        self.open.clear()"),
    Mutant("children are forgotten at a continue-as-new", _EXECUTION, "        self.run_ready()\n        self._warn()\n        self._give_up_everything()\n        values, status", "        self.run_ready()\n        self._warn()\n        values, status"),
    Mutant("the KV store does not go along", _EXECUTION, "values=values, status=status)", "status=status)"),
    # -- what operators do
    Mutant("operators: a cancel has a suspended instance run", _ITEMS_RUN, "    if live.is_suspended:\n        return True\n", "", suite=_SUSPENDED_RUN),
    Mutant("operators: an outcome is lost when a cancel is sent on", _ENGINE, "            self._items += outcomes_among(live, live.pending)\n            self._items.append(work.InstanceRelease", "            self._items.append(work.InstanceRelease", suite=_SUSPENDED_RUN),
    Mutant("operators: events that an instance was told are not told again", _REWINDING, "            message = self._told(event)\n            if message is not None:", "            message = self._told(event)\n            if message is not None and not isinstance(message, work.Raised):", operated=True),
    Mutant("operators: what has gone on meanwhile is put back", _IMAGES, "        if present is None or stamp_of(present.record, present.messages, present.tasks) != stamp:", "        if present is None:", operated=True),
    Mutant("operators: children of dropped turns stay", _REWINDING, "    born = [each for each in tree if _is_born_in(each, image.record, base)]", "    born: list[work.InstanceImage] = []", operated=True),
    Mutant("operators: a status that was taken back looks unchanged", _REWINDING, "custom_status_version=record.custom_status_version + changed,", "custom_status_version=record.custom_status_version,", operated=True),
    Mutant("operators: the KV store keeps what was dropped", _REWINDING, "        for event in self._kept:\n            if isinstance(event, ev.ValueSet):", "        for event in (*self._kept, *self._dropped):\n            if isinstance(event, ev.ValueSet):", operated=True),
    Mutant("operators: timers that have fired since do not fire again", _REWINDING, "            if isinstance(event, ev.TimerCreated):\n                yield", "            if isinstance(event, ev.TimerCreated) and event.fire_at > self._now:\n                yield", operated=True),
    Mutant("operators: that an activity was about to be called is forgotten", _REWINDING, "            began_at=before.began_at,\n", "", operated=True),
    Mutant("operators: an activity whose result is told again runs, too", _REWINDING, "            if isinstance(event, ev.ActivityScheduled) and event.id not in self._ended:", "            if isinstance(event, ev.ActivityScheduled):", operated=True),
    Mutant("operators: what waited unread is lost", _REWINDING, "        for each, _ in self._waiting:\n", "        for each, _ in ():\n", operated=True),
    Mutant("operators: a start that is told again may come behind what is sent later", _REWINDING, "ready_at=image.ready_at if last else max(image.ready_at, self._now),", "ready_at=image.ready_at,", suite="tests/runtime/test_reset_to_a_beginning.py"),
    Mutant("operators: what is suspended keeps its owner", "storage/memory/aside.py", "    tables.own_instance(row, None)\n    row.record = replace(row.record, status=Status.SUSPENDED", "    row.record = replace(row.record, status=Status.SUSPENDED", operated=True),
    # -- limits, tags and sessions
    Mutant("limits: one place too many", _LANES, "limit.concurrency - running(tables, key))", "limit.concurrency - running(tables, key) + 1)", suite=_LIMITS_RUN),
    Mutant("limits: a rate that forgets what began", _LANES, "        free = min(free, limit.rate - begun)", "        free = min(free, limit.rate)", suite=_LIMITS_RUN),
    Mutant("limits: the numbers that were declared first are in force", _LANES, "last = max(tables.limited[key].values(), key=_declared)", "last = min(tables.limited[key].values(), key=_declared)", suite=_LIMITS_RUN),
    Mutant("limits: what is too late has a place", _LANES, "return sum(task.owner is not None and not task.is_late for task", "return sum(task.owner is not None for task", suite=_LIMITS_RUN),
    Mutant("limits: a place that was left is never free again", _TURNS, "        self.take_slot(IN_LINE)\n        self.tasks_gone.append(event.source)\n\n    def _activity_stopped", "        self.take_slot(IN_LINE)\n\n    def _activity_stopped", suite=_LIMITS_RUN),
    Mutant("limits: an activity begins on its own worker without a place", _TURNS, "    in_line = event.tag or event.limit or event.session\n", "    in_line = event.tag or event.session\n", suite=_LIMITS_RUN),
    Mutant("limits: the way out of a section is not written down", "_core/limits.py", "        if execution.over is None and place is not None:", "        if execution.over is None and place is None:", suite="tests/core/engine/test_limits.py"),
    Mutant("tags: a worker takes what it does not serve", _LANES, "return task.new.name in worker.activities and worker.record.serves.takes(task.new.tag)", "return task.new.name in worker.activities", suite=_TAGS_RUN),
    Mutant("tags: an activity begins on its own worker whatever that serves", _TURNS, "    in_line = event.tag or event.limit or event.session\n", "    in_line = event.limit or event.session\n", suite=_TAGS_RUN),
    Mutant("sessions: an activity begins on its own worker whoever has its session", _TURNS, "    in_line = event.tag or event.limit or event.session\n", "    in_line = event.tag or event.limit\n", suite=_SESSIONS_RUN),
    Mutant("sessions: a worker takes what is of another's session", _LANES, "is_open = task.new.session is None or task.new.session in sessions", "is_open = True", suite=_SESSIONS_RUN),
    Mutant("sessions: nobody has the session of what was taken", _CLAIMS, "            worker.sessions[task.new.session] = now\n", "            pass\n", suite=_SESSIONS_RUN),
    Mutant("sessions: a worker has more of them than it may", "storage/memory/sessions.py", "    room = worker.record.serves.sessions - len(_needed(worker, waiting))\n", "    room = worker.record.serves.sessions\n", suite=_SESSIONS_RUN),
)  # fmt: skip
"""Found by the simulation, those in a storage by its suite at the latest."""

_SQL = "storage/sqlite/queries.sql"

STORED = (
    Mutant("who waits in vain for an activity with a limit is left alone", "storage/memory/unknown.py", "if not tables.line.tasks and not tables.line.laned:", "if not tables.line.tasks:"),
    Mutant("SQLite: the last commit is not remembered", "storage/sqlite/storage.py", "                writer.execute(_REMEMBER_TOKEN, (batch.worker, batch.token))\n", "                writer.execute(_REMEMBER_TOKEN, (batch.worker, bytes(16)))\n"),
    Mutant("SQLite: workers are buried alive", "storage/sqlite/workers.py", "(lease_until <= transaction.now or number in dead)", "(lease_until <= transaction.now + 5_000_000 or number in dead)"),
    Mutant("SQLite: a dead worker keeps its tasks", "storage/sqlite/workers.py", '    transaction.execute(STATEMENTS["disown_tasks"], (rows, died, transaction.now))\n', ""),
    Mutant("SQLite: a dead worker keeps its instances", "storage/sqlite/workers.py", '    transaction.execute(STATEMENTS["disown_instances"], (rows, died))\n', ""),
    Mutant("SQLite: the next execution starts behind what waits", _SQL, "WHERE m.incarnation = j.column1) - 1, ?1)", "WHERE m.incarnation = j.column1) + 1, ?1)"),
    Mutant("SQLite: the next execution may start after what comes later", _SQL, "    ready_at = CASE WHEN c.restarts THEN max(?1, instances.ready_at) ELSE instances.ready_at END,\n", ""),
    Mutant("SQLite: nobody is held for want of code", "storage/sqlite/workers.py", "    since = transaction.now - UNKNOWN_GRACE_US\n", "    since = transaction.now - 10_000 * UNKNOWN_GRACE_US\n"),
    Mutant("SQLite limits: one place too many", _SQLITE_LANES, "[self._concurrency - self._running]", "[self._concurrency - self._running + 1]"),
    Mutant("SQLite limits: a rate that forgets what began", _SQLITE_LANES, "        if begun:\n            self._transaction", "        if begun and now < 0:\n            self._transaction"),
    Mutant("SQLite limits: what is too late has a place", _SQL, "p.owner IS NOT NULL AND p.late = 0", "p.owner IS NOT NULL"),
    Mutant("SQLite tags: a worker takes what it does not serve", _SQLITE_LANES, "for name, lane in lanes if lane.places or self._serves.takes(lane.tag)]", "for name, lane in lanes]"),
    Mutant("SQLite sessions: a worker has more of them than it may", "storage/sqlite/sessions.py", "self._serves.sessions - sum(is_needed for _, _, is_needed in had)", "self._serves.sessions"),
    Mutant("SQLite: an ended instance keeps its owner", _SQL, "    owner = CASE WHEN c.status IN ('completed', 'failed', 'cancelled', 'terminated', 'moved') THEN NULL ELSE instances.owner END,\n", ""),
)  # fmt: skip
"""Found by the storage suite."""

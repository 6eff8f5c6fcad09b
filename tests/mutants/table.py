"""Bugs made by hand: a place in the source, and what stands there instead. Each must be found."""

from dataclasses import dataclass
from pathlib import Path

from perdure.testing.simulation.letters import ADDRESSED
from perdure.testing.simulation.operator import OPERATED
from perdure.testing.simulation.own import OWN
from perdure.testing.simulation.schedules import PLANNED
from perdure.testing.simulation.sharding import SHARDED, SHARDED_EVERY
from perdure.testing.simulation.towns import MOVING, MOVING_EVERY
from perdure.testing.simulation.twins import SQLITE_EVERY

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
    worlds: int | None = None
    """Which of so many seeds are those of the only worlds that meet it; None if all do."""
    every: int = 10

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
_COURIER = "_runtime/courier.py"
_SHARDS = "_client/shards.py"
_ITEMS = "storage/memory/items.py"
_ROWS = "storage/memory/rows.py"
_CLAIMS = "storage/memory/claims.py"
_ASIDE = "storage/memory/aside.py"
_MEMORY = "storage/memory/storage.py"
_ENGINE = "_runtime/dispatcher.py"
_SENDING = "_runtime/sending.py"
_TURNS = "_runtime/turns.py"
_ORCHESTRATIONS = "_runtime/orchestrations.py"
_AHEAD = "_runtime/ahead.py"
_AHEAD_RUN = "tests/runtime/test_ahead.py"
_ATTEMPTS = "_runtime/attempts.py"
_ENDINGS = "_runtime/endings.py"
_EFFECTS = "_runtime/effects.py"
_IN_MEMORY = "tests/runtime/test_what_only_memory_has.py"
_ADMISSION = "_core/admission.py"
_MAILBOXES = "_core/mailboxes.py"
_EXECUTION = "_core/execution.py"
_LANES = "storage/memory/lanes.py"
_SQLITE_LANES = "storage/sqlite/lanes.py"
_REWINDING = "_client/rewinding.py"
_PAGES = "storage/pages.py"
_PAGES_RUN = "tests/storage/test_pages.py"
_IMAGES = "storage/images.py"
_IMAGES_SUITE = "tests/storage/test_conformance.py"
_SUSPENDED_RUN = "tests/runtime/test_cancelled_while_suspended.py"
_SCHEDULES = "_schedules/program.py"
_MOVING = "_client/moving.py"
_MOVING_RUN = "tests/client/test_suspended_and_moved.py"
_TRANSACTIONAL = "_runtime/transactional.py"
_LIMITS_RUN = "tests/runtime/test_limits.py"
_SESSIONS_RUN = "tests/runtime/test_sessions.py"
_TAGS_RUN = "tests/runtime/test_tags.py"
_SUSPECTS = "_runtime/suspects.py"
_SUSPECTS_RUN = "tests/runtime/test_suspects.py"

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
    Mutant("messages stay that were consumed", _ITEMS, "    for seq in turn.consumed:\n        tables.remove_message(row, seq)\n", ""),
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
    Mutant("a slot is never free again", _ENGINE, "            self.capacity.leave(1, self._clock.monotonic_us())\n            if entry.item is not None:", "            if entry.item is not None:"),
    Mutant("nobody looks for the dead", _ENGINE, "            reaped: work.Reaped = self.ahead.beside(self._storage.reap, self._worker)", "            reaped = work.Reaped(workers=1)"),
    Mutant("others' work is never looked for", _ENGINE, "    def _claim(self) -> work.Claim | None:\n        if not self._claim_wanted or self.draining:", "    def _claim(self) -> work.Claim | None:\n        if not self._claim_wanted or self.draining or self.commits > 3:"),
    Mutant("a store that is away holds an instance", _ORCHESTRATIONS, "        except StorageUnavailableError:\n            # Infra", "        except ZeroDivisionError:\n            # Infra"),
    Mutant("messages come twice", "_runtime/live.py", "        return self.seqs is not None and key in self.seqs", "        return False", suite=_IN_MEMORY),
    Mutant("the cache drops what has messages", _ORCHESTRATIONS, "                if not live.pending and not live.queued and live.create is None:", "                if live.create is None:", suite=_IN_MEMORY),
    Mutant("the cache drops what has a turn ahead", _ORCHESTRATIONS, "                if not live.pending and not live.queued and live.create is None:", "                if not live.pending and live.create is None:", suite=_AHEAD_RUN),
    Mutant("an instance takes a turn beside one of its own", _AHEAD, "        for turn in turns:\n            turn.live.queued = True\n\n    def arrived", "\n    def arrived", suite=_AHEAD_RUN),
    Mutant("nothing is done while the store is asked", _AHEAD, "        self.set_out(())\n", "", suite=_AHEAD_RUN),
    Mutant("an event passes one that is on its way", _AHEAD, "if not self._kept and isinstance(entry, Request) and isinstance(entry.item, work.StartInstance):", "if isinstance(entry, Request):", suite=_AHEAD_RUN),
    Mutant("turns ahead outlive the worker's place", _ENGINE, "[*requests, *self.ahead.lost(), *self.orchestrations.drop_all()]", "[*requests, *self.orchestrations.drop_all()]", suite=_AHEAD_RUN),
    Mutant("a turn ahead of what was claimed anew is sent", _ENGINE, "        for turn in self.ahead.replaced() if taken.instances else ():", "        for turn in ():", suite=_AHEAD_RUN),
    # -- what workers died with
    Mutant("what is tried alone is not: others are tried together", _SUSPECTS, "begins=begins, alone=not self.tried)", "begins=begins)", suite=_SUSPECTS_RUN),
    Mutant("what is tried alone is not: others have just begun", _SUSPECTS, "is_quiet = not (begins or self._is_busy() or self._orchestrations.queue)", "is_quiet = True", suite=_SUSPECTS_RUN),
    Mutant("what is tried alone is not: turns go along", _SUSPECTS, "not (begins or self._is_busy()", "not (self._is_busy()", suite=_SUSPECTS_RUN),
    Mutant("what is tried alone is not: a tried turn has asked for more", _SUSPECTS, "self._tasks.values(), self._instances_began, begins", "self._tasks.values(), 0, begins", suite=_SUSPECTS_RUN),
    Mutant("who waits to be tried waits anew with each message", _SUSPECTS, "self._clock.monotonic_us() if before is None else before.since_us", "self._clock.monotonic_us()", suite=_SUSPECTS_RUN),
    Mutant("one is tried again and again before the others", _SUSPECTS, "first = min(waiting, key=lambda each: each.deliveries)", "first = next(iter(waiting))", suite=_SUSPECTS_RUN),
    Mutant("a trial is over before its outcome is durable", _ENGINE, "self.suspects.ended(entries) if self.suspects.tried else (entries, [])", "([each for each in entries if not self.suspects.over(each.task) or True], [])", suite=_SUSPECTS_RUN),
    Mutant("a worker that ends begins trials", _ENGINE, "[] if self.draining else self.suspects.items", "self.suspects.items", suite=_SUSPECTS_RUN),
    Mutant("a cancelled activity stays", _TURNS, "        self.tasks_gone.append(event.source)\n        self.activities_cancelled", "        self.activities_cancelled"),
    Mutant("an ended activity stays", _TURNS, "    def _answered(self, event: ev.ActivityCompleted | ev.ActivityFailed) -> None:\n        self.tasks_gone.append(event.source)", "    def _answered(self, event: ev.ActivityCompleted | ev.ActivityFailed) -> None:\n        del event"),
    Mutant("a fired timer stays", _TURNS, "        self.timers_gone.append(event.source)\n", "        del event\n"),
    Mutant("a timer is forgotten", _TURNS, "        self.timers.append((event.id, event.fire_at))", "        del event"),
    Mutant("children are not told that they are given up", _TURNS, "        child = self.children[event.source]\n        self._tell(", "        child = self.children[event.source]\n        (lambda *_: None)("),
    Mutant("a parent does not hear of its child's end", _TURNS, "        parent = self.owner.parent\n        if parent is not None:", "        parent = self.owner.parent\n        if parent is not None and self.owner.execution > 1:"),
    Mutant("an attempt is not counted", _ENDINGS, "        attempt=task.attempt + 1,", "        attempt=task.attempt,"),
    Mutant("activities are given up too early", _ENDINGS, "        attempt=task.attempt,\n        elapsed_us", "        attempt=task.attempt + 1,\n        elapsed_us"),
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
    Mutant("operators: a cancel has a suspended instance run", _ORCHESTRATIONS, "            if live.for_control:\n", "            if live.for_control and self._registry.orchestration(live.name, live.version) is None:\n", suite=_SUSPENDED_RUN),
    Mutant("operators: a control message brings along what waits before it", _CLAIMS, "        messages = _due_messages(row, now) if runs else _due_control(row, now)\n", "        messages = _due_messages(row, now)\n", suite=_SUSPENDED_RUN),
    Mutant("operators: an outcome is lost when a cancel is sent on", _ENGINE, "            self._items += outcomes_among(live, live.pending)\n            self._items.append(work.InstanceRelease", "            self._items.append(work.InstanceRelease", suite=_SUSPENDED_RUN),
    Mutant("operators: events that an instance was told are not told again", _REWINDING, "            message = self._told(event)\n            if message is not None:", "            message = self._told(event)\n            if message is not None and not isinstance(message, work.Raised):", worlds=OPERATED),
    Mutant("operators: what has gone on meanwhile is put back", _IMAGES, "        if present is None or stamp_of(present.record, present.messages, present.tasks) != stamp:", "        if present is None:", worlds=OPERATED),
    Mutant("operators: children of dropped turns stay", _REWINDING, "    born = [each for each in tree if _is_born_in(each, image.record, base)]", "    born: list[work.InstanceImage] = []", worlds=OPERATED),
    Mutant("operators: a status that was taken back looks unchanged", _REWINDING, "custom_status_version=record.custom_status_version + changed,", "custom_status_version=record.custom_status_version,", worlds=OPERATED),
    Mutant("operators: the KV store keeps what was dropped", _REWINDING, "        for event in self._kept:\n            if isinstance(event, ev.ValueSet):", "        for event in (*self._kept, *self._dropped):\n            if isinstance(event, ev.ValueSet):", worlds=OPERATED),
    Mutant("operators: timers that have fired since do not fire again", _REWINDING, "            if isinstance(event, ev.TimerCreated):\n                yield", "            if isinstance(event, ev.TimerCreated) and event.fire_at > self._now:\n                yield", worlds=OPERATED),
    Mutant("operators: that an activity was about to be called is forgotten", _REWINDING, "            began_at=before.began_at,\n", "", suite="tests/runtime/test_unknown_outcomes.py"),
    Mutant("operators: an activity whose result is told again runs, too", _REWINDING, "            if isinstance(event, ev.ActivityScheduled) and event.id not in self._ended:", "            if isinstance(event, ev.ActivityScheduled):", worlds=OPERATED),
    Mutant("operators: what waited unread is lost", _REWINDING, "        for each, _ in self._waiting:\n", "        for each, _ in ():\n", worlds=OPERATED),
    Mutant("operators: a start that is told again may come behind what is sent later", _REWINDING, "ready_at=image.ready_at if last else max(image.ready_at, self._now),", "ready_at=image.ready_at,", suite="tests/runtime/test_reset_to_a_beginning.py"),
    Mutant("a start that a turn on its way has taken is missed", "_runtime/live.py", "if any(message.timer is None and message.seq not in waiting for message in claimed.messages):", "if not waiting:", suite="tests/runtime/test_beginnings.py"),
    Mutant("operators: a turn from before it was suspended lands", "storage/memory/items.py", "if record.status is Status.SUSPENDED and turn.runs:", "if False:", suite=_IMAGES_SUITE),
    Mutant("operators: what is suspended keeps its owner", _ASIDE, "        tables.own_instance(row, None)\n        row.record = replace(row.record, status=Status.SUSPENDED", "        row.record = replace(row.record, status=Status.SUSPENDED", worlds=OPERATED),
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
    # -- schedules
    Mutant("schedules: what was handled is forgotten", _SCHEDULES, "        state.handled_us = seen.handled_us\n", "", worlds=PLANNED),
    Mutant("schedules: a run beside one that is open", _SCHEDULES, "elif not state.open and not state.buffered:", "elif not state.buffered:", worlds=PLANNED),
    Mutant("schedules: a pause that pauses nothing", _SCHEDULES, "        if not state.paused:\n", "        if not state.paused or state.started % 2:\n", worlds=PLANNED),
    Mutant("schedules: the next execution forgets what waits and what is open", _SCHEDULES, "ctx.continue_as_new(keeper.spec, keeper.state)", "ctx.continue_as_new(keeper.spec, State(keeper.state.handled_us))", worlds=PLANNED),
    Mutant("schedules: a slot that is late is not counted", _SCHEDULES, "        state.skipped += seen.skipped\n", "", worlds=PLANNED),
    Mutant("schedules: a slot that is waited for too long", _SCHEDULES, "waiting.append(ctx.schedule_timer(from_us(starts_at)))", "waiting.append(ctx.schedule_timer(from_us(starts_at + 700_000_000)))", worlds=PLANNED),
    # -- what is for one life of an id
    Mutant("what is for one life of an id reaches another", _ITEMS, "    if row is None or item.incarnation not in (None, row.record.incarnation):\n        return Refused(reason=Refusal.NOT_FOUND)\n    if item.dedup_key", "    if row is None:\n        return Refused(reason=Refusal.NOT_FOUND)\n    if item.dedup_key", worlds=ADDRESSED),
    Mutant("a worker gives what is for one life of an id to the one that it has", _ENGINE, "live is not None and item.incarnation in {None, live.incarnation} and not self._claim_wanted", "live is not None and not self._claim_wanted", worlds=ADDRESSED),
    Mutant("a handle sends to whoever has the id", "_client/receiver.py", "            incarnation=self.incarnation,\n", "", worlds=ADDRESSED),
    # -- several databases
    Mutant("shards: what could not be delivered leaves the outbox", _COURIER, "        else:\n            self._fail(outcome)\n\n    def _settle", "        else:\n            self._settle(set())\n\n    def _settle", worlds=SHARDED, every=SHARDED_EVERY),
    Mutant("shards: what comes again is applied again", _PARCELS, "        if key not in tables.received:", "        if True:", worlds=SHARDED, every=SHARDED_EVERY),
    Mutant("shards: what was sent later passes what waits", _COURIER, "        found = _first_bytes(parcels)\n", "        found = _first_bytes(parcels)[-1:]\n", worlds=SHARDED, every=SHARDED_EVERY),
    Mutant("shards: what comes too late is applied", _PARCELS, "    if now > item.until:", "    if now < 0:", worlds=SHARDED, every=SHARDED_EVERY),
    Mutant("shards: a parent does not hear that an id is taken", _COURIER, "replies=tuple(replies)", "replies=()", worlds=SHARDED, every=SHARDED_EVERY),
    Mutant("shards: what others have left is never looked for", _COURIER, "        for receiver, incarnations in wanted.items():\n", "        for receiver, incarnations in ():\n", worlds=SHARDED, every=SHARDED_EVERY),
    Mutant("shards: of a tree that is deleted the rest stays elsewhere", _SHARDS, "        for each in reversed(family[1:]):", "        for each in ():", worlds=SHARDED, every=SHARDED_EVERY),
    Mutant("shards: children elsewhere of who was replaced go on", _SHARDS, "                if not child.status.is_closed:\n                    told", "                if child.status.is_closed:\n                    told", worlds=SHARDED, every=SHARDED_EVERY),
    # -- moving house
    Mutant("moving: a copy that nobody knows of counts as written", _MOVING, "            # An earlier copy looks the same from afar: the next round reads it.\n            return None\n", "            return work.APPLIED\n", worlds=MOVING, every=MOVING_EVERY),
    Mutant("moving: it goes on there before this store has said that it has moved", _MOVING, "                if await self._is_out(out):\n", "                if await self._is_out(out) or True:\n", worlds=MOVING, every=MOVING_EVERY),
    Mutant("moving: an instance of which nobody knows whether it has moved counts as moved", _MOVING, "            except OutcomeUnknownError:\n                continue\n", "            except OutcomeUnknownError:\n                return True\n", worlds=MOVING, every=MOVING_EVERY),
    Mutant("moving: what broke off is found by its status only", "_client/transferring.py", "    if instance_ids is None and (query.statuses", "    if False and (query.statuses", worlds=MOVING, every=MOVING_EVERY),
    Mutant("moving: what waits for a move is found only if it has no parent", "_client/transferring.py", "zip(page, waits, strict=True) if does]", "zip(page, waits, strict=True) if does and each.parent is None]", suite="tests/client/test_moves_that_broke_off.py"),
    Mutant("moving: a copy takes messages", _ITEMS, "    if is_copy(row.record.status, row.record.held_because):\n        return Refused(reason=Refusal.COMING)\n", "", worlds=MOVING, every=MOVING_EVERY),
    Mutant("moving: a copy is ended before its move is done", _CLAIMS, "(_due_control(row, now) and not _is_copy(row))", "_due_control(row, now)", worlds=MOVING, every=MOVING_EVERY),
    Mutant("moving: what has moved stays a copy there", _MOVING, "        await asyncio.gather(*map(self._there.submit, items))\n        if self._run:", "        if self._run:", worlds=MOVING, every=MOVING_EVERY),
    Mutant("moving: a suspend for a move overrules a person's", _MOVING, "tasks=tasks, keep=True)]", "tasks=tasks)]", suite=_MOVING_RUN),
    Mutant("moving: a person's suspend is overruled by the store", _ASIDE, "    if not (item.keep and row.record.status is Status.SUSPENDED):\n", "    if True:\n", suite=_IMAGES_SUITE),
    Mutant("moving: a decision about an activity leaves the stamp", _ASIDE, "replace(row.record, updated_at=row.record.updated_at + 1)", "replace(row.record, updated_at=row.record.updated_at)", suite=_IMAGES_SUITE),
    Mutant("moving: a suspend of the same moment leaves the stamp", _ASIDE, "    if not (item.keep and row.record.status is Status.SUSPENDED):\n        updated_at = max(now, row.record.updated_at + 1)\n", "    if not (item.keep and row.record.status is Status.SUSPENDED):\n        updated_at = max(now, row.record.updated_at)\n", suite=_IMAGES_SUITE),
    Mutant("moving: whatever is suspended is so for another reason", _ASIDE, "    if item.instead_of is not None and not _is_suspended_for(row, item.instead_of):\n", "    if False:\n", suite=_IMAGES_SUITE),
    Mutant("moving: what broke off is forgotten where a person has suspended it since", "_client/transferring.py", "    return any(each.held_because == MOVING for each in held)", "    return False", suite=_MOVING_RUN),
    # -- what has a transaction of its own, and what is given up
    Mutant("transactions: a store that can't be reached is a failure", _TRANSACTIONAL, "        except StorageUnavailableError as error:\n            return _again(task, error)\n", "        except StorageUnavailableError as error:\n            return failed(task, error, timed_out=False)\n", worlds=PLANNED),
    Mutant("transactions: an outcome that nobody knows is a failure", _TRANSACTIONAL, "    except OutcomeUnknownError as error:\n        return _again(task, error)\n", "    except OutcomeUnknownError:\n        raise\n", worlds=PLANNED),
    Mutant("transactions: what is written is not committed with the outcome", _TRANSACTIONAL, "                return await _land(attempt, loan, entry, worker)\n", "                return entry\n", worlds=PLANNED),
    Mutant("discard: an activity that is given up fails as any other", "_client/repair.py", "                PoisonedError(reason or", "                RuntimeError(reason or", worlds=PLANNED),
    # -- what is in a transaction that was lent
    Mutant("lent: a start is written outside of the transaction", "_client/transactions.py", "    return partial(joins.join, connection)\n", "    return gateway.submit\n", worlds=0, every=SQLITE_EVERY),
    Mutant("lent: an event is written outside of the transaction", "_client/receiver.py", "await (submit or self._gateway.submit)(item)", "await self._gateway.submit(item)", worlds=0, every=SQLITE_EVERY),
    Mutant("lent: a block that raises commits", "_client/transactions.py", "            await uninterrupted(asyncio.to_thread(lent.roll_back))\n", "            await uninterrupted(asyncio.to_thread(lent.commit))\n", worlds=0, every=SQLITE_EVERY),
    Mutant("lent: what is taken back is committed", "storage/sqlite/lending.py", "guarded.connection.end(why, schema=False)", "guarded.connection.end(None, schema=True)", worlds=0, every=SQLITE_EVERY),
    Mutant("own transactions: an id that one is about to take is told to be taken", "_client/starts.py", "        case work.Refusal.BUSY:\n", "        case work.Refusal.BUSY if not instance_id:\n", worlds=OWN),
)  # fmt: skip
"""Found by the simulation, those in a storage by its suite at the latest."""

_SQL = "storage/sqlite/queries.sql"

STORED = (
    Mutant("what waits for an ended child is put back", _IMAGES, "    if any(each not in found or found[each].record.status.is_closed for each in item.while_open):", "    if any(each not in found for each in item.while_open):", suite=_IMAGES_SUITE),
    Mutant("a running task is not refused at put-back", _IMAGES, "    if any(found[stamp.incarnation].running for stamp in stamps):", "    if not stamps:", suite=_IMAGES_SUITE),
    Mutant("an empty page is taken for the end", _PAGES, "str(end) if end else None", "str(end) if end and page else None", suite=_PAGES_RUN),
    Mutant("a page goes on where one of its places was left off", _PAGES, "(each for each in found if each >= end)", "found", suite=_PAGES_RUN),
    Mutant("SQLite: a page passes over what it has not looked at", "storage/sqlite/finding.py", "        behind = end\n    return", "        behind = end - 1\n    return"),
    Mutant("what has ended is told to be open", "storage/memory/inspector.py", "for id_, each in self.get_many(instance_ids).items() if not each.status.is_closed}", "for id_, each in self.get_many(instance_ids).items()}"),
    Mutant("who waits for one that was replaced is not told", "_client/requests.py", "if not watch.until_closed or (watch.incarnation is not None and watch.incarnation != incarnation):", "if not watch.until_closed:", suite="tests/runtime/test_watched_instances.py"),
    Mutant("that an instance was put back is not counted", _IMAGES, "resets=1 + max(record.resets, before.resets)", "resets=record.resets", suite=_IMAGES_SUITE),
    Mutant("SQLite: what an instance waits for is not looked up", "storage/sqlite/images.py", "    incarnations.update(item.while_open)\n", "", suite="tests/storage/test_tape.py"),
    Mutant("who waits in vain for an activity with a limit is left alone", "storage/memory/unknown.py", "if not tables.line.tasks and not tables.line.laned:", "if not tables.line.tasks:"),
    Mutant("a control message that nobody can read comes again and again", "_runtime/items.py", "        consumed=live.torn,\n", "", suite="tests/runtime/test_torn_control_messages.py"),
    Mutant("what is to reach the held reaches what goes on", _ITEMS, "    if item.if_held and row.record.status is not Status.HELD:\n        return Refused(reason=Refusal.NOT_HELD)\n", ""),
    Mutant("what was held once more is given up for what it was", "storage/memory/aside.py", " or item.held_at not in (None, task.held_at)", ""),
    Mutant("an earlier import is taken for one whose answer was lost", _MOVING, "(resets is None or found.resets > resets)", "(resets is None or found.resets >= resets)", suite="tests/client/test_lost_imports.py"),
    Mutant("a copy is told what others send by its id", _PARCELS, " or _is_none(row, message)", ""),
    Mutant("a copy is suspended by a person", "storage/memory/aside.py", "    if item.instead_of is None and is_copy(row.record.status, row.record.held_because):\n        return _COMING\n", ""),
    Mutant("what is suspended for another reason is suspended for a new one", "storage/memory/aside.py", "    if item.instead_of is not None and not _is_suspended_for(row, item.instead_of):\n        return APPLIED\n", ""),
    Mutant("a copy is waited for", _CLAIMS, "        if seq and row.messages[seq].control and not _is_copy(row):", "        if seq and row.messages[seq].control:"),
    Mutant("SQLite: a copy is handed out for a control message", _SQL, "(i.status = 'suspended' AND ifnull(substr(i.held_because, 1, length(?3)) = ?3, 0));", "(i.status = 'held' AND ifnull(substr(i.held_because, 1, length(?3)) = ?3, 0));"),
    Mutant("SQLite: a copy is waited for", _SQL, "(m.control AND NOT {{part_is_copy}})", "(m.control AND ?3 IS NOT NULL)"),
    Mutant("SQLite: a copy takes messages", "storage/sqlite/judgement.py", "            elif coming:\n                self.settled[place] = _COMING\n", ""),
    Mutant("SQLite: a copy is told what others send by its id", _SQL, "            i.status = 'suspended' AND j.value ->> 0 IS NOT NULL", "            i.status = 'held' AND j.value ->> 0 IS NOT NULL"),
    Mutant("SQLite: what is to reach the held reaches what goes on", "storage/sqlite/judgement.py", "            elif not as_wanted:\n                self.settled[place] = _NOT_HELD\n", ""),
    Mutant("SQLite: what is for one life of an id reaches another", _SQL, "        ON i.id = j.value ->> 0 AND (j.value ->> 2 IS NULL OR i.incarnation = j.value ->> 2)\n", "        ON i.id = j.value ->> 0\n"),
    Mutant("what a hold takes in stays", _ITEMS, "    for seq in hold.consumed:\n        tables.remove_message(row, seq)\n", ""),
    Mutant("an instance changed last before its last event", _ITEMS, "updated_at=max(now, record.updated_at, 0 if turn.history is None else turn.history.at)", "updated_at=max(now, record.updated_at)"),
    Mutant("who is behind sets back when an instance changed last", _ITEMS, "updated_at=max(now, record.updated_at, 0 if turn.history is None else turn.history.at)", "updated_at=now if turn.history is None else max(now, turn.history.at)"),
    Mutant("SQLite: an instance changed last before its last event", "storage/sqlite/changes.py", '"change_instances", "catch_up",', '"change_instances",'),
    Mutant("SQLite: a step of who is behind sets back when an instance changed last", _SQL, "    changed_at = max(instances.changed_at, excluded.changed_at),\n    deliveries = 1,", "    changed_at = excluded.changed_at,\n    deliveries = 1,"),
    Mutant("what was deleted begins once more when its start is sent again", _ITEMS, "    if item.again and new.incarnation <= tables.highest_gone:\n        return Refused(reason=Refusal.GONE)\n", ""),
    Mutant("a worker sends starts again as if they were new", "_runtime/after.py", "again.append(replace(request, item=replace(request.item, again=True)))", "again.append(request)", suite="tests/runtime/test_a_start_sent_again.py"),
    Mutant("SQLite: what was deleted is not remembered", "storage/sqlite/migrations/0001_first.sql", "    UPDATE gone SET incarnation = OLD.incarnation WHERE incarnation < OLD.incarnation;\n", ""),
    Mutant("SQLite: one turn that broke off is sent again where its instance was deleted", _SQL, "        ?4 AND ?1 <= (SELECT incarnation FROM gone)\n", "        ?4 AND ?1 <= 0\n", suite="tests/storage/sqlite/test_last_commits.py"),
    Mutant("SQLite: the last commit is not remembered", "storage/sqlite/storage.py", "            writer.execute(_REMEMBER_TOKEN, (worker, batch.token))\n", "            writer.execute(_REMEMBER_TOKEN, (worker, bytes(16)))\n"),
    Mutant("SQLite: one turn leaves the token of the commit before", "storage/sqlite/storage.py", "marked=wrote and alone is None", "marked=wrote"),
    Mutant("SQLite: one turn that broke off is looked for by the token that it does not write", "storage/sqlite/tokens.py", "seen = (_IS_LAST, (worker, doubt.token)) if doubt.turn is None else (_HAS_TURN, doubt.turn)", "seen = (_IS_LAST, (worker, doubt.token))", suite="tests/storage/sqlite/test_last_commits.py"),
    Mutant("SQLite: a buried worker begins an instance", _SQL, "(SELECT 'running' FROM workers WHERE number = ?5)", "'running'"),
    Mutant("SQLite: workers are buried alive", "storage/sqlite/workers.py", "(lease_until <= transaction.now or number in dead)", "(lease_until <= transaction.now + 5_000_000 or number in dead)"),
    Mutant("SQLite: a dead worker keeps its tasks", "storage/sqlite/workers.py", '    transaction.execute(STATEMENTS["disown_tasks"], (rows, died, transaction.now))\n', ""),
    Mutant("SQLite: a dead worker keeps its instances", "storage/sqlite/workers.py", '    transaction.execute(STATEMENTS["disown_instances"], (rows, died))\n', ""),
    Mutant("SQLite: the next execution starts behind what waits", _SQL, "WHERE m.incarnation = j.column1) - 1, ?1)", "WHERE m.incarnation = j.column1) + 1, ?1)"),
    Mutant("SQLite: the next execution may start after what comes later", _SQL, "    ready_at = CASE WHEN c.restarts THEN max(?1, instances.ready_at) ELSE instances.ready_at END,\n", ""),
    Mutant("SQLite: nobody is held for want of code", "storage/sqlite/workers.py", "    since, most = transaction.now - UNKNOWN_GRACE_US,", "    since, most = transaction.now - 10_000 * UNKNOWN_GRACE_US,"),
    Mutant("SQLite: what waits behind much else is never looked at", "storage/sqlite/storage.py", "        self._places = places\n", ""),
    Mutant("SQLite: the line of an activity that nobody has is passed over", _SQL, "(CASE WHEN (u.name, u.delayed) = (?4, ?5) THEN ?6 ELSE -1 END, ?7)", "(?6, ?7)"),
    Mutant("SQLite limits: one place too many", _SQLITE_LANES, "[self._concurrency - self._running]", "[self._concurrency - self._running + 1]"),
    Mutant("SQLite limits: a rate that forgets what began", _SQLITE_LANES, "        if begun:\n            self._transaction", "        if begun and now < 0:\n            self._transaction"),
    Mutant("SQLite limits: what is too late has a place", _SQL, "p.owner IS NOT NULL AND p.late = 0", "p.owner IS NOT NULL"),
    Mutant("SQLite tags: a worker takes what it does not serve", _SQLITE_LANES, "for name, lane in lanes if lane.places or self._serves.takes(lane.tag)]", "for name, lane in lanes]"),
    Mutant("SQLite sessions: a worker has more of them than it may", "storage/sqlite/sessions.py", "self._serves.sessions - sum(is_needed for _, _, is_needed in had)", "self._serves.sessions"),
    Mutant("SQLite: a control message brings along what waits before it", "storage/sqlite/claims.py", "    for_control = _not_to_run(transaction, incarnations) if waiting.control else frozenset[int]()\n", "    for_control = frozenset[int]()\n"),
    Mutant("SQLite: a step of what is gone makes it anew", "storage/sqlite/steps.py", "connection.last_insert_rowid() != 0 or ", ""),
    Mutant("SQLite: some steps of a batch are lost", "storage/sqlite/steps.py", " or connection.total_changes() - before != turns", ""),
    Mutant("SQLite: another worker's instance goes on", _SQL, "excluded.local_input\nWHERE instances.status = 'running' AND instances.owner = excluded.owner AND", "excluded.local_input\nWHERE instances.status = 'running' AND"),
    Mutant("SQLite: a stale instance completes", _SQL, "local_input = NULL\nWHERE instances.status = 'running' AND instances.owner = excluded.owner AND instances.execution = excluded.execution\nAND instances.last_event = excluded.created_at AND", "local_input = NULL\nWHERE instances.status = 'running' AND instances.owner = excluded.owner AND instances.execution = excluded.execution\nAND"),
    Mutant("SQLite: an ended instance keeps its owner", _SQL, "    owner = CASE WHEN c.status IN ('completed', 'failed', 'cancelled', 'terminated', 'moved') THEN NULL ELSE instances.owner END,\n", ""),
)  # fmt: skip
"""Found by the storage suite."""

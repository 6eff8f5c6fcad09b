"""Runs turns: messages of cached instances in, prepared commits out.

Laws kept here: no instance can delay another, so whatever goes wrong in one turn holds that instance alone; a cached
execution is never trusted, so dropping any of them changes nothing but time.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from perdure import _events as ev
from perdure import _work as work
from perdure._client.requests import Request
from perdure._core.execution import Execution
from perdure._core.handlers import look
from perdure._core.history import read_rows
from perdure._core.stage import Stage
from perdure._ports import Clock, Entropy, Incarnations
from perdure._registry import Registry
from perdure._runtime.dropping import drop
from perdure._runtime.inbox import Ended
from perdure._runtime.items import (
    answered_here,
    beginning,
    cancel_unstarted,
    entries_of,
    going_on,
    hold_of,
    passed_on,
    tell,
)
from perdure._runtime.live import Arrival, Live, Prepared
from perdure._runtime.loading import Loader
from perdure._runtime.turns import Draft, Owner, history_row
from perdure._runtime.watchdog import TurnInterrupted, TurnWatch
from perdure.errors import HeldError, StorageUnavailableError
from perdure.storage.base import Storage

TURNS_US_MAX = 20_000
"""How long turns are taken before they are committed: what a crash makes activities repeat stays small."""

MESSAGES_PER_TURN_MAX = 10_000
"""Messages of one instance in one commit; the rest waits for the next."""

_log = logging.getLogger("perdure.runtime")


class Orchestrations:
    """The cache of live instances and the turns that they take."""

    def __init__(
        self,
        *,
        storage: Storage,
        registry: Registry,
        clock: Clock,
        entropy: Entropy,
        incarnations: Incarnations,
        cached_max: int,
        watch: TurnWatch,
        take_slot: Callable[[str], bool],
        shard: work.Shard | None = None,
    ) -> None:
        self._storage = storage
        self._shard = shard
        self._registry = registry
        self._clock = clock
        self._incarnations = incarnations
        self._cached_max = cached_max
        self._watch = watch
        self._take_slot = take_slot
        self._stage = Stage()
        self.loader = Loader(storage, registry, entropy, self._stage, watch)
        self._lives: OrderedDict[int, Live] = OrderedDict()
        self._by_id: dict[str, Live] = {}
        self.queue: deque[Live] = deque()
        """Instances that have messages and no turn under way."""
        self.stubborn = 0

    # -- what arrives ----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._lives)

    def cached(self, incarnation: int) -> Live | None:
        """The cached instance of this incarnation."""
        return self._lives.get(incarnation)

    def by_id(self, instance_id: str) -> Live | None:
        """The cached instance of this id."""
        return self._by_id.get(instance_id)

    def begin(self, request: Request, new: work.NewInstance) -> bool:
        """Begin a new instance here, its creation and first turn in one commit; False when this worker can't."""
        if new.id in self._by_id or self._registry.orchestration(new.name, new.version) is None:
            return False
        live = Live(
            instance_id=new.id,
            incarnation=new.incarnation,
            name=new.name,
            version=new.version,
            execution_id=1,
            base=0,
            parent=None,
            root=new.root,
            create=new,
        )
        self._add(live)
        self.deliver(live, Arrival(work.decode_message(new.start), 0, request))
        return True

    def deliver_outcomes(self, ended: Iterable[Ended]) -> list[Ended]:
        """Give cached instances what activities have brought; returns what none of them has asked for."""
        lives, queue, unclaimed = self._lives, self.queue, list[Ended]()
        for entry in ended:
            message = entry.outcome
            live = lives.get(entry.task.incarnation)
            # Where others have gone on with it unheard, what is here would pass over an outcome that it doesn't know.
            if live is None or live.execution_id != message.execution or live.base < message.source:
                unclaimed.append(entry)
                continue
            live.pending.append(Arrival(message))
            if not live.queued:
                live.queued = True
                queue.append(live)
        return unclaimed

    def deliver(self, live: Live, arrival: Arrival) -> None:
        """Give a cached instance a message from this process's memory."""
        live.pending.append(arrival)
        self._enqueue(live)

    def admit(self, claimed: work.ClaimedInstance) -> None:
        """Take in a claimed instance with its due messages."""
        record = claimed.record
        live = self._lives.get(record.incarnation)
        asked: list[Arrival] = []
        if live is not None and live.is_outrun_by(record):
            with self._stage:
                self.drop(live)
            self.forget(live)
            asked = [arrival for arrival in live.pending if arrival.request is not None]
            live = None
        if live is None:
            live = Live.of_record(record)
            live.pending.extend(asked)
            self._add(live)
        live.take_in(claimed)
        live.check_beginning(claimed)
        if live.pending or live.torn or live.damage is not None:
            self._enqueue(live)

    def _enqueue(self, live: Live) -> None:
        """It wants a turn."""
        if not live.queued:
            live.queued = True
            self.queue.append(live)

    def _add(self, live: Live) -> None:
        self._lives[live.incarnation] = live
        self._by_id[live.instance_id] = live

    # -- turns -----------------------------------------------------------------------------------------------------

    def turns(self, now: int, turns_max: int, us: int = TURNS_US_MAX) -> list[Prepared]:
        """Let instances with messages take a turn each, up to a limit of turns and of time."""
        prepared: list[Prepared] = []
        put_off: list[Live] = []
        queue = self.queue
        if not queue:
            return prepared
        clock = self._clock.monotonic_us
        end = clock() + us
        self._watch.here()
        with self._stage:
            while queue and len(prepared) < turns_max:
                live = queue.popleft()
                if not live.queued:
                    continue
                live.queued = False
                self._lives.move_to_end(live.incarnation)
                try:
                    turn = self._next_turn(live, now)
                except StorageUnavailableError as error:
                    _log.warning("%s: its history could not be read (%s); trying again", live.instance_id, error)
                    put_off.append(live)
                    continue
                if turn is not None:
                    prepared.append(turn)
                # Reading a clock is no small part of a short turn: every fourth one does.
                if (turn is None or len(prepared) & 3 == 0) and clock() > end:
                    break
        for live in put_off:
            self._enqueue(live)
        return prepared

    def _next_turn(self, live: Live, now: int) -> Prepared | None:
        pending = live.pending
        if len(pending) == 1 and live.base:
            arrival = pending.popleft()
            if arrival.seq == 0 and type(arrival.message) is work.ActivityOutcome:
                execution = live.execution
                if execution is not None and live.damage is None:
                    return self._go_on(live, execution, arrival, now)
            arrivals = [arrival]
        else:
            arrivals = self._take(live)
        if arrivals or live.torn or live.damage is not None:
            return self._turn(live, arrivals, now)
        return None

    def _go_on(self, live: Live, execution: Execution, arrival: Arrival, now: int) -> Prepared | None:
        """The commonest turn, by the shortest way: an activity of this worker's brings a live execution its outcome."""
        message = arrival.message
        watch, stage = self._watch, self._stage
        applied = False
        try:
            stage.enter(execution)
            watch.begin(live.instance_id)
            try:
                applied = execution.apply(message, now)
            except TurnInterrupted:
                pass
            finally:
                # Disarmed first: an interruption must not hit what follows.
                struck = watch.end()
                stage.leave(execution)
            if struck:
                watch.verdict()
            turn = None
            if execution.ending is None or not execution.warnings:
                turn = going_on(live, execution.events, arrival, self._take_slot)
            if turn is not None:
                execution.events = None
                return turn
            return self._prepare(live, execution, [arrival], [] if applied else [message])
        except BaseException as error:  # noqa: BLE001 - law 7: as in `_turn`
            return self._hold(live, [arrival], error)

    def _take(self, live: Live) -> list[Arrival]:
        """The messages for the next turn, a start first; nothing while the start is not due."""
        arrivals = list(live.pending)
        live.pending.clear()
        if len(arrivals) > MESSAGES_PER_TURN_MAX:
            live.pending.extend(arrivals[MESSAGES_PER_TURN_MAX:])
            del arrivals[MESSAGES_PER_TURN_MAX:]
        if live.base == 0:
            if len(arrivals) > 1:
                arrivals.sort(key=lambda arrival: not isinstance(arrival.message, work.Start))
            if arrivals and type(arrivals[0].message) is not work.Start:
                ends = [arrival for arrival in arrivals if isinstance(arrival.message, work.Cancel | work.Terminate)]
                if not ends:
                    live.pending.extendleft(reversed(arrivals))
                    return []
                return ends
        return arrivals

    def _turn(self, live: Live, arrivals: list[Arrival], now: int) -> Prepared | None:
        try:
            for arrival in arrivals:
                if type(arrival.message) is work.Terminate:
                    return self._end(live, arrivals, arrival, now)
            if live.damage is not None:
                raise live.damage
            if live.base == 0:
                cancel = cancel_unstarted(live, arrivals, self._registry)
                if cancel is not None:
                    return self._end(live, arrivals, cancel, now)
            if live.for_control:
                turn = passed_on(live, arrivals)
                if turn is not None:
                    return turn
            return self._run(live, arrivals, now)
        except StorageUnavailableError:
            # Infrastructure never holds an instance: its messages wait, and the next round tries again.
            live.pending.extendleft(reversed(arrivals))
            raise
        except BaseException as error:  # noqa: BLE001 - law 7: whatever it is, it holds this instance and no other
            return self._hold(live, arrivals, error)

    def _run(self, live: Live, arrivals: list[Arrival], now: int) -> Prepared | None:
        execution = live.execution or self.loader.load(live, arrivals[0].message)
        taken: list[Arrival] = []
        stale: list[Any] = []
        self._stage.enter(execution)
        self._watch.begin(live.instance_id)
        try:
            for arrival in arrivals:
                message = arrival.message
                if execution.ending is not None or (execution.handlers is not None and execution.handlers.tainted):
                    # The rest is for the next execution, or for nobody.
                    live.pending.append(arrival)
                    continue
                if type(message) is work.QueryAsked:
                    look(execution, message)
                    taken.append(arrival)
                    continue
                started = self.loader.started(live, execution, message, now) if type(message) is work.Start else None
                if not execution.apply(message, now, started):
                    stale.append(message)
                taken.append(arrival)
        except TurnInterrupted:
            pass
        finally:
            # Disarmed first: an interruption must not hit what follows.
            self._watch.end()
            self._stage.leave(execution)
        self._watch.verdict()
        return self._prepare(live, execution, taken, stale)

    # -- commits ---------------------------------------------------------------------------------------------------

    def _prepare(self, live: Live, execution: Execution, taken: list[Arrival], stale: list[Any]) -> Prepared | None:
        plain = None if stale or execution.warnings else beginning(live, execution.events, taken, self._take_slot)
        events = execution.take_events()
        if plain is not None:
            return plain
        draft = self._draft(live, events)
        answers = draft.answers
        if execution.handlers is not None:
            answers |= execution.handlers.take_replies()
            if execution.handlers.tainted:
                self.drop(live)
        here = answered_here(answers, taken) if answers else answers
        for message in stale:
            if isinstance(message, work.TimerDue) and message.execution == live.execution_id:
                draft.timers_gone.append(message.source)
            elif isinstance(message, work.ActivityOutcome) and message.execution == live.execution_id:
                draft.tasks_gone.append(message.source)
        if live.base == 0 and live.version is not None and draft.next_start is None:
            draft.change["version"] = live.version
        consumed = tuple(arrival.seq for arrival in taken if arrival.seq)
        if not events and not consumed and not draft.timers_gone and not draft.tasks_gone:
            tell(taken, here)
            return None
        turn = work.Turn(
            incarnation=live.incarnation,
            execution=live.execution_id,
            base=live.base,
            create=live.create,
            history=history_row(events, live.base, execution.now_us) if events else None,
            consumed=consumed,
            tasks=tuple(draft.tasks),
            tasks_gone=tuple(draft.tasks_gone),
            tasks_stopped=tuple(draft.tasks_stopped),
            timers=tuple(draft.timers),
            timers_gone=tuple(draft.timers_gone),
            starts=tuple(draft.starts),
            messages=tuple(draft.messages),
            change=draft.instance_change(),
            next_start=draft.next_start,
            entries=(*draft.entries.values(), *entries_of(answers)),
        )
        warnings, execution.warnings = execution.warnings, []
        return Prepared(live=live, item=turn, arrivals=taken, draft=draft, warnings=warnings, answers=here)

    def _draft(self, live: Live, events: Sequence[Any]) -> Draft:
        owner = live.owner
        if owner is None or owner.execution != live.execution_id:
            owner = live.owner = Owner(
                instance_id=live.instance_id,
                incarnation=live.incarnation,
                name=live.name,
                root=live.root or live.instance_id,
                execution=live.execution_id,
                parent=live.parent,
                version=live.version,
            )
        draft = Draft(owner, self._incarnations.draw, self._take_slot, live.children, self._shard)
        draft.read(events)
        if draft.children:
            live.children = draft.children
        return draft

    def _end(self, live: Live, arrivals: list[Arrival], by: Arrival, now: int) -> Prepared:
        """End an instance without running its code: a terminate, or a cancel before the start was due."""
        reason = by.message.reason if isinstance(by.message, work.Cancel | work.Terminate) else ""
        self.drop(live)
        stored: list[Any] = []
        if live.base:
            # A history that can't be read must not keep an instance from ending; what it had asked for goes on, then.
            with suppress(HeldError):
                stored = read_rows(self._storage.history(live.incarnation, live.execution_id))
        told = next((event.at for event in reversed(stored) if isinstance(event, ev.Inbound)), 0)
        now = max(now, live.last_at, told)
        events: list[Any] = []
        draft_of: Any
        if isinstance(by.message, work.Cancel):
            draft_of = ev.Cancelled(id=0, reason=reason)
        else:
            draft_of = ev.Terminated(id=live.base + 1, at=now, reason=reason)
            if live.base:
                events = [draft_of]
        draft = self._draft(live, [draft_of])
        draft.end_all(stored)
        turn = work.Turn(
            incarnation=live.incarnation,
            execution=live.execution_id,
            base=live.base,
            create=live.create,
            history=history_row(events, live.base, now) if events else None,
            consumed=tuple(arrival.seq for arrival in arrivals if arrival.seq),
            messages=tuple(draft.messages),
            change=draft.instance_change(),
        )
        return Prepared(live=live, item=turn, arrivals=arrivals, draft=draft)

    def _hold(self, live: Live, arrivals: Sequence[Arrival], error: BaseException) -> Prepared:
        self.drop(live)
        everything = [*arrivals, *live.pending]
        hold, info = hold_of(live, everything, error)
        live.pending.clear()
        return Prepared(live=live, item=hold, arrivals=everything, held=info.summary, held_by=info.type)

    def set_aside(self, turn: Prepared, error: Exception) -> Prepared:
        """The hold that takes the place of a turn."""
        with self._stage:
            return self._hold(turn.live, turn.arrivals, error)

    # -- after the commit ------------------------------------------------------------------------------------------

    def went_on(self, live: Live) -> None:
        """A turn of the commonest kind is durable."""
        live.base += 2
        if live.pending:
            self._enqueue(live)

    def settle(self, turn: Prepared) -> list[Request]:
        """The commit is durable: what the turn said is now so. Returns the requests that came after the end."""
        live = turn.live
        live.create = None
        if turn.held is not None or turn.goes_back:
            self.forget(live)
        elif isinstance(turn.item, work.Turn):
            if turn.item.history is not None:
                live.base = turn.item.history.last
                live.last_at = turn.item.history.at
            live.consume(turn.arrivals)
            if turn.closes:
                self.forget(live)
            elif turn.draft is not None and turn.draft.ended is not None:
                self._settle_end(live, turn.draft)
        tell(turn.arrivals, turn.answers)
        if live.incarnation not in self._lives:
            return [arrival.request for arrival in live.pending if arrival.request is not None]
        if live.pending:
            self._enqueue(live)
        return []

    def _settle_end(self, live: Live, draft: Draft) -> None:
        if draft.next_start is None:
            self.forget(live)
            return
        live.continue_as_new()

    def refuse(self, turn: Prepared) -> list[Request]:
        """The turn was refused: nothing of it is so. Returns the requests that must be asked another way."""
        live = turn.live
        with self._stage:
            self.drop(live)
        self.forget(live)
        waiting = [*turn.arrivals, *live.pending]
        return [arrival.request for arrival in waiting if arrival.request is not None]

    def drop(self, live: Live) -> None:
        """Let go of a live execution; replay will rebuild it."""
        self.stubborn += drop(live, self._stage, self._watch)

    def forget(self, live: Live) -> None:
        """The instance is no longer this worker's to keep."""
        if self._lives.get(live.incarnation) is live:
            del self._lives[live.incarnation]
        if self._by_id.get(live.instance_id) is live:
            del self._by_id[live.instance_id]
        live.queued = False

    def evict(self) -> None:
        """Keep the cache within its bound: the longest idle go first."""
        if len(self._lives) <= self._cached_max:
            return
        with self._stage:
            for live in list(self._lives.values())[: len(self._lives) - self._cached_max]:
                if not live.pending and not live.queued and live.create is None:
                    self.drop(live)
                    self.forget(live)

    def drop_all(self) -> list[Request]:
        """Forget everything, as after a crash; returns the requests that nobody answered."""
        requests: list[Request] = []
        with self._stage:
            for live in list(self._lives.values()):
                requests += [arrival.request for arrival in live.pending if arrival.request is not None]
                self.drop(live)
        self._lives.clear()
        self._by_id.clear()
        self.queue.clear()
        return requests

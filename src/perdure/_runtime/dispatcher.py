"""The engine: one loop for all duties of a worker.

`run_once` drains the inbox, lets instances take their turns, and commits everything in one transaction that also claims
new work; only then does anything have an effect. It returns how long there is nothing to do. While one commit is on its
way to the disk, whatever becomes ready gathers for the next: that is the group commit.

The loop that a method returns its own delay to is solid_queue's; one commit for a batch is every database's own.
"""

import logging
from collections.abc import Callable
from typing import Any

from perdure import _events as ev
from perdure import _work as work
from perdure._client.requests import Call, Inbox, Request, Watch
from perdure._ports import Clock, Entropy
from perdure._registry import Registry, runnable
from perdure._runtime import hands as bounds
from perdure._runtime.after import (
    asked_otherwise,
    claimed,
    done,
    ending,
    has_changed,
    is_fenced,
    is_work,
    log_warnings,
    outcomes_among,
    requests_of,
    starts_or_told,
)
from perdure._runtime.ahead import Ahead
from perdure._runtime.capacity import Capacity, Slots
from perdure._runtime.culprits import ChokedError, Culprits, Part, unknown
from perdure._runtime.hands import Hands, Settings
from perdure._runtime.inbox import Ended, Entry, GoesBack, Says, hand_over
from perdure._runtime.live import Live, Prepared, bring
from perdure._runtime.lookout import Lookout
from perdure._runtime.orchestrations import Orchestrations
from perdure._runtime.retention import Retirement
from perdure._runtime.sending import RETRY_STORAGE_US, RETRY_STORAGE_US_MAX, Sender
from perdure._runtime.suspects import Suspects
from perdure._runtime.tallies import EngineTally
from perdure._runtime.watches import Watches
from perdure.errors import ClientError, StorageError

_log = logging.getLogger("perdure.runtime")


class Engine:
    """A worker's engine. Everything here runs on one thread; others speak to it through the inbox."""

    def __init__(
        self,
        *,
        storage: Any,
        registry: Registry,
        clock: Clock,
        entropy: Entropy,
        inbox: Inbox[Entry],
        hands: Hands,
        settings: Settings,
        make_orchestrations: Callable[[Callable[[str], bool]], Orchestrations],
        retirement: Retirement | None = None,
    ) -> None:
        self._storage = storage
        self._registry = registry
        self._clock = clock
        self._entropy = entropy
        self._hands = hands
        self._settings = settings
        self._retirement = retirement
        self.capacity = Capacity(settings.slots)
        self._slots = Slots(registry, untagged=settings.serves.untagged)
        self.orchestrations = make_orchestrations(self._slots.take)
        self.ahead = Ahead(
            inbox=inbox, orchestrations=self.orchestrations, clock=clock, take_turns=self._take_turns,
            ended=self._ended, begin=self._request, is_busy=self.capacity.is_busy,
        )  # fmt: skip
        self.suspects = Suspects(self.orchestrations, settings.deliveries_max, clock, self.capacity.is_busy)
        self._worker = self.commits = 0
        self._requests: list[Request] = []
        self._items: list[work.Item] = []
        self._sender = Sender(storage, self._pause, lambda: self.leaving)
        self._culprits = Culprits(
            commit=self._commit_part,
            pause=self._pause,
            place=lambda: self._worker,
            ask_again=self._ask_again,
            holding=self.orchestrations,
            renounce=hands.renounce,
        )
        self._watches = Watches(storage, self.orchestrations.by_id)
        self._lookout = Lookout(storage, hands)
        self._claim_wanted, self._has_left_some = True, False
        self.next_due: int | None = None
        self.next_look = 0
        self._next_safety = self._next_instances = self._next_maintenance = self._fast_until = 0
        self.draining = self.leaving = self.stopped = False
        self.tally = EngineTally()

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def worker(self) -> int:
        """The id of the worker's row; another one after this worker has lost its work."""
        return self._worker

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody waits for an instance to end."""
        return self._watches.is_end_awaited

    def give_up(self, instance_id: str, error: BaseException) -> None:
        """Tell those who wait for the end of an instance that it will not come."""
        self._watches.give_up(instance_id, error)

    def register(self) -> None:
        """Enter the store as a worker."""
        registry = self._registry
        self._worker = self._storage.register(
            name=self._settings.worker_name,
            orchestrations=runnable(registry),
            activities=[*registry.activities, *registry.activity_aliases],
            serves=self._settings.serves,
            reader=ev.MIN_READER,
        ).worker
        self._claim_wanted = True
        self.capacity.share(len(self._storage.workers()), self._hands)

    def run(self) -> None:
        """Run until stopped."""
        pause = RETRY_STORAGE_US
        while not self.stopped:
            try:
                if self.leaving:
                    self.finish()
                else:
                    self._go_round()
                pause = RETRY_STORAGE_US
            except Exception:  # noqa: BLE001 - law 7
                # A defect of the engine itself: start over from what is durable, as after a crash.
                _log.exception("the engine failed; it starts over from the store")
                self._start_over([])
                self._pause(pause)
                pause = min(2 * pause, RETRY_STORAGE_US_MAX)

    def run_once(self) -> None:
        """One round of all duties; waits for work at its beginning."""
        self._sort(self.ahead.entries(self.delay()))
        self._round()
        self._hands.flush()

    def _go_round(self) -> None:
        """The same, but while there is more to do, what the last round began waits for this one's commit.

        During a commit the interpreter is free: what would otherwise fight with turns for it runs beside SQLite.
        """
        entries = self.ahead.entries(0)
        if not entries and (delay := self.delay()):
            self._hands.flush()
            entries = self.ahead.entries(delay)
        self._sort(entries)
        self._round()

    def _round(self) -> None:
        self._poll()
        turns = self.ahead.next_turns()
        claim = self._claim()
        # What is tried when the worker is about to end may be killed by whoever has no patience.
        self._items += [] if self.draining else self.suspects.items(begins=bool(turns) or claim is not None)
        self._hands.flush()
        if turns or self._items or self._requests or claim is not None:
            self._commit(turns, claim)
        if self._watches.fresh and not self._watches.look_for_fresh():
            self._pause(RETRY_STORAGE_US)
        self.orchestrations.evict()

    def _take_turns(self, turns_max: int, us: int) -> list[Prepared]:
        slots = self._slots
        slots.left = self._free()
        turns = self.orchestrations.turns(self._storage.now(), turns_max, us)
        if slots.refused:
            slots.refused = False
            self._claim_wanted = True
        return turns

    def leave(self) -> None:
        """Let the present round end, however it ends, and make it the last but one."""
        self.leaving = True

    def finish(self) -> None:
        """The last round: commit what there is, hand back what is owned, answer who still waits."""
        self.draining = self.leaving = True
        try:
            self._commit_the_rest()
            self._storage.unregister(self._worker)
        except StorageError as failure:
            _log.warning("the worker could not release its work: %s; others take it over when its lease ends", failure)
        finally:
            error = ClientError("the runtime was closed while somebody waited")
            self._sort(self.ahead.entries(0))
            for request in [*self._requests, *self.ahead.lost(), *self.orchestrations.drop_all()]:
                request.resolve(error)
            self._watches.close(error)
            self.stopped = True
            self._hands.flush()

    def _commit_the_rest(self) -> None:
        for _ in range(1_000):
            self._sort(self.ahead.entries(0))
            turns = self.ahead.next_turns()
            if not (turns or self._items or self._requests):
                break
            self._commit(turns, None)

    # -- what comes in ---------------------------------------------------------------------------------------------

    def delay(self) -> int:
        """Microseconds in which there is nothing to do unless something comes in."""
        claims = self._claim_wanted and not self.draining
        waits = claims or self._items or self._requests or self._watches.fresh or self.orchestrations.queue
        if waits or self.ahead.has_some or (self.suspects.wait and not self.draining):
            return 0
        now = self._clock.monotonic_us()
        delay = bounds.POLL_FAST_US if now < self._fast_until else bounds.POLL_US
        if self.next_due is not None and not self.draining:
            due_in = self.next_due - self._storage.now()
            delay = 0 if due_in <= 0 else min(delay, max(bounds.DUE_US_MIN, due_in))
        return delay

    def _sort(self, entries: list[Entry]) -> None:
        hand_over(entries, self._ended, self._take_in)

    def _take_in(self, entry: Entry) -> None:
        if isinstance(entry, GoesBack):
            self.capacity.leave(1, self._clock.monotonic_us())
            if entry.item is not None:
                self._items.append(entry.item)
            self._lookout.left(entry.task)
            self.suspects.over(entry.task)
            self._claim_wanted = True
        elif isinstance(entry, Says):
            self._items.append(entry.item)
        elif isinstance(entry, Request):
            self._request(entry)
        elif isinstance(entry, Watch):
            self._watches.add(entry)
        elif isinstance(entry, Call):
            entry.function()

    def _ended(self, entries: list[Ended]) -> None:
        self.capacity.end(len(entries), self._clock.monotonic_us())
        self._claim_wanted |= self._has_left_some and self._free() > 0
        for entry in entries:
            task = entry.task
            if self._lookout.tasks:
                self._lookout.left(task)
            self._claim_wanted |= task.is_limited or task.session is not None
        entries, tried = self.suspects.ended(entries) if self.suspects.tried else (entries, [])
        for entry in tried + self.orchestrations.deliver_outcomes(entries):
            self._items.append(done(entry.task.incarnation, entry.outcome))
            self._claim_wanted = True

    def _request(self, request: Request) -> None:
        """A client's request: into this process's memory where that saves a commit, to the store otherwise."""
        item = request.item
        if isinstance(item, work.StartInstance):
            here = item.on_conflict in {"fail", "use_existing"} and item.new.start_at is None and not self.draining
            if here and not item.again and self.orchestrations.begin(request, item.new):
                return
        elif isinstance(item, work.Deliver) and not item.control and item.dedup_key is None:
            live = self.orchestrations.by_id(item.to_id)
            if live is not None and item.incarnation in {None, live.incarnation} and not self._claim_wanted:
                bring(request, item, live, self.orchestrations.deliver)
                return
        self._requests.append(request)
        self._claim_wanted = True

    def _poll(self) -> None:
        """Look whether another process has written, and do what is due from time to time."""
        now = self._clock.monotonic_us()
        self.capacity.look(now, self._hands)
        if now >= self.next_look:
            self.next_look = now + bounds.POLL_FAST_US
            if self.ahead.beside(has_changed, self._storage):
                self._claim_wanted = True
                self._watches.look()
                self._lookout.look(self._worker)
                if self._watches:
                    self._fast_until = now + bounds.FAST_FOR_US
        if now >= self._next_safety:
            self._watches.look_without_reason()
        if now >= self._next_safety or (self.next_due is not None and self._storage.now() >= self.next_due):
            self._next_safety = now + bounds.SAFETY_CLAIM_US
            self._claim_wanted = True
        if now >= self._next_maintenance and not self.draining:
            self._next_maintenance = now + bounds.MAINTENANCE_US
            self._maintain()

    def _maintain(self) -> None:
        try:
            reaped: work.Reaped = self.ahead.beside(self._storage.reap, self._worker)
            self._lookout.look(self._worker)
            if self._retirement is not None:
                self._items += self._retirement.next()
        except StorageError as error:
            _log.warning("maintenance is put off: %s", error)
            return
        self._claim_wanted = self._claim_wanted or bool(reaped.buried or reaped.sessions)
        if reaped.buried:
            _log.info("took over the work of %d worker(s) that had died", reaped.buried)
        self.tally.takeovers += reaped.buried
        self.tally.without_code += len(reaped.held)
        for instance_id, reason in reaped.held:
            _log.error("%s is held: %s", instance_id, reason)
        if reaped.held:
            # Our own writes are no foreign change, and somebody may watch one of these.
            self._watches.look()
        self.capacity.share(reaped.workers, self._hands)

    # -- slots -----------------------------------------------------------------------------------------------------

    def _free(self) -> int:
        return 0 if self.draining else max(0, self.capacity.total - self.capacity.busy - self._slots.taken)

    def _claim(self) -> work.Claim | None:
        if not self._claim_wanted or self.draining:
            return None
        now = self._clock.monotonic_us()
        if len(self.orchestrations.queue) >= bounds.CROWD and now < self._next_instances:
            # They would all be handed out once more, with their messages, as long as these wait for their turn.
            return work.Claim(instances_max=0, tasks_max=self._free())
        self._claim_wanted, self._next_instances = False, now + bounds.CROWDED_US
        return work.Claim(instances_max=self.capacity.instances_max, tasks_max=self._free())

    # -- the commit ------------------------------------------------------------------------------------------------

    def _commit(self, turns: list[Prepared], claim: work.Claim | None) -> None:
        part = Part(requests=self._requests, items=self._items, turns=turns)
        self._requests, self._items = [], []
        self.ahead.set_out(turns)
        try:
            self._commit_part(part, claim)
        except ChokedError as choked:
            # A claim that chokes alone comes again when it is time to look: meanwhile all else goes on.
            self._claim_wanted = bool(part)
            self._culprits.find(part, choked)
        finally:
            self.ahead.arrived(turns)

    def _commit_part(self, part: Part, claim: work.Claim | None = None) -> None:
        requests, items, turns = part.requests, part.items, part.turns
        batch = part.batch(self._entropy.token(), self._worker, claim)
        taken = self._slots.taken
        try:
            committed = self._sender.send(self._worker, batch, requests)
        except BaseException as error:
            if not isinstance(error, ChokedError):
                part.tell(unknown(error))
            raise
        self._slots.taken -= taken
        if committed is None:
            self._start_over(starts_or_told(requests_of(turns)))
        else:
            self.commits += 1
            if is_work(batch, committed):
                self._fast_until = self._clock.monotonic_us() + bounds.FAST_FOR_US
            self._take_effect(committed, requests, items, turns)
            if claim is not None and committed.work is None and not turns and not items:
                # Others think that this worker is dead; with nothing of its own to be refused, only this tells it.
                self._start_over([])

    def _take_effect(
        self, committed: work.Committed, requests: list[Request], items: list[work.Item], turns: list[Prepared]
    ) -> None:
        """What was committed is so: answer, start activities, take in new work."""
        outcomes = committed.outcomes
        self.tally.landed(len(outcomes), len(turns))
        for request, outcome in zip(requests, outcomes, strict=False):
            request.resolve(outcome)
            self._watches.asked_for(request.item)
        if work.Refused in set(map(type, outcomes)):
            self.tally.refused(requests, items, outcomes)
            if is_fenced(outcomes[len(requests) :]):
                self._start_over(requests_of(turns))
                return
        tasks = self.suspects.settle(items, outcomes[len(requests) :]) if items else []
        if items:
            self._lookout.heard(items, outcomes[len(requests) :], committed.now)
        for turn, outcome in zip(turns, outcomes[len(requests) + len(items) :], strict=True):
            if turn.went_on and outcome is work.APPLIED:
                self._settle_going_on(turn.live, turn.item, committed.now, tasks)
            else:
                self._settle(turn, outcome, committed.now, tasks)
        if committed.work is not None:
            self._take_work(committed.work)
            tasks += self.suspects.sift(committed.work.tasks, committed.now)
            self._lookout.took(committed.work.tasks)
        if tasks:
            self.capacity.take(len(tasks), self._clock.monotonic_us())
            self._hands.start(tasks)

    def _ask_again(self, requests: list[Request]) -> None:
        self._requests += requests

    def _pause(self, us: int) -> None:
        self._hands.flush()
        self._sort(self.ahead.entries(us))

    def _start_over(self, requests: list[Request]) -> None:
        """Forget all that is in memory and enter the store as a new worker, as a restarted process would."""
        _log.warning("worker %s lost its place in the store and starts over", self._settings.worker_name)
        self.tally.places_lost += 1
        self._requests += [*requests, *self.ahead.lost(), *self.orchestrations.drop_all()]
        self._items.clear()
        self.suspects.clear()
        self._lookout.clear()
        self._slots.taken = 0
        pause = RETRY_STORAGE_US
        while not self.leaving:
            try:
                self._storage.unregister(self._worker)
                self.register()
                # Instances may have ended in the commit whose answer never came.
                self._watches.look()
            except Exception as error:  # noqa: BLE001 - whatever it is, without a place there is nothing else to do
                _log.warning("the store is unavailable (%s); trying again", error)
                self._pause(pause)
                pause = min(2 * pause, RETRY_STORAGE_US_MAX)
            else:
                return

    # -- after the commit ------------------------------------------------------------------------------------------

    def _settle(self, turn: Prepared, outcome: work.Outcome, now: int, tasks: list[work.ClaimedTask]) -> None:
        live = turn.live
        if isinstance(outcome, work.Refused):
            self._refused(turn, outcome)
            return
        self.tally.settled(turn, now)
        self._requests += self.orchestrations.settle(turn)
        log_warnings(turn, outcome, end := ending(turn))
        if turn.goes_back:
            self._items += outcomes_among(live, live.pending)
            self._items.append(work.InstanceRelease(incarnation=live.incarnation))
        if turn.held is not None:
            _log.error("%s (%s) is held: %s", live.instance_id, live.name, turn.held)
            # It kept what it had when it was set aside; the store may have been away since, while activities went on.
            self._items += outcomes_among(live, live.pending)
            self._claim_wanted = True
        if isinstance(turn.item, work.Turn):
            self._publish(turn.item, turn, now, tasks)
        self._watches.turned(live, end)

    def _settle_going_on(self, live: Live, item: Any, now: int, tasks: list[work.ClaimedTask]) -> None:
        """The same for nearly all turns, which take an outcome and ask for one activity."""
        self.orchestrations.went_on(live)
        (task,) = item.tasks
        if task.local:
            tasks.append(claimed(live, item, task, now))
        else:
            self._claim_wanted = True
        if live.instance_id in self._watches.eager:
            self._watches.turned(live, None)

    def _publish(self, item: work.Turn, turn: Prepared, now: int, tasks: list[work.ClaimedTask]) -> None:
        live, draft = turn.live, turn.draft
        gone = set(draft.activities_cancelled) if draft is not None and draft.activities_cancelled else ()
        for task in item.tasks:
            if not task.local:
                self._claim_wanted = self._claim_wanted or task.limit is None  # else it waits for a place
            elif task.event not in gone:
                tasks.append(claimed(live, item, task, now))
        if gone:
            self._hands.cancel([(item.incarnation, item.execution, event) for event in gone])
        if item.tasks_stopped:
            self._hands.stop([(item.incarnation, item.execution, event) for event in item.tasks_stopped])
        if item.timers:
            soonest = min(fire_at for _, fire_at in item.timers)
            self.next_due = soonest if self.next_due is None else min(self.next_due, soonest)
        if item.starts or item.messages or item.tasks_stopped or item.next_start is not None:
            self._claim_wanted = True

    def _refused(self, turn: Prepared, outcome: work.Refused) -> None:
        # The instance is another's now; what its activities brought here still is for it.
        self._items += outcomes_among(turn.live, (*turn.arrivals, *turn.live.pending))
        requests = self.orchestrations.refuse(turn)
        self._watches.look_again(turn.live.instance_id)
        self._requests += asked_otherwise(turn, outcome, requests)
        self._claim_wanted = True

    def _take_work(self, taken: work.Work) -> None:
        self.next_due, self._has_left_some = taken.next_due, taken.more
        for instance in taken.instances:
            self.suspects.admit(instance)
        for turn in self.ahead.replaced() if taken.instances else ():
            self._refused(turn, work.Refused(reason=work.Refusal.NOT_OWNER))
        self._claim_wanted = self._claim_wanted or (taken.more and bool(taken.instances or self._free() > 0))

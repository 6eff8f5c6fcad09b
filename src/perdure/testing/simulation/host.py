"""A process of the simulated world: the production engine, activities, heartbeat and client, put together on its ports.

What a process has as threads is here as happenings on the timeline: rounds of the engine, rounds of the event loop,
beats of the heart. A process that waits in the middle of a round (for a store that hangs) lets the world go on
meanwhile, and is entered again by nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure._client import EngineClient
from perdure._client.requests import Call
from perdure._context import ActivityServices
from perdure._ports import Incarnations
from perdure._runtime.activities import Activities
from perdure._runtime.assembly import make_engine
from perdure._runtime.hands import ActivityHands, Settings
from perdure._runtime.heartbeat import BEATS_PER_LEASE, Heartbeat
from perdure._runtime.transactional import InTransaction
from perdure._runtime.watchdog import LoopWatch, TurnWatch
from perdure.errors import StorageError
from perdure.storage.base import LEASE_US
from perdure.testing._clock import SeededEntropy
from perdure.testing.simulation.gateway import HostGateway, TaskGateway
from perdure.testing.simulation.loop import ProcessLoop
from perdure.testing.simulation.port import Dead, StorePort
from perdure.testing.simulation.process import Process
from perdure.testing.simulation.programs import REGISTRIES
from perdure.testing.simulation.work import Bench

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from perdure import _work as work
    from perdure._client import Client
    from perdure._runtime.inbox import Entry
    from perdure.testing.simulation.world import World

EPOCH_US = 1_767_225_600_000_000
BEAT_US = LEASE_US // BEATS_PER_LEASE
IDLE_US = (100_000, 5_000_000)
"""How long an idle process sleeps at first, and at most."""
IDLE_HEALED_US = (2_000_000, 30_000_000)
"""The same in a world that has healed: no wake-up gets lost there, so looking without one is in vain."""
WAITED_FOR_US = 2_000_000
"""How long it sleeps at most while somebody waits for an instance's end."""
HANG_US_MAX = 3_000_000
GRACE_US = 1_000_000
WAITS_WITH = (2, 100)
"""How many slots the processes have whose commits take their time, so that the next one is prepared meanwhile."""
WAIT_US_MAX = 40_000


class HostClock:
    """The clock of one process: the machine's, and what this process's differs by."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._timeline = world.timeline
        self.off_us = 0

    def now_us(self) -> int:
        """Microseconds since 1970 in UTC, as this process believes."""
        return EPOCH_US + self._timeline.now + self._world.clock_off_us + self.off_us

    def monotonic_us(self) -> int:
        """Microseconds that never go back."""
        return self._timeline.now


class _Inbox:
    """The engine's inbox: at the beginning of a round it never waits, in the middle of one the world goes on."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.entries: list[Entry] = []
        self.at_start = False

    def put(self, entries: list[Entry]) -> None:
        if self._host.alive:
            self.entries += entries
            self._host.wake_soon()

    def take(self, wait_us: int) -> list[Entry]:
        if self.at_start:
            self.at_start = False
        elif wait_us > 0 and not self.entries:
            self._host.wait(wait_us, until=lambda: bool(self.entries))
        taken, self.entries = self.entries, []
        return taken


class _Orders:
    """The engine's orders, which reach the process's event loop once its round is over."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._orders: list[tuple[Callable[[Any], None], Any]] = []

    def put(self, function: Callable[[Any], None], argument: Any) -> None:
        self._orders.append((function, argument))

    def flush(self) -> None:
        if self._orders:
            orders, self._orders = self._orders, []
            self._host.loop.call_soon(_carry_out, orders)
        if self._host.gateway.answered:
            self._host.gateway.flush()


def _carry_out(orders: list[tuple[Callable[[Any], None], Any]]) -> None:
    for function, argument in orders:
        function(argument)


class Host(Process):
    """One process. It lives from `boot` until it is killed or has left."""

    PORT = StorePort
    shard: work.Shard | None = None

    def __init__(self, world: World, name: str, kit: str, serves: work.Serves) -> None:
        self.world = world
        self.name = name
        self.kit = kit
        self.serves = serves
        self.alive = True
        self.has_booted = False
        self.numbers: set[int] = set()
        self.paused_until = 0
        dice = world.dice
        self.slots = dice.pick((1, 2, 5, 100))
        self.cached = dice.pick((1, 3, 10_000))
        self._in_round = False
        self._in_beat = False
        self._wake_at: int | None = None
        self._look_at = 0
        self._idle_us = IDLE_US[0]
        self.has_worked = False
        self._store_now = 0
        self._make(SeededEntropy(dice.below(1 << 60)))

    def _make(self, entropy: SeededEntropy) -> None:
        world = self.world
        clock = self.clock = HostClock(world)
        port = self.port = self.PORT(world, self, world.connect(clock, entropy))
        storage = self._sending(port)
        self.loop = self._make_loop()
        self.inbox = _Inbox(self)
        self.gateway = HostGateway(self, Incarnations(clock, entropy))
        self.client: Client = EngineClient(self.gateway)
        registry = REGISTRIES[self.kit]
        services = self.services = ActivityServices(
            client=self.client_for_tasks(), state=Bench(self._began, self, world.outside)
        )
        self.activities: Activities = self.loop.call(
            lambda: Activities(
                registry=registry,
                clock=clock,
                entropy=entropy,
                slots=self.slots,
                threads=1,
                put=self.inbox.put,
                services=lambda _: services,
                in_transaction=InTransaction(port, lambda: self.engine.worker),
            )
        )
        orders = _Orders(self)
        watch = TurnWatch(clock, None)
        self.engine = make_engine(
            storage=storage,
            registry=registry,
            clock=clock,
            entropy=entropy,
            inbox=self.inbox,
            hands=ActivityHands(self.activities, orders.put, orders.flush),
            # Kills come from outside here, however often: nothing that runs is to blame for them.
            settings=Settings(slots=self.slots, worker_name=self.name, deliveries_max=10_000, serves=self.serves),
            turns=watch,
            cached_max=self.cached,
            retention=world.retention,
            shard=self.shard,
        )
        if self.slots in WAITS_WITH:
            self.engine.ahead.use(port)
        self._heartbeat = Heartbeat(
            storage=port,
            clock=clock,
            worker=lambda: self.engine.worker,
            turns=watch,
            loop=LoopWatch(self.loop, clock),
        )

    def _sending(self, port: StorePort) -> Any:
        """The store as the engine sees it."""
        return port

    def _make_loop(self) -> ProcessLoop:
        return ProcessLoop(self.world.timeline, self.clock, self._wake_loop, self._ask)  # type: ignore[abstract]  # activities need no more

    def client_for_tasks(self) -> Client:
        """A client whose calls are awaited by tasks of the loop."""
        return EngineClient(TaskGateway(self, self.gateway))

    def _began(self, key: str, attempt: int) -> None:
        self.world.began(self, key, attempt)

    def is_one_with(self, other: Host) -> bool:
        """Whether it is the same process."""
        return self is other

    # -- life ------------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        """Enter the store and begin to work; a process that can't dies and is started again by the world."""
        if self.enter():
            self.begin()

    def enter(self) -> bool:
        """Enter the store; whether that went well."""
        self._in_round = True
        try:
            self.engine.register()
        except StorageError:
            self.kill()
        except Dead:
            pass
        finally:
            self._in_round = False
        if not self.alive:
            self._clear_up()
        return self.alive

    def begin(self) -> None:
        """Begin to work."""
        self.has_booted = True
        self.wake(self.world.timeline.now)
        self.world.timeline.after(BEAT_US, self._beat)
        if self.world.lends:
            self.port.wake_by(self._told_of_lent)

    def _told_of_lent(self) -> None:
        """What was lent here is committed, as a station is told."""
        if self.world.faults.of_wake_up() != "wake-up lost":
            self.inbox.put([Call(self._look)])

    def _look(self) -> None:
        self.engine.next_look = 0

    def kill(self) -> None:
        """End at once, as by SIGKILL."""
        if not self.alive:
            return
        self.alive = False
        self.world.note(self.name, "is killed")
        self._return_lent()
        self._hang_up()
        self.world.died(self)
        if not self._in_round:
            self._clear_up()

    def leave(self) -> None:
        """Shut down in order, as on SIGTERM."""
        if not self.alive or not self.has_booted or self.engine.leaving:
            return
        self.world.note(self.name, "shuts down")
        self.inbox.put([Call(self.drain)])
        self.loop.call(lambda: self.loop.create_task(self._stop()))

    def drain(self) -> None:
        """Take no more work."""
        self.engine.draining = True

    async def _stop(self) -> None:
        await self.activities.close(GRACE_US)
        self.gateway.close()
        self.inbox.put([Call(self.engine.leave)])

    def _hang_up(self) -> None:
        """Nobody is answered any more."""
        self.gateway.die()

    def _return_lent(self) -> None:
        """The writer is free as soon as the process is gone that has it."""
        if self.world.own is not None:
            self.world.own.drop(self)
        lent = self.world.lent
        if lent is not None and lent.is_of(self):
            lent.roll_back()

    def _clear_up(self) -> None:
        """What a dead process leaves in Python's memory is let go of here, and not by chance later."""
        self.engine.orchestrations.drop_all()
        self.loop.die()
        self._return_lent()
        self.port.close()

    def pause(self) -> None:
        """Stand still for up to four leases, as by SIGSTOP."""
        us = 1_000 + self.world.dice.below(self.world.dice.pick((100_000, 5_000_000, 4 * LEASE_US)))
        self.world.note(self.name, "stands still", us)
        self.paused_until = max(self.paused_until, self.world.timeline.now + us)

    # -- waiting in the middle of a round --------------------------------------------------------------------------

    def hang(self) -> None:
        """Wait for the store, while the other threads of this process go on."""
        self.wait(1 + self.world.dice.below(HANG_US_MAX), until=lambda: False)

    def work_on(self, work: Callable[[], int | None]) -> None:
        """A commit is on its way for a moment that depends on when it began."""
        timeline = self.world.timeline
        end = timeline.now + timeline.now % WAIT_US_MAX
        work()
        while timeline.now < end:
            self.wait(end - timeline.now, until=lambda: bool(self.inbox.entries))
            work()

    def stand_still(self) -> None:
        """Wait until the pause is over, however often it is prolonged."""
        timeline = self.world.timeline
        while self._goes_on and timeline.now < self.paused_until:
            self.world.go_on(self.paused_until - timeline.now, lambda: not self.alive)
        if not self._goes_on:
            raise Dead

    @property
    def _goes_on(self) -> bool:
        return self.alive and self.world.failure is None

    def wait(self, us: int, until: Callable[[], bool]) -> None:
        """Let the world go on for so long, or until something is so."""
        self.world.go_on(us, lambda: not self.alive or until())
        self.stand_still()

    # -- rounds of the engine --------------------------------------------------------------------------------------

    def wake(self, when: int) -> None:
        """See to it that a round begins at this time at the latest."""
        if self.alive and (self._wake_at is None or when < self._wake_at):
            self._wake_at = when
            if not self._in_round:
                self.world.timeline.at(when, self._round, when)

    def look_at(self, when: int) -> None:
        """Another process has written: a round begins at this time, also if one begins before, which may not see it."""
        self._look_at = max(self._look_at, when)
        self.wake(when)

    def wake_soon(self) -> None:
        """Something has come into the inbox."""
        self.wake(self.world.timeline.now + 10 + self.world.dice.below(400))

    def _round(self, when: int) -> None:
        timeline = self.world.timeline
        if not self.alive or self._in_round or self._wake_at != when:
            return
        if timeline.now < self.paused_until:
            self._wake_at = self.paused_until
            timeline.at(self.paused_until, self._round, self.paused_until)
            return
        self._wake_at = None
        self._in_round = self.inbox.at_start = True
        try:
            if self.engine.leaving:
                self.engine.finish()
            else:
                self.engine.run_once()
        except Dead:
            pass
        except Exception as error:  # noqa: BLE001 - a defect of the engine
            self.world.fail(error)
        finally:
            self._in_round = False
        self._after_round()

    def _after_round(self) -> None:
        if not self.alive:
            self._clear_up()
        elif self.engine.stopped:
            self._left()
        else:
            self._go_on()

    def _left(self) -> None:
        self.alive = False
        self.world.note(self.name, "has left")
        self._hang_up()
        self.world.died(self)
        self._clear_up()

    def _go_on(self) -> None:
        """When the next round is: where a production engine polls, an idle one here polls less and less often."""
        now = self.world.timeline.now
        engine = self.engine
        if self.inbox.entries or engine.leaving:
            delay = 0
        else:
            delay = engine.delay()
            if delay:
                delay = self._idle(self.port.now())
        when = now + 20 + delay
        if self._look_at > now:
            when = min(when, self._look_at)
        if self._wake_at is not None:
            when = min(when, self._wake_at)
            self._wake_at = None
        self.wake(when)

    def _idle(self, store_now: int) -> int:
        """How long only polls happen that find nothing: a store whose time stands still lets nothing fall due."""
        engine = self.engine
        first, most = IDLE_HEALED_US if self.world.faults.healed else IDLE_US
        if engine.is_waited_for:
            # What memory still has, though others have removed it, is told when it is looked for safety's sake.
            most = min(most, WAITED_FOR_US)
        self._idle_us = first if self.has_worked else min(3 * self._idle_us, most)
        self.has_worked = False
        stands_still, self._store_now = store_now == self._store_now, store_now
        if engine.next_due is None or engine.draining or stands_still:
            return self._idle_us
        return min(self._idle_us, max(0, engine.next_due - store_now))

    # -- the other threads -----------------------------------------------------------------------------------------

    def _ask(self, future: asyncio.Future[Any], call: Callable[[], Any]) -> None:
        self.world.timeline.after(1 + self.world.dice.below(300), self.answer, (future, call))

    def _wake_loop(self) -> None:
        self.world.timeline.after(1 + self.world.dice.below(200), self.loop_round)

    def _beat(self, _: Any) -> None:
        timeline = self.world.timeline
        if not self.alive:
            return
        if timeline.now < self.paused_until:
            timeline.at(self.paused_until, self._beat)
            return
        if not self._in_beat:
            self._in_beat = True
            try:
                self._heartbeat.run_once()
            except Dead:
                pass
            finally:
                self._in_beat = False
        timeline.after(BEAT_US, self._beat)

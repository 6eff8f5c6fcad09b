"""Orchestrations in a test: in memory, on test time, in one thread, with typed fakes for activities."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from perdure._client import Client, EngineClient
from perdure._client.handle import result_unless_held
from perdure._ports import Incarnations
from perdure._registry import Registry
from perdure._runtime.assembly import make_engine
from perdure._runtime.built_in import with_built_ins
from perdure._runtime.gateway import EngineGateway
from perdure._runtime.hands import MAINTENANCE_US, ActivityHands, Settings
from perdure._runtime.lifespans import enter_lifespans
from perdure._runtime.retention import Retention, checked_retention
from perdure._types import INSTANT_US_MAX, Status, duration_us, from_us
from perdure._work import Query
from perdure.errors import HeldError, LimitError, UsageError
from perdure.storage.base import UNKNOWN_GRACE_US
from perdure.storage.memory import MemoryStorage
from perdure.testing._clock import ManualClock, SeededEntropy
from perdure.testing._fakes import Doing, FakeTime, FakingActivities, check_fake, teach
from perdure.testing._turns import OwnTurns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from types import TracebackType

    from perdure._definitions import Activity, Orchestration
    from perdure._runtime.attempts import TaskKey
    from perdure._runtime.inbox import Entry
    from perdure._types import Duration

P = ParamSpec("P")
R = TypeVar("R")

SLOTS = 100
THREADS = 4
CACHED_MAX = 10_000
SETTLING_ROUNDS = 3
WAITING_S = 0.25
"""How long, in real time, fakes may wait for something other than test time before that goes on without them."""
STANDSTILL_S = 2.0
"""How long, in real time, a result may be awaited that nothing can bring but the test itself, before that is told."""

_log = logging.getLogger("perdure.testing")


class _Inbox:
    """An inbox for an engine that runs on the test's own event loop, which alone feeds it."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.news = asyncio.Event()

    def put(self, entries: list[Entry]) -> None:
        self._entries += entries
        self.news.set()

    def take(self, wait_us: int) -> list[Entry]:
        del wait_us
        taken, self._entries = self._entries, []
        self.news.clear()
        return taken

    @property
    def is_empty(self) -> bool:
        return not self._entries


class Environment:
    """In memory, on test time: sleeping costs nothing.

    Time stands still while anything can be done. While a result is awaited and nothing else can happen, it jumps to
    the next timer, retry or scheduled start; `advance` moves it by hand.

    A fake lives on test time too; an activity that is not faked runs for real, and takes the time that it takes.

    Args:
        registry: The definitions under test.
        seed: Repeats the ids, the secrets and the jitter of a run.
        turn_limit: How long one turn may take in real time before it is interrupted and its instance held, as in a
            worker; None for no limit. There is none under a debugger.
        retention: As for a worker; old instances and executions go as test time passes.

    Example:
        async with Environment(Registry(charge, refund, checkout)) as env:
            env.fake(charge, lambda order: "receipt-1")
            assert await env.run(checkout, Order("o-1", 4200)) == "receipt-1"
    """

    def __init__(
        self,
        registry: Registry,
        /,
        *,
        seed: int = 0,
        turn_limit: Duration | None = 2.0,
        retention: Retention | None = None,
    ) -> None:
        if not isinstance(registry, Registry):
            raise UsageError(f"Environment takes a Registry, not {registry!r}: write Environment(Registry(...))")
        self._guarded = registry
        self._registry = with_built_ins(registry)
        self._retention = checked_retention(retention)
        self._turns = OwnTurns(None if turn_limit is None else duration_us(turn_limit, "turn_limit"))
        self._clock = ManualClock()
        self._entropy = SeededEntropy(seed)
        self._fakes: dict[str, Callable[..., Any]] = {}
        self._pump: asyncio.Task[None] | None = None
        self._fake_time = FakeTime(self._clock)
        self._given_up: frozenset[TaskKey] = frozenset()
        self._asked_in_vain = 0
        self._lacking: tuple[frozenset[str], int] = (frozenset(), 0)
        self._holding_time = 0
        self._quiet = asyncio.Event()

    @property
    def client(self) -> Client:
        """The client of this environment.

        Raises:
            UsageError: The environment is not open.
        """
        if self._pump is None:
            raise UsageError("the environment is not open: use it inside `async with Environment(...) as env:`")
        return self._client

    @property
    def now(self) -> datetime:
        """The test's time (UTC)."""
        return from_us(self._clock.now_us())

    def fake(self, activity: Activity[P, R], fn: Callable[..., R | Awaitable[R]], /) -> None:
        """Run `fn`, with the same inputs but without ctx, in place of an activity. It may raise, to fail an attempt.

        To a type checker it may take any inputs: a `Callable[P, R]` would have to name them as the activity does.

        Raises:
            UsageError: The registry has no such activity, or `fn` can't be called with its inputs.
        """
        check_fake(activity, fn)
        if self._registry.activity(activity.name) is None:
            raise UsageError(f"{activity.name} is not in this environment's registry, so nothing would call the fake")
        self._fakes[activity.name] = fn
        if self._pump is not None:
            self._activities.forget_plans()

    async def run(self, orchestration: Orchestration[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an orchestration to its end and return its result; time passes as it needs.

        Raises:
            OrchestrationError: It failed.
            HeldError: It, or a child of it, is held: its code is wrong.
            UsageError: Inputs were given by name: they are positional.
        """
        if kwargs:
            raise UsageError(f"inputs are positional, and {', '.join(kwargs)} came by name")
        start: Any = self.client.start_orchestration
        handle = await start(orchestration, *args)
        result: R = await result_unless_held(handle)
        return result

    async def advance(self, by: Duration, /) -> None:
        """Let time pass, stopping at everything that falls due on the way; returns when all of it has been done.

        Raises:
            LimitError: It would be after the year 9999.
        """
        end = self._clock.now_us() + duration_us(by, "advance")
        if end > INSTANT_US_MAX:
            raise LimitError(f"advance is {by}, which is after the year 9999 from {self.now}: advance by less")
        self._holding_time += 1
        try:
            while True:
                await self._settled()
                due = self._next_due
                step = end if due is None else min(end, max(due, self._clock.now_us()))
                self._move_to(step)
                if step >= end:
                    break
            await self._settled()
        finally:
            self._holding_time -= 1
            self._inbox.news.set()

    async def _settled(self) -> None:
        """Wait until nothing can happen without time passing."""
        self._quiet.clear()
        self._inbox.news.set()
        await self._quiet.wait()

    def _move_to(self, instant_us: int) -> None:
        # The worker lives on test time too: without a beat, a jump would look like its death.
        self._storage.heartbeat(self._engine.worker)
        self._clock.advance(max(0, instant_us - self._clock.now_us()))
        self._storage.heartbeat(self._engine.worker)
        if self._fake_time.fire(asyncio.get_running_loop()):
            self._given_up = frozenset()

    async def __aenter__(self) -> Self:
        """Open the environment.

        Raises:
            UsageError: It is open already.
        """
        if self._pump is not None:
            raise UsageError("this environment is open already")
        loop = asyncio.get_running_loop()
        inbox = self._inbox = _Inbox()
        storage = self._storage = self._make_storage()
        incarnations = Incarnations(self._clock, self._entropy)
        self._gateway = EngineGateway(inbox, storage, incarnations)
        self._client = EngineClient(self._gateway)
        self._exits = AsyncExitStack()
        self._exits.callback(self._gateway.hang_up)
        self._turns.watch(self._guarded, self._exits)
        try:
            services = await enter_lifespans(self._registry, self._client, self._exits)
        except BaseException:
            await self._exits.aclose()
            raise
        activities = self._activities = FakingActivities(
            registry=self._registry,
            clock=self._clock,
            entropy=self._entropy,
            slots=SLOTS,
            threads=THREADS,
            put=inbox.put,
            services=services,
        )
        activities.fakes = self._fakes
        activities.fake_time = self._fake_time
        teach(loop)
        self._engine = make_engine(
            storage=storage,
            registry=self._registry,
            clock=self._clock,
            entropy=self._entropy,
            inbox=inbox,
            hands=ActivityHands(activities, lambda order, argument: order(argument), self._gateway.flush),
            settings=Settings(slots=SLOTS, worker_name="test"),
            turns=self._turns,
            cached_max=CACHED_MAX,
            incarnations=incarnations,
            retention=self._retention,
            taking=self._counting,
        )
        self._engine.register()
        self._pump = loop.create_task(self._run(), name="perdure-environment")
        return self

    def _counting(self, take_slot: Callable[[str], bool]) -> Callable[[str], bool]:
        def take(activity_name: str) -> bool:
            if self._registry.activity(activity_name) is None:
                self._asked_in_vain += 1
            return take_slot(activity_name)

        return take

    def _make_storage(self) -> Any:
        return MemoryStorage(clock=self._clock, entropy=self._entropy)

    async def _run(self) -> None:
        try:
            await self._work()
        except Exception:
            # A defect of the engine's own: whoever waits must hear of it; closing the environment raises it.
            self._gateway.close()
            self._engine.finish()
            self._quiet.set()
            raise

    async def _work(self) -> None:
        engine, inbox = self._engine, self._inbox
        while not engine.stopped:
            engine.run_once()
            for _ in range(SETTLING_ROUNDS):
                await asyncio.sleep(0)
            if not inbox.is_empty or engine.delay() == 0:
                continue
            if await self._nothing_can_happen():
                self._quiet.set()
                if self._may_jump():
                    self._move_to(self._next_due or 0)
                    continue
                if engine.is_waited_for and engine.capacity.busy == 0:
                    if self._lacks_code():
                        # A worker with it may come, for so long; none does.
                        self._move_to(self._clock.now_us() + UNKNOWN_GRACE_US + MAINTENANCE_US)
                        continue
                    self._tell_of_held()
            await self._wait_for_news()

    async def _wait_for_news(self) -> None:
        """Wait for something to do; say so if nothing but the test itself can bring it, and it does not."""
        news = self._inbox.news
        if self._engine.is_waited_for and self._engine.capacity.busy == 0 and self._next_due is None:
            try:
                await asyncio.wait_for(news.wait(), STANDSTILL_S)
            except TimeoutError:
                self._tell_of_standstill()
        await news.wait()

    def _tell_of_standstill(self) -> None:
        for record in self._storage.find(Query(statuses=(Status.RUNNING,)))[0]:
            live = self._engine.orchestrations.by_id(record.id)
            asked = [] if live is None or live.execution is None else live.execution.open.values()
            _log.warning(
                "test time stands still: nothing is due, and instance %r (%s) waits for %s",
                record.id,
                record.name,
                ", ".join(map(repr, asked)) or "nothing",
            )

    def _lacks_code(self) -> bool:
        """Whether something waits for code that the registry lacks, and did not when this was asked last."""
        # What can run has begun by now, and what is to start later is due.
        pending = frozenset(record.id for record in self._storage.find(Query(statuses=(Status.PENDING,)))[0])
        lacking = (pending, self._asked_in_vain)
        lacked, self._lacking = self._lacking, lacking
        return lacking not in {lacked, (frozenset(), 0)}

    async def _nothing_can_happen(self) -> bool:
        """Whether nothing can happen without time passing, as far as can be told; if in doubt after a while."""
        if self._engine.capacity.busy == 0:
            return True
        if self._activities.doing is Doing.WAITING and self._activities.running != self._given_up:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._inbox.news.wait(), WAITING_S)
                return False
            self._given_up = self._activities.running
        return self._activities.doing is not Doing.WORKING

    @property
    def _next_due(self) -> int | None:
        dues = [due for due in (self._engine.next_due, self._fake_time.next_due) if due is not None]
        return min(dues, default=None)

    def _tell_of_held(self) -> None:
        # No worker with mended code will come: who waits for the end, of this instance or of the one at the top of its
        # tree, would wait for ever.
        for record in self._storage.find(Query(statuses=(Status.HELD,)))[0]:
            error = HeldError(f"instance {record.id!r} ({record.name}) is held: {record.held_because}")
            for each in {record.id, record.root}:
                self._engine.give_up(each, error)
        self._gateway.flush()

    def _may_jump(self) -> bool:
        return self._holding_time == 0 and self._engine.is_waited_for and self._next_due is not None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        """Close the environment; whatever still runs is cancelled."""
        pump, self._pump = self._pump, None
        if pump is None:
            return
        self._engine.draining = True
        await self._activities.close(0)
        # What this loop has asked for so far is for the last round; nothing can be asked for behind it.
        self._gateway.close()
        self._engine.finish()
        self._inbox.news.set()
        pump.cancel()
        await asyncio.wait([pump])
        self._gateway.end_readers()
        await self._exits.aclose()
        if not pump.cancelled() and pump.exception() is not None:
            raise pump.exception()  # type: ignore[misc]  # checked in the line above

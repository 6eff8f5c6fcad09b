"""One day of the shop: customers order, managers answer, and somebody kills the worker again and again.

The supervisor runs no orchestration itself. It is a `perdure.Client` of the SQLite file that the worker works on, which
is all that a web server or a script of yours would be.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from examples.demo.ledger import Kind, Ledger
from examples.demo.orchestrations import APPROVAL, WAITING, fulfil
from examples.demo.orders import Order, Outcome
from examples.demo.report import Progress
from examples.demo.worker_process import WorkerProcess
from examples.demo.world import EFFECTS, expected_outcome, verdict_of
from perdure import Client, InstanceClosedError, OrchestrationError, OrchestrationHandle

_LOOK_S = 0.005
_SHOW_S = 0.1
_BETWEEN_ORDERS_S = 0.01

Handle = OrchestrationHandle[Outcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides how the day goes, apart from the speed of the machine."""

    orders: Sequence[Order]
    stock: Mapping[str, int]
    folder: Path
    kills: int
    seed: int
    patience: timedelta
    """How long an expensive order waits for its manager."""

    @property
    def store(self) -> Path:
        return self.folder / "perdure.db"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger.db"

    @property
    def effects(self) -> int:
        """How many effects there will be in the end."""
        return sum(len(EFFECTS[expected_outcome(order, self.stock)]) for order in self.orders)

    @property
    def early_effects(self) -> int:
        """How many of them there are before the first order loses its patience."""
        late = sum(expected_outcome(order, self.stock) is Outcome.TIMED_OUT for order in self.orders)
        return self.effects - late * len(EFFECTS[Outcome.TIMED_OUT] - {Kind.RESERVE, Kind.CHARGE})

    def check(self) -> None:
        """Refuse what can't be done.

        Raises:
            ValueError: A number is out of range, or the folder has another day's files in it.
        """
        if not self.orders:
            raise ValueError("--orders: there has to be at least 1")
        if not 1 <= self.kills <= self.early_effects:
            raise ValueError(
                f"--kills: {self.kills} is not within 1 to {self.early_effects}, which so few orders allow"
            )
        if self.patience <= timedelta():
            raise ValueError("--patience: it has to be more than 0 s")
        if self.store.exists() or self.ledger.exists():
            raise ValueError(f"--keep: {self.folder} has the files of another day in it; name an empty folder")

    def kill_moments(self) -> list[int]:
        """When to kill the worker: each time that the ledger has so many effects.

        The last time is when hardly anything is left but orders whose clocks are running.
        """
        last = self.early_effects
        moments = random.Random(self.seed).sample(range(1, last), self.kills - 1)  # noqa: S311 - it has to repeat itself
        return [*sorted(moments), last]


@dataclass(frozen=True, slots=True)
class Day:
    """What the supervisor saw: how Perdure says that each order ended, and how often the worker was killed."""

    results: Mapping[str, Outcome | OrchestrationError]
    kills: int


async def live_through(plan: Plan, progress: Progress) -> Day:
    """Let the day pass; returns when every order has ended and the worker has gone home.

    Raises:
        ExceptionGroup: With a `WorkerFailedError` in it, if the worker died of anything but our kills.
    """
    ledger = Ledger.create(plan.ledger, plan.stock)
    worker = WorkerProcess(plan.store, plan.ledger, plan.folder / "worker.log")

    async def show() -> None:
        progress.show(ledger.count_effects(), plan.effects, worker.kills)
        while await worker.works_for(_SHOW_S):
            progress.show(ledger.count_effects(), plan.effects, worker.kills)

    try:
        async with Client(plan.store) as client, asyncio.TaskGroup() as group:
            group.create_task(worker.keep_alive())
            showing = group.create_task(show())
            sabotage = group.create_task(_kill_again_and_again(plan, ledger, worker))
            handles = await _place_orders(plan, client, group, worker)
            results = {handle.instance_id: await _result_of(handle) for handle in handles}
            await sabotage
            showing.cancel()
            worker.stop()
    finally:
        worker.abandon()
        ledger.close()
    return Day(results, worker.kills)


async def _place_orders(plan: Plan, client: Client, group: asyncio.TaskGroup, worker: WorkerProcess) -> list[Handle]:
    """Start an orchestration for each order. The order's number is the instance's id, so no order can start twice."""
    rng = random.Random(plan.seed)  # noqa: S311 - it has to repeat itself
    handles: list[Handle] = []
    for order in plan.orders:
        handle = await client.start_orchestration(fulfil, order, plan.patience, instance_id=order.id)
        handles.append(handle)
        if order.needs_approval:
            group.create_task(_answer(order, handle, at_once=rng.random() < 1 / 2))
        await worker.works_for(_BETWEEN_ORDERS_S)
    return handles


async def _answer(order: Order, handle: Handle, *, at_once: bool) -> None:
    """Play the order's manager: answer before anybody asks, or when the order waits for it, or never."""
    verdict = verdict_of(order)
    if verdict is None:
        return
    if not at_once:
        async for status in handle.watch():
            if status.custom_status == WAITING:
                break
    # The order may have ended without asking: its card was declined, say.
    with suppress(InstanceClosedError):
        await handle.raise_event(APPROVAL, verdict, dedup_key=order.id)


async def _kill_again_and_again(plan: Plan, ledger: Ledger, worker: WorkerProcess) -> None:
    """Kill the worker at the planned moments, and never before it has done something."""
    seen = 0
    for moment in plan.kill_moments():
        least = max(moment, seen + 1)
        while ledger.count_effects() < least:
            await worker.works_for(_LOOK_S)
        await worker.kill()
        seen = ledger.count_effects()


async def _result_of(handle: Handle) -> Outcome | OrchestrationError:
    try:
        return await handle.result()
    except OrchestrationError as error:
        return error

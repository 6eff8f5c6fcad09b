"""Real workers that are killed, paused and asked to leave, while a client goes on; judged from outside.

The judge knows what the client was told, the ledger that activities wrote to, and the public API. Nothing else.
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perdure import Client, InstanceStatus, OutcomeUnknownError, Status, StorageUnavailableError
from tests.chaos.worker import MAIL, errand

LEASE_S = 1.5
PAUSE_S = 2 * LEASE_S
LEAVE_S = 15.0
"""A worker that was asked to leave is gone after its grace and a while for a busy machine."""
HEAL_S = 60.0
WORKERS = 3
ENDS = ("Completed", "Failed", "Cancelled", "Terminated", "ContinuedAsNew")
NOTES = Counter({"first": 2, "left": 1, "right": 1, "last": 1})


@dataclass
class Totals:
    """What was done to the workers, and what came of it."""

    kills: int = 0
    pauses: int = 0
    leaves: int = 0
    instances: int = 0
    activities: int = 0
    repeated: int = 0
    """Activities that ran more than once; each of them has one outcome in history."""


class Nursery:
    """The processes of one store."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._born: asyncio.Queue[int] = asyncio.Queue()
        self._ended: dict[int, asyncio.Future[int]] = {}
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def open(cls, url: str, ledger: Path, module: str = "tests.chaos.worker") -> "Nursery":
        """Start it; the first worker needs no longer than the last."""
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, url, str(ledger), str(LEASE_S),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )
        )  # fmt: skip

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        while line := (await self._process.stdout.readline()).split():
            pid = int(line[1])
            if line[0] == b"born":
                self._ended[pid] = asyncio.get_running_loop().create_future()
                self._born.put_nowait(pid)
            else:
                self._ended[pid].set_result(int(line[2]))

    async def bear(self, word: str = "go") -> int:
        """A new worker; its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        return await self._born.get()

    async def end(self, pid: int) -> int:
        """Wait until it has ended; its exit code, or the signal that killed it, negative."""
        return await self._ended[pid]

    def is_over(self, pid: int) -> bool:
        """Whether it has ended, as far as is known yet."""
        return self._ended[pid].done()

    async def close(self) -> None:
        """Kill whoever is left."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        await self._hearing


@dataclass
class Customer:
    """A client that starts errands and tells them what they wait for, and remembers what was acknowledged."""

    client: Client
    acknowledged: set[str] = field(default_factory=set)

    async def errand(self, instance_id: str) -> None:
        """Start one and send it its mail; every call is repeated until it is acknowledged."""
        await self._insist(
            lambda: self.client.start_orchestration(errand, [], instance_id=instance_id, on_conflict="use_existing")
        )
        self.acknowledged.add(instance_id)
        for number in (1, 2):
            await self._insist(
                lambda number=number: self.client.raise_event(instance_id, MAIL, number, dedup_key=f"mail {number}")
            )

    async def _insist(self, call) -> None:
        while True:
            try:
                await call()
            except (StorageUnavailableError, OutcomeUnknownError):
                continue
            return


async def run(folder: Path, *, seed: int, kills: int, pauses: int, leaves: int) -> Totals:
    """One store, some workers, and so much done to them; raises AssertionError when a promise is broken."""
    url, ledger = f"sqlite:///{folder / 'chaos.db'}", folder / "ledger"
    totals = Totals()
    dice = random.Random(seed)  # noqa: S311 - the same plan for the same seed
    plan = ["kill"] * kills + ["pause"] * pauses + ["leave"] * leaves
    dice.shuffle(plan)
    async with Client(url) as client:
        customer = Customer(client)
        nursery = await Nursery.open(url, ledger)
        try:
            await _torment(nursery, customer, plan, dice, totals)
            async with asyncio.timeout(HEAL_S):
                for each in sorted(customer.acknowledged):
                    await client.get_handle(each, errand).result()
            await _judge(client, customer, ledger, totals)
        finally:
            await nursery.close()
    return totals


async def _torment(nursery: Nursery, customer: Customer, plan: list[str], dice: random.Random, totals: Totals) -> None:
    """Let the plan happen, with errands in between; whoever is gone is replaced."""
    alive = [await nursery.bear() for _ in range(WORKERS)]
    paused: list[asyncio.Task[None]] = []
    for number, act in enumerate(plan):
        await customer.errand(f"errand-{number}")
        await asyncio.sleep(dice.uniform(0.03, 0.15))
        victim = alive.pop(dice.randrange(len(alive)))
        if act == "kill":
            os.kill(victim, signal.SIGKILL)
            assert await nursery.end(victim) == -signal.SIGKILL, "it had ended by itself"
            totals.kills += 1
        elif act == "pause":
            os.kill(victim, signal.SIGSTOP)
            paused.append(asyncio.create_task(_wake(nursery, victim)))
            totals.pauses += 1
        else:
            os.kill(victim, signal.SIGTERM)
            async with asyncio.timeout(LEAVE_S):
                status = await nursery.end(victim)
            # One that was not up yet has no handler for the signal, and nothing to hand back.
            assert status in (0, -signal.SIGTERM), f"a worker left with status {status}"
            totals.leaves += 1
        alive.append(await nursery.bear())
    await asyncio.gather(*paused)


async def _wake(nursery: Nursery, pid: int) -> None:
    """Continue a paused worker when its lease is over; it finds out, and leaves when it is asked."""
    await asyncio.sleep(PAUSE_S)
    os.kill(pid, signal.SIGCONT)
    await asyncio.sleep(LEASE_S)
    os.kill(pid, signal.SIGTERM)
    async with asyncio.timeout(LEAVE_S):
        assert await nursery.end(pid) in (0, -signal.SIGTERM)


async def _judge(client: Client, customer: Customer, ledger: Path, totals: Totals) -> None:
    runs = [line.split() for line in ledger.read_text().splitlines()]
    assert all(len(run) == 5 for run in runs)
    keys: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for key, instance, execution, entry, _ in runs:
        keys[instance, execution, entry].add(key)
    for place, found in keys.items():
        assert len(found) == 1, f"{place} was done under {len(found)} keys"
    statuses = await _all(client)
    assert customer.acknowledged <= set(statuses), "an acknowledged start is gone"
    for instance_id in customer.acknowledged:
        status = statuses[instance_id]
        assert status.status is Status.COMPLETED, status
        assert status.output == ["first", "left", "right", f"{instance_id}-aside", "last", "1", "2"]
        done = Counter(entry for instance, _, entry in keys if instance == instance_id)
        assert done == NOTES, f"{instance_id} did {done}"
        await _judge_histories(client, instance_id)
    totals.instances = len(statuses)
    totals.activities = len(keys)
    totals.repeated = sum(times > 1 for times in Counter(run[0] for run in runs).values())
    assert len(statuses) == 2 * len(customer.acknowledged), "errands and their asides, and nothing else"


async def _all(client: Client) -> dict[str, InstanceStatus[Any]]:
    page = await client.list_instances(limit=1000)
    found = {each.instance_id: each for each in page.items}
    while page.next is not None:
        page = await client.list_instances(limit=1000, after=page.next)
        found |= {each.instance_id: each for each in page.items}
    return found


async def _judge_histories(client: Client, instance_id: str) -> None:
    for execution in (1, 2):
        events = [event async for event in client.history(instance_id, execution_id=execution)]
        assert [event.id for event in events] == list(range(1, len(events) + 1))
        assert [event.id for event in events if event.kind in ENDS] == [len(events)]
        answered = [event.source for event in events if event.kind == "ActivityCompleted"]
        assert sorted(answered) == sorted(event.id for event in events if event.kind == "ActivityScheduled")

"""Workers on two databases that are killed, at random and at the points between them; judged from outside.

The judge knows what the client was told, the ledger that activities wrote to, and the public API; and that nothing is
on its way any more.
"""

import asyncio
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perdure import (
    Client,
    InstanceNotFoundError,
    OrchestrationCancelledError,
    OutcomeUnknownError,
    Status,
    StorageUnavailableError,
)
from perdure._ports import SystemClock, SystemEntropy
from perdure.storage import open_storages
from tests.chaos.processes import HEAL_S, WORKERS, Nursery
from tests.chaos.shard_worker import POINTS, WORDS, errand, guardian, on

DEATH_S = 60.0
RESULT = ["first", "42", "8", "builtins.ValueError", "True", "last"]


@dataclass
class Totals:
    """What was done to the workers, and what came of it."""

    kills: int = 0
    deaths: int = 0
    """How many of them were by their own hand, at a point between the two databases."""
    errands: int = 0
    instances: int = 0
    repeated: int = 0
    """Activities that ran more than once; each of them has one outcome in history."""


@dataclass
class Visitor:
    """A client that starts families on two shards, and takes some parents back."""

    client: Client
    families: set[str] = field(default_factory=set)

    async def family(self, name: str) -> None:
        """An errand with all that it sends to the other shard, and a guardian that is cancelled at once."""
        here = _place(name)
        starts = {"errand": errand, "guardian": guardian}
        for what, definition in starts.items():
            instance_id = on(here, f"{name}-{what}")
            await _insist(
                lambda definition=definition, id_=instance_id: self.client.start_orchestration(
                    definition, 1 - here, instance_id=id_, on_conflict="use_existing"
                )
            )
        await _insist(lambda: self.client.get_handle(instance_id).cancel())
        self.families.add(name)

    async def heal(self) -> None:
        """Wait until everything has ended."""
        async with asyncio.timeout(HEAL_S):
            for name, here in self._places():
                await self.client.get_handle(on(here, f"{name}-errand")).result()
                with suppress(OrchestrationCancelledError):
                    await self.client.get_handle(on(here, f"{name}-guardian")).result()

    def _places(self) -> list[tuple[str, int]]:
        return [(name, _place(name)) for name in sorted(self.families)]

    async def judge(self, ledger: Path, totals: Totals) -> None:
        """Everything has happened once, in order, and is told to whom it concerns."""
        statuses = await _all(self.client)
        known: set[str] = set()
        for name, here in self._places():
            known |= await self._judge(name, here, statuses)
        assert statuses.keys() == known, f"nobody has asked for {statuses.keys() - known}"
        keys: dict[tuple[str, str, str], set[str]] = defaultdict(set)
        runs = [line.split() for line in ledger.read_text().splitlines()]
        for key, instance, execution, entry, _ in runs:
            keys[instance, execution, entry].add(key)
        assert {place: found for place, found in keys.items() if len(found) > 1} == {}
        notes = Counter((instance, entry) for instance, _, entry in keys)
        assert set(notes.values()) == {1}, "a note was taken in two executions"
        totals.errands = len(self.families)
        totals.instances = len(statuses)
        totals.repeated = sum(times > 1 for times in Counter(run[0] for run in runs).values())

    async def _judge(self, name: str, here: int, statuses: dict[str, Any]) -> set[str]:
        root, cared_for = on(here, f"{name}-errand"), on(here, f"{name}-guardian")
        far = {what: on(1 - here, f"{root}-{what}") for what in ("good", "bad", "reader", "ward")}
        assert (statuses[root].status, statuses[root].output) == (Status.COMPLETED, RESULT)
        assert statuses[far["reader"]].output == WORDS
        assert statuses[far["good"]].output == 42
        assert statuses[far["bad"]].status is Status.FAILED
        assert statuses[far["ward"]].status is Status.CANCELLED
        assert statuses[cared_for].status is Status.CANCELLED
        near = {each for each in statuses if each.startswith(root) and each not in {root, *far.values()}}
        assert len(near) == 1
        # Its parent may have been cancelled before it asked for it.
        late = on(1 - here, f"{cared_for}-ward")
        if late in statuses:
            assert statuses[late].status is Status.CANCELLED
        return {root, cared_for, *far.values(), *near, *({late} & statuses.keys())}


def _place(name: str) -> int:
    """On which shard the parents of a family are."""
    return int(name.rpartition("-")[2]) % 2


async def _insist(call: Any) -> Any:
    while True:
        try:
            return await call()
        except (StorageUnavailableError, OutcomeUnknownError, InstanceNotFoundError):
            await asyncio.sleep(0.02)


async def _all(client: Client) -> dict[str, Any]:
    page = await client.list_instances(limit=1000)
    found = {each.instance_id: each for each in page.items}
    while page.next is not None:
        page = await client.list_instances(limit=1000, after=page.next)
        found |= {each.instance_id: each for each in page.items}
    return found


async def _everything_is_over(client: Client, urls: Sequence[str]) -> None:
    """Wait until nothing is in an outbox and no instance is open, twice: what arrives between may begin anew."""
    storages = open_storages(urls, clock=SystemClock(), entropy=SystemEntropy())
    try:
        async with asyncio.timeout(HEAL_S):
            quiet = 0
            while quiet < 2:
                await asyncio.sleep(0.02)
                is_sent = any(storage.parcels(None, 1) for storage in storages)
                is_open = await client.count_instances(status=["pending", "running"]) != []
                quiet = 0 if is_sent or is_open else quiet + 1
    finally:
        for storage in storages:
            storage.close()


@asynccontextmanager
async def _visit(urls: Sequence[str], folder: Path, totals: Totals) -> AsyncIterator[tuple[Visitor, Nursery]]:
    """A client and a nursery; after the block, all that was asked for is waited for and judged."""
    ledger = folder / "ledger"
    async with Client(urls) as client:
        visitor = Visitor(client)
        nursery = await Nursery.open(",".join(urls), ledger, "tests.chaos.shard_worker")
        try:
            yield visitor, nursery
            await visitor.heal()
            await _everything_is_over(client, urls)
            await visitor.judge(ledger, totals)
        finally:
            await nursery.close()


async def die_at(point: str, urls: Sequence[str], folder: Path, *, times: int) -> Totals:
    """A worker after the other dies at a point, each one crossing later; the last one lives and ends everything."""
    totals = Totals()
    async with _visit(urls, folder, totals) as (visitor, nursery):
        for number in range(1, times + 1):
            await visitor.family(f"family-{number}")
            worker = await nursery.bear(f"{point} {number}")
            async with asyncio.timeout(DEATH_S):
                assert await nursery.end(worker) == -signal.SIGKILL
            totals.kills += 1
            totals.deaths += 1
        await nursery.bear()
    return totals


async def run(urls: Sequence[str], folder: Path, *, seed: int, kills: int) -> Totals:
    """Some workers under load, so many of them killed, half of them by themselves between two databases."""
    totals = Totals()
    dice = random.Random(seed)  # noqa: S311 - the same plan for the same seed
    async with _visit(urls, folder, totals) as (visitor, nursery):
        alive = [await nursery.bear() for _ in range(WORKERS)]
        for number in range(kills):
            await visitor.family(f"family-{number}")
            await asyncio.sleep(dice.uniform(0.03, 0.2))
            victim = alive.pop(dice.randrange(len(alive)))
            totals.deaths += nursery.is_over(victim)
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            assert await nursery.end(victim) == -signal.SIGKILL
            totals.kills += 1
            word = "go" if dice.random() < 0.5 else f"{dice.choice(POINTS)} {dice.randint(1, 8)}"
            alive.append(await nursery.bear(word))
        for _ in range(WORKERS):
            await nursery.bear()
    return totals

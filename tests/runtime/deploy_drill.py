"""A deployment under load: workers of one release are replaced by workers of the next, one by one, on one store."""

import asyncio
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from perdure import Client, OrchestrationHandle, Status
from tests.runtime.processes import Program
from tests.runtime.release_program import STOP, label, order_1, ticker_1

RELEASE = Path(__file__).with_name("release_program.py")
WORKERS = 2
TICKERS = 4
BATCH = 6


class Load:
    """A client that keeps starting things."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.orders: list[OrchestrationHandle[list[str]]] = []
        self.labels: list[OrchestrationHandle[list[str]]] = []

    async def batch(self) -> None:
        """Some more of each."""
        for _ in range(BATCH):
            self.orders.append(await self._client.start_orchestration(order_1))
            self.labels.append(await self._client.start_orchestration(label))

    async def results(self) -> tuple[list[list[str]], list[list[str]]]:
        """What they returned."""
        return (
            await asyncio.gather(*(each.result() for each in self.orders)),
            await asyncio.gather(*(each.result() for each in self.labels)),
        )


async def version_is(handle: OrchestrationHandle[Any], version: str) -> None:
    async for status in handle.watch():
        if status.version == version:
            return


async def replace_workers_one_by_one(url: str, spawn: Callable[..., Awaitable[Program]]) -> None:
    """Do so on this store; nothing may fail, and nothing go back to an older version."""
    old = [await spawn(url, "1", script=RELEASE) for _ in range(WORKERS)]
    for worker in old:
        await worker.hear("ready")
    async with Client(url) as client:
        load = Load(client)
        tickers = [await client.start_orchestration(ticker_1, []) for _ in range(TICKERS)]
        await load.batch()
        for each in tickers:
            await version_is(each, "1.0.0")

        for leaving in old:
            coming = await spawn(url, "2", script=RELEASE)
            await coming.hear("ready")
            await load.batch()
            leaving.send(signal.SIGTERM)
            await load.batch()
            assert await leaving.end() == 0, await leaving.errors()
        await load.batch()
        for each in tickers:
            await version_is(each, "2.0.0")
            await each.raise_event(STOP, None)

        orders, labels = await load.results()
        paths = [await each.result() for each in tickers]
        everything = (await client.list_instances(limit=1_000)).items

    assert {each.status for each in everything} == {Status.COMPLETED}
    assert paths == [["1.0.0", "2.0.0"]] * TICKERS
    # Every activity ran once: a worker that leaves hands back what it has not begun, and ends what it has.
    ways = Counter(map(tuple, orders))
    assert set(ways) <= {("1.0.0", "pack 1", "send 1"), ("2.0.0", "weigh 1", "pack 1", "send 1")}
    assert set(map(tuple, labels)) <= {("print 1", "glue 1"), ("print 1", "colour 1", "glue 1")}
    assert [each[0] for each in orders[-BATCH:]] == ["2.0.0"] * BATCH
    assert all("colour 1" in each for each in labels[-BATCH:])

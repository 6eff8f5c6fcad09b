"""A thousand activities at once, with asyncio's own tools and activities of an instance."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import assert_type

from perdure import (
    ActivityContext,
    DurableFuture,
    MapPolicy,
    OrchestrationContext,
    Registry,
    activity,
    orchestration,
)
from perdure.testing import Environment, activity_context


@dataclass
class Pool:
    url: str

    async def fetch(self, page: int) -> bytes:
        return f"{self.url}/{page}".encode()


class Crawler:
    def __init__(self, pool: Pool) -> None:
        self.pool = pool

    @activity
    async def crawl(self, ctx: ActivityContext, page: int) -> int:
        ctx.raise_if_cancelled()
        return len(await self.pool.fetch(page))

    @activity(name="sizes", tag="big")
    def estimate(self, ctx: ActivityContext) -> list[int]:
        return [len(ctx.state(Pool).url)]


@activity
async def fetch(ctx: ActivityContext, page: int) -> bytes:
    return await ctx.state(Pool).fetch(page)


@activity
async def store(content: bytes) -> None: ...


@activity
async def look(_name: str) -> str | None:
    return None


@orchestration
async def crawl_all(ctx: OrchestrationContext, pages: int = 1000) -> int:
    futures = [ctx.schedule_activity(Crawler.crawl, page) for page in range(pages)]
    assert_type(futures, list[DurableFuture[int]])
    sizes = await asyncio.gather(*futures)
    assert_type(sizes, list[int])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(ctx.schedule_activity(fetch, 1))
        group.create_task(ctx.schedule_activity(Crawler.estimate))
    assert_type(task.result(), bytes)
    for future in asyncio.as_completed([ctx.schedule_activity(fetch, page) for page in range(3)]):
        assert_type(await future, bytes)
    assert_type(await ctx.map(Crawler.crawl, range(pages), max_concurrency=10), list[int])
    mapped = await ctx.map(fetch, [1, 2], policy=MapPolicy(min_successful=1))
    assert_type(mapped.succeeded, Sequence[tuple[int, bytes]])
    assert_type(await ctx.poll_until(look, "x", every=5, timeout=60), str)
    match await ctx.select(
        ctx.schedule_timer(1), ctx.schedule_activity(fetch, 1), ctx.schedule_activity(Crawler.crawl, 1)
    ):
        case 1, data:
            assert_type(data, bytes)
        case _:
            pass
    done, _ = await asyncio.wait({ctx.schedule_activity(fetch, 5)}, timeout=5)
    by_name = await ctx.schedule_activity("shop::activity::fetch", 5, returns=bytes, session="s", schedule_to_start=60)
    assert_type(by_name, bytes)
    return sum(sizes) + len(done) + len(by_name) + ctx.random.randint(1, 6)


@asynccontextmanager
async def connections() -> AsyncIterator[Pool]:
    yield Pool("https://example.com")


async def call_them_in_a_unit_test() -> None:
    crawler = Crawler(Pool("x"))
    assert_type(await crawler.crawl(5), int)
    await fetch.fn(activity_context(state=Pool("x")), 5)


async def run_it_on_test_time() -> None:
    async def fake_fetch(number: int) -> bytes:
        return b"x" * number

    stored: list[bytes] = []
    async with Environment(registry) as environment:
        environment.fake(fetch, fake_fetch)
        environment.fake(Crawler.estimate, lambda: [1])
        environment.fake(store, stored.append)
        assert_type(await environment.run(crawl_all, 5), int)
        await environment.advance(60)


registry = Registry(Crawler(Pool("https://example.com")), Registry(fetch, store, look, lifespan=connections), crawl_all)

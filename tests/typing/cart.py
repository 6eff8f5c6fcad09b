"""A cart that answers: a KV store, queries and updates, from inside and outside."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_type

from perdure import (
    DurableFuture,
    Key,
    OrchestrationContext,
    OrchestrationHandle,
    Query,
    Registry,
    Runtime,
    SyncClient,
    Update,
    orchestration,
)


@dataclass
class Item:
    name: str
    cents: int


COUNT = Key[int]("count")
NOTE = Key[str | None]("note")
TOTAL = Query[None, int]("total")
HAS = Query[str, bool]("has")
ADD = Update[Item, int]("add")
CLOSE = Update[None, str]("close")


@orchestration
async def cart(ctx: OrchestrationContext, friend: str) -> int:
    items: list[Item] = []
    closed = asyncio.Event()

    def add(item: Item) -> int:
        items.append(item)
        ctx.kv.set(COUNT, len(items))
        return len(items)

    async def close() -> str:
        closed.set()
        return "closed"

    ctx.on_query(TOTAL, lambda: sum(item.cents for item in items))
    ctx.on_query(HAS, lambda name: any(item.name == name for item in items))
    ctx.on_update(ADD, add, validator=lambda item: item.cents > 0)
    ctx.on_update(CLOSE, close)
    await closed.wait()
    assert_type(ctx.kv.get(COUNT), int | None)
    assert_type(ctx.kv.get(COUNT, 0), int)
    assert_type(ctx.kv.prune(ctx.utc_now() - timedelta(days=1)), int)
    ctx.kv.set(NOTE, None)
    assert_type(ctx.read_value(friend, COUNT), DurableFuture[int | None])
    other: int | None = await ctx.read_value(friend, COUNT)
    return other or 0


async def shop(handle: OrchestrationHandle[int]) -> None:
    assert_type(await handle.update(ADD, Item("tea", 450)), int)
    assert_type(await handle.update(CLOSE), str)
    assert_type(await handle.query(TOTAL), int)
    assert_type(await handle.query(HAS, "tea"), bool)
    assert_type(await handle.kv(COUNT), int | None)
    assert_type(await handle.wait_for_kv(COUNT), int)
    count: int | None = await handle.kv(COUNT)
    status = await handle.wait_for_status_change(1)
    assert (count, status.is_closed) == (1, False)


def blocking(client: SyncClient) -> None:
    handle = client.start_orchestration(cart, "a", instance_id="cart-a", connection=None)
    assert_type(handle.kv(COUNT), int | None)
    assert_type(handle.result(), int)
    assert_type(handle.query(TOTAL), int)
    assert_type(handle.query(HAS, "tea"), bool)
    assert_type(handle.update(ADD, Item("tea", 450), dedup_key="click"), int)
    assert_type(handle.update(CLOSE), str)
    assert_type(handle.update("close"), Any)
    assert_type(client.get_handle("cart-a", cart).result(), int)
    assert_type(client.start_orchestration("cart", "b", connection=None).result(), Any)
    assert_type(client.start_many(cart, [("cart-c", "c")])[0].result(), int)


async def main() -> None:
    async with Runtime("sqlite:///shop.db", Registry(cart)) as runtime:
        await shop(await runtime.client.start_orchestration(cart, "friend"))

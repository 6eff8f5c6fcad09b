"""A web application in the manner of FastAPI: it starts orchestrations and asks for their results."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar, assert_type

from perdure import (
    Client,
    ExternalEvent,
    OrchestrationContext,
    OrchestrationHandle,
    Registry,
    Runtime,
    activity,
    orchestration,
)

P = ParamSpec("P")
R = TypeVar("R")


class App:
    """As much of a web framework as the types need."""

    def __init__(self, lifespan: Callable[["App"], AbstractAsyncContextManager[None]]) -> None:
        self.lifespan = lifespan
        self.client: Client | None = None

    def post(self, path: str) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
        del path
        return lambda handler: handler


@dataclass
class Order:
    id: str
    cents: int


PAID = ExternalEvent[int]("paid")


@activity
def pack(order: Order) -> str:
    return f"parcel of {order.id}"


@orchestration
async def checkout(ctx: OrchestrationContext, order: Order) -> str:
    paid = 0
    while paid < order.cents:
        paid += await ctx.schedule_wait(PAID)
    return await ctx.schedule_activity(pack, order)


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[None]:
    async with Runtime("sqlite:///shop.db", Registry(pack, checkout)) as runtime:
        app.client = runtime.client
        yield


app = App(lifespan)


def client_of(app: App) -> Client:
    if app.client is None:
        raise RuntimeError
    return app.client


@app.post("/orders")
async def create(order: Order) -> str:
    handle = await client_of(app).start_orchestration(checkout, order, instance_id=order.id)
    assert_type(handle, OrchestrationHandle[str])
    return handle.instance_id


@app.post("/orders/{order_id}/pay")
async def pay(order_id: str, cents: int) -> str | None:
    handle = client_of(app).get_handle(order_id, checkout)
    await handle.raise_event(PAID, cents)
    try:
        return await handle.result(timeout=1)
    except TimeoutError:
        return None

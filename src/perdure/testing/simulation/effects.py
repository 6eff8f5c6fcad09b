"""Activities of simulated programs that change the world, or the store's own tables, and must not do so twice."""

from __future__ import annotations

import asyncio
from typing import Any

from perdure import ActivityContext, Verdict, activity
from perdure.testing.simulation.work import BOOKED, Bench, SimulatedError


@activity(name="simulated-held", on_unknown="hold")
async def held(ctx: ActivityContext, number: int, how: dict[str, Any]) -> list[int]:
    """Change the world, which must not be done twice."""
    return await _once(ctx, number, how)


async def _probe(ctx: ActivityContext, number: int, how: dict[str, Any]) -> Verdict[list[int]]:
    await asyncio.sleep((number % 3) * how["ms"] / 1000)
    bench = ctx.state(Bench)
    return bench.outside.verdict(ctx.idempotency_key, bench.host)


@activity(name="simulated-probed", on_unknown="hold", probe=_probe)
async def probed(ctx: ActivityContext, number: int, how: dict[str, Any]) -> list[int]:
    """The same, and the world can be asked."""
    return await _once(ctx, number, how)


async def _once(ctx: ActivityContext, number: int, how: dict[str, Any]) -> list[int]:
    bench, key = ctx.state(Bench), ctx.idempotency_key
    bench.began(key, ctx.attempt)
    bench.outside.begin(key)
    by_itself = True
    try:
        await asyncio.sleep(how["ms"] / 2000)
        if how.get("fails", 0) >= ctx.attempt:
            raise SimulatedError(f"once {number}, attempt {ctx.attempt}")
        bench.outside.happen(key, [number, ctx.attempt])
        await asyncio.sleep(how["ms"] / 2000)
    except asyncio.CancelledError:
        by_itself = False
        raise
    finally:
        bench.outside.end(bench.host, key, by_itself=by_itself)
    return [number, ctx.attempt]


@activity(name=BOOKED, transactional=True)
async def booked(ctx: ActivityContext, number: int, how: dict[str, Any]) -> list[int]:
    """Write into the table of the store, which must be there once."""
    ctx.state(Bench).began(ctx.idempotency_key, ctx.attempt)
    await asyncio.sleep(how["ms"] / 2000)
    ctx.connection.book(ctx.idempotency_key)
    await asyncio.sleep(how["ms"] / 2000)
    if how.get("fails", 0) >= ctx.attempt:
        raise SimulatedError(f"booked {number}, attempt {ctx.attempt}")
    return [number, ctx.attempt]


ONCE: dict[str, Any] = {"held": held, "probed": probed, "booked": booked}

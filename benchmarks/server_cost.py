"""What a step costs a PostgreSQL server: its processor time, WAL, rows and round trips, alone and with two shards.

    python -m benchmarks.server_cost
    python -m benchmarks.server_cost --orchestrations 2000 --only steps,far

One JSON object for each workload. The server is started for the run and shares the machine with the worker; processor
time is what the kernel counted for all of its processes, so other load hardly moves it. Linux only.
"""

import argparse
import asyncio
import json
import os
import resource
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.postgres import Server, running_server
from perdure import Client, OrchestrationContext, Registry, Runtime, activity, orchestration
from perdure.storage.postgres.wire import Wire

STEPS = 5
ALONE = 200
TEN = 10
WARM_UP = 20
SETTLES_S = 3
"""Sessions report what they have done once a second, when they do something; an idle worker does so each second."""

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@activity
async def echo(value: dict[str, int]) -> dict[str, int]:
    return value


@orchestration
async def steps(ctx: OrchestrationContext, value: dict[str, int]) -> int:
    for _ in range(STEPS):
        await ctx.schedule_activity(echo, value)
    return STEPS


@orchestration
async def one_step(ctx: OrchestrationContext, value: dict[str, int]) -> int:
    await ctx.schedule_activity(echo, value)
    return 1


@orchestration
async def parent(ctx: OrchestrationContext, child_id: str) -> int:
    return await ctx.schedule_sub_orchestration(one_step, {"n": 1}, instance_id=child_id)


REGISTRY = Registry(echo, steps, one_step, parent)


class Trips:
    """Counts what goes to the server and is waited for."""

    def __init__(self) -> None:
        self.count = 0

    def install(self) -> None:
        """Count from here on, in all connections of this process."""
        results = Wire.results

        def counted(wire: Wire, *arguments: Any, **options: Any) -> Any:
            self.count += 1
            return results(wire, *arguments, **options)

        Wire.results = counted  # type: ignore[method-assign]  # a step of the wire is a round trip


class Gauge:
    """Reads what the server has done so far."""

    def __init__(self, urls: list[str], trips: Trips) -> None:
        self._urls = urls
        self._trips = trips

    def read(self) -> dict[str, float]:
        """Times in seconds, bytes of WAL, and round trips of this process."""
        own = resource.getrusage(resource.RUSAGE_SELF)
        with psycopg.connect(self._urls[0], autocommit=True) as connection:
            row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
            server_s = _server_s(connection.info.backend_pid)
        return {
            "round_trips": self._trips.count,
            "server_cpu_s": server_s,
            "worker_cpu_s": own.ru_utime + own.ru_stime,
            "wal_bytes": float(row[0]) if row else 0.0,
            "wall_s": time.monotonic(),
        }

    async def rows(self) -> dict[str, float]:
        """Rows written, of all databases, once the server's sessions have said what they did."""
        await asyncio.sleep(SETTLES_S)
        found = dict.fromkeys(("inserted", "updated", "deleted"), 0.0)
        for url in self._urls:
            with psycopg.connect(url, autocommit=True) as connection:
                row = connection.execute(
                    "SELECT tup_inserted, tup_updated, tup_deleted FROM pg_stat_database "
                    "WHERE datname = current_database()"
                ).fetchone()
            for kind, value in zip(found, row or (), strict=True):
                found[kind] += value
        return found


def _server_s(backend: int) -> float:
    """The processor time of the server's processes, and of those that have ended."""
    postmaster = _stat(backend)[1]
    total = sum(_stat(postmaster)[11:15])
    for entry in Path("/proc").iterdir():
        stat = _stat(int(entry.name)) if entry.name.isdigit() else []
        if stat and stat[1] == postmaster:
            total += sum(stat[11:13])
    return total * _TICK_S


def _stat(pid: int) -> list[int]:
    """The fields of /proc/PID/stat from the state on, as numbers; none if the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    fields = text.rpartition(")")[2].split()
    return [0, *(int(field) for field in fields[1:])]


async def all_at_once(client: Client, many: int) -> int:
    """Orchestrations of five activities, all started up front."""
    handles = await client.start_many(steps, [(f"w-{n}", {"n": n}) for n in range(many)])
    return sum(await asyncio.gather(*(handle.result() for handle in handles)))


async def ten_at_a_time(client: Client, many: int) -> int:
    """The same, but no more than ten are open: a commit carries few steps."""

    async def one_by_one(numbers: range) -> int:
        done = 0
        for n in numbers:
            handle = await client.start_orchestration(steps, {"n": n}, instance_id=f"w-{n}")
            done += await handle.result()
        return done

    return sum(await asyncio.gather(*(one_by_one(range(first, many, TEN)) for first in range(TEN))))


async def one_after_the_other(client: Client, many: int) -> int:
    """One orchestration of one activity at a time: nothing shares a commit."""
    done = 0
    for n in range(min(many, ALONE)):
        handle = await client.start_orchestration(one_step, {"n": n}, instance_id=f"w-{n}")
        done += await handle.result()
    return done


async def children(client: Client, many: int) -> int:
    """Parents with one child of one activity, whose id has nothing to do with its parent's."""
    handles = await client.start_many(parent, [(f"w-{n}", f"child-{n}") for n in range(many)])
    return sum(await asyncio.gather(*(handle.result() for handle in handles)))


WORKLOADS: dict[str, tuple[Callable[[Client, int], Awaitable[int]], int]] = {
    "steps": (all_at_once, 1),
    "steps_ten_at_a_time": (ten_at_a_time, 1),
    "alone": (one_after_the_other, 1),
    "steps_on_two_shards": (all_at_once, 2),
    "children": (children, 1),
    "children_on_two_shards": (children, 2),
}
"""By name: what is done, and on how many databases."""


async def measure(name: str, urls: list[str], many: int, trips: Trips) -> dict[str, object]:
    """One workload, as figures for each step."""
    workload, _ = WORKLOADS[name]
    gauge = Gauge(urls, trips)
    async with Runtime(urls, REGISTRY) as runtime:
        for n in range(WARM_UP):
            handle = await runtime.client.start_orchestration(steps, {"n": n}, instance_id=f"warm-up-{n}")
            await handle.result()
        rows_before = await gauge.rows()
        before = gauge.read()
        done = await workload(runtime.client, many)
        after = gauge.read()
        rows_after = await gauge.rows()
    spent = {key: after[key] - before[key] for key in before}
    return {
        "workload": name,
        "databases": len(urls),
        "steps": done,
        "steps_per_s": round(done / spent["wall_s"]),
        "per_step": {
            "server_cpu_us": round(spent["server_cpu_s"] / done * 1e6, 1),
            "worker_cpu_us": round(spent["worker_cpu_s"] / done * 1e6, 1),
            "wal_bytes": round(spent["wal_bytes"] / done),
            "rows": {kind: round((rows_after[kind] - rows_before[kind]) / done, 2) for kind in rows_before},
            "round_trips": round(spent["round_trips"] / done, 4),
        },
    }


def run(server: Server, names: list[str], many: int) -> None:
    """Measure these workloads, each on databases of its own."""
    trips = Trips()
    trips.install()
    for name in names:
        _, databases = WORKLOADS[name]
        with ExitStack() as stack:
            urls = [stack.enter_context(server.database(f"{name}_{n}")) for n in range(databases)]
            print(json.dumps(asyncio.run(measure(name, urls, many, trips))), flush=True)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description="What a step costs a PostgreSQL server.")
    parser.add_argument("--orchestrations", type=int, default=1_000, help="how many in each workload")
    parser.add_argument("--only", default=",".join(WORKLOADS), help="these workloads, with commas between them")
    options = parser.parse_args()
    names = options.only.split(",")
    for name in names:
        if name not in WORKLOADS:
            parser.error(f"there is no workload {name!r}: use {', '.join(WORKLOADS)}")
    with running_server() as server:
        run(server, names, options.orchestrations)


if __name__ == "__main__":
    main()

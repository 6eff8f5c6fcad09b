"""Grown: what claims, commits and lists cost in a store that has a million finished instances and many parked ones.

One instance of each kind is made by the engine, and its rows are multiplied by SQL. The store is compared with an empty
one in the same run, on the same server or disk, the two taking turns. What is measured is the storage's own calls.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from benchmarks.measure import Metrics, median, percentile
from benchmarks.perdure.definitions import one, registry, sleeper
from benchmarks.perdure.fill import multiply
from benchmarks.side import PAYLOAD, Job, Report
from perdure import Runtime, Status
from perdure._work import (
    APPLIED,
    Batch,
    Claim,
    HistoryRow,
    InstanceChange,
    Item,
    NewInstance,
    NewTask,
    Query,
    StartInstance,
    Turn,
)
from perdure.storage import open_storage

PARKED_SHARE = 10
"""One is parked for so many that are finished."""

_ROUNDS = 150
_WARM_UP = 20
_AT_ONCE = 20
_PAGE_RUNS = 15
_NAME = "bench::orchestration::measured"
_CRC = 0
_PROGRAM = [f"{each.name}@{each.version}" for each in (one, sleeper)]


def grown(job: Job) -> Report:
    """Fill one store, leave the other empty, and measure both."""
    empty_url, grown_url = _urls(job)
    asyncio.run(_run_samples(empty_url, parked=0))
    asyncio.run(_run_samples(grown_url, parked=1))
    began = time.perf_counter()
    multiply(grown_url, finished=job.size, parked=job.size // PARKED_SHARE)
    filled_s = time.perf_counter() - began
    sides = {"empty": _Side(empty_url), "grown": _Side(grown_url)}
    try:
        metrics = _costs(sides)
        pages = _pages(sides["grown"])
    finally:
        for side in sides.values():
            side.close()
    slowest = max(pages, key=lambda name: pages[name])
    report: Metrics = {
        "n": job.size,
        "parked": job.size // PARKED_SHARE,
        "filled_s": round(filled_s, 1),
        **metrics,
        **{f"{name}_page_ms": round(value, 2) for name, value in pages.items()},
        "slowest_page_ms": round(pages[slowest], 2),
    }
    return Report(report, notes=f"medians of {_ROUNDS} rounds of {_AT_ONCE} instances; slowest page: {slowest}")


def _urls(job: Job) -> tuple[str, str]:
    if job.backend == "postgresql":
        return job.url, f"{job.url}?schema=grown"
    return f"sqlite:///{job.file('empty.db').resolve()}", f"sqlite:///{job.file('grown.db').resolve()}"


async def _run_samples(url: str, *, parked: int) -> None:
    """One instance that has finished, and one that waits for a timer."""
    async with Runtime(url, registry) as runtime:
        handle = await runtime.client.start_orchestration(one, PAYLOAD, instance_id="finished")
        await handle.result()
        for _ in range(parked):
            waiting = await runtime.client.start_orchestration(sleeper, instance_id="parked")
            while (await waiting.status()).status != Status.RUNNING:
                await asyncio.sleep(0.01)


class _Side:
    """One of the two stores, and a worker of it."""

    def __init__(self, url: str) -> None:
        self.storage: Any = open_storage(url)
        self.worker = self.storage.register(
            name="bench", orchestrations=[f"{_NAME}@1.0.0", *_PROGRAM], activities=["bench::activity::noop"]
        ).worker
        self._incarnation = int(time.time() * 1e6) << 8
        self._tokens = 0
        self.took: dict[str, list[float]] = {"start": [], "claim": [], "turn": [], "end": []}

    def close(self) -> None:
        """Leave."""
        self.storage.unregister(self.worker)
        self.storage.close()

    def round(self) -> None:
        """Start a few instances, claim them, give each a turn that asks for an activity, and one that ends it."""
        news = [self._new() for _ in range(_AT_ONCE)]
        self._commit("start", [StartInstance(new=new) for new in news])
        work = self._commit("claim", [], claim=True).work
        if len(work.instances) != _AT_ONCE:
            raise RuntimeError(f"{len(work.instances)} instances were claimed, not {_AT_ONCE}")
        incarnations = [each.record.incarnation for each in work.instances]
        seqs = {each.record.incarnation: tuple(message.seq for message in each.messages) for each in work.instances}
        task = NewTask(event=2, name="bench::activity::noop", input=b"{}", local=True)
        self._commit(
            "turn",
            [
                Turn(incarnation=each, execution=1, base=0, history=_row(1, 2), consumed=seqs[each], tasks=(task,))
                for each in incarnations
            ],
        )
        over = InstanceChange(status=Status.COMPLETED, output=b"{}")
        self._commit(
            "end",
            [
                Turn(incarnation=each, execution=1, base=2, history=_row(3, 4), tasks_gone=(2,), change=over)
                for each in incarnations
            ],
        )

    def _new(self) -> NewInstance:
        self._incarnation += 1
        name = f"measured-{self._incarnation}"
        return NewInstance(id=name, incarnation=self._incarnation, name=_NAME, version="1.0.0", start=b"{}", root=name)

    def _commit(self, what: str, items: list[Item], *, claim: bool = False) -> Any:
        self._tokens += 1
        wanted = Claim(instances_max=1_000, tasks_max=100) if claim else None
        batch = Batch(items=tuple(items), token=self._tokens.to_bytes(16, "big"), worker=self.worker, claim=wanted)
        began = time.perf_counter()
        committed = self.storage.commit(batch)
        self.took[what].append(time.perf_counter() - began)
        if any(outcome != APPLIED for outcome in committed.outcomes):
            raise RuntimeError(f"not applied: {committed.outcomes}")
        return committed


def _row(first: int, last: int) -> HistoryRow:
    return HistoryRow(first=first, last=last, at=int(time.time() * 1e6), data=b"[" + b"1" * 300 + b"]", crc=_CRC)


def _costs(sides: Mapping[str, _Side]) -> Metrics:
    for number in range(_WARM_UP + _ROUNDS):
        for side in sides.values():
            side.round()
            if number < _WARM_UP:
                for took in side.took.values():
                    took.clear()
    metrics: Metrics = {}
    ratios = []
    for what in ("start", "claim", "turn", "end"):
        cost = {name: median(side.took[what]) * 1e3 for name, side in sides.items()}
        metrics |= {f"{what}_ms": round(cost["grown"], 3), f"empty_{what}_ms": round(cost["empty"], 3)}
        ratios.append(cost["grown"] / cost["empty"])
        metrics[f"{what}_over_empty"] = round(ratios[-1], 3)
    metrics["worst_over_empty"] = round(max(ratios), 3)
    return metrics


def _pages(side: _Side) -> dict[str, float]:
    """Milliseconds for pages of lists of a hundred, the 95th percentile each."""
    storage = side.storage
    [first] = storage.get_many(["finished"]).values()
    half = first.incarnation - 500_000
    queries: Mapping[str, Query] = {
        "first": Query(),
        "deep": Query(after=str(half)),
        "running": Query(statuses=(Status.RUNNING,)),
        "failed": Query(statuses=(Status.FAILED,)),
        "completed": Query(statuses=(Status.COMPLETED,)),
        "of_a_name": Query(name=first.name),
        "of_a_rare_name": Query(name="bench::orchestration::sleeper", statuses=(Status.RUNNING,)),
        "of_no_name": Query(name="nobody"),
        "roots": Query(roots_only=True),
        "of_a_root": Query(root="finished"),
        "children": Query(parent="finished"),
        "of_last_hour": Query(created_from=first.created_at),
        "of_long_ago": Query(created_before=first.created_at - 3_600_000_000),
        "of_no_attributes": Query(attributes={"customer": "nobody"}),
        "of_no_version": Query(version="9.9.9"),
        "of_no_version_running": Query(version="9.9.9", statuses=(Status.RUNNING,)),
        "of_no_version_of_a_name": Query(version="9.9.9", name=first.name),
        "running_of_a_name": Query(name=first.name, statuses=(Status.RUNNING,)),
        "updated_in_future": Query(updated_from=2 * first.updated_at),
        "updated_in_future_running": Query(updated_from=2 * first.updated_at, statuses=(Status.RUNNING,)),
        "updated_long_ago_running": Query(updated_before=first.created_at, statuses=(Status.RUNNING,)),
    }
    return {name: _timed(partial(storage.find, query)) for name, query in queries.items()}


def _timed(call: Callable[[], object]) -> float:
    call()
    took = []
    for _ in range(_PAGE_RUNS):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1e3)
    return percentile(took, 95)

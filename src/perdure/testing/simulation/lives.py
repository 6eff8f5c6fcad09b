"""Lives of worlds: one by its seed, many on all cores, and the smallest that still shows what a seed has found."""

from __future__ import annotations

import gc
from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from multiprocessing import get_all_start_methods, get_context
from typing import TYPE_CHECKING, Any

from perdure._ports import SystemClock
from perdure.testing.simulation.faults import CALL_FAULTS, SHARD_FAULTS, WAKE_FAULTS, WORLD_FAULTS
from perdure.testing.simulation.sharding import SHARDED, SHARDED_EVERY, ShardedWorld
from perdure.testing.simulation.towns import MOVING, MOVING_EVERY, Towns
from perdure.testing.simulation.world import World

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

CLASSES = frozenset({*CALL_FAULTS, *WORLD_FAULTS, *WAKE_FAULTS, *SHARD_FAULTS})
_CHUNK = 10
_CHUNKS_OF_A_PROCESS = 20
"""So many worlds leave some hundred megabytes behind: to end a process costs less than to look for its garbage."""
_FINDINGS_MAX = 20


@dataclass(frozen=True)
class Life:
    """What became of one seed. `found` is the promise that was broken, None if all were kept."""

    seed: int
    found: str | None
    faults: Counter[str]
    steps: int
    virtual_us: int
    trace: str
    """A digest of everything that happened: equal for equal seeds. Empty where it was not asked for."""


@dataclass
class Totals:
    """What became of many seeds."""

    seeds: int = 0
    seconds: float = 0.0
    virtual_hours: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[int, str]] = field(default_factory=list)

    def add(self, life: Life) -> None:
        """One more."""
        self.seeds += 1
        self.virtual_hours += life.virtual_us / 3.6e9
        self.faults += life.faults
        if life.found is not None:
            self.violations.append((life.seed, life.found))

    def as_data(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "seeds": self.seeds,
            "seconds": round(self.seconds, 1),
            "virtual_hours": round(self.virtual_hours, 1),
            "faults": self.faults.total(),
            "faults_by_kind": dict(sorted(self.faults.items())),
            "violations": [{"seed": seed, "found": found} for seed, found in self.violations],
        }


def live(seed: int, allowed: frozenset[str] | None = None, roots: frozenset[int] | None = None) -> Life:
    """Let the world of this seed live."""
    world = lived(seed, allowed, roots)
    return _told(world, blake2b(repr(world.trace).encode(), digest_size=16).hexdigest())


def _live_untraced(seed: int) -> Life:
    """The same, for whoever does not compare what happened."""
    return _told(lived(seed), "")


def lived(seed: int, allowed: frozenset[str] | None = None, roots: frozenset[int] | None = None) -> World | Towns:
    """The world of this seed, at its end; `trace` says what happened in it."""
    if seed % MOVING_EVERY == MOVING:
        towns = Towns(seed, allowed=allowed, roots=roots)
        towns.run()
        return towns
    kind = ShardedWorld if seed % SHARDED_EVERY == SHARDED else World
    world = kind(seed, allowed=allowed, roots=roots)
    world.run()
    return world


def _told(world: World | Towns, trace: str) -> Life:
    failure = world.failure
    return Life(
        seed=world.seed,
        found=None if failure is None else f"{type(failure).__name__}: {failure}",
        faults=world.happened,
        steps=world.timeline.steps,
        virtual_us=world.timeline.now,
        trace=trace,
    )


def live_many(seeds: Iterable[int], *, jobs: int, seconds: float | None = None) -> Totals:
    """Let many worlds live, until the seeds or the seconds are spent, or enough is found.

    On so many processes of their own, which take with them what worlds leave behind; 0: in this one.
    """
    clock = SystemClock()
    begin = clock.monotonic_us()
    totals = Totals()

    def is_over() -> bool:
        totals.seconds = (clock.monotonic_us() - begin) / 1e6
        return (seconds is not None and totals.seconds >= seconds) or len(totals.violations) >= _FINDINGS_MAX

    for life in _lives(seeds, jobs):
        totals.add(life)
        if is_over():
            break
    is_over()
    return totals


def _lives(seeds: Iterable[int], jobs: int) -> Iterator[Life]:
    if jobs == 0:
        yield from map(_live_untraced, seeds)
        return
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    context.set_forkserver_preload([__name__])
    with context.Pool(jobs, gc.disable, maxtasksperchild=_CHUNKS_OF_A_PROCESS) as pool:
        yield from pool.imap_unordered(_live_untraced, seeds, chunksize=_CHUNK)


def shrunk(seed: int) -> tuple[frozenset[str], frozenset[int]]:
    """The fewest classes of faults and programs, dropped one by one, with which the seed still finds something."""
    world = lived(seed)
    allowed = frozenset(world.happened)
    roots = frozenset(range(len(world.roots)))
    if live(seed, allowed, roots).found is None:
        return CLASSES, roots
    for name in sorted(allowed):
        if live(seed, allowed - {name}, roots).found is not None:
            allowed -= {name}
    for number in sorted(roots):
        if len(roots) > 1 and live(seed, allowed, roots - {number}).found is not None:
            roots -= {number}
    return allowed, roots

"""What chaos is made of: lanes, each of which does a piece of work by a seed and counts what it has done.

A piece that finds something raises; `python -m tests.chaos LANE SEED` does the same piece again, as far as real
processes let it.
"""

import asyncio
import logging
import random
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from itertools import count
from pathlib import Path

from perdure.storage.sqlite import SqliteStorage, files
from perdure.testing import ManualClock, SeededEntropy
from perdure.testing.simulation.lives import live_many
from perdure.testing.storage_suite.tape import check
from tests.chaos import shards as families
from tests.chaos.processes import run
from tests.crashes.harness import Fault, Stage, play
from tests.crashes.scenarios import SCENARIOS
from tests.folders import in_memory
from tests.fuzz.recorded import Recorded, record, try_other_bytes, try_other_events
from tests.fuzz.stored import Filled
from tests.power.disk import power_cuts
from tests.power.harness import Verdicts
from tests.power.harness import record as record_power
from tests.storage.postgres.server import Server
from tests.storage.sqlite.failing_disk import Disk
from tests.storage.sqlite.test_tape_with_faults import FailingDisk

Piece = Callable[[int], Counter[str]]

WORLDS = 100
FAULTS = [fault for fault in Fault if fault is not Fault.NONE]


def _dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same piece for the same seed


def crashes(seed: int) -> Counter[str]:
    """Canonical orchestrations with two things going wrong at any two of their commits."""
    dice, done = _dice(seed), Counter[str]()
    scenario = SCENARIOS[seed % len(SCENARIOS)]
    commits = asyncio.run(play(scenario, {}))
    for _ in range(100):
        plan = {dice.randint(1, commits + 2): dice.choice(FAULTS) for _ in range(2)}
        try:
            asyncio.run(play(scenario, plan))
        except BaseException as error:
            error.add_note(f"{scenario.name} with {plan}")
            raise
        done += Counter({"orchestrations crashed": 1, "faults at commits": len(plan)})
    return done


def crashes_on_a_file(seed: int) -> Counter[str]:
    """The same, one fault at a time, on SQLite."""
    dice = _dice(seed)
    scenario = SCENARIOS[seed % len(SCENARIOS)]
    commits = asyncio.run(play(scenario, {}))
    for _ in range(10):
        plan = {dice.randint(1, commits): dice.choice(FAULTS)}
        with in_memory() as folder:
            clock = ManualClock()
            storage = SqliteStorage(Path(folder) / "store.db", clock=clock, entropy=SeededEntropy(seed))
            asyncio.run(play(scenario, plan, Stage(scenario, storage, clock)))
            storage.close()
    return Counter({"orchestrations crashed on SQLite": 10, "faults at commits": 10})


def power(seed: int) -> Counter[str]:
    """Power cuts at every step of a run."""
    scenario = SCENARIOS[seed % len(SCENARIOS)]
    with in_memory() as folder, _many_checkpoints():
        recording = asyncio.run(record_power(scenario, Path(folder)))
        verdicts = Verdicts(recording, Path(folder))
        for cut in power_cuts(recording.log, mixes=4, seed=seed):
            verdicts.judge(cut)
        states = verdicts.states
        for cut in power_cuts(recording.log, mixes=1, seed=seed + 1, every=60):
            asyncio.run(verdicts.go_on(cut))
    assert verdicts.lost == 0, f"{verdicts.lost} power cuts lost something acknowledged"
    return Counter({"power cuts": states, "engines that went on after one": verdicts.states - states})


@contextmanager
def _many_checkpoints():
    """The log is carried over into the file many times in a short run."""
    before, files.CHECKPOINT_PAGES = files.CHECKPOINT_PAGES, 24
    try:
        yield
    finally:
        files.CHECKPOINT_PAGES = before


def processes(seed: int) -> Counter[str]:
    """Real workers, killed, paused and sent away."""
    with in_memory() as folder:
        totals = asyncio.run(run(Path(folder), seed=seed, kills=100, pauses=4, leaves=8))
    return Counter({f"workers: {name}": number for name, number in asdict(totals).items()})


def shards(seed: int) -> Counter[str]:
    """Families on two databases whose workers are killed, anywhere and between the two."""
    with in_memory() as folder, _two_databases(Path(folder), on_a_server=seed % 2 == 1) as urls:
        totals = asyncio.run(families.run(urls, Path(folder), seed=seed, kills=60))
    return Counter({f"shards: {name}": number for name, number in asdict(totals).items()})


@contextmanager
def _two_databases(folder: Path, *, on_a_server: bool) -> Iterator[list[str]]:
    names = ("left", "right")
    if not on_a_server:
        yield [f"sqlite:///{folder / name}.db" for name in names]
        return
    server = Server()
    try:
        for name in names:
            server.create_database(name)
        yield [server.url(name) for name in names]
    finally:
        server.remove()


@cache
def _recorded() -> list[Recorded]:
    return asyncio.run(record())


def histories(seed: int) -> Counter[str]:
    """Histories that say something else, and rows of other bytes."""
    dice = _dice(seed)
    for _ in range(1000):
        try_other_events(_recorded(), dice.randrange)
        try_other_bytes(_recorded(), dice.randrange)
    return Counter({"damaged histories": 2000})


def rows(seed: int) -> Counter[str]:
    """Damaged rows in a store that a worker goes on with."""
    dice = _dice(seed)
    with in_memory() as folder:
        filled = Filled(Path(folder))
        for _ in range(40):
            filled.try_damage(dice.randrange)
    return Counter({"damaged rows": 40})


def tapes(seed: int) -> Counter[str]:
    """Random calls on SQLite over a failing disk and on the reference."""
    met: Counter[tuple[str, str]] = Counter()
    names = count()
    disk = Disk()
    try:
        with in_memory() as folder:

            def make(clock, entropy):
                return SqliteStorage(Path(folder) / f"{next(names)}.db", clock=clock, entropy=entropy)

            played = check(make, seeds=range(seed * 10, seed * 10 + 10), faults=FailingDisk(disk), met=met)
    finally:
        disk.unregister()
    failed = sum(times for (_, outcome), times in met.items() if outcome in {"failed", "unknown"})
    return Counter({"calls compared with the reference": played, "calls and items that failed": failed})


def simulation(seed: int) -> Counter[str]:
    """Worlds in which everything goes wrong at once."""
    totals = live_many(range(seed * WORLDS, (seed + 1) * WORLDS), jobs=0)
    assert not totals.violations, totals.violations
    return Counter({"simulated worlds": totals.seeds, "faults in simulated worlds": totals.faults.total()})


LANES: dict[str, Piece] = {
    piece.__name__.replace("_", "-"): piece
    for piece in (crashes, crashes_on_a_file, power, processes, shards, simulation, histories, rows, tapes)
}


def do(lane: str, seed: int) -> Counter[str]:
    """Do a piece of a lane, in silence: the engine has much to say about what is done to it, and none of it is news.

    Raises:
        AssertionError: It found something; only text, for not every error survives the way to another process.
    """
    logging.disable(logging.CRITICAL)
    try:
        return LANES[lane](seed)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was found
        raise AssertionError("\n".join(traceback.format_exception(error, chain=True)[-3:])) from None

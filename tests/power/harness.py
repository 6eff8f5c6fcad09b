"""Runs scenarios on a disk that loses its power at every moment, and judges what is left."""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw

from perdure.storage.base import LEASE_US
from perdure.storage.sqlite import SqliteStorage
from perdure.testing import ManualClock, SeededEntropy
from tests.crashes.harness import Stage, judge_effects, judge_ending
from tests.crashes.scenarios import Scenario
from tests.power.disk import Acknowledged, PowerCut, RecordingDisk, Step

CALLS = frozenset({"register", "heartbeat", "unregister", "reap", "commit"})


@dataclass
class Recording:
    """One run of a scenario without faults: what reached the disk, and what the store held after each call."""

    scenario: Scenario
    log: list[Step]
    states: list[str]
    runs: list[int]
    """How many runs of activities there had been after each call."""
    world: list[tuple[str, str]]
    now_us: int


class _Witness:
    """A store, and what it holds whenever one of its calls has returned."""

    def __init__(self, inner: SqliteStorage, disk: RecordingDisk, stage: Stage) -> None:
        self.inner = inner
        self._disk = disk
        self._stage = stage
        # A connection of its own: on the store's, a reader's snapshot may be open.
        self._eyes = apsw.Connection(inner.path, flags=apsw.SQLITE_OPEN_READWRITE)
        self.states: list[str] = []
        self.runs: list[int] = []
        self._testify()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.inner, name)
        if name not in CALLS:
            return method

        def call(*arguments: Any, **options: Any) -> Any:
            answer = method(*arguments, **options)
            self._testify()
            return answer

        return call

    def close(self) -> None:
        self._eyes.close()
        self.inner.close()

    def _testify(self) -> None:
        self.states.append(contents(self._eyes))
        self.runs.append(len(self._stage.world.runs))
        self._disk.log.append(Acknowledged(len(self.states) - 1))


def contents(raw: apsw.Connection) -> str:
    """The pages of a database, in a few letters: two of equal pages hold the same."""
    return hashlib.blake2b(raw.serialize("main") or b"", digest_size=12).hexdigest()


async def record(scenario: Scenario, folder: Path, durability: Any = "full") -> Recording:
    """Play a scenario without faults on a recording disk."""
    disk = RecordingDisk()
    clock = ManualClock()
    try:
        storage = SqliteStorage(folder / "store.db", clock=clock, entropy=SeededEntropy(1), durability=durability)
        stage = Stage(scenario, storage, clock)
        witness = _Witness(storage, disk, stage)
        async with stage.process(witness) as env:
            await stage.perform(env)
        witness.close()
    finally:
        disk.unregister()
    return Recording(scenario, disk.log, witness.states, witness.runs, stage.world.runs, clock.now_us())


class Verdicts:
    """What became of power cuts."""

    def __init__(self, recording: Recording, folder: Path) -> None:
        self._recording = recording
        self._folder = folder
        self._sound: set[str] = set()
        self._found: dict[frozenset[tuple[str, int]], str] = {}
        """What SQLite has found in files that were left so, by their hashes: at many moments little was under way."""
        self.states = 0
        self.lost = 0
        """States in which something that had been acknowledged is gone."""

    def judge(self, cut: PowerCut) -> None:
        """See what a program finds after a power cut.

        The file is sound, and holds what it held after some call. If that was before the last one that had returned,
        something acknowledged is lost, which is counted. The file of the call under way may be there already.
        """
        self.states += 1
        if cut.acknowledged < 0:
            # Whoever comes first must be able to begin; `go_on` sees that.
            return
        left = frozenset((name, hash(data)) for name, data in cut.files.items())
        if left not in self._found:
            self._found[left] = self._open(cut)
        found, known = self._found[left], self._recording.states
        assert found in known[: cut.acknowledged + 2], f"no call left the store so: {_shown(cut)}"
        if found not in known[cut.acknowledged : cut.acknowledged + 2]:
            assert cut.how != "all", f"the operating system had all of it: {_shown(cut)}"
            self.lost += 1

    def _open(self, cut: PowerCut) -> str:
        """What SQLite finds, which has to be sound."""
        raw = apsw.Connection(str(self._lay_out(cut)))
        try:
            found = contents(raw)
            if found not in self._sound:
                assert raw.pragma("integrity_check") == "ok", _shown(cut)
                self._sound.add(found)
        finally:
            raw.close()
        return found

    def _lay_out(self, cut: PowerCut) -> Path:
        """Write the files that a power cut left; returns the path of the database."""
        for left in self._folder.glob(_left_as("*")):
            left.unlink() if left.is_file() else shutil.rmtree(left)
        for name, data in cut.files.items():
            (self._folder / _left_as(name)).write_bytes(data)
        return self._folder / _left_as("store.db")

    async def go_on(self, cut: PowerCut) -> None:
        """Start the engine on what is left, and see that all ends as it would have.

        Where acknowledged work may be lost, what it did to the world may be done again, by another instance.
        """
        recording, lost = self._recording, self.lost
        self.judge(cut)
        path = self._lay_out(cut)
        clock = ManualClock(recording.now_us)
        clock.advance(LEASE_US + 1)
        storage = SqliteStorage(path, clock=clock)
        try:
            stage = Stage(recording.scenario, storage, clock, seed=100)
            call = min(cut.acknowledged + 1, len(recording.runs) - 1)
            stage.world.runs += recording.world[: recording.runs[call]]
            async with stage.process() as env:
                teller = await stage.perform(env)
                await judge_ending(stage, teller)
                if self.lost == lost:
                    judge_effects(stage, repeats=1)
        finally:
            storage.close()


def _left_as(name: str) -> str:
    return f"left-{name}"


def _shown(cut: PowerCut) -> str:
    return f"position {cut.position}, {cut.how}, {cut.acknowledged} acknowledged"

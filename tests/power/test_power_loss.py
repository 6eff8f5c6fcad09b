"""A power cut at any moment: no acknowledged commit is lost, the file is sound, and the engine goes on from it."""

from pathlib import Path

import pytest

from perdure.storage.sqlite import files
from tests.crashes.scenarios import SCENARIOS
from tests.power.disk import Acknowledged, Sync, Write, power_cuts
from tests.power.harness import Verdicts, record

BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.fixture(autouse=True)
def _many_checkpoints(monkeypatch):
    """The log is carried over into the file many times in a short run."""
    monkeypatch.setattr(files, "CHECKPOINT_PAGES", 24)


@pytest.mark.parametrize("name", ["order", "carried events", "semaphore between instances"])
async def test_no_acknowledged_commit_is_lost_and_the_engine_goes_on(folder: Path, name: str):
    recording = await record(BY_NAME[name], folder)
    assert sum(isinstance(step, Sync) and step.name == "store.db" for step in recording.log) > 2, "no checkpoint"
    verdicts = Verdicts(recording, folder)
    for cut in power_cuts(recording.log, mixes=2, seed=1):
        verdicts.judge(cut)
    assert verdicts.states > 1_000
    for cut in power_cuts(recording.log, mixes=1, seed=2, every=50):
        await verdicts.go_on(cut)
    assert verdicts.lost == 0


async def test_the_first_program_on_a_file_may_lose_its_power_before_anything_is_acknowledged(folder: Path):
    recording = await record(BY_NAME["select"], folder)
    verdicts = Verdicts(recording, folder)
    cuts = [each for each in power_cuts(recording.log, mixes=8, seed=3) if each.acknowledged < 0]
    first = [each for each in cuts if each.position == 0]
    assert any(cut.files and not any(cut.files["store.db"][:512]) for cut in first), "no torn first page"
    for cut in [*first, *cuts[:: len(cuts) // 12]]:
        await verdicts.go_on(cut)


async def test_normal_durability_may_lose_the_last_moments_and_nothing_else(folder: Path):
    recording = await record(BY_NAME["order"], folder, "normal")
    verdicts = Verdicts(recording, folder)
    for cut in power_cuts(recording.log, mixes=1, seed=4, every=2):
        verdicts.judge(cut)
    assert verdicts.lost > 0, "this level may lose something, so these power cuts must be able to show it"
    for cut in power_cuts(recording.log, mixes=1, seed=5, every=60):
        await verdicts.go_on(cut)


def test_the_disk_keeps_what_was_synced_and_may_drop_or_tear_the_rest():
    log = [Write("f", 0, b"a" * 1024), Sync("f"), Acknowledged(0), Write("f", 1024, b"b" * 2048), Write("f", 0)]
    left = {(cut.position, cut.how): cut.files.get("f", b"") for cut in power_cuts(log, mixes=20, seed=6)}
    assert left[0, "synced"] == b""
    assert left[1, "synced"] == left[3, "synced"] == b"a" * 1024
    assert left[3, "all"] == b"a" * 1024 + b"b" * 2048
    assert left[4, "all"] == b""
    torn = {left[3, f"mix {number}"] for number in range(20)}
    assert len(torn) > 4
    assert all(each[:1024] == b"a" * 1024 for each in torn)

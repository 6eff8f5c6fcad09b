"""The demo as a reader starts it: a day with kills is proved, and what can't be run is refused in words."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.__main__ import main
from examples.demo.worker_process import WorkerFailedError, WorkerProcess

ROOT = Path(__file__).resolve().parents[2]


def _figures(report: str) -> dict[str, str]:
    """The number beside each name of the report's tables."""
    return dict(re.findall(r"^ +(\S.*?) {2,}([\d,.]+)  ", report, re.MULTILINE))


def test_a_day_with_kills_is_proved(tmp_path):
    options = ["--orders", "60", "--kills", "3", "--patience", "4", "--keep", str(tmp_path / "day")]

    done = subprocess.run(
        [sys.executable, "-m", "examples.demo", *options],
        cwd=ROOT, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stdout + done.stderr
    assert "PROVED, from the ledger alone" in done.stdout
    assert "NOT PROVED" not in done.stdout
    figures = _figures(done.stdout)
    assert figures["orders"] == "60"
    assert figures["shipped"] == "39"
    assert figures["out of stock"] == "4"
    assert figures["card declined"] == "4"
    assert figures["refused by a manager"] == "4"
    assert figures["not approved in time"] == "9"
    assert figures["refunded"] == "13"
    assert figures["lost"] == "0"
    assert figures["worker killed"] == "3"
    assert figures["effects exactly once"] == "237"
    assert figures["Perdure agrees"] == "60"
    # Four orders ask in vain for stock, and four for money: those leave an attempt and no effect.
    asked = 237 + 4 + 4
    again = int(figures["tried again"]) + int(figures["repeated after kills"])
    assert int(figures["activities attempted"]) == asked + again
    assert {path.name for path in (tmp_path / "day").iterdir()} >= {"ledger.db", "perdure.db", "worker.log"}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--orders", "0"), "--orders: there has to be at least 1"),
        (("--kills", "0"), "--kills: 0 is not within 1 to"),
        (("--orders", "4", "--kills", "1000"), "--kills: 1000 is not within 1 to 10"),
        (("--patience", "0"), "--patience: it has to be more than 0 s"),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(options, words, capsys):
    code = main(options)

    assert code == 2
    assert words in capsys.readouterr().err


def test_the_files_of_another_day_are_left_alone(tmp_path, capsys):
    (tmp_path / "ledger.db").write_bytes(b"of yesterday")

    code = main(["--keep", str(tmp_path)])

    assert code == 2
    assert "the files of another day" in capsys.readouterr().err
    assert (tmp_path / "ledger.db").read_bytes() == b"of yesterday"


async def test_a_worker_that_dies_of_something_else_is_no_kill(tmp_path):
    store = tmp_path / "perdure.db"
    store.write_bytes(b"no database at all, but a file that somebody needs")
    worker = WorkerProcess(store, tmp_path / "ledger.db", tmp_path / "worker.log")

    async with asyncio.timeout(60):
        with pytest.raises(WorkerFailedError, match=r"ended by itself with code 1(.|\n)*perdure.db"):
            await worker.keep_alive()

    assert worker.kills == 0

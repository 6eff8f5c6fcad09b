"""What the tests of figures share."""

import pytest

from perdure._events import checksum
from perdure._runtime.live import Live, Prepared
from perdure._runtime.tallies import EngineTally
from perdure._work import HistoryRow, Turn
from perdure.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path) -> str:
    """The URL of a SQLite store that does not exist yet."""
    return f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture(params=["memory", "sqlite"])
def url(request, tmp_path) -> str:
    """The URL of an empty store, of each kind."""
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'shop.db'}"


@pytest.fixture
def settled_turn():
    """Counts a first turn for each of these versions."""

    def settle(versions: list[str]) -> EngineTally:
        tally = EngineTally()
        history = HistoryRow(first=1, last=1, at=1, data=b"", crc=checksum(b""))
        for incarnation, version in enumerate(versions, 1):
            live = Live(
                instance_id=version, incarnation=incarnation, name="order", version=version, execution_id=1, base=0,
                parent=None, root=version,
            )  # fmt: skip
            turn = Turn(incarnation=incarnation, execution=1, base=0, history=history)
            tally.settled(Prepared(live=live, item=turn, arrivals=()), 0)
        return tally

    return settle

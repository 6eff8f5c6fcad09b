"""What is started, sent and done in somebody's transaction is there with it or not at all, whatever goes wrong."""

import pytest

from tests.crashes.harness import OUTCOMES, Fault, play
from tests.crashes.lent import FileStage
from tests.crashes.lent_programs import booking
from tests.crashes.programs import MAIL
from tests.crashes.scenarios import Scenario
from tests.crashes.teller import Teller
from tests.folders import in_memory

FAULTS = [fault for fault in Fault if fault is not Fault.NONE]


async def _orders_and_pays(teller: Teller) -> None:
    await teller.order(booking)
    await teller.pay(MAIL, 7)


BOOKING = Scenario("booking", _orders_and_pays, [7, 1])
OUTCOMES[BOOKING.name] = [("main", booking.name, "completed", "[7, 1]", 1)]


async def _play(number: int = 0, fault: Fault = Fault.NONE) -> int:
    with in_memory() as folder:
        stage = FileStage(BOOKING, folder)
        try:
            commits = await play(BOOKING, {number: fault}, stage)
            assert stage.rows() == [[1], [7], [1]]
        finally:
            stage.store.close()
    return commits


@pytest.mark.parametrize("fault", FAULTS)
async def test_every_fault_at_every_commit(fault):
    commits = await _play()
    assert commits > 6
    for number in range(1, commits + 1):
        try:
            await _play(number, fault)
        except BaseException as error:
            error.add_note(f"{fault} at commit {number} of {commits}")
            raise

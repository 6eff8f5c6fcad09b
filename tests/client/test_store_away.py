"""A client without a worker whose store is away for a while: who waits goes on waiting, and nothing is missed."""

import logging

from perdure._client.gateway import ThreadGateway
from perdure._ports import SystemClock, SystemEntropy
from perdure._types import Status
from perdure._work import Batch, Claim, HistoryRow, InstanceChange, NewInstance, StartInstance, Turn
from perdure.errors import StorageUnavailableError
from perdure.storage.memory import MemoryStorage

NAME = "wait@1.0.0"
LOOKS = 5


class Away(MemoryStorage):
    """Can't be reached for some looks, in which the instance ends elsewhere; from then on nothing changes any more."""

    def __init__(self):
        super().__init__()
        self.left = 0

    def changed(self):
        if self.left:
            self.left -= 1
            raise StorageUnavailableError("away")
        super().changed()
        return False


def _end(storage):
    worker = storage.register(name="worker", orchestrations=[NAME], activities=[]).worker
    claim = Claim(instances_max=1, tasks_max=1)
    [claimed] = storage.commit(Batch(token=b"1", items=(), worker=worker, claim=claim)).work.instances
    turn = Turn(
        incarnation=claimed.record.incarnation,
        execution=1,
        base=0,
        history=HistoryRow(first=1, last=1, at=0, data=b"", crc=0),
        consumed=tuple(message.seq for message in claimed.messages),
        change=InstanceChange(status=Status.COMPLETED, output=b"1"),
    )
    storage.commit(Batch(token=b"2", items=(turn,), worker=worker))


async def test_who_waits_hears_of_what_happened_meanwhile_and_one_warning_is_enough(caplog):
    storage = Away()
    new = NewInstance(id="order", incarnation=7, name="wait", version="1.0.0", start=b"", root="order")
    storage.commit(Batch(token=b"0", items=(StartInstance(new=new),)))
    _end(storage.connect())
    storage.left = LOOKS
    gateway = ThreadGateway(storage, SystemClock(), SystemEntropy())
    with caplog.at_level(logging.WARNING, "perdure.client"):
        ending = await gateway.ending("order")
    await gateway.close()
    assert ending.output == b"1"
    assert storage.left == 0
    assert [record.levelname for record in caplog.records] == ["WARNING"]

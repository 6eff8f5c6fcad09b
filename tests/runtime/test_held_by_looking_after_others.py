"""What a worker holds when it looks after the others is told in its log."""

import logging

from perdure import OrchestrationContext, Registry, Status, orchestration
from perdure.storage.base import UNKNOWN_GRACE_US
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import make_engine, run, start


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> None:
    return None


def test_the_instance_and_the_reason_are_logged(caplog):
    clock = ManualClock()
    storage = MemoryStorage(clock)
    engine = make_engine(Registry(order), storage, clock)
    start(storage, "lost", "nobody-has-this")
    clock.advance(UNKNOWN_GRACE_US)
    storage.heartbeat(engine.worker)
    with caplog.at_level(logging.ERROR, "perdure.runtime"):
        run(engine)
    assert storage.get("lost").status is Status.HELD
    assert caplog.messages == [f"lost is held: {storage.get('lost').held_because}"]

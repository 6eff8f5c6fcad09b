"""A control message that can't be read is told and dropped: nobody could obey it, and it came again and again."""

import pytest
from msgspec import Raw

from perdure import OrchestrationContext, Registry, orchestration
from perdure._types import Status
from perdure._work import Batch, Raised, Resume, Suspend, Terminate
from perdure.storage.memory import MemoryStorage
from perdure.testing import ManualClock
from tests.runtime.engines import deliver, deliver_bytes, make_engine, start

ROUNDS = 10


@orchestration(name="order")
async def order(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait("paid")


class Shop:
    """An order that runs, and its worker; each round is a second later."""

    def __init__(self, *, has_code=True):
        self.clock = ManualClock()
        self.storage = MemoryStorage(self.clock)
        start(self.storage, "order-1", "order")
        self.engine = make_engine(Registry(order), self.storage, self.clock)
        self.go_on()
        if not has_code:
            self.engine.finish()
            self.engine = make_engine(Registry(), self.storage, self.clock, seed=2)

    @property
    def record(self):
        return self.storage.get("order-1")

    @property
    def waiting(self):
        return self.storage.depths().messages

    def go_on(self):
        """It does what there is to do; returns when it touched the order last."""
        for _ in range(ROUNDS):
            self.clock.advance(1_000_000)
            self.engine.run_once()
        return self.record.updated_at

    def do(self, item):
        self.storage.commit(Batch(token=bytes(16), items=(item,)))


@pytest.mark.parametrize("has_code", [True, False])
def test_what_runs_is_held_once_and_says_why(has_code, caplog):
    shop = Shop(has_code=has_code)
    deliver_bytes(shop.storage, "order-1", b"torn", control=True)
    seen = shop.go_on()
    assert (shop.record.status, shop.waiting) == (Status.HELD, 0)
    assert "control message" in shop.record.held_because
    assert "send it again" in shop.record.held_because
    assert caplog.text.count("is held: ") <= 2
    # and nobody touches it any more
    assert shop.go_on() == seen


def test_it_goes_on_when_it_is_tried_again():
    shop = Shop()
    deliver_bytes(shop.storage, "order-1", b"torn", control=True)
    shop.go_on()
    shop.do(Resume(id="order-1"))
    deliver(shop.storage, "order-1", Raised(name="paid", data=Raw(b'"yes"')))
    shop.go_on()
    assert shop.record.status is Status.COMPLETED


def test_what_is_suspended_stays_so(caplog):
    shop = Shop()
    shop.do(Suspend(id="order-1", reason="a holiday"))
    deliver_bytes(shop.storage, "order-1", b"torn", control=True)
    seen = shop.go_on()
    assert (shop.record.status, shop.record.held_because, shop.waiting) == (Status.SUSPENDED, "a holiday", 0)
    assert "control message" in caplog.text
    assert shop.go_on() == seen


@pytest.mark.parametrize("aside", [None, Suspend(id="order-1")])
def test_a_terminate_beside_it_ends_the_instance(aside):
    shop = Shop()
    if aside is not None:
        shop.do(aside)
    deliver_bytes(shop.storage, "order-1", b"torn", control=True)
    deliver(shop.storage, "order-1", Terminate(), control=True)
    shop.go_on()
    assert (shop.record.status, shop.waiting) == (Status.TERMINATED, 0)

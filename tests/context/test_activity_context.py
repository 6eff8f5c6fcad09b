"""What an activity is told, and what it may use."""

import asyncio
import logging
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import Protocol

import pytest

from perdure._context import ActivityContext, ActivityServices, activity_context
from perdure.errors import UsageError


def a_context(services=None, **given):
    values = {
        "instance_id": "order-1",
        "execution_id": 2,
        "orchestration_name": "checkout",
        "orchestration_version": "1.2.0",
        "activity_name": "charge",
        "attempt": 3,
        "deliveries": 4,
        "idempotency_key": "k" * 26,
        "scheduled_at_us": 1_000_000,
        "deadline_us": None,
        "services": services or ActivityServices(),
    }
    return ActivityContext(**values | given)


class Pool:
    pass


class FakePool(Pool):
    pass


class Abstract(ABC):
    @abstractmethod
    def query(self) -> str: ...


class Query(Protocol):
    def query(self) -> str: ...


def test_it_says_where_it_comes_from():
    ctx = a_context()
    assert (ctx.instance_id, ctx.execution_id, ctx.activity_name) == ("order-1", 2, "charge")
    assert (ctx.orchestration_name, ctx.orchestration_version) == ("checkout", "1.2.0")
    assert (ctx.attempt, ctx.deliveries, ctx.idempotency_key) == (3, 4, "k" * 26)
    assert repr(ctx) == "<ActivityContext charge of order-1, attempt 3>"


def test_times_are_aware():
    ctx = a_context(deadline_us=61_000_000)
    assert ctx.scheduled_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert ctx.deadline == datetime(1970, 1, 1, 0, 1, 1, tzinfo=UTC)
    assert a_context().deadline is None


def test_the_idempotency_key_can_be_worked_out_when_it_is_asked_for():
    assert a_context(idempotency_key=lambda: "late").idempotency_key == "late"


def test_state_is_what_the_lifespan_yielded():
    pool = FakePool()
    ctx = a_context(ActivityServices(state=pool))
    assert ctx.state(FakePool) is ctx.state(Pool) is pool


def test_state_of_a_type_that_can_not_be_checked_is_given_as_it_is():
    ctx = a_context(ActivityServices(state=["a"]))
    assert ctx.state(list[str]) == ["a"]
    assert ctx.state(Query) == ["a"]


def test_asking_for_the_wrong_state_says_what_there_is():
    ctx = a_context(ActivityServices(state=Pool()))
    with pytest.raises(UsageError, match=r"ctx.state\(FakePool\): the lifespan of charge's registry yielded a Pool"):
        ctx.state(FakePool)
    with pytest.raises(UsageError, match=r"ctx.state\(Abstract\): .* yielded a Pool"):
        ctx.state(Abstract)


def test_asking_for_state_without_a_lifespan_says_where_to_pass_one():
    with pytest.raises(UsageError, match=r"ctx.state\(Pool\): charge has no state; pass lifespan= to the Registry"):
        a_context().state(Pool)


def test_the_client_is_the_workers():
    client = object()
    assert a_context(ActivityServices(client=client)).client is client
    with pytest.raises(UsageError, match="charge runs outside a worker, so its ctx.client is not there"):
        _ = a_context().client


def test_a_plain_function_hears_of_a_cancel_by_asking():
    cancelled = False
    ctx = a_context(is_cancelled=lambda: cancelled)
    ctx.raise_if_cancelled()
    assert not ctx.cancelled
    cancelled = True
    assert ctx.cancelled
    with pytest.raises(asyncio.CancelledError, match="charge was cancelled"):
        ctx.raise_if_cancelled()


def test_the_stand_in_has_everything_a_unit_test_needs():
    ctx = activity_context(attempt=2, state=Pool(), idempotency_key="key")
    assert (ctx.attempt, ctx.idempotency_key, ctx.deliveries, ctx.instance_id) == (2, "key", 1, "test")
    assert isinstance(ctx.state(Pool), Pool)
    assert ctx.scheduled_at == datetime(2000, 1, 1, tzinfo=UTC)
    ctx.raise_if_cancelled()


def test_traces_carry_the_context_their_fields_and_the_line_that_wrote_them(caplog):
    caplog.set_level(logging.DEBUG, logger="perdure.activity")
    ctx = a_context()
    ctx.trace_debug("looking")
    ctx.trace_info("charged 100%", order="o-1", cents=5)
    ctx.trace_warn("slow")
    ctx.trace_error("failed")
    assert [record.getMessage() for record in caplog.records] == [
        "looking", "charged 100% order=o-1 cents=5", "slow", "failed",
    ]  # fmt: skip
    assert [record.levelname for record in caplog.records] == ["DEBUG", "INFO", "WARNING", "ERROR"]
    record = caplog.records[1]
    assert record.fields == {"order": "o-1", "cents": 5}
    assert (record.instance_id, record.activity, record.attempt) == ("order-1", "charge", 3)
    assert record.pathname == __file__


def test_a_trace_below_the_level_costs_nothing(caplog):
    class Costly:
        def __str__(self):
            raise AssertionError

    caplog.set_level(logging.INFO, logger="perdure.activity")
    a_context().trace_debug("looking", at=Costly())
    assert not caplog.records


def test_the_logger_is_one_and_keeps_the_callers_own_attributes(caplog):
    caplog.set_level(logging.INFO, logger="perdure.activity")
    ctx = a_context()
    ctx.logger.info("hello %s", "you", extra={"mine": 1})
    assert ctx.logger is ctx.logger
    record = caplog.records[0]
    assert (record.getMessage(), record.mine, record.instance_id) == ("hello you", 1, "order-1")

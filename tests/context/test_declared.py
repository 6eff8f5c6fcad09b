"""What the core implements and users annotate with: external events, futures, the orchestration's context."""

import asyncio
import logging
from typing import Any, Literal

import pytest

from perdure._context import ChildFuture, ContextLogger, DurableFuture, ExternalEvent, OrchestrationContext
from perdure.errors import UsageError


@pytest.mark.parametrize("type_", [bool, bool | None, list[str], Literal["yes", "no"]])
def test_an_external_event_knows_the_type_of_its_data(type_):
    event = ExternalEvent[type_]("approved")
    assert event.name == "approved"
    assert event.type_ == type_
    assert repr(event) == "ExternalEvent('approved')"


def test_without_a_type_it_takes_anything():
    assert ExternalEvent("approved").type_ is Any


def test_its_name_is_checked():
    with pytest.raises(UsageError, match="event must not be empty"):
        ExternalEvent("")


async def test_a_durable_future_is_an_asyncio_future_and_no_coroutine():
    future: DurableFuture[int] = DurableFuture(loop=asyncio.get_running_loop())
    assert isinstance(future, asyncio.Future)
    assert not asyncio.iscoroutine(future)
    future.set_result(5)
    assert await future == 5


async def test_the_id_of_a_child_is_the_cores_to_know():
    with pytest.raises(NotImplementedError):
        _ = ChildFuture(loop=asyncio.get_running_loop()).instance_id


def test_an_orchestrations_context_is_made_by_the_core_only():
    with pytest.raises(TypeError, match="abstract"):
        OrchestrationContext()


def test_what_never_returns_does_not_return_in_the_declaration_either():
    with pytest.raises(NotImplementedError):
        OrchestrationContext.continue_as_new(None)


def test_a_logger_can_be_silent(caplog):
    caplog.set_level(logging.INFO, logger="perdure.orchestration")
    replaying = True
    logger = ContextLogger(logging.getLogger("perdure.orchestration"), {"instance_id": "i"}, lambda: replaying)
    logger.error("again")
    assert not logger.isEnabledFor(logging.CRITICAL)
    replaying = False
    logger.info("for the first time")
    assert [record.getMessage() for record in caplog.records] == ["for the first time"]

"""The document that Perdure implements, block by block, as running code in its own folder layout."""

import logging

import pytest

from perdure import OrchestrationError, Runtime
from perdure.testing import Environment, assert_round_trip
from tests.scenarios.toygres import names
from tests.scenarios.toygres.activities.cms import my_cms_activity as cms
from tests.scenarios.toygres.activities.my_activity import done, my_activity
from tests.scenarios.toygres.activity_types import MyActivityInput
from tests.scenarios.toygres.orchestration_types import MyInput, MyOutput
from tests.scenarios.toygres.orchestrations.my_orchestration import (
    INSTANCE_DELETED,
    background_workflow,
    best_effort,
    instance_watch,
    long_running,
    my_orchestration,
)
from tests.scenarios.toygres.registry import create_activity_registry, create_orchestration_registry, registry


@pytest.fixture(autouse=True)
def world():
    """Nothing has been done yet."""
    done.clear()
    cms.records.clear()


def test_names_follow_the_convention():
    assert set(registry.activities) == {names.MY_ACTIVITY, names.MY_CMS_ACTIVITY}
    assert names.MY_WORKFLOW in registry.orchestrations
    for name in [*registry.activities, *registry.orchestrations]:
        package, kind, last = name.split("::")
        assert package == "toygres-orchestrations"
        assert kind in {"activity", "orchestration"}
        assert "_" not in last


def test_registration_is_central_and_composed():
    assert set(create_activity_registry().activities) == set(registry.activities)
    assert set(create_orchestration_registry().orchestrations) == set(registry.orchestrations)


async def test_an_activity_is_idempotent():
    first = await my_activity(MyActivityInput("x"))
    second = await my_activity(MyActivityInput("x"))
    assert (first.done_before, second.done_before) == (False, True)


async def test_the_scheduling_patterns(caplog):
    caplog.set_level(logging.INFO, logger="perdure")
    async with Environment(registry) as env:
        began = env.now
        handle = await env.client.start_orchestration(my_orchestration, MyInput("o-1"))
        assert await handle.result() == MyOutput("o-1", ["basic", "unlucky", "child"])
        assert (env.now - began).total_seconds() == 2 + 4
        assert await env.client.get_handle("background-o-1", background_workflow).result() is None
    assert cms.records == ["background detached"]
    assert set(done) == {"basic", "unlucky", "child"}
    assert [line for line in caplog.messages if line == "Starting orchestration: o-1"] == [
        "Starting orchestration: o-1"
    ]


async def test_the_timer_wins_or_the_signal():
    async with Environment(registry) as env:
        assert await env.run(instance_watch) == "still there at 00:00:30"
        handle = await env.client.start_orchestration(instance_watch)
        await env.advance(10)
        await handle.raise_event(INSTANCE_DELETED, None)
        assert await handle.result() == "deleted"


async def test_it_runs_on_a_file_and_survives_a_restart(tmp_path):
    async with Runtime(tmp_path / "toygres.db", registry) as runtime:
        await runtime.client.start_orchestration(instance_watch, instance_id="watch")
    async with Runtime(tmp_path / "toygres.db", registry) as runtime:
        handle = runtime.client.get_handle("watch", instance_watch)
        await handle.raise_event(INSTANCE_DELETED, None)
        assert await handle.result() == "deleted"


async def test_continue_as_new_keeps_each_history_short():
    async with Environment(registry) as env:
        handle = await env.client.start_orchestration(long_running, MyInput("loop"), instance_id="loop")
        assert await handle.result() == 3
        for execution in range(1, 5):
            events = [event async for event in env.client.history("loop", execution_id=execution)]
            assert len(events) <= 6
    assert cms.records == [f"iteration {number}" for number in range(4)]


async def test_critical_errors_propagate_and_others_are_logged(caplog):
    caplog.set_level(logging.WARNING, logger="perdure.orchestration")
    async with Environment(registry) as env:
        assert await env.run(best_effort, "not critical") == "went on"
        with pytest.raises(OrchestrationError, match="hopeless") as caught:
            await env.run(best_effort, "critical")
    assert caught.value.caused_by(RuntimeError)
    assert any("Non-critical operation failed" in line for line in caplog.messages)


def test_rule_7_every_type_round_trips():
    assert_round_trip(registry)

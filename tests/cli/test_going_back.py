"""`perdure reset` and `perdure fork`: an instance goes on from an earlier event, or another one begins there."""

import pytest

from perdure import ExternalEvent, OrchestrationContext, Registry, Status, activity, orchestration
from tests.cli.conftest import until

APPROVED = ExternalEvent[str]("approved")


@pytest.fixture
def order(perdure, working):
    """An instance "a" that has made two things, told the kitchen, and waits."""

    @activity(name="shop::activity::make")
    async def make(what: str) -> str:
        return what

    @orchestration(name="shop::orchestration::child")
    async def child(ctx: OrchestrationContext) -> None: ...

    @orchestration(name="shop::orchestration::order")
    async def order(ctx: OrchestrationContext) -> str:
        first = await ctx.schedule_activity(make, "bread")
        await ctx.schedule_activity(make, "tea")
        await ctx.schedule_sub_orchestration(child, instance_id="sub")
        ctx.raise_event("kitchen", "made")
        ctx.set_custom_status("made")
        return first + await ctx.schedule_wait(APPROVED)

    with working(Registry(make, child, order)):
        perdure("start", "order", "--id", "a")
        until("a", lambda status: status.custom_status == "made")
        yield


def test_what_was_lost_is_said(perdure, order):
    assert perdure("reset", "a", "--to-event", "2").out.splitlines() == [
        "reset a to event 2; 8 events dropped",
        "activities that may have happened: shop::activity::make",
        "removed with all that belongs to them: sub",
        "events or starts that stay: to kitchen",
    ]
    until("a", lambda status: status.custom_status == "made")
    document = perdure("reset", "a", "--to", "start", "--json").json
    assert (document["request"], document["instance_id"], document["to_event"]) == ("reset", "a", 0)
    assert (document["children"], document["sent"]) == (["sub"], ["kitchen"])


def test_where_to_is_said_once(perdure, order):
    for wrong in ((), ("--to", "start", "--to-event", "2")):
        said = perdure("reset", "a", *wrong)
        assert (said.status, said.out) == (2, "")
        assert "by one of --to-event and --to" in said.err
    said = perdure("reset", "a", "--to-event", "1")
    assert (said.status, said.out) == (1, "")
    assert said.err.endswith("inside the turn of events 1 to 2; the nearest that can be kept: 0 or 2\n")


def test_a_fork_waits_until_it_is_resumed(perdure, order):
    assert perdure("fork", "a", "b").out == "forked a as b; it waits for `perdure resume b`\n"
    assert until("b", lambda _: True).status is Status.SUSPENDED
    assert perdure("fork", "a", "c", "--run", "--from-event", "2", "--json").json == {
        "request": "fork",
        "instance_id": "a",
        "fork_id": "c",
    }

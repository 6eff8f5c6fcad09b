"""`perdure suspend`, `resume`, `held`, `retry`, `resolve`, `discard`: what does not go on, and what to do about it."""

import asyncio
import threading

import pytest

from perdure import OrchestrationContext, Registry, Status, activity, orchestration
from tests.cli.conftest import eventually, until


def test_an_instance_is_suspended_and_resumed(perdure, worker):
    perdure("start", "approval", "--id", "a")
    until("a", lambda status: status.version is not None)

    assert perdure("suspend", "a", "--reason", "audit").out == "suspended a\n"
    perdure("raise", "a", "approved", "true")
    [listed] = perdure("list", "--json", "--status", "suspended").json["items"]
    assert listed["held_because"] == "audit"
    assert perdure("resume", "a", "--json").json == {"items": [{"instance_id": "a", "request": "resume"}]}
    assert perdure("wait", "a").out == "true\n"


def test_what_is_held_is_listed_with_the_reason(perdure, worker):
    assert perdure("held").err == "Nothing is held in sqlite:///perdure.db.\n"
    perdure("start", "impatient", "--id", "a")
    until("a", lambda status: status.status is Status.HELD)

    cells = perdure("held").out.rstrip("\n").split("\t")
    document = perdure("held", "--json").json

    assert cells[:3] == ["a", "", "shop::orchestration::impatient"]
    assert cells[4].startswith("ForbiddenCallError: ")
    assert [each["instance_id"] for each in document["instances"]] == ["a"]
    assert document["activities"] == []


def test_what_is_held_is_tried_again_or_given_up(perdure, worker):
    perdure("start", "impatient", "--id", "a")
    first = until("a", lambda status: status.status is Status.HELD)

    assert perdure("retry", "a").out == "to be tried again: a\n"
    until("a", lambda status: status.status is Status.HELD and status.updated_at > first.updated_at)
    assert perdure("discard", "a", "--reason", "no use").out == "discarded a\n"
    ended = until("a", lambda status: status.is_closed)

    assert (ended.status, ended.error.message) == (Status.TERMINATED, "no use")


def test_what_is_not_held_is_not_given_up(perdure, worker):
    perdure("start", "approval", "--id", "a")
    until("a", lambda status: status.version is not None)

    for arguments in (("discard", "a"), ("retry", "a", "--event", "3")):
        said = perdure(*arguments)
        assert (said.status, said.out) == (1, "")
        assert "nothing of instance 'a' that was asked for is held" in said.err


@pytest.mark.parametrize(
    ("said", "result"),
    [
        (("--result", '"from the bank"'), '"from the bank"\n'),
        (("--error", "declined"), ""),
        (("--repeat",), '"receipt 2"\n'),
    ],
    ids=["result", "error", "repeat"],
)
def test_a_person_says_what_came_of_an_activity_of_which_nobody_knew(perdure, working, said, result):
    called = threading.Event()
    calls = []

    @activity(name="shop::activity::pay", on_unknown="hold")
    async def pay() -> str:
        calls.append(1)
        called.set()
        if len(calls) == 1:
            await asyncio.Event().wait()
        return f"receipt {len(calls)}"

    @orchestration(name="shop::orchestration::paying")
    async def paying(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity(pay)

    with working(Registry(pay, paying)):
        perdure("start", "paying", "--id", "a")
        assert called.wait(20)
    with working(Registry(pay, paying)):
        eventually(lambda: bool(perdure("held", "--json").json["activities"]))
        [held] = perdure("held", "--json").json["activities"]
        assert held["began_at"] is not None
        [advice] = perdure("show", "a", "--json").json["advice"]
        assert "perdure resolve a --event 2 --result JSON, or --error TEXT, or --repeat" in advice
        assert perdure("resolve", "a", *said).out == "resolved an activity of a\n"
        waited = perdure("wait", "a")
    assert waited.out == result
    assert ("declined" in waited.err) == ("--error" in said)


def test_what_came_of_it_is_said_in_one_way(perdure, worker):
    for said in ((), ("--repeat", "--error", "x")):
        assert "by one of --result, --error and --repeat" in perdure("resolve", "a", *said).err

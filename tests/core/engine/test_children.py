"""Sub-orchestrations and detached orchestrations (B45, F): their ids, and what becomes of them."""

import asyncio

import pytest

from perdure import ChildFuture, DurableFuture, OrchestrationContext, orchestration
from perdure import _events as ev
from perdure._types import check_instance_id
from tests.core.harness import Conversation, kinds


@orchestration
async def family(ctx: OrchestrationContext) -> None:
    first, second = (ctx.schedule_sub_orchestration("c") for _ in range(2))
    own = ctx.schedule_sub_orchestration("c", instance_id="own-id")
    ctx.set_custom_status([first.instance_id, second.instance_id, own.instance_id, ctx.schedule_orchestration("d")])
    await asyncio.gather(first, second, own)


def ids_of(talk):
    return [event.instance_id for event in talk.history if isinstance(event, ev.ChildScheduled | ev.DetachedStarted)]


def test_b45_derived_ids_are_unique_and_known_at_once():
    talk = Conversation(family)
    talk.start()

    ids = ids_of(talk)

    assert len(set(ids)) == 4
    assert ids[2] == "own-id"
    assert all(each.startswith("order-7~") for each in (ids[0], ids[1], ids[3]))
    status = next(event for event in talk.history if isinstance(event, ev.StatusSet))
    assert bytes(status.value).decode() == "[" + ",".join(f'"{each}"' for each in ids) + "]"


def test_the_outcome_of_a_child_is_the_future_that_users_know():
    kinds_seen = []

    @orchestration
    async def parent(ctx: OrchestrationContext) -> None:
        child = ctx.schedule_sub_orchestration("c")
        kinds_seen.append((isinstance(child, ChildFuture), isinstance(child, DurableFuture), child.instance_id))
        await child

    talk = Conversation(parent)
    talk.start()

    assert set(kinds_seen) == {(True, True, *ids_of(talk))}


def test_f06_ids_differ_from_execution_to_execution():
    ids = set()
    for execution in range(1, 5):
        talk = Conversation(family)
        talk.start(execution=execution)
        ids |= set(ids_of(talk))
        talk.drop()

    assert len(ids) == 4 * 3 + 1


def test_derived_ids_do_not_grow_with_the_depth():
    talk = Conversation(family)
    talk.start(root="order-1")

    assert ids_of(talk)[0].startswith("order-1~")


def test_f10_an_id_with_the_reserved_ending_is_refused():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_sub_orchestration("c", instance_id="order-7~abcdefghijklm")

    (end,) = Conversation(program).start()

    assert end.error.type == "perdure.errors.UsageError"
    assert check_instance_id("shop::order-7") == "shop::order-7"


@pytest.mark.parametrize(
    ("on_close", "given_up"), [("cancel", [(2, False)]), ("terminate", [(2, True)]), ("abandon", [])]
)
@pytest.mark.parametrize("how", ["returns", "continues", "cancelled", "lost a race", "cancels it"])
def test_on_close_says_what_becomes_of_a_child_that_is_given_up(on_close, given_up, how):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        child = ctx.schedule_sub_orchestration("c", on_close=on_close)
        if how == "lost a race":
            await ctx.select2(child, ctx.schedule_wait("go"))
        elif how == "cancelled":
            await child
        else:
            await ctx.schedule_wait("go")
        if how == "cancels it":
            child.cancel()
        if how == "continues":
            ctx.continue_as_new()

    talk = Conversation(program)
    talk.start()
    ended = talk.cancel() if how == "cancelled" else talk.raise_event("go")

    cancels = [(event.source, event.terminate) for event in ended if isinstance(event, ev.ChildCancelled)]
    assert cancels == given_up


def test_a_child_that_is_abandoned_begins_also_when_its_future_is_cancelled_at_once():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_sub_orchestration("c", on_close="abandon").cancel()
        await ctx.schedule_wait("end")

    talk = Conversation(program)

    assert kinds(talk.start()) == ["sub c", "wait end"]
    assert talk.child_completed(2) == []
    assert len(talk.history) == 3


def test_another_close_policy_is_refused():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.schedule_sub_orchestration("c", on_close="ignore")

    (end,) = Conversation(program).start()

    assert "on_close is 'ignore'" in end.error.message


def test_a_definition_stands_for_its_name_in_the_latest_version():
    @orchestration(name="ship", version="2.0.0")
    async def ship(ctx: OrchestrationContext, n: int) -> int:
        return n

    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        ctx.schedule_orchestration(ship, 1)
        return await ctx.schedule_sub_orchestration(ship, 2, version="1.0.0")

    talk = Conversation(program)
    detached, child = talk.start()

    assert (detached.name, detached.version, bytes(detached.input)) == ("ship", None, b"[1]")
    assert (child.name, child.version, bytes(child.input)) == ("ship", "1.0.0", b"[2]")
    assert kinds(talk.child_completed(child.id, 2)) == ["done 2"]

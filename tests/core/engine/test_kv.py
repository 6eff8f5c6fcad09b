"""The KV store of an instance: its verbs, its limits, and what history keeps of it."""

from datetime import UTC, datetime, timedelta

import pytest

from perdure import Key, OrchestrationContext, PayloadError, PayloadTooLargeError, orchestration
from perdure import _events as ev
from perdure._types import KV_BYTES_MAX, KV_KEYS_MAX, KV_VALUE_BYTES_MAX
from perdure.errors import LimitError, ReplayMismatchError, UsageError
from tests.core.harness import START_US, Conversation, json, kinds, replayed, started

BALANCE = Key[int]("balance")
NOTE = Key[str]("note")
ANY = Key("any")


def values(events):
    """Of a continue-as-new: what it takes along."""
    return [(kept.key, kept.at, bytes(kept.value)) for kept in events[-1].values]


def test_what_is_set_is_an_event_and_is_there_at_once():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        before = ctx.kv.get(BALANCE), ctx.kv.get(BALANCE, 5), BALANCE in ctx.kv, len(ctx.kv)
        ctx.kv.set(BALANCE, 1)
        ctx.kv.set(NOTE, "ä")
        ctx.kv.set(BALANCE, 2)
        return [*before, ctx.kv.get(BALANCE, 5), BALANCE in ctx.kv, len(ctx.kv), ctx.kv.keys(), list(ctx.kv)]

    events = Conversation(program).start()

    assert kinds(events[:-1]) == ["kv balance=1", 'kv note="ä"', "kv balance=2"]
    assert events[0].where.startswith("tests/core/engine/test_kv.py:") or "test_kv.py:" in events[0].where
    output = bytes(events[-1].output)
    assert output == b'[null,5,false,0,2,true,2,["note","balance"],["note","balance"]]'


def test_a_value_is_read_in_later_turns_and_after_a_replay():
    @orchestration
    async def program(ctx: OrchestrationContext) -> int:
        for _ in range(3):
            ctx.kv.set(BALANCE, ctx.kv.get(BALANCE, 0) + 10)
            await ctx.schedule_timer(1)
        return ctx.kv.get(BALANCE, 0)

    talk = Conversation(program)
    assert kinds(talk.start()) == ["kv balance=10", "tim"]
    assert kinds(talk.fire(3)) == ["kv balance=20", "tim"]
    assert kinds(talk.fire(6)) == ["kv balance=30", "tim"]
    assert kinds(talk.fire(9)) == ["done 30"]


def test_clearing_names_what_was_there():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        for key in (BALANCE, NOTE, ANY):
            ctx.kv.clear(key)
        ctx.kv.clear()
        ctx.kv.set(BALANCE, 1)
        ctx.kv.set(NOTE, "x")
        ctx.kv.set(ANY, None)
        ctx.kv.clear(NOTE)
        ctx.kv.clear(NOTE)
        ctx.kv.clear()

    events = Conversation(program).start()
    assert kinds(events) == [
        "kv balance=1", 'kv note="x"', "kv any=null", "kv! note", "kv! balance any", "done null",
    ]  # fmt: skip


def test_a_value_of_null_is_there():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        ctx.kv.set(ANY, None)
        return [ANY in ctx.kv, ctx.kv.get(ANY, 7)]

    assert kinds(Conversation(program).start())[-1] == "done [true,null]"


def test_pruning_goes_by_the_time_of_the_orchestration():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[int]:
        ctx.kv.set(BALANCE, 1)
        ctx.kv.set(NOTE, "old")
        await ctx.schedule_timer(timedelta(days=1))
        ctx.kv.set(NOTE, "new")
        ctx.kv.set(ANY, 1)
        counts = [ctx.kv.prune(datetime(1970, 1, 1, tzinfo=UTC)), ctx.kv.prune(ctx.utc_now() - timedelta(hours=1))]
        await ctx.schedule_timer(timedelta(microseconds=1))
        return [*counts, ctx.kv.prune(ctx.utc_now()), ctx.kv.prune(ctx.utc_now())]

    talk = Conversation(program)
    talk.start()
    assert kinds(talk.fire(4)) == ['kv note="new"', "kv any=1", "kv! balance", "tim"]
    assert kinds(talk.fire(9)) == ["kv! note any", "done [0,1,2,0]"]


def test_an_instant_without_a_zone_is_refused():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.kv.prune(datetime(2030, 1, 1))  # noqa: DTZ001 - that is the mistake

    assert kinds(Conversation(program).start()) == ["fail perdure.errors.UsageError"]


def test_it_goes_along_with_a_continue_as_new():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.kv.set(BALANCE, 1)
        ctx.kv.set(NOTE, "gone")
        await ctx.schedule_timer(1)
        ctx.kv.set(BALANCE, 2)
        ctx.kv.set(ANY, [1])
        ctx.kv.clear(NOTE)
        ctx.set_custom_status("half")
        ctx.continue_as_new()

    talk = Conversation(program)
    talk.start()
    events = talk.fire(4)
    at = START_US + 1_000_000
    assert values(events) == [("balance", at, b"2"), ("any", at, b"[1]")]
    assert bytes(events[-1].status) == b'"half"'


def test_an_execution_begins_with_what_was_left():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        seen = [ctx.custom_status, ctx.kv.get(BALANCE), ctx.kv.keys()]
        ctx.kv.prune(ctx.utc_now())
        return [*seen, ctx.kv.keys()]

    talk = Conversation(program)
    left = (ev.KeptValue("balance", START_US - 1, json(2)), ev.KeptValue("any", START_US, json(None)))
    events = talk.start(execution=2, values=left, status=json("half"))
    assert kinds(events) == ["kv! balance", 'done ["half",2,["balance","any"],["any"]]']


def test_b19_what_is_left_is_cleared_set_and_counted_on():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        ctx.kv.set(BALANCE, ctx.kv.get(BALANCE, 0) + 1)
        ctx.kv.clear(NOTE)
        await ctx.schedule_timer(1)
        ctx.kv.set(BALANCE, ctx.kv.get(BALANCE, 0) + 1)
        ctx.kv.clear()
        ctx.kv.set(BALANCE, ctx.kv.get(BALANCE, 100) + 1)
        return [ctx.kv.get(BALANCE), ctx.kv.keys()]

    talk = Conversation(program)
    left = (ev.KeptValue("balance", START_US, json(7)), ev.KeptValue("note", START_US, json("old")))
    assert kinds(talk.start(execution=2, values=left)) == ["kv balance=8", "kv! note", "tim"]
    assert kinds(talk.fire(4)) == ["kv balance=9", "kv! balance", "kv balance=101", 'done [101,["balance"]]']


def test_one_that_has_shown_nothing_takes_nothing_along():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.kv.clear()
        ctx.continue_as_new()

    talk = Conversation(program)
    (end,) = talk.start()
    assert (end.values, bytes(end.status)) == ((), b"")
    assert talk.execution.state is None


def test_a_status_alone_goes_along_too():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        seen = ctx.custom_status
        ctx.set_custom_status(None)
        return [seen, ctx.custom_status]

    assert kinds(Conversation(program).start(status=json(1))) == ["status null", "done [1,null]"]


def test_before_it_is_set_a_status_is_none():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        before = ctx.custom_status
        ctx.kv.set(BALANCE, 1)
        return [before, ctx.custom_status]

    assert kinds(Conversation(program).start())[-1] == "done [null,null]"


def test_a_value_that_does_not_fit_is_refused_at_the_call():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            ctx.kv.set(BALANCE, "much")
        except PayloadError as error:
            return str(error)
        return ""

    (end,) = Conversation(program).start()
    assert "'balance'" in bytes(end.output).decode()


def test_a_value_of_another_type_is_an_error_for_whoever_reads_it():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        ctx.kv.set(NOTE, "x")
        try:
            return str(ctx.kv.get(Key[int]("note")))
        except PayloadError as error:
            return str(error)

    assert "'note'" in kinds(Conversation(program).start())[-1]


@pytest.mark.parametrize("wrong", ["balance", None, 3])
def test_what_is_no_key_is_refused(wrong):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            ctx.kv.set(wrong, 1)
        except UsageError as error:
            return str(error)
        return ""

    assert "Key[int]" in kinds(Conversation(program).start())[-1]


@pytest.mark.parametrize("name", ["", "x" * 257, "a\0"])
def test_a_key_has_a_name_that_may_be_one(name):
    with pytest.raises(UsageError, match="key"):
        Key[int](name)


def test_a_key_says_its_name_and_type():
    assert (BALANCE.name, BALANCE.type_, repr(BALANCE)) == ("balance", int, "Key('balance')")
    assert ANY.type_ is not None


def limited(program):
    (end,) = Conversation(program, always_replay=False).start()[-1:]
    return bytes(end.output).decode() if isinstance(end, ev.Completed) else end.error.type


def test_a_value_may_be_as_large_as_the_limit_and_no_larger():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        ctx.kv.set(NOTE, "x" * (KV_VALUE_BYTES_MAX - 2))
        try:
            ctx.kv.set(NOTE, "x" * (KV_VALUE_BYTES_MAX - 1))
        except PayloadTooLargeError as error:
            return f"{error} ({error.size_bytes}, {error.limit_bytes})"
        return ""

    message = limited(program)
    assert "at most 65,536" in message
    assert "(65537, 65536)" in message


def test_there_may_be_so_many_keys_and_no_more_whichever_turns_have_set_them():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        for number in range(KV_KEYS_MAX // 2):
            ctx.kv.set(Key[int](f"a{number}"), number)
        await ctx.schedule_timer(1)
        for number in range(KV_KEYS_MAX // 2):
            ctx.kv.set(Key[int](f"b{number}"), number)
        ctx.kv.set(Key[int]("a0"), -1)
        try:
            ctx.kv.set(BALANCE, 1)
        except LimitError as error:
            ctx.kv.clear(Key[int]("a0"))
            ctx.kv.set(BALANCE, 1)
            ctx.kv.clear()
            for number in range(KV_KEYS_MAX):
                ctx.kv.set(Key[int](f"c{number}"), number)
            return str(error)
        return ""

    talk = Conversation(program, always_replay=False)
    talk.start()
    end = talk.fire(KV_KEYS_MAX // 2 + 2)[-1]
    assert "at most 1,000" in bytes(end.output).decode()
    talk.assert_live_is_replay()


def test_all_together_have_a_limit_and_what_is_cleared_makes_room():
    value = "x" * (KV_VALUE_BYTES_MAX - 2)
    each = KV_VALUE_BYTES_MAX + len("k00")
    most = KV_BYTES_MAX // each

    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        for number in range(most):
            ctx.kv.set(Key[str](f"k{number:02}"), value)
        ctx.kv.set(Key[str]("k00"), value)
        try:
            ctx.kv.set(Key[str]("kXX"), value)
        except LimitError as error:
            ctx.kv.clear(Key[str]("k00"))
            ctx.kv.set(Key[str]("kXX"), value)
            return str(error)
        return ""

    assert f"{(most + 1) * each:,} bytes; at most 2,097,152" in limited(program)


def test_a_replay_that_sets_something_else_is_a_mismatch():
    def program_of(value):
        @orchestration(name="program")
        async def program(ctx: OrchestrationContext) -> None:
            ctx.kv.set(BALANCE, value)
            ctx.kv.clear(BALANCE)
            await ctx.schedule_timer(1)

        return program

    talk = Conversation(program_of(1))
    talk.start()
    with pytest.raises(ReplayMismatchError, match="to set 'balance' to 2"):
        replayed(talk.stage, program_of(2), talk.history)


def test_a_replay_that_does_not_clear_is_a_mismatch():
    def program_of(*, clears):
        @orchestration(name="program")
        async def program(ctx: OrchestrationContext) -> None:
            ctx.kv.set(BALANCE, 1)
            if clears:
                ctx.kv.clear()
            await ctx.schedule_timer(1)

        return program

    talk = Conversation(program_of(clears=True))
    talk.start()
    with pytest.raises(ReplayMismatchError, match="to clear 'balance'"):
        replayed(talk.stage, program_of(clears=False), talk.history)


@pytest.mark.parametrize("call", [
    lambda ctx: ctx.kv.set(BALANCE, 1), lambda ctx: ctx.kv.clear(), lambda ctx: ctx.kv.prune(ctx.utc_now()),
])  # fmt: skip
def test_a_change_outside_the_turn_is_an_offence(call):
    kept = []

    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.kv.set(BALANCE, 1)
        kept.append(ctx)
        await ctx.schedule_timer(1)

    talk = Conversation(program, always_replay=False)
    talk.start()
    with pytest.raises(UsageError, match="outside"):
        call(kept[0])
    assert kept[0].kv.get(BALANCE) == 1


def test_another_instance_is_read_through_history():
    @orchestration
    async def program(ctx: OrchestrationContext) -> list[object]:
        first = await ctx.read_value("other", BALANCE)
        return [first, await ctx.read_value("other", BALANCE)]

    talk = Conversation(program)
    (asked,) = talk.start()
    assert (asked.name, bytes(asked.input)) == ("perdure::activity::read-value", b'["other","balance"]')
    (again,) = talk.complete(asked.id, 7)
    assert kinds(talk.complete(again.id, None)) == ["done [7,null]"]


def test_the_value_of_another_instance_has_to_fit_the_key():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            return str(await ctx.read_value("other", BALANCE))
        except PayloadError as error:
            return str(error)

    talk = Conversation(program)
    (asked,) = talk.start()
    assert "'balance'" in kinds(talk.complete(asked.id, "much"))[0]


def test_reading_another_instance_once_it_is_over_unwinds():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        try:
            ctx.continue_as_new()
        finally:
            await ctx.read_value("other", BALANCE)

    assert kinds(Conversation(program).start()) == ["can"]


@pytest.mark.parametrize(("instance_id", "key"), [("", BALANCE), ("other", "balance")])
def test_reading_nothing_in_particular_is_refused(instance_id, key):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await ctx.read_value(instance_id, key)

    assert kinds(Conversation(program).start()) == ["fail perdure.errors.UsageError"]


def test_a_status_has_a_limit_of_its_own():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        ctx.set_custom_status("x" * (256 * 1024 - 2))
        try:
            ctx.set_custom_status("x" * (256 * 1024 - 1))
        except PayloadTooLargeError as error:
            return str(error)
        return ""

    assert "at most 262,144" in limited(program)


def test_the_stored_form_of_an_execution_without_state_is_as_before():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None: ...

    assert b"values" not in ev.encode_events([started(program)])
    assert b"status" not in ev.encode_events([started(program)])

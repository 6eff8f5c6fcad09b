"""Queries and updates: what an orchestration answers while it runs, and what it leaves in history."""

import asyncio

import pytest

from perdure import ExternalEvent, Key, OrchestrationContext, Query, Update, activity, orchestration
from perdure import _events as ev
from perdure.errors import ReplayMismatchError, UsageError
from tests.core.harness import Conversation, dropped, kinds, replayed, started

TOTAL = Query[None, int]("total")
ABOVE = Query[int, bool]("above")
ADD = Update[int, int]("add")
CLOSE = Update[None, str]("close")
CHECKED = Update[int, int]("checked")
GO = ExternalEvent[None]("go")
SUM = Key[int]("sum")


@activity(name="charge")
async def charge(cents: int) -> str: ...


@orchestration(name="account")
async def account(ctx: OrchestrationContext) -> int:
    total = 0
    closed = asyncio.Event()

    def add(cents: int) -> int:
        nonlocal total
        if cents == 13:
            raise ValueError("unlucky")
        total += cents
        ctx.kv.set(SUM, total)
        return total

    def check(cents: int) -> None:
        if cents <= 0:
            raise ValueError(f"{cents} is no amount")

    def close() -> str:
        closed.set()
        return "closed"

    ctx.on_query(TOTAL, lambda: total)
    ctx.on_query(ABOVE, lambda limit: total > limit)
    ctx.on_update(ADD, add, validator=check)
    ctx.on_update(CLOSE, close)
    await closed.wait()
    return total


def text(answer):
    return bytes(answer.result).decode()


def test_an_update_is_an_event_and_its_answer_another():
    talk = Conversation(account)
    assert talk.start() == []
    assert kinds(talk.update("add", 5)) == ["kv sum=5", "upd+ 2 5"]
    assert kinds(talk.update("add", 7, request="other")) == ["kv sum=12", "upd+ 5 12"]
    answered = talk.history[-1]
    assert answered.request == "other"
    assert kinds(talk.update("close")) == ['upd+ 8 "closed"', "done 12"]


def test_a_query_sees_what_there_is_and_leaves_nothing():
    talk = Conversation(account)
    talk.start()
    assert text(talk.query("total")) == "0"
    talk.update("add", 5)
    assert (text(talk.query("total")), text(talk.query("above", 4)), text(talk.query("above", 5))) == (
        "5", "true", "false",
    )  # fmt: skip
    assert len(talk.history) == 4
    assert not talk.execution.handlers.tainted


def test_an_update_whose_handler_raises_is_answered_with_the_error():
    talk = Conversation(account)
    talk.start()
    assert kinds(talk.update("add", 13)) == ["upd+ 2 builtins.ValueError"]
    assert kinds(talk.update("add", 1)) == ["kv sum=1", "upd+ 4 1"]


class OddError(BaseException):
    pass


@orchestration(name="leaving")
async def leaving(ctx: OrchestrationContext, kind: str) -> str:
    """Whoever asks it has it raise what is no Exception."""

    def leave() -> int:
        raise LEAVING[kind]("enough")

    async def leave_later(_: int) -> int:
        await asyncio.sleep(0)
        return leave()

    ctx.on_query(TOTAL, leave)
    ctx.on_update(CLOSE, leave)
    ctx.on_update(ADD, leave_later)
    ctx.on_update(CHECKED, lambda _: 1, validator=lambda _: leave())
    await ctx.schedule_wait(GO)
    return "goes on"


LEAVING = {each.__name__: each for each in (SystemExit, KeyboardInterrupt, GeneratorExit, OddError)}


@pytest.mark.parametrize("kind", LEAVING)
def test_what_ends_programs_is_an_answer_as_every_other_error_and_the_orchestration_goes_on(kind):
    talk = Conversation(leaving)
    talk.start(kind)

    answers = [talk.query("total").error]
    for update, value in (("close", None), ("add", 1)):
        talk.update(update, value)
        answers.append(talk.history[-1].error)
    talk.update("checked", 1)
    rejection = talk.reply()

    assert [answer.type.rpartition(".")[2] for answer in (*answers, rejection.error)] == [kind] * 4
    assert {answer.message.partition(":")[0] for answer in (*answers, rejection.error)} == {"enough"}
    assert rejection.refused == "rejected"
    assert not talk.execution.handlers.tainted
    assert kinds(talk.raise_event("go")) == ['done "goes on"']
    assert replayed(talk.stage, leaving, talk.history).ending is not None


def rejected(talk, name, value):
    assert talk.update(name, value) == []
    answer = talk.reply()
    return answer.refused, answer.error.type, answer.error.message


def test_what_the_validator_refuses_leaves_nothing():
    talk = Conversation(account)
    talk.start()
    assert rejected(talk, "add", -1) == ("rejected", "builtins.ValueError", "-1 is no amount")
    assert len(talk.history) == 1
    assert talk.execution.handlers.take_replies() == {}


def test_a_value_that_does_not_fit_leaves_nothing():
    talk = Conversation(account)
    talk.start()
    refused, type_, message = rejected(talk, "add", "much")
    assert (refused, type_) == ("rejected", "perdure.errors.PayloadError")
    assert "'add'" in message
    answer = talk.query("above", "much")
    assert (answer.refused, answer.error.type) == ("", "perdure.errors.PayloadError")


def test_an_unknown_name_is_answered_with_those_that_there_are():
    talk = Conversation(account)
    talk.start()
    assert rejected(talk, "total", None)[::2] == ("unknown", "no handler of update 'total'; it has 'add', 'close'")
    answer = talk.query("add")
    assert (answer.refused, answer.error.message) == ("unknown", "no handler of query 'add'; it has 'total', 'above'")


def test_one_without_handlers_says_so():
    @orchestration
    async def deaf(ctx: OrchestrationContext) -> None:
        await ctx.schedule_wait(GO)

    talk = Conversation(deaf)
    talk.start()
    assert rejected(talk, "add", 1)[2] == "no handler of update 'add'; it has none"
    assert talk.query("total").refused == "unknown"


def test_a_later_handler_takes_the_place_of_an_earlier_one():
    @orchestration
    async def moody(ctx: OrchestrationContext) -> None:
        ctx.on_query(TOTAL, lambda: 1)
        ctx.on_update(CLOSE, lambda: "first")
        await ctx.schedule_wait(GO)
        ctx.on_query(TOTAL, lambda: 2)
        ctx.on_update(CLOSE, lambda: "second")
        await ctx.schedule_wait(GO)

    talk = Conversation(moody)
    talk.start()
    assert kinds(talk.update("close")) == ['upd+ 3 "first"']
    assert text(talk.query("total")) == "1"
    talk.raise_event("go")
    assert kinds(talk.update("close")) == ['upd+ 7 "second"']
    assert text(talk.query("total")) == "2"


@orchestration(name="clerk")
async def clerk(ctx: OrchestrationContext, how: str) -> str:
    async def pay(cents: int) -> int:
        receipt = await ctx.schedule_activity(charge, cents)
        return cents + len(receipt)

    ctx.on_update(ADD, pay)
    await ctx.schedule_wait(GO)
    if how == "again":
        ctx.continue_as_new("last")
    return how


def test_an_asynchronous_handler_answers_when_it_has_done():
    talk = Conversation(clerk)
    talk.start("end")
    (asked,) = talk.update("add", 5)
    assert asked.name == "charge"
    (other,) = talk.update("add", 7, request="other")
    assert kinds(talk.complete(other.id, "abc")) == ["upd+ 5 10"]
    assert kinds(talk.complete(asked.id, "abcd")) == ["upd+ 3 9"]
    assert kinds(talk.raise_event("go")) == ['done "end"']


@pytest.mark.parametrize(("how", "end"), [("end", 'done "end"'), ("again", "can")])
def test_one_that_is_at_work_when_the_execution_ends_is_answered_so(how, end):
    talk = Conversation(clerk)
    talk.start(how)
    talk.update("add", 5)
    assert kinds(talk.raise_event("go")) == ["act! 4", "upd+ 3 perdure.errors.UnansweredError", end]
    assert talk.execution.handlers.updates == {}


def test_a_handler_that_swallows_the_end_is_answered_too():
    @orchestration
    async def stubborn(ctx: OrchestrationContext) -> None:
        async def wait() -> str:
            try:
                await ctx.schedule_wait(GO)
            except asyncio.CancelledError:
                await ctx.schedule_timer(1)
            return "never"

        ctx.on_update(CLOSE, wait)
        await ctx.schedule_timer(5)
        ctx.continue_as_new()

    talk = Conversation(stubborn)
    talk.start()
    talk.update("close")
    assert kinds(talk.fire(2)) == ["wait! 4", "upd+ 3 perdure.errors.UnansweredError", "can"]


def test_dropping_it_answers_nobody():
    talk = Conversation(clerk)
    talk.start("end")
    talk.update("add", 5)
    assert talk.drop() == 0
    assert talk.execution.take_events() == []


@pytest.mark.parametrize("handler", [
    lambda ctx: ctx.set_custom_status("x"),
    lambda ctx: ctx.kv.set(SUM, 1),
    lambda ctx: ctx.new_guid(),
    lambda ctx: ctx.raise_event("other", GO, None),
])  # fmt: skip
def test_a_query_may_ask_for_nothing(handler):
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.on_query(TOTAL, lambda: handler(ctx))
        await ctx.schedule_wait(GO)

    talk = Conversation(program)
    talk.start()
    answer = talk.query("total")
    assert answer.error.type == "perdure.errors.ForbiddenCallError"
    assert "only looks" in answer.error.message
    assert kinds(talk.raise_event("go")) == ["done null"]


def test_a_query_that_wakes_somebody_taints_the_program_which_is_rebuilt():
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        woken = asyncio.Event()
        ctx.on_query(TOTAL, lambda: (woken.set(), 1)[1])
        await asyncio.wait({asyncio.ensure_future(woken.wait()), ctx.schedule_wait(GO)}, return_when="FIRST_COMPLETED")
        return "woken" if woken.is_set() else "not woken"

    talk = Conversation(program)
    talk.start()
    assert text(talk.query("total")) == "1"
    assert kinds(talk.raise_event("go"))[-1] == 'done "not woken"'


def test_chance_in_a_query_is_not_the_programs():
    @orchestration
    async def program(ctx: OrchestrationContext) -> bool:
        first = ctx.random.random()
        ctx.on_query(TOTAL, lambda: int(ctx.random.random() * 1000))
        await ctx.schedule_wait(GO)
        return ctx.random.random() != first

    talk = Conversation(program)
    talk.start()
    assert talk.query("total").error is None
    assert kinds(talk.raise_event("go")) == ["done true"]


def test_a_query_is_answered_at_once():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        async def slow() -> int:
            return 1

        class Later:
            def __await__(self):
                yield

        ctx.on_query(TOTAL, slow)
        ctx.on_query(ABOVE, lambda _: Later())
        await ctx.schedule_wait(GO)

    talk = Conversation(program)
    talk.start()
    assert "asynchronous" in talk.query("total").error.message
    assert "asynchronous" in talk.query("above", 1).error.message


def test_an_answer_that_does_not_fit_is_an_error():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        ctx.on_query(TOTAL, lambda: "much")
        ctx.on_update(ADD, str)
        await ctx.schedule_wait(GO)

    talk = Conversation(program)
    talk.start()
    assert talk.query("total").error.type == "perdure.errors.PayloadError"
    assert kinds(talk.update("add", 1)) == ["upd+ 3 perdure.errors.PayloadError"]


@pytest.mark.parametrize("wrong", [
    lambda ctx: ctx.on_query("total", lambda: 1),
    lambda ctx: ctx.on_query(ADD, lambda: 1),
    lambda ctx: ctx.on_query(TOTAL, 1),
    lambda ctx: ctx.on_update(TOTAL, lambda: 1),
    lambda ctx: ctx.on_update(ADD, "add"),
    lambda ctx: ctx.on_update(ADD, lambda cents: cents, validator="check"),
])  # fmt: skip
def test_what_is_no_handler_is_refused(wrong):
    @orchestration
    async def program(ctx: OrchestrationContext) -> str:
        try:
            wrong(ctx)
        except UsageError:
            return "refused"
        return ""

    assert kinds(Conversation(program).start()) == ['done "refused"']


def test_definitions_say_what_they_are():
    assert (ADD.name, ADD.types, ADD.asks_nothing, repr(ADD)) == ("add", (int, int), False, "Update('add')")
    assert (TOTAL.asks_nothing, repr(TOTAL)) == (True, "Query('total')")
    assert not Query("any").asks_nothing
    with pytest.raises(UsageError, match="query"):
        Query[None, int]("")
    with pytest.raises(UsageError, match="update"):
        Update[None, int]("")


def test_code_without_the_handler_does_not_fit_the_history():
    @orchestration(name="account")
    async def without(ctx: OrchestrationContext) -> int:
        ctx.on_update(CLOSE, lambda: "")
        await asyncio.Event().wait()
        return 0

    talk = Conversation(account)
    talk.start()
    talk.update("add", 5)
    with pytest.raises(ReplayMismatchError):
        replayed(talk.stage, without, talk.history)


def test_another_answer_does_not_fit_the_history():
    def of(answer):
        @orchestration(name="program")
        async def program(ctx: OrchestrationContext) -> None:
            def reply() -> str:
                if answer is None:
                    raise ValueError("no")
                return answer

            ctx.on_update(CLOSE, reply)
            await ctx.schedule_wait(GO)

        return program

    for recorded, attempted, words in (("a", "b", 'with "b"'), ("a", None, "with builtins.ValueError: no")):
        talk = Conversation(of(recorded))
        talk.start()
        talk.update("close")
        with pytest.raises(ReplayMismatchError, match=f"to answer the update of event 3 {words}"):
            replayed(talk.stage, of(attempted), talk.history)


def test_one_that_waits_for_updates_alone_is_not_stuck_and_without_them_is():
    @orchestration
    async def program(ctx: OrchestrationContext) -> None:
        await asyncio.Event().wait()

    talk = Conversation(program)
    with pytest.raises(Exception, match="no durable event can bring"):
        talk.start()
    dropped(talk.stage, talk.execution)


def test_a_second_answer_is_damage():
    from perdure._core.history import check  # noqa: PLC0415 - of this test alone
    from perdure.errors import HistoryCorruptError  # noqa: PLC0415 - the same

    received = ev.UpdateReceived(id=2, at=started(account).at, request="r", name="add", data=ev.Raw(b"1"))
    answers = [ev.UpdateAnswered(id=number, source=2, request="r", result=ev.Raw(b"1")) for number in (3, 4)]
    check([started(account), received, answers[0]], 1)
    with pytest.raises(HistoryCorruptError, match="event 2 is no open UpdateReceived"):
        check([started(account), received, *answers], 1)

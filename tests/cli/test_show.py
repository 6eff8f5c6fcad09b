"""`perdure show`: where an instance stands, what it waits for, what to do, and what happened."""

import asyncio
import re

from perdure import Backoff, Client, OrchestrationContext, Registry, RetryPolicy, Status, activity, orchestration
from perdure._work import Batch, Claim, TaskHold
from perdure.storage.sqlite import SqliteStorage
from tests.cli import shop
from tests.cli.conftest import URL, eventually, until


def running(instance_id):
    return until(instance_id, lambda status: status.version is not None)


def test_one_that_waits_for_an_event_says_so_and_how_to_raise_it(perdure, worker):
    perdure("start", "approval", "--id", "order 1")
    running("order 1")

    said = perdure("show", "order 1")

    assert said.status == 0
    assert said.out.startswith("order 1 is running\n  orchestration  shop::orchestration::approval 1.2.0\n")
    assert 'custom status  {"waiting": "for a person"}' in said.out
    assert re.search(
        r"Waits for\n  #3 external event approved, since [\d:.]+, .* ago, at tests/cli/shop.py:\d+\n", said.out
    )
    assert "What to do  Only an external event moves it: perdure raise 'order 1' approved JSON\n" in said.out


def test_the_timeline_tells_each_thing_once_with_its_outcome_and_duration(perdure, worker):
    perdure("start", "greeting", '"Ada"', "--id", "a", "--wait")

    said = perdure("show", "a")

    assert said.out.startswith("a is completed\n")
    assert '  result         "hello Ada"\n' in said.out
    _, _, timeline = said.out.partition("Timeline of execution 1 (UTC)\n")
    first, second, third, fourth = timeline.splitlines()
    assert re.fullmatch(r"  \d{4}-\d\d-\d\d", first)
    assert re.fullmatch(r'  #1  [\d:.]{12}  {13}start shop::orchestration::greeting\("Ada"\)', second)
    assert re.fullmatch(
        r'  #2  [\d:.]{12}  +\d+ ms  activity shop::activity::greet\("Ada"\)  completed: "hello Ada"', third
    )
    assert re.fullmatch(r'  #4  [\d:.]{12}  {13}end  completed: "hello Ada"', fourth)


def test_one_that_is_held_shows_the_reason_and_what_to_do(perdure, worker):
    perdure("start", "impatient", "--id", "a")
    until("a", lambda status: status.status is Status.HELD)

    said = perdure("show", "a")

    assert said.out.startswith("a is held\n")
    assert "  held because   perdure.errors.ForbiddenCallError: " in said.out
    assert "every worker that starts after it was held tries it once" in said.out
    assert "Or end it: perdure terminate a\n" in said.out


def test_without_a_worker_that_is_the_first_thing_to_do(perdure, working):
    with working():
        perdure("start", "nap", "3600", "--id", "a")
        running("a")

    said = perdure("show", "a")

    assert (
        "What to do  No worker is running on this store, so nothing moves: perdure worker MODULE:REGISTRY\n" in said.out
    )
    assert "timer of 1 h until " in said.out


def test_suggested_commands_name_the_store_when_it_was_named(perdure, working):
    with working(url="sqlite:///other shop.db"):
        perdure("start", "approval", "--id", "a", "--url", "sqlite:///other shop.db")

    said = perdure("show", "a", "--url", "sqlite:///other shop.db")

    assert "perdure worker MODULE:REGISTRY --url 'sqlite:///other shop.db'\n" in said.out


def test_code_that_no_living_worker_has_is_named(perdure, working):
    with working():
        perdure("start", "approval", "--id", "a")
        perdure("start", "payment", "5", "--id", "b", "--wait")
        running("a")

    @orchestration(name="shop::orchestration::aproval")
    async def other(ctx: OrchestrationContext) -> None: ...

    with working(Registry(other)):
        advice = perdure("show", "a", "--json").json["advice"]

    assert advice[0] == "No living worker has shop::orchestration::approval in version 1.2.0: start one that has it."


def test_one_that_has_not_begun_says_which_name_may_have_been_meant(perdure, worker):
    perdure("start", "shop::orchestration::aproval", "--id", "a", "--unchecked")

    said = perdure("show", "a")

    assert said.out.startswith("a is pending\n")
    assert "No living worker has shop::orchestration::aproval (did you mean 'shop::orchestration::approval'" in said.out
    assert "It has not begun" in said.out


def test_an_activity_that_no_living_worker_has_is_named(perdure, working):
    @orchestration(name="shop::orchestration::remote")
    async def remote(ctx: OrchestrationContext) -> str:
        return await ctx.schedule_activity("shop::activity::gret", "Ada", returns=str)

    with working(Registry(remote, shop.greet)):
        perdure("start", "remote", "--id", "a")
        running("a")
        advice = perdure("show", "a", "--json").json["advice"]

    assert len(advice) == 1
    assert advice[0].startswith(
        "No living worker has the activity shop::activity::gret (did you mean 'shop::activity::gre"
    )


def test_an_event_under_a_wrong_name_is_noticed(perdure, worker):
    perdure("start", "approval", "--id", "a")
    running("a")
    perdure("raise", "a", "aproved", '{"by": "Bob"}')
    eventually(lambda: perdure("show", "a", "--json").json["unread_events"] != [])

    said = perdure("show", "a")

    assert (
        "An event 'aproved' is there, and nobody has asked for that name; 'approved' may have been meant." in said.out
    )
    assert 'Unread events (they wait until the orchestration asks for them)\n  aproved {"by": "Bob"}\n' in said.out


def test_a_parent_shows_where_its_child_stands_and_the_child_its_parent(perdure, worker):
    perdure("start", "family", "--id", "a")
    running("a")
    running("a-child")

    parent, child = perdure("show", "a"), perdure("show", "a-child")

    assert "child a-child shop::orchestration::approval() (running), since " in parent.out
    assert "Its child a-child is running: perdure show a-child\n" in parent.out
    assert "  parent         a\n" in child.out


def test_a_failure_shows_its_error_and_the_traceback_when_asked(perdure, worker):
    perdure("start", "payment", "--id", "a", "--wait", "--", "-1")

    short, full = perdure("show", "a"), perdure("show", "a", "--full")

    assert (
        "activity shop::activity::charge(-1)  failed after 2 attempts: ValueError: -1 cents can't be charged"
        in short.out
    )
    assert "error          perdure.errors.ActivityError: " in short.out
    assert "--full shows its traceback" in short.out
    assert "Traceback (most recent call last)" not in short.out
    assert "Traceback (most recent call last)" in full.out


def test_a_request_to_cancel_is_shown_while_it_cleans_up(perdure, working):
    @orchestration(name="shop::orchestration::stubborn")
    async def stubborn(ctx: OrchestrationContext) -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(3600)

    with working(Registry(stubborn)):
        perdure("start", "stubborn", "--id", "a")
        running("a")
        perdure("cancel", "a", "--reason", "enough")
        eventually(lambda: "CancelRequested" in perdure("history", "a").out)
        said = perdure("show", "a")

    assert "  cancel         asked for " in said.out
    assert 'cancel: "enough"\n' in said.out


def test_earlier_executions_are_shown_when_asked(perdure, worker):
    perdure("start", "rounds", "1", "--id", "a", "--wait")

    second, first = perdure("show", "a"), perdure("show", "a", "--execution", "1")

    assert "  execution      2; those before it: perdure show a --execution N\n" in second.out
    assert "Timeline of execution 2" in second.out
    assert "end(0)  continued as new" in first.out


def test_large_values_are_cut_unless_full_is_asked_for(perdure, worker):
    perdure("start", "echo", '"' + "x" * 5000 + '"', "--id", "a", "--wait")

    short, full = perdure("show", "a"), perdure("show", "a", "--full")

    assert max(map(len, short.out.splitlines())) < 300
    assert "... (5,002 characters)" in short.out
    assert "x" * 5000 in full.out


def test_long_timelines_show_their_end_unless_full_is_asked_for(perdure, working):
    @orchestration(name="shop::orchestration::long")
    async def long(ctx: OrchestrationContext) -> None:
        for number in range(60):
            ctx.set_custom_status(number)

    with working(Registry(long)):
        perdure("start", "long", "--id", "a", "--wait")

    short, full = perdure("show", "a"), perdure("show", "a", "--full")

    assert "12 earlier steps are left out; --full shows them" in short.out
    assert short.out.count("custom status: ") == 49
    assert full.out.count("custom status: ") == 60


def test_many_waits_and_many_unread_events_are_counted(perdure, working):
    @orchestration(name="shop::orchestration::crowd")
    async def crowd(ctx: OrchestrationContext) -> None:
        await asyncio.gather(*(ctx.schedule_wait(f"event-{number:02}", str) for number in range(25)))

    with working(Registry(crowd)):
        perdure("start", "crowd", "--id", "a")
        for number in range(7):
            perdure("raise", "a", "other", str(number))
        eventually(lambda: len(perdure("show", "a", "--json").json["unread_events"]) == 7)
        said = perdure("show", "a")

    assert said.out.count("  #") == 20 + 26
    assert "  and 5 more\n" in said.out
    assert "  other 4\n  and 2 more\n" in said.out
    assert said.out.count("What to do  ") == 3


def test_json_has_it_all(perdure, worker):
    perdure("start", "approval", "--id", "a")
    running("a")

    document = perdure("show", "a", "--json").json

    assert document["instance"]["status"] == "running"
    assert [step["kind"] for step in document["steps"]] == ["start", "status", "event"]
    [waiting] = document["waits_for"]
    assert (waiting["event"], waiting["name"], waiting["outcome"], waiting["duration_s"]) == (3, "approved", None, None)
    assert document["unread_events"] == []
    assert document["history_problem"] is None


def test_a_history_that_can_t_be_read_is_no_reason_to_show_nothing(perdure, worker):
    perdure("start", "greeting", '"Ada"', "--id", "a", "--wait")
    _damage()

    said = perdure("show", "a")

    assert (said.status, said.out.splitlines()[0]) == (0, "a is completed")
    assert "  history        it can't be read: " in said.out
    assert perdure("history", "a").status == 1


def _damage() -> None:
    import apsw  # noqa: PLC0415 - only this test reaches below the client

    connection = apsw.Connection("perdure.db")
    connection.execute("UPDATE history SET crc = crc + 1")
    connection.close()


def test_nothing_in_the_data_reaches_the_terminal_as_a_command(perdure, worker):
    evil = '"\\u001b]0;owned\\u0007 [bold]x[/bold] \\u202e"'
    perdure("start", "echo", evil, "--id", "a", "--wait")
    perdure("start", "approval", "--id", "b", "--attribute", "k=v")
    perdure("raise", "b", "[red]name[/red]", evil)

    for command in (("show", "a"), ("show", "a", "--full"), ("show", "a", "--json"), ("history", "a"), ("list",),
                    ("list", "--json"), ("history", "a", "--json"), ("wait", "a"), ("show", "b")):  # fmt: skip
        out = perdure(*command).out
        assert not set("\x1b\x07\u202e") & set(out), command


def test_an_unknown_execution_is_an_error(perdure, worker):
    perdure("start", "greeting", '"Ada"', "--id", "a", "--wait")

    for command in ("show", "history"):
        said = perdure(command, "a", "--execution", "7")
        assert (said.status, said.err) == (1, "perdure: instance 'a' has no execution 7: it is in execution 1\n")


async def test_the_store_of_these_tests_is_the_default_one(folder):
    async with Client(URL):
        pass
    assert (folder / "perdure.db").exists()


def test_what_an_activity_is_at_is_told(perdure, working):
    @activity(name="shop::activity::charge")
    async def charge(cents: int) -> str:
        if cents == 5:
            raise ValueError("no funds")
        return await asyncio.Event().wait()

    @orchestration(name="shop::orchestration::pay")
    async def pay(ctx: OrchestrationContext) -> None:
        hourly = RetryPolicy(3, backoff=Backoff.fixed(3_600))
        ctx.schedule_activity(charge, 4, tag="gpu")
        slow = ctx.schedule_activity(charge, 6)
        await ctx.schedule_activity(charge, 5, retry=hourly)
        await slow

    with working(Registry(charge, pay)):
        perdure("start", "pay", "--id", "a")
        eventually(lambda: [each for each in open_activities(perdure) if each["last_error"]])
        said = perdure("show", "a").out
        open_ = {each["event_id"]: each for each in open_activities(perdure)}
        perdure("terminate", "a")

    assert re.search(r"#2 activity shop::activity::charge\(4\).*\n     attempt 1 waits for a worker, .* ago\n", said)
    assert re.search(r"#3 activity shop::activity::charge\(6\).*\n     attempt 1 runs on \S+\n", said)
    assert re.search(r"\n     attempt 2 is due at .*, in 59 min .*; the last failed: ValueError: no funds\n", said)
    assert [open_[event]["state"] for event in (2, 3, 4)] == ["waiting", "running", "waiting"]
    assert open_[4]["last_error"]["message"] == "no funds"


def open_activities(perdure):
    return perdure("show", "a", "--json").json["activities"]


def test_a_held_activity_of_a_running_instance_is_told(perdure, working):
    with working(Registry(shop.payment)):
        perdure("start", "payment", "5", "--id", "a")
        eventually(lambda: perdure("queues", "--json").json["activities"])
    hold_the_activity("it kills")

    said = perdure("show", "a")

    assert said.out.startswith("a is running\n")
    assert "#2 activity shop::activity::charge(5) (held)" in said.out
    assert "The activity shop::activity::charge (#2) is held: it kills. To run it again: perdure retry a" in said.out


def hold_the_activity(reason):
    storage = SqliteStorage("perdure.db")
    worker = storage.register(name="w", orchestrations=[], activities=["shop::activity::charge"]).worker
    claim = Claim(instances_max=0, tasks_max=1)
    [task] = storage.commit(Batch(token=b"1", items=(), worker=worker, claim=claim)).work.tasks
    item = TaskHold(incarnation=task.incarnation, execution=1, event=task.event, reason=reason)
    storage.commit(Batch(token=b"2", items=(item,), worker=worker))
    storage.unregister(worker)
    storage.close()

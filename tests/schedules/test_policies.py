"""Schedules end to end, on test time: slots, overlaps, what is caught up, and the orders that users give."""

from datetime import UTC, datetime, timedelta

import pytest

from perdure import (
    SLOT,
    Cron,
    Every,
    ExternalEvent,
    InstanceExistsError,
    InstanceNotFoundError,
    OrchestrationContext,
    PayloadError,
    Registry,
    Status,
    UsageError,
    orchestration,
)
from perdure.testing import Environment

GO = ExternalEvent[str]("go")
HOUR = timedelta(hours=1)


@orchestration(name="report")
async def report(ctx: OrchestrationContext, slot: datetime, region: str) -> str:
    return f"{region} {slot:%H:%M}"


@orchestration(name="long")
async def long(ctx: OrchestrationContext) -> str:
    return await ctx.schedule_wait(GO)


@orchestration(name="short")
async def short(ctx: OrchestrationContext) -> int:
    return 1


REGISTRY = Registry(report, long, short)


async def runs_of(env: Environment, name: str) -> list[str]:
    """The runs in the order of their starts, without what all their ids begin with."""
    page = await env.client.list_instances(name=name, limit=1_000)
    return [each.instance_id.partition("@")[2][11:] for each in reversed(page.items)]


async def open_runs_of(env: Environment, name: str) -> list[str]:
    page = await env.client.list_instances(name=name, status=Status.RUNNING)
    return [each.instance_id for each in page.items]


async def test_each_slot_starts_one_run_whose_id_says_which_and_whose_input_is_the_slot():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("hourly", report, SLOT, "eu", when=Every(HOUR))
        begun = env.now
        await env.advance(3 * HOUR + timedelta(minutes=1))
        first = begun.replace(minute=0, second=0, microsecond=0) + HOUR
        handle = env.client.get_handle(f"hourly@{first:%Y-%m-%dT%H:%M:%SZ}", report)
        assert await handle.result() == f"eu {first:%H:%M}"
        status = await schedule.status()
    assert (status.started, status.skipped) == (3, 0)
    assert status.next_slot == first + 3 * HOUR
    assert status.last_run == f"hourly@{first + 2 * HOUR:%Y-%m-%dT%H:%M:%SZ}"


async def test_a_cron_schedule_starts_at_the_local_time_of_its_zone():
    async with Environment(REGISTRY) as env:
        await env.client.schedules.create("local", short, when=Cron("30 2 * * *", "Asia/Kolkata"))
        await env.advance(timedelta(days=2))
        assert await runs_of(env, "short") == ["21:00:00Z", "21:00:00Z"]


async def test_a_schedule_made_while_no_worker_has_it_shows_what_it_was_made_of():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create(
            "s", short, when=Cron("@daily"), overlap="allow", jitter=60, late_max=5
        )
        status = await schedule.status()
    assert status.when == Cron("@daily")
    assert (status.orchestration, status.overlap, status.jitter, status.late_max) == ("short", "allow", 60, 5)


@pytest.mark.parametrize(
    ("overlap", "after_three_hours", "buffered", "after_the_end"),
    [
        ("skip", ["01:00:00Z"], 0, ["01:00:00Z"]),
        ("buffer_one", ["01:00:00Z"], 1, ["01:00:00Z", "02:00:00Z"]),
        ("buffer_all", ["01:00:00Z"], 2, ["01:00:00Z", "02:00:00Z"]),
        ("allow", ["01:00:00Z", "02:00:00Z", "03:00:00Z"], 0, ["01:00:00Z", "02:00:00Z", "03:00:00Z"]),
        ("cancel_other", ["01:00:00Z", "02:00:00Z", "03:00:00Z"], 0, ["01:00:00Z", "02:00:00Z", "03:00:00Z"]),
        ("terminate_other", ["01:00:00Z", "02:00:00Z", "03:00:00Z"], 0, ["01:00:00Z", "02:00:00Z", "03:00:00Z"]),
    ],
)
async def test_an_overlap_policy_says_what_a_slot_does_while_a_run_is_open(
    overlap, after_three_hours, buffered, after_the_end
):
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", long, when=Every(HOUR), overlap=overlap)
        await env.advance(3 * HOUR + timedelta(minutes=5))
        assert await runs_of(env, "long") == after_three_hours
        assert (await schedule.status()).buffered == buffered
        for each in await open_runs_of(env, "long"):
            await env.client.raise_event(each, GO, "on")
        await env.advance(timedelta(minutes=5))
        assert await runs_of(env, "long") == after_the_end


@pytest.mark.parametrize(
    ("overlap", "ending"), [("cancel_other", Status.CANCELLED), ("terminate_other", Status.TERMINATED)]
)
async def test_the_other_run_has_ended_before_the_next_one_begins(overlap, ending):
    async with Environment(REGISTRY) as env:
        await env.client.schedules.create("s", long, when=Every(HOUR), overlap=overlap)
        await env.advance(2 * HOUR + timedelta(minutes=5))
        newest, oldest = (await env.client.list_instances(name="long")).items
    assert (oldest.status, newest.status) == (ending, Status.RUNNING)
    assert oldest.updated_at <= newest.created_at


async def test_buffered_slots_run_one_after_another():
    async with Environment(REGISTRY) as env:
        await env.client.schedules.create("s", long, when=Every(HOUR), overlap="buffer_all")
        await env.advance(3 * HOUR + timedelta(minutes=5))
        started = []
        for _ in range(3):
            (run,) = await open_runs_of(env, "long")
            started.append(run[-9:])
            await env.client.raise_event(run, GO, "on")
            await env.advance(timedelta(minutes=1))
        assert started == ["01:00:00Z", "02:00:00Z", "03:00:00Z"]
        assert await open_runs_of(env, "long") == []


async def test_a_skipped_slot_is_counted_and_the_next_free_one_runs():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", long, when=Every(HOUR))
        await env.advance(2 * HOUR + timedelta(minutes=5))
        (run,) = await open_runs_of(env, "long")
        await env.client.raise_event(run, GO, "on")
        await env.advance(HOUR)
        assert await runs_of(env, "long") == ["01:00:00Z", "03:00:00Z"]
        assert (await schedule.status()).skipped == 1


async def test_a_paused_schedule_starts_nothing_and_does_not_catch_up():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", short, when=Every(HOUR))
        await env.advance(HOUR + timedelta(minutes=5))
        await schedule.pause("too many mails")
        await env.advance(3 * HOUR)
        paused = await schedule.status()
        assert (paused.paused, paused.note, paused.next_slot) == (True, "too many mails", None)
        await schedule.resume("mended")
        await env.advance(HOUR)
        resumed = await schedule.status()
        assert await runs_of(env, "short") == ["01:00:00Z", "05:00:00Z"]
    assert (resumed.paused, resumed.note) == (False, "mended")


async def test_resuming_what_is_not_paused_skips_nothing():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", short, when=Every(HOUR))
        await env.advance(timedelta(minutes=30))
        await schedule.resume()
        await env.advance(HOUR)
        assert await runs_of(env, "short") == ["01:00:00Z"]


async def test_a_schedule_may_begin_paused_and_be_triggered_meanwhile():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", report, SLOT, "eu", when=Every(HOUR), paused=True)
        await env.advance(2 * HOUR)
        run = await schedule.trigger()
        assert await run.result() == f"eu {env.now:%H:%M}"
        assert len(await runs_of(env, "report")) == 1


async def test_a_triggered_run_starts_beside_an_open_one_and_counts_for_the_overlap():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", long, when=Every(HOUR))
        await env.advance(HOUR + timedelta(minutes=5))
        (first,) = await open_runs_of(env, "long")
        triggered = await schedule.trigger()
        await env.advance(timedelta(minutes=1))
        assert set(await open_runs_of(env, "long")) == {first, triggered.instance_id}
        await env.client.raise_event(first, GO, "on")
        await env.advance(HOUR)
        assert await open_runs_of(env, "long") == [triggered.instance_id]


async def test_an_update_changes_what_it_names_from_now_on():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", report, SLOT, "eu", when=Every(HOUR))
        await env.advance(HOUR + timedelta(minutes=5))
        await schedule.update(when=Every(2 * HOUR), inputs=(SLOT, "us"), overlap="allow")
        await env.advance(4 * HOUR)
        assert await runs_of(env, "report") == ["01:00:00Z", "02:00:00Z", "04:00:00Z"]
        last = (await env.client.list_instances(name="report", limit=1)).items[0]
        status = await schedule.status()
    assert last.output == "us 04:00"
    assert (status.when, status.overlap, status.catch_up) == (Every(2 * HOUR), "allow", "latest")


async def test_creating_it_again_updates_it_where_that_is_wanted():
    async with Environment(REGISTRY) as env:
        create = env.client.schedules.create
        await create("s", short, when=Every(HOUR))
        with pytest.raises(InstanceExistsError):
            await create("s", short, when=Every(2 * HOUR))
        await env.advance(timedelta(minutes=1))
        schedule = await create("s", short, when=Every(2 * HOUR), on_conflict="update")
        await env.advance(timedelta(minutes=1))
        assert (await schedule.status()).when == Every(2 * HOUR)
        length = len([event async for event in env.client.history("s")])
        await create("s", short, when=Every(2 * HOUR), on_conflict="update")
        await env.advance(timedelta(minutes=1))
        assert len([event async for event in env.client.history("s")]) == length


async def test_deleting_a_schedule_leaves_its_runs_and_no_slot_runs_twice_when_it_is_made_again():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", long, when=Every(HOUR))
        await env.advance(HOUR + timedelta(minutes=5))
        await schedule.delete()
        await env.advance(HOUR)
        assert await runs_of(env, "long") == ["01:00:00Z"]
        assert len(await open_runs_of(env, "long")) == 1
        with pytest.raises(InstanceNotFoundError):
            await schedule.status()
        await env.client.schedules.create("s", long, when=Every(HOUR))
        await env.advance(HOUR)
        assert await runs_of(env, "long") == ["01:00:00Z", "03:00:00Z"]


async def test_the_list_has_the_schedules_and_nothing_else():
    async with Environment(REGISTRY) as env:
        await env.client.start_orchestration(short)
        for name in ("a", "b", "c"):
            await env.client.schedules.create(name, short, when=Every(HOUR))
        await env.client.cancel("b")
        await env.advance(timedelta(minutes=1))
        page = await env.client.schedules.list(limit=1)
        rest = await env.client.schedules.list(after=page.next)
    assert [each.schedule_id for each in (*page.items, *rest.items)] == ["c", "a"]
    assert rest.next is None


async def test_jitter_moves_each_start_by_an_amount_that_its_slot_decides():
    starts = []
    for seed in (1, 2):
        async with Environment(REGISTRY, seed=seed) as env:
            await env.client.schedules.create("s", short, when=Every(HOUR), jitter=timedelta(minutes=40))
            await env.advance(10 * HOUR)
            page = await env.client.list_instances(name="short")
            starts.append({each.instance_id: each.created_at for each in page.items})
    assert starts[0] == starts[1]
    delays = [at - datetime.strptime(run, "s@%Y-%m-%dT%H:%M:%S%z").astimezone(UTC) for run, at in starts[0].items()]
    assert len(delays) >= 9
    assert all(timedelta(0) <= delay <= timedelta(minutes=40) for delay in delays)
    assert len(set(delays)) > 5


async def test_an_instance_that_is_no_schedule_is_not_taken_for_one():
    async with Environment(REGISTRY) as env:
        await env.client.start_orchestration(long, instance_id="s")
        with pytest.raises(InstanceNotFoundError):
            await env.client.schedules.get("s").pause()
        with pytest.raises(InstanceExistsError):
            await env.client.schedules.create("s", short, when=Every(HOUR), on_conflict="update")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"when": "daily"}, "when is 'daily'"),
        ({"when": Every(60), "overlap": "queue"}, "overlap is 'queue': use one of skip, buffer_one"),
        ({"when": Every(60), "catch_up": "none"}, "catch_up is 'none': use one of latest, all"),
        ({"when": Every(60), "on_conflict": "replace"}, "on_conflict is 'replace': use one of fail, update"),
        ({"when": Every(60), "jitter": -1}, "jitter must be"),
        ({"when": Every(60), "late_max": -1}, "late_max must be"),
    ],
)
async def test_an_option_that_cannot_be_used_is_refused_at_the_call(options, words):
    async with Environment(REGISTRY) as env:
        with pytest.raises(UsageError, match=words):
            await env.client.schedules.create("s", short, **options)


async def test_inputs_are_checked_at_the_call_and_the_slot_is_an_instant():
    async with Environment(REGISTRY) as env:
        with pytest.raises(PayloadError, match="input 2 of orchestration report does not fit str"):
            await env.client.schedules.create("s", report, SLOT, SLOT, when=Every(60))


@pytest.mark.parametrize(
    ("options", "words"), [({"note": 5}, r"str, not int, at \.note"), ({"paused": "yes"}, "at .paused")]
)
async def test_a_beginning_that_cannot_be_stored_is_refused_at_the_call(options, words):
    async with Environment(Registry(report)) as env:
        with pytest.raises(PayloadError, match=words):
            await env.client.schedules.create("s", report, SLOT, "x", when=Every(60), **options)
        assert not (await env.client.schedules.list()).items


async def test_an_id_that_leaves_no_room_for_those_of_its_runs_is_refused():
    async with Environment(REGISTRY) as env:
        with pytest.raises(UsageError, match="schedule id '.*' has 201 bytes"):
            await env.client.schedules.create("s" * 201, short, when=Every(60))
        with pytest.raises(UsageError, match="or its name, not 7"):
            await env.client.schedules.create("s", 7, when=Every(60))


async def test_an_order_that_is_none_does_not_stop_the_schedule():
    async with Environment(REGISTRY) as env:
        await env.client.schedules.create("s", short, when=Every(HOUR))
        await env.client.raise_event("s", "perdure.schedule", {"what": "nonsense"})
        await env.advance(HOUR)
        assert await runs_of(env, "short") == ["01:00:00Z"]


async def test_a_schedule_continues_as_new_and_goes_on():
    async with Environment(REGISTRY) as env:
        schedule = await env.client.schedules.create("s", short, when=Every(60))
        await env.advance(4 * HOUR)
        assert (await env.client.get_status("s")).execution_id > 1
        assert (await schedule.status()).started == 240
        assert len(set(await runs_of(env, "short"))) == 240

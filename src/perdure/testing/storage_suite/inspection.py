"""What clients, the command line and the dashboard read."""

from typing import Any

from perdure._ports import first_drawn_at
from perdure._types import Status
from perdure._work import ChildStart, InstanceChange, Query, StartInstance, TaskRetry
from perdure.errors import UsageError
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import CHARGE, NAME, SECOND, World, about, applied, row, task


def _found(world: World, **query: Any) -> list[str]:
    """All pages, in order."""
    names: list[str] = []
    after = None
    while True:
        page, after = world.storage.find(Query(after=after, **query))
        names += [each.id for each in page]
        if after is None:
            return names


def _pages(world: World, **query: Any) -> list[list[str]]:
    """Each page by itself."""
    pages: list[list[str]] = []
    after = None
    while True:
        page, after = world.storage.find(Query(after=after, **query))
        pages.append([each.id for each in page])
        if after is None:
            return pages


def _complaint(world: World, after: str) -> str:
    """What the store says to a key that is none."""
    try:
        world.storage.find(Query(after=after))
    except UsageError as error:
        return str(error)
    return "nothing"


class Reading(Topic):
    """One instance, several, a history."""

    def test_what_does_not_exist_is_none(self) -> None:
        world = self.world
        assert world.storage.get("nobody") is None
        assert world.storage.get_many([]) == {}
        assert world.storage.read_history(4_711, 1) == []

    def test_several_instances_are_read_at_once(self) -> None:
        world = self.world
        records = {name: world.start(name) for name in ("a", "b", "c")}
        assert world.storage.get_many(["c", "nobody", "a", "a"]) == {name: records[name] for name in ("a", "c")}

    def test_a_thousand_instances_are_read_at_once(self) -> None:
        world = self.world
        wanted = [f"order-{number}" for number in range(1_500)]
        world.start(wanted[7])
        assert list(world.storage.get_many(wanted)) == [wanted[7]]

    def test_of_many_those_that_are_open_are_told_with_their_incarnations(self) -> None:
        world = self.world
        worker = world.worker()
        statuses = {f"order-{status.value}": status for status in Status if status is not Status.MOVED}
        for name, status in statuses.items():
            worker.own(name)
            worker.run(name, change=InstanceChange(status=status))
        world.start("new")
        wanted = [*statuses, "new", "nobody", "new", "with a \0"]
        assert world.storage.still_open(wanted) == {
            name: world.record(name).incarnation
            for name in (*statuses, "new")
            if name == "new" or not statuses[name].is_closed
        }
        assert world.storage.still_open([]) == {}

    def test_ids_are_matched_by_their_bytes(self) -> None:
        world = self.world
        for name in ("Order", "order", "ordér", "o%"):
            world.start(name)
        assert world.record("order").id == "order"
        assert world.storage.get("ORDER") is None
        assert world.storage.get("o_der") is None

    def test_updated_at_moves_with_turns_only(self) -> None:
        world = self.world
        worker = world.worker()
        started = world.start("order")
        world.clock.advance(5)
        claimed = worker.take("order").record
        world.deliver("order", b"news")
        assert claimed.updated_at == world.record("order").updated_at == started.updated_at
        worker.run("order")
        assert world.record("order").updated_at == world.clock.now_us()
        assert world.record("order").created_at == started.created_at


class CustomStatus(Topic):
    """The custom status and the other columns of a turn."""

    def test_it_is_set_kept_and_counted(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        seen = []
        for status in (None, b"1", None, b"1", b"2"):
            worker.run("order", change=InstanceChange(custom_status=status))
            record = world.record("order")
            seen.append((record.custom_status, record.custom_status_version))
        assert seen == [(None, 0), (b"1", 1), (b"1", 1), (b"1", 2), (b"2", 3)]

    def test_each_setting_of_a_turn_is_counted(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(custom_status=b"3", custom_status_sets=3))
        assert (world.record("order").custom_status, world.record("order").custom_status_version) == (b"3", 3)
        closing = InstanceChange(status=Status.COMPLETED, custom_status=b"5", custom_status_sets=2)
        worker.run("order", change=closing)
        assert (world.record("order").custom_status, world.record("order").custom_status_version) == (b"5", 5)

    def test_a_first_turn_counts_them_too(self) -> None:
        world = self.world
        worker = world.worker()
        change = InstanceChange(custom_status=b"2", custom_status_sets=2)
        applied(worker.do(worker.first_turn(world.new("order"), change=change)))
        assert (world.record("order").custom_status, world.record("order").custom_status_version) == (b"2", 2)

    def test_what_a_turn_does_not_change_stays(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(output=b"o", error=b"e", version="1.0.0", cancel_requested=True))
        worker.run("order", change=InstanceChange())
        worker.run("order")
        record = world.record("order")
        assert (record.output, record.error, record.version, record.cancel_requested) == (b"o", b"e", "1.0.0", True)
        assert record.status is Status.RUNNING

    def test_a_status_that_is_no_usual_one_stays_too(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(status=Status.SUSPENDED))
        worker.run("order", history=None)
        assert self.world.record("order").status is Status.SUSPENDED


class Finding(Topic):
    """Filters and pages."""

    def _some(self) -> World:
        world = self.world
        worker = world.worker()
        for number in range(7):
            world.start(
                f"order-{number}", attributes=b'{"number":%d,"odd":%s}' % (number, b"false true".split()[number % 2])
            )
            world.clock.advance(1)
        world.start("other", name="other", version=None)
        worker.take("order-3")
        worker.run("order-3")
        worker.run("order-4", change=InstanceChange(status=Status.COMPLETED))
        return world

    def test_the_newest_come_first(self) -> None:
        world = self._some()
        assert _found(world) == ["other", *(f"order-{number}" for number in reversed(range(7)))]

    def test_the_highest_incarnation_counts_as_the_newest(self) -> None:
        world = self.world
        for incarnation in (20, 30, 10):
            world.start(f"order-{incarnation}", incarnation=incarnation)
            world.clock.advance(1)
        assert _found(world, limit=1) == ["order-30", "order-20", "order-10"]

    def test_pages_follow_each_other_without_gap(self) -> None:
        world = self._some()
        everything = _found(world)
        for limit in (1, 2, 3, 7, 8, 9):
            assert _found(world, limit=limit) == everything

    def test_the_last_page_has_no_next(self) -> None:
        world = self._some()
        page, after = world.storage.find(Query(limit=8))
        assert (len(page), after) == (8, None)
        page, after = world.storage.find(Query(limit=7))
        assert (len(page), after) == (7, str(page[-1].incarnation))

    def test_a_page_ends_where_enough_were_looked_at_and_the_next_goes_on(self) -> None:
        world = self._some()
        page, after = world.storage.find(Query(version="2.0.0", rows_max=3))
        assert (page, after) == ([], str(world.record("order-5").incarnation))
        assert _pages(world, version="2.0.0", rows_max=3) == [[], [], []]
        assert _pages(world, version="1.0.0", rows_max=3) == [
            ["order-6", "order-5"],
            ["order-4", "order-3", "order-2"],
            ["order-1", "order-0"],
        ]
        assert _pages(world, version="1.0.0", rows_max=100) == [[f"order-{number}" for number in reversed(range(7))]]

    def test_pages_that_end_early_have_all_that_match_once_and_in_order(self) -> None:
        world = self._some()
        worker = world.worker()
        worker.own("trunk")
        branches = [
            world.child(
                world.record("trunk"), f"child-{number}", attributes=b'{"odd":%s}' % (b"false", b"true")[number % 2]
            )
            for number in range(5)
        ]
        worker.run("trunk", starts=tuple(ChildStart(new=each) for each in branches))
        began, turned = world.record("order-0").created_at, world.record("order-4").updated_at
        queries: list[dict[str, Any]] = [
            {},
            {"version": "1.0.0"},
            {"updated_from": turned},
            {"updated_before": turned},
            {"created_from": began + 2, "created_before": began + 6},
            {"attributes": {"odd": True}},
            {"attributes": {"odd": False, "number": 4}},
            {"roots_only": True},
            {"root": "trunk"},
            {"parent": "trunk"},
            {"parent": "trunk", "attributes": {"odd": True}},
            {"parents": (world.record("trunk").incarnation,), "attributes": {"odd": True}},
            {"root": "trunk", "attributes": {"odd": True}},
            {"name": NAME, "statuses": (Status.RUNNING,)},
            {"statuses": (Status.PENDING, Status.RUNNING), "version": "1.0.0"},
            {"statuses": (Status.PENDING, Status.RUNNING), "created_from": began + 1},
            {"statuses": (Status.PENDING, Status.COMPLETED, Status.RUNNING), "updated_from": began + 3},
        ]
        for query in queries:
            everything = _found(world, **query)
            assert everything
            for limit, rows_max in ((1, 1), (1, 2), (2, 1), (2, 3), (100, 1), (100, 2), (100, 5)):
                pages = _pages(world, limit=limit, rows_max=rows_max, **query)
                assert max(map(len, pages)) <= limit
                assert [each for page in pages for each in page] == everything

    def test_only_what_no_index_knows_makes_a_page_short(self) -> None:
        world = self._some()
        worker = world.worker()
        worker.own("trunk")
        worker.run("trunk", starts=(ChildStart(new=world.child(world.record("trunk"), "child")),))
        for query, found in (
            ({}, ["child", "trunk", "other"]),
            ({"name": "other"}, ["other"]),
            ({"parent": "trunk"}, ["child"]),
            ({"statuses": (Status.RUNNING,)}, ["trunk", "order-3"]),
            ({"statuses": (Status.HELD,)}, []),
        ):
            assert _pages(world, rows_max=4, limit=3, **query)[0] == found

    def test_pages_are_stable_while_instances_come_and_go(self) -> None:
        world = self._some()
        page, after = world.storage.find(Query(limit=3))
        world.start("newer")
        world.delete(page[-1].id, force=True)
        world.delete("order-1", force=True)
        assert after is not None
        rest, _ = world.storage.find(Query(after=after))
        assert [each.id for each in rest] == ["order-4", "order-3", "order-2", "order-0"]

    def test_filters_all_have_to_match(self) -> None:
        world = self._some()
        assert _found(world, name="other") == ["other"]
        assert _found(world, name=NAME, version="1.0.0", statuses=(Status.PENDING,), limit=2) == [
            f"order-{number}" for number in (6, 5, 2, 1, 0)
        ]
        assert _found(world, statuses=(Status.COMPLETED, Status.RUNNING)) == ["order-4", "order-3"]
        assert _found(world, version="2.0.0") == []
        assert _found(world, name=NAME, statuses=(Status.FAILED,)) == []

    def test_spans_of_time_begin_at_their_first_instant_and_end_before_their_last(self) -> None:
        world = self._some()
        began = world.record("order-0").created_at
        assert _found(world, created_from=began + 5) == ["other", "order-6", "order-5"]
        assert _found(world, created_before=began + 2) == ["order-1", "order-0"]
        assert _found(world, created_from=began + 2, created_before=began + 4, limit=1) == ["order-3", "order-2"]
        turned = world.record("order-4").updated_at
        assert _found(world, updated_from=turned) == ["other", "order-4", "order-3"]
        assert _found(world, updated_before=began + 1) == ["order-0"]
        assert _found(world, updated_from=turned, statuses=(Status.RUNNING,)) == ["order-3"]

    def test_a_span_of_time_has_what_was_begun_in_it_whatever_moments_the_incarnations_say(self) -> None:
        world = self.world
        began: list[tuple[int, int, str]] = []
        for number, late_s in enumerate((0, 59, 61, 4_000, -59, -61, -4_000, 0)):
            now = world.clock.advance(20 * SECOND)
            incarnation = first_drawn_at(now - late_s * SECOND) + number
            world.start(f"late by {late_s} in {number}", incarnation=incarnation, name=NAME if number % 2 else "other")
            began.append((incarnation, now, f"late by {late_s} in {number}"))
        began.sort(reverse=True)
        moments = sorted(now for _, now, _ in began)
        for begin in (moments[0], moments[3], moments[7], moments[7] + 1):
            for end in (moments[0], moments[4], moments[7] + 1):
                wanted = [(number, name) for number, now, name in began if begin <= now < end]
                for limit in (2, 100):
                    assert _found(world, created_from=begin, created_before=end, limit=limit) == [
                        name for _, name in wanted
                    ]
                spans: dict[str, Any] = {"created_from": begin, "updated_before": end}
                assert _found(world, statuses=(Status.PENDING,), **spans) == [name for _, name in wanted]
                assert _found(world, name="other", **spans) == [name for _, name in wanted if int(name[-1]) % 2 == 0]
                assert _found(world, name="other", statuses=(Status.PENDING, Status.HELD), **spans) == [
                    name for _, name in wanted if int(name[-1]) % 2 == 0
                ]

    def test_a_family_is_found_by_its_root_and_children_by_their_parent(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("root", "neighbour"):
            worker.own(name)
        for parent, name in (("root", "left"), ("root", "right"), ("left", "below")):
            worker.run(parent, starts=(ChildStart(new=world.child(world.record(parent), name)),))
            worker.take(name)
            worker.run(name)
        worker.run("left", change=InstanceChange(status=Status.COMPLETED))
        assert _found(world, root="root") == ["below", "right", "left", "root"]
        assert _found(world, parent="root", limit=1) == ["right", "left"]
        assert _found(world, parent="root", statuses=(Status.RUNNING,)) == ["right"]
        assert _found(world, parent="below") == _found(world, parent="nobody") == []
        assert _found(world, roots_only=True) == ["neighbour", "root"]
        assert _found(world, roots_only=True, statuses=(Status.RUNNING,)) == ["neighbour", "root"]

    def test_the_child_of_a_replaced_parent_is_a_root_and_no_child_of_the_new_one(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("root")
        worker.run("root", starts=(ChildStart(new=world.child(world.record("root"), "child")),))
        worker.run("root", change=InstanceChange(status=Status.COMPLETED))
        world.client(StartInstance(new=world.new("root"), on_conflict="restart_if_closed"))
        assert _found(world, roots_only=True) == ["root", "child"]
        assert _found(world, parent="root") == []

    def test_attributes_are_compared_as_json(self) -> None:
        world = self._some()
        world.start("rich", attributes='{"text":"ä\'\\"%","one":1,"true":true,"half":0.5,"none":null,"a.b":2}'.encode())
        world.start("poor", attributes=b'{"text":"x"}')
        assert _found(world, attributes={"number": 3}) == ["order-3"]
        assert _found(world, attributes={"odd": True}, statuses=(Status.PENDING,)) == ["order-5", "order-1"]
        assert _found(world, attributes={"text": "ä'\"%", "half": 0.5, "a.b": 2}) == ["rich"]
        assert _found(world, attributes={"one": 1.0}) == ["rich"]
        assert _found(world, attributes={"true": 1}) == []
        assert _found(world, attributes={"one": True}) == []
        assert _found(world, attributes={"one": "1"}) == []
        assert _found(world, attributes={"missing": 1}) == []

    def test_a_key_that_is_none_is_refused(self) -> None:
        world = self._some()
        for after in ("", "nonsense", "1:2", "-1", "1.0", str(1 << 63), "1" * 5_000):
            assert "page key" in _complaint(world, after)


class Figures(Topic):
    """What is told of a store as a whole, of a family, and of the executions of an instance."""

    def test_instances_are_counted_by_name_and_status(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("a", "b", "c"):
            world.start(name, attributes=b'{"vip":true}' if name == "b" else None)
        world.start("other", name="other")
        worker.take("a")
        worker.run("a", change=InstanceChange(status=Status.COMPLETED))
        counts = [(each.name, each.status, each.count) for each in world.storage.count(Query(limit=1))]
        assert counts == [("other", Status.PENDING, 1), (NAME, Status.COMPLETED, 1), (NAME, Status.PENDING, 2)]
        [vips] = world.storage.count(Query(attributes={"vip": True}, after="1"))
        assert (vips.name, vips.count) == (NAME, 1)
        assert world.storage.count(Query(statuses=(Status.FAILED,))) == []
        assert world.storage.count(Query(parent="a")) == []

    def test_a_family_is_told_generation_by_generation(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("root")
        for parent, name in (("root", "left"), ("left", "below"), ("root", "right")):
            worker.run(parent, starts=(ChildStart(new=world.child(world.record(parent), name)),))
            worker.take(name)
            worker.run(name)
        family = [each.id for each in world.storage.family("root", 10)]
        assert family == ["root", "left", "right", "below"]
        assert world.storage.family("left", 10) == [world.record("left"), world.record("below")]
        assert [each.id for each in world.storage.family("root", 3)] == family[:3]
        assert world.storage.family("nobody", 10) == []

    def test_the_executions_of_an_instance_are_those_that_have_a_history(self) -> None:
        world = self.world
        worker = world.worker()
        incarnation = worker.own("order").incarnation
        worker.run("order", history=row(2, 4, data=b"12345"))
        size = sum(len(each.data) for each in world.storage.read_history(incarnation, 1))
        worker.run("order", change=InstanceChange(execution=2), next_start=b"next")
        [first] = world.storage.executions(incarnation)
        assert (first.execution, first.first_at, first.last_at, first.events) == (1, 1, 1, 5)
        assert first.size > size >= 5
        worker.take("order")
        worker.run("order")
        assert [each.execution for each in world.storage.executions(incarnation)] == [1, 2]
        assert world.storage.executions(4_711) == []

    def test_what_waits_is_told_with_its_age(self) -> None:
        world = self.world
        began = world.clock.now_us()
        world.start("ready", version="9.0.0")
        world.clock.advance(SECOND)
        worker = world.worker(activities=[])
        for name in ("busy", "held", "later"):
            worker.own(name)
        worker.run("busy", tasks=(task(3), task(4, local=True), task(5, name="other")), timers=((6, began),))
        worker.run("later", tasks=(task(7),), timers=((8, began + 60 * SECOND),))
        world.client(StartInstance(new=world.new("not yet", start_at=began + 60 * SECOND)))
        runner = world.worker("runner", orchestrations=[])
        runner.do(about(TaskRetry, runner.claim(tasks=1).tasks[0], attempt=2, delay_us=SECOND))
        worker.do(worker.hold("held"))
        now = world.clock.now_us()

        depths = world.storage.depths()

        assert (depths.now, depths.held, depths.held_since, depths.timers) == (now, 1, now, 2)
        assert (depths.ready, depths.ready_since, depths.messages) == (1, began, 2)
        assert [(each.name, each.waiting, each.delayed, each.running, each.waiting_since) for each in depths.tasks] == [
            ("other", 1, 0, 0, now),
            (CHARGE, 1, 1, 1, now),
        ]

    def test_in_an_empty_store_nothing_waits(self) -> None:
        depths = self.world.storage.depths()
        assert (depths.ready, depths.ready_since, depths.messages, depths.timers) == (0, None, 0, 0)
        assert (depths.held, depths.held_since, depths.tasks) == (0, None, ())

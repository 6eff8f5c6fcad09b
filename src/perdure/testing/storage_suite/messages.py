"""Messages come in the order in which they fall due, and none is lost."""

from perdure._types import Status
from perdure._work import APPLIED, Claim, ClaimedMessage, InstanceChange, InstanceRelease, OutMessage, Refusal
from perdure.storage.base import MESSAGES_MAX
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import SECOND, applied, bodies, ids, refused


class Messages(Topic):
    """What waits for an instance."""

    def test_messages_come_in_order_of_arrival(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        sent = [b"%d" % number for number in range(20)]
        for body in sent:
            world.deliver("order", body)
        claimed = worker.take("order")
        assert bodies(claimed) == sent
        assert len({message.seq for message in claimed.messages}) == 20

    def test_a_claim_shows_the_instance_as_it_is_now(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        worker.run("order", change=InstanceChange(custom_status=b"1"))
        world.deliver("order", b"news")
        claimed = worker.take("order")
        assert claimed.record == world.record("order")
        assert claimed.messages == (ClaimedMessage(seq=claimed.messages[0].seq, body=b"news"),)

    def test_instances_come_in_order_of_their_earliest_message(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("a", "b", "c"):
            worker.own(name)
        for name in ("c", "a", "b", "c"):
            world.deliver(name, b"news")
            world.clock.advance(1)
        assert ids(worker.claim()) == ["c", "a", "b"]

    def test_of_equally_early_instances_the_lower_incarnation_comes_first(self) -> None:
        world = self.world
        for incarnation in (30, 10, 20):
            world.start(f"order-{incarnation}", incarnation=incarnation)
        assert ids(world.worker().claim()) == ["order-10", "order-20", "order-30"]

    def test_a_limit_takes_the_earliest_and_says_that_there_are_more(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("a", "b", "c"):
            world.start(name)
            world.clock.advance(1)
        work = worker.claim(instances=2)
        assert (ids(work), work.more) == (["a", "b"], True)
        for name in ("a", "b"):
            worker.run(name)
        work = worker.claim(instances=2)
        assert (ids(work), work.more) == (["c"], False)

    def test_instances_that_are_owned_already_count_against_the_limit(self) -> None:
        world = self.world
        worker = world.worker()
        for name in ("a", "b"):
            world.start(name)
            world.clock.advance(1)
        assert ids(worker.claim(instances=1)) == ["a"]
        work = worker.claim(instances=1)
        assert (ids(work), work.more) == (["a"], True)

    def test_a_limit_of_nothing_only_says_whether_there_is_something(self) -> None:
        world = self.world
        worker = world.worker()
        assert worker.claim(instances=0).more is False
        world.start("order")
        work = worker.claim(instances=0)
        assert (ids(work), work.more) == ([], True)
        assert world.record("order").owner is None

    def test_one_instance_brings_a_thousand_messages_at_a_time(self) -> None:
        world = self.world
        worker = world.worker()
        sender = worker.own("sender")
        worker.own("order")
        total = MESSAGES_MAX + 5
        worker.run("sender", messages=tuple(OutMessage(to_id="order", body=b"%d" % number) for number in range(total)))
        work = worker.claim()
        assert (len(work.instances[0].messages), work.more) == (MESSAGES_MAX, True)
        assert sender.id not in ids(work)
        worker.run("order")
        work = worker.claim()
        assert bodies(work.instances[0]) == [b"%d" % number for number in range(MESSAGES_MAX, total)]
        assert work.more is False

    def test_a_turn_sends_by_id_and_by_incarnation(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("sender")
        receiver = worker.own("receiver")
        worker.run(
            "sender",
            messages=(
                OutMessage(to_id="receiver", body=b"by id"),
                OutMessage(to_incarnation=receiver.incarnation, body=b"by incarnation"),
            ),
        )
        assert bodies(worker.take("receiver")) == [b"by id", b"by incarnation"]

    def test_a_turn_may_send_to_its_own_instance(self) -> None:
        worker = self.world.worker()
        worker.own("order")
        worker.run("order", messages=(OutMessage(to_id="order", body=b"to myself"),))
        assert bodies(worker.take("order")) == [b"to myself"]

    def test_a_receiver_that_is_no_more_is_reported_and_delays_nobody(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("sender")
        gone = worker.own("closed")
        worker.own("receiver")
        worker.run("closed", change=InstanceChange(status=Status.CANCELLED))
        landed = worker.run(
            "sender",
            messages=(
                OutMessage(to_id="nobody", body=b"1"),
                OutMessage(to_id="closed", body=b"2"),
                OutMessage(to_incarnation=gone.incarnation, body=b"3"),
                OutMessage(to_incarnation=4_711, body=b"4"),
                OutMessage(to_id="receiver", body=b"5"),
            ),
        )
        assert landed.skipped == ("nobody", "closed", str(gone.incarnation), "4711")
        assert bodies(worker.take("receiver")) == [b"5"]

    def test_closing_drops_what_still_waits(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"too late")
        worker.run("order", consumed=(), change=InstanceChange(status=Status.TERMINATED))
        work = worker.claim()
        assert (ids(work), work.more, work.next_due) == ([], False, None)
        assert refused(world.deliver("order", b"later still")) is Refusal.CLOSED


class Control(Topic):
    """A control message reaches an instance that nobody here can run."""

    def test_it_needs_neither_name_nor_version(self) -> None:
        world = self.world
        stranger = world.worker(orchestrations=[])
        world.start("order")
        assert world.deliver("order", b"terminate", control=True) == APPLIED
        assert bodies(stranger.take("order")) == [b"terminate"]
        stranger.run("order", change=InstanceChange(status=Status.TERMINATED))
        assert world.record("order").status is Status.TERMINATED

    def test_it_reaches_held_and_suspended_instances(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("held")
        applied(worker.do(worker.hold("held")))
        worker.own("suspended")
        worker.run("suspended", change=InstanceChange(status=Status.SUSPENDED))
        world.deliver("suspended", b"news")
        assert ids(worker.claim()) == []
        for name in ("held", "suspended"):
            world.deliver(name, b"terminate", control=True)
        assert sorted(ids(worker.claim())) == ["held", "suspended"]

    def test_it_comes_alone_and_says_so_to_whoever_may_not_run_the_instance(self) -> None:
        # given more than a claim brings before the first control message, a timer, and another control message
        world = self.world
        worker = world.worker()
        sender = worker.own("sender")
        worker.own("order")
        many = tuple(OutMessage(to_id="order", body=b"news") for _ in range(MESSAGES_MAX))
        worker.run("order", change=InstanceChange(status=Status.SUSPENDED), timers=((2, world.storage.now()),))
        worker.run("sender", messages=(*many, OutMessage(to_incarnation=sender.incarnation, body=b"mine")))
        for body in (b"cancel", b"terminate"):
            world.deliver("order", body, control=True)
        # when it is claimed
        work = worker.claim()
        # then the two come alone, and nothing is left for another claim
        assert {each.record.id: (bodies(each), each.for_control) for each in work.instances} == {
            "order": ([b"cancel", b"terminate"], True),
            "sender": ([b"mine"], False),
        }
        assert work.more is False

    def test_it_is_one_message_of_many_to_whoever_may_run_the_instance(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        world.deliver("order", b"news")
        world.deliver("order", b"terminate", control=True)
        claimed = worker.take("order")
        assert (bodies(claimed), claimed.for_control) == ([b"news", b"terminate"], False)

    def test_a_rest_is_asked_for_before_the_claim_that_ends_it(self) -> None:
        world = self.world
        worker = world.worker()
        record = worker.own("order")
        world.deliver("order", b"news")
        applied(worker.do(InstanceRelease(incarnation=record.incarnation, delay_us=SECOND)))
        world.deliver("order", b"terminate", control=True)
        claimed = worker.take("order")
        assert (bodies(claimed), claimed.for_control) == ([b"terminate"], True)
        claimed = worker.take("order")
        assert (bodies(claimed), claimed.for_control) == ([b"news", b"terminate"], False)

    def test_of_many_a_claim_brings_a_thousand(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("sender")
        worker.own("order")
        worker.run("order", change=InstanceChange(status=Status.SUSPENDED))
        many = tuple(OutMessage(to_id="order", body=b"cancel", control=True) for _ in range(MESSAGES_MAX + 1))
        worker.run("sender", messages=many)
        work = worker.claim()
        assert (len(work.instances[0].messages), work.more) == (MESSAGES_MAX, True)

    def test_it_does_not_reach_another_workers_instance(self) -> None:
        world = self.world
        owner, other = world.worker("owner"), world.worker("other")
        owner.own("order")
        world.deliver("order", b"terminate", control=True)
        assert ids(other.claim()) == []
        assert ids(owner.claim()) == ["order"]

    def test_a_turn_may_send_one(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("parent")
        worker.own("child")
        worker.do(worker.hold("child"))
        worker.run("parent", messages=(OutMessage(to_id="child", body=b"terminate", control=True),))
        assert bodies(worker.take("child")) == [b"terminate"]

    def test_without_code_an_instance_is_not_handed_out_again(self) -> None:
        world = self.world
        stranger = world.worker(orchestrations=[])
        world.start("order")
        world.deliver("order", b"terminate", control=True)
        [control] = stranger.take("order").messages
        stranger.run("order", consumed=(control.seq,))
        world.clock.advance(SECOND)
        work = stranger.commit(claim=Claim(instances_max=9, tasks_max=9)).work
        assert work is not None
        assert (ids(work), work.next_due) == ([], None)

"""When an answer was lost: ask by token; and has anybody else been here?"""

from typing import TYPE_CHECKING

from perdure._types import Status
from perdure._work import APPLIED, Batch, InstanceChange, StartInstance, Turn
from perdure.testing.storage_suite.suite import Topic
from perdure.testing.storage_suite.world import task

if TYPE_CHECKING:
    from collections.abc import Callable


class Tokens(Topic):
    """The token of a worker's last commit."""

    def test_the_last_commit_is_known_by_its_token(self) -> None:
        world = self.world
        worker = world.worker()
        assert world.storage.applied(worker.number, b"first 16 bytes !") is False
        for token in (b"first 16 bytes !", b"other 16 bytes !"):
            batch = Batch(token=token, items=(StartInstance(new=world.new("order")),), worker=worker.number)
            world.storage.commit(batch)
            assert world.storage.applied(worker.number, token) is True
        assert world.storage.applied(worker.number, b"first 16 bytes !") is False

    def test_a_commit_of_nothing_or_of_refused_items_has_its_token_too(self) -> None:
        world = self.world
        worker = world.worker()
        worker.own("order")
        for items in ((), (worker.turn("order", base=7),)):
            token = world.token()
            world.storage.commit(Batch(token=token, items=items, worker=worker.number))
            assert world.storage.applied(worker.number, token) is True

    def test_a_commit_of_one_turn_has_its_token_too(self) -> None:
        world = self.world
        worker = world.worker()
        turns: list[Callable[[], Turn]] = [
            lambda: worker.first_turn(world.new("order"), written=2, tasks=(task(2, local=True),)),
            lambda: worker.turn("order", written=2, tasks=(task(4, local=True),), tasks_gone=(2,)),
            lambda: worker.turn("order", written=2, tasks_gone=(4,), change=InstanceChange(status=Status.COMPLETED)),
        ]
        tokens = [world.token()]
        world.storage.commit(Batch(token=tokens[0], items=(), worker=worker.number))
        for turn in turns:
            tokens.append(world.token())
            committed = world.storage.commit(Batch(token=tokens[-1], items=(turn(),), worker=worker.number))
            assert committed.outcomes == (APPLIED,)
            assert [world.storage.applied(worker.number, each) for each in tokens[-2:]] == [False, True]
        # One that writes its token makes all of them past ones.
        world.storage.commit(Batch(token=b"later 16 bytes !", items=(), worker=worker.number))
        assert world.storage.applied(worker.number, tokens[-1]) is False

    def test_tokens_belong_to_their_worker(self) -> None:
        world = self.world
        first, second = world.worker("first"), world.worker("second")
        world.storage.commit(Batch(token=b"first 16 bytes !", items=(), worker=first.number))
        assert world.storage.applied(second.number, b"first 16 bytes !") is False

    def test_of_a_worker_without_a_row_nothing_is_known(self) -> None:
        world = self.world
        worker = world.worker()
        world.storage.commit(Batch(token=b"first 16 bytes !", items=(), worker=worker.number))
        world.storage.unregister(worker.number)
        assert world.storage.applied(worker.number, b"first 16 bytes !") is None
        # What a client sent along has landed all the same.
        start = StartInstance(new=world.new("order"))
        world.storage.commit(Batch(token=b"other 16 bytes !", items=(start,), worker=worker.number))
        assert world.storage.applied(worker.number, b"other 16 bytes !") is None
        assert world.storage.get("order") is not None

    def test_other_calls_leave_the_token_alone(self) -> None:
        world = self.world
        worker = world.worker()
        world.storage.commit(Batch(token=b"first 16 bytes !", items=(), worker=worker.number))
        world.storage.heartbeat(worker.number)
        world.storage.reap(worker.number)
        world.start("order")
        assert world.storage.applied(worker.number, b"first 16 bytes !") is True


class Changes(Topic):
    """`changed` tells of others' commits; it may err to the side of yes."""

    def test_a_commit_of_another_handle_is_seen_once(self) -> None:
        world = self.world
        other = world.connect()
        other.changed()
        world.storage.changed()
        batch = Batch(token=world.token(), items=(StartInstance(new=world.new("order")),))
        assert other.commit(batch).outcomes == (APPLIED,)
        assert world.storage.changed() is True
        assert world.storage.changed() is False

    def test_nothing_has_changed_when_nothing_was_done(self) -> None:
        world = self.world
        world.start("order")
        world.storage.changed()
        assert world.storage.changed() is False
        world.storage.get("order")
        assert world.storage.changed() is False

    def test_own_commits_change_nothing(self) -> None:
        world = self.world
        worker = world.worker()
        world.storage.changed()
        worker.own("order")
        assert world.storage.changed() is False

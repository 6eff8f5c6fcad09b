"""The suite as a product: complete, and helpful to who uses it."""

from collections import Counter

import pytest

from perdure.storage.memory import MemoryStorage
from perdure.testing.storage_suite import StorageSuite
from perdure.testing.storage_suite.suite import Topic


def test_no_topic_hides_a_test_of_another():
    names = Counter(name for topic in StorageSuite.__bases__ for name in vars(topic) if not name.startswith("__"))
    assert [name for name, times in names.items() if times > 1] == []


def test_every_topic_is_in_the_suite():
    assert set(Topic.__subclasses__()) - {StorageSuite} == set(StorageSuite.__bases__)


def test_a_backend_that_says_not_how_to_make_a_store_is_told_so():
    class TestNothing(StorageSuite):
        pass

    nothing = TestNothing()
    with pytest.raises(NotImplementedError, match=r"TestNothing\.make"):
        nothing.test_an_empty_store_has_nothing_due()
    nothing.teardown_method()


def test_a_backend_with_one_handle_uses_it_for_all():
    class TestOne(StorageSuite):
        def make(self, clock):
            return MemoryStorage(clock)

    one = TestOne()
    one.test_of_a_hundred_starts_at_once_one_wins()
    assert one.world.connect() is one.world.storage
    one.teardown_method()

"""What an execution waits for is a mapping like a dict, small while it has one entry."""

import pytest

from perdure._core.waiting import Waiting


class Asked:
    def __init__(self, event_id):
        self.event_id = event_id


@pytest.mark.parametrize("ids", [[], [2], [2, 3], [5, 3, 4]])
def test_it_has_what_was_put_in_in_that_order(ids):
    entries = {event_id: Asked(event_id) for event_id in ids}
    waiting = Waiting()
    for event_id, ask in entries.items():
        waiting[event_id] = ask

    assert list(waiting.items()) == list(entries.items())
    assert len(waiting) == len(ids)
    assert [waiting.get(event_id) for event_id in (1, *ids)] == [None, *entries.values()]


@pytest.mark.parametrize("ids", [[], [2], [2, 3]])
def test_what_is_not_there_is_a_key_error_or_the_default(ids):
    waiting = Waiting()
    for event_id in ids:
        waiting[event_id] = Asked(event_id)

    with pytest.raises(KeyError):
        waiting[9]
    with pytest.raises(KeyError):
        waiting.pop(9)
    with pytest.raises(KeyError):
        del waiting[9]
    assert waiting.pop(9, "default") == "default"


def test_entries_come_and_go():
    waiting = Waiting()
    for event_id in (2, 3, 4):
        waiting[event_id] = Asked(event_id)
    for event_id in (3, 2, 4):
        assert waiting.pop(event_id).event_id == event_id
    assert not waiting
    waiting[5] = Asked(5)
    del waiting[5]
    assert list(waiting) == []
    waiting[6] = Asked(6)
    waiting.clear()
    assert len(waiting) == 0

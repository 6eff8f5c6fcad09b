"""Which shard has what, and what goes between them."""

import pytest

from perdure._types import slot_of
from perdure._work import ChildStart, NewInstance, OutMessage, Shard, shard_of, with_slot
from perdure._work.parcels import parcel_for, read_parcel
from perdure.errors import HistoryCorruptError


def test_slots_are_spread_evenly_and_every_id_has_one_shard():
    counts = [0] * 5
    for number in range(5_000):
        instance_id = f"order-{number}"
        places = [Shard(number=shard, count=5).far(instance_id) for shard in range(5)]
        assert places.count(None) == 1
        counts[places.index(None)] += 1
    assert min(counts) > 900


def test_an_incarnation_with_its_slot_says_which_shard_it_is_on():
    for number in range(200):
        instance_id = f"order-{number}"
        incarnation = with_slot((77 << 22) | number, slot_of(instance_id))
        assert incarnation >> 22 == 77
        assert shard_of(incarnation, 3) == Shard(number=0, count=3).of(instance_id)


def test_numbers_that_follow_each_other_stay_different_in_one_slot():
    drawn = range((77 << 22) | 1_000_000, (77 << 22) | 1_004_096)
    assert len({with_slot(number, 5) for number in drawn}) == len(drawn)


START = ChildStart(new=NewInstance(id="i", incarnation=1, name="n", start=b"\x00"), refused=b"\xff")
MESSAGE = OutMessage(body=b"\x00\xff", to_id="i", child_of=3, control=True)


def test_a_parcel_has_what_was_put_in():
    sent = parcel_for(2, START), parcel_for(2, MESSAGE)
    assert [each.shard for each in sent] == [2, 2]
    assert read_parcel(sent[0].body).start == START
    assert read_parcel(sent[1].body).message == MESSAGE


def test_a_parcel_that_was_changed_is_found():
    body = bytearray(parcel_for(2, MESSAGE).body)
    body[3] ^= 1
    with pytest.raises(HistoryCorruptError, match="a parcel"):
        read_parcel(bytes(body))

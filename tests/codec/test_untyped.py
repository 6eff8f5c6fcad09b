"""What has no annotation is written as its class says, and comes back as plain JSON."""

from collections import OrderedDict
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from perdure.codec import codec_for, decode_any, encode_any
from perdure.errors import PayloadError
from tests.codec.payloads import Card, Cat, Colour, Level, Line, Plain, Point, Transfer


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (None, b"null"),
        ([True, False, 1, 1.5, "a"], b'[true,false,1,1.5,"a"]'),
        ((1, (2,)), b"[1,[2]]"),
        ({"b": {3, 1, 2}, "a": frozenset("ba")}, b'{"b":[1,2,3],"a":["a","b"]}'),
        ({Text("k"): Text("v")}, b'{"k":"v"}'),
        ([Colour.RED, Level.HIGH, Plain.A], b'["red",10,"a"]'),
        ([UUID(int=1), Decimal("1.0")], b'["00000000-0000-0000-0000-000000000001","1.0"]'),
        ([datetime(2024, 1, 1, tzinfo=UTC), date(2024, 1, 1)], b'["2024-01-01T00:00:00Z","2024-01-01"]'),
        (b"\xff", b'"/w=="'),
        (Line("a", 1), b'{"sku":"a","count":1,"price":1.0}'),
        ([Point(1), Cat(9)], b'[[1,0],{"type":"Cat","lives":9}]'),
        ({Card("1").number: Transfer("x", {"s": {1}})}, b'{"1":{"iban":"x","details":{"s":[1]}}}'),
        ({"half": 0.5, "whole": 1}, b'{"half":0.5,"whole":1}'),
        ([float("1e300"), {"x": [1, 2.5, {3}]}], b'[1e300,{"x":[1,2.5,[3]]}]'),
    ],
)
def test_objects_are_written_as_their_classes_say(value, json):
    assert encode_any(value) == json
    assert codec_for(object).encode(value, what="it") == json


def test_a_dict_inside_that_keeps_an_order_of_its_own_is_written_in_it():
    moved = OrderedDict(a=1, b=2)
    moved.move_to_end("a")

    for annotation in (Any, dict):
        assert codec_for(annotation).encode({"moved": moved}) == b'{"moved":{"b":2,"a":1}}'


def test_what_one_side_sends_untyped_the_other_reads_by_its_annotation():
    sent = encode_any([Line("a", 1), Line("b", 2)])

    assert codec_for(list[Line]).decode(sent, what="it") == [Line("a", 1), Line("b", 2)]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [Line("a", "1")]}, r"expected int, not str, at \['a'\]\[0\]\.count"),
        ({"a": datetime.fromisoformat("2024-01-01")}, r"without a time zone.*at \['a'\]"),
        ([object()], r"a value of type object can't be JSON.*at \[0\]"),
        ({"a": {1: 2}}, r"use strings, or annotate the dict as dict\[int, \.\.\.\], at \['a'\]"),
        ({"a": [1, float("nan")]}, r"NaN and infinity.*at \['a'\]\[1\]"),
    ],
)
def test_what_can_not_be_json_is_refused_with_its_path(value, words):
    with pytest.raises(PayloadError, match=words):
        encode_any(value, what="the status")


def test_broken_json_is_refused():
    with pytest.raises(PayloadError, match="the event does not fit JSON: JSON is malformed"):
        decode_any(b"nope", what="the event")


def test_a_dict_of_anything_is_a_dict():
    with pytest.raises(PayloadError, match="expected dict"):
        codec_for(dict[str, Any]).encode([], what="it")

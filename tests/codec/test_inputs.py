"""Inputs are one JSON array, whose missing end takes the defaults."""

from datetime import UTC, datetime
from typing import Any

import pytest

from perdure._types import PAYLOAD_BYTES_MAX
from perdure.codec import InputsCodec
from perdure.errors import PayloadError
from tests.codec.payloads import Card, Line, Node, Transfer

WHAT = "activity shop::activity::charge"


@pytest.mark.parametrize(
    ("types", "inputs", "json"),
    [
        ((), (), b"[]"),
        ((int,), (1,), b"[1]"),
        ((list[int],), ([],), b"[[]]"),
        ((Line, str | None), (Line("a", 1), None), b'[{"sku":"a","count":1,"price":1.0},null]'),
        ((Card | Transfer, set[int], str), (Card("1"), {1}, "x"), b'[{"$type":"Card","number":"1"},[1],"x"]'),
    ],
)
def test_inputs_are_always_an_array(types, inputs, json):
    codec = InputsCodec(types, (), WHAT)

    assert codec.encode(inputs) == json
    assert codec.decode(json) == inputs


def test_long_inputs_of_any_kind_are_read():
    codec = InputsCodec((dict[str, Any], datetime), (), WHAT)
    inputs = ({"list": [{"n": n} for n in range(300)]}, datetime(2024, 1, 1, tzinfo=UTC))

    assert codec.decode(codec.encode(inputs)) == inputs
    assert InputsCodec((Any,), (), WHAT).decode(b"[%b]" % codec.encode(inputs)) == (
        [inputs[0], "2024-01-01T00:00:00Z"],
    )


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (str, "a\0b", "a NUL character"),
        (dict, {"a": "\ud800"}, "an unpaired surrogate"),
        (Any, {"a": [1.5, float("nan")]}, "NaN and infinity are no JSON"),
        (dict, {"a": {1: 2}}, "a key of type int"),
        (Node, Node(children=[Node(value=float("inf"))]), "NaN and infinity are no JSON"),
        (list[int], [10**5000], "an integer of more than 4300 digits"),
        (str, "x" * PAYLOAD_BYTES_MAX, "has 2097154 bytes of JSON"),
    ],
)
def test_an_only_input_is_held_to_every_rule(annotation, value, words):
    with pytest.raises(PayloadError, match=f"^input 1 of {WHAT} .*{words}"):
        InputsCodec((annotation,), (), WHAT).encode((value,))


@pytest.mark.parametrize("levels", [200, 201])
@pytest.mark.parametrize("annotation", [Any, list, Node])
def test_the_array_around_an_only_input_is_no_level_of_it(annotation, levels):
    value: Any = Node() if annotation is Node else []
    for _ in range((levels - 1) // 2 if annotation is Node else levels - 1):
        value = Node(children=[value]) if annotation is Node else [value]
    value = Node(value=[value]) if annotation is Node and levels % 2 else value
    codec = InputsCodec((annotation,), (), WHAT)

    if levels == 200:
        assert codec.decode(codec.encode((value,))) == (value,)
    else:
        with pytest.raises(PayloadError, match="nested deeper than 200 levels"):
            codec.encode((value,))


def test_missing_inputs_take_their_defaults():
    codec = InputsCodec((int, str, float), ("b", 1.5), WHAT)

    assert codec.encode((1,)) == b"[1]"
    assert codec.decode(b"[1]") == (1, "b", 1.5)
    assert codec.decode(memoryview(b'[1,"c"]')) == (1, "c", 1.5)
    assert codec.decode(b'[1,"c",2.5]') == (1, "c", 2.5)


@pytest.mark.parametrize(
    ("types", "defaults", "inputs", "words"),
    [
        ((), (), (1,), "takes 0 inputs, and 1 were given"),
        ((int,), (), (), "takes 1 input, and 0 were given"),
        ((int, int), (1,), (), "takes 1 to 2 inputs, and 0 were given"),
        ((int, int), (1,), (1, 2, 3), "takes 1 to 2 inputs, and 3 were given"),
    ],
)
def test_too_many_and_too_few_inputs_are_refused(types, defaults, inputs, words):
    codec = InputsCodec(types, defaults, WHAT)

    with pytest.raises(PayloadError, match=f"^{WHAT} {words}"):
        codec.encode(inputs)
    with pytest.raises(PayloadError, match="and its payload has"):
        codec.decode(str(list(inputs)).encode())


def test_the_input_that_does_not_fit_is_counted_from_one():
    codec = InputsCodec((int, Line), (), WHAT)

    with pytest.raises(
        PayloadError, match=rf"^input 2 of {WHAT} does not fit Line: expected int, not str, at \.count$"
    ):
        codec.encode((1, Line("a", "1")))
    with pytest.raises(PayloadError, match=f"^input 1 of {WHAT} does not fit int: Expected `int`, got `str`$"):
        codec.decode(b'["1",{"sku":"a","count":1}]')


@pytest.mark.parametrize(
    ("data", "words"),
    [(b'["soon"]', "Invalid RFC3339"), (b'["2024-01-01T00:00:00"]', "a datetime without a time zone")],
)
def test_an_input_that_is_checked_after_reading_is_counted_too(data, words):
    with pytest.raises(PayloadError, match=f"^input 1 of {WHAT} does not fit datetime: {words}"):
        InputsCodec((datetime,), (), WHAT).decode(data)


@pytest.mark.parametrize("data", [b"{}", b"1", b"[", b""])
def test_anything_but_an_array_is_refused(data):
    with pytest.raises(PayloadError, match=f"the inputs of {WHAT} are no JSON array"):
        InputsCodec((int,), (), WHAT).decode(data)

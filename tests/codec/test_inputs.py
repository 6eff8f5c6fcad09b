"""Inputs are one JSON array, whose missing end takes the defaults."""

from datetime import UTC, datetime
from typing import Any

import pytest

from perdure.codec import InputsCodec
from perdure.errors import PayloadError
from tests.codec.payloads import Card, Line, Transfer

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


@pytest.mark.parametrize("data", [b"{}", b"1", b"[", b""])
def test_anything_but_an_array_is_refused(data):
    with pytest.raises(PayloadError, match=f"the inputs of {WHAT} are no JSON array"):
        InputsCodec((int,), (), WHAT).decode(data)

"""The traps of JSON: refused on every store with the same words, whatever the value does to us."""

import json
import sys
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure._types import PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX
from perdure.codec import codec_for, decode_any, encode_any
from perdure.codec._depth import is_deeper
from perdure.errors import PayloadError, PayloadTooLargeError
from tests.codec.payloads import Card, Line, Node, Order, OrderId, Transfer


def nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


def chain(length: int) -> Node:
    node = Node()
    for _ in range(length - 1):
        node = Node(children=[node])
    return node


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("annotation", "make"),
    [
        (float, lambda number: number),
        (Any, lambda number: number),
        (Any, lambda number: {"a": [1.5, number]}),
        (dict, lambda number: {"a": [1.5, number]}),
        (list[float], lambda number: [1.5, number]),
        (list[float | None], lambda number: [None, number]),
        (Line, lambda number: Line("a", 1, number)),
        (list[Line], lambda number: [Line("a", 1, number)]),
        (dict[float, int], lambda number: {number: 1}),
        (Decimal, Decimal),
        (dict[str, Decimal], lambda number: {"a": Decimal(number)}),
        (set[float], lambda number: {number}),
    ],
)
def test_nan_and_infinity_are_refused(annotation, make, number):
    with pytest.raises(PayloadError, match="NaN and infinity are no JSON"):
        codec_for(annotation).encode(make(number), what="it")


@pytest.mark.parametrize(
    ("text", "words"), [("a\0b", "a NUL character"), ("a\ud800", r"unpaired surrogate \(U\+D800\)")]
)
@pytest.mark.parametrize(
    ("annotation", "make", "path"),
    [
        (str, str, ""),
        (Any, lambda text: [text], r"at \[0\]"),
        (Any, lambda text: {text: 1}, r"at \["),
        (dict[str, int], lambda text: {text: 1}, r"at \["),
        (Order, lambda text: Order(OrderId("o"), 1, note=text), r"at \.note"),
        (list[Line], lambda text: [Line("a", 1), Line(text, 1)], r"at \[1\]\.sku"),
        (set[str], lambda text: {text}, r"at \[...\]"),
        (Card | Transfer, Card, r"at \.number"),
    ],
)
def test_text_that_not_every_store_keeps_is_refused(annotation, make, path, text, words):
    with pytest.raises(PayloadError, match=f"{words}.*{path}"):
        codec_for(annotation).encode(make(text), what="it")


@pytest.mark.parametrize("text", ["\\u0000", "a\\\\u0000", "\x01\x1f\x7f", "\u2028\U0001f600", '"\\'])
def test_text_that_only_looks_dangerous_passes(text):
    assert decode_any(encode_any(text)) == text
    assert codec_for(str).decode(codec_for(str).encode(text, what="it"), what="it") == text


@pytest.mark.parametrize("annotation", [int, Any, list[int], dict[str, Any]])
def test_integers_beyond_64_bits_are_exact_up_to_4300_digits(annotation):
    wrap = {list[int]: lambda n: [n], dict[str, Any]: lambda n: {"n": n}}.get(annotation, lambda n: n)
    codec = codec_for(annotation)

    for number in (2**64, -(2**63) - 1, 10**4300 - 1):
        assert codec.decode(codec.encode(wrap(number), what="it"), what="it") == wrap(number)
    with pytest.raises(PayloadError, match="an integer of more than 4300 digits"):
        codec.encode(wrap(10**5000), what="it")


def test_an_integer_limit_of_the_interpreter_changes_nothing():
    before = sys.get_int_max_str_digits()
    try:
        sys.set_int_max_str_digits(0)
        for codec, value in ((codec_for(int), 10**5000), (codec_for(Any), {"n": 10**5000})):
            with pytest.raises(PayloadError, match="more than 4300 digits"):
                codec.encode(value, what="it")
        assert codec_for(str).encode("1" * 5000, what="it") == b'"' + b"1" * 5000 + b'"'
    finally:
        sys.set_int_max_str_digits(before)


def test_200_levels_pass_and_201_do_not():
    assert decode_any(encode_any(nested(PAYLOAD_DEPTH_MAX))) == nested(PAYLOAD_DEPTH_MAX)
    with pytest.raises(PayloadError, match="nested deeper than 200 levels"):
        encode_any(nested(PAYLOAD_DEPTH_MAX + 1))


def test_levels_are_counted_through_the_types_around():
    annotation = dict[str, list[Any]]

    assert codec_for(annotation).encode({"a": [nested(198)]}, what="it")
    with pytest.raises(PayloadError, match="nested deeper than 200 levels"):
        codec_for(annotation).encode({"a": [nested(199)]}, what="it")


def test_levels_are_counted_in_recursive_types():
    codec = codec_for(Node)

    assert codec.encode(chain(100), what="it")
    with pytest.raises(PayloadError, match="nested deeper than 200 levels"):
        codec.encode(chain(101), what="it")


def test_a_recursive_type_may_be_wide():
    forest = Node(children=[Node(value=[[]]) for _ in range(500)])
    codec = codec_for(Node)

    assert codec.decode(codec.encode(forest, what="it"), what="it") == forest


@dataclass
class Twice:
    shallow: Transfer
    deep: list[list[Transfer]]


def test_levels_are_counted_where_a_type_is_used_again_further_down():
    fits, does_not = Transfer("a", {"x": nested(195)}), Transfer("a", {"x": nested(196)})
    codec = codec_for(Twice)

    assert codec.encode(Twice(does_not, [[fits]]), what="it")
    with pytest.raises(PayloadError, match="nested deeper than 200 levels"):
        codec.encode(Twice(fits, [[does_not]]), what="it")


@pytest.mark.parametrize("levels", [1_000, 100_000])
def test_hopeless_nesting_is_refused_and_not_a_recursion_error(levels):
    with pytest.raises(PayloadError, match="nested"):
        encode_any(nested(levels))
    for codec in (codec_for(Any), codec_for(Node), codec_for(int)):
        with pytest.raises(PayloadError, match="nested deeper than 200 levels|Expected `(object|int)`, got `array`"):
            codec.decode(b"[" * levels + b"]" * levels, what="it")


brackets = st.recursive(
    st.sampled_from(["", "[", "]{", '"[', "\\", '\\"}', 1]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "[", '"]']), inner, max_size=3),
    max_leaves=30,
)


def levels_of(value: Any) -> int:
    if not isinstance(value, list | dict):
        return 0
    return 1 + max(map(levels_of, value.values() if isinstance(value, dict) else value), default=0)


@given(brackets, st.integers(0, 8))
def test_levels_are_counted_in_json_whatever_its_text_says(value, levels):
    assert is_deeper(encode_any(value), levels) == (levels_of(value) > levels)


def test_a_value_that_contains_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    node = Node()
    node.children.append(node)

    with pytest.raises(PayloadError, match="nested deeper"):
        encode_any(loop)
    with pytest.raises(PayloadError, match="nested deeper"):
        codec_for(Node).encode(node, what="it")


@pytest.mark.parametrize("annotation", [str, Any])
def test_the_size_limit_names_both_sizes(annotation):
    codec = codec_for(annotation)

    assert len(codec.encode("x" * (PAYLOAD_BYTES_MAX - 2), what="it")) == PAYLOAD_BYTES_MAX
    with pytest.raises(PayloadTooLargeError, match=r"it has 2097153 bytes of JSON, and at most 2097152") as caught:
        codec.encode("x" * (PAYLOAD_BYTES_MAX - 1), what="it")
    assert (caught.value.size_bytes, caught.value.limit_bytes) == (2097153, 2097152)


def test_keys_that_would_come_back_as_strings_are_refused():
    for key in (1, True, None, 1.5, (1, 2)):
        with pytest.raises(PayloadError, match=r"a key of type \w+, which would come back as a string"):
            encode_any({"a": {key: 1}})


def test_a_duplicate_key_takes_the_last_value():
    assert decode_any(b'{"a":1,"a":2}') == {"a": 2}


class Hostile:
    def __repr__(self):
        raise SystemExit

    __str__ = __repr__

    def __getattr__(self, name):
        raise RuntimeError(self)


class Unprintable(Exception):
    def __str__(self):
        raise ValueError


@dataclass
class Explosive:
    name: str

    def __getattribute__(self, name):
        if name == "name":
            raise Unprintable
        return super().__getattribute__(name)


@dataclass
class Picky:
    name: str

    def __post_init__(self):
        if self.name == "refused":
            raise KeyError(self.name)


@dataclass
class Bottomless:
    def __post_init__(self):
        self.__post_init__()


class Tricky(NamedTuple):
    x: int


@pytest.mark.parametrize(
    "annotation", [Any, int, str, list[int], Order, Card | Transfer, Order | None, set[int], Tricky]
)
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: {"a": value}])
def test_hostile_objects_raise_nothing_but_payload_errors(annotation, wrap):
    with pytest.raises(PayloadError):
        codec_for(annotation).encode(wrap(Hostile()), what="it")


def test_code_of_the_value_that_raises_is_a_payload_error():
    with pytest.raises(PayloadError, match="it does not fit Explosive: Unprintable"):
        codec_for(Explosive).encode(Explosive("x"), what="it")
    with pytest.raises(PayloadError, match="it does not fit Bottomless: it is nested too deeply"):
        codec_for(Bottomless).decode(b"{}", what="it")
    with pytest.raises(PayloadError, match="it does not fit Picky: KeyError: 'refused'"):
        codec_for(Picky).decode(b'{"name":"refused"}', what="it")


def test_what_is_written_is_json_for_everybody():
    value = {"text": "ä\u2028\x7f", "numbers": [0, -1, 1.5, 1e300, 2**70], "null": None}

    assert json.loads(encode_any(value)) == value

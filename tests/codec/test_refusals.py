"""A value that does not fit its annotation is refused at the call, with its path and both types, never with itself."""

import collections
import enum
import threading
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest

from perdure.codec import InputsCodec, codec_for
from perdure.errors import PayloadError
from tests.codec.payloads import Card, Cat, Closed, Colour, Dog, Line, Movie, Node, Order, OrderId, Point, Row, Transfer


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Moment(datetime):
    pass


class Nowhere(tzinfo):
    def utcoffset(self, _):
        return None


@dataclass
class Special(Card):
    pass


@dataclass(slots=True)
class Unfinished:
    name: str


def said(annotation: Any, value: Any) -> str:
    with pytest.raises(PayloadError) as caught:
        codec_for(annotation).encode(value, what="the input")
    with pytest.raises(PayloadError) as caught_as_only_input:
        InputsCodec((annotation,), what="it").encode((value,))
    assert str(caught_as_only_input.value) == str(caught.value).replace("the input", "input 1 of it", 1)
    return str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (int, True, "expected int, not bool"),
        (int, 1.0, "expected int, not float"),
        (int, "1", "expected int, not str"),
        (bool, 1, "expected bool, not int"),
        (float, True, "expected float, not bool"),
        (float, "1", "expected float, not str"),
        (float, Decimal(1), "expected float, not Decimal"),
        (str, b"x", "expected str, not bytes"),
        (str, UUID(int=1), "expected str, not UUID"),
        (str, datetime.now(UTC), "expected str, not datetime"),
        (bytes, bytearray(b"x"), "expected bytes, not bytearray"),
        (None, 0, "expected None, not int"),
        (Decimal, 1, "expected Decimal, not int"),
        (datetime, date(2024, 1, 1), "expected datetime, not date"),
        (date, datetime.now(UTC), "expected date, not datetime"),
        (time, "12:00", "expected time, not str"),
        (UUID, str(UUID(int=1)), "expected UUID, not str"),
        (Colour, "red", "expected Colour, not str"),
        (Literal["a", 1], True, "expected 'a' or 1, not bool"),
        (Literal["a", 1], "b", "expected 'a' or 1, not str"),
        (Literal["a", 1], [], "expected 'a' or 1, not list"),
        (list[int], (1, 2), "expected list[int], not tuple (it would come back as list"),
        (list[int], 5, "expected list[int], not int"),
        (tuple[int, ...], [1], "expected tuple[int, ...], not list (it would come back as tuple"),
        (set[int], [1], "expected set[int], not list (it would come back as set"),
        (tuple[int, str], [1, "a"], "expected tuple[int, str], not list"),
        (tuple[int, str], (1,), "expected a tuple of 2 items, not of 1"),
        (dict[str, int], [("a", 1)], "expected dict[str, int], not list"),
        (list[int], [1, 2, "x"], "expected int, not str, at [2]"),
        (set[int], {"x"}, "expected int, not str, at [...]"),
        (tuple[int, str], (1, 2), "expected str, not int, at [1]"),
        (dict[str, int], {"a": 1, "b": None}, "expected int, not None, at ['b']"),
        (dict[int, int], {"1": 1}, "expected int, not str, at ['1']"),
        (dict[str, int], {(1, 2): 1}, "expected str, not tuple, at [<tuple>]"),
        (dict[str, int], {"k" * 90: ""}, "expected int, not str, at ['" + "k" * 39 + "...]"),
        (Order, Card("1"), "expected Order, not Card"),
        (Card, Special("1"), "expected Card, not Special"),
        (Order, Order(OrderId("o"), "1"), "expected int, not str, at .cents"),
        (
            Order,
            Order(OrderId("o"), 1, [Line("a", 1), Line("b", 1, None)]),
            "expected float, not None, at .lines[1].price",
        ),
        (list[Line], [Line("a", 1), Card("1")], "expected Line, not Card, at [1]"),
        (Node, Node(children=[Node(children=[None])]), "expected Node, not None, at .children[0].children[0]"),
        (Point, (1, 2), "expected Point, not tuple"),
        (Point, Point("1"), "expected int, not str, at [0]"),
        (Movie, [], "expected Movie, not list"),
        (Movie, {"year": 1}, "the key 'title' of Movie is missing"),
        (Movie, {"title": "x", "yaer": 1}, "Movie has no such key, so it would be lost, at ['yaer']"),
        (Movie, {"title": "x", "year": "1"}, "expected int, not str, at ['year']"),
        (Cat | Dog, Card("1"), "expected Cat | Dog, not Card"),
        (Cat | Dog, Dog({1}), "expected str, not int, at .tricks[...]"),
        (Row, Row("k", "v"), "expected int, not str, at .value"),
        (int | None, "x", "expected int, not str"),
        (int | str | None, 1.5, "expected int | str | None, not float"),
        (Card | Transfer, None, "expected Card | Transfer, not None"),
        (Card | Transfer, Card(1), "expected str, not int, at .number"),
        (Order | None, Order(OrderId("o"), None), "expected int, not None, at .cents"),
        (Annotated[int, msgspec.Meta(ge=3)], 2, "Expected `int` >= 3"),
        (list[Annotated[str, msgspec.Meta(max_length=2)]], ["ab", "abc"], "Expected `str` of length <= 2, at [1]"),
        (msgspec.UnsetType, msgspec.UNSET, "TypeError: Encoding objects of type msgspec.UnsetType is unsupported"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(annotation, value, words):
    message = said(annotation, value)

    assert message.startswith(f"the input does not fit {codec_for(annotation).name}: ")
    assert words in message


def test_a_field_that_was_never_set_is_named():
    assert said(Unfinished, object.__new__(Unfinished)).endswith("the field is not set, at .name")


def test_a_long_path_is_cut_in_the_middle():
    deep = annotation = int
    value: Any = "x"
    for _ in range(30):
        annotation, value = list[annotation], [value]

    assert said(annotation, value).endswith("at " + "[0]" * 6 + "..." + "[0]" * 6)
    assert deep is int


@pytest.mark.parametrize("secret", ["hunter2", ["hunter2"], {"password": "hunter2"}])
def test_the_value_itself_is_never_shown(secret):
    assert "hunter2" not in said(int, secret)
    assert "hunter2" not in said(list[int] | None, secret)


@pytest.mark.parametrize(
    ("annotation", "value", "comes_back"),
    [
        (str, Text("x"), "x"),
        (str, Colour.RED, "red"),
        (int, Number(5), 5),
        (float, 3, 3.0),
        (Literal["a"], Text("a"), "a"),
        (tuple[Literal["a"], set[int]], ("a", {1}), ("a", {1})),
        (list[int], collections.UserList([1]).data, [1]),
        (Sequence[int], (1, 2), [1, 2]),
        (Collection[int], [1], [1]),
        (Mapping[str, int], collections.OrderedDict(a=1), {"a": 1}),
        (dict[str, int], collections.Counter("a"), {"a": 1}),
        (dict[str, int], {Text("a"): 1}, {"a": 1}),
        (set[int], frozenset({1}), {1}),
        (AbstractSet[int], {1}, {1}),
        (Movie, {Text("title"): "x"}, {"title": "x"}),
        (time, time(1, 2, tzinfo=timezone(timedelta(hours=1))), time(1, 2, tzinfo=timezone(timedelta(hours=1)))),
        (datetime, Moment(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)),
        (
            datetime,
            datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=28))),
            datetime(2023, 12, 31, 22, 59, 32, tzinfo=UTC),
        ),
    ],
)
def test_a_value_that_comes_back_equal_is_welcome(annotation, value, comes_back):
    codec = codec_for(annotation)

    assert codec.decode(codec.encode(value, what="it"), what="it") == comes_back


def test_a_datetime_that_would_lose_something_is_refused():
    class Precise(Moment):
        def __eq__(self, other):
            return self is other

        __hash__ = None

    assert "expected datetime, not Precise" in said(datetime, Precise(2024, 1, 1, tzinfo=UTC)).replace(
        "test_a_datetime_that_would_lose_something_is_refused.<locals>.", ""
    )


@pytest.mark.parametrize("naive", [datetime.fromisoformat("2024-01-01"), datetime(2024, 1, 1, tzinfo=Nowhere())])
def test_a_naive_datetime_is_refused_in_both_directions(naive):
    assert "without a time zone; pass an aware one" in said(datetime, naive)
    assert "without a time zone" in said(dict[str, list[datetime]], {"at": [naive]})
    with pytest.raises(PayloadError, match="without a time zone"):
        codec_for(datetime).decode(b'"2024-01-01T00:00:00"', what="it")


@pytest.mark.parametrize("zone", [Nowhere(), timezone(timedelta(seconds=61))])
def test_a_time_whose_zone_is_not_whole_minutes_is_refused(zone):
    assert "no fixed offset of whole minutes" in said(time, time(1, 2, tzinfo=zone))


def test_an_integer_that_no_float_holds_is_refused():
    assert "no float holds exactly; annotate it as int" in said(float, 2**53 + 1)
    assert "no float holds exactly" in said(float, 10**400)


@pytest.mark.parametrize(
    ("annotation", "data", "words"),
    [
        (int, b"", "Input data was truncated"),
        (int, b"{", "it does not fit int"),
        (int, b"NaN", "JSON is malformed"),
        (int, b"true", "Expected `int`, got `bool`"),
        (list[int], b'[1,"x"]', "Expected `int`, got `str`, at [1]"),
        (Order, b'{"id":"o"}', "missing required field `cents`"),
        (dict[str, Card | Transfer], b'{"a":{"$type":"Cash"}}', "no member 'Cash', at ['a'].$type"),
        (Card | Transfer, b'{"$type":1}', "no member 1"),
        (Card | Transfer, b'{"cash":1}', "it is none of Card, Transfer, but an object"),
        (Card | Transfer, b"1", "it is none of Card, Transfer, but a number"),
        (Card | Transfer, b" null", "it is none of Card, Transfer, but null"),
        (Card | Transfer, b'{"$type":"Card","number":1}', "Expected `str`, got `int`, at .number"),
        (Decimal, b'"NaN"', "NaN and infinity are no JSON"),
        (set[list[int]], b"[[1]]", "TypeError: unhashable type"),
        (int, b"9" * 5000, "out of range"),
    ],
)
def test_json_that_does_not_fit_is_refused_in_words(annotation, data, words):
    with pytest.raises(PayloadError, match="^it does not fit ") as caught:
        codec_for(annotation).decode(data, what="it")

    assert words in str(caught.value)


@pytest.mark.parametrize(
    "value", [threading.Lock(), lambda: None, (n for n in ()), object(), Special, collections, print]
)
def test_what_can_never_be_json_is_refused_by_its_type(value):
    assert f"a value of type {type(value).__name__} can't be JSON" in said(Any, {"a": value})


def test_an_enum_without_json_values_is_refused_where_nothing_is_annotated():
    class Odd(enum.Enum):
        PAIR = (1, 2)

    assert "can't be JSON" in said(Any, Odd.PAIR)


def test_unknown_fields_are_ignored_unless_the_struct_forbids_them():
    assert codec_for(Card).decode(b'{"number":"1","new":1}', what="it") == Card("1")
    with pytest.raises(PayloadError, match="unknown field"):
        codec_for(Closed).decode(b'{"a":1,"new":1}', what="it")

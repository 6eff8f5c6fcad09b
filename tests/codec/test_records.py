"""Dataclasses, structs, named tuples and TypedDicts in all their forms, read by msgspec and by us."""

from collections import namedtuple
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, NotRequired, Required, TypedDict, TypeVar

import msgspec
import pytest

from perdure.codec import codec_for
from perdure.errors import PayloadError
from tests.codec.payloads import Box, Card, Pair, Transfer

T = TypeVar("T")
N = TypeVar("N", bound=int)
C = TypeVar("C", int, str)
Payment = Card | Transfer  # msgspec can't read it, so that everything around it is read by us


@dataclass
class Order:
    kind: ClassVar[str] = "order"
    payment: Payment
    id: str = "o-1"
    tags: list[str] = field(default_factory=list)
    total: int = field(init=False)
    paid: bool = field(init=False, default=False)

    def __post_init__(self):
        if self.id == "refused":
            raise ValueError("no such order")
        self.total = len(self.id)


@dataclass(frozen=True, slots=True)
class Frozen:
    payment: Payment


@dataclass
class Empty:
    pass


class Struct(msgspec.Struct, rename="camel", tag="struct", tag_field="kind", omit_defaults=True):
    my_payment: Payment
    my_note: str | msgspec.UnsetType = msgspec.UNSET
    my_tags: list[str] = []


class Untagged(msgspec.Struct):
    payment: Payment


class Strict(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    payment: Payment
    limit: Annotated[int, msgspec.Meta(ge=0)] = 0

    def __post_init__(self):
        if self.limit > 10:
            raise ValueError("too high")


class Array(msgspec.Struct, array_like=True, tag=True):
    payment: Payment
    note: str = "?"


class BareArray(msgspec.Struct, array_like=True):
    payment: Payment
    tags: set[str] = set()


class Point(NamedTuple):
    payment: Payment
    x: int = 0


class Dict(TypedDict, total=False):
    payment: Required[Payment]
    note: str


class Parent(TypedDict, Generic[T]):
    first: T


class Child(Parent[list[T]], Generic[T]):
    second: NotRequired[T]


class GenericPoint(NamedTuple, Generic[T]):
    x: T


class Bounded(msgspec.Struct, Generic[N]):
    number: N


@dataclass
class Constrained(Generic[C]):
    value: C


@dataclass
class Plain(Pair[int]):
    third: str = ""


Old = namedtuple("Old", ["a", "b"], defaults=[None])  # noqa: PYI024 -- older code has no annotations


@dataclass
class Recursive:
    payment: Payment | None = None
    children: "list[Recursive]" = field(default_factory=list)
    by_name: "dict[str, Recursive]" = field(default_factory=dict)
    point: "RecursivePoint | None" = None


class RecursivePoint(NamedTuple):
    next: "RecursivePoint | None" = None
    payment: Payment | None = None


CARD = Card("1")
CARD_JSON = '{"$type":"Card","number":"1"}'


@pytest.mark.parametrize(
    ("annotation", "value", "json"),
    [
        (Order, Order(CARD), f'{{"payment":{CARD_JSON},"id":"o-1","tags":[],"total":3,"paid":false}}'),
        (Frozen, Frozen(CARD), f'{{"payment":{CARD_JSON}}}'),
        (Empty, Empty(), "{}"),
        (Struct, Struct(CARD, "n"), f'{{"kind":"struct","myPayment":{CARD_JSON},"myNote":"n","myTags":[]}}'),
        (Struct, Struct(CARD), f'{{"kind":"struct","myPayment":{CARD_JSON},"myTags":[]}}'),
        (Strict, Strict(payment=CARD), f'{{"payment":{CARD_JSON},"limit":0}}'),
        (Array, Array(CARD, "n"), f'["Array",{CARD_JSON},"n"]'),
        (BareArray, BareArray(CARD, {"b", "a"}), f'[{CARD_JSON},["a","b"]]'),
        (Point, Point(CARD), f"[{CARD_JSON},0]"),
        (Dict, {"payment": CARD}, f'{{"payment":{CARD_JSON}}}'),
        (Dict, {"note": "n", "payment": CARD}, f'{{"note":"n","payment":{CARD_JSON}}}'),
        (Parent[int], {"first": 1}, '{"first":1}'),
        (Child[int], {"first": [1], "second": 2}, '{"first":[1],"second":2}'),
        (Child[Payment], {"first": [CARD]}, f'{{"first":[{CARD_JSON}]}}'),
        (GenericPoint[Payment], GenericPoint(CARD), f"[{CARD_JSON}]"),
        (GenericPoint[int], GenericPoint(1), "[1]"),
        (Box[Payment], Box(CARD), f'{{"content":{CARD_JSON}}}'),
        (Box[list[Payment]], Box([CARD]), f'{{"content":[{CARD_JSON}]}}'),
        (Pair[Payment], Pair([CARD], CARD), f'{{"content":[{CARD_JSON}],"second":{CARD_JSON}}}'),
        (Plain, Plain([1], 2, "c"), '{"content":[1],"second":2,"third":"c"}'),
        (Box, Box({"a": [1]}), '{"content":{"a":[1]}}'),
        (Bounded, Bounded(1), '{"number":1}'),
        (Bounded[bool], Bounded(number=True), '{"number":true}'),
        (Constrained[str], Constrained("a"), '{"value":"a"}'),
        (Old, Old("a", [1]), '["a",[1]]'),
        (
            Recursive,
            Recursive(None, [Recursive(CARD)], {"a": Recursive()}, RecursivePoint(RecursivePoint(None, CARD))),
            None,
        ),
    ],
)
def test_every_form_of_record_comes_back_equal(annotation, value, json):
    data = codec_for(annotation).encode(value, what="it")
    back = codec_for(annotation).decode(data, what="it")

    assert json is None or data.decode() == json
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize(
    ("annotation", "json", "value"),
    [
        (Order, f'{{"payment":{CARD_JSON},"total":3}}', Order(CARD)),
        (Struct, f'{{"myPayment":{CARD_JSON},"new":1}}', Struct(CARD)),
        (Array, f'["Array",{CARD_JSON}]', Array(CARD)),
        (BareArray, f"[{CARD_JSON}]", BareArray(CARD)),
        (Point, f"[{CARD_JSON}]", Point(CARD)),
        (Point, f"[{CARD_JSON},1,2]", Point(CARD, 1)),
        (Dict, f'{{"payment":{CARD_JSON},"new":1}}', {"payment": CARD}),
    ],
)
def test_what_is_missing_takes_its_default_and_what_is_new_is_ignored(annotation, json, value):
    assert codec_for(annotation).decode(json.encode(), what="it") == value


@pytest.mark.parametrize(
    ("annotation", "json", "words"),
    [
        (Order, "{}", "the field 'payment' is missing"),
        (Order, f'{{"payment":{CARD_JSON},"id":"refused","total":1}}', "Order refuses it: no such order"),
        (Order, f'{{"payment":{CARD_JSON},"total":"x"}}', "Expected `int`, got `str`, at .total"),
        (Struct, f'{{"kind":"other","myPayment":{CARD_JSON}}}', "expected the tag 'struct', not 'other', at .kind"),
        (Strict, f'{{"payment":{CARD_JSON},"b":1,"a":2}}', "Strict has no field 'a'"),
        (Strict, f'{{"payment":{CARD_JSON},"limit":11}}', "Strict refuses it: too high"),
        (Strict, f'{{"payment":{CARD_JSON},"limit":-1}}', "Expected `int` >= 0, at .limit"),
        (Array, f'["Other",{CARD_JSON}]', "expected the tag 'Array', not 'Other'"),
        (Array, '["Array"]', "the field 'payment' is missing"),
        (Point, "[]", "expected an array of at least 1 items, not of 0"),
        (Point, "{}", "Expected `array`, got `object`"),
        (Dict, "{}", "the key 'payment' of Dict is missing"),
        (Dict, '{"payment":{"$type":"Cash"}}', "no member 'Cash', at ['payment'].$type"),
        (tuple[Payment, int], f"[{CARD_JSON}]", "expected an array of 2 items, not of 1"),
        (list[Payment], f"[{CARD_JSON},1]", "it is none of Card, Transfer, but a number, at [1]"),
    ],
)
def test_what_can_not_be_read_is_said_in_words(annotation, json, words):
    with pytest.raises(PayloadError) as caught:
        codec_for(annotation).decode(json.encode(), what="it")

    assert words in str(caught.value)


def test_bounds_are_checked_when_writing_too():
    with pytest.raises(PayloadError, match="Expected `int` >= 0"):
        codec_for(Strict).encode(Strict(payment=CARD, limit=-1), what="it")


def test_a_record_may_hold_anything_untyped():
    value: Any = Box({"set": {2, 1}, "card": CARD})

    assert codec_for(Box).encode(value, what="it") == b'{"content":{"set":[1,2],"card":{"number":"1"}}}'

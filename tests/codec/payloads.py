"""The types that the codec's tests share, of every supported kind, and strategies for their values."""

import enum
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, NewType, NotRequired, Required, TypedDict, TypeVar
from uuid import UUID

import msgspec
from hypothesis import strategies as st

T = TypeVar("T")
OrderId = NewType("OrderId", str)


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 10


class Plain(enum.Enum):
    A = "a"
    B = "b"


class Permission(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Line:
    sku: str
    count: int
    price: float = 1.0


@dataclass(frozen=True, slots=True)
class Order:
    id: OrderId
    cents: int
    lines: list[Line] = field(default_factory=list)
    note: str | None = None


@dataclass
class Card:
    number: str


@dataclass
class Transfer:
    iban: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass
class Node:
    value: Any = None
    children: list["Node"] = field(default_factory=list)


@dataclass
class Box(Generic[T]):
    content: T


@dataclass
class Pair(Box[list[T]], Generic[T]):
    second: T


class Point(NamedTuple):
    x: int
    y: int = 0


class Movie(TypedDict, total=False):
    title: Required[str]
    year: int


class Person(TypedDict):
    name: str
    nickname: NotRequired[str]


class Cat(msgspec.Struct, tag=True):
    lives: int


class Dog(msgspec.Struct, tag=True):
    tricks: set[str]


class Renamed(msgspec.Struct, rename="camel", omit_defaults=True):
    first_name: str
    last_name: str = "?"


class Row(msgspec.Struct, array_like=True, tag="row"):
    key: str
    value: int = 0


class Patch(msgspec.Struct):
    colour: str | msgspec.UnsetType | None = msgspec.UNSET


class Closed(msgspec.Struct, forbid_unknown_fields=True):
    a: int
    tags: set[str] = msgspec.field(default_factory=set)


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
integers = st.integers(-(10**40), 10**40)
floats = st.floats(allow_nan=False, allow_infinity=False)
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
first, last = datetime.fromisoformat("0001-01-03"), datetime.fromisoformat("9999-12-29")
datetimes = st.datetimes(first, last, timezones=st.one_of(st.just(UTC), zones))
decimals = st.decimals(allow_nan=False, allow_infinity=False)
json = st.recursive(
    st.none() | st.booleans() | integers | floats | text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)

lines = st.builds(Line, text, integers, floats)
orders = st.builds(Order, text.map(OrderId), integers, st.lists(lines, max_size=3), st.none() | text)
nodes = st.recursive(
    st.builds(Node, json), lambda inner: st.builds(Node, json, st.lists(inner, max_size=3)), max_leaves=8
)
payments = st.builds(Card, text) | st.builds(Transfer, text, st.dictionaries(text, json, max_size=3))

VALUES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, text),
    (int, integers),
    (bool, st.booleans()),
    (float, floats),
    (float, st.integers(-(2**53), 2**53)),
    (None, st.none()),
    (bytes, st.binary(max_size=40)),
    (bytearray, st.binary(max_size=40).map(bytearray)),
    (datetime, datetimes),
    (date, st.dates()),
    (time, st.times()),
    (timedelta, st.timedeltas()),
    (UUID, st.uuids()),
    (Decimal, decimals),
    (Any, json),
    (object, json),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Plain, st.sampled_from(Plain)),
    (Permission, st.sampled_from([Permission.READ, Permission.WRITE, Permission.READ | Permission.WRITE])),
    (Literal["a", 1, True] | None, st.sampled_from(["a", 1, True, None])),
    (OrderId, text),
    (list[int], st.lists(integers)),
    (list, json.filter(lambda value: isinstance(value, list))),
    (dict, st.dictionaries(text, json)),
    (tuple[int, ...], st.lists(integers).map(tuple)),
    (tuple[int, str], st.tuples(integers, text)),
    (tuple[()], st.just(())),
    (set[str], st.sets(text)),
    (frozenset[int], st.frozensets(integers)),
    (set[tuple[int, str]], st.sets(st.tuples(integers, text))),
    (dict[str, list[Decimal]], st.dictionaries(text, st.lists(decimals, max_size=3))),
    (dict[int, str], st.dictionaries(integers, text)),
    (dict[float, str], st.dictionaries(floats, text)),
    (dict[UUID, int], st.dictionaries(st.uuids(), integers)),
    (dict[date, int], st.dictionaries(st.dates(), integers)),
    (dict[Colour, int], st.dictionaries(st.sampled_from(Colour), integers)),
    (dict[Level, set[int]], st.dictionaries(st.sampled_from(Level), st.sets(integers))),
    (Line, lines),
    (Order, orders),
    (list[Line], st.lists(lines)),
    (Order | None, st.none() | orders),
    (int | str | None, integers | text | st.none()),
    (int | float | bool, integers | floats | st.booleans()),
    (str | UUID, text | st.uuids()),
    (str | Colour | datetime, text | st.sampled_from(Colour) | datetimes),
    (list[int] | set[int] | None, st.lists(integers) | st.sets(integers) | st.none()),
    (Card | Transfer, payments),
    (dict[str, list[Card | Transfer]], st.dictionaries(text, st.lists(payments, max_size=3))),
    (tuple[Card | Transfer, ...], st.lists(payments).map(tuple)),
    (tuple[Card | Transfer, int], st.tuples(payments, integers)),
    (Box[Card | Transfer], payments.map(Box)),
    (dict[str, Any] | Card, st.dictionaries(text | st.just("$type"), json) | st.builds(Card, text)),
    (Node, nodes),
    (Box[int], integers.map(Box)),
    (Pair[int], st.builds(Pair, st.lists(integers), integers)),
    (Point, st.builds(Point, integers, integers)),
    (Movie, st.fixed_dictionaries({"title": text}, optional={"year": integers})),
    (Person, st.fixed_dictionaries({"name": text}, optional={"nickname": text})),
    (Cat | Dog, st.builds(Cat, integers) | st.builds(Dog, st.sets(text))),
    (Renamed, st.builds(Renamed, text, text)),
    (Row, st.builds(Row, text, integers)),
    (Patch, st.builds(Patch, st.none() | text | st.just(msgspec.UNSET))),
]

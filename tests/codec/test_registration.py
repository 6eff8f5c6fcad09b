"""A type that can't be JSON is refused when its codec is made, with what to use instead."""

import asyncio
import enum
import subprocess
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import InitVar, dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar, Union
from uuid import UUID

import msgspec
import pytest

from perdure.codec import codec_for
from perdure.errors import RegistrationError
from tests.codec.payloads import Card, Colour, Line

T = TypeVar("T")

if TYPE_CHECKING:
    from elsewhere import Absent


class Fraction(enum.Enum):
    HALF = 0.5


class Nothing(enum.Enum):
    pass


class Truth(enum.Enum):
    YES = True


@dataclass
class WithInitVar:
    seed: InitVar[int]


@dataclass
class Unresolved:
    absent: "Absent"


class UnresolvedStruct(msgspec.Struct):
    absent: "Absent"


@dataclass
class Holder:
    queue: asyncio.Queue


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (complex, "complex can't be JSON; use a dataclass"),
        (Callable[[int], int], "Callable.* can't be JSON"),
        (Iterable[int], r"Iterable\[int\] can't be JSON"),
        (type, "type can't be JSON"),
        (Exception, "Exception can't be JSON"),
        (asyncio.Queue, "Queue can't be JSON"),
        (Holder, "Queue can't be JSON"),
        (list[dict[str, asyncio.Queue]], "Queue can't be JSON"),
        (msgspec.Raw, "Raw can't be JSON"),
        (5, "5 can't be JSON"),
        ("Order", "the type 'Order' is not resolved: import it"),
        (
            list["Order"],  # noqa: F821 -- that is the point
            "the type '?.*Order.* is not resolved",
        ),
        (Unresolved, "annotations of Unresolved can't be resolved .*Absent.*not under `if TYPE_CHECKING`"),
        (UnresolvedStruct, "annotations of UnresolvedStruct can't be resolved .*Absent"),
        (WithInitVar, "the InitVar 'seed' of dataclass WithInitVar is not stored"),
        (Fraction, "enum Fraction .* must be all strings or all integers"),
        (Nothing, "enum Nothing"),
        (Truth, "enum Truth"),
        (Literal[b"a"], "only strings, integers, booleans and None can be literals in JSON, not bytes"),
        (Literal[Colour.RED], "literals in JSON, not Colour"),
        (dict[bool, int], r"the keys of dict\[bool, int\] can't be told apart"),
        (dict[str | int, int], r"the keys of dict\[str | int, int\] can't be told apart"),
        (dict[str | None, int], "can't be told apart"),
        (dict[tuple[int, int], int], "or a list of pairs"),
        (dict[Card, int], "can't be told apart"),
        (dict[Literal["a", 1], int], "can't be told apart"),
        (
            Annotated[list[Card | Line], msgspec.Meta(max_length=3)],
            r"the bounds of list\[Card \| Line\] can't be checked",
        ),
        (Annotated[int, msgspec.Meta(min_length=3)], "int can't be JSON: .*min_length"),
    ],
)
def test_a_type_that_can_not_be_json_is_refused(annotation, words):
    with pytest.raises(RegistrationError, match=words):
        codec_for(annotation)


def test_a_type_nested_beyond_the_limit_is_refused():
    annotation = int
    for _ in range(201):
        annotation = list[annotation]

    with pytest.raises(RegistrationError, match="nested deeper than 200 levels"):
        codec_for(annotation)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Annotated[int, ["not hashable"]], 1),
        (Annotated[list[int], "a comment"], [1]),
        (Final[int], 1),
        (TypeVar("T"), {"a": 1}),
        (TypeVar("T", bound=Card), Card("1")),
        (TypeVar("T", int, str), "a"),
        (Union[int, None], None),  # noqa: UP007 -- older code is written so
        (dict[Literal["a", "b"], int], {"a": 1}),
        (dict[Any, int], {"a": 1}),
        (list[Any], [1, [2]]),
        (tuple, (1, 2)),
        (tuple[Any, ...], (1, 2)),
        (UUID | None, UUID(int=1)),
    ],
)
def test_every_spelling_of_a_type_is_understood(annotation, value):
    codec = codec_for(annotation)

    assert codec.decode(codec.encode(value, what="it"), what="it") == value


@pytest.mark.skipif(sys.version_info < (3, 12), reason="type aliases are new in Python 3.12")
def test_type_aliases_are_followed():
    numbers = typing.TypeAliasType("numbers", list[int])
    pair = typing.TypeAliasType("pair", tuple[T, T], type_params=(T,))
    record = make_dataclass("Record", [("numbers", numbers), ("pair", pair[str])])

    assert codec_for(numbers).encode([1], what="it") == b"[1]"
    assert codec_for(pair[str]).encode(("a", "b"), what="it") == b'["a","b"]'
    assert codec_for(dict[str, numbers]).decode(b'{"a":[1]}', what="it") == {"a": [1]}
    assert codec_for(record).decode(b'{"numbers":[1],"pair":["a","b"]}', what="it") == record([1], ("a", "b"))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement is new in Python 3.12")
def test_a_recursive_type_alias_is_refused():
    code = "from perdure.codec import codec_for\ntype Endless = list[Endless] | int\ncodec_for(Endless)"

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)

    assert "RegistrationError: the type alias Endless is recursive" in result.stderr

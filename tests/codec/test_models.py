"""Pydantic models write and validate themselves, strictly and in one order."""

import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

import pydantic
import pytest
from pydantic import BaseModel, Field

from perdure.codec import codec_for, decode_any, encode_any
from perdure.errors import PayloadError

T = TypeVar("T")


class Item(BaseModel):
    sku: str
    tags: set[str] = set()
    pair: tuple[set[int], float] = (set(), 0.0)
    groups: dict[str, frozenset[str]] = {}
    nested: "Item | None" = None


class Aliased(BaseModel):
    customer_id: UUID = Field(alias="customerId")
    at: datetime = datetime(2024, 1, 1, tzinfo=UTC)


class Bounded(BaseModel):
    cents: int = Field(ge=0)
    password: str = "hunter2"  # noqa: S105 -- it must not be shown


class Page(BaseModel, Generic[T]):
    items: list[T]


class Forgetful(BaseModel):
    name: str = Field(exclude=True)


class Unwritable(BaseModel):
    model_config = {"arbitrary_types_allowed": True}

    what: object


class Special(Item):
    pass


@pydantic.dataclasses.dataclass
class Address:
    street: str


@dataclass
class Order:
    item: Item
    lines: dict[str, Item | Bounded]
    address: Address | None = None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Item, Item(sku="a", tags={"x", "y"}, pair=({2, 1}, 1.5), groups={"g": frozenset("cab")})),
        (Item, Item(sku="a", nested=Item(sku="b", tags={"z"}))),
        (Aliased, Aliased(customerId=UUID(int=1))),
        (Bounded | None, None),
        (Bounded | None, Bounded(cents=1)),
        (Item | Bounded, Bounded(cents=1)),
        (list[Item], [Item(sku="a")]),
        (Page[int], Page[int](items=[1])),
        (Page[Item], Page[Item](items=[Item(sku="a")])),
        (Address, Address("x")),
        (Order, Order(Item(sku="a"), {"i": Item(sku="b"), "b": Bounded(cents=1)}, Address("x"))),
    ],
)
def test_a_model_comes_back_equal(annotation, value):
    codec = codec_for(annotation)
    data = codec.encode(value, what="it")

    assert codec.decode(data, what="it") == value
    assert codec.encode(codec.decode(data, what="it"), what="it") == data


def test_sets_in_models_are_ordered():
    item = Item(sku="a", tags=set("dbca"), pair=({3, 1, 2}, 0), groups={"g": frozenset("cab")})

    assert decode_any(encode_any(item)) == {
        "sku": "a",
        "tags": ["a", "b", "c", "d"],
        "pair": [[1, 2, 3], 0.0],
        "groups": {"g": ["a", "b", "c"]},
        "nested": None,
    }


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (Item, {"sku": "a"}, "expected Item, not dict"),
        (Item, Special(sku="a"), "expected Item, not Special"),
        (Item, Item(sku="a", pair=(set(), float("nan"))), "NaN and infinity are no JSON"),
        (
            Item,
            Item(sku="a\0"),
            "a NUL character in a text, which not every store keeps; remove it or pass bytes, at ['sku']",
        ),
        (Forgetful, Forgetful(name="x"), "Forgetful refuses it: Field required (at name)"),
        (Bounded, Bounded.model_construct(cents=-1), "Bounded refuses it: Input should be greater than or equal to 0"),
        (Unwritable, Unwritable(what=print), "Unwritable can't be written as JSON: PydanticSerializationError"),
        (Any, [Unwritable(what=print)], "Unwritable can't be written as JSON: PydanticSerializationError"),
    ],
)
def test_a_model_that_can_not_come_back_is_refused(annotation, value, words):
    with pytest.raises(PayloadError) as caught:
        codec_for(annotation).encode(value, what="it")

    assert words in str(caught.value)


def test_pydantic_is_not_imported_for_those_who_do_not_use_it():
    code = (
        "import sys; from perdure.codec import codec_for; codec_for(dict[str, int]); print('pydantic' in sys.modules)"
    )

    result = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert result.stdout == "False\n"


def test_the_input_is_not_shown_when_a_model_refuses_it():
    with pytest.raises(PayloadError, match=r"Input should be a valid integer.*\(at cents\)") as caught:
        codec_for(Bounded).decode(b'{"cents":"hunter3"}', what="it")

    assert "hunter" not in str(caught.value)

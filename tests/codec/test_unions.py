"""Unions: written plainly where JSON tells the members apart, with a tag where it doesn't."""

from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any, Generic, Literal, TypedDict, TypeVar, Union
from uuid import UUID

import pytest
from pydantic import BaseModel, RootModel

from perdure.codec import codec_for
from perdure.errors import PayloadError, RegistrationError
from tests.codec.payloads import Box, Card, Cat, Colour, Dog, Line, Point, Row, Transfer

T = TypeVar("T")
Choice = TypeVar("Choice", int, str)
EitherColour = Union[Choice, Colour]  # noqa: UP007 -- a type variable knows no `|` on Python 3.11
EitherText = Union[Choice, str, None]  # noqa: UP007 -- the same


@dataclass
class Tagged:
    tag: Card | Transfer
    card: Card | None = None


class Settings(TypedDict):
    theme: str


class Invoice(BaseModel):
    cents: int


class Names(RootModel[list[str]]):
    pass


class Reference(TypedDict("Reference", {"$type": str})):
    pass


def written(annotation: Any, value: Any) -> str:
    return codec_for(annotation).encode(value, what="it").decode()


@pytest.mark.parametrize(
    ("annotation", "value", "json"),
    [
        (Card | None, Card("1"), '{"number":"1"}'),
        (Card | list[int] | str | None, Card("1"), '{"number":"1"}'),
        (Cat | Dog | None, Cat(9), '{"type":"Cat","lives":9}'),
        (Card | Transfer, Card("1"), '{"$type":"Card","number":"1"}'),
        (Card | Transfer | None, None, "null"),
        (str | UUID, "x", '"x"'),
        (str | UUID, UUID(int=1), '{"$type":"UUID","$value":"00000000-0000-0000-0000-000000000001"}'),
        (str | Colour, Colour.RED, '{"$type":"Colour","$value":"red"}'),
        (str | Colour, "red", '"red"'),
        (str | Decimal, Decimal("1.0"), '{"$type":"Decimal","$value":"1.0"}'),
        (str | time, time(1), '{"$type":"time","$value":"01:00:00"}'),
        (Literal["a"] | UUID, "a", '"a"'),
        (EitherColour, Colour.RED, '{"$type":"Colour","$value":"red"}'),
        (EitherColour, 5, "5"),
        (EitherText, "a", '"a"'),
        (tuple[int, int] | list[int], (1, 2), '{"$type":"tuple[int, int]","$value":[1,2]}'),
        (str | datetime, datetime(2024, 1, 1, tzinfo=UTC), '{"$type":"datetime","$value":"2024-01-01T00:00:00Z"}'),
        (list[int] | tuple[str, ...], ("a",), '{"$type":"tuple[str, ...]","$value":["a"]}'),
        (list[int] | Point | Row, Point(1), '{"$type":"Point","$value":[1,0]}'),
        (list[int] | Point | Row, Row("k", 2), '{"$type":"Row","$value":["row","k",2]}'),
        (dict[str, int] | Card, {"$type": 1}, '{"$type":"dict[str, int]","$value":{"$type":1}}'),
        (Card | Settings, {"theme": "dark"}, '{"$type":"Settings","theme":"dark"}'),
        (Card | Reference, {"$type": "x"}, '{"$type":"Reference","$value":{"$type":"x"}}'),
        (Card | Invoice, Invoice(cents=5), '{"$type":"Invoice","cents":5}'),
        (Card | Names, Names(["a"]), '{"$type":"Names","$value":["a"]}'),
        (Box[int] | Box[str], Box("a"), '{"$type":"Box[str]","content":"a"}'),
        (Literal["a", 1] | UUID, 1, "1"),
        (Literal["a", 1] | UUID, UUID(int=1), '{"$type":"UUID","$value":"00000000-0000-0000-0000-000000000001"}'),
        (Tagged | None, Tagged(Card("1")), '{"tag":{"$type":"Card","number":"1"},"card":null}'),
        (list[Card | Transfer] | None, [Card("1")], '[{"$type":"Card","number":"1"}]'),
    ],
)
def test_a_tag_is_written_where_nothing_else_tells(annotation, value, json):
    assert written(annotation, value) == json
    assert codec_for(annotation).decode(json.encode(), what="it") == value


def test_a_payload_from_before_the_union_is_still_read():
    assert codec_for(Card | Transfer).decode(b'{"iban":"DE1"}', what="it") == Transfer("DE1")
    assert codec_for(Transfer).decode(b'{"$type":"Transfer","iban":"DE1"}', what="it") == Transfer("DE1")
    assert codec_for(int | Card | Transfer).decode(b' {"number":"1"}', what="it") == Card("1")
    assert codec_for(list[int] | tuple[str, ...]).decode(b'["a"]', what="it") == ("a",)


def test_untagged_text_is_text_even_where_it_looks_like_another_member():
    text = str(UUID(int=1))

    assert codec_for(UUID | str).decode(codec_for(UUID | str).encode(text, what="it"), what="it") == text


def test_the_member_that_a_value_claims_explains_what_is_wrong():
    with pytest.raises(PayloadError, match=r"expected str, not int, at \.details\['a'\]"):
        codec_for(Card | Box[str] | TransferOf[str]).encode(TransferOf("DE1", {"a": 1}), what="it")


@dataclass
class TransferOf(Generic[T]):
    iban: str
    details: dict[str, T]


def test_two_members_of_one_name_are_refused_when_the_codec_is_made():
    one, two = (dataclass(type("Card", (), {"__annotations__": {"number": int}})) for _ in range(2))

    with pytest.raises(RegistrationError, match="two members of the union have the same name"):
        codec_for(one | two)


def test_any_in_a_union_is_any():
    assert written(Card | Any, Line("a", 1)) == '{"sku":"a","count":1,"price":1.0}'

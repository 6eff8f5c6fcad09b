"""`assert_round_trip`: a registry's payloads are tried with examples that nobody had to write."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec
import pytest
from pydantic import BaseModel, Field, RootModel

from perdure import ExternalEvent, Key, Query, Registry, Update, activity, orchestration
from perdure._context import ActivityContext, OrchestrationContext
from perdure.testing.roundtrip import assert_round_trip
from tests.codec import payloads
from tests.codec.payloads import Card, Node, Transfer

T = TypeVar("T")


@dataclass(eq=False)
class Identity:
    name: str


@dataclass
class Restless:
    count: int

    def __post_init__(self):
        self.count += 1


@dataclass
class Iban:
    text: str

    def __post_init__(self):
        if not self.text.startswith("DE"):
            raise ValueError("no IBAN")


@dataclass
class Endless:
    next: "Endless"


@dataclass
class Parent:
    name: str
    parent: "Parent | None" = None
    endless: "Endless | None" = None
    built: int = field(init=False, default=0)
    never: "list[Endless]" = field(default_factory=list)
    by_name: "dict[str, Endless]" = field(default_factory=dict)


@dataclass
class Account:
    name: str
    iban: Iban = field(default_factory=lambda: Iban("DE02"))


@dataclass
class Forgetful:
    name: str

    def __eq__(self, other):
        return False

    __hash__ = None

    def __repr__(self):
        raise ValueError


class Invoice(BaseModel):
    cents: int
    customer: str = Field(alias="customerName")
    note: str = ""


class Names(RootModel[list[str]]):
    pass


class Positive(BaseModel):
    cents: int = Field(gt=10**9)


class Odd(BaseModel):
    model_config = {"arbitrary_types_allowed": True}

    call: Callable[[], int]


class Bounded(NamedTuple):
    count: Annotated[int, msgspec.Meta(ge=5)]
    words: Annotated[list[str], msgspec.Meta(min_length=1)]


def registry_of(annotation: Any) -> Registry:
    async def charge(ctx: ActivityContext, order: Any, count: int = 1) -> None: ...

    async def checkout(ctx: OrchestrationContext) -> Any: ...

    charge.__annotations__["order"] = annotation
    checkout.__annotations__["return"] = annotation
    checks = orchestration(name="shop::orchestration::checkout", version="2.0.0")(checkout)
    return Registry(activity(name="shop::activity::charge", aliases=["shop::activity::pay"])(charge), checks)


@pytest.mark.parametrize(
    "annotation",
    [
        *(annotation for annotation, _ in payloads.VALUES),
        Parent,
        Account,
        Bounded,
        Invoice,
        Names,
        list[Card | Transfer] | None,
        dict[str, Node],
        tuple[Literal["a"], ...],
    ],
    ids=str,
)
def test_every_supported_type_round_trips(annotation):
    assert_round_trip(registry_of(annotation))


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Identity, "Identity: Identity.* came back as Identity.*, which is not equal; does its class define __eq__"),
        (Forgetful, "Forgetful: a .*Forgetful came back as a .*Forgetful, which is not equal"),
        (Restless, r"Restless: Restless\(count=\d\) came back as Restless"),
        (Iban, r"Iban: no example could be made \(Iban refuses \{'text': ''\}: no IBAN\); pass examples="),
        (Positive, r"no example could be made \(Positive refuses .*; pass examples="),
        (Odd, r"no example could be made \(Callable.* can't be JSON"),
        (Endless, r"Endless: no example could be made \(Endless contains itself without end\)"),
        (Annotated[int, msgspec.Meta(ge=1000, le=2000)], "no example of int is within its bounds"),
    ],
)
def test_what_does_not_is_named(annotation, words):
    with pytest.raises(AssertionError, match=words) as caught:
        assert_round_trip(registry_of(annotation))

    first, *failures = str(caught.value).splitlines()
    assert first == "these payloads do not round-trip:"
    assert [failure.split(": ")[0] for failure in failures] == [
        "- input order of activity shop::activity::charge",
        "- result of orchestration shop::orchestration::checkout 2.0.0",
    ]


def test_users_give_examples_where_none_can_be_made():
    assert_round_trip(registry_of(list[Iban] | None), examples={Iban: [Iban("DE02")]})


def test_an_example_that_does_not_fit_is_named():
    with pytest.raises(AssertionError, match="expected str, not int, at .number"):
        assert_round_trip(registry_of(Card), examples={Card: [Card(5)]})


def test_a_value_that_changes_when_it_is_read_is_named():
    @dataclass(eq=False)
    class Sneaky(Generic[T]):
        values: list[int]

        def __eq__(self, other):
            return isinstance(other, Sneaky)

        __hash__ = None

        def __post_init__(self):
            self.values = [*self.values, 1]

    with pytest.raises(AssertionError, match="changes each time that it is read: does __post_init__"):
        assert_round_trip(registry_of(Sneaky[int]))


def test_events_and_types_that_no_definition_has_are_checked_too():
    assert_round_trip(registry_of(Card), ExternalEvent[Card]("paid"), Transfer, list[int] | None)

    with pytest.raises(AssertionError, match=r"external event 'met': Identity: .*does its class define __eq__"):
        assert_round_trip(registry_of(Card), ExternalEvent[Identity]("met"))
    with pytest.raises(AssertionError, match=r"given: Identity: .*does its class define __eq__"):
        assert_round_trip(registry_of(Card), Identity)


def test_keys_queries_and_updates_are_checked_too():
    fine = (Key[int]("count"), Query[None, str]("name"), Update[Card, bool]("pay"))
    assert_round_trip(Registry(), *fine)
    broken = (Key[Identity]("key"), Query[Identity, int]("query"), Update[int, Identity]("update"))

    with pytest.raises(AssertionError) as failure:
        assert_round_trip(Registry(), *broken)

    for what in ("key 'key'", "value of Query('query')", "answer of Update('update')"):
        assert f"- {what}: " in str(failure.value)
    assert str(failure.value).count("\n- ") == 3


def test_long_values_are_cut():
    with pytest.raises(AssertionError, match=r"Identity\(name='x{180,}\.\.\. came back") as caught:
        assert_round_trip(registry_of(Named), examples={Named: [Named("x" * 999)]})

    assert len(str(caught.value)) < 1200


@dataclass
class Named:
    name: str

    def __eq__(self, other):
        return False

    __hash__ = None

    def __repr__(self):
        return f"Identity(name={self.name!r})"

"""For users' tests: what a registry takes and returns, and what else is named, comes back from its JSON as it was."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from itertools import chain, islice
from types import NoneType
from typing import Any

import msgspec

from perdure._context import ExternalEvent, Key, Query, Update
from perdure._definitions import Activity, Orchestration
from perdure._registry import Registry
from perdure.codec import TypeCodec, codec_for
from perdure.codec._containers import DictShape, ItemsShape, TupleShape
from perdure.codec._models import ModelShape
from perdure.codec._records import Field, NamedTupleShape, RecordShape, TypedDictShape
from perdure.codec._shapes import (
    DatetimeShape,
    DecimalShape,
    EnumShape,
    ExactShape,
    FloatShape,
    IntShape,
    LiteralShape,
    Shape,
    StrShape,
    TimeShape,
)
from perdure.codec._unions import UnionShape
from perdure.codec._untyped import UntypedShape
from perdure.errors import PayloadError, RegistrationError

EXAMPLES_MAX = 6
NESTING_MAX = 2
VALUE_CHARS_SHOWN_MAX = 200

_EXACT: dict[Any, list[Any]] = {
    NoneType: [None],
    bool: [True, False],
    bytes: [b"", b"\x00\xff"],
    bytearray: [bytearray(b"\x00\xff")],
    date: [date(2024, 2, 29)],
    timedelta: [timedelta(0), timedelta(days=-1, microseconds=1)],
    msgspec.UnsetType: [msgspec.UNSET],
}


def assert_round_trip(registry: Registry, *others: Any, examples: Mapping[Any, Sequence[Any]] | None = None) -> None:
    """Check that every input and result of every definition comes back equal from its JSON.

    Example values are made from the annotations, always the same ones. Where a class refuses them (a constraint, a
    check in `__post_init__`), or where they would prove little, give your own.

    Args:
        registry: The registry to check.
        others: What no definition has as an input or result: external events, queries, updates, keys of the KV store,
            types of custom statuses.
        examples: Values to use for a type, wherever it occurs: `{Order: [Order("o-1", 4200)]}`.

    Raises:
        AssertionError: Some types don't come back equal, or no example of them could be made; it names the definition,
            the input, and the type of each.

    >>> def test_payloads():
    ...     assert_round_trip(registry, PAID, Progress, examples={Iban: [Iban("DE02120300000000202051")]})
    """
    maker = _ExampleMaker(examples or {})
    failures = []
    for what, annotation in (*_payloads(registry), *chain.from_iterable(map(_named, others))):
        failure = _failure(annotation, maker)
        if failure:
            failures.append(f"{what}: {failure}")
    if failures:
        raise AssertionError("these payloads do not round-trip:\n- " + "\n- ".join(failures))


class _NoExampleError(Exception):
    """No value of a type could be made from its annotation."""


class _ExampleMaker:
    """Makes a few values of any shape."""

    def __init__(self, given: Mapping[Any, Sequence[Any]]) -> None:
        self._given = given
        self._open: list[Shape] = []

    def examples(self, shape: Shape) -> list[Any]:
        """Values of the shape, at least one; raises `_NoExampleError`."""
        given = self._given.get(shape.annotation)
        if given is not None:
            return list(given)
        if self._open.count(shape) >= NESTING_MAX:
            raise _NoExampleError(f"{shape.name} contains itself without end")
        make = next(_MAKERS[cls] for cls in type(shape).__mro__ if cls in _MAKERS)
        self._open.append(shape)
        try:
            made = list(islice(make(self, shape), EXAMPLES_MAX))
        finally:
            self._open.pop()
        if shape.has_bounds:
            made = [value for value in made if _is_within_bounds(value, shape.annotation)]
        if not made:
            raise _NoExampleError(f"no example of {shape.name} is within its bounds")
        return made

    def possible(self, shape: Shape) -> list[Any]:
        """Values of a shape that may as well be left out."""
        try:
            return self.examples(shape)
        except _NoExampleError:
            return []

    def rows(self, shapes: Iterable[Shape]) -> Iterator[list[Any]]:
        """Values for several shapes at once, until each example of each has been used."""
        columns = [self.examples(shape) for shape in shapes]
        for index in range(max(map(len, columns), default=1)):
            yield [column[index % len(column)] for column in columns]


def _exact(_: _ExampleMaker, shape: ExactShape) -> Iterable[Any]:
    return _EXACT.get(shape.annotation) or [shape.annotation("6f1c1f8e-6a54-4b0e-9d43-3b1c5e6b8f10")]


def _items(maker: _ExampleMaker, shape: ItemsShape) -> Iterator[Any]:
    yield shape.build()
    if items := maker.possible(shape.parts[0]):
        yield shape.build(items)


def _dict(maker: _ExampleMaker, shape: DictShape) -> Iterator[Any]:
    keys, values = maker.examples(shape.parts[0]), maker.possible(shape.parts[1])
    yield {}
    if values:
        yield {key: values[index % len(values)] for index, key in enumerate(keys)}


def _union(maker: _ExampleMaker, shape: UnionShape) -> Iterator[Any]:
    columns = [maker.possible(member) for member in shape.parts]
    # In turns, so that every member is heard before the limit.
    for index in range(max(map(len, columns))):
        yield from (column[index] for column in columns if index < len(column))


def _record(maker: _ExampleMaker, shape: RecordShape) -> Iterator[Any]:
    declared = getattr(shape.cls, "__dataclass_fields__", {})
    fields = [field for field in shape.fields if field.name not in declared or declared[field.name].init]
    try:
        yield from _rows_of(maker, shape, fields)
    except _NoExampleError:
        # Perhaps only a field that may be left out is the trouble.
        yield from _rows_of(maker, shape, [field for field in fields if field.default is None])


def _rows_of(maker: _ExampleMaker, shape: RecordShape, fields: list[Field]) -> Iterator[Any]:
    for row in maker.rows(field.shape for field in fields):
        yield _made(shape, dict(zip((field.name for field in fields), row, strict=True)))


def _typed_dict(maker: _ExampleMaker, shape: TypedDictShape) -> Iterator[Any]:
    required = {key: maker.examples(shape.items[key])[0] for key in shape.items if key in shape.required}
    yield dict(required)
    optional = {key: maker.possible(item) for key, item in shape.items.items() if key not in shape.required}
    yield {**required, **{key: values[0] for key, values in optional.items() if values}}


def _model(maker: _ExampleMaker, shape: ModelShape) -> Iterator[Any]:
    fields = getattr(shape.cls, "model_fields", None) or shape.cls.__pydantic_fields__
    try:
        shapes = {
            field.alias or name: codec_for(field.annotation).shape
            for name, field in fields.items()
            if field.is_required()
        }
    except RegistrationError as exc:
        raise _NoExampleError(str(exc)) from None
    for row in maker.rows(shapes.values()):
        yield _made(shape, dict(zip(shapes, row, strict=True)))


def _made(shape: RecordShape | ModelShape, values: dict[str, Any]) -> Any:
    try:
        return shape.cls(**values)
    except Exception as exc:  # noqa: BLE001 -- the code of the class may raise anything
        raise _NoExampleError(f"{shape.name} refuses {_shown(values)}: {' '.join(str(exc).split())}") from None


_MAKERS: dict[type[Shape], Callable[[_ExampleMaker, Any], Iterable[Any]]] = {
    ExactShape: _exact,
    StrShape: lambda *_: ["", 'text "ä\\\n\u2028\U0001f600"'],
    IntShape: lambda *_: [0, -1, 1, 10, 100, 2**64],
    FloatShape: lambda *_: [0.0, -1.5, 1e300],
    DatetimeShape: lambda *_: [datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)],
    TimeShape: lambda *_: [time(23, 59, 59, 999999)],
    DecimalShape: lambda _, shape: [shape.annotation("0.10"), shape.annotation("-1E+30")],
    EnumShape: lambda _, shape: list[Enum](shape.annotation),
    LiteralShape: lambda _, shape: shape.values,
    UntypedShape: lambda *_: [None, {"list": [1, 1.5, True, None, "text"]}],
    ItemsShape: _items,
    TupleShape: lambda maker, shape: map(tuple, maker.rows(shape.parts)),
    DictShape: _dict,
    UnionShape: _union,
    RecordShape: _record,
    NamedTupleShape: lambda maker, shape: (shape.cls(*row) for row in maker.rows(shape.parts)),
    TypedDictShape: _typed_dict,
    ModelShape: _model,
}


def _payloads(registry: Registry) -> Iterator[tuple[str, Any]]:
    # An alias leads to the same definition again.
    for activity in dict.fromkeys(registry.activities.values()):
        yield from _payloads_of(activity, f"activity {activity.name}")
    versions = [definition for each in registry.orchestrations.values() for definition in each.values()]
    for orchestration in dict.fromkeys(versions):
        yield from _payloads_of(orchestration, f"orchestration {orchestration.name} {orchestration.version}")


def _named(other: object) -> Iterator[tuple[str, Any]]:
    if isinstance(other, ExternalEvent):
        yield f"external event {other.name!r}", other.type_
    elif isinstance(other, Key):
        yield f"key {other.name!r}", other.type_
    elif isinstance(other, Query | Update):
        takes, gives = other.types
        yield f"value of {other!r}", takes
        yield f"answer of {other!r}", gives
    else:
        yield "given", other


def _payloads_of(definition: Activity[..., Any] | Orchestration[..., Any], whose: str) -> Iterator[tuple[str, Any]]:
    for name, annotation in zip(definition.input_names, definition.input_types, strict=True):
        yield f"input {name} of {whose}", annotation
    yield f"result of {whose}", definition.return_type


def _failure(annotation: Any, maker: _ExampleMaker) -> str | None:
    codec = codec_for(annotation)
    try:
        values = maker.examples(codec.shape)
    except _NoExampleError as exc:
        return f"{codec.name}: no example could be made ({exc}); pass examples={{...: [...]}} for the type that refuses"
    failures = (_failure_of(value, codec) for value in values)
    return next((f"{codec.name}: {failure}" for failure in failures if failure), None)


def _failure_of(value: Any, codec: TypeCodec) -> str | None:
    try:
        data = codec.encode(value, what=_shown(value))
        back = codec.decode(data, what=f"the JSON of {_shown(value)}")
        again = codec.encode(back, what=f"what came back for {_shown(value)}")
    except PayloadError as exc:
        return str(exc)
    if back != value:
        return f"{_shown(value)} came back as {_shown(back)}, which is not equal; does its class define __eq__?"
    if again != data:
        return f"{_shown(value)} changes each time that it is read: does __post_init__ compute a field from itself?"
    return None


def _is_within_bounds(value: Any, annotation: Any) -> bool:
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        return False
    return True


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 -- the code of the value may raise anything
        return f"a {type(value).__qualname__}"
    return text if len(text) <= VALUE_CHARS_SHOWN_MAX else f"{text[:VALUE_CHARS_SHOWN_MAX]}..."

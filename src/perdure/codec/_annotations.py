"""From an annotation to its shape."""

import copy
import dataclasses
import operator
import types
import typing
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from enum import Enum
from functools import lru_cache
from types import GenericAlias
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

from perdure._types import PAYLOAD_DEPTH_MAX
from perdure.codec._containers import DictShape, ItemsShape, TupleShape, UntypedDictShape
from perdure.codec._fields import bind, field_hints, unresolved
from perdure.codec._models import ModelShape
from perdure.codec._records import Field, NamedTupleShape, RecordShape, StructShape, TypedDictShape
from perdure.codec._shapes import EnumShape, ExactShape, LiteralShape, Shape, StrShape, scalar_shape, type_name
from perdure.codec._unions import UnionShape, union_shape
from perdure.codec._untyped import UntypedShape
from perdure.errors import RegistrationError

# annotation: how the value is built again, and which classes fit. What msgspec reads a Sequence as is a list.
_ITEMS: dict[Any, tuple[type, tuple[type, ...]]] = {
    list: (list, (list,)),
    Sequence: (list, (list, tuple)),
    MutableSequence: (list, (list,)),
    Collection: (list, (list, tuple)),
    set: (set, (set, frozenset)),
    frozenset: (frozenset, (set, frozenset)),
    AbstractSet: (set, (set, frozenset)),
    MutableSet: (set, (set,)),
}
_DICTS = frozenset({dict, Mapping, MutableMapping})
_WRAPPERS = frozenset(
    {Annotated, Final, typing.Required, typing.NotRequired, getattr(typing, "ReadOnly", typing.Required)}
)
_ALIASES: tuple[Any, ...] = (getattr(typing, "TypeAliasType", typing.NewType),)
_KEYS_REFUSED = frozenset({"null", "bool", "array", "object"})


class Builder:
    """Builds the shape of one annotation; knows the records that it is in the middle of, for recursive types."""

    def __init__(self) -> None:
        self.is_recursive = False
        self._records: dict[Any, tuple[Shape, int]] = {}
        self._open: set[Any] = set()
        self._reused_deeper = False

    def shape(self, annotation: Any, depth: int = 0) -> Shape:
        """The shape of the annotation; raises `RegistrationError` if it can't be a payload.

        `depth` is the number of containers around it.
        """
        if depth > PAYLOAD_DEPTH_MAX:
            raise RegistrationError(f"{type_name(annotation)} is nested deeper than {PAYLOAD_DEPTH_MAX} levels")
        if annotation is Any or annotation is object:
            return UntypedShape(PAYLOAD_DEPTH_MAX - depth, class_shape)
        if annotation is None:
            return ExactShape(types.NoneType)
        origin = get_origin(annotation)
        if origin is Union or origin is types.UnionType:
            return self._union(annotation, depth)
        if origin is Literal:
            return _literal(annotation)
        if origin in _WRAPPERS:
            return self._wrapped(annotation, depth)
        unnamed = _unnamed(annotation)
        if unnamed is not annotation:
            return self._unnamed(annotation, unnamed, depth)
        return self._container(annotation, origin or annotation, depth) or self._class(annotation, depth)

    def checks_depth(self, shape: Shape) -> bool:
        """Whether the depth of a plain value is only known when it is written."""
        return self.is_recursive or (
            self._reused_deeper and any(isinstance(part, UntypedShape) for part in shape.reachable())
        )

    def _union(self, annotation: Any, depth: int) -> Shape:
        members: dict[Any, Shape] = {}
        for each in get_args(annotation):
            member = self.shape(each, depth)
            if isinstance(member, UntypedShape):
                return member
            # An alias, a NewType or a type variable may stand for a union inside the union.
            for part in member.parts if isinstance(member, UnionShape) else (member,):
                members.setdefault(part.annotation, part)
        return union_shape(_union_of(members), type_name(annotation), tuple(members.values()))

    def _wrapped(self, annotation: Any, depth: int) -> Shape:
        inner, *metadata = get_args(annotation)
        shape = self.shape(inner, depth)
        bounds = [item for item in metadata if isinstance(item, msgspec.Meta)]
        if bounds:
            shape = copy.copy(shape)
            shape.annotation = Annotated[(shape.annotation, *bounds)]
            shape.has_bounds = True
        return shape

    def _unnamed(self, annotation: Any, unnamed: Any, depth: int) -> Shape:
        if annotation in self._open:  # pragma: no cover -- aliases are new in Python 3.12
            raise RegistrationError(
                f"the type alias {type_name(annotation)} is recursive, which only classes can be; "
                "use a dataclass, or Any for free JSON"
            )
        self._open.add(annotation)
        try:
            return self.shape(unnamed, depth)
        finally:
            self._open.discard(annotation)

    def _container(self, annotation: Any, cls: Any, depth: int) -> Shape | None:
        args = get_args(annotation)
        if cls in _ITEMS:
            build, accepts = _ITEMS[cls]
            item = self.shape(args[0] if args else Any, depth + 1)
            return ItemsShape(GenericAlias(build, (item.annotation,)), type_name(annotation), item, build, accepts)
        if cls is tuple:
            return self._tuple(annotation, args, depth)
        if cls in _DICTS:
            return self._dict(annotation, args or (Any, Any), depth)
        return None

    def _tuple(self, annotation: Any, args: tuple[Any, ...], depth: int) -> Shape:
        if (not args and annotation is not tuple[()]) or args[1:] == (...,):
            item = self.shape(args[0] if args else Any, depth + 1)
            return ItemsShape(GenericAlias(tuple, (item.annotation, ...)), type_name(annotation), item, tuple, (tuple,))
        items = tuple(self.shape(arg, depth + 1) for arg in args)
        return TupleShape(GenericAlias(tuple, tuple(item.annotation for item in items)), type_name(annotation), items)

    def _dict(self, annotation: Any, args: tuple[Any, ...], depth: int) -> Shape:
        name = type_name(annotation)
        key, value = self.shape(args[0], depth + 1), self.shape(args[1], depth + 1)
        if isinstance(key, UntypedShape):
            key = StrShape()
        if len(key.kinds) != 1 or key.kinds & _KEYS_REFUSED:
            raise RegistrationError(
                f"the keys of {name} can't be told apart in JSON, where every key is a string; "
                "use str, int, float, an enum, a date, UUID or Decimal as keys, or a list of pairs"
            )
        if isinstance(key, StrShape) and isinstance(value, UntypedShape):
            return UntypedDictShape(dict[str, Any], name, key, value)
        return DictShape(GenericAlias(dict, (key.annotation, value.annotation)), name, key, value)

    def _class(self, annotation: Any, depth: int) -> Shape:
        cls = get_origin(annotation) or annotation
        if isinstance(cls, str | typing.ForwardRef):
            raise RegistrationError(f"the type {cls!r} is not resolved: import it where the annotation is written")
        if not isinstance(cls, type):
            raise _unsupported(annotation)
        if cls is msgspec.Raw:
            raise _unsupported(annotation)
        if scalar := scalar_shape(cls):
            return scalar
        if issubclass(cls, Enum):
            return _enum(cls)
        if annotation not in self._records:
            self._open.add(annotation)
            self._record(annotation, cls, depth)
            self._open.discard(annotation)
        shape, first_depth = self._records[annotation]
        self.is_recursive |= annotation in self._open
        self._reused_deeper |= depth > first_depth
        return shape

    def _record(self, annotation: Any, cls: Any, depth: int) -> None:
        name = type_name(annotation)
        if hasattr(cls, "__pydantic_validator__") and hasattr(cls, "__pydantic_serializer__"):
            untyped = UntypedShape(PAYLOAD_DEPTH_MAX, class_shape)
            self._records[annotation] = ModelShape(annotation, name, cls, untyped.lower), depth
        elif issubclass(cls, msgspec.Struct):
            struct = StructShape(annotation, name, cls)
            self._records[annotation] = struct, depth
            struct.complete(self._struct_fields(annotation, depth))
        elif dataclasses.is_dataclass(cls):
            record = RecordShape(annotation, name, cast("type", cls))
            self._records[annotation] = record, depth
            record.complete(self._dataclass_fields(annotation, cls, depth))
        elif typing.is_typeddict(cls):
            self._typed_dict(annotation, cls, depth)
        elif issubclass(cls, tuple) and hasattr(cls, "_fields"):
            named = NamedTupleShape(annotation, name, cls)
            self._records[annotation] = named, depth
            hints = field_hints(annotation)
            named.complete(self.shape(hints.get(field, Any), depth + 1) for field in cast("Any", cls)._fields)
        else:
            raise _unsupported(annotation)

    def _struct_fields(self, annotation: Any, depth: int) -> Iterator[Field]:
        try:
            fields = msgspec.structs.fields(annotation)
        except Exception as exc:
            raise unresolved(get_origin(annotation) or annotation, exc) from exc
        for field in fields:
            shape = self.shape(field.type, depth + 1)
            default = _default(field.default, field.default_factory, msgspec.NODEFAULT)
            yield Field(field.name, field.encode_name, shape, default)

    def _dataclass_fields(self, annotation: Any, cls: Any, depth: int) -> Iterator[Field]:
        hints = field_hints(annotation)
        for name, hint in hints.items():
            if isinstance(hint, dataclasses.InitVar):
                raise RegistrationError(
                    f"the InitVar {name!r} of dataclass {type_name(cls)} is not stored, so its instances can't come "
                    "back; make it a field"
                )
        for field in dataclasses.fields(cls):
            shape = self.shape(hints[field.name], depth + 1)
            default = _default(field.default, field.default_factory, dataclasses.MISSING)
            yield Field(field.name, field.name, shape, default)

    def _typed_dict(self, annotation: Any, cls: Any, depth: int) -> None:
        hints = field_hints(annotation)
        # On 3.11 a class with postponed annotations does not know its Required and NotRequired itself.
        marked = {key: get_origin(hint) for key, hint in hints.items()}
        required = {key for key in cls.__required_keys__ if marked[key] is not typing.NotRequired}
        required |= {key for key, mark in marked.items() if mark is typing.Required}
        typed = TypedDictShape(annotation, type_name(annotation), frozenset(required))
        # msgspec mistakes the type variables of a generic base for those of the class itself.
        typed.native = not get_args(annotation)
        self._records[annotation] = typed, depth
        typed.complete({key: self.shape(hint, depth + 1) for key, hint in hints.items()})


@lru_cache(maxsize=256)
def class_shape(cls: type) -> Shape:
    """The shape of the instances of a class, for values whose annotation says nothing."""
    return Builder().shape(cls)


def _default(value: Any, factory: Any, missing: Any) -> Callable[[], Any] | None:
    if factory is not missing:
        return cast("Callable[[], Any]", factory)
    return None if value is missing else lambda: value


def _union_of(members: Iterable[Any]) -> Any:
    # Not with `|`, which some metaclasses take for something else.
    return operator.getitem(cast("Any", Union), tuple(members))


def _unnamed(annotation: Any) -> Any:
    """What an alias, a NewType or a type variable stands for; other annotations stand for themselves."""
    if isinstance(annotation, typing.NewType):
        return annotation.__supertype__
    if isinstance(annotation, TypeVar):
        if annotation.__constraints__:
            return _union_of(annotation.__constraints__)
        return annotation.__bound__ or Any
    alias = get_origin(annotation) or annotation
    if isinstance(alias, _ALIASES):  # pragma: no cover -- aliases are new in Python 3.12
        value = alias.__value__
        return bind(value, dict(zip(alias.__type_params__, get_args(annotation), strict=False)))
    return annotation


def _literal(annotation: Any) -> Shape:
    values = get_args(annotation)
    for value in values:
        if type(value) not in {str, int, bool, types.NoneType}:
            raise RegistrationError(
                f"{type_name(annotation)}: only strings, integers, booleans and None can be literals in JSON, "
                f"not {type_name(type(value))}"
            )
    return LiteralShape(annotation, values)


def _enum(cls: type[Enum]) -> Shape:
    values = [member.value for member in cls]
    if not values or not (
        all(isinstance(value, str) for value in values)
        or all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    ):
        raise RegistrationError(
            f"the values of enum {type_name(cls)} are written as JSON and must be all strings or all integers"
        )
    return EnumShape(cls)


def _unsupported(annotation: Any) -> RegistrationError:
    return RegistrationError(
        f"{type_name(annotation)} can't be JSON; use a dataclass, a msgspec struct, a pydantic model, a TypedDict, "
        "a NamedTuple, list, dict, tuple, set, an enum, str, int, float, bool, None, bytes, datetime, date, time, "
        "timedelta, UUID, Decimal, or a union of them"
    )

"""The shapes of records: dataclasses, msgspec structs, named tuples and TypedDicts."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import MISSING
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from perdure.codec._containers import lift_items, lift_one, lower_items
from perdure.codec._shapes import CompositeShape, Encoded, Misfit, Shape, deeper, key_step

_read_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_read_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Field(NamedTuple):
    """One field of a record: its attribute, its name in JSON, its shape, and how its default is made, if it has one."""

    name: str
    key: str
    shape: Shape
    default: Callable[[], Any] | None


class RecordShape(CompositeShape):
    """A dataclass. An instance of a subclass does not fit: it would come back as the base, and not equal."""

    kinds = frozenset({"object"})

    def __init__(self, annotation: Any, name: str, cls: type) -> None:
        super().__init__(annotation, name)
        self.cls = cls
        self.fields: tuple[Field, ...] = ()
        self._classes = frozenset({cls})

    def complete(self, fields: Iterable[Field]) -> None:
        """Give the shape its fields; not when it is made, because a field may be of this very shape."""
        self.fields = tuple(fields)
        self.parts = tuple(field.shape for field in self.fields)
        self._checks = tuple((shape.exact, shape.plain) for shape in self.parts)
        self._columns = tuple((attrgetter(field.name), field.shape) for field in self.fields)
        self._get = _values_getter([field.name for field in self.fields])

    def plain(self, value: Any) -> bool:
        if type(value) is not self.cls:
            return False
        for (exact, plain), item in zip(self._checks, self._get(value)):  # noqa: B905 -- equal by making; strict= is slow
            if type(item) not in exact and not plain(item):
                return False
        return True

    def all_plain(self, values: Collection[Any]) -> bool:
        # Column by column.
        return self._classes.issuperset(map(type, values)) and all(
            shape.all_plain([*map(get, values)]) for get, shape in self._columns
        )

    def claims(self, value: Any) -> bool:
        return type(value) is self.cls

    def lower(self, value: Any, depth_left: int) -> Any:
        if type(value) is not self.cls:
            raise self.misfit(value)
        depth_left = deeper(depth_left)
        lowered = {}
        for field in self.fields:
            item = getattr(value, field.name, MISSING)
            if item is msgspec.UNSET:
                continue
            try:
                if item is MISSING:
                    raise Misfit("the field is not set")
                lowered[field.key] = field.shape.lower(item, depth_left)
            except Misfit as misfit:
                misfit.steps.append(f".{field.name}")
                raise
        return lowered

    def lift(self, data: Encoded) -> Any:
        return self._lift_object(_read_object(data))

    def _lift_object(self, items: Mapping[str, msgspec.Raw]) -> Any:
        values = {}
        for field in self.fields:
            item = items.get(field.key)
            if item is not None:
                values[field.name] = lift_one(field.shape, item, f".{field.name}")
            elif field.default is not None:
                values[field.name] = field.default()
            else:
                raise Misfit(f"the field {field.key!r} is missing")
        try:
            return self._build(values)
        except (ValueError, TypeError) as exc:
            raise Misfit(f"{self.name} refuses it: {exc}") from None

    def _build(self, values: dict[str, Any]) -> Any:
        # As msgspec does: a dataclass may have an __init__ of its own, which knows nothing of stored fields.
        instance: Any = object.__new__(self.cls)
        for name, item in values.items():
            object.__setattr__(instance, name, item)
        post_init = getattr(instance, "__post_init__", None)
        if post_init is not None:
            post_init()
        return instance


class StructShape(RecordShape):
    """A msgspec struct, with the tag, the renamed keys and the array form that its class asks for."""

    def __init__(self, annotation: Any, name: str, cls: type[msgspec.Struct]) -> None:
        super().__init__(annotation, name, cls)
        self._config = cls.__struct_config__
        self.tag = None if self._config.array_like else self._config.tag
        if self._config.array_like:
            self.kinds = frozenset({"array"})

    def lower(self, value: Any, depth_left: int) -> Any:
        lowered = super().lower(value, depth_left)
        tag = {} if self._config.tag is None else {self._config.tag_field: self._config.tag}
        tagged = {**tag, **lowered}
        return list(tagged.values()) if self._config.array_like else tagged

    def lift(self, data: Encoded) -> Any:
        keys = [field.key for field in self.fields]
        tag_field = self._config.tag_field
        if tag_field is not None:
            keys.insert(0, tag_field)
        items = dict(zip(keys, _read_array(data), strict=False)) if self._config.array_like else _read_object(data)
        if tag_field is not None and tag_field in items:
            tag = msgspec.json.decode(items[tag_field])
            if tag != self._config.tag:
                raise Misfit(f"expected the tag {self._config.tag!r}, not {tag!r}", f".{tag_field}")
        if self._config.forbid_unknown_fields and (unknown := items.keys() - set(keys)):
            raise Misfit(f"{self.name} has no field {min(unknown)!r}")
        return self._lift_object(items)

    def _build(self, values: dict[str, Any]) -> Any:
        return self.cls(**values)


class NamedTupleShape(CompositeShape):
    """A named tuple, written as an array."""

    kinds = frozenset({"array"})

    def __init__(self, annotation: Any, name: str, cls: Any) -> None:
        super().__init__(annotation, name)
        self.cls = cls

    def complete(self, items: Iterable[Shape]) -> None:
        """Give the shape its items; not when it is made, because an item may be of this very shape."""
        self.parts = tuple(items)

    def plain(self, value: Any) -> bool:
        return type(value) is self.cls and all(part.plain(item) for part, item in zip(self.parts, value, strict=True))

    def claims(self, value: Any) -> bool:
        return type(value) is self.cls

    def lower(self, value: Any, depth_left: int) -> Any:
        if type(value) is not self.cls:
            raise self.misfit(value)
        return lower_items(self.parts, value, deeper(depth_left))

    def lift(self, data: Encoded) -> Any:
        items = _read_array(data)[: len(self.parts)]
        required = len(self.parts) - len(self.cls._field_defaults)
        if len(items) < required:
            raise Misfit(f"expected an array of at least {required} items, not of {len(items)}")
        return self.cls(*lift_items(self.parts[: len(items)], items))


class TypedDictShape(CompositeShape):
    """A dict with the given keys. A key that is not given would be lost on the way, so it does not fit."""

    kinds = frozenset({"object"})

    def __init__(self, annotation: Any, name: str, required: frozenset[str]) -> None:
        super().__init__(annotation, name)
        self.required = required
        self.items: dict[str, Shape] = {}

    def complete(self, items: dict[str, Shape]) -> None:
        """Give the shape its items; not when it is made, because an item may be of this very shape."""
        self.items = items
        self.parts = tuple(items.values())

    def plain(self, value: Any) -> bool:
        if type(value) is not dict or not self.required <= value.keys():
            return False
        for key, item in value.items():
            shape = self.items.get(key)
            if type(key) is not str or shape is None or not shape.plain(item):
                return False
        return True

    def claims(self, value: Any) -> bool:
        return type(value) is dict and self.required <= value.keys() <= self.items.keys()

    def lower(self, value: Any, depth_left: int) -> Any:
        if not isinstance(value, dict):
            raise self.misfit(value)
        depth_left = deeper(depth_left)
        if missing := self.required - value.keys():
            raise Misfit(f"the key {min(missing)!r} of {self.name} is missing")
        lowered = {}
        for key, item in value.items():
            shape = self.items.get(key)
            if shape is None:
                raise Misfit(f"{self.name} has no such key, so it would be lost", key_step(key))
            try:
                lowered[str.__str__(key)] = shape.lower(item, depth_left)
            except Misfit as misfit:
                misfit.steps.append(key_step(key))
                raise
        return lowered

    def lift(self, data: Encoded) -> Any:
        items = _read_object(data)
        if missing := self.required - items.keys():
            raise Misfit(f"the key {min(missing)!r} of {self.name} is missing")
        return {key: lift_one(self.items[key], item, key_step(key)) for key, item in items.items() if key in self.items}


def _values_getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if not names:
        return lambda _: ()
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda value: (get(value),)

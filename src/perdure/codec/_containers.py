"""The shapes of lists, tuples, sets and dicts."""

from types import GenericAlias
from typing import Any, cast

import msgspec

from perdure.codec._shapes import CompositeShape, Encoded, Misfit, Shape, StrShape, deeper, key_step, sort_encoded
from perdure.codec._untyped import UntypedShape, plain_dict


class ItemsShape(CompositeShape):
    """A homogeneous list, tuple, set or frozenset.

    `build` makes the value from its items; `accepts` are the classes that fit (a Sequence may be a tuple), of which
    `written` is the one that msgspec writes deterministically.
    """

    kinds = frozenset({"array"})

    def __init__(self, annotation: Any, name: str, item: Shape, build: type, accepts: tuple[type, ...]) -> None:
        super().__init__(annotation, name)
        self.parts = (item,)
        self._item = item
        self.build = build
        self._accepts = accepts
        self._ordered = build in {list, tuple}
        self._read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode

    def plain(self, value: Any) -> bool:
        kind = type(value)
        if kind is not self.build or not self._ordered:
            return False
        return self._item.all_plain(value)

    def claims(self, value: Any) -> bool:
        return type(value) is self.build

    def lower(self, value: Any, depth_left: int) -> Any:
        if not isinstance(value, self._accepts):
            raise self.misfit(value, self._hint(value))
        depth_left = deeper(depth_left)
        lowered = []
        for index, item in enumerate(cast("list[Any]", value)):
            try:
                lowered.append(self._item.lower(item, depth_left))
            except Misfit as misfit:
                misfit.steps.append(f"[{index}]" if self._ordered else "[...]")
                raise
        return lowered if self._ordered else sort_encoded(lowered)

    def lift(self, data: Encoded) -> Any:
        return self.build(lift_items([self._item], self._read_items(data)))

    def _hint(self, value: Any) -> str:
        if isinstance(value, list | tuple | set | frozenset):
            return f" (it would come back as {self.build.__name__}: pass one, or change the annotation)"
        return ""


class TupleShape(CompositeShape):
    """A tuple of fixed length, each item of its own shape."""

    kinds = frozenset({"array"})

    def __init__(self, annotation: Any, name: str, items: tuple[Shape, ...]) -> None:
        super().__init__(annotation, name)
        self.parts = items
        self._read_items = msgspec.json.Decoder(list[msgspec.Raw]).decode

    def plain(self, value: Any) -> bool:
        return (
            type(value) is tuple
            and len(value) == len(self.parts)
            and all(part.plain(item) for part, item in zip(self.parts, value, strict=True))
        )

    def claims(self, value: Any) -> bool:
        return type(value) is tuple and len(value) == len(self.parts)

    def lower(self, value: Any, depth_left: int) -> Any:
        if not isinstance(value, tuple):
            raise self.misfit(value)
        if len(value) != len(self.parts):
            raise Misfit(f"expected a tuple of {len(self.parts)} items, not of {len(value)}")
        return lower_items(self.parts, value, deeper(depth_left))

    def lift(self, data: Encoded) -> Any:
        items = self._read_items(data)
        if len(items) != len(self.parts):
            raise Misfit(f"expected an array of {len(self.parts)} items, not of {len(items)}")
        return tuple(lift_items(self.parts, items))


class DictShape(CompositeShape):
    """A dict; its order is kept. Keys that are no strings are written as msgspec writes them."""

    kinds = frozenset({"object"})

    def __init__(self, annotation: Any, name: str, key: Shape, value: Shape) -> None:
        super().__init__(annotation, name)
        self.parts = (key, value)
        self._key = key
        self._value = value
        self._read_items = msgspec.json.Decoder(GenericAlias(dict, (key.annotation, msgspec.Raw))).decode

    def plain(self, value: Any) -> bool:
        if type(value) is not dict:
            return False
        return self._key.all_plain(value) and self._value.all_plain(value.values())

    def claims(self, value: Any) -> bool:
        return type(value) is dict

    def lower(self, value: Any, depth_left: int) -> Any:
        if not isinstance(value, dict):
            raise self.misfit(value)
        depth_left = deeper(depth_left)
        lowered = {}
        for key, item in value.items():
            try:
                lowered_key = self._key.lower(key, 0)
                lowered[lowered_key] = self._value.lower(item, depth_left)
            except Misfit as misfit:
                misfit.steps.append(key_step(key))
                raise
        return lowered

    def lift(self, data: Encoded) -> Any:
        return {key: lift_one(self._value, item, key_step(key)) for key, item in self._read_items(data).items()}


class UntypedDictShape(DictShape):
    """`dict[str, Any]`, the most common payload of all: checked in one go."""

    def __init__(self, annotation: Any, name: str, key: StrShape, value: UntypedShape) -> None:
        super().__init__(annotation, name, key, value)
        self._depth_left = value.depth_left + 1

    def plain(self, value: Any) -> bool:
        return plain_dict(value, self._depth_left)


def lower_items(shapes: tuple[Shape, ...], values: tuple[Any, ...], depth_left: int) -> list[Any]:
    """Each value by its shape, with its index on the path of what doesn't fit."""
    lowered = []
    for index, (shape, value) in enumerate(zip(shapes, values, strict=True)):
        try:
            lowered.append(shape.lower(value, depth_left))
        except Misfit as misfit:
            misfit.steps.append(f"[{index}]")
            raise
    return lowered


def lift_items(shapes: "list[Shape] | tuple[Shape, ...]", items: list[msgspec.Raw]) -> list[Any]:
    """Each item by its shape, or all by the only one."""
    every = shapes if len(shapes) == len(items) else list(shapes) * len(items)
    return [lift_one(shape, item, f"[{index}]") for index, (shape, item) in enumerate(zip(every, items, strict=True))]


def lift_one(shape: Shape, data: Encoded, step: str) -> Any:
    """The value of one part, with its step on the path of what doesn't fit."""
    try:
        return shape.read(data)
    except Misfit as misfit:
        misfit.steps.append(step)
        raise

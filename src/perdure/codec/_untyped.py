"""The shape of Any and object: whatever can be JSON, which comes back as dicts, lists, strings, numbers and None."""

import contextlib
from collections.abc import Callable, Iterable
from math import isfinite
from types import NoneType
from typing import Any

from perdure._types import PAYLOAD_DEPTH_MAX
from perdure.codec._shapes import (
    ANY_KIND,
    FloatShape,
    IntShape,
    Misfit,
    Shape,
    clean_text,
    deeper,
    key_step,
    sort_encoded,
    type_name,
)
from perdure.errors import RegistrationError

_LEAVES: frozenset[type] = frozenset({str, int, bool, NoneType})
_INT = IntShape()
_FLOAT = FloatShape()


class UntypedShape(Shape):
    """Any JSON, and any object whose class has a shape: such an object is written as its class says.

    The receiver may know more: what one side passes as Any, the other side reads by its annotation.
    """

    exact = _LEAVES
    kinds = ANY_KIND

    def __init__(self, depth_left: int, shape_for: Callable[[type], Shape]) -> None:
        super().__init__(Any, "JSON")
        self.depth_left = depth_left
        self._shape_for = shape_for

    def plain(self, value: Any) -> bool:
        return plain_untyped(value, self.depth_left)

    def lower(self, value: Any, depth_left: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return clean_text(str.__str__(value))
        if isinstance(value, int):
            return _INT.lower(value, depth_left)
        if isinstance(value, float):
            return _FLOAT.lower(value, depth_left)
        if isinstance(value, dict):
            return self._lower_dict(value, deeper(depth_left))
        if isinstance(value, list | tuple):
            return self._lower_items(value, deeper(depth_left))
        if isinstance(value, set | frozenset):
            return sort_encoded(self._lower_items(value, deeper(depth_left)))
        return self._lower_object(value, depth_left)

    def _lower_dict(self, value: dict[Any, Any], depth_left: int) -> dict[str, Any]:
        lowered = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise Misfit(
                    f"a key of type {type_name(type(key))}, which would come back as a string; "
                    f"use strings, or annotate the dict as dict[{type_name(type(key))}, ...]"
                )
            try:
                lowered[clean_text(str.__str__(key))] = self.lower(item, depth_left)
            except Misfit as misfit:
                misfit.steps.append(key_step(key))
                raise
        return lowered

    def _lower_items(self, value: Iterable[Any], depth_left: int) -> list[Any]:
        lowered = []
        for index, item in enumerate(value):
            try:
                lowered.append(self.lower(item, depth_left))
            except Misfit as misfit:
                misfit.steps.append(f"[{index}]")
                raise
        return lowered

    def _lower_object(self, value: Any, depth_left: int) -> Any:
        shape = None
        with contextlib.suppress(RegistrationError):
            shape = self._shape_for(type(value))
        if shape is None or isinstance(shape, UntypedShape):
            if hasattr(type(value), "__await__"):
                raise Misfit(f"a value of type {type_name(type(value))} was not awaited: write `await` before it")
            raise Misfit(
                f"a value of type {type_name(type(value))} can't be JSON; pass plain data, a dataclass, or another "
                "supported type"
            )
        return shape.lower(value, depth_left)


def plain_untyped(value: Any, depth_left: int = PAYLOAD_DEPTH_MAX) -> bool:
    """Whether the value is JSON as it stands: exact builtin types, string keys, finite floats, not too deep."""
    kind = type(value)
    if kind is dict:
        return plain_dict(value, depth_left)
    if kind is not list and kind is not tuple:
        return kind in _LEAVES or (kind is float and isfinite(value))
    if depth_left <= 0:
        return False
    for item in value:
        if type(item) in _LEAVES:
            continue
        kind = type(item)
        if kind is float and isfinite(item):
            continue
        if not (plain_dict if kind is dict else plain_untyped)(item, depth_left - 1):
            return False
    return True


def plain_dict(value: Any, depth_left: int = PAYLOAD_DEPTH_MAX) -> bool:
    """The same for a dict, the most common payload of all; False for what is none."""
    if type(value) is not dict or depth_left <= 0:
        return False
    # Plain loops: payloads are small, and for them comprehensions, sets and items() cost more than they save.
    for key in value:
        if type(key) is not str:
            return False
        item = value[key]
        if type(item) in _LEAVES:
            continue
        kind = type(item)
        if kind is float and isfinite(item):
            continue
        if not (plain_dict if kind is dict else plain_untyped)(item, depth_left - 1):
            return False
    return True

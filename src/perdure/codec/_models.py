"""The shape of pydantic models and pydantic dataclasses, which validate and write themselves.

Pydantic is never imported here: a class that was made by it carries its own validator and serializer.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from perdure.codec._shapes import ANY_KIND, CompositeShape, Encoded, Misfit, encode_json, finite

_decode = msgspec.json.Decoder().decode


class ModelShape(CompositeShape):
    """A pydantic model, written by its aliases in JSON mode; an instance of a subclass does not fit.

    What is written is read back at once, so that a model which can't read its own JSON is found at the call.
    """

    native = False
    kinds = ANY_KIND

    def __init__(self, annotation: Any, name: str, cls: Any, lower_untyped: Callable[[Any, int], Any]) -> None:
        super().__init__(annotation, name)
        self.cls = cls
        self._lower_untyped = lower_untyped

    def plain(self, value: Any) -> bool:  # noqa: ARG002 -- msgspec does not know models
        return False

    def claims(self, value: Any) -> bool:
        return type(value) is self.cls

    def lower(self, value: Any, depth_left: int) -> Any:
        if type(value) is not self.cls:
            raise self.misfit(value)
        serializer = self.cls.__pydantic_serializer__
        try:
            tree = serializer.to_python(value, by_alias=True)
            _check_floats(tree)
            written = _with_ordered_sets(tree, _decode(serializer.to_json(value, by_alias=True)))
        except Misfit:
            raise
        except Exception as exc:
            raise Misfit(f"{self.name} can't be written as JSON: {_words(exc)}") from exc
        lowered = self._lower_untyped(written, depth_left)
        self.lift(encode_json(lowered))
        return lowered

    def lift(self, data: Encoded) -> Any:
        try:
            return self.cls.__pydantic_validator__.validate_json(bytes(data))
        except Exception as exc:
            raise Misfit(f"{self.name} refuses it: {_words(exc)}") from exc


def _with_ordered_sets(tree: Any, written: Any) -> Any:
    """The written JSON with what was a set in the model in an order that no hash seed changes."""
    if isinstance(tree, set | frozenset) and isinstance(written, list):
        return sorted(written, key=encode_json)
    if isinstance(tree, dict) and isinstance(written, dict) and len(tree) == len(written):
        items = zip(written.items(), tree.values(), strict=True)
        return {key: _with_ordered_sets(inner, item) for (key, item), inner in items}
    if isinstance(tree, list | tuple) and isinstance(written, list) and len(tree) == len(written):
        return [_with_ordered_sets(inner, item) for inner, item in zip(tree, written, strict=True)]
    return written


def _check_floats(tree: Any) -> None:
    if isinstance(tree, float):
        finite(tree)
    elif isinstance(tree, dict):
        for item in tree.values():
            _check_floats(item)
    elif isinstance(tree, list | tuple | set | frozenset):
        for item in tree:
            _check_floats(item)


def _words(exc: Exception) -> str:
    """Pydantic's own words without the input, which may be a secret."""
    errors = getattr(exc, "errors", None)
    if errors is None:
        return f"{type(exc).__name__}: {exc}"
    found = errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(f"{error['msg']} (at {'.'.join(map(str, error['loc']))})" for error in found)

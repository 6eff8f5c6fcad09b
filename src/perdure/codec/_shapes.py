"""What an annotation allows, as a tree of shapes, and the shapes of single values.

A shape answers three questions. `plain`: does this value fit, and does msgspec write it as it stands? That is the
quick check on the good path, and may say no to a value that does fit. `lower` then says what is wrong, in words, or
turns the value into something that msgspec writes in one deterministic way. `read` is the way back; where msgspec can
read the annotation by itself, it does.

The rule for what fits: the value must come back equal from its JSON. So a subclass that compares equal is welcome where
its base is asked for, and comes back as the base.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from perdure._types import INTEGER_DIGITS_MAX, PAYLOAD_DEPTH_MAX
from perdure.errors import RegistrationError

Encoded = bytes | memoryview | msgspec.Raw

encode_json: Final = msgspec.json.Encoder().encode
_FLOATS = frozenset({float})
_INTEGER_MAX: Final = 10**INTEGER_DIGITS_MAX
_KEY_CHARS_SHOWN_MAX = 40
_PATH_STEPS_SHOWN_MAX = 12
_NOTHING: frozenset[type] = frozenset()
ANY_KIND: Final = frozenset({"bool", "int", "float", "str", "array", "object"})


class Misfit(Exception):  # noqa: N818 -- not an error yet: the codec words it as a PayloadError when the path is complete
    """A value does not fit; the shapes that it passes on its way up add where."""

    def __init__(self, message: str, *path: str) -> None:
        super().__init__(message)
        self.message = message
        self.steps = list(path)

    @property
    def path(self) -> str:
        """Where inside the payload, outermost first: ".items[3].price"."""
        steps = self.steps[::-1]
        if len(steps) > _PATH_STEPS_SHOWN_MAX:
            half = _PATH_STEPS_SHOWN_MAX // 2
            steps = [*steps[:half], "...", *steps[-half:]]
        return "".join(steps)

    def __str__(self) -> str:
        return f"{self.message}, at {self.path}" if self.steps else self.message


class Shape:
    """One annotation: how its values are checked, written and read.

    `annotation` is what msgspec is asked to read; `name` stands in messages. Values whose exact type is in `exact` are
    plain without a further look, which lets containers check all their items in C. `kinds` are the kinds of JSON that
    it is written as: "null", "bool", "int", "float", "str", "array", "object". `native` is False where msgspec can't
    read the annotation, whatever its parts are; `parts` are the shapes inside.
    """

    exact: frozenset[type] = _NOTHING
    kinds: frozenset[str] = frozenset({"str"})
    native: bool = True
    parts: tuple["Shape", ...] = ()
    # After reading, the value is checked as if it were to be written: msgspec reads more than we write.
    reads_loosely: bool = False
    # msgspec checks bounds and patterns (Annotated with msgspec.Meta) only when it reads.
    has_bounds: bool = False
    # msgspec's own once the shape is prepared, unless it can't read the annotation.
    reader: Callable[[Any], Any]

    def __init__(self, annotation: Any, name: str) -> None:
        self.annotation = annotation
        self.name = name

    def plain(self, value: Any) -> bool:
        """Whether the value fits and msgspec writes it deterministically as it stands."""
        return type(value) in self.exact

    def all_plain(self, values: Collection[Any]) -> bool:
        """Whether all these values are plain; looked at together, which is mostly done in C."""
        return self.exact.issuperset(map(type, values)) or all(map(self.plain, values))

    def lower(self, value: Any, depth_left: int) -> Any:  # noqa: ARG002 -- for the shapes of containers
        """What to write for the value; raises `Misfit` if it doesn't fit. `depth_left` bounds the containers in it."""
        if type(value) in self.exact:
            return value
        raise self.misfit(value)

    def claims(self, value: Any) -> bool:
        """Whether a union should try this shape for the value before the others."""
        return type(value) in self.exact

    def prepare(self) -> None:
        """Decide how to read this shape, once all its parts are known; raises `RegistrationError`."""
        for shape in [self] if self.is_readable() else self.reachable():
            readable = shape.is_readable()
            if shape.has_bounds and not readable:
                raise RegistrationError(
                    f"the bounds of {shape.name} can't be checked, because msgspec can't tell the union inside it "
                    "apart; check them in a __post_init__"
                )
            if readable:
                try:
                    shape.reader = msgspec.json.Decoder(shape.annotation).decode
                except (TypeError, NameError) as exc:
                    raise RegistrationError(f"{shape.name} can't be JSON: {exc}") from exc

    def is_readable(self) -> bool:
        """Whether msgspec can read this shape by its annotation."""
        return all(shape.native for shape in self.reachable())

    def read(self, data: Encoded) -> Any:
        """The value of this JSON; raises `Misfit`."""
        try:
            return self.reader(data)
        except msgspec.MsgspecError as exc:
            raise misfit_of(exc) from None

    def reachable(self) -> Iterator["Shape"]:
        """This shape and all inside it, each once: a recursive type is its own part."""
        seen: dict[int, Shape] = {}
        waiting: list[Shape] = [self]
        while waiting:
            shape = waiting.pop()
            if id(shape) not in seen:
                seen[id(shape)] = shape
                waiting.extend(shape.parts)
                yield shape

    def misfit(self, value: Any, hint: str = "") -> Misfit:
        """The misfit that names what was expected and what came; never the value, which may be a secret."""
        return Misfit(f"expected {self.name}, not {type_name(type(value))}{hint}")


class CompositeShape(Shape, ABC):
    """A shape with others inside, among which may be some that msgspec can't read: then it is read part by part."""

    def __init__(self, annotation: Any, name: str) -> None:
        super().__init__(annotation, name)
        self.reader = self.lift

    @abstractmethod
    def lift(self, data: Encoded) -> Any:
        """`read`, part by part."""


class ExactShape(Shape):
    """Values of one exact type, which msgspec writes as they are: bool, None, bytes, date, timedelta, UUID."""

    def __init__(self, cls: type) -> None:
        super().__init__(cls, "None" if cls is NoneType else type_name(cls))
        self.exact = frozenset({cls})
        # UNSET is written as nothing at all.
        self.kinds = frozenset() if cls is msgspec.UnsetType else frozenset({_KINDS.get(cls, "str")})


class StrShape(Shape):
    """Text without NUL characters and unpaired surrogates: what every store and every JSON reader keeps as it is."""

    exact = frozenset({str})

    def __init__(self) -> None:
        super().__init__(str, "str")

    def lower(self, value: Any, depth_left: int) -> str:  # noqa: ARG002 -- a scalar has no depth
        if not isinstance(value, str):
            raise self.misfit(value)
        return clean_text(str.__str__(value))


class IntShape(Shape):
    """Integers of up to 4300 digits; a bool is none."""

    exact = frozenset({int})
    kinds = frozenset({"int"})

    def __init__(self) -> None:
        super().__init__(int, "int")

    def lower(self, value: Any, depth_left: int) -> int:  # noqa: ARG002 -- a scalar has no depth
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.misfit(value)
        number = int.__pos__(value)
        if not -_INTEGER_MAX < number < _INTEGER_MAX:
            raise Misfit(f"an integer of more than {INTEGER_DIGITS_MAX} digits; pass it as bytes or text")
        return number


class FloatShape(Shape):
    """Finite floats, and integers that a float holds exactly."""

    kinds = frozenset({"float"})

    def __init__(self) -> None:
        super().__init__(float, "float")

    def plain(self, value: Any) -> bool:
        # An integer fits too, but is written as a float, the same as when it has come back.
        return type(value) is float and isfinite(value)

    def all_plain(self, values: Collection[Any]) -> bool:
        if _FLOATS.issuperset(map(type, values)):
            return all(map(isfinite, values))
        return all(map(self.plain, values))

    def claims(self, value: Any) -> bool:
        return type(value) is float

    def lower(self, value: Any, depth_left: int) -> float:  # noqa: ARG002 -- a scalar has no depth
        if isinstance(value, bool) or not isinstance(value, float | int):
            raise self.misfit(value)
        if isinstance(value, float):
            return finite(float.__pos__(value))
        try:
            number = float(value)
        except OverflowError:
            number = 0.0
        if number != value:
            raise Misfit("an integer that no float holds exactly; annotate it as int")
        return number


class DatetimeShape(Shape):
    """Aware datetimes: a naive one would mean another instant on another machine."""

    reads_loosely = True

    def __init__(self) -> None:
        super().__init__(datetime, "datetime")

    def plain(self, value: Any) -> bool:
        return type(value) is datetime and value.tzinfo is UTC

    def claims(self, value: Any) -> bool:
        return type(value) is datetime

    def lower(self, value: Any, depth_left: int) -> datetime:  # noqa: ARG002 -- a scalar has no depth
        if not isinstance(value, datetime):
            raise self.misfit(value)
        offset = value.utcoffset()
        if offset is None:
            raise Misfit("a datetime without a time zone; pass an aware one, such as datetime.now(UTC)")
        instant = datetime.combine(datetime.date(value), value.timetz())
        if offset % timedelta(minutes=1):
            # RFC 3339 has no seconds in an offset; the instant is what counts.
            instant = instant.astimezone(UTC)
        if instant == value:
            return instant
        raise self.misfit(value)


class TimeShape(Shape):
    """Times of day, naive or with a fixed offset of whole minutes."""

    def __init__(self) -> None:
        super().__init__(time, "time")

    def plain(self, value: Any) -> bool:
        return type(value) is time and value.tzinfo is None

    def claims(self, value: Any) -> bool:
        return type(value) is time

    def lower(self, value: Any, depth_left: int) -> time:  # noqa: ARG002 -- a scalar has no depth
        if type(value) is not time:
            raise self.misfit(value)
        offset = value.utcoffset()
        if value.tzinfo is not None and (offset is None or offset % timedelta(minutes=1)):
            raise Misfit("a time whose zone has no fixed offset of whole minutes; pass an aware datetime")
        return value


class DecimalShape(Shape):
    """Finite decimals, with every digit kept."""

    reads_loosely = True

    def __init__(self, cls: type) -> None:
        super().__init__(cls, "Decimal")
        self._cls = cls

    def plain(self, value: Any) -> bool:
        kind = type(value)
        return kind is self._cls and bool(value.is_finite())

    def claims(self, value: Any) -> bool:
        return type(value) is self._cls

    def lower(self, value: Any, depth_left: int) -> Any:  # noqa: ARG002 -- a scalar has no depth
        kind = type(value)
        if kind is not self._cls:
            raise self.misfit(value)
        if not value.is_finite():
            raise Misfit("NaN and infinity are no JSON; use None or a text of your own")
        return value


class EnumShape(Shape):
    """The members of one enum, written as their values."""

    def __init__(self, cls: type[Enum]) -> None:
        super().__init__(cls, type_name(cls))
        self.exact = frozenset({cls})
        self.kinds = frozenset(_KINDS.get(type(member.value), "str") for member in cls)


class LiteralShape(Shape):
    """A few given values; True is not 1."""

    def __init__(self, annotation: Any, values: Sequence[Hashable]) -> None:
        super().__init__(annotation, " or ".join(map(repr, values)))
        self.values = tuple(values)
        self._allowed = frozenset((type(value), value) for value in values)
        self.kinds = frozenset(_KINDS.get(type(value), "str") for value in values)

    def plain(self, value: Any) -> bool:
        kind = type(value)
        return kind in _LITERALS and (kind, value) in self._allowed

    def claims(self, value: Any) -> bool:
        return self.plain(value)

    def lower(self, value: Any, depth_left: int) -> Any:  # noqa: ARG002 -- a scalar has no depth
        if self.plain(value):
            return value
        if isinstance(value, str) and (str, text := str.__str__(value)) in self._allowed:
            return text
        raise self.misfit(value)


_LITERALS = frozenset({str, int, bool, NoneType})
_KINDS = {NoneType: "null", bool: "bool", int: "int"}
_SCALARS: dict[type, Callable[[], Shape]] = {
    str: StrShape,
    int: IntShape,
    float: FloatShape,
    datetime: DatetimeShape,
    time: TimeShape,
}
_EXACT = frozenset({bool, NoneType, bytes, bytearray, date, timedelta, msgspec.UnsetType})


def scalar_shape(cls: type) -> Shape | None:
    """The shape of a class whose values are single JSON values, or None."""
    if cls in _EXACT:
        return ExactShape(cls)
    if make := _SCALARS.get(cls):
        return make()
    # By name: importing them for nothing would cost more than all of this package.
    if cls.__qualname__ == "UUID" and cls.__module__ == "uuid":
        return ExactShape(cls)
    if cls.__qualname__ == "Decimal" and cls.__module__ in {"decimal", "_decimal"}:
        return DecimalShape(cls)
    return None


def misfit_of(exc: msgspec.MsgspecError) -> Misfit:
    """What msgspec found wrong with JSON that it read, and where."""
    message, _, path = str(exc).partition(" - at `$")
    return Misfit(message, *([path.rstrip("`")] if path else []))


def clean_text(text: str) -> str:
    """The text, if every store keeps it; raises `Misfit`."""
    if "\0" in text:
        raise Misfit("a NUL character in a text, which not every store keeps; remove it or pass bytes")
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise Misfit(
            f"an unpaired surrogate (U+{ord(text[exc.start]):04X}) in a text, which UTF-8 can't carry; "
            "decode the text with errors='replace', or pass bytes"
        ) from None
    return text


def finite(number: float) -> float:
    """The number, if it is JSON; raises `Misfit`."""
    if isfinite(number):
        return number
    raise Misfit("NaN and infinity are no JSON; use None or a text of your own")


def deeper(depth_left: int) -> int:
    """The depth that is left inside one more container; raises `Misfit` when there is none."""
    if depth_left <= 0:
        raise Misfit(f"nested deeper than {PAYLOAD_DEPTH_MAX} levels; flatten it, or keep a reference to it")
    return depth_left - 1


def sort_encoded(items: Iterable[Any]) -> list[msgspec.Raw]:
    """Lowered items of a set in an order that no hash seed changes."""
    return [*map(msgspec.Raw, sorted(map(encode_json, items)))]


def type_name(annotation: Any) -> str:
    """The annotation as its author would write it, without modules: the same in a script and where it is imported."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is NoneType:
        return "None"
    if origin is Union or origin is UnionType:
        return " | ".join(map(type_name, args))
    if origin is Literal:
        return " | ".join(map(repr, args))
    if origin is Annotated:
        return type_name(args[0])
    if origin is not None and args:
        return f"{type_name(origin)}[{', '.join('...' if arg is ... else type_name(arg) for arg in args)}]"
    name = getattr(annotation, "__qualname__", None) or getattr(annotation, "__name__", None) or repr(annotation)
    return str(name).rpartition("<locals>.")[2]


def key_step(key: Any) -> str:
    """One key of a dict on a path, never longer than a line."""
    if not isinstance(key, str | int):
        return f"[<{type(key).__qualname__}>]"
    shown = str.__repr__(key) if isinstance(key, str) else int.__repr__(key)
    return f"[{shown if len(shown) <= _KEY_CHARS_SHOWN_MAX else shown[:_KEY_CHARS_SHOWN_MAX] + '...'}]"

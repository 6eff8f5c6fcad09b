"""Payloads: strict JSON by annotation, the same on every store.

A value is written when it fits its annotation and will come back equal; anything else is a `PayloadError` at the call,
which names the path and the type. There is no NaN, no infinity, no NUL character, no unpaired surrogate, no naive
datetime, no bool for an int, nothing deeper than 200 levels or larger than 2 MiB. Sets are written in an order that no
hash seed changes; dicts keep theirs.

>>> codec_for(list[int]).encode([1, 2], what="input 1 of activity shop::activity::sum")
b'[1,2]'
"""

import re
import sys
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import lru_cache, partial
from types import GenericAlias
from typing import Any, Final

import msgspec

from perdure._types import INTEGER_DIGITS_MAX, PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX
from perdure.codec._annotations import Builder
from perdure.codec._containers import UntypedDictShape
from perdure.codec._depth import SHALLOW_BYTES, is_deeper
from perdure.codec._shapes import Encoded, Misfit, deeper, encode_json, misfit_of
from perdure.codec._untyped import UntypedShape, plain_dict
from perdure.errors import PayloadError, PayloadTooLargeError

__all__ = ["Encoded", "InputsCodec", "TypeCodec", "codec_for", "decode_any", "encode_any"]

_NUL: Final = b"\\u0000"
_BACKSLASH: Final = ord("\\")
_LONG_INTEGER = re.compile(rb"\d{%d}" % (INTEGER_DIGITS_MAX + 1))
_read_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class TypeCodec:
    """Writes and reads the values of one annotation; made by `codec_for`.

    Attributes:
        shape: What the annotation allows.
        exact: Values of exactly these types are plain, see `Shape`.
        is_free_dict: Whether it is a dict of anything.
        settled_max: JSON of up to so many bytes, without a backslash in it, has nothing left to be checked.
        is_unbounded: Whether nothing in the annotation says how deep values are nested.
        reads_loosely: Whether values are checked after they have been read.
    """

    def __init__(self, annotation: Any) -> None:
        builder = Builder()
        self.shape = shape = builder.shape(annotation)
        self.name = shape.name
        parts = list(shape.reachable())
        shape.prepare()
        self._read = shape.reader
        self.exact = shape.exact
        self.is_free_dict = isinstance(shape, UntypedDictShape)
        self._rereads = any(part.has_bounds for part in parts)
        self._checks_depth = builder.checks_depth(shape)
        self.settled_max = 0 if self._rereads else SHALLOW_BYTES if self._checks_depth else INTEGER_DIGITS_MAX
        self.is_unbounded = builder.is_recursive or any(isinstance(part, UntypedShape) for part in parts)
        self.reads_loosely = any(part.reads_loosely for part in parts)

    def __repr__(self) -> str:
        return f"codec_for({self.name})"

    def encode(self, value: Any, what: str = "payload") -> bytes:
        """The value as JSON.

        Args:
            value: What to write.
            what: What the value is, for errors ("input 1 of activity shop::activity::charge").

        Raises:
            PayloadError: The value does not fit, or can't be JSON.
            PayloadTooLargeError: It has more than 2 MiB as JSON.
        """
        try:
            if plain_dict(value) if self.is_free_dict else type(value) in self.exact or self.shape.plain(value):
                data = encode_json(value)
                if (len(data) <= self.settled_max and _BACKSLASH not in data) or self.is_settled(data):
                    return data
        except Exception:  # noqa: BLE001, S110 -- whatever is wrong, the slow way says it in words
            pass
        return self.encode_slowly(value, what)

    def decode(self, data: Encoded, what: str = "payload") -> Any:
        """The value of this JSON; raises `PayloadError` if it does not fit the annotation."""
        try:
            if self.is_unbounded and len(data) > SHALLOW_BYTES and is_deeper(bytes(data), PAYLOAD_DEPTH_MAX):
                # How deep a parser goes depends on the Python version.
                deeper(0)
            read = self._read
            value = read(data)
            if self.reads_loosely and not self.shape.plain(value):
                self.shape.lower(value, PAYLOAD_DEPTH_MAX)
        except Exception as exc:  # noqa: BLE001 -- the code of the value may raise anything
            raise _worded(exc, what, f"does not fit {self.name}") from _cause(exc)
        return value

    def is_settled(self, data: bytes) -> bool:
        """Whether nothing is left to check that only the written value shows."""
        # Not `_NUL in data`, which costs twice as much.
        if self._rereads or len(data) > PAYLOAD_BYTES_MAX or (_BACKSLASH in data and data.find(_NUL) >= 0):
            return False
        if len(data) <= self.settled_max:
            return True
        if self._checks_depth and is_deeper(data, PAYLOAD_DEPTH_MAX):
            return False
        # Python has refused longer integers already, unless the program changed that.
        return 0 < sys.get_int_max_str_digits() <= INTEGER_DIGITS_MAX or not _LONG_INTEGER.search(data)

    def encode_slowly(self, value: Any, what: str) -> bytes:
        """As `encode`, for what is not plain or does not fit."""
        try:
            data = encode_json(self.shape.lower(value, PAYLOAD_DEPTH_MAX))
            if self._rereads:
                self._read(data)
        except Exception as exc:  # noqa: BLE001 -- the code of the value may raise anything
            raise _worded(exc, what, f"does not fit {self.name}") from _cause(exc)
        if len(data) > PAYLOAD_BYTES_MAX:
            raise PayloadTooLargeError(
                f"{what} has {len(data)} bytes of JSON, and at most {PAYLOAD_BYTES_MAX} are allowed: "
                "store it elsewhere and pass a reference to it",
                size_bytes=len(data),
                limit_bytes=PAYLOAD_BYTES_MAX,
            )
        return data


class InputsCodec:
    """Writes and reads the inputs of one definition: always a JSON array, however many there are.

    Args:
        types: The annotation of each input.
        defaults: The defaults of the last ones, as in `function.__defaults__`. A missing input takes its default, so
            that a new input with a default is a compatible change.
        what: Whose inputs they are, for errors ("activity shop::activity::charge").
    """

    def __init__(self, types: Sequence[Any], defaults: Sequence[Any] = (), what: str = "payload") -> None:
        self.codecs = tuple(codec_for(annotation) for annotation in types)
        self.defaults = tuple(defaults)
        self.what = what
        self.required = len(self.codecs) - len(self.defaults)
        self._makers = tuple(map(_maker, self.codecs[self.required :], self.defaults))
        self._whats = tuple(f"input {index} of {what}" for index, _ in enumerate(self.codecs, 1))
        self._only = self.codecs[0] if len(self.codecs) == 1 else None
        self._loose = tuple((index, codec.shape) for index, codec in enumerate(self.codecs) if codec.reads_loosely)
        self._is_readable = all(codec.shape.is_readable() for codec in self.codecs)
        self._read_all = self._make_read_all()
        self._is_unbounded = any(codec.is_unbounded for codec in self.codecs)
        # What can be read is right, at least if it is short.
        self._is_sure_if_short = self._is_readable and not self._loose
        self._is_sure = self._is_sure_if_short and not self._is_unbounded

    def encode(self, args: tuple[Any, ...]) -> bytes:
        """The inputs as a JSON array; raises `PayloadError`, also if there are too many or too few."""
        only = self._only
        if only is None or len(args) != 1:
            return self._encode_each(args)
        # As in TypeCodec.encode: by far the most activities have one input, and the call and the copy can be saved.
        value = args[0]
        try:
            if plain_dict(value) if only.is_free_dict else type(value) in only.exact or only.shape.plain(value):
                data = encode_json(args)
                if (len(data) <= only.settled_max and _BACKSLASH not in data) or only.is_settled(data):
                    return data
        except Exception:  # noqa: BLE001, S110 -- as there
            pass
        return b"[%b]" % only.encode_slowly(value, self._whats[0])

    def decode(self, data: Encoded) -> tuple[Any, ...]:
        """The inputs, with defaults for those that are missing; raises `PayloadError`."""
        if self._is_sure or (self._is_sure_if_short and len(data) <= SHALLOW_BYTES):
            read = self._read_all
            try:
                return read(data)
            except Exception:  # noqa: BLE001 -- one is missing, or does not fit, or its own code raised: say which
                return self._decode_each(data)
        return self._decode_carefully(data)

    def _make_read_all(self) -> Callable[[Encoded], tuple[Any, ...]]:
        """What reads all inputs in one go, when none is missing."""
        if not self._is_readable:
            return self._decode_each
        annotations = tuple(codec.shape.annotation for codec in self.codecs)
        return msgspec.json.Decoder(GenericAlias(tuple, annotations)).decode

    def _encode_each(self, args: tuple[Any, ...]) -> bytes:
        if not self.required <= len(args) <= len(self.codecs):
            raise PayloadError(f"{self.what} takes {self._arity()}, and {len(args)} were given")
        return b"[%b]" % b",".join(map(TypeCodec.encode, self.codecs, args, self._whats))

    def _decode_carefully(self, data: Encoded) -> tuple[Any, ...]:
        try:
            if self._is_readable and not (self._is_unbounded and is_deeper(bytes(data), PAYLOAD_DEPTH_MAX)):
                values = self._read_all(data)
                if all(shape.plain(values[index]) for index, shape in self._loose):
                    return values
        except Exception:  # noqa: BLE001, S110 -- as in `decode`
            pass
        return self._decode_each(data)

    def _decode_each(self, data: Encoded) -> tuple[Any, ...]:
        try:
            items = _read_array(data)
        except Exception as exc:  # noqa: BLE001 -- the code of the value may raise anything
            raise _worded(exc, f"the inputs of {self.what}", "are no JSON array") from _cause(exc)
        if not self.required <= len(items) <= len(self.codecs):
            raise PayloadError(f"{self.what} takes {self._arity()}, and its payload has {len(items)}")
        values = map(TypeCodec.decode, self.codecs, items, self._whats)
        return (*values, *(make() for make in self._makers[len(items) - self.required :]))

    def _arity(self) -> str:
        most = len(self.codecs)
        count = f"{most}" if self.required == most else f"{self.required} to {most}"
        return f"{count} input" if count == "1" else f"{count} inputs"


def codec_for(annotation: Any) -> TypeCodec:
    """The codec of an annotation; made once, then remembered.

    Raises:
        RegistrationError: The annotation, or a type inside it, can't be JSON or can't be resolved.
    """
    try:
        hash(annotation)
    except TypeError:
        # Such as Annotated with a list.
        return TypeCodec(annotation)
    return _cached_codec(annotation)


def encode_any(value: Any, *, what: str = "payload") -> bytes:
    """A value whose annotation is not known here, as JSON; raises `PayloadError`.

    Objects are written as their classes say, and the receiver reads them by its own annotation.
    """
    return codec_for(Any).encode(value, what=what)


def decode_any(data: Encoded, *, what: str = "payload") -> Any:
    """The plain JSON value: dict, list, str, int, float, bool or None; raises `PayloadError`."""
    return codec_for(Any).decode(data, what=what)


@lru_cache(maxsize=1024, typed=True)
def _cached_codec(annotation: Any) -> TypeCodec:
    return TypeCodec(annotation)


def _maker(codec: TypeCodec, default: Any) -> Callable[[], Any]:
    """What gives a call its default: what one call does to a list must not be there at the next, or at its replay."""
    try:
        codec.encode(default)
    except PayloadError:
        # Without an annotation it may be anything, such as a connection.
        return lambda: default
    return partial(deepcopy, default)


def _worded(exc: Exception, what: str, complaint: str) -> PayloadError:
    if isinstance(exc, msgspec.MsgspecError):
        exc = misfit_of(exc)
    if isinstance(exc, Misfit):
        return PayloadError(f"{what} {complaint}: {exc}")
    if isinstance(exc, RecursionError):
        return PayloadError(
            f"{what} {complaint}: it is nested too deeply; at most {PAYLOAD_DEPTH_MAX} levels are allowed"
        )
    try:
        words = f"{type(exc).__name__}: {exc}"
    except Exception:  # noqa: BLE001 -- the exception came from the value's own code, which may do anything
        words = type(exc).__name__
    return PayloadError(f"{what} {complaint}: {words}")


def _cause(exc: Exception) -> Exception | None:
    """What to show as the cause: a misfit is only how we found out."""
    return None if isinstance(exc, Misfit | msgspec.MsgspecError) else exc

"""Values in the form in which PostgreSQL reads them without parsing: binary, and whole columns as arrays.

The driver's own adaptation asks each value of a list for its type; a commit has thousands, of types that are known.
"""

from collections.abc import Sequence
from struct import Struct, error
from typing import Any

_INT8 = 20
_TEXT = 25
_BYTEA = 17
_BOOL = 16

_header = Struct(">iiiii").pack
_empty = Struct(">iii").pack
_length = Struct(">i").pack
_sized_bigint = Struct(">iq").pack
_bigint = Struct(">q").pack

_NULL = _length(-1)
_TRUE = _length(1) + b"\x01"
_FALSE = _length(1) + b"\x00"
_EIGHT = _length(8) + bytes(8)
_LENGTHS_MAX = 1_024
_LENGTHS = [_length(length) for length in range(_LENGTHS_MAX)]
"""To look one up takes a fraction of what it takes to make it."""


def bigint(value: int | None) -> bytes | None:
    """One number of 64 bits."""
    return None if value is None else _bigint(value)


def text(value: str | None) -> bytes | None:
    """One text."""
    return None if value is None else value.encode()


def bytea(value: bytes | None) -> bytes | None:
    """Bytes, which are binary already."""
    return value


def boolean(*, value: bool) -> bytes:
    """One truth value."""
    return b"\x01" if value else b"\x00"


def bigints(values: Sequence[int | None]) -> bytes:
    """A `bigint[]`."""
    count = len(values)
    if _are_same(values):
        return _array(_INT8, [_sized(values[0])] * count)
    try:
        plain = Struct(f">{count}q").pack(*values)
    except error:
        return _array(_INT8, [_sized(value) for value in values])
    # Each number with its length before it, byte by byte of all of them: several times as fast as number by number.
    sized = bytearray(_EIGHT * count)
    for place in range(8):
        sized[4 + place :: 12] = plain[place::8]
    return _array(_INT8, [sized], count)


def _sized(value: int | None) -> bytes:
    return _NULL if value is None else _sized_bigint(8, value)


def _are_same(values: Sequence[object]) -> bool:
    """Whether it is one value again and again, which many columns have."""
    return bool(values) and values[0] == values[-1] and values.count(values[0]) == len(values)


def texts(values: Sequence[str | None]) -> bytes:
    """A `text[]`."""
    if _are_same(values):
        first = values[0]
        return blobs([None if first is None else first.encode()] * len(values), _TEXT)
    return blobs([None if value is None else value.encode() for value in values], _TEXT)


def blobs(values: Sequence[bytes | None], kind: int = _BYTEA) -> bytes:
    """A `bytea[]`."""
    count = len(values)
    if _are_same(values):
        first = values[0]
        return _array(kind, [_NULL if first is None else _length(len(first)) + first] * count)
    if None in values:
        return _array(kind, [_NULL if value is None else _length(len(value)) + value for value in values])
    parts: list[Any] = [b""] * (2 * count)
    parts[::2] = [_LENGTHS[n] if n < _LENGTHS_MAX else _length(n) for n in map(len, values)]  # type: ignore[arg-type]  # none is None
    parts[1::2] = values
    return _array(kind, parts, count)


def booleans(values: Sequence[bool]) -> bytes:
    """A `boolean[]`."""
    return _array(_BOOL, [_TRUE if value else _FALSE for value in values])


def _array(kind: int, parts: Sequence[bytes | bytearray], count: int | None = None) -> bytes:
    count = len(parts) if count is None else count
    if not count:
        return _empty(0, 0, kind)
    # One dimension, nulls allowed, counted from 1.
    return _header(1, 1, kind, count, 1) + b"".join(parts)

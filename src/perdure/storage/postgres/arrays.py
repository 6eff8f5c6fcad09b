"""Values in the form in which PostgreSQL reads them without parsing: binary, and whole columns as arrays.

The driver's own adaptation asks each value of a list for its type; a commit has thousands, of types that are known.
"""

from collections.abc import Sequence
from struct import Struct

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
    return _array(_INT8, [_NULL if value is None else _sized_bigint(8, value) for value in values])


def texts(values: Sequence[str | None]) -> bytes:
    """A `text[]`."""
    return blobs([None if value is None else value.encode() for value in values], _TEXT)


def blobs(values: Sequence[bytes | None], kind: int = _BYTEA) -> bytes:
    """A `bytea[]`."""
    parts: list[bytes] = []
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(_length(len(value)))
            parts.append(value)
    return _array(kind, parts, len(values))


def booleans(values: Sequence[bool]) -> bytes:
    """A `boolean[]`."""
    return _array(_BOOL, [_TRUE if value else _FALSE for value in values])


def _array(kind: int, parts: list[bytes], count: int | None = None) -> bytes:
    count = len(parts) if count is None else count
    if not count:
        return _empty(0, 0, kind)
    # One dimension, nulls allowed, counted from 1.
    return _header(1, 1, kind, count, 1) + b"".join(parts)

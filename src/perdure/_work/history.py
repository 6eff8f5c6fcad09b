"""What is stored of a turn's events."""

from msgspec import Struct


class HistoryRow(Struct, frozen=True, gc=False, kw_only=True):
    """The events of one turn, as stored: append-only, one row per turn."""

    first: int
    last: int
    at: int
    data: bytes
    crc: int
    format: int = 1
    encoding: str = "json"

"""Seals: what is stored outside of history has a checksum behind it, so that a byte that was changed is found.

History has one for each row. Storage knows nothing of either: a sealed payload is bytes to it like any other.
"""

from perdure._events import checksum
from perdure.errors import HistoryCorruptError

SEAL_BYTES = 4


def sealed(data: bytes) -> bytes:
    """A payload with its checksum behind it."""
    return data + checksum(data).to_bytes(SEAL_BYTES, "big")


def unsealed(stored: bytes, what: str, *where: object) -> bytes:
    """The payload of what was stored; `what % where` is the row that has it, for the error.

    Raises:
        HistoryCorruptError: It is not what was stored.
    """
    data = stored[:-SEAL_BYTES]
    if len(stored) < SEAL_BYTES or checksum(data) != int.from_bytes(stored[-SEAL_BYTES:], "big"):
        raise HistoryCorruptError(f"the checksum of {what % where} is wrong: bytes were changed")
    return data
